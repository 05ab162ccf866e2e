//! As much of the file system as init needs, with errors that name the path; rave's own room of this name has the
//! rest.

#![allow(clippy::disallowed_methods, reason = "this is the room that the other rooms are sent to")]

pub use std::fs::File;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
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

    /// Whether this user may not.
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// Whether something is there already that must not be.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
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

/// The whole content of a UTF-8 file.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    context("read", &path, fs::read_to_string(&path))
}

/// Opens a file for reading.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    context("open", &path, File::open(&path))
}

/// Opens an existing file or device for reading and writing; never creates one.
pub fn open_existing_rw(path: impl AsRef<Path>) -> Result<File> {
    context("open", &path, OpenOptions::new().read(true).write(true).open(&path))
}

/// Whether something is there; a path that cannot be looked at counts as absent.
pub fn exists(path: impl AsRef<Path>) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The names in a directory, sorted.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let entries = context("list", &path, fs::read_dir(&path))?;
    let mut paths =
        context("list", &path, entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>())?;
    paths.sort();
    Ok(paths)
}

/// Makes a directory that is not there yet, below one that is.
pub fn create_directory(path: impl AsRef<Path>) -> Result<()> {
    context("make", &path, fs::create_dir(&path))
}

/// Makes a file where there is none.
pub fn create_file(path: impl AsRef<Path>, content: &str) -> Result<()> {
    let write = |mut file: File| file.write_all(content.as_bytes());
    context("make", &path, OpenOptions::new().write(true).create_new(true).open(&path).and_then(write))
}

/// Makes a symbolic link.
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    context("link", &link, std::os::unix::fs::symlink(target, &link))
}
