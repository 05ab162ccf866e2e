//! Which OpenPGP signatures are believed (RFC 9580). The mathematics is rPGP's, the policy is ours: strong
//! hashes and keys only, and a certificate counts as it stood when the signature was made.

use jiff::Timestamp;
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::packet::Signature;
use pgp::types::KeyDetails;

use super::certificate::{acceptable, primary_may_sign, strong_key, subkey_may_sign};
use super::cleartext::{self, NotSigned};

/// The most signatures and certificates that are looked at.
const COUNT_LIMIT: usize = 64;

/// Certificates that may sign.
#[derive(Debug, Clone)]
pub struct Keyring(Vec<SignedPublicKey>);

/// What a valid message says and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Exactly the signed text.
    pub text: String,
    /// Fingerprints of the certificates that signed it, in upper case, sorted.
    pub signed_by: Vec<String>,
}

/// Why a message is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is not text.
    #[error("it is not text")]
    NotText,
    /// It is not a signed message.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// The signature block cannot be read.
    #[error("its signature block cannot be read")]
    Armor(#[source] pgp::errors::Error),
    /// No signature is by a trusted key; the reasons, one for each signature.
    #[error("none of its signatures counts: {}", .0.join("; "))]
    Untrusted(Vec<String>),
}

/// Why a text is not a keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It holds no certificate.
    #[error("it holds no OpenPGP certificate")]
    Empty,
    /// A certificate cannot be read.
    #[error("it holds a certificate that cannot be read")]
    Unreadable(#[source] pgp::errors::Error),
}

impl Keyring {
    /// Reads any number of armored certificates.
    pub fn parse(armored: &str) -> Result<Self, KeyringError> {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        let mut certificates = Vec::new();
        for (at, _) in armored.match_indices(BEGIN).take(COUNT_LIMIT) {
            let (found, _) = SignedPublicKey::from_string_many(&armored[at..]).map_err(KeyringError::Unreadable)?;
            for certificate in found.take(COUNT_LIMIT) {
                certificates.push(certificate.map_err(KeyringError::Unreadable)?);
            }
        }
        if certificates.is_empty() { Err(KeyringError::Empty) } else { Ok(Self(certificates)) }
    }

    /// Verifies a cleartext-signed message: at least one signature must be by a certificate of this ring,
    /// valid when it was made and not made in the future of `now`.
    pub fn verify(&self, message: &[u8], now: Timestamp) -> Result<Verified, SignatureError> {
        let message = std::str::from_utf8(message).map_err(|_| SignatureError::NotText)?;
        let message = cleartext::split(message)?;
        let (signatures, _) = DetachedSignature::from_string_many(message.armor).map_err(SignatureError::Armor)?;
        let mut signed_by = Vec::new();
        let mut reasons = Vec::new();
        for signature in signatures.take(COUNT_LIMIT) {
            match signature.map_err(|e| e.to_string()).and_then(|s| self.signer(&s.signature, &message.signed, now)) {
                Ok(fingerprint) => signed_by.push(fingerprint),
                Err(reason) => reasons.push(reason),
            }
        }
        signed_by.sort();
        signed_by.dedup();
        if signed_by.is_empty() {
            return Err(SignatureError::Untrusted(reasons));
        }
        Ok(Verified { text: message.signed, signed_by })
    }

    /// The fingerprint of the certificate that made a signature, or why the signature does not count.
    fn signer(&self, signature: &Signature, text: &str, now: Timestamp) -> Result<String, String> {
        let made = acceptable(signature, now)?;
        let mut reason = format!("no trusted key made it (made by {})", issuer(signature));
        for certificate in &self.0 {
            let primary = &certificate.primary_key;
            if signature.verify(primary, text.as_bytes()).is_ok() {
                match strong_key(primary).and_then(|()| primary_may_sign(certificate, made)) {
                    Ok(()) => return Ok(fingerprint(primary)),
                    Err(why) => reason = format!("key {} {why}", fingerprint(primary)),
                }
            }
            for subkey in &certificate.public_subkeys {
                if signature.verify(&subkey.key, text.as_bytes()).is_ok() {
                    match strong_key(&subkey.key).and_then(|()| subkey_may_sign(certificate, subkey, made)) {
                        Ok(()) => return Ok(fingerprint(primary)),
                        Err(why) => reason = format!("key {} {why}", fingerprint(&subkey.key)),
                    }
                }
            }
        }
        Err(reason)
    }
}

fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Who claims to have made a signature, for a message.
fn issuer(signature: &Signature) -> String {
    let fingerprints = signature.issuer_fingerprint();
    let ids = signature.issuer_key_id();
    match (fingerprints.first(), ids.first()) {
        (Some(fingerprint), _) => format!("{fingerprint:X}"),
        (None, Some(id)) => id.to_string().to_uppercase(),
        (None, None) => "an unnamed key".to_owned(),
    }
}

#[cfg(test)]
#[path = "openpgp_tests.rs"]
mod tests;
