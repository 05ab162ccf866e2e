//! A built image in the forms that other systems take.
//!
//! The disk is read once, in blocks of 64 KiB, and only where it is not zeros. Each block is packed at most once in each
//! of two ways, and every format that is asked for takes what it needs:
//!
//! ```text
//!              ┌─ zstd ────── qcow2 ─┬─ containerdisk   raw, vhd: copies that keep holes
//! disk.raw ────┤  │                  └─ nocloud
//!              │  └────────── raw.zst
//!              └─ deflate ─── vmdk ─── ova               oci: the files, from the packages
//!                 └────────── gce                        uki: as it is
//! ```
//!
//! The bytes depend on the image, and its seed, alone: no clock, no host, and not how many processors did the work.

pub mod blocks;
mod container;
mod gce;
mod nocloud;
mod oci;
mod out;
mod ova;
mod packed;
mod qcow2;
mod record;
mod sectors;
mod targz;
mod vhd;
mod vmdk;
mod work;
mod zst;

use std::path::PathBuf;

pub use oci::{manifest_digest, tag};
pub use record::{Record, SIDECAR};
pub use work::{Job, Root, file_name, run};

use crate::disk;
use crate::images::manifest::Blob;

/// Alignment of disks in bytes, that of partitions.
pub const MIB: u64 = 1 << 20;
/// The size of sectors that all formats know.
pub const SECTOR: u64 = 512;

/// A form that other systems take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// The disk, byte for byte, sparse.
    Raw,
    /// The disk, compressed with zstd.
    RawZst,
    /// QEMU's format, compressed.
    Qcow2,
    /// A fixed VHD, as Azure takes it.
    Vhd,
    /// A stream-optimized VMDK.
    Vmdk,
    /// An appliance for VMware and VirtualBox.
    Ova,
    /// A disk for Google Compute Engine.
    Gce,
    /// An OCI image of the root file system.
    Oci,
    /// An OCI image with a disk, as KubeVirt takes it.
    ContainerDisk,
    /// A disk, compressed, and the seed that provisions it.
    NoCloud,
    /// The unified kernel image.
    Uki,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Raw,
        Self::RawZst,
        Self::Qcow2,
        Self::Vhd,
        Self::Vmdk,
        Self::Ova,
        Self::Gce,
        Self::Oci,
        Self::ContainerDisk,
        Self::NoCloud,
        Self::Uki,
    ];

    /// The word for it on the command line and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawZst => "raw.zst",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vmdk => "vmdk",
            Self::Ova => "ova",
            Self::Gce => "gce",
            Self::Oci => "oci",
            Self::ContainerDisk => "containerdisk",
            Self::NoCloud => "nocloud",
            Self::Uki => "uki",
        }
    }

    /// What its file's name ends with, after the image's name and version.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gce => "gce.tar.gz",
            Self::Oci => "oci.tar",
            Self::ContainerDisk => "containerdisk.tar",
            Self::NoCloud => "nocloud.tar",
            Self::Uki => "efi",
            other => other.name(),
        }
    }

    /// Whether a disk with sectors of 4096 bytes can be in it. VHD, VMDK and what takes them count in 512 bytes; two
    /// others hold no disk.
    pub const fn takes_large_sectors(self) -> bool {
        matches!(self, Self::Raw | Self::RawZst | Self::Qcow2 | Self::ContainerDisk | Self::NoCloud)
    }

    /// Whether a disk is in it.
    pub const fn holds_disk(self) -> bool {
        !matches!(self, Self::Oci | Self::Uki)
    }

    /// Whether it is made of the blocks of a disk, compressed.
    pub const fn is_of_blocks(self) -> bool {
        !matches!(self, Self::Raw | Self::Vhd | Self::Oci | Self::Uki)
    }

    /// Whether it needs to know the image, for which its disk alone is not enough.
    pub const fn needs_files(self) -> bool {
        matches!(self, Self::Oci | Self::NoCloud)
    }
}

/// A file that was made.
#[derive(Debug, Clone)]
pub struct Exported {
    /// What it is.
    pub format: Format,
    /// Where it lies until it is moved to its place.
    pub path: PathBuf,
    /// Its digest and length.
    pub blob: Blob,
    /// Size in bytes of the disk that a machine finds in it; nothing if it holds none.
    pub disk_size: Option<u64>,
    /// Size of that disk's sectors in bytes.
    pub sector_size: u64,
}

/// Why an image was not exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A part of the image could not be made.
    #[error(transparent)]
    Images(#[from] crate::images::Error),
    /// The disk is not what its manifest says.
    #[error("{} is damaged: its SHA-256 is {found}, its manifest says {expected}", path.display())]
    Damaged {
        /// The disk.
        path: PathBuf,
        /// What it should be.
        expected: crate::digest::Digest,
        /// What it is.
        found: crate::digest::Digest,
    },
    /// A disk that no rave made.
    #[error("{} has {size} bytes, which is not a positive multiple of 1 MiB", path.display())]
    Size {
        /// The disk.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// A disk that is larger than a format can say.
    #[error("a disk of {size} bytes is too large for {}", format.name())]
    TooLarge {
        /// The format.
        format: Format,
        /// The size of the disk.
        size: u64,
    },
    /// JSON could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether the file system is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) | Self::Images(crate::images::Error::Disk(error)) => error.is_full(),
            _ => false,
        }
    }
}
