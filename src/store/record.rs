//! What the store knows of an object besides its name, and how content is hashed.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{Canonical, Digest};
use crate::disk;

/// What was put: kept beside the object, to be held against it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// A file's SHA-256; of a directory, the canonical hash of its entries: name, type, mode, content.
    pub content: Digest,
    /// Disk space taken, in bytes.
    pub bytes: u64,
}

/// Whether the files that are read also lose their write permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// Write permission goes; a file that is an object of its own gets 0444, or 0555 where executable.
    Yes,
    /// Nothing is changed.
    No,
}

impl Record {
    /// Reads a file or directory; nothing if it is neither.
    pub(super) fn of(path: &Path, seal: Seal) -> disk::Result<Option<Self>> {
        let found = disk::metadata(path)?;
        if found.is_file() {
            if seal == Seal::Yes {
                disk::set_mode(path, if found.mode() & 0o111 == 0 { 0o444 } else { 0o555 })?;
            }
            let bytes = disk::metadata(path)?.blocks().saturating_mul(512);
            return Ok(Some(Self { content: file(path)?, bytes }));
        }
        if !found.is_dir() {
            return Ok(None);
        }
        directory(path, seal).map(Some)
    }
}

fn file(path: &Path) -> disk::Result<Digest> {
    Ok(disk::digest(path)?.0)
}

fn directory(path: &Path, seal: Seal) -> disk::Result<Record> {
    let mut hash = Canonical::new("rave store directory 1");
    let mut bytes = disk::metadata(path)?.blocks().saturating_mul(512);
    for path in disk::list(path)? {
        let entry = entry(&path, seal)?;
        hash.field(path.file_name().unwrap_or_default().as_bytes()).field(entry.content.as_bytes());
        bytes = bytes.saturating_add(entry.bytes);
    }
    Ok(Record { content: hash.finish(), bytes })
}

/// One name in a directory: type, mode and content.
fn entry(path: &Path, seal: Seal) -> disk::Result<Record> {
    let mut found = disk::metadata(path)?;
    let kind = found.file_type();
    if seal == Seal::Yes && kind.is_file() && found.mode() & 0o222 != 0 {
        disk::set_mode(path, found.mode() & 0o7555)?;
        found = disk::metadata(path)?;
    }
    let mut hash = Canonical::new("rave store entry 1");
    hash.field((found.mode() & 0o7777).to_le_bytes());
    let mut bytes = found.blocks().saturating_mul(512);
    if kind.is_file() {
        hash.field("file").field(file(path)?.as_bytes());
    } else if kind.is_dir() {
        let below = directory(path, seal)?;
        bytes = below.bytes;
        hash.field("directory").field(below.content.as_bytes());
    } else if kind.is_symlink() {
        hash.field("link").field(disk::read_link(path)?.as_os_str().as_bytes());
    } else {
        let name = if kind.is_block_device() {
            "block"
        } else if kind.is_char_device() {
            "character"
        } else if kind.is_fifo() {
            "pipe"
        } else {
            "socket"
        };
        hash.field(name).field(found.rdev().to_le_bytes());
    }
    Ok(Record { content: hash.finish(), bytes })
}
