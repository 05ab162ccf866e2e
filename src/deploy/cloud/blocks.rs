//! A disk in the blocks that Amazon's snapshots are made of, without those that are zero.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::step::{Slot, Values};
use crate::disk;

/// Size of a block in bytes (EBS direct APIs, PutSnapshotBlock).
pub const BLOCK: u64 = 512 << 10;

/// One block with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub index: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
}

impl Block {
    /// The checksum as the call wants it.
    pub fn checksum(&self) -> String {
        STANDARD.encode(self.sha256)
    }
}

/// The blocks of a disk that have data, in order.
pub fn of(path: &Path) -> disk::Result<Vec<Block>> {
    let file = disk::open(path)?;
    let mut blocks: Vec<Block> = Vec::new();
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
    for run in disk::data(path)? {
        for index in run.start / BLOCK..run.end.div_ceil(BLOCK) {
            if blocks.last().is_some_and(|last| last.index >= index) {
                continue;
            }
            disk::context("read", path, fill(&file, index, &mut buffer))?;
            if buffer.iter().any(|byte| *byte != 0) {
                blocks.push(Block { index, sha256: Sha256::digest(&buffer).into() });
            }
        }
    }
    Ok(blocks)
}

/// Reads one block; what is behind the end of the disk is zero.
pub fn read(path: &Path, index: u64) -> disk::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
    disk::context("read", path, fill(&disk::open(path)?, index, &mut buffer))?;
    Ok(buffer)
}

fn fill(file: &std::fs::File, index: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, index * BLOCK + done as u64)? {
            0 => {
                rest.fill(0);
                break;
            }
            count => done += count,
        }
    }
    Ok(())
}

/// How many there are, and the checksum over all of them: SHA-256 of their digests after each other (CompleteSnapshot,
/// LINEAR).
pub fn totals(blocks: &[Block]) -> Values {
    let mut all = Sha256::new();
    blocks.iter().for_each(|block| all.update(block.sha256));
    Values::from([(Slot::Count, blocks.len().to_string()), (Slot::Total, STANDARD.encode(all.finalize()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_without_data_are_left_out_and_the_last_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(5 * BLOCK + 100).unwrap();
        file.write_all_at(b"first", 10).unwrap();
        file.write_all_at(&[0; 4096], 2 * BLOCK).unwrap();
        file.write_all_at(b"across", 4 * BLOCK - 3).unwrap();
        file.write_all_at(b"end", 5 * BLOCK + 97).unwrap();
        let blocks = of(&path).unwrap();
        assert_eq!(blocks.iter().map(|block| block.index).collect::<Vec<_>>(), [0, 3, 4, 5]);
        for block in &blocks {
            let bytes = read(&path, block.index).unwrap();
            assert_eq!((bytes.len() as u64, <[u8; 32]>::from(Sha256::digest(&bytes))), (BLOCK, block.sha256));
        }
        assert!(read(&path, 5).unwrap().starts_with(&[0; 97]) && read(&path, 9).unwrap().iter().all(|byte| *byte == 0));
        let all: Vec<u8> = blocks.iter().flat_map(|block| block.sha256).collect();
        let totals = totals(&blocks);
        assert_eq!(
            (totals[&Slot::Count].as_str(), &totals[&Slot::Total]),
            ("4", &STANDARD.encode(Sha256::digest(&all)))
        );
    }
}
