//! A tar archive as a random-access file system: what is in it, and where each file's bytes are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disk;

/// What one member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: where its bytes start, and how many there are.
    File {
        /// Byte offset in the archive.
        offset: u64,
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(String),
    /// A second name of a file, by the first name's path.
    Hardlink(String),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// An archive, open, with its table of contents.
#[derive(Debug)]
pub struct Archive {
    file: File,
    /// Members by absolute path.
    pub members: BTreeMap<String, Member>,
}

impl Archive {
    /// Reads the table of contents of an uncompressed tar archive.
    pub fn open(path: &Path) -> disk::Result<Self> {
        let file = disk::open(path)?;
        let members = disk::context("read the archive", path, contents(&file))?;
        Ok(Self { file, members })
    }

    /// The bytes of a regular file; symbolic links are followed within the archive.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let (offset, size) = self.locate(path)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// A reader of `size` bytes from `offset`.
    pub fn slice(&self, offset: u64, size: u64) -> Slice<'_> {
        Slice { file: &self.file, offset, left: size }
    }

    /// Whether a regular file is there, directly or through links.
    pub fn has(&self, path: &str) -> bool {
        self.locate(path).is_ok()
    }

    /// Paths that begin with `prefix`.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.members
            .range(prefix.to_owned()..)
            .map(|(path, _)| path.as_str())
            .take_while(move |p| p.starts_with(prefix))
    }

    fn locate(&self, path: &str) -> io::Result<(u64, u64)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{path} is not in the root file system"));
        let mut at = resolve(path, |p| self.link(p)).ok_or_else(missing)?;
        for _ in 0..2 {
            match self.members.get(&at).map(|member| &member.kind) {
                Some(Kind::File { offset, size }) => return Ok((*offset, *size)),
                Some(Kind::Hardlink(target)) => at.clone_from(target),
                _ => break,
            }
        }
        Err(missing())
    }

    fn link(&self, path: &str) -> Option<&str> {
        match &self.members.get(path)?.kind {
            Kind::Symlink(target) => Some(target),
            _ => None,
        }
    }
}

/// Follows symbolic links in the directories of `path`; its last part is left as it is. `link` is that of [`resolve`].
pub fn resolve_parent<'a>(path: &str, link: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let folder = resolve(folder, link)?;
    Some(format!("{}/{name}", folder.trim_end_matches('/')))
}

/// Follows symbolic links in every part of `path`; `link` tells where a path points. None after 40 links.
pub fn resolve<'a>(path: &str, link: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut left: Vec<String> = path.rsplit('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut done = String::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "." => {}
            ".." => done.truncate(done.rfind('/').unwrap_or(0)),
            _ => {
                let next = format!("{done}/{part}");
                match link(&next) {
                    Some(target) => {
                        links += 1;
                        if links > 40 {
                            return None;
                        }
                        if target.starts_with('/') {
                            done.clear();
                        }
                        left.extend(target.rsplit('/').filter(|part| !part.is_empty()).map(str::to_owned));
                    }
                    None => done = next,
                }
            }
        }
    }
    Some(if done.is_empty() { "/".to_owned() } else { done })
}

fn contents(file: &File) -> io::Result<BTreeMap<String, Member>> {
    let mut members = BTreeMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let path = absolute(&String::from_utf8(entry.path_bytes().into_owned()).map_err(io::Error::other)?);
        let target = entry.link_name_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut xattrs = BTreeMap::new();
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                let key = extension.key().map_err(io::Error::other)?;
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    xattrs.insert(name.to_owned(), extension.value_bytes().to_owned());
                }
            }
        }
        let header = entry.header();
        let kind = match (header.entry_type(), target) {
            (tar::EntryType::Regular, _) => Kind::File { offset: entry.raw_file_position(), size: entry.size() },
            (tar::EntryType::Directory, _) => Kind::Directory,
            (tar::EntryType::Symlink, Some(target)) => Kind::Symlink(target),
            (tar::EntryType::Link, Some(target)) => Kind::Hardlink(absolute(&target)),
            (other, _) => {
                return Err(io::Error::other(format!("{path} is of a kind that images cannot hold: {other:?}")));
            }
        };
        let member = Member { kind, mode: header.mode()? & 0o7777, uid: header.uid()?, gid: header.gid()?, xattrs };
        members.insert(path, member);
    }
    Ok(members)
}

/// `./usr/bin/`, `usr/bin` and `.` as absolute paths.
fn absolute(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

/// Reads a part of a file without moving its position.
pub struct Slice<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..want], self.offset)?;
        self.offset += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_through_links_and_second_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut builder = tar::Builder::new(disk::create(&path).unwrap());
        let mut add = |name: &str, kind, link: Option<&str>, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(bytes.len() as u64);
            if let Some(link) = link {
                header.set_link_name(link).unwrap();
            }
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        add("./", tar::EntryType::Directory, None, b"");
        add("./bin", tar::EntryType::Symlink, Some("usr/bin"), b"");
        add("./usr/bin/", tar::EntryType::Directory, None, b"");
        add("./usr/bin/.a", tar::EntryType::Regular, None, b"hello");
        add("./usr/bin/b", tar::EntryType::Link, Some("./usr/bin/.a"), b"");
        add("./loop", tar::EntryType::Symlink, Some("loop"), b"");
        builder.finish().unwrap();
        let archive = Archive::open(&path).unwrap();
        assert_eq!(archive.read("/bin/.a").unwrap(), b"hello");
        assert_eq!(archive.read("/bin/../bin/b").unwrap(), b"hello");
        assert_eq!(archive.below("/usr/bin/").collect::<Vec<_>>(), ["/usr/bin/.a", "/usr/bin/b"]);
        for missing in ["/loop", "/bin", "/nothing"] {
            assert_eq!(archive.read(missing).unwrap_err().kind(), io::ErrorKind::NotFound, "{missing}");
        }
    }
}
