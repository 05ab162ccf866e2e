//! Reading a partition table (UEFI 2.10, chapter 5.3) to find the two partitions of a root file system.
//!
//! Only the primary table counts: without it the kernel makes no partitions either.

use std::ops::Range;

use crate::uuid::Uuid;

/// A root file system for x86-64 (Discoverable Partitions Specification).
pub const ROOT_X86_64: Uuid = Uuid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
/// What a machine writes (Discoverable Partitions Specification).
pub const VAR: Uuid = Uuid::from_u128(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);
/// The dm-verity tree of a root file system for x86-64.
pub const ROOT_X86_64_VERITY: Uuid = Uuid::from_u128(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5);

/// More entries, or larger ones, than any real table has.
const MOST_ENTRIES: u32 = 1024;
const LARGEST_ENTRY: u32 = 4096;
const LEAST_HEADER: u32 = 92;

/// Why a disk is not the one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another disk, perhaps an empty one.
    #[error("it has no partition table")]
    None,
    /// A table that was cut off or changed.
    #[error("its partition table is damaged: {0}")]
    Damaged(&'static str),
    /// Another image's disk.
    #[error("it has no partition {0}")]
    Missing(Uuid),
}

/// The header of a table, checked by its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where the entries are, in bytes from the beginning of the disk; never more than 4 MiB of them.
    pub entries: Range<u64>,
    entry_size: usize,
    checksum: u32,
}

/// Numbers, counted from 1, of the partitions that hold a root file system and its hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The file system.
    pub data: u32,
    /// The hash tree.
    pub tree: u32,
}

/// Reads the header: `sector` is the second sector of a disk whose sectors have `sector_size` bytes.
pub fn header(sector: &[u8], sector_size: u64) -> Result<Header, Error> {
    if sector.get(..8) != Some(b"EFI PART") {
        return Err(Error::None);
    }
    let damaged = || Error::Damaged("its header is cut off");
    let size = u32_at(sector, 12).ok_or_else(damaged)?;
    if size < LEAST_HEADER {
        return Err(Error::Damaged("its header is too short"));
    }
    let mut covered = sector.get(..size as usize).ok_or_else(damaged)?.to_vec();
    covered[16..20].fill(0);
    if Some(crc32(&covered)) != u32_at(sector, 16) {
        return Err(Error::Damaged("the checksum of its header is wrong"));
    }
    let start = u64_at(sector, 72).and_then(|sector| sector.checked_mul(sector_size));
    let (count, entry_size) = (u32_at(sector, 80).ok_or_else(damaged)?, u32_at(sector, 84).ok_or_else(damaged)?);
    if !(128..=LARGEST_ENTRY).contains(&entry_size) || count > MOST_ENTRIES {
        return Err(Error::Damaged("it has more or larger entries than can be"));
    }
    let length = u64::from(count) * u64::from(entry_size);
    let range = start.and_then(|start| Some(start..start.checked_add(length)?));
    Ok(Header {
        entries: range.ok_or(Error::Damaged("its entries lie outside the disk"))?,
        entry_size: entry_size as usize,
        checksum: u32_at(sector, 88).ok_or_else(damaged)?,
    })
}

/// Finds the partitions with these UUIDs and the right types; `entries` are the bytes that the header names.
pub fn find(header: &Header, entries: &[u8], data: Uuid, tree: Uuid) -> Result<Root, Error> {
    check(header, entries)?;
    let number = |kind: Uuid, uuid: Uuid| {
        let wanted = [Uuid::swap_gpt(*kind.as_bytes()), Uuid::swap_gpt(*uuid.as_bytes())].concat();
        let found = (1..).zip(entries.chunks_exact(header.entry_size)).find(|(_, entry)| entry.starts_with(&wanted));
        found.map(|(number, _)| number).ok_or(Error::Missing(uuid))
    };
    Ok(Root { data: number(ROOT_X86_64, data)?, tree: number(ROOT_X86_64_VERITY, tree)? })
}

/// A partition by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number, counted from 1.
    pub number: u32,
    /// Its last sector.
    pub last: u64,
}

/// The first partition of this type, if there is one.
pub fn first_of(header: &Header, entries: &[u8], kind: Uuid) -> Result<Option<Place>, Error> {
    check(header, entries)?;
    let wanted = Uuid::swap_gpt(*kind.as_bytes());
    let mut all = (1..).zip(entries.chunks_exact(header.entry_size));
    let found = all.find(|(_, entry)| entry.starts_with(&wanted));
    Ok(found.and_then(|(number, entry)| Some(Place { number, last: u64_at(entry, 40)? })))
}

fn check(header: &Header, entries: &[u8]) -> Result<(), Error> {
    if crc32(entries) == header.checksum { Ok(()) } else { Err(Error::Damaged("the checksum of its entries is wrong")) }
}

