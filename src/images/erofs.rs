//! The root file system as EROFS: the finished tree is written as a tar stream, which `mkfs.erofs` packs.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk;
use crate::name::PackageName;
use crate::system::Compression;
use crate::tool::Tool;

use super::archive::Archive;
use super::error::Error;
use super::union::{Bytes, Final, Finals, Node};

/// One path of the root file system, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// SHA-256 of a regular file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Length of a regular file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Target of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Permission bits, in octal.
    pub mode: String,
    /// Owner and group, by number.
    pub owner: (u64, u64),
    /// The option that put it there; nothing for what packages brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// The package that brought it; nothing for what maintainer scripts or rave made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
}

/// Writes the tree as a tar archive in which every time is `epoch`; returns what it wrote.
pub fn write_tar(
    finals: &Finals,
    archive: &Archive,
    rave: &Path,
    epoch: u64,
    to: impl Write,
) -> Result<BTreeMap<String, FileRecord>, Error> {
    let mut builder = tar::Builder::new(BufWriter::with_capacity(1 << 20, to));
    let mut records = BTreeMap::new();
    let mut first_names: BTreeMap<u64, String> = BTreeMap::new();
    for (path, item) in finals {
        let mut record = FileRecord {
            sha256: None,
            size: None,
            link: None,
            mode: format!("{:04o}", item.mode),
            owner: (item.uid, item.gid),
            option: item.option.clone(),
            package: item.package.clone(),
        };
        let name = format!("./{}", path.trim_start_matches('/'));
        match &item.node {
            Node::Directory => append(&mut builder, item, epoch, tar::EntryType::Directory, &name, 0, io::empty())?,
            Node::Symlink(target) => {
                record.link = Some(target.clone());
                append_link(&mut builder, item, epoch, tar::EntryType::Symlink, &name, target)?;
            }
            Node::File(Bytes::Archive { offset, size }) => match first_names.get(offset) {
                Some(first) if *size > 0 => {
                    record.clone_content(records.get(first));
                    append_link(&mut builder, item, epoch, tar::EntryType::Link, &name, &format!(".{first}"))?;
                }
                _ => {
                    first_names.insert(*offset, path.clone());
                    record.hash(*size, archive.slice(*offset, *size), |reader| {
                        append(&mut builder, item, epoch, tar::EntryType::Regular, &name, *size, reader)
                    })?;
                }
            },
            Node::File(Bytes::Inline(bytes)) => {
                let size = bytes.len() as u64;
                record.hash(size, bytes.as_slice(), |reader| {
                    append(&mut builder, item, epoch, tar::EntryType::Regular, &name, size, reader)
                })?;
            }
            Node::File(Bytes::Rave) => {
                let file = disk::open(rave)?;
                let size = disk::context("examine", rave, file.metadata())?.len();
                record.hash(size, file, |reader| {
                    append(&mut builder, item, epoch, tar::EntryType::Regular, &name, size, reader)
                })?;
            }
        }
        records.insert(path.clone(), record);
    }
    builder.into_inner().and_then(|mut out| out.flush()).map_err(|e| Error::format("root file system", e))?;
    Ok(records)
}

impl FileRecord {
    /// Passes a reader on and notes the digest of what was read from it.
    fn hash<R: Read>(
        &mut self,
        size: u64,
        reader: R,
        pass: impl FnOnce(&mut Hashing<R>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut hashing = Hashing { reader, hash: sha2::Digest::new() };
        pass(&mut hashing)?;
        self.size = Some(size);
        self.sha256 = Some(Digest::from_bytes(sha2::Digest::finalize(hashing.hash).into()));
        Ok(())
    }

    fn clone_content(&mut self, other: Option<&Self>) {
        if let Some(other) = other {
            (self.sha256, self.size) = (other.sha256, other.size);
        }
    }
}

struct Hashing<R> {
    reader: R,
    hash: sha2::Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        sha2::Digest::update(&mut self.hash, &buffer[..n]);
        Ok(n)
    }
}

