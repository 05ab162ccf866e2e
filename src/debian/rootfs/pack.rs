//! Writes a directory as one archive (pax interchange format, POSIX.1-2001) whose bytes depend on nothing but
//! names, contents, owners, permission bits, times up to the epoch, and extended attributes.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::disk;

/// Attributes that are a part of the file system; others are the host's, such as labels of security modules.
const ATTRIBUTES: [&str; 3] = ["security.capability", "system.posix_acl_access", "system.posix_acl_default"];
/// What the plain header can hold of a path, in bytes.
const NAME: usize = 100;
/// What the plain header can hold of a size.
const SIZE: u64 = 0o77_777_777_777;

/// Archives `root` into a new file; returns how many entries it has, and its size.
pub fn pack(root: &Path, archive: &Path, epoch: i64) -> disk::Result<(u64, u64)> {
    let file = disk::create(archive)?;
    let mut packer = Packer {
        builder: Builder::new(BufWriter::with_capacity(1 << 20, file)),
        archive,
        epoch: u64::try_from(epoch).unwrap_or(0),
        links: BTreeMap::new(),
        entries: 0,
    };
    packer.entry(root, Path::new(""))?;
    let done = packer.builder.into_inner().and_then(|mut writer| {
        writer.flush()?;
        Ok(writer.get_ref().metadata()?.len())
    });
    Ok((packer.entries, disk::context("write", archive, done)?))
}

struct Packer<'a> {
    builder: Builder<BufWriter<std::fs::File>>,
    archive: &'a Path,
    epoch: u64,
    /// Files with several names: device and inode to the first name.
    links: BTreeMap<(u64, u64), PathBuf>,
    entries: u64,
}

impl Packer<'_> {
    /// Archives a path and all that is below it. Names are sorted by bytes, so parents come before children.
    fn entry(&mut self, path: &Path, name: &Path) -> disk::Result<()> {
        let metadata = disk::metadata(path)?;
        let kind = metadata.file_type();
        let mut header = Header::new_ustar();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(u64::from(metadata.uid()));
        header.set_gid(u64::from(metadata.gid()));
        // Directories change whenever something in them does, and so all have the same time.
        let mtime = if kind.is_dir() { self.epoch } else { u64::try_from(metadata.mtime()).unwrap_or(0) };
        header.set_mtime(mtime.min(self.epoch));
        let mut target = None;
        let first = (metadata.nlink() > 1 && !kind.is_dir())
            .then(|| self.links.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.to_owned()).clone())
            .filter(|first| first != name);
        if let Some(first) = first {
            header.set_entry_type(EntryType::Link);
            target = Some(first);
        } else if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            target = Some(disk::read_link(path)?);
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
        } else if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
        } else {
            return disk::context("archive", path, Err(io::ErrorKind::Unsupported.into()));
        }
        let file = header.entry_type() == EntryType::Regular;
        let size = if file { metadata.len() } else { 0 };
        let mut extensions = self.named(&mut header, path, name, kind.is_dir(), target.as_deref(), size)?;
        if header.entry_type() != EntryType::Link {
            let attributes = disk::attributes(path)?.into_iter().filter(|(key, _)| ATTRIBUTES.contains(&key.as_str()));
            extensions.extend(attributes.map(|(key, value)| (format!("SCHILY.xattr.{key}"), value)));
        }
        self.append(&mut header, &extensions, if file { Some(path) } else { None }, size)?;
        if kind.is_dir() {
            for child in disk::list(path)? {
                let child_name = name.join(child.file_name().unwrap_or_default());
                self.entry(&child, &child_name)?;
            }
        }
        Ok(())
    }

    /// Sets names and size, as far as they fit; returns the extensions for what does not.
    fn named(
        &self,
        header: &mut Header,
        path: &Path,
        name: &Path,
        directory: bool,
        target: Option<&Path>,
        size: u64,
    ) -> disk::Result<Vec<(String, Vec<u8>)>> {
        let mut extensions = Vec::new();
        let mut name = if name.as_os_str().is_empty() { b".".to_vec() } else { name.as_os_str().as_bytes().to_vec() };
        if directory {
            name.push(b'/');
        }
        if name.len() > NAME {
            extensions.push(("path".to_owned(), name.clone()));
        }
        let fields = header.as_ustar_mut();
        let fields = disk::context("archive", path, fields.ok_or(io::Error::from(io::ErrorKind::InvalidData)))?;
        put(&mut fields.name, &name);
        if let Some(target) = target.map(|target| target.as_os_str().as_bytes()) {
            if target.len() > NAME {
                extensions.push(("linkpath".to_owned(), target.to_vec()));
            }
            put(&mut fields.linkname, target);
        }
        header.set_size(size.min(SIZE));
        if size > SIZE {
            extensions.push(("size".to_owned(), size.to_string().into_bytes()));
        }
        Ok(extensions)
    }

    fn append(
        &mut self,
        header: &mut Header,
        extensions: &[(String, Vec<u8>)],
        content: Option<&Path>,
        size: u64,
    ) -> disk::Result<()> {
        self.entries += 1;
        header.set_cksum();
        let extensions = extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        disk::context("write", self.archive, self.builder.append_pax_extensions(extensions))?;
        let writer = self.builder.get_mut();
        disk::context("write", self.archive, writer.write_all(header.as_bytes()))?;
        let Some(path) = content else { return Ok(()) };
        let mut file = io::Read::take(disk::open(path)?, size);
        let written = disk::context("archive", path, io::copy(&mut file, writer))?;
        if written != size {
            return disk::context("archive", path, Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let padding = (512 - (size % 512) as usize) % 512;
        disk::context("write", self.archive, writer.write_all(&[0; 512][..padding]))
    }
}

/// Puts as much of a name into a field as it holds.
fn put(field: &mut [u8; NAME], name: &[u8]) {
    let length = name.len().min(NAME);
    field[..length].copy_from_slice(&name[..length]);
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_archive_has_all_and_nothing_of_the_host() {
        let root = tempfile::tempdir().unwrap();
        let long = format!("a/{}", "long".repeat(40));
        let target = "t".repeat(150);
        std::fs::create_dir(root.path().join("a")).unwrap();
        std::fs::write(root.path().join(&long), "content").unwrap();
        std::fs::set_permissions(root.path().join(&long), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::hard_link(root.path().join(&long), root.path().join("b")).unwrap();
        std::fs::write(root.path().join("a-b"), [1; 512]).unwrap();
        symlink(&target, root.path().join("link")).unwrap();
        let archives = tempfile::tempdir().unwrap();
        let one = archives.path().join("one");
        let (entries, size) = pack(root.path(), &one, 1000).unwrap();
        assert_eq!((entries, size), (6, std::fs::metadata(&one).unwrap().len()));
        let mut archive = tar::Archive::new(std::fs::File::open(&one).unwrap());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().username_bytes()), (1000, Some(&b""[..])));
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let link = entry.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap());
            seen.push((String::from_utf8(entry.path_bytes().into_owned()).unwrap(), link, bytes.len()));
        }
        let name = |name: &str| name.to_owned();
        let expected = [
            (name("./"), None, 0),
            (name("a/"), None, 0),
            (long.clone(), None, 7),
            (name("a-b"), None, 512),
            (name("b"), Some(long), 0),
            (name("link"), Some(target), 0),
        ];
        assert_eq!(seen, expected);
        let two = archives.path().join("two");
        pack(root.path(), &two, 1000).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }
}