/// CRC-32 as UEFI has it (ISO 3309, the polynomial of Ethernet).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATA: Uuid = Uuid::from_u128(0xda7a);
    const TREE: Uuid = Uuid::from_u128(0x73ee);

    /// A disk written by an independent program.
    fn disk(sector_size: u64) -> Vec<u8> {
        let mut disk = std::io::Cursor::new(vec![0; 128 * sector_size as usize]);
        let mut table = gptman::GPT::new_from(&mut disk, sector_size, [1; 16]).unwrap();
        for (number, kind, uuid) in [(2, ROOT_X86_64, DATA), (3, ROOT_X86_64_VERITY, TREE)] {
            let lba = table.header.first_usable_lba + u64::from(number);
            table[number] = gptman::GPTPartitionEntry {
                partition_type_guid: Uuid::swap_gpt(*kind.as_bytes()),
                unique_partition_guid: Uuid::swap_gpt(*uuid.as_bytes()),
                starting_lba: lba,
                ending_lba: lba,
                attribute_bits: 0,
                partition_name: "x".into(),
            };
        }
        table.write_into(&mut disk).unwrap();
        disk.into_inner()
    }

    fn search(disk: &[u8], sector_size: u64, data: Uuid, tree: Uuid) -> Result<Root, Error> {
        let start = sector_size as usize;
        let header = header(disk.get(start..start * 2).unwrap_or(&[]), sector_size)?;
        let range = usize::try_from(header.entries.start).unwrap()..usize::try_from(header.entries.end).unwrap();
        find(&header, disk.get(range).unwrap_or(&[]), data, tree)
    }

    #[test]
    fn partitions_are_found_with_both_sizes_of_sectors() {
        for size in [512, 4096] {
            assert_eq!(search(&disk(size), size, DATA, TREE), Ok(Root { data: 2, tree: 3 }));
        }
        assert_eq!(search(&disk(512), 4096, DATA, TREE), Err(Error::None));
    }

    #[test]
    fn the_wrong_uuid_or_type_is_no_match() {
        let other = Uuid::from_u128(1);
        assert_eq!(search(&disk(512), 512, other, TREE), Err(Error::Missing(other)));
        assert_eq!(search(&disk(512), 512, TREE, DATA), Err(Error::Missing(TREE)));
    }

    #[test]
    fn the_first_of_a_kind_is_found_with_its_end() {
        for size in [512, 4096] {
            let disk = disk(size);
            let sector = usize::try_from(size).unwrap();
            let header = header(&disk[sector..sector * 2], size).unwrap();
            let [start, end] = [header.entries.start, header.entries.end].map(|at| usize::try_from(at).unwrap());
            let entries = &disk[start..end];
            let found = first_of(&header, entries, ROOT_X86_64_VERITY).unwrap().unwrap();
            let expected = gptman::GPT::read_from(&mut std::io::Cursor::new(&disk), size).unwrap()[3].ending_lba;
            assert_eq!((found.number, found.last), (3, expected));
            assert_eq!(first_of(&header, entries, VAR), Ok(None));
            assert_eq!(
                first_of(&header, &entries[1..], VAR),
                Err(Error::Damaged("the checksum of its entries is wrong"))
            );
        }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926); // The check value that catalogues of CRCs give.
    }

    #[test]
    fn damage_is_noticed() {
        for at in [512 + 40, 1024 + 128 + 3] {
            let mut disk = disk(512);
            disk[at] ^= 1;
            assert!(matches!(search(&disk, 512, DATA, TREE), Err(Error::Damaged(_))), "{at}");
        }
        assert_eq!(search(&[], 512, DATA, TREE), Err(Error::None));
    }

    /// Sets a field of a header and makes its checksum right again.
    fn forged(at: usize, bytes: &[u8]) -> Result<Header, Error> {
        let mut sector = disk(512)[512..1024].to_vec();
        sector[at..at + bytes.len()].copy_from_slice(bytes);
        sector[16..20].fill(0);
        let crc = crc32(&sector[..92]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        header(&sector, 512)
    }

    #[test]
    fn forged_headers_are_refused() {
        assert!(forged(80, &128_u32.to_le_bytes()).is_ok());
        for (at, value) in [(80, 1025_u32), (80, u32::MAX), (84, 0), (84, 127), (84, 4097), (84, u32::MAX), (12, 0)] {
            assert!(matches!(forged(at, &value.to_le_bytes()), Err(Error::Damaged(_))), "{at} {value}");
        }
        for lba in [u64::MAX, u64::MAX / 512] {
            assert!(matches!(forged(72, &lba.to_le_bytes()), Err(Error::Damaged(_))), "{lba}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut sector in prop::collection::vec(any::<u8>(), 0..600), size in 0_u64..8192) {
            drop(header(&sector, size));
            if sector.len() > 8 {
                sector[..8].copy_from_slice(b"EFI PART");
                drop(header(&sector, size));
            }
        }
    }
}
