//! The disk of a machine across versions: two slots for root file systems, and /var, which outlives them all.
//!
//! A new disk is a copy of the image; the machine itself makes the second slot and /var when it first boots. Another
//! version is written into the slot that is not in use, while the machine is off, and the EFI system partition is then
//! replaced by that version's. Going back replaces it once more. Beside the disk is a note of which version it boots; it
//! is taken back before the EFI system partition is written, so that whatever was cut short is done again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gptman::{GPT, GPTPartitionEntry};
use serde::{Deserialize, Serialize};

use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::images::{Manifest, gpt};
use crate::uuid::Uuid;

/// How much is copied at a time, in bytes.
const PIECE: u64 = 1 << 20;

/// Why a disk cannot boot a version.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A partition table cannot be read or written.
    #[error("the partition table of {}: {reason}", path.display())]
    Table {
        /// The disk.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The version does not fit the disk.
    #[error("{version} does not fit the disk {}: {reason}", path.display())]
    Unfit {
        /// Image and version.
        version: String,
        /// The disk.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The note beside the disk cannot be read.
    #[error("{} is not a note of rave", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// What was done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It boots that version already.
    Nothing,
    /// It was made.
    Made,
    /// The version was written into the free slot.
    Written,
    /// The root file system of the version was there, and boots with its EFI system partition.
    Switched,
}

/// Which version a disk boots.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The root hash; none while the EFI system partition is being written.
    boots: Option<Digest>,
    /// Digest of the image whose EFI system partition it has: another kernel, initrd or boot loader leaves the root hash
    /// as it is. None: an older rave has written the note.
    #[serde(default)]
    image: Option<Digest>,
    /// The one before, which the free slot is not.
    before: Option<Digest>,
}

/// Has the disk at `path` boot the version that is `image` with `manifest`. The machine must be off.
///
/// # Errors
/// The version does not fit, or a file cannot be read or written. /var is not touched by any of this.
pub fn prepare(path: &Path, image: &Path, manifest: &Manifest) -> Result<Done, Error> {
    let note = Note::read(path)?;
    let boots = |before| Note { boots: Some(manifest.root_hash), image: Some(manifest.disk.sha256), before };
    if (note.boots, note.image) == (Some(manifest.root_hash), Some(manifest.disk.sha256)) && disk::exists(path) {
        return Ok(Done::Nothing);
    }
    let wanted = read_table(image)?;
    let mut is_worth_keeping = false;
    if disk::exists(path) {
        // Before the first boot has made /var, there is nothing to lose.
        is_worth_keeping = read_table(path)?.iter().any(|(_, entry)| entry.partition_name.as_str() == "var");
    }
    if !is_worth_keeping {
        make(path, image, manifest)?;
        boots(None).write(path)?;
        return Ok(Done::Made);
    }
    let mut switch = Switch { path, image, manifest, table: read_table(path)?, wanted };
    let is_there = switch.find()?;
    if !is_there {
        switch.fill(note.boots.or(note.before))?;
    }
    Note { boots: None, image: None, before: note.boots.or(note.before) }.write(path)?;
    switch.esp()?;
    boots(note.boots.or(note.before)).write(path)?;
    Ok(if is_there { Done::Switched } else { Done::Written })
}

impl Note {
    fn path(disk: &Path) -> PathBuf {
        disk.with_extension("boots.json")
    }

    fn read(disk: &Path) -> Result<Self, Error> {
        let path = Self::path(disk);
        match disk::read(&path) {
            Err(error) if error.is_not_found() => Ok(Self::default()),
            bytes => serde_json::from_slice(&bytes?).map_err(|source| Error::Note { path, source }),
        }
    }

    fn write(&self, disk: &Path) -> Result<(), Error> {
        let path = Self::path(disk);
        let bytes = serde_json::to_vec(self).map_err(|source| Error::Note { path: path.clone(), source })?;
        Ok(disk::write_atomic(path, &bytes, 0o600)?)
    }
}

/// Makes the disk; it appears when it is whole.
fn make(path: &Path, image: &Path, manifest: &Manifest) -> Result<(), Error> {
    let unfinished = path.with_extension("new");
    disk::remove_file(&unfinished)?;
    let file = disk::create(&unfinished)?;
    disk::set_mode(&unfinished, 0o600)?;
    let length = disk::copy_at(image, &file, 0)?;
    disk::context("size", &unfinished, file.set_len(length.max(manifest.disk_size)))?;
    disk::context("write", &unfinished, file.sync_all())?;
    Ok(disk::rename(&unfinished, path)?)
}

