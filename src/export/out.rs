//! A file that is written from its beginning to its end.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::disk::{self, File};

/// Such a file.
pub struct Out {
    writer: BufWriter<File>,
    path: PathBuf,
    /// How many bytes it has so far.
    pub at: u64,
}

impl Out {
    /// Begins the file `path`.
    pub fn create(path: &Path) -> disk::Result<Self> {
        let writer = BufWriter::with_capacity(1 << 20, disk::create(path)?);
        Ok(Self { writer, path: path.to_owned(), at: 0 })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> disk::Result<()> {
        self.at += bytes.len() as u64;
        let written = self.writer.write_all(bytes);
        self.context(written)
    }

    /// Appends zeros up to a multiple of `alignment`, which is small.
    pub fn pad(&mut self, alignment: u64) -> disk::Result<()> {
        let zeros = vec![0; (self.at.next_multiple_of(alignment) - self.at) as usize];
        self.write(&zeros)
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> disk::Result<()> {
        let flushed = self.writer.flush();
        self.context(flushed)
    }

    /// Names the file in an error.
    pub fn context<T>(&self, result: io::Result<T>) -> disk::Result<T> {
        disk::context("write", &self.path, result)
    }
}

/// For writers of archives, which know nothing of paths.
impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
