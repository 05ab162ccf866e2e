//! A `.deb` file that an image names, as a lock needs it.

use std::path::Path;

use super::deb::{self, Deb};
use crate::digest::Digest;
use crate::disk;

/// A `.deb` file of the project's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDeb {
    /// The control file.
    pub control: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the whole file.
    pub sha256: Digest,
}

/// Why a file is not used as a package.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// It is not a good package.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// Its path leads out of the image's directory.
    #[error("its path must be relative and stay in the image's directory")]
    Path,
    /// It is for other machines.
    #[error("it is not for {arch}", arch = super::ARCHITECTURE)]
    Architecture,
    /// Another file holds the same package.
    #[error("it holds {0}, as another file does")]
    Twice(String),
}

/// Reads the control file of the package at `path`, and measures the package.
pub fn read(path: &Path) -> Result<LocalDeb, LocalError> {
    let control = Deb::open(path)?.control.text().to_owned();
    let measured = Digest::of_reader(&mut disk::open(path)?);
    let (sha256, size) = disk::context("read", path, measured)?;
    Ok(LocalDeb { control, size, sha256 })
}
