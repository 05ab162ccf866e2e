//! Files of the packages that an image was made of.

use std::collections::BTreeMap;
use std::path::Path;

use rave::debian::deb::{Deb, Error, Kind};
use rave::disk;

use crate::lab::shared;

/// The files below a directory of a package that a lock names, by their names in it.
pub fn files(lock: &Path, package: &str, directory: &str) -> BTreeMap<String, Vec<u8>> {
    let lock = disk::read_to_string(lock).unwrap();
    let line = lock.lines().find(|line| line.contains(&format!("{{name: {package},"))).unwrap();
    let digest = line.split_once("sha256: ").unwrap().1.split(',').next().unwrap();
    let path = shared("store").join("objects/deb").join(digest).join("content");
    let mut found = BTreeMap::new();
    Deb::open(&path)
        .unwrap()
        .unpack(|entry, reader| {
            let inside = entry.path.strip_prefix(directory).ok().filter(|_| matches!(entry.kind, Kind::File(_)));
            if let Some(name) = inside {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                found.insert(name.to_str().unwrap().to_owned(), bytes);
            }
            Ok::<(), Error>(())
        })
        .unwrap();
    found
}
