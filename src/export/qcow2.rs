//! Compressed qcow2 (QEMU's docs/interop/qcow2.txt, version 3): clusters of 64 KiB, each a frame of zstd, or as it is
//! where that would not be shorter. Tables follow the data.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk::{self, File};

use super::blocks::{BLOCK, Target};
use super::packed::Packed;
use super::{Error, Format};

const CLUSTER: u64 = BLOCK;
/// Clusters of the disk that one table of the second level stands for.
const PER_TABLE: u64 = CLUSTER / 8;
/// Clusters of the file that one block of reference counts stands for.
const PER_COUNTS: u64 = CLUSTER / 2;
/// The only reference to a cluster is this one.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where the length of compressed data begins in its entry: 62 - (cluster bits - 8).
const LENGTH_SHIFT: u32 = 62 - (16 - 8);
/// The unit of that length, in bits.
const SECTOR_BITS: u32 = 9;
/// QEMU reads tables of the first level of up to 32 MiB.
const LARGEST: u64 = (32 << 20) / 8 * PER_TABLE * CLUSTER;

/// Writes such a file.
pub struct Qcow2 {
    file: File,
    path: PathBuf,
    size: u64,
    space: Space,
    first_level: Vec<u64>,
    /// The table of the second level that is being filled, and which one it is.
    table: Vec<u64>,
    number: u64,
}

impl Qcow2 {
    /// Begins the file `path` for a disk of `size` bytes.
    pub fn create(path: &Path, size: u64) -> Result<Self, Error> {
        if size > LARGEST {
            return Err(Error::TooLarge { format: Format::Qcow2, size });
        }
        let file = disk::create(path)?;
        let tables = size.div_ceil(PER_TABLE * CLUSTER) as usize;
        let mut space = Space::default();
        space.clusters(1); // the header
        Ok(Self {
            file,
            path: path.to_owned(),
            size,
            space,
            first_level: vec![0; tables],
            table: vec![0; PER_TABLE as usize],
            number: 0,
        })
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        Ok(disk::context("write", &self.path, self.file.write_all_at(bytes, offset))?)
    }

    /// Writes the current table, if there is anything in it.
    fn flush(&mut self) -> Result<(), Error> {
        if self.table.iter().any(|entry| *entry != 0) {
            let at = self.space.clusters(1);
            self.write(&big_endian(&self.table), at)?;
            if let Some(entry) = self.first_level.get_mut(self.number as usize) {
                *entry = at | COPIED;
            }
            self.table.fill(0);
        }
        Ok(())
    }
}

