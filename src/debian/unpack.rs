//! Puts the content of packages into a directory, several packages at once.
//!
//! The result does not depend on which package is faster: files that two packages ship are given to the one that
//! replaces the other, and a directory has the attributes that the first package in order gives it.

mod package;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rustix::fs::FileType;

use super::deb::{self, Deb, Entry, Kind};
use crate::disk::{self, dir::Dir};

/// Top-level directories that a merged system has below /usr.
pub const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// How many paths may be written at once, as far as chance allows: more than there are processors.
const PLACES: usize = 64;

/// Why packages could not be put into a directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package is not good.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// A file could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// Two packages ship the same path, and neither replaces the other.
    #[error("{path} is in both {one} and {other}")]
    Conflict {
        /// The path inside.
        path: String,
        /// One package.
        one: String,
        /// The other.
        other: String,
    },
    /// A path leads through something that is not a directory.
    #[error("{path} of {package} lies behind a symbolic link or below a file")]
    Through {
        /// The path inside.
        path: String,
        /// The package.
        package: String,
        /// What the system said.
        source: disk::Error,
    },
}

/// What was done with one package.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The paths as the archive has them, absolute, for `dpkg -L`; `/.` stands for the root.
    pub list: Vec<PathBuf>,
    /// MD5 digests of the configuration files, in hexadecimal, by absolute path.
    pub conffiles: BTreeMap<String, String>,
    /// Files with setuid or setgid bits.
    pub privileged: Vec<PathBuf>,
}

/// A package that is to be unpacked.
#[derive(Debug)]
pub struct Source {
    /// The package.
    pub deb: Deb,
    /// Absolute paths of its configuration files.
    pub conffiles: BTreeSet<String>,
}

/// Whose a path is, and what.
#[derive(Debug, Clone, Copy)]
struct Owner {
    package: usize,
    directory: bool,
}

/// What a directory shall be in the end.
#[derive(Debug, Clone, Copy)]
struct Attributes {
    package: usize,
    owner: (u32, u32),
    mode: u32,
}

/// How files are put down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With owners, permission bits and times as in the archive.
    Faithful,
    /// As the calling user's own, without setuid bits.
    Plain,
}

/// A directory that packages are unpacked into.
pub struct Unpacker<'a> {
    root: Dir,
    manner: Manner,
    packages: &'a [Source],
    replaces: &'a (dyn Fn(usize, usize) -> bool + Sync),
    /// Links in the root directory to a directory of the same name in /usr.
    merged: BTreeSet<OsString>,
    /// Absolute path to where it goes, and for which package it does not.
    diversions: BTreeMap<PathBuf, (PathBuf, String)>,
    owners: Mutex<BTreeMap<PathBuf, Owner>>,
    /// Whoever puts something at a path holds one of them, from asking whether it may to having done it.
    places: [Mutex<()>; PLACES],
    directories: Mutex<BTreeMap<PathBuf, Attributes>>,
    lost: Mutex<BTreeMap<usize, BTreeSet<PathBuf>>>,
}

