//! Fixed VHD (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0): the disk, and a footer of 512 bytes behind
//! it. Azure takes these alone, of whole MiB. Numbers are big-endian.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disk;
use crate::uuid::Uuid;

use super::{Error, SECTOR};

const FOOTER: usize = 512;
/// 2000-01-01, from which times count, in seconds since 1970.
const EPOCH: u64 = 946_684_800;

/// Writes the disk `from`, with zeros behind it up to `size` bytes, to the file `to`.
pub fn write(from: &Path, to: &Path, size: u64, epoch: u64, uuid: Uuid) -> Result<(), Error> {
    let file = disk::create(to)?;
    disk::copy_at(from, &file, 0)?;
    Ok(disk::context("write", to, file.write_all_at(&footer(size, epoch, uuid), size))?)
}

fn footer(size: u64, epoch: u64, uuid: Uuid) -> Vec<u8> {
    let seconds = u32::try_from(epoch.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    let mut footer = b"conectix".to_vec();
    footer.extend(2_u32.to_be_bytes()); // features: a bit that is always set
    footer.extend(0x1_0000_u32.to_be_bytes());
    footer.extend([0xff; 8]); // nothing follows
    footer.extend(seconds.to_be_bytes());
    // Some readers take the geometry for the size, unless the file says that it is by Windows.
    footer.extend(b"win ");
    footer.extend(0xa_0000_u32.to_be_bytes());
    footer.extend(b"Wi2k");
    footer.extend(size.to_be_bytes());
    footer.extend(size.to_be_bytes());
    footer.extend(geometry(size / SECTOR));
    footer.extend(2_u32.to_be_bytes()); // fixed
    footer.extend([0; 4]);
    footer.extend(uuid.as_bytes());
    footer.resize(FOOTER, 0);
    let sum = footer.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    footer.iter_mut().skip(64).zip((!sum).to_be_bytes()).for_each(|(slot, byte)| *slot = byte);
    footer
}

/// Cylinders, heads and sectors, as the specification's appendix computes them.
fn geometry(sectors: u64) -> [u8; 4] {
    let sectors = sectors.min(65_535 * 16 * 255);
    let (per_track, heads, cylinders_times_heads);
    if sectors >= 65_535 * 16 * 63 {
        (per_track, heads) = (255, 16);
        cylinders_times_heads = sectors / per_track;
    } else {
        let at_17 = sectors / 17;
        let heads_17 = at_17.div_ceil(1024).max(4);
        if at_17 < heads_17 * 1024 && heads_17 <= 16 {
            (per_track, heads, cylinders_times_heads) = (17, heads_17, at_17);
        } else if sectors / 31 < 16 * 1024 {
            (per_track, heads, cylinders_times_heads) = (31, 16, sectors / 31);
        } else {
            (per_track, heads, cylinders_times_heads) = (63, 16, sectors / 63);
        }
    }
    let [high, low] = u16::try_from(cylinders_times_heads / heads).unwrap_or(u16::MAX).to_be_bytes();
    [high, low, heads as u8, per_track as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_has_its_fields_and_its_checksum() {
        let footer = footer(4 << 30, EPOCH + 7, Uuid::from_u128(0x1234));
        assert_eq!((footer.len(), &footer[..8], &footer[24..28]), (512, &b"conectix"[..], &[0, 0, 0, 7][..]));
        assert_eq!((&footer[40..48], &footer[48..56]), (&(4_u64 << 30).to_be_bytes()[..], &footer[40..48]));
        assert_eq!((&footer[60..64], &footer[82..84]), (&[0, 0, 0, 2][..], &[0x12, 0x34][..]));
        let sum: u32 =
            footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at)).map(|(_, b)| u32::from(*b)).sum();
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
    }

    #[test]
    fn geometries_are_those_of_the_specification() {
        for (mib, geometry) in [(1, [0, 30, 4, 17]), (4096, [32, 130, 16, 63]), (1 << 20, [255, 255, 16, 255])] {
            let [high, low, heads, per_track] = super::geometry(mib * 2048);
            assert_eq!([high, low, heads, per_track], geometry, "{mib} MiB");
        }
    }

    #[test]
    fn the_disk_is_first_and_holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("raw"), dir.path().join("vhd"));
        let source = disk::create(&from).unwrap();
        source.set_len(3 << 20).unwrap();
        source.write_all_at(b"data", 1 << 20).unwrap();
        write(&from, &to, 64 << 20, EPOCH, Uuid::from_u128(1)).unwrap();
        let bytes = disk::read(&to).unwrap();
        assert_eq!((bytes.len(), &bytes[1 << 20..(1 << 20) + 4]), ((64 << 20) + 512, &b"data"[..]));
        assert_eq!(&bytes[64 << 20..(64 << 20) + 8], b"conectix");
        assert!(std::os::unix::fs::MetadataExt::blocks(&disk::metadata(&to).unwrap()) * 512 < 1 << 20);
    }
}