impl Target for Qcow2 {
    fn put(&mut self, block: &Packed) -> Result<(), Error> {
        if block.number / PER_TABLE != self.number {
            self.flush()?;
            self.number = block.number / PER_TABLE;
        }
        let length = block.zstd.len() as u64;
        let entry = if length < CLUSTER {
            let at = self.space.bytes(length);
            self.write(&block.zstd, at)?;
            let more_sectors = ((at + length - 1) >> SECTOR_BITS) - (at >> SECTOR_BITS);
            at | COMPRESSED | more_sectors << LENGTH_SHIFT
        } else {
            let at = self.space.clusters(1);
            self.write(&block.bytes, at)?;
            at | COPIED
        };
        if let Some(slot) = self.table.get_mut((block.number % PER_TABLE) as usize) {
            *slot = entry;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.flush()?;
        let table = self.space.clusters((self.first_level.len() as u64 * 8).div_ceil(CLUSTER));
        self.write(&big_endian(&self.first_level), table)?;
        let (counts_table, counts_clusters) = self.space.counts_own();
        let blocks = counts_table + counts_clusters * CLUSTER;
        let counts: Vec<u8> = self.space.counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        let number = (self.space.counts.len() as u64).div_ceil(PER_COUNTS);
        let places: Vec<u64> = (0..number).map(|number| blocks + number * CLUSTER).collect();
        self.write(&big_endian(&places), counts_table)?;
        self.write(&counts, blocks)?;
        let length = self.space.counts.len() as u64 * CLUSTER;
        disk::context("size", &self.path, self.file.set_len(length))?;
        self.write(&header(self.size, self.first_level.len() as u32, table, counts_table, counts_clusters as u32), 0)
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

fn header(size: u64, tables: u32, table: u64, counts: u64, counts_clusters: u32) -> Vec<u8> {
    const LENGTH: u32 = 112;
    /// There is a field for the type of compression.
    const COMPRESSION: u64 = 1 << 3;
    const ZSTD: u8 = 1;
    let mut header = b"QFI\xfb".to_vec();
    header.extend(3_u32.to_be_bytes());
    header.extend([0; 12]); // no backing file
    header.extend(CLUSTER.trailing_zeros().to_be_bytes());
    header.extend(size.to_be_bytes());
    header.extend([0; 4]); // not encrypted
    header.extend(tables.to_be_bytes());
    header.extend(table.to_be_bytes());
    header.extend(counts.to_be_bytes());
    header.extend(counts_clusters.to_be_bytes());
    header.extend([0; 12]); // no snapshots
    header.extend(COMPRESSION.to_be_bytes());
    header.extend([0; 16]); // other features
    header.extend(4_u32.to_be_bytes()); // reference counts of 16 bits
    header.extend(LENGTH.to_be_bytes());
    header.push(ZSTD);
    header.resize(LENGTH as usize + 8, 0); // no extensions
    header
}

/// What of the file is taken: how many references there are to each cluster.
#[derive(Debug, Default)]
struct Space {
    counts: Vec<u16>,
    /// Where compressed data may go on; a multiple of the cluster size if there is no begun cluster.
    free: u64,
}

impl Space {
    fn end(&self) -> u64 {
        self.counts.len() as u64 * CLUSTER
    }

    /// Takes whole clusters, one behind the other.
    fn clusters(&mut self, count: u64) -> u64 {
        let at = self.end();
        self.counts.extend((0..count).map(|_| 1));
        at
    }

    /// Takes room for compressed data, beside other such data where it fits. QEMU counts a reference for each cluster
    /// that the data lies in.
    fn bytes(&mut self, length: u64) -> u64 {
        let begun_until = self.free.next_multiple_of(CLUSTER);
        let fits = length <= begun_until - self.free || (self.free < begun_until && begun_until == self.end());
        let at = if fits { self.free } else { self.end() };
        let last = (at + length - 1) / CLUSTER;
        self.counts.resize(self.counts.len().max(last as usize + 1), 0);
        for count in self.counts.iter_mut().skip((at / CLUSTER) as usize).take((last - at / CLUSTER) as usize + 1) {
            *count += 1;
        }
        self.free = at + length;
        at
    }

    /// Takes the clusters of the reference counts themselves: the table, then the blocks right behind it. Returns where
    /// the table is, and how many clusters it has.
    fn counts_own(&mut self) -> (u64, u64) {
        let used = self.counts.len() as u64;
        let (mut table, mut blocks) = (1, 1);
        loop {
            let wanted = (used + table + blocks).div_ceil(PER_COUNTS);
            if wanted <= blocks && (blocks * 8).div_ceil(CLUSTER) <= table {
                return (self.clusters(table + blocks), table);
            }
            blocks = wanted.max(blocks);
            table = (blocks * 8).div_ceil(CLUSTER).max(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::packed::{Packer, Packing};

    #[test]
    fn compressed_data_shares_clusters_and_is_counted_in_each() {
        let mut space = Space::default();
        assert_eq!(space.clusters(1), 0);
        assert_eq!([space.bytes(40_000), space.bytes(40_000)], [65_536, 105_536]);
        assert_eq!(space.counts, [1, 2, 1]);
        // A whole cluster behind a begun one; small data still fits in between, large data does not.
        assert_eq!(space.clusters(1), 3 * CLUSTER);
        assert_eq!([space.bytes(1000), space.bytes(60_000)], [145_536, 4 * CLUSTER]);
        assert_eq!(space.counts, [1, 2, 2, 1, 1]);
        // What fills its cluster to the end leaves none begun.
        assert_eq!([space.bytes(5536), space.bytes(1)], [4 * CLUSTER + 60_000, 5 * CLUSTER]);
    }

    #[test]
    fn counts_count_themselves() {
        for used in [1, PER_COUNTS - 3, PER_COUNTS - 2, PER_COUNTS - 1, PER_COUNTS, 3 * PER_COUNTS - 3] {
            let mut space = Space::default();
            space.clusters(used);
            let (at, table) = space.counts_own();
            let blocks = space.counts.len() as u64 - used - table;
            assert_eq!((at, table), (used * CLUSTER, 1));
            assert!(blocks * PER_COUNTS >= space.counts.len() as u64, "{used}");
            assert!((blocks - 1) * PER_COUNTS < space.counts.len() as u64, "{used}");
        }
    }

    #[test]
    fn the_header_and_tables_say_where_things_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let size = PER_TABLE * CLUSTER + (1 << 20);
        let mut file = Qcow2::create(&path, size).unwrap();
        let mut packer = Packer::new(Packing { zstd: true, deflate: false });
        for number in [1, PER_TABLE + 1] {
            file.put(&packer.pack(number, vec![number as u8; 65536]).unwrap()).unwrap();
        }
        file.finish().unwrap();
        let bytes = disk::read(&path).unwrap();
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((&bytes[..4], word(4), word(20), long(24)), (&b"QFI\xfb"[..], 3, 16, size));
        assert_eq!((long(72), word(96), word(100), bytes[104]), (8, 4, 112, 1));
        assert_eq!((word(36), bytes.len() as u64 % CLUSTER), (2, 0));
        let first = long(40) as usize;
        let table = (long(first) & !COPIED) as usize;
        let entry = long(table + 8);
        assert_eq!((long(table), entry & COMPRESSED, long(first) & COPIED), (0, COMPRESSED, COPIED));
        let at = (entry & ((1 << LENGTH_SHIFT) - 1)) as usize;
        let frame = zstd::bulk::decompress(&bytes[at..at + 19], 65536).unwrap_or_default();
        assert!(frame.is_empty() || frame == vec![1; 65536]);
        assert_eq!(long(long(48) as usize), long(48) + CLUSTER, "the counts follow their table");
        assert!(matches!(Qcow2::create(&path, LARGEST + 1), Err(Error::TooLarge { .. })));
    }
}
