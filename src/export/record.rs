//! What is known of an exported file, as JSON beside it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk;
use crate::images::Manifest;
use crate::name::{ImageName, Version};
use crate::system::Mode;

use super::Exported;

/// What the record's name ends with, after the file's.
pub const SIDECAR: &str = ".json";
/// A record is shorter, in bytes.
const LONGEST: u64 = 64 << 10;

/// One exported file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this form.
    pub export: u32,
    /// The file's name.
    pub file: String,
    /// Its format, as on the command line.
    pub format: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Size in bytes of the disk that a machine finds in it; nothing if it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<u64>,
    /// Size of that disk's sectors in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_size: Option<u64>,
    /// The image's name.
    pub image: ImageName,
    /// Its version.
    pub version: Version,
    /// Its resource mode.
    pub mode: Mode,
    /// dm-verity root hash of its root file system.
    pub root_hash: Digest,
    /// SHA-256 of the disk as it was built.
    pub disk: Digest,
    /// Version of the rave that exported it.
    pub rave: String,
}

impl Record {
    /// That of a file which is to have its own name.
    pub fn new(exported: &Exported, manifest: &Manifest) -> Self {
        let name = exported.path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            export: 1,
            file: name.into_owned(),
            format: exported.format.name().to_owned(),
            sha256: exported.blob.sha256,
            size: exported.blob.size,
            disk_size: exported.disk_size,
            sector_size: exported.disk_size.map(|_| exported.sector_size),
            image: manifest.image.clone(),
            version: manifest.version.clone(),
            mode: manifest.mode,
            root_hash: manifest.root_hash,
            disk: manifest.disk.sha256,
            rave: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Where the record of a file lies.
    pub fn path(file: &Path) -> PathBuf {
        let mut path = file.as_os_str().to_owned();
        path.push(SIDECAR);
        path.into()
    }

    /// Whether a file has its record beside it, and so is one that may be replaced. A record alone may be, too.
    pub fn is_beside(file: &Path) -> bool {
        let path = Self::path(file);
        let is_file = |path: &Path| disk::metadata(path).is_ok_and(|found| found.is_file());
        let read = || serde_json::from_slice::<Self>(&disk::read_start(&path, LONGEST).ok()?).ok();
        let replaceable = is_file(file) || !disk::exists(file);
        replaceable && is_file(&path) && read().is_some_and(|record| file.ends_with(&record.file))
    }

    /// The record as JSON text.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
