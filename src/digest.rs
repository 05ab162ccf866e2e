//! SHA-256 digests, and the one way in which values are hashed.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use rave_init::digest::{Digest, NotADigest};

/// Hashes a sequence of fields so that no two sequences collide: each field is preceded by its length.
#[derive(Clone, Default)]
pub struct Canonical(Sha256);

impl Canonical {
    /// Starts a hash for one purpose; the same fields under another `domain` give another digest.
    pub fn new(domain: &str) -> Self {
        let mut this = Self::default();
        this.field(domain.as_bytes());
        this
    }

    /// Adds one field.
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds the JSON form of a value; its maps must be ordered.
    pub fn json(&mut self, value: &impl Serialize) -> Result<&mut Self, serde_json::Error> {
        let bytes = serde_json::to_vec(value)?;
        Ok(self.field(bytes))
    }

    /// The digest of all fields so far.
    pub fn finish(&self) -> Digest {
        Digest::from_bytes(self.0.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_boundaries_and_domain_count() {
        let hash = |domain, fields: &[&str]| {
            let mut hash = Canonical::new(domain);
            for field in fields {
                hash.field(field);
            }
            hash.finish()
        };
        assert_ne!(hash("a", &["xy", "z"]), hash("a", &["x", "yz"]));
        assert_ne!(hash("a", &["x"]), hash("b", &["x"]));
        assert_eq!(hash("a", &["x"]), hash("a", &["x"]));
    }
}
