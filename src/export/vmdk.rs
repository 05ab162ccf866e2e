//! Stream-optimized VMDK (VMware, "Virtual Disk Format 5.0", chapter "Stream-Optimized Compressed Sparse Extents"): a
//! header, a descriptor, grains of 64 KiB as zlib streams, each table of grains behind the last of them, the directory of
//! the tables, and the header once more. Numbers are little-endian.

use std::path::Path;

use crate::digest::Digest;

use super::blocks::{BLOCK, Target};
use super::out::Out;
use super::packed::Packed;
use super::{Error, Format, SECTOR};

/// Grains in one table.
const PER_TABLE: u64 = 512;
const SECTORS_PER_GRAIN: u64 = BLOCK / SECTOR;
const DESCRIPTOR_AT: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Where grains begin.
const OVERHEAD: u64 = 128;
/// The directory is where the footer says.
const AT_END: u64 = u64::MAX;
/// Sectors are named by 32 bits.
const LARGEST: u64 = (1 << 32) * SECTOR;

/// What a marker announces.
#[derive(Debug, Clone, Copy)]
enum Marker {
    End = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// Writes such a file.
pub struct Vmdk {
    out: Out,
    size: u64,
    directory: Vec<u32>,
    /// The table that is being filled, and which one it is.
    table: Vec<u32>,
    number: u64,
}

impl Vmdk {
    /// Begins the file `path` for a disk of `size` bytes that `identity` tells from others.
    pub fn create(path: &Path, size: u64, identity: &Digest) -> Result<Self, Error> {
        if size > LARGEST {
            return Err(Error::TooLarge { format: Format::Vmdk, size });
        }
        let mut out = Out::create(path)?;
        out.write(&header(size, AT_END))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        out.write(descriptor(&name, size, identity).as_bytes())?;
        out.pad(OVERHEAD * SECTOR)?;
        let tables = size.div_ceil(PER_TABLE * BLOCK) as usize;
        Ok(Self { out, size, directory: vec![0; tables], table: vec![0; PER_TABLE as usize], number: 0 })
    }

    /// The sector that comes next.
    fn sector(&self) -> Result<u32, Error> {
        u32::try_from(self.out.at / SECTOR).map_err(|_| Error::TooLarge { format: Format::Vmdk, size: self.size })
    }

    fn marker(&mut self, marker: Marker, sectors: u64) -> Result<(), Error> {
        self.out.write(&sectors.to_le_bytes())?;
        self.out.write(&[0; 4])?;
        self.out.write(&(marker as u32).to_le_bytes())?;
        Ok(self.out.pad(SECTOR)?)
    }

    /// Writes a table or the directory behind its marker; returns where it is.
    fn entries(&mut self, marker: Marker, entries: &[u32]) -> Result<u32, Error> {
        self.marker(marker, (entries.len() as u64 * 4).div_ceil(SECTOR))?;
        let at = self.sector()?;
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.out.write(&bytes)?;
        self.out.pad(SECTOR)?;
        Ok(at)
    }

    /// Writes the current table, if there is anything in it.
    fn flush(&mut self) -> Result<(), Error> {
        if self.table.iter().any(|entry| *entry != 0) {
            let table = std::mem::replace(&mut self.table, vec![0; PER_TABLE as usize]);
            let at = self.entries(Marker::Table, &table)?;
            if let Some(entry) = self.directory.get_mut(self.number as usize) {
                *entry = at;
            }
        }
        Ok(())
    }
}

impl Target for Vmdk {
    fn put(&mut self, block: &Packed) -> Result<(), Error> {
        if block.number / PER_TABLE != self.number {
            self.flush()?;
            self.number = block.number / PER_TABLE;
        }
        let at = self.sector()?;
        if let Some(slot) = self.table.get_mut((block.number % PER_TABLE) as usize) {
            *slot = at;
        }
        self.out.write(&(block.number * SECTORS_PER_GRAIN).to_le_bytes())?;
        self.out.write(&(block.zlib.len() as u32).to_le_bytes())?;
        self.out.write(&block.zlib)?;
        Ok(self.out.pad(SECTOR)?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.flush()?;
        let directory = std::mem::take(&mut self.directory);
        let at = self.entries(Marker::Directory, &directory)?;
        self.marker(Marker::Footer, 1)?;
        self.out.write(&header(self.size, u64::from(at)))?;
        self.marker(Marker::End, 0)?;
        Ok(self.out.flush()?)
    }
}

fn header(size: u64, directory: u64) -> Vec<u8> {
    /// Line ends can be checked; grains are compressed; there are markers.
    const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
    const DEFLATE: u16 = 1;
    let mut header = b"KDMV".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend(FLAGS.to_le_bytes());
    for field in [size / SECTOR, SECTORS_PER_GRAIN, DESCRIPTOR_AT, DESCRIPTOR_SECTORS] {
        header.extend(field.to_le_bytes());
    }
    header.extend((PER_TABLE as u32).to_le_bytes());
    for field in [0, directory, OVERHEAD] {
        header.extend(field.to_le_bytes());
    }
    header.extend(b"\0\n \r\n");
    header.extend(DEFLATE.to_le_bytes());
    header.resize(SECTOR as usize, 0);
    header
}

fn descriptor(name: &str, size: u64, identity: &Digest) -> String {
    let [a, b, c, d, ..] = *identity.as_bytes();
    // A content id of all ones would say that there is no parent.
    let id = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
    let sectors = size / SECTOR;
    let cylinders = (sectors / (255 * 63)).min(65_535);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
         # Extent description\nRDONLY {sectors} SPARSE \"{name}\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"14\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"lsilogic\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use crate::export::packed::{Packer, Packing};

    #[test]
    fn the_file_has_the_parts_of_a_stream_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.vmdk");
        let mut file = Vmdk::create(&path, 64 << 20, &Digest::of(b"disk")).unwrap();
        for number in [1, PER_TABLE + 2] {
            let mut packer = Packer::new(Packing { deflate: true, zstd: false });
            file.put(&packer.pack(number, vec![9; 65536]).unwrap()).unwrap();
        }
        file.finish().unwrap();
        let bytes = disk::read(&path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((&bytes[..4], word(4), word(8)), (&b"KDMV"[..], 3, 0x30001));
        assert_eq!((long(12), long(20), long(56), bytes[77]), (131_072, 128, AT_END, 1));
        let text = String::from_utf8_lossy(&bytes[512..512 * 21]);
        assert!(text.contains("RDONLY 131072 SPARSE \"disk.vmdk\"") && text.contains("streamOptimized"), "{text}");
        let end = bytes.len();
        assert!(bytes[end - 512..].iter().all(|byte| *byte == 0));
        assert_eq!((word(end - 1536 + 12), &bytes[end - 1024..end - 1020]), (3, &b"KDMV"[..]));
        let directory = long(end - 1024 + 56) as usize * 512;
        assert_eq!(word(directory - 512 + 12), 2);
        for (number, entry) in [(0, 1), (1, 2)] {
            let table = word(directory + number * 4) as usize * 512;
            assert_eq!(word(table - 512 + 12), 1);
            let grain = word(table + entry * 4) as usize * 512;
            assert_eq!(long(grain), (number as u64 * PER_TABLE + entry as u64) * 128);
            let mut text = Vec::new();
            let data = &bytes[grain + 12..grain + 12 + word(grain + 8) as usize];
            std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(data), &mut text).unwrap();
            assert_eq!(text, [9; 65536]);
        }
        assert!(matches!(Vmdk::create(&path, LARGEST + 1, &Digest::of(b"")), Err(Error::TooLarge { .. })));
    }
}
