//! Where the vectors are, and who opens them.

use std::path::{Path, PathBuf};

use rave::secrets::{Format, Identities};

/// A file of the vectors, whose README files name origin and licence.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sops").join(name)
}

pub fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

/// The identities of a key file.
pub fn identities(name: &str) -> Identities {
    Identities::parse(name, &bytes(name)).unwrap()
}

pub fn format(name: &str) -> Format {
    Format::of(Path::new(name))
}

/// All files below a folder whose plain text lies beside them, by name.
pub fn with_plain(folder: &str) -> Vec<String> {
    let root = path("");
    let mut found = Vec::new();
    let mut left = vec![path(folder)];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if let Some(name) = path.strip_prefix(&root).unwrap().to_str().unwrap().strip_suffix(".plain") {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found
}
