//! Evidence bundles: what a check found and saw, in one file that is signed. Pure: bytes in, bytes out.
//!
//! A bundle is a tar archive (POSIX.1-1988 ustar) in one zstd frame. Its first member, [`INDEX`], names all others with
//! size and SHA-256; the second, [`SIGNATURE`], is the signature of the first as `ssh-keygen -Y sign` makes it
//! (OpenSSH's PROTOCOL.sshsig), by an Ed25519 key and in the namespace [`NAMESPACE`]. The others follow in the order of
//! their names. Times and owners are zero, so that the same evidence and key give the same bytes.

mod key;
mod pack;
mod read;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ImageName, Version};
use crate::system::Mode;

pub use key::{SigningKey, VerifyingKey};
pub use pack::pack;
pub use read::{Bundle, read};

/// Name of the member that names all others.
pub const INDEX: &str = "bundle.json";
/// Name of the member that signs it.
pub const SIGNATURE: &str = "bundle.json.sig";
/// What the signature is for.
pub const NAMESPACE: &str = "rave-evidence";
/// The form of the index.
pub const FORMAT: &str = "rave evidence 1";

/// The longest bundle, in bytes; what it unpacks to, at most; and how many members it has, at most.
pub const LONGEST: u64 = 32 << 20;
const UNPACKED: u64 = 64 << 20;
const MEMBERS: usize = 32;

/// What a bundle is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`].
    pub format: String,
    /// When the check ended, as RFC 3339 has it, in UTC.
    pub created: String,
    /// Version and commit of the rave that checked.
    pub rave: String,
    /// The machine: its name where rave runs it, else user and host.
    pub machine: String,
    /// Its image.
    pub image: ImageName,
    /// The image's version.
    pub version: Version,
    /// Resource mode.
    pub mode: Mode,
    /// Root hash of the image.
    pub root_hash: Digest,
    /// The other members, in order.
    pub members: Vec<Member>,
    /// What should be here and is not, each with the reason.
    pub left_out: Vec<LeftOut>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name: lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A member that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Why bytes are not a bundle that can be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is too long, or unpacks to too much.
    #[error("it is too large for an evidence bundle: {0} has a limit of {1} bytes")]
    TooLarge(&'static str, u64),
    /// It is no archive of this kind.
    #[error("it is not an evidence bundle: {0}")]
    NotABundle(String),
    /// A member is not what the index says.
    #[error("{name} was changed: {what}")]
    Changed {
        /// Name of the member.
        name: String,
        /// In which way.
        what: &'static str,
    },
    /// The signature does not fit.
    #[error("the signature is not valid: {0}")]
    Signature(String),
    /// The signature is of another key.
    #[error("it is signed by {found}, not by {wanted}")]
    Foreign {
        /// Fingerprint of the key that signed.
        found: String,
        /// Fingerprint of the one that should have.
        wanted: String,
    },
    /// A key cannot be used.
    #[error("not an Ed25519 key of OpenSSH: {0}")]
    Key(String),
    /// Bytes could not be packed.
    #[error("cannot pack the bundle")]
    Pack(#[source] std::io::Error),
}

/// Whether a name may be that of a member besides the first two.
fn is_member(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        && name != INDEX
        && name != SIGNATURE
}

#[cfg(test)]
mod tests;
