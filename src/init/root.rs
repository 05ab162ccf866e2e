//! Finding the root file system by the root hash (Discoverable Partitions Specification) and opening it
//! through dm-verity.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rave_init::digest::Digest;
use rave_init::uuid::Uuid;
use rave_init::verity::{self, Superblock};
use rave_init::{disk, gpt};

use crate::dm;
use crate::log::{Log, chain};

/// How long disks may take to appear, and how often to look.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(25);
/// Where the kernel lists block devices.
const BLOCK: &str = "/sys/class/block";
/// The name that systemd gives to a verified root file system.
const NAME: &str = "root";

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No disk has the partitions that belong to the root hash.
    #[error("no disk has the partitions of root hash {hash} after {} seconds: {seen}", PATIENCE.as_secs())]
    NotFound {
        /// The root hash.
        hash: Digest,
        /// What each disk has instead.
        seen: String,
    },
    /// The disk's table, or a partition of it, cannot be read any more.
    #[error("cannot find the partition for /var on {disk}")]
    Table {
        /// The kernel's name of the disk.
        disk: String,
        /// What is wrong with it.
        source: Box<NotThis>,
    },
    /// A partition could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The kernel says something of a device that is not a number.
    #[error("the kernel describes {0} in a way that is not understood")]
    Attribute(PathBuf),
    /// The hash tree is of another kind.
    #[error(transparent)]
    Superblock(#[from] verity::Error),
    /// dm-verity could not be set up.
    #[error(transparent)]
    DeviceMapper(#[from] dm::Error),
}

/// Why one disk is not the one.
#[derive(Debug, thiserror::Error)]
pub enum NotThis {
    /// Its partition table is not one, is damaged, or has other partitions.
    #[error(transparent)]
    Table(#[from] gpt::Error),
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The kernel describes it in a way that is not understood.
    #[error(transparent)]
    Other(#[from] Error),
    /// The table has a partition that the kernel does not know.
    #[error("the kernel has not made its partition {0}")]
    Partition(u32),
}

/// Both partitions of a root file system, as the kernel names them: `vda2`.
struct Found {
    disk: String,
    data: String,
    tree: String,
}

/// A root file system that is open.
pub struct Opened {
    /// The device to mount.
    pub device: PathBuf,
    /// The kernel's name of the disk that it is on: `vda`.
    pub disk: String,
}

/// Waits for the disk that holds the root file system, and opens it.
pub fn open(hash: &Digest, log: &mut Log) -> Result<Opened, Error> {
    let Found { disk: name, data, tree } = wait(hash)?;
    let data_size = number(&data, "size")?.saturating_mul(512);
    let path = node(&tree);
    let mut bytes = [0; verity::SUPERBLOCK];
    disk::context("read", &path, disk::open(&path)?.read_exact_at(&mut bytes, 0))?;
    let superblock = Superblock::parse(&bytes, data_size)?;

    let parameters = superblock.parameters(&attribute(&data, "dev")?, &attribute(&tree, "dev")?, hash);
    let control = disk::open_existing_rw("/dev/mapper/control")?;
    let device = dm::Device {
        name: NAME,
        uuid: &superblock.dm_uuid(NAME),
        target: "verity",
        sectors: superblock.sectors(),
        parameters: &parameters,
    };
    let minor = dm::create(&control, &device)?;
    log.information(&format!("root file system on {data}, verified by {tree}"));
    // The link that udev would make, so that later programs find the device under its usual name.
    let link = PathBuf::from("/dev/mapper").join(NAME);
    disk::symlink(format!("../dm-{minor}"), &link)?;
    Ok(Opened { device: link, disk: name })
}

fn wait(hash: &Digest) -> Result<Found, Error> {
    let begin = Instant::now();
    loop {
        let mut seen = BTreeMap::new();
        for disk in disks()? {
            match search(&disk, hash) {
                Ok(found) => return Ok(found),
                Err(reason) => drop(seen.insert(disk, chain(&reason))),
            }
        }
        if begin.elapsed() > PATIENCE {
            let mut seen: Vec<_> = seen.into_iter().map(|(disk, reason)| format!("{disk}: {reason}")).collect();
            if seen.is_empty() {
                seen.push("there is no disk at all".into());
            }
            return Err(Error::NotFound { hash: *hash, seen: seen.join("; ") });
        }
        sleep(PAUSE);
    }
}

/// Whole disks that may hold partitions.
fn disks() -> Result<Vec<String>, Error> {
    let names = disk::list(BLOCK)?;
    let names = names.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    Ok(names.filter(|name| may_be_disk(name) && !disk::exists(format!("{BLOCK}/{name}/partition"))).collect())
}

/// Devices that never hold an image, and floppy drives, which take seconds to say so.
fn may_be_disk(name: &str) -> bool {
    !["dm-", "fd", "loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix))
}

fn search(disk: &str, hash: &Digest) -> Result<Found, NotThis> {
    let (data, tree) = Uuid::of_root_hash(hash);
    let Table { header, entries, .. } = table(disk)?;
    let root = gpt::find(&header, &entries, data, tree)?;
    Ok(Found { disk: disk.to_owned(), data: partition(disk, root.data)?, tree: partition(disk, root.tree)? })
}

/// The partition table of a disk.
struct Table {
    header: gpt::Header,
    entries: Vec<u8>,
    sector_size: u64,
}

fn table(disk: &str) -> Result<Table, NotThis> {
    let sector_size = number(disk, "queue/logical_block_size")?.clamp(512, 65_536);
    let path = node(disk);
    let device = disk::open(&path)?;
    let read = |offset, length| disk::context("read", &path, read_at(&device, offset, length));
    let header = gpt::header(&read(sector_size, sector_size)?, sector_size)?;
    let entries = read(header.entries.start, header.entries.end - header.entries.start)?;
    Ok(Table { header, entries, sector_size })
}

/// The partition for /var.
pub struct Var {
    /// The kernel's name of it: `vda6`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes between its end and that of the disk.
    pub behind: u64,
}

/// Looks for the partition for /var on a disk, in its table as it is now.
pub fn var(disk: &str) -> Result<Option<Var>, Error> {
    let look = || -> Result<Option<Var>, NotThis> {
        let Table { header, entries, sector_size } = table(disk)?;
        let Some(place) = gpt::first_of(&header, &entries, gpt::VAR)? else { return Ok(None) };
        let name = partition(disk, place.number)?;
        let end = place.last.saturating_add(1).saturating_mul(sector_size);
        let [size, whole] = [number(&name, "size")?, number(disk, "size")?].map(|sectors| sectors.saturating_mul(512));
        Ok(Some(Var { name, size, behind: whole.saturating_sub(end) }))
    };
    look().map_err(|source| Error::Table { disk: disk.to_owned(), source: Box::new(source) })
}

fn read_at(device: &File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    device.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The kernel's name of a disk's partition.
fn partition(disk: &str, number: u32) -> Result<String, NotThis> {
    let below = disk::list(format!("{BLOCK}/{disk}"))?;
    let mut names = below.iter().filter_map(|path| path.file_name()?.to_str());
    let wanted = number.to_string();
    let found = names.find(|name| attribute(&format!("{disk}/{name}"), "partition").is_ok_and(|n| n == wanted));
    found.map(str::to_owned).ok_or(NotThis::Partition(number))
}

/// The device node of a name in /sys, which writes `/` as `!`.
pub fn node(name: &str) -> PathBuf {
    PathBuf::from("/dev").join(name.replace('!', "/"))
}

fn attribute(device: &str, name: &str) -> Result<String, disk::Error> {
    Ok(disk::read_to_string(format!("{BLOCK}/{device}/{name}"))?.trim().to_owned())
}

fn number(device: &str, name: &str) -> Result<u64, Error> {
    let path = || PathBuf::from(format!("{BLOCK}/{device}/{name}"));
    attribute(device, name)?.parse().map_err(|_| Error::Attribute(path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(node("cciss!c0d0p2"), std::path::Path::new("/dev/cciss/c0d0p2"));
        assert!(may_be_disk("vda") && may_be_disk("nvme0n1") && may_be_disk("sr0"));
        assert!(!may_be_disk("loop3") && !may_be_disk("dm-0") && !may_be_disk("fd0"));
    }
}
