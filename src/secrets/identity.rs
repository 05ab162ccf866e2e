//! age identity files (age-keygen(1)), on their way into a machine.

use std::path::Path;

use age::secrecy::{ExposeSecret as _, SecretSlice};

use crate::disk;

/// No identity file is larger, in bytes.
const LIMIT: u64 = 64 << 10;

/// Why a file cannot be used as an identity. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// It has no age identity.
    #[error("{0} holds no age identity")]
    None(String),
    /// It is far too large.
    #[error("{0} is too large for an age identity file")]
    TooLarge(String),
}

/// An identity file's content; redacted in `Debug`, zeroed when dropped.
#[derive(Debug)]
pub struct Identity(SecretSlice<u8>);

impl Identity {
    /// Reads and checks an identity file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if disk::metadata(disk::canonical(path)?)?.len() > LIMIT {
            return Err(Error::TooLarge(path.display().to_string()));
        }
        let bytes = SecretSlice::from(disk::read(path)?);
        let none = || Error::None(path.display().to_string());
        let file = age::IdentityFile::from_buffer(bytes.expose_secret()).map_err(|_| none())?;
        match file.into_identities() {
            Ok(identities) if !identities.is_empty() => Ok(Self(bytes)),
            _ => Err(none()),
        }
    }

    /// The bytes, for the credential.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.txt");
        let key = age::x25519::Identity::generate().to_string();
        let text = format!("# public key: ...\n{}\n", key.expose_secret());
        disk::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        let identity = Identity::read(&path).unwrap();
        assert_eq!(identity.expose(), text.as_bytes());
        assert!(!format!("{identity:?}").contains("AGE-SECRET"));
    }

    #[test]
    fn what_is_no_identity_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.txt");
        for bad in ["", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE\n", "\u{0}\n", "hunter2\n"] {
            disk::write_atomic(&path, bad.as_bytes(), 0o600).unwrap();
            let error = Identity::read(&path).unwrap_err();
            assert!(matches!(error, Error::None(_)), "{bad:?}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        disk::write_atomic(&path, &vec![b'#'; LIMIT as usize + 1], 0o600).unwrap();
        assert!(matches!(Identity::read(&path), Err(Error::TooLarge(_))));
    }
}
