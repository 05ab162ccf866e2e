//! A disk as blocks of 64 KiB, of which only those are read that are not zeros.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::disk::{self, File};

use super::packed::{Packed, Packer, Packing};
use super::{Error, MIB};

/// Size of a block in bytes: a cluster of qcow2, and a grain of VMDK.
pub const BLOCK: u64 = 64 << 10;
/// Bytes that are looked at at once for zeros.
const PIECE: u64 = 16 * BLOCK;
/// Blocks that are packed at once; together with those being written they are all that is in memory.
const BATCH: usize = 64;

/// An open disk.
#[derive(Debug)]
pub struct Blocks {
    file: File,
    path: PathBuf,
    /// Size of the disk in bytes, whole MiB.
    pub size: u64,
    /// Numbers of the blocks that are not zeros, in runs.
    pub runs: Vec<Range<u64>>,
}

/// Takes the blocks of a disk that are not zeros, in their order.
pub trait Target: Send {
    /// Takes the next block.
    fn put(&mut self, block: &Packed) -> Result<(), Error>;
    /// Writes what comes after the last one.
    fn finish(&mut self) -> Result<(), Error>;
}

impl Blocks {
    /// Finds what is not zeros. That depends on the bytes alone, not on which of them the file system keeps as holes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = disk::open(path)?;
        let size = disk::context("examine", path, file.metadata())?.len();
        if size == 0 || !size.is_multiple_of(MIB) {
            return Err(Error::Size { path: path.to_owned(), size });
        }
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut next = 0;
        let zeros = vec![0; BLOCK as usize];
        let mut piece = Vec::new();
        for run in disk::data(path)? {
            let mut at = (run.start / BLOCK * BLOCK).max(next);
            next = run.end.next_multiple_of(BLOCK).min(size);
            while at < next {
                piece.resize(PIECE.min(next - at) as usize, 0);
                disk::context("read", path, file.read_exact_at(&mut piece, at))?;
                for (number, block) in (at / BLOCK..).zip(piece.chunks(BLOCK as usize)) {
                    if zeros == block {
                        continue;
                    }
                    match runs.last_mut() {
                        Some(last) if last.end == number => last.end += 1,
                        _ => runs.push(number..number + 1),
                    }
                }
                at += piece.len() as u64;
            }
        }
        Ok(Self { file, path: path.to_owned(), size, runs })
    }

    /// How many blocks are not zeros.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// Packs every block that is not zeros and hands it to all targets; `progress` is told how many are done.
    pub fn pass(
        &self,
        packing: Packing,
        targets: &mut [Box<dyn Target>],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let mut numbers = self.runs.iter().cloned().flatten();
        let (mut packed, mut done) = (Vec::new(), 0);
        loop {
            let batch: Vec<u64> = numbers.by_ref().take(BATCH).collect();
            let (written, made) = rayon::join(
                || targets.par_iter_mut().try_for_each(|target| packed.iter().try_for_each(|block| target.put(block))),
                || self.pack(&batch, packing),
            );
            written?;
            done += packed.len() as u64;
            progress(done);
            packed = made?;
            if packed.is_empty() {
                return targets.par_iter_mut().try_for_each(|target| target.finish());
            }
        }
    }

    fn pack(&self, numbers: &[u64], packing: Packing) -> Result<Vec<Packed>, Error> {
        let pack = |packer: &mut Packer, number: &u64| {
            let mut bytes = vec![0; BLOCK as usize];
            disk::context("read", &self.path, self.file.read_exact_at(&mut bytes, number * BLOCK))?;
            Ok(disk::context("compress", &self.path, packer.pack(*number, bytes))?)
        };
        numbers.par_iter().map_init(|| Packer::new(packing), pack).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the numbers of the blocks it got.
    struct Numbers(std::sync::Arc<std::sync::Mutex<Vec<u64>>>);

    impl Target for Numbers {
        fn put(&mut self, block: &Packed) -> Result<(), Error> {
            self.0.lock().unwrap().push(block.number);
            Ok(())
        }

        fn finish(&mut self) -> Result<(), Error> {
            self.0.lock().unwrap().push(u64::MAX);
            Ok(())
        }
    }

    #[test]
    fn zeros_are_left_out_whether_they_are_holes_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let file = disk::create(&path).unwrap();
        file.set_len(9 * MIB).unwrap();
        for (offset, bytes) in [(5, &b"x"[..]), (2 * BLOCK - 1, b"yz"), (9 * MIB - 1, b"!")] {
            file.write_all_at(bytes, offset).unwrap();
        }
        file.write_all_at(&[0; 1 << 20], 4 * MIB).unwrap();
        let blocks = Blocks::open(&path).unwrap();
        assert_eq!(blocks.runs, [0..3, 143..144]);
        let got = std::sync::Arc::default();
        let done = std::sync::atomic::AtomicU64::new(0);
        let tell = |count| done.store(count, std::sync::atomic::Ordering::Relaxed);
        let mut targets: Vec<Box<dyn Target>> = vec![Box::new(Numbers(std::sync::Arc::clone(&got)))];
        blocks.pass(Packing::default(), &mut targets, &tell).unwrap();
        assert_eq!(*got.lock().unwrap(), [0, 1, 2, 143, u64::MAX]);
        assert_eq!((blocks.count(), done.into_inner()), (4, 4));
    }

    #[test]
    fn what_no_rave_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        for size in [0, 1, MIB - 1, MIB + 512] {
            disk::create(&path).unwrap().set_len(size).unwrap();
            assert!(matches!(Blocks::open(&path), Err(Error::Size { .. })), "{size}");
        }
        disk::create(&path).unwrap().set_len(MIB).unwrap();
        assert_eq!(Blocks::open(&path).unwrap().runs, []);
    }
}
