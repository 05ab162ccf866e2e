//! Disks with a GPT (UEFI 2.10, chapter 5): partitions aligned to 1 MiB, a protective MBR and the backup table
//! at the end. Types are those of the Discoverable Partitions Specification (UAPI.2).

use std::io;
use std::path::{Path, PathBuf};

use gptman::{GPT, GPTPartitionEntry};
pub use rave_init::gpt::{ROOT_X86_64, ROOT_X86_64_VERITY};

use crate::disk;
use crate::uuid::Uuid;

use super::layout::Sectors;

/// An EFI system partition.
pub const ESP: Uuid = Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// Attribute of a partition that must be mounted read-only.
pub const READ_ONLY: u64 = 1 << 60;

/// Alignment of partitions in bytes.
const ALIGNMENT: u64 = 1 << 20;
/// UTF-16 units that a label may have.
const LABEL: usize = 36;

/// One partition to be.
#[derive(Debug, Clone)]
pub struct Partition {
    /// What it is for: [`ESP`], [`ROOT_X86_64`] ...
    pub kind: Uuid,
    /// Its own UUID.
    pub uuid: Uuid,
    /// Its label, at most 36 UTF-16 units.
    pub label: String,
    /// Size in bytes, a positive multiple of 4096.
    pub size: u64,
    /// Attribute bits, such as [`READ_ONLY`].
    pub attributes: u64,
    /// The file that holds its first bytes; the rest is zeros.
    pub content: PathBuf,
}

/// Why no disk was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A label that does not fit the table.
    #[error("the partition label {0:?} is longer than {LABEL} characters")]
    Label(String),
    /// A size that cannot be laid out.
    #[error("partition {label} has {size} bytes, which is not a positive multiple of 4096 below 8 EiB")]
    Size {
        /// The partition.
        label: String,
        /// Its size.
        size: u64,
    },
    /// More content than room.
    #[error("the content of partition {label} has {content} bytes, {over} more than the partition", over = content - size)]
    Full {
        /// The partition.
        label: String,
        /// Its size.
        size: u64,
        /// The size of its content.
        content: u64,
    },
    /// Too many partitions, or two with one UUID.
    #[error("the partition table is refused: {0}")]
    Table(String),
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// Writes the disk `path`, a sparse file, and returns where each partition begins, in bytes.
///
/// The file ends with the backup table, right behind the last partition.
pub fn write(path: &Path, disk_uuid: Uuid, partitions: &[Partition], sectors: Sectors) -> Result<Vec<u64>, Error> {
    let sector = sectors.bytes();
    let (offsets, size) = place(partitions)?;
    for Partition { label, size, content, .. } in partitions {
        let length = disk::context("examine", content, disk::open(content)?.metadata())?.len();
        if length > *size {
            return Err(Error::Full { label: label.clone(), size: *size, content: length });
        }
    }
    let mut file = disk::create(path)?;
    disk::context("size", path, file.set_len(size))?;

    let mut table = disk::context("lay out", path, table(&mut file, disk_uuid, sector))?;
    for (number, (partition, offset)) in (1..).zip(partitions.iter().zip(&offsets)) {
        if number > table.header.number_of_partition_entries {
            return Err(Error::Table(format!("{} partitions are too many", partitions.len())));
        }
        table[number] = entry(partition, *offset, sector);
    }
    // Names what is wrong with the entries before anything is copied.
    table.write_into(&mut file).map_err(|error| Error::Table(error.to_string()))?;
    let mbr = GPT::write_protective_mbr_into(&mut file, sector).map_err(io::Error::other);
    disk::context("write the boot record of", path, mbr)?;
    for (partition, offset) in partitions.iter().zip(&offsets) {
        disk::copy_at(&partition.content, &file, *offset)?;
    }
    Ok(offsets)
}

/// The size of the sectors that a disk is laid out for, in bytes: 512 or 4096.
pub fn sector_size(path: &Path) -> Result<u64, Error> {
    Ok(read(path)?.sector_size)
}

/// Where the first partition of this type begins on a disk, in bytes; none: it has no such partition.
pub fn find(path: &Path, kind: Uuid) -> Result<Option<u64>, Error> {
    let table = read(path)?;
    let kind = Uuid::swap_gpt(*kind.as_bytes());
    let found = table.iter().find(|(_, entry)| entry.is_used() && entry.partition_type_guid == kind);
    Ok(found.map(|(_, entry)| entry.starting_lba.saturating_mul(table.sector_size)))
}

fn read(path: &Path) -> Result<GPT, Error> {
    GPT::find_from(&mut disk::open(path)?).map_err(|error| Error::Table(error.to_string()))
}

fn table(file: &mut std::fs::File, disk_uuid: Uuid, sector: u64) -> io::Result<GPT> {
    GPT::new_from(file, sector, Uuid::swap_gpt(*disk_uuid.as_bytes())).map_err(io::Error::other)
}

fn entry(partition: &Partition, offset: u64, sector: u64) -> GPTPartitionEntry {
    GPTPartitionEntry {
        partition_type_guid: Uuid::swap_gpt(*partition.kind.as_bytes()),
        unique_partition_guid: Uuid::swap_gpt(*partition.uuid.as_bytes()),
        starting_lba: offset / sector,
        ending_lba: (offset + partition.size) / sector - 1,
        attribute_bits: partition.attributes,
        partition_name: partition.label.as_str().into(),
    }
}

/// Where each partition begins, and the size of the disk.
fn place(partitions: &[Partition]) -> Result<(Vec<u64>, u64), Error> {
    let mut end = ALIGNMENT;
    let mut offsets = Vec::new();
    for Partition { label, size, .. } in partitions {
        if label.encode_utf16().count() > LABEL {
            return Err(Error::Label(label.clone()));
        }
        let next = end.checked_add(*size).and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        let next = next.filter(|end| *size > 0 && size.is_multiple_of(4096) && *end < i64::MAX as u64 - ALIGNMENT);
        offsets.push(end);
        end = next.ok_or_else(|| Error::Size { label: label.clone(), size: *size })?;
    }
    Ok((offsets, end + ALIGNMENT))
}

#[cfg(test)]
#[path = "gpt_tests.rs"]
mod tests;
