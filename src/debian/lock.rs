//! The lock file: which packages an image is made of, to the byte.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::archive::ArchiveRef;
use crate::digest::Digest;
use crate::name::PackageName;

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
    /// The newest InRelease date in seconds since 1970: the clock of everything built from this lock.
    pub fn source_date_epoch(&self) -> i64 {
        self.archives.iter().map(|a| a.date.as_second()).max().unwrap_or(0)
    }

    /// The archive called `name`.
    pub fn archive(&self, name: &str) -> Option<&LockedArchive> {
        self.archives.iter().find(|a| a.archive.name == name)
    }
}
