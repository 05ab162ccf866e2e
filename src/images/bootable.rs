//! The two pieces of an image that depend on the size of a disk's sectors: the EFI system partition and the disk.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk;
use crate::system::System;
use crate::uuid::Uuid;

use super::archive::Archive;
use super::error::Error;
use super::esp::{self, EspFile};
use super::layout::{self, Sectors};
use super::{gpt, manifest};

/// Where the boot loader is in the root file system; Debian's systemd-boot-efi brings it.
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// Writes the EFI system partition with the kernel image `uki`; `own` tells it from others. Returns its size in bytes,
/// which is more than the image asks for where FAT32 needs more.
pub fn write_esp(
    to: &Path,
    (archive, system): (&Archive, &System),
    uki: &Path,
    own: &Digest,
    sectors: Sectors,
) -> Result<u64, Error> {
    let loader = archive.read(LOADER)?;
    let kernel = disk::read(uki)?;
    // Three tries before the boot loader prefers another version (UAPI.1, boot counting).
    let name = format!("EFI/Linux/{}_{}+3-0.efi", system.name, system.version);
    let files = [
        EspFile { path: "EFI/BOOT/BOOTX64.EFI", content: &loader },
        EspFile { path: "EFI/systemd/systemd-bootx64.efi", content: &loader },
        EspFile { path: "loader/loader.conf", content: b"timeout 0\neditor no\n" },
        EspFile { path: &name, content: &kernel },
    ];
    let [a, b, c, d, ..] = *layout::identity("esp volume", own).as_bytes();
    let length = layout::esp_size(system, sectors);
    esp::write(to, length, sectors, u32::from_be_bytes([a, b, c, d]), &files)
        .map_err(|e| Error::format("EFI system partition", e))?;
    Ok(length)
}

/// Writes the disk with `partitions` and their contents; `own` tells it from others.
pub fn write_disk(
    to: &Path,
    partitions: &[manifest::Partition],
    contents: [PathBuf; 3],
    own: &Digest,
    sectors: Sectors,
) -> Result<(), Error> {
    let partitions: Vec<gpt::Partition> = partitions
        .iter()
        .zip(contents)
        .map(|(partition, content)| {
            let kind = parse_uuid(&partition.kind)?;
            let attributes = if kind == gpt::ESP { 0 } else { gpt::READ_ONLY };
            let uuid = parse_uuid(&partition.uuid)?;
            Ok(gpt::Partition { kind, uuid, label: partition.label.clone(), size: partition.size, attributes, content })
        })
        .collect::<Result<_, Error>>()?;
    let uuid = Uuid::from_digest(&layout::identity("disk", own));
    gpt::write(to, uuid, &partitions, sectors).map_err(|e| Error::format("disk", e))?;
    Ok(())
}

fn parse_uuid(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|e| Error::format("disk", e))
}
