//! The SSH identity of a machine's user, made anew for each machine.

use std::path::Path;

use ed25519_dalek::SigningKey;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::disk;
use crate::qemu::error::{Error, Result};

/// File of the private key in a machine's directory.
pub const PRIVATE: &str = "id_ed25519";

/// Returns the public half of the key in `directory`, in authorized_keys format without a line end; makes the
/// pair first if there is none. The private half is in OpenSSH's format, for its owner only.
pub fn ensure(directory: &Path, comment: &str) -> Result<String> {
    let path = directory.join(PRIVATE);
    let private = match disk::read(&path) {
        Ok(text) => PrivateKey::from_openssh(text).map_err(Error::Key)?,
        Err(error) if error.is_not_found() => {
            let key = generate(comment)?;
            disk::write_atomic(&path, key.to_openssh(LineEnding::LF).map_err(Error::Key)?.as_bytes(), 0o600)?;
            key
        }
        Err(error) => return Err(error.into()),
    };
    private.public_key().to_openssh().map_err(Error::Key)
}

fn generate(comment: &str) -> Result<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Error::Random(e.into()))?;
    let public = Ed25519PublicKey(SigningKey::from_bytes(&seed).verifying_key().to_bytes());
    let pair = Ed25519Keypair { public, private: Ed25519PrivateKey::from_bytes(&seed) };
    PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(Error::Key)
}

/// A host key as a guest reports it, checked and written anew: one line, no comment.
pub fn host_key(reported: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(reported);
    let mut key = PublicKey::from_openssh(text.trim()).map_err(Error::HostKey)?;
    key.set_comment("");
    key.to_openssh().map_err(Error::HostKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_pair_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let public = ensure(dir.path(), "rave web").unwrap();
        assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" rave web"), "{public}");
        assert_eq!(ensure(dir.path(), "other").unwrap(), public);
        let path = dir.path().join(PRIVATE);
        assert_eq!(disk::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(ensure(other.path(), "rave web").unwrap(), public);
        disk::write_atomic(&path, b"no key", 0o600).unwrap();
        assert!(matches!(ensure(dir.path(), "x"), Err(Error::Key(_))));
    }

    #[test]
    fn both_halves_belong_together() {
        let key = generate("x").unwrap();
        let signature = key.key_data().ed25519().unwrap();
        let public = SigningKey::from_bytes(&signature.private.to_bytes()).verifying_key().to_bytes();
        assert_eq!(public, signature.public.0);
    }

    #[test]
    fn reported_host_keys_are_cleaned_or_refused() {
        let line = generate("root@guest").unwrap().public_key().to_openssh().unwrap();
        let clean = host_key(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(clean.split(' ').count(), 2);
        assert!(line.starts_with(&clean));
        for bad in [&b"ssh-ed25519 AAAA"[..], b"", b"\xff\xfe", b"* ssh-ed25519", b"@cert-authority * ssh-ed25519 AAAA"]
        {
            assert!(matches!(host_key(bad), Err(Error::HostKey(_))), "{bad:?}");
        }
        let two = host_key(format!("{line}\n{line}\n").as_bytes());
        assert!(two.is_err() || !two.unwrap().contains('\n'));
    }
}
