//! Puts a copy of the project where a test may change it.

use std::path::Path;

use rave::disk;

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    disk::create_dir_all(to).unwrap();
    for path in disk::list(from).unwrap() {
        let target = to.join(path.file_name().unwrap());
        if disk::metadata(&path).unwrap().is_dir() {
            copy(&path, &target);
        } else {
            disk::copy(&path, &target).unwrap();
        }
    }
}