/// A partition to be filled: its number, its entry on the image, where it begins in bytes, and how much goes into it.
type Chosen = (u32, GPTPartitionEntry, u64, u64);

/// A disk that is to boot another version.
struct Switch<'a> {
    path: &'a Path,
    image: &'a Path,
    manifest: &'a Manifest,
    table: GPT,
    wanted: GPT,
}

impl Switch<'_> {
    /// Whether both partitions of the version are on the disk.
    fn find(&self) -> Result<bool, Error> {
        let (data, tree) = Uuid::of_root_hash(&self.manifest.root_hash);
        Ok(numbered(&self.table, gpt::ROOT_X86_64, data).is_some()
            && numbered(&self.table, gpt::ROOT_X86_64_VERITY, tree).is_some())
    }

    /// Writes the version into a slot that is not `kept`.
    fn fill(&mut self, kept: Option<Digest>) -> Result<(), Error> {
        let kept = kept.map(|hash| Uuid::of_root_hash(&hash));
        let (data, tree) = Uuid::of_root_hash(&self.manifest.root_hash);
        let mut chosen: Vec<Chosen> = Vec::new();
        for (kind, own, kept) in [
            (gpt::ROOT_X86_64, data, kept.map(|kept| kept.0)),
            (gpt::ROOT_X86_64_VERITY, tree, kept.map(|kept| kept.1)),
        ] {
            let what = if kind == gpt::ROOT_X86_64 { "root file system" } else { "hash tree" };
            let from = numbered(&self.wanted, kind, own).and_then(|number| entry(&self.wanted, number).cloned());
            let from = from.ok_or_else(|| self.unfit(format!("its image has no {what}")))?;
            let free = |(number, entry): (u32, &GPTPartitionEntry)| {
                let is_kept = kept.is_some_and(|kept| entry.unique_partition_guid == guid(kept));
                (entry.partition_type_guid == guid(kind) && !is_kept).then_some(number)
            };
            let number = self.table.iter().find_map(free);
            let number = number.ok_or_else(|| self.unfit(format!("there is no free slot for its {what}")))?;
            let size = self.content(own)?;
            let slot = entry(&self.table, number).map_or(0..0, |entry| range(&self.table, entry));
            if size > slot.end.saturating_sub(slot.start) {
                let room = slot.end.saturating_sub(slot.start) >> 20;
                return Err(self.unfit(format!("its {what} has {} MiB, a slot has {room} MiB", size >> 20)));
            }
            chosen.push((number, from, slot.start, size));
        }
        let file = disk::open_existing_rw(self.path)?;
        // What is half written must not be taken for the version that was there.
        self.rename(&file, &chosen, |entry, _| {
            let mut unfinished = Canonical::new("rave slot being written");
            let own = unfinished.field(entry.starting_lba.to_le_bytes()).finish();
            entry.unique_partition_guid = guid(Uuid::from_digest(&own));
            entry.partition_name = "_empty".into();
        })?;
        for (_, from, start, size) in &chosen {
            copy(self.image, range(&self.wanted, from).start, &file, self.path, *start, *size)?;
        }
        // What the table names must be there.
        disk::context("write", self.path, file.sync_all())?;
        self.rename(&file, &chosen, |entry, from| {
            entry.unique_partition_guid = from.unique_partition_guid;
            entry.partition_name = from.partition_name.as_str().into();
            entry.attribute_bits = from.attribute_bits;
        })
    }

    /// Changes the entries of the chosen slots.
    fn rename(
        &mut self,
        mut file: &File,
        chosen: &[Chosen],
        change: impl Fn(&mut GPTPartitionEntry, &GPTPartitionEntry),
    ) -> Result<(), Error> {
        for (number, from, ..) in chosen {
            if let Some((_, entry)) = self.table.iter_mut().find(|(found, _)| found == number) {
                change(entry, from);
            }
        }
        self.table.write_into(&mut file).map_err(|error| refused(self.path, &error))?;
        Ok(disk::context("write", self.path, file.sync_all())?)
    }

    /// Replaces the EFI system partition.
    fn esp(&self) -> Result<(), Error> {
        let of = |table: &GPT| {
            let found = table.iter().find(|(_, entry)| entry.partition_type_guid == guid(gpt::ESP))?;
            Some(range(table, found.1))
        };
        let (Some(to), Some(from)) = (of(&self.table), of(&self.wanted)) else {
            return Err(self.unfit("there is no EFI system partition".to_owned()));
        };
        let size = from.end - from.start;
        if size > to.end - to.start {
            let reason = format!(
                "its EFI system partition has {} MiB, the disk's has {}",
                size >> 20,
                (to.end - to.start) >> 20
            );
            return Err(self.unfit(reason));
        }
        let file = disk::open_existing_rw(self.path)?;
        copy(self.image, from.start, &file, self.path, to.start, size)?;
        Ok(disk::context("write", self.path, file.sync_all())?)
    }

    /// Bytes of a partition that its image fills.
    fn content(&self, uuid: Uuid) -> Result<u64, Error> {
        let uuid = uuid.to_string();
        let found = self.manifest.partitions.iter().find(|partition| partition.uuid == uuid);
        found
            .map(|partition| partition.content.size)
            .ok_or_else(|| self.unfit("its manifest is of another image".to_owned()))
    }

    fn unfit(&self, reason: String) -> Error {
        let version = format!("{} {}", self.manifest.image, self.manifest.version);
        Error::Unfit { version, path: self.path.to_owned(), reason }
    }
}