/// A panic in another thread ends the work anyway; what it left behind is not used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<'a> Unpacker<'a> {
    /// Unpacks `packages` below `root`. `replaces(a, b)` tells whether package `a` may take over files of `b`.
    pub fn new(
        root: &Path,
        manner: Manner,
        packages: &'a [Source],
        replaces: &'a (dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<Self, Error> {
        Ok(Self {
            root: Dir::open(root)?,
            manner,
            packages,
            replaces,
            merged: BTreeSet::new(),
            diversions: BTreeMap::new(),
            owners: Mutex::default(),
            places: std::array::from_fn(|_| Mutex::default()),
            directories: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    /// Takes note of the links in the root directory and of diversions (dpkg-divert(1)), by absolute path:
    /// where the file goes, and the package that it is not diverted for.
    pub fn prepare(&mut self, diversions: BTreeMap<PathBuf, (PathBuf, String)>) -> Result<(), Error> {
        for name in MERGED {
            if self.root.kind(OsStr::new(name))? == Some(FileType::Symlink)
                && disk::read_link(self.root.path().join(name))? == Path::new("usr").join(name)
            {
                self.merged.insert(name.into());
            }
        }
        let mut owners = lock(&self.owners);
        for (from, (to, package)) in &diversions {
            let place = |path: &Path| self.merge(path.strip_prefix("/").unwrap_or(path), true);
            let from = place(from);
            // What was unpacked before it was diverted has been moved away, and its path is free.
            if owners.get(&from).is_some_and(|owner| self.name(owner.package) != *package)
                && let Some(owner) = owners.remove(&from)
            {
                owners.insert(place(to), owner);
            }
        }
        drop(owners);
        self.diversions = diversions;
        Ok(())
    }

    /// Unpacks one package by its index.
    pub fn unpack(&self, package: usize) -> Result<Unpacked, Error> {
        let Some(source) = self.packages.get(package) else { return Ok(Unpacked::default()) };
        package::unpack(self, package, source)
    }

    /// Gives new directories their attributes; to be called after packages were unpacked, before they are used.
    pub fn finish(&self) -> Result<(), Error> {
        for (path, attributes) in std::mem::take(&mut *lock(&self.directories)) {
            let (parent, name) = split(&path);
            let dir = self.root.below(parent)?;
            let name = if name.is_empty() { OsStr::new(".") } else { name };
            match self.manner {
                Manner::Faithful => {
                    dir.set_owner(name, attributes.owner.0, attributes.owner.1)?;
                    dir.set_mode(name, attributes.mode)?;
                }
                Manner::Plain => dir.set_mode(name, 0o755)?,
            }
        }
        Ok(())
    }

    /// The paths that a package has lost to one that replaces it, absolute; to be left out of its list.
    pub fn lost(&self, package: usize) -> BTreeSet<PathBuf> {
        lock(&self.lost).get(&package).cloned().unwrap_or_default()
    }

    fn name(&self, package: usize) -> String {
        self.packages.get(package).map(|source| source.deb.name().to_owned()).unwrap_or_default()
    }

    /// Where a member goes, relative to the root.
    fn target(&self, entry: &Entry, package: &str) -> PathBuf {
        if entry.kind != Kind::Directory
            && let Some((to, owner)) = self.diversions.get(&absolute(&entry.path))
            && owner != package
        {
            return self.merge(to.strip_prefix("/").unwrap_or(to), false);
        }
        self.merge(&entry.path, entry.kind != Kind::Directory)
    }

    /// Leads a path through the links in the root; `itself`: the path may be such a link.
    fn merge(&self, path: &Path, itself: bool) -> PathBuf {
        let mut components = path.components();
        match components.next() {
            Some(first) if self.merged.contains(first.as_os_str()) => {
                if itself && components.as_path().as_os_str().is_empty() {
                    return path.to_owned();
                }
                Path::new("usr").join(path)
            }
            _ => path.to_owned(),
        }
    }

    /// Registers a path; false if it must not be written because the other package's file stays.
    fn claim(&self, path: &Path, entry: &Entry, package: usize) -> Result<bool, Error> {
        let directory = entry.kind == Kind::Directory;
        let mut owners = lock(&self.owners);
        let Some(&other) = owners.get(path) else {
            owners.insert(path.to_owned(), Owner { package, directory });
            return Ok(true);
        };
        if directory && other.directory {
            return Ok(true);
        }
        let (takes, leaves) = ((self.replaces)(package, other.package), (self.replaces)(other.package, package));
        if directory != other.directory || takes == leaves {
            return Err(Error::Conflict {
                path: absolute(path).display().to_string(),
                one: self.name(package.min(other.package)),
                other: self.name(package.max(other.package)),
            });
        }
        let loser = if takes { other.package } else { package };
        lock(&self.lost).entry(loser).or_default().insert(absolute(&entry.path));
        if takes {
            owners.insert(path.to_owned(), Owner { package, directory });
        }
        Ok(takes)
    }

    /// Keeps others from putting something at a path as long as the returned value lives.
    fn place(&self, path: &Path) -> MutexGuard<'_, ()> {
        let sum = path
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        lock(&self.places[sum % PLACES])
    }

    /// Makes a directory, or finds it. Without attributes it is one that the archive only implies.
    fn directory(&self, path: &Path, attributes: Option<Attributes>) -> Result<(), disk::Error> {
        let mut directories = lock(&self.directories);
        let (parent, name) = split(path);
        let new = if name.is_empty() { true } else { self.root.below(parent)?.make_dir(name)? };
        match (directories.get_mut(path), attributes) {
            (Some(known), Some(given)) if given.package < known.package => *known = given,
            (None, given) if new => {
                let implied = Attributes { package: usize::MAX, owner: (0, 0), mode: 0o755 };
                directories.insert(path.to_owned(), given.unwrap_or(implied));
            }
            _ => {}
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

/// The directory of a relative path and the name in it; both empty for the root.
fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests;
