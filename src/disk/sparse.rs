//! Hashing files that are mostly holes, such as disks: reading a hole would fill memory with zeros for nothing.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::{Result, context, open};
use crate::digest::Digest;

/// The SHA-256 digest of a file's bytes, and their number. Its holes count as zeros without being read.
pub fn digest(path: impl AsRef<Path>) -> Result<(Digest, u64)> {
    let file = open(&path)?;
    let hash = || -> io::Result<(Digest, u64)> {
        let found = file.metadata()?;
        let length = found.len();
        // A file that takes its whole length on the disk has no holes worth looking for.
        let known = if found.blocks().saturating_mul(512) >= length { length } else { 0 };
        Digest::of_reader(&mut Sparse { file: &file, length, at: 0, run: Run::Data(known) })
    };
    context("read", &path, hash())
}

/// The parts of a file that are no holes, in order.
pub fn data(path: impl AsRef<Path>) -> Result<Vec<Range<u64>>> {
    let file = open(&path)?;
    let find = || -> io::Result<Vec<Range<u64>>> {
        let mut sparse = Sparse { file: &file, length: file.metadata()?.len(), at: 0, run: Run::Data(0) };
        let mut runs = Vec::new();
        while sparse.at < sparse.length {
            let start = sparse.at;
            sparse.at = match sparse.next()? {
                Run::Hole(end) => end,
                Run::Data(end) => {
                    runs.push(start..end);
                    end
                }
            };
        }
        Ok(runs)
    };
    context("read", &path, find())
}

/// What a file has from some place on, and where that ends.
#[derive(Debug, Clone, Copy)]
enum Run {
    Data(u64),
    Hole(u64),
}

/// Reads a file from its beginning; it ends where it ended when it was opened.
struct Sparse<'a> {
    file: &'a File,
    length: u64,
    at: u64,
    run: Run,
}

impl Sparse<'_> {
    /// The run that begins at the current place.
    fn next(&self) -> io::Result<Run> {
        match seek(self.file, SeekFrom::Data(self.at)) {
            Ok(data) if data > self.at => Ok(Run::Hole(data.min(self.length))),
            // A file system that does not know holes has data to the end.
            Ok(_) | Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                Ok(Run::Data(seek(self.file, SeekFrom::Hole(self.at)).unwrap_or(self.length).min(self.length)))
            }
            Err(Errno::NXIO) => Ok(Run::Hole(self.length)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Sparse<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        let (Run::Data(end) | Run::Hole(end)) = self.run;
        if self.at >= end {
            self.run = self.next()?;
        }
        let (Run::Data(end) | Run::Hole(end)) = self.run;
        let most = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = match self.run {
            Run::Data(_) => self.file.read_at(part, self.at)?,
            Run::Hole(_) => {
                part.fill(0);
                most
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of data, each at an offset, in a file of some length; the digest must be that of plain reading.
    fn check(length: u64, runs: &[(u64, &[u8])]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(length).unwrap();
        for (offset, bytes) in runs {
            file.write_all_at(bytes, *offset).unwrap();
        }
        let plain = std::fs::read(&path).unwrap();
        let mut rest = plain.clone();
        data(&path).unwrap().into_iter().for_each(|run| rest[run.start as usize..run.end as usize].fill(0));
        assert!(rest.iter().all(|&byte| byte == 0), "what is outside of the data must be zeros: {length}");
        assert_eq!(digest(&path).unwrap(), (Digest::of(&plain), plain.len() as u64), "{length}");
    }

    #[test]
    fn holes_count_as_zeros_wherever_they_are() {
        check(0, &[]);
        check(5_000_001, &[]);
        check(10, &[(0, b"0123456789")]);
        check(3 << 20, &[(0, b"first")]);
        check(3 << 20, &[((3 << 20) - 4, b"last")]);
        check(4 << 20, &[(1 << 20, &[7; 70_000]), ((2 << 20) + 5, &[8; 300_000])]);
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(digest(dir.path()).is_err());
        assert!(digest(dir.path().join("missing")).is_err());
    }
}
