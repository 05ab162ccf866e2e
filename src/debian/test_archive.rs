//! Tiny archives with keys of their own, for the tests of this room.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
    SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Password, SigningKey, Tag, Timestamp};
use rand::SeedableRng as _;

use super::archive::{Accept, ArchiveRef, Base, Source};
use super::error::FetchError;
use crate::digest::Digest;

/// 2026-01-01T00:00:00Z, when all test keys are made.
pub const MADE: u32 = 1_767_225_600;
/// One day in seconds.
pub const DAY: u32 = 86_400;

/// A private key.
pub struct Signer(pub SignedSecretKey);

impl Signer {
    /// The key of a number; the same number always gives the same key.
    pub fn new(number: u64) -> Self {
        Self::build(number, KeyType::Ed25519Legacy)
    }

    /// A key whose algorithm does not itself refuse weak hashes.
    pub fn rsa(number: u64) -> Self {
        Self::build(number, KeyType::Rsa(2048))
    }

    fn build(number: u64, kind: KeyType) -> Self {
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).created_at(Timestamp::from_secs(MADE));
        let mut builder = SecretKeyParamsBuilder::default();
        builder.key_type(kind).can_sign(true).can_certify(true).subkey(subkey.build().unwrap());
        builder.created_at(Timestamp::from_secs(MADE)).primary_user_id(format!("Test {number}"));
        Self(builder.build().unwrap().generate(rand::rngs::StdRng::seed_from_u64(number)).unwrap())
    }

    /// The certificate. All its signatures are of [`MADE`], for the library signs with the time of the test.
    pub fn public(&self) -> SignedPublicKey {
        let mut public = self.0.to_public_key();
        let (key, primary) = (&self.0.primary_key, &public.primary_key);
        let user = &mut public.details.users[0];
        let own = flagged(config(key, SignatureType::CertPositive, HashAlgorithm::Sha512, MADE));
        let own = own.sign_certification(key, primary, &Password::empty(), Tag::UserId, &user.id).unwrap();
        user.signatures = vec![own];
        let subkey = &self.0.secret_subkeys[0].key;
        let subkey_public = subkey.public_key();
        let back = config(subkey, SignatureType::KeyBinding, HashAlgorithm::Sha512, MADE);
        let back = back.sign_primary_key_binding(subkey, subkey_public, &Password::empty(), primary).unwrap();
        let mut binding = flagged(config(key, SignatureType::SubkeyBinding, HashAlgorithm::Sha512, MADE));
        let back = SubpacketData::EmbeddedSignature(Box::new(back));
        binding.hashed_subpackets.push(Subpacket::regular(back).unwrap());
        let binding = binding.sign_subkey_binding(key, primary, &Password::empty(), subkey_public).unwrap();
        public.public_subkeys[0].signatures = vec![binding];
        public
    }

    pub fn armored(&self) -> String {
        armored(&self.public())
    }

    /// An InRelease file, signed by the primary key at `time`.
    pub fn sign(&self, text: &str, time: u32) -> String {
        clearsign(&self.0.primary_key, text, time, HashAlgorithm::Sha512, SignatureType::Text)
    }
}

pub fn armored(key: &SignedPublicKey) -> String {
    key.to_armored_string(ArmorOptions::default()).unwrap()
}

/// What a signature by `key` at `time` says of itself.
pub fn config(key: &impl SigningKey, kind: SignatureType, hash: HashAlgorithm, time: u32) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), hash);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(time))).unwrap(),
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint())).unwrap(),
    ];
    config
}

/// The same, allowing the key that it is about to sign data.
pub fn flagged(mut config: SignatureConfig) -> SignatureConfig {
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    config.hashed_subpackets.push(Subpacket::regular(SubpacketData::KeyFlags(flags)).unwrap());
    config
}

pub fn clearsign(key: &impl SigningKey, text: &str, time: u32, hash: HashAlgorithm, kind: SignatureType) -> String {
    let config = config(key, kind, hash, time);
    let message = CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap();
    message.to_armored_string(ArmorOptions::default()).unwrap()
}

pub fn xz(text: &str) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// An archive in memory. It keeps count of what is asked for.
#[derive(Default)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    pub asked: Mutex<Vec<String>>,
}

impl Memory {
    fn address(base: &Base, path: &str) -> String {
        let base = match base {
            Base::Debian => "debian",
            Base::DebianSecurity => "debian-security",
            Base::Extra(url) => url,
        };
        format!("{base}/{path}")
    }

    pub fn put(&mut self, base: &Base, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.insert(Self::address(base, path), bytes.into());
    }
}

impl Source for Memory {
    fn get(&self, archive: &ArchiveRef, path: &str, limit: u64, accept: Accept) -> Result<Vec<u8>, FetchError> {
        let url = Self::address(&archive.base, path);
        self.asked.lock().unwrap().push(url.clone());
        let Some(bytes) = self.files.get(&url) else { return Err(FetchError::NotFound { urls: vec![url] }) };
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLarge { url, limit });
        }
        match accept(bytes) {
            Ok(()) => Ok(bytes.clone()),
            Err(error) => Err(FetchError::Refused { url, source: Box::new(error) }),
        }
    }
}

/// A Release file's text; `files` are below the suite's directory.
pub fn release(suite: &str, date: &str, extra: &str, files: &[(&str, &[u8])]) -> String {
    let sums: String =
        files.iter().map(|(path, bytes)| format!(" {} {} {path}\n", Digest::of(bytes), bytes.len())).collect();
    format!("Origin: Test\nSuite: test\nCodename: {suite}\nDate: {date}\n{extra}SHA256:\n{sums}")
}

/// A stanza of a Packages index. `fields` are further lines.
pub fn stanza(name: &str, version: &str, fields: &str) -> String {
    let digest = Digest::of(format!("{name} {version}").as_bytes());
    let fields: String = fields.lines().map(|line| format!("{line}\n")).collect();
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}Filename: pool/main/{name}_{}_amd64.deb\nSize: 7\nSHA256: {digest}\n\n",
        version.replace(':', "%3a")
    )
}
