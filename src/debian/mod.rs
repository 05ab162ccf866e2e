//! From package names to a configured root file system.

pub mod archive;
mod certificate;
mod cleartext;
pub mod deb;
pub mod deb822;

pub mod error;
mod explain;
pub mod fetch;
pub mod index;
pub mod keyrings;
pub mod local;
pub mod lock;
mod lock_file;
mod lock_yaml;
pub mod mirrors;
mod needed;
pub mod openpgp;
mod provider;
mod relation;
pub mod release;
pub mod resolve;
pub mod rootfs;
mod solve;
#[cfg(test)]
mod test_archive;
pub mod tools;
mod universe;
pub mod unpack;

pub use archive::{Accept, ArchiveRef, Base, Source};
pub use error::{Error, FetchError};
pub use lock::{Change, Lock, LockedArchive, LockedPackage, Place, Stale};
pub use resolve::{Request, Update, resolve};

/// The architecture of all images, by Debian's name.
pub const ARCHITECTURE: &str = "amd64";
/// Packages for tests; shared with the tests of the whole program.
#[cfg(test)]
#[path = "../../tests/support/deb.rs"]
mod samples;
