//! The lock file: which packages an image is made of, to the byte.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::archive::{ArchiveRef, Base};
use super::{lock_file, relation};
use crate::digest::{Canonical, Digest};
use crate::name::PackageName;
use crate::origin::{Diagnostic, Source};
use crate::system;

/// The exact packages of an image and the signed archives that vouch for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The archives that were read, in order of preference.
    pub archives: Vec<LockedArchive>,
    /// Packages that were asked for; the others are there because these need them.
    pub requested: BTreeSet<PackageName>,
    /// Whether Recommends were followed.
    pub recommends: bool,
    /// The closure, sorted by name; no name twice.
    pub packages: Vec<LockedPackage>,
    /// For packages that were not asked for, one that needs them. Essential packages need no such reason, and locks
    /// that an older rave made give none.
    pub needed_by: BTreeMap<PackageName, PackageName>,
}

/// One suite, as it was when the lock was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArchive {
    /// Name and place.
    pub archive: ArchiveRef,
    /// Suite, as in `dists/SUITE`.
    pub suite: String,
    /// Components that were read.
    pub components: Vec<String>,
    /// Date of the InRelease file.
    pub date: Timestamp,
    /// SHA-256 of the InRelease file.
    pub inrelease: Digest,
    /// Fingerprints of the trusted certificates whose signatures verified, sorted.
    pub signed_by: Vec<String>,
    /// SHA-256 of the trusted certificates, for archives that bring their own.
    pub key: Option<Digest>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its version (deb-version(7)).
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// Size of the `.deb` in bytes.
    pub size: u64,
    /// SHA-256 of the `.deb`.
    pub sha256: Digest,
    /// Where the `.deb` is.
    pub place: Place,
}

/// Where a `.deb` is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In an archive: the archive's name, and the path relative to its base (`pool/main/...`).
    Archive {
        /// [`ArchiveRef::name`].
        archive: String,
        /// Checked: relative, without `.`, `..`, empty parts or a scheme.
        path: String,
    },
    /// On the project's disk, relative to the image file's directory, as the image wrote it.
    File(String),
}

/// What distinguishes two locks, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A package is new.
    Added {
        /// Which.
        name: PackageName,
        /// Its version.
        version: String,
    },
    /// A package is gone.
    Removed {
        /// Which.
        name: PackageName,
        /// The version it had.
        version: String,
    },
    /// A package has a newer version.
    Upgraded {
        /// Which.
        name: PackageName,
        /// The version it had.
        from: String,
        /// The version it has.
        to: String,
    },
    /// A package has an older version.
    Downgraded {
        /// Which.
        name: PackageName,
        /// The version it had.
        from: String,
        /// The version it has.
        to: String,
    },
    /// The same version has other bytes.
    Rebuilt {
        /// Which.
        name: PackageName,
        /// The version.
        version: String,
    },
}

/// Why a lock does not answer a request any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// Packages are asked for that were not.
    NotLocked(Vec<PackageName>),
    /// Packages were asked for that are no longer.
    NotRequested(Vec<PackageName>),
    /// Recommends were followed and shall not be, or the other way round.
    Recommends,
    /// Suites, components, archives or keys differ.
    Archives,
    /// Other `.deb` files are named.
    Debs,
}

impl Lock {
    /// Reads a lock file; all faults are told at once, each with its line.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        lock_file::parse(source)
    }

    /// The lock file's text: YAML, sorted, one package a line. The same lock always gives the same text.
    pub fn to_yaml(&self) -> String {
        lock_file::write(self)
    }

    /// The newest InRelease date in seconds since 1970: the clock of everything built from this lock.
    pub fn source_date_epoch(&self) -> i64 {
        self.archives.iter().map(|a| a.date.as_second()).max().unwrap_or(0)
    }

    /// A digest of what a build depends on: the packages' bytes and the clock. Where the bytes come from, and
    /// who asked for them, does not count.
    pub fn digest(&self) -> Digest {
        let mut hash = Canonical::new("rave lock 1");
        hash.field(self.source_date_epoch().to_le_bytes());
        for package in &self.packages {
            hash.field(package.name.as_str())
                .field(&package.version)
                .field(&package.architecture)
                .field(package.size.to_le_bytes())
                .field(package.sha256.as_bytes());
        }
        hash.finish()
    }

    /// The archive called `name`.
    pub fn archive(&self, name: &str) -> Option<&LockedArchive> {
        self.archives.iter().find(|a| a.archive.name == name)
    }

    /// Why this lock does not answer a request; nothing if it does. The archives' content does not count: a
    /// lock is there to outlive it.
    pub fn stale(
        &self,
        archive: &system::Archive,
        packages: &BTreeSet<PackageName>,
        recommends: bool,
    ) -> Option<Stale> {
        let new: Vec<_> = packages.difference(&self.requested).cloned().collect();
        let old: Vec<_> = self.requested.difference(packages).cloned().collect();
        if !self.answers(archive) {
            Some(Stale::Archives)
        } else if !new.is_empty() {
            Some(Stale::NotLocked(new))
        } else if !old.is_empty() {
            Some(Stale::NotRequested(old))
        } else if recommends != self.recommends {
            Some(Stale::Recommends)
        } else if self.files() != archive.debs.iter().map(String::as_str).collect() {
            Some(Stale::Debs)
        } else {
            None
        }
    }

    /// Whether the same archives were read. Only the mirrors may differ.
    fn answers(&self, archive: &system::Archive) -> bool {
        let wanted = wanted(archive);
        wanted.len() == self.archives.len()
            && wanted.iter().zip(&self.archives).all(|(wanted, locked)| {
                wanted.archive == locked.archive
                    && wanted.suite == locked.suite
                    && wanted.components == locked.components
                    && wanted.trusted.map(|key| Digest::of(key.as_bytes())) == locked.key
            })
    }

    /// Why a package is in the lock: the chain of those that need it, from one that was asked for, or that is
    /// essential, to the package itself. Empty if the lock does not have it.
    pub fn why(&self, name: &PackageName) -> Vec<&LockedPackage> {
        let find = |name: &PackageName| self.packages.iter().find(|package| package.name == *name);
        let mut chain: Vec<&LockedPackage> = find(name).into_iter().collect();
        while let Some(next) = chain.last().and_then(|last| find(self.needed_by.get(&last.name)?)) {
            // A lock is a text that anybody can write.
            if chain.iter().any(|package| package.name == next.name) {
                break;
            }
            chain.push(next);
        }
        chain.reverse();
        chain
    }

    fn files(&self) -> BTreeSet<&str> {
        self.packages
            .iter()
            .filter_map(|p| if let Place::File(path) = &p.place { Some(&**path) } else { None })
            .collect()
    }
}

