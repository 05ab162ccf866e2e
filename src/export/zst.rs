//! A disk compressed with zstd: frames one after another (RFC 8878, section 3), one for each block that is not zeros, and
//! one for each run of zeros between them.

use std::path::Path;

use super::Error;
use super::blocks::{BLOCK, Target};
use super::out::Out;
use super::packed::Packed;

/// The most zeros in one frame, in blocks: a reader may want to hold a whole frame.
const MOST: u64 = 64;

/// Writes such a file.
pub struct Zst {
    out: Out,
    /// The block that comes next.
    next: u64,
    blocks: u64,
    /// The frame of [`MOST`] blocks of zeros.
    zeros: Vec<u8>,
}

impl Zst {
    /// Begins the file `path` for a disk of `size` bytes.
    pub fn create(path: &Path, size: u64) -> Result<Self, Error> {
        let out = Out::create(path)?;
        let zeros = out.context(zeros(MOST))?;
        Ok(Self { out, next: 0, blocks: size / BLOCK, zeros })
    }

    fn fill(&mut self, until: u64) -> Result<(), Error> {
        while self.next < until {
            let count = MOST.min(until - self.next);
            if count == MOST {
                self.out.write(&self.zeros)?;
            } else {
                let frame = self.out.context(zeros(count))?;
                self.out.write(&frame)?;
            }
            self.next += count;
        }
        Ok(())
    }
}

impl Target for Zst {
    fn put(&mut self, block: &Packed) -> Result<(), Error> {
        self.fill(block.number)?;
        self.next = block.number + 1;
        Ok(self.out.write(&block.zstd)?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.fill(self.blocks)?;
        Ok(self.out.flush()?)
    }
}

fn zeros(blocks: u64) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(&vec![0; (blocks * BLOCK) as usize], 3)
}
