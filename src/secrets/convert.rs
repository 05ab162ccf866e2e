//! SSH keys of Ed25519 as age keys of X25519, the way ssh-to-age does it: machines have host keys before they have
//! anything else.

use age_core::primitives::bech32_encode;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

/// The age identity of an unencrypted OpenSSH private key; nothing for keys of other kinds.
pub(super) fn identity(pem: &[u8]) -> Option<age::x25519::Identity> {
    let key = ssh_key::PrivateKey::from_openssh(pem).ok()?;
    let seed = Zeroizing::new(key.key_data().ed25519()?.private.to_bytes());
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(Sha512::digest(seed.as_slice()).get(..32)?);
    // The clamping of RFC 7748, 5.
    scalar[0] &= 248;
    scalar[31] = (scalar[31] & 127) | 64;
    let text = Zeroizing::new(bech32_encode(bech32::Hrp::parse_unchecked("age-secret-key-"), &*scalar));
    Zeroizing::new(text.to_ascii_uppercase()).parse().ok()
}

/// The age recipient of an SSH public key, `ssh-ed25519 ...`; nothing for keys of other kinds.
pub fn recipient(public: &str) -> Option<String> {
    let key = ssh_key::PublicKey::from_openssh(public.trim()).ok()?;
    let curve = VerifyingKey::from_bytes(&key.key_data().ed25519()?.0).ok()?.to_montgomery();
    Some(bech32_encode(bech32::Hrp::parse_unchecked("age"), curve.as_bytes()))
}
