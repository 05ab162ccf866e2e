//! How this room names archives, and the door through which it reads them.

use super::{Error, FetchError};

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveRef {
    /// Unique within a lock: the suite's name for Debian's own, the name given for others.
    pub name: String,
    /// Where its `dists/` and `pool/` are.
    pub base: Base,
}

/// Which tree of `dists/` and `pool/` an archive lives in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Debian's main archive, `debian/` on a mirror.
    Debian,
    /// Debian's security archive, `debian-security/` on a mirror.
    DebianSecurity,
    /// An archive besides Debian's, at this address.
    Extra(String),
}

/// Judges fetched bytes. A refusal makes the source try its next mirror.
pub type Accept<'a> = &'a dyn Fn(&[u8]) -> Result<(), Error>;

/// Where the files of archives come from. Called from several threads at once.
pub trait Source: Sync {
    /// The file at `path`, relative to the archive's base (`dists/trixie/InRelease`), of at most `limit`
    /// bytes. Each mirror's answer is shown to `accept`; if every mirror fails or is refused, the error is
    /// the most telling one: [`FetchError::Refused`] before any other.
    fn get(&self, archive: &ArchiveRef, path: &str, limit: u64, accept: Accept) -> Result<Vec<u8>, FetchError>;
}
