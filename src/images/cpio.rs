//! cpio archives in the `newc` form that the kernel unpacks as its initramfs (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root and is of 1970.

use std::collections::BTreeMap;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory with mode 0755.
    Directory,
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A character device with mode 0600.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A path or a file that the format cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot be put into an initrd: {reason}")]
pub struct Error {
    /// The path.
    pub path: String,
    /// Why not.
    pub reason: &'static str,
}

/// An archive to be: nodes by their path, which has no leading slash.
#[derive(Debug, Clone, Default)]
pub struct Archive(BTreeMap<String, Node>);

impl Archive {
    /// Puts a node at `path` and directories above it.
    pub fn add(&mut self, path: &str, node: Node) -> Result<(), Error> {
        let error = |reason| Error { path: path.to_owned(), reason };
        if path.len() > 4000 || path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(error("it is not a plain relative path"));
        }
        if matches!(&node, Node::File { content, .. } if u32::try_from(content.len()).is_err()) {
            return Err(error("it is larger than 4 GiB"));
        }
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or(path).to_owned();
            if *self.0.entry(above).or_insert(Node::Directory) != Node::Directory {
                return Err(error("something above it is not a directory"));
            }
        }
        match self.0.insert(path.to_owned(), node) {
            None => Ok(()),
            Some(_) => Err(error("it is there already")),
        }
    }

    /// The archive's bytes: entries sorted by path, so that directories come before what they hold.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (path, node)) in (1..).zip(&self.0) {
            let (mode, links, content, device) = match node {
                Node::Directory => (0o040_755, 2, &[][..], (0, 0)),
                Node::File { mode, content } => (0o100_000 | (mode & 0o7777), 1, &content[..], (0, 0)),
                Node::CharacterDevice { major, minor } => (0o020_600, 1, &[][..], (*major, *minor)),
            };
            entry(&mut bytes, path, [number, mode, links], content, device);
        }
        entry(&mut bytes, "TRAILER!!!", [0, 0, 1], &[], (0, 0));
        bytes
    }
}

fn entry(bytes: &mut Vec<u8>, path: &str, inode: [u32; 3], content: &[u8], device: (u32, u32)) {
    let [number, mode, links] = inode;
    let (length, name_length) = (content.len() as u32, path.len() as u32 + 1);
    bytes.extend(b"070701");
    // Owner, group and time are zero, and so are the device of the file and the checksum.
    for field in [number, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_length, 0] {
        bytes.extend(format!("{field:08X}").bytes());
    }
    bytes.extend(path.bytes());
    bytes.push(0);
    align(bytes);
    bytes.extend(content);
    align(bytes);
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::{self, Tool};

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.add("init", Node::File { mode: 0o755, content: b"binary".to_vec() }).unwrap();
        archive.add("dev/console", Node::CharacterDevice { major: 5, minor: 1 }).unwrap();
        archive.add("lib/a/b.ko", Node::File { mode: 0o644, content: b"12345".to_vec() }).unwrap();
        archive
    }

    #[test]
    fn another_program_reads_the_archive() {
        let bytes = sample().to_bytes();
        assert_eq!(bytes.len() % 4, 0);
        let listing = match Tool::new("cpio").args(["-tv", "--quiet"]).output_with_input(&bytes) {
            Err(tool::Error::Start { .. }) => return,
            other => String::from_utf8(other.unwrap()).unwrap(),
        };
        let names: Vec<_> = listing.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, ["dev", "dev/console", "init", "lib", "lib/a", "lib/a/b.ko"], "{listing}");
        assert!(listing.contains("crw-------") && listing.contains("-rwxr-xr-x"), "{listing}");
    }

    #[test]
    fn the_bytes_are_pinned() {
        let mut archive = Archive::default();
        archive.add("a", Node::File { mode: 0o644, content: b"xyz".to_vec() }).unwrap();
        let text = String::from_utf8(archive.to_bytes()).unwrap();
        let zeros = "00000000";
        let head = format!("07070100000001000081A4{zeros}{zeros}00000001{zeros}00000003");
        assert!(text.starts_with(&format!("{head}{}00000002{zeros}a\0xyz\0", zeros.repeat(4))), "{text:?}");
        assert!(text.contains("TRAILER!!!\0"));
    }

    #[test]
    fn hostile_paths_are_refused() {
        let file = || Node::File { mode: 0, content: Vec::new() };
        for path in ["", "/a", "a//b", "a/", "..", "a/../b", "./a", "a\0b", "init", "init/a", &"a".repeat(5000)] {
            assert!(sample().add(path, file()).is_err(), "{path:?}");
        }
    }
}
