//! EFI system partitions: FAT32 with fixed times, so that equal files give equal bytes (Microsoft, "FAT32
//! File System Specification" 1.03).
//!
//! Written once and never changed, such a file system is a list of chains, each in one piece. The `fatfs`
//! crate is not used: it gives `.` and `..` long names, which fsck.vfat and some firmware refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disk;

use super::layout::Sectors;

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
    /// FAT32 needs at least 65525 clusters.
    #[error("an EFI system partition of {size} bytes cannot be made: it takes {} MiB to 32 GiB in multiples of 4096", least >> 20)]
    Size {
        /// What was asked for, in bytes.
        size: u64,
        /// The least that can be.
        least: u64,
    },
    /// The files need more room.
    #[error("the files of the EFI system partition need {needed} bytes, and it has {room}")]
    Full {
        /// What files and directories take.
        needed: u64,
        /// What there is.
        room: u64,
    },
    /// A path that FAT, or a firmware, does not take.
    #[error("{0:?} is not a path for an EFI system partition: use letters, digits and ._+~^- between slashes")]
    Path(String),
    /// One path is there twice, perhaps with other case, or as a file and as a directory.
    #[error("{0:?} is on the EFI system partition twice")]
    Twice(String),
    /// The file system could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

const MOST: u64 = 32 << 30;
/// Sectors before the first FAT.
const RESERVED: u64 = 32;
/// The first cluster; also that of the root directory.
const FIRST: u32 = 2;
/// Marks the end of a chain.
const END: u32 = 0x0fff_ffff;
/// 1980-01-01, the first day that FAT knows.
const DATE: u16 = 0x21;
const LABEL: &[u8; 11] = b"ESP        ";
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;

/// The smallest partition in bytes: 65525 clusters of one sector at least, and the FATs.
pub const fn least(sectors: Sectors) -> u64 {
    match sectors {
        Sectors::Small => 34 << 20,
        Sectors::Large => 260 << 20,
    }
}