fn header<W: Write>(
    builder: &mut tar::Builder<W>,
    item: &Final,
    epoch: u64,
    kind: tar::EntryType,
) -> io::Result<tar::Header> {
    let attributes: Vec<(String, &[u8])> =
        item.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice())).collect();
    if !attributes.is_empty() {
        builder.append_pax_extensions(attributes.iter().map(|(name, value)| (name.as_str(), *value)))?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(item.mode);
    header.set_uid(item.uid);
    header.set_gid(item.gid);
    header.set_mtime(epoch);
    header.set_size(0);
    Ok(header)
}

fn append<W: Write>(
    builder: &mut tar::Builder<W>,
    item: &Final,
    epoch: u64,
    kind: tar::EntryType,
    name: &str,
    size: u64,
    reader: impl Read,
) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut header = header(builder, item, epoch, kind)?;
        header.set_size(size);
        builder.append_data(&mut header, name, reader)
    };
    write().map_err(|e| Error::format("root file system", e))
}

fn append_link<W: Write>(
    builder: &mut tar::Builder<W>,
    item: &Final,
    epoch: u64,
    kind: tar::EntryType,
    name: &str,
    target: &str,
) -> Result<(), Error> {
    let mut write = || -> io::Result<()> {
        let mut header = header(builder, item, epoch, kind)?;
        builder.append_link(&mut header, name, target)
    };
    write().map_err(|e| Error::format("root file system", e))
}

/// The call of `mkfs.erofs` that packs `tar` into `image`, both as the tool sees them. Its bytes depend on
/// the arguments and the tar alone: times, identity and the block order are given, and the number of
/// workers does not change them.
pub fn mkfs(
    tool: Tool,
    compression: &Compression,
    epoch: u64,
    uuid: &str,
    workers: u32,
    image: &str,
    tar: &str,
) -> Tool {
    let mut tool = tool.args(["--quiet", "--tar=f"]).arg(format!("-T{epoch}")).arg(format!("-U{uuid}"));
    if compression.algorithm != "none" {
        let level = compression.level.map(|level| format!(",{level}")).unwrap_or_default();
        tool = tool.arg(format!("-z{}{level}", compression.algorithm)).arg(format!("-C{}", compression.cluster));
        tool = tool.arg(format!("--workers={workers}"));
    }
    tool.arg(image).arg(tar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::owned::Owned;
    use crate::tree::Entry;

    #[test]
    fn the_stream_is_the_same_twice_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base.tar");
        let mut builder = tar::Builder::new(disk::create(&base).unwrap());
        for (name, content) in [
            ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("usr/lib/os-release", "ID=debian\n"),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, "etc/second", "etc/group").unwrap();
        builder.finish().unwrap();
        let rave = dir.path().join("rave");
        disk::write_atomic(&rave, b"binary", 0o755).unwrap();

        let archive = Archive::open(&base).unwrap();
        let mut system = super::super::fixture::system();
        system.tree.insert(format!("/etc/{}", "long/".repeat(30) + "name").parse().unwrap(), Entry::file("x", 0o600));
        let mut finals = super::super::union::unite(&archive, &Owned::read(&archive).unwrap(), &system).unwrap();
        let group = finals.get_mut("/etc/group").unwrap();
        group.xattrs.insert("security.capability".into(), vec![0, 1, 0xff]);

        let write = |name: &str| {
            let path = dir.path().join(name);
            let records = write_tar(&finals, &archive, &rave, 1_700_000_000, disk::create(&path).unwrap()).unwrap();
            (records, disk::read(&path).unwrap(), Archive::open(&path).unwrap())
        };
        let (records, bytes, written) = write("a.tar");
        assert_eq!(bytes, write("b.tar").1);
        assert_eq!(written.read("/usr/bin/rave").unwrap(), b"binary");
        assert_eq!(records["/usr/bin/rave"].sha256, Some(Digest::of(b"binary")));
        assert_eq!(records["/etc/second"].sha256, records["/etc/group"].sha256);
        assert_eq!(written.members["/etc/group"].xattrs["security.capability"], [0, 1, 0xff]);
        assert_eq!(written.members.keys().collect::<Vec<_>>(), finals.keys().collect::<Vec<_>>());
    }
}
