//! Copies that keep holes and share blocks.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{File, Result, context, open};

/// Copies all bytes of `from` into `to`, beginning at `offset`, without writing its holes; blocks are shared
/// where the file system can. Returns the length of `from`.
pub fn copy_at(from: impl AsRef<Path>, to: &File, offset: u64) -> Result<u64> {
    let source = open(&from)?;
    context("copy", &from, copy_data_at(&source, to, offset))
}

fn copy_data_at(from: &File, to: &File, offset: u64) -> io::Result<u64> {
    use rustix::fs::{SeekFrom, seek};
    let length = from.metadata()?.len();
    let mut at = 0;
    while at < length {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break, // nothing but a hole is left
            Err(rustix::io::Errno::INVAL) => at,   // this file system does not know holes
            Err(error) => return Err(error.into()),
        };
        let end = seek(from, SeekFrom::Hole(start)).unwrap_or(length).min(length);
        copy_range(from, start, to, offset + start, end.saturating_sub(start))?;
        at = end.max(start + 1);
    }
    Ok(length)
}

fn copy_range(from: &File, start: u64, to: &File, offset: u64, length: u64) -> io::Result<()> {
    let (mut source, mut target) = (start, offset);
    while source < start + length {
        let left = usize::try_from(start + length - source).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), left) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Not between these two files: through memory then.
            Err(_) => {
                let mut buffer = vec![0; left.min(1 << 20)];
                from.read_exact_at(&mut buffer, source)?;
                to.write_all_at(&buffer, target)?;
                (source, target) = (source + buffer.len() as u64, target + buffer.len() as u64);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{create, metadata, read};
    use super::*;

    #[test]
    fn copying_into_a_file_keeps_bytes_and_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let source = create(&from).unwrap();
        source.write_all_at(b"data", 3 << 20).unwrap();
        source.set_len(5 << 20).unwrap();
        let target = create(&to).unwrap();
        target.set_len(8 << 20).unwrap();
        assert_eq!(copy_at(&from, &target, 1 << 20).unwrap(), 5 << 20);
        let bytes = read(&to).unwrap();
        assert_eq!(&bytes[4 << 20..(4 << 20) + 4], b"data");
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 4);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&metadata(&to).unwrap());
        assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    }
}
