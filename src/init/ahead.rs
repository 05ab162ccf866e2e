//! Reading ahead: while init makes /var ready, one processor has nothing to do, and most of what systemd starts with can be
//! verified and unpacked on it.

use std::num::NonZeroU64;
use std::path::PathBuf;

use rustix::fs::{Advice, fadvise, fstat};

use rave_init::{AHEAD, disk};

/// The kernel takes about as much of one request.
const PIECE: NonZeroU64 = NonZeroU64::new(1 << 20).expect("is not zero");

/// Asks the kernel to have the files of the image's list in memory soon. Nothing depends on it, so a list or a file that
/// is not there is no failure.
pub fn read() {
    let Ok(list) = disk::read_to_string(AHEAD) else { return };
    for file in list.lines().flat_map(files).filter_map(|path| disk::open(path).ok()) {
        let size = fstat(&file).map_or(0, |status| u64::try_from(status.st_size).unwrap_or(0));
        for piece in 0..size.div_ceil(PIECE.get()) {
            let _ = fadvise(&file, piece * PIECE.get(), Some(PIECE), Advice::WillNeed);
        }
    }
}

/// A file, or those in a directory.
fn files(path: &str) -> Vec<PathBuf> {
    disk::list(path).unwrap_or_else(|_| vec![PathBuf::from(path)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        disk::create_file(&a, "x").unwrap();
        disk::create_file(&b, "").unwrap();
        assert_eq!(files(directory.path().to_str().unwrap()), [a.clone(), b]);
        assert_eq!(files(a.to_str().unwrap()), [a]);
        assert_eq!(files("/nonexistent"), [PathBuf::from("/nonexistent")]);
    }
}
