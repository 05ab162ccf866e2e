//! The empty qcow2 overlay of a raw image, as bytes (QEMU's docs/interop/qcow2.txt, version 3).

use std::path::Path;

use crate::disk;
use crate::qemu::error::{Error, Result};

const CLUSTER: u64 = 64 * 1024;
/// Bytes of the disk that one entry of the first-level table stands for.
const PER_ENTRY: u64 = CLUSTER * CLUSTER / 8;
/// Where the first-level table begins: after header, refcount table and the one refcount block.
const TABLE: u64 = 3 * CLUSTER;
/// The refcount block counts 32768 clusters, far more than this needs.
const LARGEST: u64 = 64 << 40;
/// Longest name of a backing file.
const MAX_NAME: usize = 1023;

/// The parts of an empty overlay that are not zero, by their offset, and the length of the whole file.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    parts: Vec<(u64, Vec<u8>)>,
    length: u64,
}

/// Writes an overlay of `size` bytes whose content is that of the raw image `base`, by absolute path.
/// `size` is rounded up to whole MiB. The file must not be in use.
pub fn create(path: &Path, base: &Path, size: u64) -> Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let layout = layout(base.as_os_str().as_encoded_bytes(), size).ok_or(Error::TooLarge(size))?;
    let mut file = disk::create(path)?;
    let mut write = || {
        file.set_len(layout.length)?;
        for (offset, bytes) in &layout.parts {
            file.seek(SeekFrom::Start(*offset))?;
            file.write_all(bytes)?;
        }
        Ok(())
    };
    disk::context("write", path, write())?;
    Ok(disk::set_mode(path, 0o600)?)
}

fn layout(base: &[u8], size: u64) -> Option<Layout> {
    let size = size.checked_next_multiple_of(1 << 20).filter(|&size| size <= LARGEST && base.len() <= MAX_NAME)?;
    let entries = size.div_ceil(PER_ENTRY).max(1);
    let clusters = TABLE / CLUSTER + (entries * 8).div_ceil(CLUSTER);
    let counts = (0..clusters).flat_map(|_| 1u16.to_be_bytes()).collect();
    let parts = vec![
        (0, header(base, size, u32::try_from(entries).ok()?)?),
        (CLUSTER, (2 * CLUSTER).to_be_bytes().to_vec()),
        (2 * CLUSTER, counts),
    ];
    Some(Layout { parts, length: clusters * CLUSTER })
}

fn header(base: &[u8], size: u64, entries: u32) -> Option<Vec<u8>> {
    const LENGTH: u32 = 104;
    const BACKING_FORMAT: u32 = 0xe279_2aca;
    // The extension for the format (8 bytes and "raw" padded to 8) and the end of extensions.
    let name_at = u64::from(LENGTH) + 16 + 8;
    let mut bytes = b"QFI\xfb".to_vec();
    let mut word = |value: u32| bytes.extend(value.to_be_bytes());
    let long = |value: u64, word: &mut dyn FnMut(u32)| {
        word((value >> 32) as u32);
        word(value as u32);
    };
    word(3);
    long(name_at, &mut word);
    word(u32::try_from(base.len()).ok()?);
    word(CLUSTER.trailing_zeros());
    long(size, &mut word);
    word(0); // not encrypted
    word(entries);
    long(TABLE, &mut word);
    long(CLUSTER, &mut word); // refcount table
    word(1);
    word(0); // no snapshots
    long(0, &mut word);
    for _features in 0..3 {
        long(0, &mut word);
    }
    word(4); // refcounts of 16 bits
    word(LENGTH);
    word(BACKING_FORMAT);
    word(3);
    bytes.extend(b"raw\0\0\0\0\0");
    bytes.extend([0; 8]);
    bytes.extend(base);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_was_asked_for() {
        let layout = layout(b"/images/web.raw", 3 << 30).unwrap();
        let header = &layout.parts[0].1;
        let long = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().unwrap());
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!((&header[..4], word(4)), (&b"QFI\xfb"[..], 3));
        assert_eq!((long(24), word(36), long(40)), (3 << 30, 6, 3 * 65536), "size, entries, table");
        let name = usize::try_from(long(8)).unwrap();
        assert_eq!(&header[name..name + word(16) as usize], b"/images/web.raw");
        assert_eq!((word(100), &header[112..115]), (104, &b"raw"[..]));
        assert_eq!(layout.parts[2].1.len(), 2 * 4, "a refcount for each cluster");
        assert_eq!(layout.length, 4 * 65536);
    }

    #[test]
    fn sizes_are_rounded_up_and_bounded() {
        let size = |size| layout(b"/x", size).map(|l| u64::from_be_bytes(l.parts[0].1[24..32].try_into().unwrap()));
        assert_eq!(size(1), Some(1 << 20));
        assert_eq!(size(64 << 40), Some(64 << 40));
        assert_eq!(size((64 << 40) + 1), None);
        assert_eq!(size(u64::MAX), None);
        assert_eq!(layout(&[b'x'; 1024], 1), None);
    }

    #[test]
    fn the_file_is_private_and_sparse() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overlay.qcow2");
        create(&path, Path::new("/images/web.raw"), 64 << 40).unwrap();
        let metadata = disk::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.len(), 19 * 65536);
        assert!(metadata.blocks() * 512 <= 4 * 65536, "{}", metadata.blocks());
        assert!(matches!(create(&path, Path::new("/x"), u64::MAX), Err(Error::TooLarge(u64::MAX))));
    }
}
