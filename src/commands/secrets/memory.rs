//! A place for plain text: a directory of one's own on memory, gone with the command.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::disk::{self, Lock};
use crate::interrupt::{self, Registered};

use super::super::{Context, Failure, Result};

/// How the names of these directories begin.
const PREFIX: &str = ".rave-plain-";

/// Attempts to make one, should others take what was just made for left over.
const ATTEMPTS: usize = 8;

/// A directory that is removed when dropped and when the command is interrupted. What a command that was killed left
/// behind, the next one removes: the directories of living ones are locked.
pub struct Place {
    directory: tempfile::TempDir,
    _lock: Lock,
    _interrupted: Registered,
}

impl Place {
    /// Makes one on a file system in memory; on a disk only if that is `allowed`.
    pub fn new(context: &Context, disk_allowed: bool) -> Result<Self> {
        let runtime = context.environment.runtime.clone();
        let own = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
        let places: Vec<PathBuf> = runtime.into_iter().chain([own, PathBuf::from("/dev/shm")]).collect();
        let usual = std::env::temp_dir();
        places.iter().chain([&usual]).for_each(|place| sweep(place));
        let made = places.iter().filter(|place| disk::is_memory(place)).find_map(|place| make(place).ok());
        let (directory, lock) = match made {
            Some(made) => made,
            None if disk_allowed => {
                context.ui.warn("the plain text lies on a disk meanwhile");
                make(&usual)?
            }
            None => {
                return Err(Failure::request("there is no file system on memory for the plain text")
                    .hint("set XDG_RUNTIME_DIR to a tmpfs, or allow a disk with --allow-disk"));
            }
        };
        let path = directory.path().to_owned();
        let undo = move || drop(disk::remove_dir_all(&path));
        Ok(Self { directory, _lock: lock, _interrupted: interrupt::on_interrupt(undo) })
    }

    /// Writes a file that only its owner may read and write.
    pub fn write(&self, name: &Path, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.directory.path().join(name.file_name().unwrap_or("secrets".as_ref()));
        disk::write_atomic(&path, bytes, 0o600)?;
        Ok(path)
    }
}

fn make(place: &Path) -> disk::Result<(tempfile::TempDir, Lock)> {
    let attempt = || {
        let directory = disk::temp_dir_named(place, PREFIX)?;
        Lock::existing(directory.path()).map(|lock| (directory, lock))
    };
    // Between its making and its lock, a directory looks as if it were left over.
    let mut made = attempt();
    for _ in 1..ATTEMPTS {
        match &made {
            Err(error) if error.is_not_found() => made = attempt(),
            _ => break,
        }
    }
    made
}

/// Removes what commands of this user left here when they were killed.
fn sweep(place: &Path) {
    let ours = rustix::process::geteuid().as_raw();
    let names = disk::list(place).unwrap_or_default();
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    for path in names.iter().filter(named) {
        if !disk::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == ours) {
            continue;
        }
        // Somebody else's command may be first; what cannot be removed is tried again by the next.
        if let Ok(Some(_lock)) = Lock::try_existing(path) {
            let _ = disk::remove_dir_all(path);
        }
    }
}
