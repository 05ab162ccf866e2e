//! One block, compressed in the ways that formats ask for. Nothing of one block is in another, so they can be packed in
//! any order and by any number of workers, with the same bytes.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// zstd's level, its default. Most blocks are packed files of the root file system already, so more work gains little.
const ZSTD: i32 = 3;
/// zlib's level, for the same reason.
const DEFLATE: u32 = 1;
/// What zlib puts before deflated data (RFC 1950).
const ZLIB_HEADER: usize = 2;

/// How blocks are to be packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packing {
    /// As a frame of zstd.
    pub zstd: bool,
    /// Deflated.
    pub deflate: bool,
}

/// A block and its packed forms, empty where they were not asked for.
pub struct Packed {
    /// Its number.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A frame with its size and checksum (RFC 8878).
    pub zstd: Vec<u8>,
    /// A zlib stream (RFC 1950), flushed to a whole byte at [`Packed::flushed`].
    pub zlib: Vec<u8>,
    /// How much of `zlib` is there before its end is.
    flushed: usize,
    /// The CRC-32 of its bytes, if it is deflated.
    pub crc: Crc,
}

impl Packed {
    /// Deflated data (RFC 1951) that ends with a whole byte, and that more may follow.
    pub fn deflated(&self) -> &[u8] {
        self.zlib.get(ZLIB_HEADER..self.flushed).unwrap_or_default()
    }
}

/// Packs one block after another.
pub struct Packer {
    zstd: Option<io::Result<zstd::bulk::Compressor<'static>>>,
    deflate: Option<Compress>,
}

impl Packer {
    /// One that packs so.
    pub fn new(packing: Packing) -> Self {
        let zstd = || {
            let mut compressor = zstd::bulk::Compressor::new(ZSTD)?;
            compressor.include_checksum(true)?;
            Ok(compressor)
        };
        Self {
            zstd: packing.zstd.then(zstd),
            deflate: packing.deflate.then(|| Compress::new(Compression::new(DEFLATE), true)),
        }
    }

    /// Packs a block.
    pub fn pack(&mut self, number: u64, bytes: Vec<u8>) -> io::Result<Packed> {
        let mut packed = Packed { number, bytes, zstd: Vec::new(), zlib: Vec::new(), flushed: 0, crc: Crc::new() };
        if let Some(compressor) = &mut self.zstd {
            let compressor = compressor.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
            packed.zstd = compressor.compress(&packed.bytes)?;
        }
        if let Some(compress) = &mut self.deflate {
            compress.reset();
            packed.flushed = deflate(compress, &packed.bytes, &mut packed.zlib)?;
            packed.crc.update(&packed.bytes);
        }
        Ok(packed)
    }
}

/// Appends a whole stream; returns how much of it there was before its end.
fn deflate(compress: &mut Compress, bytes: &[u8], to: &mut Vec<u8>) -> io::Result<usize> {
    to.reserve(bytes.len() + (bytes.len() >> 8) + 64);
    let start = to.len();
    loop {
        let rest = bytes.get(usize::try_from(compress.total_in()).unwrap_or(usize::MAX)..).unwrap_or_default();
        let before = to.len();
        compress.compress_vec(rest, to, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that was left over is the sign that all is flushed (zlib.h, deflate).
        if to.len() < to.capacity() {
            break;
        }
        to.reserve((to.len() - before).max(4096));
    }
    let flushed = to.len() - start;
    loop {
        match compress.compress_vec(&[], to, FlushCompress::Finish).map_err(io::Error::other)? {
            Status::StreamEnd => return Ok(flushed),
            Status::Ok | Status::BufError => to.reserve(4096),
        }
    }
}

/// Deflates what is no block, such as the head of an archive, in the same way.
pub fn pack(bytes: Vec<u8>) -> io::Result<Packed> {
    Packer::new(Packing { deflate: true, zstd: false }).pack(0, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn every_form_gives_the_block_back_and_deflated_ones_can_be_joined() {
        let blocks = [vec![7; 65536], noise(65536), b"text ".repeat(13_108)[..65536].to_vec(), vec![]];
        let mut packer = Packer::new(Packing { zstd: true, deflate: true });
        let (mut joined, mut crc) = (Vec::new(), Crc::new());
        for block in &blocks {
            let packed = packer.pack(3, block.clone()).unwrap();
            let mut text = Vec::new();
            flate2::read::ZlibDecoder::new(packed.zlib.as_slice()).read_to_end(&mut text).unwrap();
            assert!(text == *block && zstd::decode_all(packed.zstd.as_slice()).unwrap() == *block);
            joined.extend_from_slice(packed.deflated());
            crc.combine(&packed.crc);
        }
        joined.extend([3, 0]);
        let mut text = Vec::new();
        flate2::read::DeflateDecoder::new(joined.as_slice()).read_to_end(&mut text).unwrap();
        assert!(text == blocks.concat());
        let mut whole = Crc::new();
        whole.update(&text);
        assert_eq!((crc.sum(), crc.amount()), (whole.sum(), whole.amount()));
    }

    #[test]
    fn what_was_packed_before_does_not_show() {
        let mut one = Packer::new(Packing { zstd: true, deflate: true });
        one.pack(0, noise(65536)).unwrap();
        let (after, fresh) = (one.pack(1, vec![5; 65536]).unwrap(), Packer::new(Packing { zstd: true, deflate: true }));
        let mut fresh = fresh;
        let fresh = fresh.pack(1, vec![5; 65536]).unwrap();
        assert!(after.zlib == fresh.zlib && after.zstd == fresh.zstd);
    }
}