/// One suite that a request reads.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub archive: ArchiveRef,
    pub suite: String,
    pub components: &'a [String],
    /// The certificates that may sign it; nothing for Debian's own.
    pub trusted: Option<&'a str>,
}

/// The suites that a request reads, in order of preference.
pub(super) fn wanted(archive: &system::Archive) -> Vec<Wanted<'_>> {
    let debian = |suffix: &str, base: Base| {
        let suite = format!("{}{suffix}", archive.suite);
        let reference = ArchiveRef { name: suite.clone(), base };
        Wanted { archive: reference, suite, components: &archive.components, trusted: None }
    };
    let mut all =
        vec![debian("", Base::Debian), debian("-updates", Base::Debian), debian("-security", Base::DebianSecurity)];
    all.extend(archive.extra.iter().map(|extra| Wanted {
        archive: ArchiveRef { name: extra.name.clone(), base: Base::Extra(extra.url.clone()) },
        suite: extra.suite.clone(),
        components: &extra.components,
        trusted: Some(&extra.key),
    }));
    all
}

/// What has to change in `old` to get `new`, sorted by package name.
pub fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let by_name = |lock: &'_ Lock| -> BTreeMap<PackageName, LockedPackage> {
        lock.packages.iter().map(|p| (p.name.clone(), p.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&PackageName> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter_map(|name| change(old.get(name), new.get(name))).collect()
}

fn change(old: Option<&LockedPackage>, new: Option<&LockedPackage>) -> Option<Change> {
    match (old, new) {
        (None, None) => None,
        (None, Some(new)) => Some(Change::Added { name: new.name.clone(), version: new.version.clone() }),
        (Some(old), None) => Some(Change::Removed { name: old.name.clone(), version: old.version.clone() }),
        (Some(old), Some(new)) if old.version == new.version => {
            let is_same = (old.sha256, &old.architecture) == (new.sha256, &new.architecture);
            (!is_same).then(|| Change::Rebuilt { name: new.name.clone(), version: new.version.clone() })
        }
        (Some(old), Some(new)) => {
            let (name, from, to) = (new.name.clone(), old.version.clone(), new.version.clone());
            let order = relation::version(&from).ok().cmp(&relation::version(&to).ok());
            let is_older = order == Ordering::Greater;
            Some(if is_older { Change::Downgraded { name, from, to } } else { Change::Upgraded { name, from, to } })
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { name, version } => write!(f, "added {name} {version}"),
            Self::Removed { name, version } => write!(f, "removed {name} {version}"),
            Self::Upgraded { name, from, to } => write!(f, "upgraded {name} {from} to {to}"),
            Self::Downgraded { name, from, to } => write!(f, "downgraded {name} {from} to {to}"),
            Self::Rebuilt { name, version } => write!(f, "rebuilt {name} {version}"),
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |names: &[PackageName]| names.iter().map(PackageName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::NotLocked(names) => write!(f, "the image asks for {}, which the lock lacks", join(names)),
            Self::NotRequested(names) => {
                write!(f, "the lock holds {}, which the image no longer asks for", join(names))
            }
            Self::Recommends => f.write_str("the image says otherwise than the lock whether to follow Recommends"),
            Self::Archives => f.write_str("the image names other archives than the lock"),
            Self::Debs => f.write_str("the image names other .deb files than the lock"),
        }
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
pub(super) mod tests;
