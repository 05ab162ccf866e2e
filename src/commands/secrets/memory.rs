//! A place for plain text: a directory of one's own on memory, gone with the command.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::interrupt::{self, Registered};

use super::super::{Context, Failure, Result};

/// A directory that is removed when dropped and when the command is interrupted.
pub struct Place {
    directory: tempfile::TempDir,
    _interrupted: Registered,
}

impl Place {
    /// Makes one on a file system in memory; on a disk only if that is `allowed`.
    pub fn new(context: &Context, disk_allowed: bool) -> Result<Self> {
        let runtime = context.environment.runtime.clone();
        let own = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
        let places = runtime.into_iter().chain([own, PathBuf::from("/dev/shm")]);
        let made = places.filter(|place| disk::is_memory(place)).find_map(|place| disk::temp_dir_in(place).ok());
        let directory = match made {
            Some(directory) => directory,
            None if disk_allowed => {
                context.ui.warn("the plain text lies on a disk meanwhile");
                disk::temp_dir()?
            }
            None => {
                return Err(Failure::request("there is no file system on memory for the plain text")
                    .hint("set XDG_RUNTIME_DIR to a tmpfs, or allow a disk with --allow-disk"));
            }
        };
        let path = directory.path().to_owned();
        let undo = move || drop(disk::remove_dir_all(&path));
        Ok(Self { directory, _interrupted: interrupt::on_interrupt(undo) })
    }

    /// Writes a file that only its owner may read and write.
    pub fn write(&self, name: &Path, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.directory.path().join(name.file_name().unwrap_or("secrets".as_ref()));
        disk::write_atomic(&path, bytes, 0o600)?;
        Ok(path)
    }
}