/// The partition table of a disk. The guest may have written any: what has more entries than can be is refused before
/// they are read, and so is a partition that lies outside.
fn read_table(path: &Path) -> Result<GPT, Error> {
    let mut file = disk::open(path)?;
    let length = disk::context("examine", path, file.metadata())?.len();
    let wrong = |reason: String| Error::Table { path: path.to_owned(), reason };
    if length < 1024 {
        return Err(wrong("there is none".to_owned()));
    }
    let mut sector = vec![0; 512];
    disk::context("read", path, file.read_exact_at(&mut sector, 512))?;
    rave_init::gpt::header(&sector, 512).map_err(|error| wrong(error.to_string()))?;
    // The sizes of header and entry that all programs write, and the only ones that gptman writes.
    let sizes = [(12, 92_u32), (84, 128)];
    if !sizes.iter().all(|(at, size)| sector.get(*at..at + 4) == Some(&size.to_le_bytes()[..])) {
        return Err(wrong("it is of an unusual form".to_owned()));
    }
    let table = GPT::find_from(&mut file).map_err(|error| refused(path, &error))?;
    let is_outside = |entry: &GPTPartitionEntry| entry.is_used() && range(&table, entry).end > length;
    let outside = table.iter().find(|(_, entry)| is_outside(entry)).map(|(number, _)| number);
    match outside {
        Some(number) => Err(wrong(format!("partition {number} lies outside the disk"))),
        None => Ok(table),
    }
}

fn refused(path: &Path, error: &gptman::Error) -> Error {
    Error::Table { path: path.to_owned(), reason: error.to_string() }
}

fn guid(uuid: Uuid) -> [u8; 16] {
    Uuid::swap_gpt(*uuid.as_bytes())
}

fn numbered(table: &GPT, kind: Uuid, uuid: Uuid) -> Option<u32> {
    let is = |entry: &GPTPartitionEntry| {
        entry.partition_type_guid == guid(kind) && entry.unique_partition_guid == guid(uuid)
    };
    table.iter().find(|(_, entry)| is(entry)).map(|(number, _)| number)
}

fn entry(table: &GPT, number: u32) -> Option<&GPTPartitionEntry> {
    table.iter().find(|(found, _)| *found == number).map(|(_, entry)| entry)
}

/// Where a partition is, in bytes.
fn range(table: &GPT, entry: &GPTPartitionEntry) -> std::ops::Range<u64> {
    let start = entry.starting_lba.saturating_mul(table.sector_size);
    start..entry.ending_lba.saturating_add(1).saturating_mul(table.sector_size).max(start)
}

/// Copies bytes, zeros too: what was there before must not show through.
fn copy(from: &Path, mut source: u64, to: &File, path: &Path, mut target: u64, size: u64) -> Result<(), Error> {
    let file = disk::open(from)?;
    let end = source.saturating_add(size);
    let mut buffer = vec![0; usize::try_from(PIECE).unwrap_or(0)];
    while source < end {
        let length = usize::try_from((end - source).min(PIECE)).unwrap_or(0);
        let Some(piece) = buffer.get_mut(..length) else { break };
        disk::context("read", from, file.read_exact_at(piece, source))?;
        disk::context("write", path, to.write_all_at(piece, target))?;
        (source, target) = (source + length as u64, target + length as u64);
    }
    Ok(())
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
