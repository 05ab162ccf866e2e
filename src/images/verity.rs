//! dm-verity hash trees (Linux, Documentation/admin-guide/device-mapper/verity.rst): format 1, SHA-256,
//! blocks of 4096 bytes. The hash device is laid out as `veritysetup format` does it: the superblock in
//! block 0, then the tree, its top level first.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rave_init::verity::{BLOCK, Superblock};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::disk;
use crate::uuid::Uuid;

/// Digests in one hash block.
const FANOUT: u64 = BLOCK / 32;
/// Blocks that are read and hashed at once; a multiple of [`FANOUT`], so that whole hash blocks come out.
const CHUNK: u64 = 16 * FANOUT;

/// Why no hash tree was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data does not consist of whole blocks.
    #[error("{path} has {length} bytes, which is not a positive multiple of {BLOCK}")]
    Length {
        /// The data file.
        path: PathBuf,
        /// Its size.
        length: u64,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// One level of the tree: where it starts on the hash device and how many blocks it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    offset: u64,
    blocks: u64,
}

/// Size in bytes of the hash device for `data` bytes, superblock included.
pub fn hash_size(data: u64) -> u64 {
    levels(data.div_ceil(BLOCK)).first().map_or(BLOCK, |lowest| lowest.offset + lowest.blocks * BLOCK)
}

/// The levels for `data_blocks`, the one right above the data first. A single block needs none.
fn levels(data_blocks: u64) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut blocks = data_blocks;
    while blocks > 1 {
        blocks = blocks.div_ceil(FANOUT);
        levels.push(Level { offset: 0, blocks });
    }
    let mut offset = BLOCK;
    for level in levels.iter_mut().rev() {
        level.offset = offset;
        offset += level.blocks * BLOCK;
    }
    levels
}

/// Hashes the file `data` and writes the hash device for it to `tree`, a new file.
///
/// Returns the root hash. It is a function of the data and the salt alone; the UUID is only a label of the
/// superblock. At most 8 MiB of data are held in memory at a time.
pub fn format(data: &Path, tree: &Path, salt: &[u8; 32], uuid: Uuid) -> Result<Digest, Error> {
    let input = disk::open(data)?;
    let length = disk::context("examine", data, input.metadata())?.len();
    if length == 0 || !length.is_multiple_of(BLOCK) {
        return Err(Error::Length { path: data.to_owned(), length });
    }
    let output = disk::create(tree)?;
    let data_blocks = length / BLOCK;
    let mut superblock = Superblock::new(uuid, data_blocks, salt).to_bytes().to_vec();
    superblock.resize(BLOCK as usize, 0);
    disk::context("write", tree, output.write_all_at(&superblock, 0))?;

    let salted = Sha256::new_with_prefix(salt);
    let (mut source, mut path) = ((&input, 0, data_blocks), data);
    for level in levels(data_blocks) {
        let (from, start, blocks) = source;
        let mut done = 0;
        while done < blocks {
            let count = CHUNK.min(blocks - done);
            let chunk = disk::context("read", path, read_at(from, start + done * BLOCK, count * BLOCK))?;
            let at = level.offset + done / FANOUT * BLOCK;
            disk::context("write", tree, output.write_all_at(&hash_blocks(&chunk, &salted), at))?;
            done += count;
        }
        (source, path) = ((&output, level.offset, level.blocks), tree);
    }
    let (from, start, _) = source;
    let top = disk::context("read", path, read_at(from, start, BLOCK))?;
    Ok(Digest::from_bytes(hash(&top, &salted)))
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

fn hash(block: &[u8], salted: &Sha256) -> [u8; 32] {
    salted.clone().chain_update(block).finalize().into()
}

/// The hash blocks for a run of blocks: their digests, padded with zeros to whole blocks.
fn hash_blocks(blocks: &[u8], salted: &Sha256) -> Vec<u8> {
    let count = blocks.len() / BLOCK as usize;
    let mut hashes = vec![0; count.div_ceil(FANOUT as usize) * BLOCK as usize];
    hashes
        .par_chunks_mut(32)
        .zip(blocks.par_chunks(BLOCK as usize))
        .for_each(|(slot, block)| slot.copy_from_slice(&hash(block, salted)));
    hashes
}

#[cfg(test)]
#[path = "verity_tests.rs"]
mod tests;
