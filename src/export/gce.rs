//! What Google Compute Engine imports: a file `disk.raw` of whole GiB in a compressed tar archive of GNU tar's old format
//! (`tar --format=oldgnu -Sczf`), in which holes take no room (GNU tar manual, "Basic Tar Format" and "Sparse Formats").

use std::ops::Range;
use std::path::Path;

use super::Error;
use super::blocks::{BLOCK, Blocks, Target};
use super::packed::Packed;
use super::targz::Gzip;

/// The name that is asked for.
const NAME: &[u8] = b"disk.raw";
/// Disks are made of whole GiB.
pub const UNIT: u64 = 1 << 30;
const RECORD: usize = 512;
/// GNU tar writes blocks of so many bytes.
const BLOCKING: usize = 20 * RECORD;
/// How many parts of the map are in the header, and in each record behind it.
const FIRST: usize = 4;
const MORE: usize = 21;
/// The largest number of eleven octal digits.
const MOST_OCTAL: u64 = (1 << 33) - 1;

/// Writes such an archive.
pub struct Gce {
    gzip: Gzip,
    /// Bytes of the archive so far.
    length: usize,
}

impl Gce {
    /// Begins the file `path` with a disk of `size` bytes that has what `blocks` has; its time is `epoch`.
    pub fn create(path: &Path, blocks: &Blocks, size: u64, epoch: u64) -> Result<Self, Error> {
        let mut gzip = Gzip::create(path)?;
        let head = head(&blocks.runs, size, epoch);
        let length = head.len() % BLOCKING;
        gzip.write(head)?;
        Ok(Self { gzip, length })
    }
}

impl Target for Gce {
    fn put(&mut self, block: &Packed) -> Result<(), Error> {
        self.length = (self.length + BLOCK as usize) % BLOCKING;
        self.gzip.put(block)
    }

    fn finish(&mut self) -> Result<(), Error> {
        let end = (self.length + 2 * RECORD).next_multiple_of(BLOCKING) - self.length;
        self.gzip.write(vec![0; end])?;
        self.gzip.finish()
    }
}

/// The header of the one member, with the map of what is not zeros.
fn head(runs: &[Range<u64>], size: u64, epoch: u64) -> Vec<u8> {
    let mut map: Vec<[u8; 24]> =
        runs.iter().map(|run| part(run.start * BLOCK, (run.end - run.start) * BLOCK)).collect();
    // GNU tar ends the map of a file that ends with a hole so.
    if runs.last().is_none_or(|last| last.end * BLOCK < size) {
        map.push(part(size, 0));
    }
    let stored: u64 = runs.iter().map(|run| (run.end - run.start) * BLOCK).sum();
    let mut header = NAME.to_vec();
    let mut field = |width: usize, bytes: &[u8]| {
        header.extend_from_slice(bytes);
        header.resize(header.len() + width - bytes.len(), 0);
    };
    field(100 - NAME.len(), b"");
    field(8, b"0000644");
    field(8, b"0000000"); // owner
    field(8, b"0000000"); // group
    field(12, &number(stored));
    field(12, &number(epoch));
    field(8, b"        "); // the checksum counts as spaces
    field(1, b"S");
    field(100, b"");
    field(8, b"ustar  ");
    field(32, b"root");
    field(32, b"root");
    field(8 + 8 + 12 + 12 + 12 + 4 + 1, b""); // devices, times, and others that are not used
    let (first, more) = map.split_at(map.len().min(FIRST));
    field(FIRST * 24, &first.concat());
    field(1, &[u8::from(!more.is_empty())]);
    field(12, &number(size));
    field(17, b"");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
    let mut rest = more.chunks(MORE).peekable();
    while let Some(parts) = rest.next() {
        let mut record = parts.concat();
        record.resize(MORE * 24, 0);
        record.push(u8::from(rest.peek().is_some()));
        record.resize(RECORD, 0);
        header.extend(record);
    }
    header
}

/// Where a part of the file is, and how long it is.
fn part(offset: u64, length: u64) -> [u8; 24] {
    let mut part = [0; 24];
    part.iter_mut().zip(number(offset).into_iter().chain(number(length))).for_each(|(slot, byte)| *slot = byte);
    part
}

/// A number in octal digits, or in base 256 if they are not enough.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value <= MOST_OCTAL {
        field.iter_mut().zip(format!("{value:011o}").bytes()).for_each(|(slot, byte)| *slot = byte);
    } else {
        field.iter_mut().skip(4).zip(value.to_be_bytes()).for_each(|(slot, byte)| *slot = byte);
        field[0] = 0x80;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_independent_reader_finds_the_map() {
        let runs: Vec<Range<u64>> = (0..60).map(|n| n * 3..n * 3 + 1).collect();
        let mut archive = head(&runs, 9 << 30, 1_700_000_000);
        assert_eq!(archive.len(), 512 * 4, "four parts, and 57 in three records of 21");
        let stored = runs.len() * BLOCK as usize;
        archive.extend((0..stored).map(|at| (at / BLOCK as usize) as u8 + 1));
        archive.extend([0; 1024]);
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("disk.raw"));
        assert_eq!((entry.size(), entry.header().mtime().unwrap()), (9 << 30, 1_700_000_000));
        let mut bytes = vec![0; 64 * 3 * BLOCK as usize];
        std::io::Read::read_exact(&mut entry, &mut bytes).unwrap();
        for (number, block) in bytes.chunks(BLOCK as usize).enumerate() {
            let expected = if number % 3 == 0 && number < 180 { (number / 3) as u8 + 1 } else { 0 };
            assert!(block.iter().all(|byte| *byte == expected), "{number}");
        }
    }

    #[test]
    fn numbers_are_octal_as_long_as_they_fit() {
        assert_eq!(&number(0o644), b"00000000644\0");
        assert_eq!(&number(MOST_OCTAL), b"77777777777\0");
        assert_eq!(number(MOST_OCTAL + 1), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
