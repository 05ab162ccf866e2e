//! Work below a directory that other people's files fill: no operation follows a symbolic link or leaves it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

use super::{Error, Result};

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory by its path, through links if there are any.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = path.as_ref().to_owned();
        let descriptor = of("open", &path, rustix::fs::openat(CWD, &path, flags, Mode::empty()))?;
        Ok(Self { descriptor, path })
    }

    /// Opens a directory below this one; a symbolic link on the way is an error.
    pub fn below(&self, relative: &Path) -> Result<Self> {
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = self.path.join(relative);
        let descriptor = rustix::fs::openat2(&self.descriptor, relative, flags, Mode::empty(), resolve);
        Ok(Self { descriptor: of("open", &path, descriptor)?, path })
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file that must not exist, for its owner only.
    pub fn create_new(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR);
        self.of("create", name, file).map(File::from)
    }

    /// Makes a directory, 0755; whether it is new. Something else of that name is an error.
    pub fn make_dir(&self, name: &OsStr) -> Result<bool> {
        match rustix::fs::mkdirat(&self.descriptor, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) if self.kind(name)? == Some(FileType::Directory) => Ok(false),
            result => self.of("create", name, result).map(|()| true),
        }
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, target: &Path, name: &OsStr) -> Result<()> {
        self.of("link", name, rustix::fs::symlinkat(target, &self.descriptor, name))
    }

    /// Gives the file `from_name` in `from` a second name here.
    pub fn hard_link(&self, from: &Dir, from_name: &OsStr, name: &OsStr) -> Result<()> {
        let result = rustix::fs::linkat(&from.descriptor, from_name, &self.descriptor, name, AtFlags::empty());
        self.of("link", name, result)
    }

    /// Removes a file or link; one that is gone already is fine.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        match rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => self.of("remove", name, result),
        }
    }

    /// What is there, if anything.
    pub fn kind(&self, name: &OsStr) -> Result<Option<FileType>> {
        Ok(self.stat(name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)))
    }

    /// What is known of a name, if anything has it.
    pub fn stat(&self, name: &OsStr) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            result => self.of("examine", name, result).map(Some),
        }
    }

    /// Sets owner and group, of a link itself if it is one.
    pub fn set_owner(&self, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let result = rustix::fs::chownat(&self.descriptor, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        self.of("give away", name, result)
    }

    /// Sets the permission bits of what must not be a link.
    pub fn set_mode(&self, name: &OsStr, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode as RawMode);
        self.of("protect", name, rustix::fs::chmodat(&self.descriptor, name, mode, AtFlags::empty()))
    }

    /// Sets the time of the last change, in seconds since 1970, of a link itself if it is one.
    pub fn set_mtime(&self, name: &OsStr, mtime: i64) -> Result<()> {
        let result = rustix::fs::utimensat(&self.descriptor, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW);
        self.of("date", name, result)
    }

    fn of<T>(&self, verb: &'static str, name: &OsStr, result: rustix::io::Result<T>) -> Result<T> {
        of(verb, &self.path.join(name), result)
    }
}

/// Sets owner, permission bits and time of an open file, in the order in which none undoes another.
pub fn set_attributes(file: &File, path: &Path, owner: Option<(u32, u32)>, mode: u32, mtime: i64) -> Result<()> {
    if let Some((uid, gid)) = owner {
        of("give away", path, rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))?;
    }
    of("protect", path, rustix::fs::fchmod(file, Mode::from_raw_mode(mode as RawMode)))?;
    of("date", path, rustix::fs::futimens(file, &times(mtime)))
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
    }
}

fn of<T>(verb: &'static str, path: &Path, result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|source| Error { verb, path: path.to_owned(), source: io::Error::from(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_below_follows_a_link_or_leaves() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        std::fs::create_dir_all(inside.path().join("a/b")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        dir.below(Path::new("a/b")).unwrap();
        for bad in ["link", "link/x", "..", "a/../..", "/etc"] {
            assert!(dir.below(Path::new(bad)).is_err(), "{bad}");
        }
        let link = OsStr::new("link");
        assert!(dir.create_new(link).is_err() && dir.make_dir(link).is_err());
        assert_eq!((dir.make_dir(OsStr::new("a")).unwrap(), dir.make_dir(OsStr::new("c")).unwrap()), (false, true));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
