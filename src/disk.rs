//! The host's file system. The only room that uses `std::fs`, so that every failure names the path and
//! every file that matters is written whole or not at all.

pub mod dir;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Something that the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct Error {
    /// What was tried, as a verb: `read`, `write`.
    pub verb: &'static str,
    /// On which path.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// Whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the file system, or the user's share of it, is full.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the verb and the path to what the system says.
pub fn context<T>(verb: &'static str, path: impl AsRef<Path>, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error { verb, path: path.as_ref().to_owned(), source })
}

/// The whole content of a file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    context("read", &path, fs::read(&path))
}

/// The whole content of a UTF-8 file.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    context("read", &path, fs::read_to_string(&path))
}

/// Opens a file for reading.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    context("open", &path, File::open(&path))
}

/// Creates a file, or empties it, for reading and writing.
pub fn create(path: impl AsRef<Path>) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    context("create", &path, file)
}

/// Opens a file for reading and writing without emptying it; creates it where it is missing.
pub fn open_rw(path: impl AsRef<Path>) -> Result<File> {
    context("open", &path, OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path))
}

/// Makes a directory and its parents; existing ones are fine.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    context("create", &path, fs::create_dir_all(&path))
}

/// Makes a directory that only its owner may enter.
pub fn create_private_dir(path: impl AsRef<Path>) -> Result<()> {
    create_dir_all(&path)?;
    context("protect", &path, fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
}

/// Whether something is there; a path that cannot be looked at counts as absent.
pub fn exists(path: impl AsRef<Path>) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What is known of a path, without following a link.
pub fn metadata(path: impl AsRef<Path>) -> Result<fs::Metadata> {
    context("examine", &path, fs::symlink_metadata(&path))
}

/// The names in a directory, sorted.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let entries = context("list", &path, fs::read_dir(&path))?;
    let mut paths =
        context("list", &path, entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>())?;
    paths.sort();
    Ok(paths)
}

/// Moves a file or directory within one file system, replacing what was there.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    context("move a file to", &to, fs::rename(&from, &to))
}

/// Copies the bytes of a file, sharing blocks where the file system can; returns their number.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
    context("copy a file to", &to, fs::copy(&from, &to))
}

/// Makes a symbolic link.
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    context("link", &link, std::os::unix::fs::symlink(target, &link))
}

/// Where a symbolic link points.
pub fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    context("read the link", &path, fs::read_link(&path))
}

/// The absolute path without links, which must exist.
pub fn canonical(path: impl AsRef<Path>) -> Result<PathBuf> {
    context("find", &path, fs::canonicalize(&path))
}

/// Removes a file or link; one that is gone already is fine.
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    match fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => context("remove", &path, result),
    }
}

/// Removes a directory and all that is in it; one that is gone already is fine.
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    match fs::remove_dir_all(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => context("remove", &path, result),
    }
}

/// Sets the permission bits.
pub fn set_mode(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    context("protect", &path, fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
}

/// Replaces a file whole: readers see the old or the new content, never a part, even after a power cut.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
    let path = path.as_ref();
    let write = || -> io::Result<()> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".rave-")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(parent)?;
        file.write_all(bytes)?;
        // The umask may have taken bits away.
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(parent)?.sync_all()
    };
    context("write", path, write())
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

/// A lock that other processes respect, released when dropped or when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock named by `path`, which is created and then left in place.
    pub fn exclusive(path: impl AsRef<Path>) -> Result<Self> {
        let file = Self::file(path.as_ref())?;
        context("lock", path, file.lock())?;
        Ok(Self { _file: file })
    }

    /// Takes the lock if nobody holds it.
    pub fn try_exclusive(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let file = Self::file(path.as_ref())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => context("lock", path, Err(source)),
        }
    }

    /// Waits for a share of the lock; holders of shares exclude only exclusive holders.
    pub fn shared(path: impl AsRef<Path>) -> Result<Self> {
        let file = Self::file(path.as_ref())?;
        context("lock", path, file.lock_shared())?;
        Ok(Self { _file: file })
    }

    fn file(path: &Path) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        context("open", path, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_sets_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomic(&path, b"one", 0o644).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn errors_name_the_path() {
        let error = read("/nonexistent/file").unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot read /nonexistent/file");
    }

    #[test]
    fn a_lock_excludes_and_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }
}
