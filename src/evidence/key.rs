//! The keys: Ed25519 in OpenSSH's formats, so that its own tools can verify too.

use ed25519_dalek::Signer as _;
use ssh_key::{Algorithm, Fingerprint, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig, public};

use super::{Error, NAMESPACE};

/// The private key of a project.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

/// A public key, and what shows which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey(PublicKey);

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::Key(error.to_string())
}

impl SigningKey {
    /// Reads a private key without a passphrase (OpenSSH's PROTOCOL.key).
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let private = PrivateKey::from_openssh(text).map_err(unusable)?;
        let pair =
            private.key_data().ed25519().ok_or_else(|| unusable("it is of another kind, or has a passphrase"))?;
        let key = ed25519_dalek::SigningKey::from_bytes(&pair.private.to_bytes());
        if key.verifying_key().to_bytes() != pair.public.0 {
            return Err(unusable("its halves do not belong together"));
        }
        Ok(Self { key, public: private.public_key().clone() })
    }

    /// The public half on one line, as in a `.pub` file, without a line end.
    pub fn public(&self) -> Result<String, Error> {
        self.public.to_openssh().map_err(unusable)
    }

    /// Signs, as `ssh-keygen -Y sign` does.
    pub fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let signed = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, message).map_err(unusable)?;
        let signature = Signature::new(Algorithm::Ed25519, self.key.sign(&signed).to_bytes()).map_err(unusable)?;
        let key = self.public.key_data().clone();
        let signature = SshSig::new(key, NAMESPACE, HashAlg::Sha512, signature).map_err(unusable)?;
        signature.to_pem(LineEnding::LF).map_err(unusable)
    }
}

impl VerifyingKey {
    /// Reads the line of a `.pub` file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let key = PublicKey::from_openssh(text.trim()).map_err(unusable)?;
        if key.key_data().ed25519().is_none() {
            return Err(unusable(format!("it is a key of {}", key.algorithm())));
        }
        Ok(Self(key))
    }

    /// Its fingerprint, as `ssh-keygen -l` shows it: `SHA256:` and base64.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.key_data())
    }

    /// Verifies a signature of `message`: that it is of this key, for this purpose, and fits.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let wrong = |what: &str| Error::Signature(what.to_owned());
        let signature = SshSig::from_pem(signature).map_err(|error| Error::Signature(error.to_string()))?;
        if signature.public_key() != self.0.key_data() {
            return Err(Error::Foreign { found: fingerprint(signature.public_key()), wanted: self.fingerprint() });
        }
        if signature.namespace() != NAMESPACE || !signature.reserved().is_empty() {
            return Err(wrong("it was made for another purpose"));
        }
        if signature.hash_alg() != HashAlg::Sha512 || signature.algorithm() != Algorithm::Ed25519 {
            return Err(wrong("it is of another algorithm"));
        }
        let public = self.0.key_data().ed25519().ok_or_else(|| unusable("it is of another kind"))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public.0).map_err(unusable)?;
        let bytes = ed25519_dalek::Signature::from_slice(signature.signature_bytes());
        let bytes = bytes.map_err(|_| wrong("it has a wrong length"))?;
        let signed = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, message).map_err(unusable)?;
        key.verify_strict(&signed, &bytes).map_err(|_| wrong("it does not fit what it signs"))
    }
}

fn fingerprint(key: &public::KeyData) -> String {
    Fingerprint::new(HashAlg::Sha256, key).to_string()
}
