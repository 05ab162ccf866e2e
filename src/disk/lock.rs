//! Locks between processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Result, context, metadata, remove_file};

/// A lock that other processes respect, released when dropped or when the process dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock named by `path`, which is created and stays in place unless removed.
    pub fn exclusive(path: impl AsRef<Path>) -> Result<Self> {
        Self::wait(path.as_ref(), Self::file, File::lock)
    }

    /// Waits for the lock of a file or directory that exists, which may be replaced while it is held.
    pub fn existing(path: impl AsRef<Path>) -> Result<Self> {
        Self::wait(path.as_ref(), Self::open, File::lock)
    }

    /// Takes the lock if nobody holds it.
    pub fn try_exclusive(path: impl AsRef<Path>) -> Result<Option<Self>> {
        Self::attempt(path.as_ref(), Self::file)
    }

    /// Takes the lock of a file or directory that exists, if nobody holds it.
    pub fn try_existing(path: impl AsRef<Path>) -> Result<Option<Self>> {
        Self::attempt(path.as_ref(), Self::open)
    }

    fn attempt(path: &Path, open: fn(&Path) -> Result<File>) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return context("lock", path, Err(source)),
            }
            if let Some(lock) = Self::confirm(file, path)? {
                return Ok(Some(lock));
            }
        }
    }

    /// Waits for a share of the lock; holders of shares exclude only exclusive holders.
    pub fn shared(path: impl AsRef<Path>) -> Result<Self> {
        Self::wait(path.as_ref(), Self::file, File::lock_shared)
    }

    /// Takes the lock's file away while holding it: who waited for it takes a new one.
    pub fn remove(self) -> Result<()> {
        remove_file(&self.path)
    }

    /// Adds to the content of the lock's file, which others may read.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        context("write", &self.path, self.file.write_all(bytes))
    }

    fn wait(path: &Path, open: fn(&Path) -> Result<File>, lock: fn(&File) -> io::Result<()>) -> Result<Self> {
        loop {
            let file = open(path)?;
            context("lock", path, lock(&file))?;
            if let Some(lock) = Self::confirm(file, path)? {
                return Ok(lock);
            }
        }
    }

    fn file(path: &Path) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        context("open", path, file)
    }

    /// Network file systems give exclusive locks only to writers; directories and protected files cannot be opened so.
    fn open(path: &Path) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(path).or_else(|_| File::open(path));
        context("open", path, file)
    }

    /// The lock, if the locked file is still the one that the path names: its last holder may have removed it.
    fn confirm(file: File, path: &Path) -> Result<Option<Self>> {
        let ours = context("examine", path, file.metadata())?;
        match metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { file, path: path.to_owned() }))
            }
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn a_removed_lock_is_not_mistaken_for_the_one_that_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::exclusive(&path).unwrap();
        let waiter = Lock::file(&path).unwrap();
        first.remove().unwrap();
        waiter.lock().unwrap();
        assert!(Lock::confirm(waiter, &path).unwrap().is_none(), "the path names nothing");
        let waiter = Lock::file(&path).unwrap();
        remove_file(&path).unwrap();
        let second = Lock::exclusive(&path).unwrap();
        assert!(Lock::confirm(waiter, &path).unwrap().is_none(), "the path names another file");
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(second);
        assert!(Lock::confirm(Lock::file(&path).unwrap(), &path).unwrap().is_some());
    }

    #[test]
    fn a_file_that_is_replaced_under_its_lock_passes_the_lock_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(Lock::existing(&path).unwrap_err().is_not_found(), "nothing is made for a lock");
        crate::disk::write_atomic(&path, b"one", 0o400).unwrap();
        let held = Lock::existing(&path).unwrap();
        assert!(Lock::try_existing(&path).unwrap().is_none());
        let waiter = Lock::open(&path).unwrap();
        crate::disk::write_atomic(&path, b"two", 0o400).unwrap();
        drop(held);
        waiter.lock().unwrap();
        assert!(Lock::confirm(waiter, &path).unwrap().is_none(), "the lock of what is gone is worth nothing");
        assert!(Lock::try_existing(&path).unwrap().is_some() && Lock::try_existing(dir.path()).unwrap().is_some());
    }
}
