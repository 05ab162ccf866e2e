//! The host's file system. The only room that uses `std::fs`, so that every failure names the path and
//! every file that matters is written whole or not at all.

#![allow(clippy::disallowed_methods, reason = "this is the room that the other rooms are sent to")]

mod copy;
pub mod dir;
mod lock;
mod sparse;
mod whole;

pub use std::fs::File;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub use copy::copy_at;
pub use lock::Lock;
pub use rave_init::disk::{Error, Result, context, exists, list, open, open_existing_rw, read_to_string, symlink};
pub use sparse::{data, digest};
pub use whole::{followed, rewrite, write_atomic, write_new, write_to};

/// The whole content of a file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    context("read", &path, fs::read(&path))
}

/// Creates a file, or empties it, for reading and writing.
pub fn create(path: impl AsRef<Path>) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    context("create", &path, file)
}

/// Creates a file for writing that must not exist yet.
pub fn create_new(path: impl AsRef<Path>) -> Result<File> {
    context("create", &path, OpenOptions::new().write(true).create_new(true).open(&path))
}

/// The whole content of a UTF-8 file, which others may have replaced by a link, a pipe or a device: those are errors.
pub fn read_plain(path: impl AsRef<Path>) -> Result<String> {
    if metadata(&path)?.is_file() {
        return read_to_string(path);
    }
    context("read", &path, Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")))
}

/// The first `limit` bytes of a file.
pub fn read_start(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    context("read", &path, open(&path)?.take(limit).read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// Size and use of the file system that holds a path (statvfs(3)).
pub fn space(path: impl AsRef<Path>) -> Result<rustix::fs::StatVfs> {
    context("examine the file system of", &path, rustix::fs::statvfs(path.as_ref()).map_err(io::Error::from))
}

/// Opens a file for reading and writing without emptying it; creates it where it is missing.
pub fn open_rw(path: impl AsRef<Path>) -> Result<File> {
    context("open", &path, OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path))
}

/// Whether the file system that holds a path lives in memory: tmpfs or ramfs.
pub fn is_memory(path: impl AsRef<Path>) -> bool {
    // linux/magic.h; the type of the field differs between architectures.
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    rustix::fs::statfs(path.as_ref()).is_ok_and(|found| [TMPFS, RAMFS].contains(&i128::from(found.f_type)))
}

/// A directory in the usual place for temporary files; see [`temp_dir_in`].
pub fn temp_dir() -> Result<tempfile::TempDir> {
    temp_dir_in(std::env::temp_dir())
}

/// A new directory that only its owner may enter, removed with all that is in it when dropped.
pub fn temp_dir_in(parent: impl AsRef<Path>) -> Result<tempfile::TempDir> {
    temp_dir_named(parent, ".rave-")
}

/// The same, with a name that begins so.
pub fn temp_dir_named(parent: impl AsRef<Path>, prefix: &str) -> Result<tempfile::TempDir> {
    let owner_only = fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(prefix).permissions(owner_only).tempdir_in(&parent);
    context("create a directory in", &parent, made)
}

/// Makes a directory and its parents; existing ones are fine.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    context("create", &path, fs::create_dir_all(&path))
}

/// Makes a directory that only its owner may enter.
pub fn create_private_dir(path: impl AsRef<Path>) -> Result<()> {
    create_dir_all(&path)?;
    set_mode(path, 0o700)
}

/// What is known of a path, without following a link.
pub fn metadata(path: impl AsRef<Path>) -> Result<fs::Metadata> {
    context("examine", &path, fs::symlink_metadata(&path))
}

/// The absolute path of something that exists, without links.
pub fn canonical(path: impl AsRef<Path>) -> Result<PathBuf> {
    context("find", &path, fs::canonicalize(&path))
}

/// At most the last `limit` bytes of a file; nothing if it does not exist.
pub fn tail(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = match open(&path) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        file => file?,
    };
    let mut read = || {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        (&file).take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    context("read", &path, read())
}

/// Moves a file or directory within one file system, replacing what was there.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    context("move a file to", &to, fs::rename(&from, &to))
}

/// Copies the bytes of a file, sharing blocks where the file system can; returns their number.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
    context("copy a file to", &to, fs::copy(&from, &to))
}

/// Makes a symbolic link, or points the one that is there elsewhere; whoever follows it meanwhile finds the old or
/// the new target.
pub fn replace_symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    let link = link.as_ref();
    let parent = directory_of(link);
    let make = || {
        let made = tempfile::Builder::new()
            .prefix(".rave-")
            .make_in(parent, |path| std::os::unix::fs::symlink(target.as_ref(), path))?;
        made.into_temp_path().persist(link).map_err(|e| e.error)
    };
    context("link", link, make())
}

/// Where a symbolic link points.
pub fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    context("read the link", &path, fs::read_link(&path))
}

/// Removes a file or link; one that is gone already is fine.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    match fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => context("remove", &path, result),
    }
}

/// Sets the permission bits.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    context("protect", &path, fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
}

/// The directory that a path names something in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path in `directory` that no other process has.
pub fn unique_name(directory: impl AsRef<Path>) -> Result<PathBuf> {
    let file = tempfile::Builder::new().prefix("rave-").tempfile_in(&directory);
    let kept = file.and_then(|file| file.into_temp_path().keep().map_err(|error| error.error));
    context("write to", &directory, kept)
}

