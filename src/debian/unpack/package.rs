//! One package on its way into the directory.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::{Attributes, Error, Manner, Source, Unpacked, Unpacker, absolute, split};
use crate::debian::deb::{Entry, Kind};
use crate::disk::{self, dir::Dir};

/// Unpacks all members of one package.
pub fn unpack(all: &Unpacker<'_>, package: usize, source: &Source) -> Result<Unpacked, Error> {
    let mut work = Work { all, package, source, parent: None, done: Unpacked::default() };
    source.deb.unpack(|entry, reader| work.entry(entry, reader))?;
    Ok(work.done)
}

/// One package on its way.
struct Work<'a> {
    all: &'a Unpacker<'a>,
    package: usize,
    source: &'a Source,
    /// The directory of the last file: the next one is mostly in the same.
    parent: Option<(PathBuf, Dir)>,
    done: Unpacked,
}

impl Work<'_> {
    fn entry(&mut self, entry: &Entry, reader: &mut dyn Read) -> Result<(), Error> {
        let name = absolute(&entry.path);
        self.done.list.push(if entry.path.as_os_str().is_empty() { PathBuf::from("/.") } else { name.clone() });
        let target = self.all.target(entry, self.source.deb.name());
        let _place = self.all.place(&target);
        if !self.all.claim(&target, entry, self.package)? {
            self.done.list.pop();
            return Ok(());
        }
        let is_privileged = match &entry.kind {
            Kind::HardLink(to) => self.done.privileged.contains(&absolute(to)),
            _ => entry.is_privileged(),
        };
        if is_privileged {
            self.done.privileged.push(name.clone());
        }
        if entry.kind == Kind::Directory {
            let attributes = Attributes { package: self.package, owner: (entry.uid, entry.gid), mode: entry.mode };
            return self.made(&target, |work| work.all.directory(&target, Some(attributes)));
        }
        let (parent, file_name) = split(&target);
        self.enter(parent, &target)?;
        let Some((_, dir)) = &self.parent else { return Ok(()) };
        let conffile = name.to_str().filter(|name| self.source.conffiles.contains(*name));
        if let Some(md5) = self.write(dir, file_name, entry, reader, conffile.is_some())? {
            conffile.map(|name| self.done.conffiles.insert(name.to_owned(), md5));
        }
        Ok(())
    }

    /// Opens the directory of the next file, making it if the archive does not mention it.
    fn enter(&mut self, parent: &Path, target: &Path) -> Result<(), Error> {
        if self.parent.as_ref().is_some_and(|(path, _)| path == parent) {
            return Ok(());
        }
        let dir = match self.all.root.below(parent) {
            Err(error) if error.is_not_found() => {
                self.made(target, |work| {
                    let mut ancestors: Vec<_> = parent.ancestors().filter(|a| !a.as_os_str().is_empty()).collect();
                    ancestors.reverse();
                    ancestors.into_iter().try_for_each(|ancestor| work.all.directory(ancestor, None))
                })?;
                self.all.root.below(parent)
            }
            result => result,
        };
        let dir = self.made(target, |_| dir)?;
        self.parent = Some((parent.to_owned(), dir));
        Ok(())
    }

    /// Tells a failure on the way to a path as what it mostly is.
    fn made<T>(&self, path: &Path, make: impl FnOnce(&Self) -> Result<T, disk::Error>) -> Result<T, Error> {
        make(self).map_err(|source| {
            let kind = source.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
            match kind {
                Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::EXIST) => {
                    Error::Through {
                        path: absolute(path).display().to_string(),
                        package: self.source.deb.name().to_owned(),
                        source,
                    }
                }
                _ => source.into(),
            }
        })
    }

    /// Puts down a file or link; returns the MD5 of a configuration file. Such a file stays as it is if a script
    /// has made it before.
    fn write(
        &self,
        dir: &Dir,
        name: &OsStr,
        entry: &Entry,
        reader: &mut dyn Read,
        conffile: bool,
    ) -> Result<Option<String>, Error> {
        let faithful = self.all.manner == Manner::Faithful;
        let mut stays = false;
        if let Some(kind) = dir.kind(name)? {
            stays = conffile && kind == FileType::RegularFile;
            if !stays {
                dir.remove(name)?;
            }
        }
        match &entry.kind {
            Kind::File(_) if conffile => {
                let mut summed = Summed { inner: reader, sum: md5::Md5::default() };
                if stays {
                    disk::context("read", self.source.deb.path(), io::copy(&mut summed, &mut io::sink()))?;
                } else {
                    self.file(dir, name, entry, &mut summed)?;
                }
                return Ok(Some(summed.hex()));
            }
            Kind::File(_) => self.file(dir, name, entry, reader)?,
            Kind::Symlink(to) => {
                dir.symlink(to, name)?;
                if faithful {
                    if (entry.uid, entry.gid) != (0, 0) {
                        dir.set_owner(name, entry.uid, entry.gid)?;
                    }
                    dir.set_mtime(name, entry.mtime)?;
                }
            }
            Kind::HardLink(to) => {
                let original = Entry { path: to.clone(), kind: Kind::File(0), ..entry.clone() };
                let original = self.all.target(&original, self.source.deb.name());
                let (parent, original_name) = split(&original);
                dir.hard_link(&self.all.root.below(parent)?, original_name, name)?;
            }
            // Directories were made before it came to this.
            Kind::Directory => {}
        }
        Ok(None)
    }

    fn file(&self, dir: &Dir, name: &OsStr, entry: &Entry, reader: &mut dyn Read) -> Result<(), Error> {
        let path = dir.path().join(name);
        let mut file = dir.create_new(name)?;
        disk::context("write", &path, io::copy(reader, &mut file))?;
        let (owner, mode) = match self.all.manner {
            Manner::Faithful => (((entry.uid, entry.gid) != (0, 0)).then_some((entry.uid, entry.gid)), entry.mode),
            Manner::Plain => (None, entry.mode & 0o755 | 0o600),
        };
        Ok(disk::dir::set_attributes(&file, &path, owner, mode, entry.mtime)?)
    }
}

/// Takes the MD5 of what is read through it.
struct Summed<'a> {
    inner: &'a mut dyn Read,
    sum: md5::Md5,
}

impl Summed<'_> {
    fn hex(self) -> String {
        use md5::Digest as _;
        self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use md5::Digest as _;
        let read = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
