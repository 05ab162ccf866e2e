//! Writes files whole: who reads meanwhile finds the old or the new content, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Error, Result, context, directory_of, exists};

/// Links that are followed one after another; the kernel has the same bound.
const LINKS: usize = 40;

/// Replaces a file whole: readers see the old or the new content, never a part, even after a power cut.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = path.as_ref();
    let write = || finish(stage(path, bytes, mode, None)?.persist(path), path);
    context("write", path, write())
}

/// Writes a file whole that must not exist yet; see [`Error::is_taken`].
pub fn write_new(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = path.as_ref();
    let write = || finish(stage(path, bytes, mode, None)?.persist_noclobber(path), path);
    context("write", path, write())
}

/// Replaces the file that `path` leads to, through links, as [`write_atomic`] does; its owner stays. With a mode, the
/// file gets it; otherwise its mode stays too.
pub fn rewrite(path: impl AsRef<Path>, bytes: &[u8], mode: Option<u32>) -> Result<()> {
    let path = followed(path)?;
    let write = || {
        let before = fs::metadata(&path)?;
        let mode = mode.unwrap_or_else(|| before.mode() & 0o777);
        finish(stage(&path, bytes, mode, Some(&before))?.persist(&path), &path)
    };
    context("write", &path, write())
}

/// Writes to whatever `path` leads to, as a shell's `>` would: a file is replaced whole and keeps owner and mode, a
/// new one gets `mode`; pipes, devices and the program's own open files are written into.
pub fn write_to(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = followed(path)?;
    if let Some(number) = descriptor(&path) {
        return context("write", &path, own(number).and_then(|mut file| file.write_all(bytes)));
    }
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_atomic(&path, bytes, mode),
        Ok(found) if found.is_file() => rewrite(&path, bytes, None),
        Ok(_) => {
            let write = || OpenOptions::new().write(true).open(&path)?.write_all(bytes);
            context("write", &path, write())
        }
        Err(source) => context("write", &path, Err(source)),
    }
}

/// Where links lead to in the end, whether that exists or not. Names of the program's own open files, such as
/// /dev/stdout, are an end: what they lead to has no other name that could be relied on.
pub fn followed(path: impl AsRef<Path>) -> Result<PathBuf> {
    let mut path = path.as_ref().to_owned();
    for _ in 0..LINKS {
        if descriptor(&path).is_some() || !exists(&path) || !super::metadata(&path)?.is_symlink() {
            return Ok(path);
        }
        path = directory_of(&path).join(super::read_link(&path)?);
    }
    Err(Error { verb: "follow", path, source: rustix::io::Errno::LOOP.into() })
}

/// The number of the open file of this program that a path names.
fn descriptor(path: &Path) -> Option<i32> {
    match path.to_str()? {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        text => ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|head| text.strip_prefix(head))?.parse().ok(),
    }
}

/// An open file of this program by its number. A program that hides from debuggers may not open its own files in
/// /proc.
fn own(number: i32) -> io::Result<File> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let process = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?.into())
}

/// Writes a file beside `path` that takes its place later.
fn stage(path: &Path, bytes: &[u8], mode: u32, owner: Option<&fs::Metadata>) -> io::Result<NamedTempFile> {
    let permissions = || fs::Permissions::from_mode(mode);
    let mut file =
        tempfile::Builder::new().prefix(".rave-").permissions(permissions()).tempfile_in(directory_of(path))?;
    if let Some(owner) = owner {
        let ours = file.as_file().metadata()?;
        if (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) {
            // Only root may give files away, and only to whom its namespace knows. What others replace is theirs, and
            // of the same group if they are in it.
            let give = |user| fchown(file.as_file(), user, Some(owner.gid()));
            let _ = give(Some(owner.uid())).or_else(|_| give(None));
        }
    }
    file.write_all(bytes)?;
    // The umask may have taken bits away.
    file.as_file().set_permissions(permissions())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn finish(persisted: std::result::Result<File, tempfile::PersistError>, path: &Path) -> io::Result<()> {
    persisted.map_err(|error| error.error)?;
    File::open(directory_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{list, metadata, read, symlink};
    use super::*;

    #[test]
    fn an_atomic_write_sets_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomic(&path, b"one", 0o644).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&path, b"three", 0o600).unwrap_err().is_taken());
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn links_are_followed_to_what_may_not_exist_and_not_in_circles() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink("two", at("one")).unwrap();
        symlink("three", at("two")).unwrap();
        assert_eq!(followed(at("one")).unwrap(), at("three"));
        symlink("one", at("three")).unwrap();
        assert!(followed(at("one")).is_err());
        symlink("/dev/stdout", at("out")).unwrap();
        assert_eq!(followed(at("out")).unwrap(), Path::new("/dev/stdout"));
    }
}
