//! All bytes of an image, one piece after the other, to be searched for what must not be in them: unpacked, as a
//! running machine sees them, and packed, as they are stored and sent.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::{self, File};
use crate::leaks::{self, Bytes, Content, Finding, Patterns};
use crate::system::System;
use crate::tree::Globs;

use super::archive::Archive;
use super::error::Error;
use super::owned::Owned;
use super::uki;
use super::union::{self, Bytes as From, Node};

/// More than any initrd has, decompressed, in bytes.
const INITRD: usize = 1 << 30;

/// Keys in packages that are no secret, wherever they are used.
const PUBLIC: [(&str, &str); 2] = [
    ("/usr/lib/*/libgnutls.so.*", "keys that the library tests itself with, which are in its published source"),
    ("/usr/bin/openssl", "keys that `openssl speed` measures with, which are in its published source"),
];

/// Where the pieces of an image are.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a> {
    /// The machine that it is.
    pub system: &'a System,
    /// The configured packages, as a tar archive.
    pub rootfs: &'a Path,
    /// The rave binary.
    pub rave: &'a Path,
    /// The initial RAM disk.
    pub initrd: &'a Path,
    /// The unified kernel image.
    pub uki: &'a Path,
    /// The disk.
    pub disk: &'a Path,
}

/// What a search for private keys and password hashes of any kind found. The image has no others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Bytes that were searched, with the holes of the disk.
    pub bytes: u64,
    /// Pieces and files.
    pub contents: u64,
    /// What was found in files that may have it.
    pub allowed: Vec<Allowed>,
}

/// Something that was found and is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// What and where.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it may be there.
    pub reason: String,
}

impl Pieces<'_> {
    /// The files of the root file system, their names, the initrd's content, and the sections of the kernel image.
    pub fn unpacked(&self) -> Result<Vec<Content>, Error> {
        let archive = Archive::open(self.rootfs)?;
        let finals = union::unite(&archive, &Owned::read(&archive)?, self.system)?;
        let file = Arc::new(disk::open(self.rootfs)?);
        let (mut contents, mut names, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (path, item) in finals {
            names.extend_from_slice(path.as_bytes());
            names.push(b'\n');
            for (name, value) in &item.xattrs {
                names.extend([name.as_bytes(), b"=", value, b"\n"].concat());
            }
            let bytes = match item.node {
                Node::Directory => continue,
                Node::Symlink(target) => {
                    names.extend([target.as_bytes(), b"\n"].concat());
                    continue;
                }
                // A second name of a file has no bytes of its own.
                Node::File(From::Archive { offset, size }) if size == 0 || seen.insert(offset) => {
                    Bytes::File { file: Arc::clone(&file), offset, size }
                }
                Node::File(From::Archive { .. }) => continue,
                Node::File(From::Inline(bytes)) => Bytes::Memory(bytes),
                Node::File(From::Rave) => whole(self.rave)?,
            };
            contents.push(Content { name: path, option: item.option, bytes });
        }
        contents.push(memory("names, links and attributes of files", names));
        let packed = disk::read(self.initrd)?;
        let unpacked = zstd::bulk::decompress(&packed, INITRD).or_else(|_| zstd::decode_all(packed.as_slice()));
        contents.push(memory("initrd, unpacked", unpacked.map_err(|error| Error::format("initrd", error))?));
        let image = disk::read(self.uki)?;
        for (name, bytes) in uki::sections(&image).map_err(|error| Error::format("unified kernel image", error))? {
            let name =
                if name == ".cmdline" { "the kernel command line".to_owned() } else { format!("kernel image, {name}") };
            contents.push(memory(name, bytes.to_vec()));
        }
        Ok(contents)
    }

    /// The disk with all its partitions, without its holes, and the packages as they were configured, of which not
    /// all ship.
    pub fn packed(&self) -> Result<Vec<Content>, Error> {
        let mut contents = data(self.disk)?;
        let packages = Content { name: "packages as configured".to_owned(), option: None, bytes: whole(self.rootfs)? };
        contents.push(packages);
        Ok(contents)
    }

    /// Searches everything, and `manifest`, for private keys and password hashes.
    ///
    /// # Errors
    /// [`Error::Leaks`] if there is one in a place that may have none.
    pub fn search(&self, manifest: &[u8], workers: u32) -> Result<Searched, Error> {
        let patterns = Patterns::known();
        let mut contents = self.unpacked()?;
        contents.push(memory("manifest", manifest.to_vec()));
        let found = leaks::search(&patterns, &contents, workers as usize)?;
        let mut searched = Searched { bytes: found.bytes, contents: contents.len() as u64, allowed: Vec::new() };
        let mut wrong = Vec::new();
        for finding in found.findings {
            match self.reason(&finding.place) {
                Some(reason) => searched.allowed.push(Allowed { finding, reason }),
                None => wrong.push(finding),
            }
        }
        // Packed, a file shows what it shows unpacked; if that is allowed there, it is nothing new here.
        if wrong.is_empty() && searched.allowed.is_empty() {
            let found = leaks::search(&patterns, &data(self.disk)?, workers as usize)?;
            // All of it counts: which zeros are holes is up to the file system that it lies on.
            searched.bytes += disk::metadata(self.disk)?.len();
            searched.contents += 1;
            wrong = found.findings;
        }
        if wrong.is_empty() {
            return Ok(searched);
        }
        Err(Error::Leaks(wrong.iter().map(|finding| describe(finding, self.system)).collect()))
    }

    /// Why a file may have a key or hash.
    fn reason(&self, path: &str) -> Option<String> {
        let public = PUBLIC.iter().map(|(pattern, reason)| (*pattern, *reason));
        let own = self.system.key_allow.iter().map(|(pattern, reason)| (pattern.as_str(), reason.as_str()));
        let mut all = public.chain(own);
        all.find(|(pattern, _)| Globs::new([pattern]).matches(path)).map(|(_, reason)| reason.to_owned())
    }
}

/// A finding as a sentence, with the line that is to blame where that is known.
pub fn describe(finding: &Finding, system: &System) -> String {
    let Finding { place, offset, what, option, .. } = finding;
    let by = option.as_ref().map(|option| {
        let origin = option.parse().ok().and_then(|option| system.options.get(&option)).map(|value| &value.origin);
        origin.map_or(format!(", put there by {option}"), |origin| format!(", put there by {option} ({origin})"))
    });
    format!("{place} has {what} at byte {offset}{}", by.unwrap_or_default())
}

fn memory(name: impl Into<String>, bytes: Vec<u8>) -> Content {
    Content { name: name.into(), option: None, bytes: Bytes::Memory(bytes) }
}

/// A disk without its holes.
fn data(path: &Path) -> Result<Vec<Content>, Error> {
    let file = Arc::new(disk::open(path)?);
    let content = |run: Range<u64>| {
        let bytes = Bytes::File { file: Arc::clone(&file), offset: run.start, size: run.end - run.start };
        Content { name: format!("disk, from byte {}", run.start), option: None, bytes }
    };
    Ok(disk::data(path)?.into_iter().map(content).collect())
}

/// A whole file.
fn whole(path: &Path) -> Result<Bytes, Error> {
    let file: File = disk::open(path)?;
    let size = disk::context("examine", path, file.metadata())?.len();
    Ok(Bytes::File { file: Arc::new(file), offset: 0, size })
}
