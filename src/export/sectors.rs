//! The same image on a disk with sectors of 4096 bytes. Its root file system and hash tree are the same bytes; the table of
//! partitions counts in other sectors, and so does the FAT of the EFI system partition.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::images::archive::Archive;
use crate::images::layout::{Sectors, identity};
use crate::images::manifest::Blob;
use crate::images::{Manifest, bootable};
use crate::uuid::Uuid;

use super::Error;
use super::work::Root;

/// Makes such a disk in the directory `into`; returns where it is.
pub fn large(into: &Path, root: &Root<'_>, uki: &Path, manifest: &Manifest) -> Result<PathBuf, Error> {
    let (esp, to) = (into.join("esp"), into.join("disk"));
    let own = identity("sectors of 4096 bytes", &manifest.disk.sha256);
    let archive = Archive::open(root.rootfs)?;
    let size = bootable::write_esp(&esp, (&archive, root.system), uki, &own, Sectors::Large)?;
    let (sha256, length) = disk::digest(&esp)?;
    let mut partitions = manifest.partitions.clone();
    if let Some(partition) = partitions.first_mut() {
        partition.size = size;
        partition.content = Blob { sha256, size: length };
        partition.uuid = Uuid::from_digest(&identity("esp", &sha256)).to_string();
    }
    let contents = [esp.clone(), root.image.to_owned(), root.tree.to_owned()];
    bootable::write_disk(&to, &partitions, contents, &own, Sectors::Large)?;
    disk::remove_file(&esp)?;
    Ok(to)
}
