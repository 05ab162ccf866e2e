//! EFI system partitions: FAT32 with fixed times, so that equal files give equal bytes.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::disk;

/// One file of the partition.
#[derive(Debug, Clone, Copy)]
pub struct EspFile<'a> {
    /// Path inside the partition with `/` between its parts and none before the first.
    pub path: &'a str,
    /// Its bytes.
    pub content: &'a [u8],
}

/// Why no partition was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// FAT32 needs at least 65525 clusters, and sectors are counted with 32 bits.
    #[error("an EFI system partition of {0} bytes cannot be FAT32: it takes 34 MiB to 1 TiB in multiples of 4096")]
    Size(u64),
    /// The files need more room.
    #[error("the files of the EFI system partition have {files} bytes, which do not fit into {size}")]
    Full {
        /// Their sum.
        files: u64,
        /// The partition.
        size: u64,
    },
    /// A path that FAT, or a firmware, does not take.
    #[error("{0:?} is not a path for an EFI system partition: use letters, digits and ._+~^- between slashes")]
    Path(String),
    /// The file system could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

const LEAST: u64 = 34 << 20;
const MOST: u64 = 1 << 40;

/// Every time stamp is the first that FAT knows.
#[derive(Debug)]
struct Epoch;

const EPOCH: DateTime =
    DateTime { date: Date { year: 1980, month: 1, day: 1 }, time: Time { hour: 0, min: 0, sec: 0, millis: 0 } };

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        EPOCH.date
    }

    fn get_current_date_time(&self) -> DateTime {
        EPOCH
    }
}

/// Writes an EFI system partition of `size` bytes to the file `path`, with the label `ESP`.
///
/// Directories are made as needed. The same arguments give the same bytes; files lie on the disk in the
/// order given.
pub fn write(path: &Path, size: u64, volume_id: u32, files: &[EspFile<'_>]) -> Result<(), Error> {
    if !(LEAST..=MOST).contains(&size) || size % 4096 != 0 {
        return Err(Error::Size(size));
    }
    if let Some(bad) = files.iter().find(|file| !is_good(file.path)) {
        return Err(Error::Path(bad.path.to_owned()));
    }
    let total = files.iter().map(|file| file.content.len() as u64).sum();
    let full = Error::Full { files: total, size };
    if total > size {
        return Err(full);
    }
    let file = disk::create(path)?;
    disk::context("size", path, file.set_len(size))?;
    match fill(&file, volume_id, files) {
        Err(error) if error.kind() == io::ErrorKind::WriteZero || is_no_space(&error) => Err(full),
        result => Ok(disk::context("write", path, result)?),
    }
}

/// fatfs says so with a text of its own; the host's full disk has another kind.
fn is_no_space(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none()
}

fn fill(file: &File, volume_id: u32, files: &[EspFile<'_>]) -> io::Result<()> {
    let options =
        FormatVolumeOptions::new().fat_type(FatType::Fat32).volume_id(volume_id).volume_label(*b"ESP        ");
    let mut device = file;
    fatfs::format_volume(&mut device, options)?;
    let options = FsOptions::new().time_provider(&Epoch).update_accessed_date(false);
    let fs = FileSystem::new(&mut device, options)?;
    {
        let root = fs.root_dir();
        for EspFile { path, content } in files {
            for (at, _) in path.match_indices('/') {
                root.create_dir(&path[..at])?;
            }
            let mut target = root.create_file(path)?;
            target.truncate()?;
            target.write_all(content)?;
            target.flush()?;
        }
    }
    fs.unmount()
}

fn is_good(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+~^-".contains(c);
    path.len() < 256
        && path
            .split('/')
            .all(|part| !part.is_empty() && !part.ends_with('.') && !part.starts_with('.') && part.chars().all(plain))
}

#[cfg(test)]
#[path = "esp_tests.rs"]
mod tests;