/// Waits until a file's content, or a directory's list of names, has reached the disk.
pub fn sync(path: impl AsRef<Path>) -> Result<()> {
    context("write", &path, File::open(&path).and_then(|file| file.sync_all()))
}

/// Waits until everything written to the file system that holds `path` has reached the disk.
pub fn sync_file_system(path: impl AsRef<Path>) -> Result<()> {
    let flush = || rustix::fs::syncfs(File::open(&path)?).map_err(io::Error::from);
    context("write", &path, flush())
}

/// Sets the time of last change to now.
pub fn touch(path: impl AsRef<Path>) -> Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    context("touch", &path, utimensat(CWD, path.as_ref(), &times, AtFlags::empty()).map_err(io::Error::from))
}

/// Bytes that an ordinary user may still write to the file system that holds `path`.
pub fn free_bytes(path: impl AsRef<Path>) -> Result<u64> {
    let stat = space(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Removes a directory with all that is in it, also below directories of the caller's that forbid it. What is not
/// a directory is removed as well; what is gone already is fine.
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    match fs::symlink_metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return context("remove", &path, Err(source)),
        Ok(found) if !found.is_dir() => return remove_file(&path),
        Ok(_) => {}
    }
    let mut removed = fs::remove_dir_all(&path);
    if removed.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
        open_up(path.as_ref())?;
        removed = fs::remove_dir_all(&path);
    }
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => context("remove", &path, result),
    }
}

/// Lets the owner of a directory change it and everything below.
fn open_up(directory: &Path) -> Result<()> {
    set_mode(directory, 0o700)?;
    for path in list(directory)? {
        if metadata(&path)?.is_dir() {
            open_up(&path)?;
        }
    }
    Ok(())
}

/// Writes a file at once and without waiting for the disk, for work that is thrown away when it fails. The
/// permission bits are those given, whatever the umask.
pub fn write(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    context("write", &path, fs::write(&path, bytes))?;
    set_mode(path, mode)
}

/// Replaces the content of an existing file in place; owner and mode stay.
pub fn overwrite(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let write = || OpenOptions::new().write(true).truncate(true).open(&path)?.write_all(bytes);
    context("write", &path, write())
}

/// The extended attributes of a file, directory or link itself, sorted by name.
pub fn attributes(path: impl AsRef<Path>) -> Result<Vec<(String, Vec<u8>)>> {
    use rustix::fs::{lgetxattr, llistxattr};
    use rustix::io::Errno;
    let path = path.as_ref();
    let read = || -> rustix::io::Result<Vec<(String, Vec<u8>)>> {
        // The kernel's own bounds of a list of names and of a value.
        let mut names = vec![0u8; 64 << 10];
        let length = match llistxattr(path, &mut names) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        let mut found = Vec::new();
        let names = names.get(..length).unwrap_or_default();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0u8; 64 << 10];
            let length = lgetxattr(path, name, &mut value)?;
            value.truncate(length);
            found.push((String::from_utf8_lossy(name).into_owned(), value));
        }
        found.sort();
        Ok(found)
    };
    context("read the attributes of", path, read().map_err(io::Error::from))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_tail_of_a_file_is_bounded_and_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(tail(&path, 3).unwrap(), b"");
        write_atomic(&path, b"abcdef", 0o600).unwrap();
        assert_eq!(tail(&path, 3).unwrap(), b"def");
        assert_eq!(tail(&path, 99).unwrap(), b"abcdef");
    }

    #[test]
    fn what_is_not_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write_atomic(&file, b"text", 0o600).unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read_plain(&file).unwrap(), "text");
        assert!(read_plain(&link).is_err() && read_plain(dir.path()).is_err() && read_plain("/dev/null").is_err());
    }

    #[test]
    fn a_link_is_replaced_but_a_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::thread::scope(|scope| {
            for target in ["one", "two"] {
                let link = &link;
                scope.spawn(move || (0..100).for_each(|_| replace_symlink(target, link).unwrap()));
            }
        });
        assert!(["one", "two"].contains(&read_link(&link).unwrap().to_str().unwrap()));
        assert_eq!(list(dir.path()).unwrap(), [link]);
        let directory = dir.path().join("directory");
        create_dir_all(&directory).unwrap();
        assert!(replace_symlink("one", &directory).is_err());
        assert_eq!(list(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn errors_name_the_path() {
        let error = read("/nonexistent/file").unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot read /nonexistent/file");
    }

    #[test]
    fn everything_can_be_removed_except_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, tree) = (dir.path().join("outside"), dir.path().join("tree"));
        create_dir_all(tree.join("a/b")).unwrap();
        create_dir_all(&outside).unwrap();
        write_atomic(outside.join("kept"), b"", 0o644).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        set_mode(tree.join("a/b"), 0o555).unwrap();
        set_mode(tree.join("a"), 0o555).unwrap();
        open_up(&tree).unwrap();
        assert_eq!(metadata(tree.join("a/b")).unwrap().mode() & 0o777, 0o700);
        remove_dir_all(&tree).unwrap();
        remove_dir_all(&tree).unwrap();
        assert!(!exists(&tree) && exists(outside.join("kept")));
        remove_dir_all(outside.join("kept")).unwrap();
        assert!(list(&outside).unwrap().is_empty());
    }
}