/// Writes an EFI system partition of `size` bytes to the file `path`, with the label `ESP`.
///
/// Directories are made as needed. The same arguments give the same bytes; files lie on the disk in the
/// order given.
pub fn write(path: &Path, size: u64, sectors: Sectors, volume_id: u32, files: &[EspFile<'_>]) -> Result<(), Error> {
    let geometry = Geometry::new(size, sectors)?;
    let sector = geometry.sector;
    let tree = Tree::new(files)?;
    let chains = tree.chains(files, &geometry)?;
    let file = disk::create(path)?;
    disk::context("size", path, file.set_len(size))?;

    let mut fat = vec![0x0fff_fff8, END];
    for chain in &chains {
        let next = fat.len() as u32 + 1;
        fat.extend((next..).take(chain.clusters as usize - 1));
        fat.push(END);
        disk::context("write", path, file.write_all_at(&chain.bytes, geometry.offset(chain.start)))?;
    }
    let fat: Vec<u8> = fat.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let boot = geometry.boot_sector(volume_id);
    let info = geometry.info_sector((fat.len() / 4) as u32);
    for (number, bytes) in [(0, &boot), (1, &info), (6, &boot), (7, &info)] {
        disk::context("write", path, file.write_all_at(bytes, number * sector))?;
    }
    for copy in 0..2 {
        let offset = (RESERVED + copy * geometry.fat_sectors) * sector;
        disk::context("write", path, file.write_all_at(&fat, offset))?;
    }
    Ok(())
}

/// How the partition is divided.
#[derive(Debug)]
struct Geometry {
    /// Size of a sector in bytes.
    sector: u64,
    sectors: u64,
    cluster_sectors: u64,
    fat_sectors: u64,
    clusters: u64,
}

impl Geometry {
    fn new(size: u64, sectors: Sectors) -> Result<Self, Error> {
        let least = least(sectors);
        if !(least..=MOST).contains(&size) || !size.is_multiple_of(4096) {
            return Err(Error::Size { size, least });
        }
        let sector = sectors.bytes();
        let sectors = size / sector;
        // 65525 clusters of 4096 bytes begin at 256 MiB.
        let cluster_sectors = if size > 272 << 20 { 4096 / sector } else { 1 };
        // Each cluster takes its sectors and four bytes in each FAT; two entries have no cluster.
        let most = (sectors - RESERVED) / cluster_sectors;
        let fat_sectors = ((most + 2) * 4).div_ceil(sector);
        let clusters = (sectors - RESERVED - 2 * fat_sectors) / cluster_sectors;
        Ok(Self { sector, sectors, cluster_sectors, fat_sectors, clusters })
    }

    fn cluster_size(&self) -> u64 {
        self.cluster_sectors * self.sector
    }

    /// Where a cluster begins, in bytes.
    fn offset(&self, cluster: u32) -> u64 {
        (RESERVED + 2 * self.fat_sectors + u64::from(cluster - FIRST) * self.cluster_sectors) * self.sector
    }

    fn boot_sector(&self, volume_id: u32) -> Vec<u8> {
        let mut sector = vec![0xeb, 0x58, 0x90];
        sector.extend(b"rave    ");
        sector.extend((self.sector as u16).to_le_bytes());
        sector.push(self.cluster_sectors as u8);
        sector.extend((RESERVED as u16).to_le_bytes());
        sector.push(2); // FATs
        sector.extend([0; 4]); // sizes of FAT12 and FAT16
        sector.push(0xf8); // a fixed disk
        sector.extend([0; 2]);
        sector.extend([32, 0, 64, 0]); // sectors per track, heads: of no use today
        sector.extend([0; 4]); // hidden sectors
        sector.extend((self.sectors as u32).to_le_bytes());
        sector.extend((self.fat_sectors as u32).to_le_bytes());
        sector.extend([0; 4]); // FATs are mirrored; version 0.0
        sector.extend(FIRST.to_le_bytes());
        sector.extend([1, 0, 6, 0]); // sectors of the summary and of the backup
        sector.extend([0; 12]);
        sector.extend([0x80, 0, 0x29]); // drive; the next three fields are there
        sector.extend(volume_id.to_le_bytes());
        sector.extend(LABEL);
        sector.extend(b"FAT32   ");
        finish(sector)
    }

    /// The summary of what is free; `used` counts the entries of the FAT from its beginning.
    fn info_sector(&self, used: u32) -> Vec<u8> {
        let mut sector = b"RRaA".to_vec();
        sector.resize(484, 0);
        sector.extend(b"rrAa");
        sector.extend((self.clusters as u32 - (used - FIRST)).to_le_bytes());
        sector.extend(used.to_le_bytes()); // where to look for a free one
        finish(sector)
    }
}

fn finish(mut sector: Vec<u8>) -> Vec<u8> {
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

/// A file or directory in one run of clusters.
struct Chain<'a> {
    start: u32,
    clusters: u64,
    bytes: std::borrow::Cow<'a, [u8]>,
}

/// Names in each directory, by the directory's path; the root is the empty path and comes first.
struct Tree<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

/// Splits the last part off a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl<'a> Tree<'a> {
    fn new(files: &[EspFile<'a>]) -> Result<Self, Error> {
        let mut directories = BTreeMap::from([("", BTreeSet::new())]);
        let mut spelled = BTreeMap::new();
        for EspFile { path, .. } in files {
            if !is_good(path) {
                return Err(Error::Path((*path).to_owned()));
            }
            let mut ends: Vec<_> = path.match_indices('/').map(|(at, _)| (at, true)).collect();
            ends.push((path.len(), false));
            for (end, is_directory) in ends {
                let this = path.get(..end).unwrap_or(path);
                let known = spelled.insert(this.to_ascii_lowercase(), (this, is_directory));
                if known.is_some_and(|known| !is_directory || known != (this, true)) {
                    return Err(Error::Twice((*path).to_owned()));
                }
                let (parent, name) = split(this);
                directories.entry(parent).or_default().insert(name);
                if is_directory {
                    directories.entry(this).or_default();
                }
            }
        }
        Ok(Self(directories))
    }

    /// Directories, then files, one behind the other.
    fn chains(&self, files: &[EspFile<'a>], geometry: &Geometry) -> Result<Vec<Chain<'a>>, Error> {
        let cluster = geometry.cluster_size();
        let clusters = |length: u64| length.div_ceil(cluster);
        let sizes = self.0.iter().map(|(path, names)| (*path, directory_size(names)));
        let sizes = sizes.chain(files.iter().map(|file| (file.path, file.content.len() as u64)));
        let (mut places, mut next) = (BTreeMap::new(), u64::from(FIRST));
        for (path, size) in sizes {
            let big = size > u64::from(u32::MAX);
            // An empty file has no cluster.
            let place = Place { start: if size == 0 { 0 } else { next as u32 }, size: size as u32 };
            places.insert(path, place);
            next += clusters(size);
            if big || next > geometry.clusters + u64::from(FIRST) {
                let needed = files.iter().map(|file| clusters(file.content.len() as u64) * cluster).sum();
                return Err(Error::Full { needed, room: geometry.clusters * cluster });
            }
        }
        let directories = self.0.iter().map(|(path, names)| (*path, self.directory(path, names, &places).into()));
        let contents = files.iter().map(|file| (file.path, file.content.into()));
        let mut chains = Vec::new();
        for (path, bytes) in directories.chain(contents) {
            let bytes: std::borrow::Cow<'a, [u8]> = bytes;
            let start = places.get(path).map_or(0, |place| place.start);
            if start != 0 {
                chains.push(Chain { start, clusters: clusters(bytes.len() as u64), bytes });
            }
        }
        Ok(chains)
    }

    fn directory(&self, path: &str, names: &BTreeSet<&str>, places: &BTreeMap<&str, Place>) -> Vec<u8> {
        let place = |path: &str| places.get(path).copied().unwrap_or(Place { start: 0, size: 0 });
        let mut bytes = Vec::new();
        if path.is_empty() {
            bytes.extend(entry(LABEL, ATTRIBUTE_LABEL, Place { start: 0, size: 0 }));
        } else {
            let parent = split(path).0;
            // The root counts as cluster 0 here.
            let above = if parent.is_empty() { 0 } else { place(parent).start };
            bytes.extend(entry(b".          ", ATTRIBUTE_DIRECTORY, Place { size: 0, ..place(path) }));
            bytes.extend(entry(b"..         ", ATTRIBUTE_DIRECTORY, Place { start: above, size: 0 }));
        }
        for (number, name) in (1..).zip(names) {
            let full = if path.is_empty() { (*name).to_owned() } else { format!("{path}/{name}") };
            let short = short_name(name, number);
            bytes.extend(long_name(name, &short));
            bytes.extend(match self.0.contains_key(full.as_str()) {
                true => entry(&short, ATTRIBUTE_DIRECTORY, Place { size: 0, ..place(&full) }),
                false => entry(&short, ATTRIBUTE_ARCHIVE, place(&full)),
            });
        }
        bytes
    }
}

/// The first cluster and the length in bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    size: u32,
}

/// Bytes of a directory, counting two entries of its own.
fn directory_size(names: &BTreeSet<&str>) -> u64 {
    names.iter().fold(64, |sum, name| sum + 32 * (1 + name.len().div_ceil(13) as u64))
}

fn entry(name: &[u8; 11], attribute: u8, place: Place) -> [u8; 32] {
    let mut entry = [0; 32];
    let [a, b, c, d] = place.start.to_le_bytes();
    entry[..11].copy_from_slice(name);
    entry[11] = attribute;
    entry[16..18].copy_from_slice(&DATE.to_le_bytes()); // created
    entry[18..20].copy_from_slice(&DATE.to_le_bytes()); // read
    entry[20..22].copy_from_slice(&[c, d]);
    entry[24..26].copy_from_slice(&DATE.to_le_bytes()); // written
    entry[26..28].copy_from_slice(&[a, b]);
    entry[28..].copy_from_slice(&place.size.to_le_bytes());
    entry
}

/// A short name that no other entry of the directory has: `number` is the entry's position in it.
fn short_name(name: &str, number: usize) -> [u8; 11] {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let tail = format!("~{number}");
    let word = |text: &str, length: usize| -> Vec<u8> {
        let bytes = text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase());
        bytes.take(length).collect()
    };
    let stem = [word(stem, 8 - tail.len().min(8)), tail.into_bytes()].concat();
    let mut short = [b' '; 11];
    for (slot, byte) in short[..8].iter_mut().zip(stem) {
        *slot = byte;
    }
    for (slot, byte) in short[8..].iter_mut().zip(word(extension, 3)) {
        *slot = byte;
    }
    short
}

/// The entries that carry a long name, the last part first.
fn long_name(name: &str, short: &[u8; 11]) -> Vec<u8> {
    let checksum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.chunks(13).enumerate();
    let last = units.len().div_ceil(13);
    let mut bytes = Vec::new();
    for (index, part) in parts.rev() {
        let order = (index as u8 + 1) | if index + 1 == last { 0x40 } else { 0 };
        let padded: Vec<u8> = part.iter().copied().chain([0]).chain([0xffff; 13]).flat_map(u16::to_le_bytes).collect();
        bytes.push(order);
        bytes.extend(&padded[..10]);
        bytes.extend([ATTRIBUTE_LONG_NAME, 0, checksum]);
        bytes.extend(&padded[10..22]);
        bytes.extend([0, 0]);
        bytes.extend(&padded[22..26]);
    }
    bytes
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
