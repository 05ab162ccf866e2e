//! age's post-quantum recipients, `mlkem768x25519`: HPKE with the hybrid of ML-KEM-768 and X25519 that is also known
//! as X-Wing (draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq).

#![expect(clippy::disallowed_types, reason = "age's traits name labels in a HashSet")]

use std::collections::HashSet;

use age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, bech32_encode, hpke_open, hpke_seal};
use age_core::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hpke::generic_array::typenum::{Sum, U32, U96, U192, U1024};
use hpke::kem::SharedSecret;
use hpke::{Deserializable, HpkeError, Serializable};
use ml_kem::kem::{Decapsulate as _, Encapsulate as _};
use ml_kem::{Ciphertext, EncodedSizeUser as _, KemCore as _, MlKem768};
use rand::rngs::OsRng;
use rand::{CryptoRng, RngCore};
use sha3::digest::{ExtendableOutput as _, FixedOutput as _, Update as _, XofReader as _};
use sha3::{Sha3_256, Shake256};
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

/// What begins a recipient.
pub(super) const RECIPIENT: &str = "age1pq";
/// What begins an identity, before the `1` of Bech32.
pub(super) const IDENTITY: &str = "AGE-SECRET-KEY-PQ-";

const STANZA: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const LABEL: &str = "postquantum";
/// The label of X-Wing's combiner.
const COMBINER: &[u8] = br"\.//^\";

/// Bytes of ML-KEM-768's public key and ciphertext; X25519 adds 32 to each.
const PUBLIC: usize = 1184;
const CIPHERTEXT: usize = 1088;

/// base64 as age stanzas have it: no padding, no other spelling of the same bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

type DecapsulationKey = <MlKem768 as ml_kem::KemCore>::DecapsulationKey;
type EncapsulationKey = <MlKem768 as ml_kem::KemCore>::EncapsulationKey;

/// A recipient, `age1pq1...`.
#[derive(Clone)]
pub(super) struct Recipient(PublicKey);

/// An identity, `AGE-SECRET-KEY-PQ-1...`.
pub(super) struct Identity(PrivateKey);

impl Recipient {
    /// Reads the form of Bech32; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = decode(text, RECIPIENT)?;
        PublicKey::from_bytes(&bytes).map(Self).map_err(|_| "it does not hold a key of ML-KEM-768 and X25519")
    }
}

impl Identity {
    /// Reads the form of Bech32; never shows it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = Zeroizing::new(decode(text, &IDENTITY.to_ascii_lowercase())?);
        PrivateKey::from_bytes(&bytes).map(Self).map_err(|_| "it does not hold a seed of 32 bytes")
    }

    /// A new one.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self(PrivateKey(seed)))
    }

    /// The form of Bech32.
    pub fn encode(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(bech32_encode(hrp(&IDENTITY.to_ascii_lowercase()), &*self.0.0));
        Zeroizing::new(encoded.to_ascii_uppercase())
    }

    /// The recipient that it opens.
    pub fn recipient(&self) -> String {
        bech32_encode(hrp(RECIPIENT), &<XWing as hpke::Kem>::sk_to_pk(&self.0).to_bytes())
    }
}

/// The prefixes are constants that the type accepts.
fn hrp(prefix: &str) -> bech32::Hrp {
    bech32::Hrp::parse_unchecked(prefix)
}

fn decode(text: &str, prefix: &str) -> Result<Vec<u8>, &'static str> {
    bech32_decode(
        text,
        |_| "it is not Bech32",
        |hrp| if hrp.to_lowercase() == prefix { Ok(()) } else { Err("it is of another kind") },
        |_, bytes| Ok(bytes.collect()),
    )
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let (encapsulated, body) = hpke_seal::<XWing, _>(&self.0, INFO, file_key.expose_secret(), &mut OsRng);
        let stanza = Stanza { tag: STANZA.to_owned(), args: vec![BASE64.encode(encapsulated.to_bytes())], body };
        Ok((vec![stanza], HashSet::from([LABEL.to_owned()])))
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA {
            return None;
        }
        let [argument] = stanza.args.as_slice() else { return Some(Err(DecryptError::InvalidHeader)) };
        let encapsulated = BASE64.decode(argument).ok().and_then(|bytes| EncappedKey::from_bytes(&bytes).ok());
        let Some(encapsulated) = encapsulated else { return Some(Err(DecryptError::InvalidHeader)) };
        // 16 bytes and the tag of ChaCha20-Poly1305.
        if stanza.body.len() != FILE_KEY_BYTES + 16 {
            return Some(Err(DecryptError::InvalidHeader));
        }
        if is_low_order(&encapsulated) {
            return Some(Err(DecryptError::InvalidHeader));
        }
        // A stanza of another recipient does not decrypt.
        let mut opened = hpke_open::<XWing>(&encapsulated, &self.0, INFO, &stanza.body).ok()?;
        let key = FileKey::try_init_with_mut(|key| {
            if opened.len() == key.len() {
                key.copy_from_slice(&opened);
                Ok(())
            } else {
                Err(DecryptError::DecryptionFailed)
            }
        });
        opened.zeroize();
        Some(key)
    }
}

/// Whether X25519 with this share gives the same for every key.
fn is_low_order(encapsulated: &EncappedKey) -> bool {
    let any = StaticSecret::from([0x55; 32]);
    !any.diffie_hellman(&encapsulated.share).was_contributory()
}

/// The hybrid KEM as HPKE wants it.
struct XWing;

/// A seed, from which both private keys follow.
#[derive(Clone, PartialEq, Eq)]
struct PrivateKey(Zeroizing<[u8; 32]>);

#[derive(Clone, Debug, PartialEq)]
struct PublicKey {
    lattice: EncapsulationKey,
    curve: X25519Public,
}

impl Eq for PublicKey {}

#[derive(Clone)]
struct EncappedKey {
    lattice: Ciphertext<MlKem768>,
    share: X25519Public,
}

fn wrong_length(expected: usize, found: usize) -> HpkeError {
    HpkeError::IncorrectInputLength(expected, found)
}

/// The last 32 bytes as an X25519 key, and what comes before.
fn split(bytes: &[u8], front: usize) -> Result<(&[u8], X25519Public), HpkeError> {
    let wrong = || wrong_length(front + 32, bytes.len());
    let (front, curve) = bytes.split_at_checked(front).ok_or_else(wrong)?;
    let curve: [u8; 32] = curve.try_into().map_err(|_| wrong())?;
    Ok((front, X25519Public::from(curve)))
}

impl Deserializable for PrivateKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let seed: [u8; 32] = bytes.try_into().map_err(|_| wrong_length(32, bytes.len()))?;
        Ok(Self(Zeroizing::new(seed)))
    }
}

impl Serializable for PrivateKey {
    type OutputSize = U32;

    fn write_exact(&self, out: &mut [u8]) {
        out.copy_from_slice(&*self.0);
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let (lattice, curve) = split(bytes, PUBLIC)?;
        let encoded = lattice.try_into().map_err(|_| HpkeError::ValidationError)?;
        let lattice = EncapsulationKey::from_bytes(encoded);
        // FIPS 203, 7.2: coefficients that are not reduced are refused.
        if lattice.as_bytes().as_slice() != encoded.as_slice() {
            return Err(HpkeError::ValidationError);
        }
        Ok(Self { lattice, curve })
    }
}

impl Serializable for PublicKey {
    type OutputSize = Sum<U1024, U192>;

    fn write_exact(&self, out: &mut [u8]) {
        let (lattice, curve) = out.split_at_mut(PUBLIC);
        lattice.copy_from_slice(&self.lattice.as_bytes());
        curve.copy_from_slice(self.curve.as_bytes());
    }
}

impl Deserializable for EncappedKey {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let (lattice, share) = split(bytes, CIPHERTEXT)?;
        let lattice = Ciphertext::<MlKem768>::try_from(lattice).map_err(|_| HpkeError::ValidationError)?;
        Ok(Self { lattice, share })
    }
}

impl Serializable for EncappedKey {
    type OutputSize = Sum<U1024, U96>;

    fn write_exact(&self, out: &mut [u8]) {
        let (lattice, curve) = out.split_at_mut(CIPHERTEXT);
        lattice.copy_from_slice(&self.lattice);
        curve.copy_from_slice(self.share.as_bytes());
    }
}

/// Both key pairs of a seed.
fn expand(private: &PrivateKey) -> (DecapsulationKey, StaticSecret, PublicKey) {
    let mut parts = Zeroizing::new([0; 96]);
    Shake256::default().chain(private.0.as_slice()).finalize_xof().read(&mut *parts);
    let part = |at: usize| {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&parts[at..at + 32]);
        bytes
    };
    let (decapsulation, lattice) = MlKem768::generate_deterministic(&part(0).into(), &part(32).into());
    let secret = StaticSecret::from(part(64));
    let curve = X25519Public::from(&secret);
    (decapsulation, secret, PublicKey { lattice, curve })
}

fn combine(lattice: &[u8], curve: &[u8], share: &X25519Public, public: &X25519Public) -> SharedSecret<XWing> {
    let parts = [lattice, curve, share.as_bytes(), public.as_bytes(), COMBINER];
    SharedSecret(parts.into_iter().fold(Sha3_256::default(), sha3::digest::Update::chain).finalize_fixed())
}

impl hpke::Kem for XWing {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = EncappedKey;
    type NSecret = U32;
    const KEM_ID: u16 = 0x647a;

    fn sk_to_pk(private: &PrivateKey) -> PublicKey {
        expand(private).2
    }

    fn derive_keypair(material: &[u8]) -> (PrivateKey, PublicKey) {
        let mut seed = Zeroizing::new([0; 32]);
        Shake256::default().chain(material).finalize_xof().read(&mut *seed);
        let private = PrivateKey(seed);
        let public = Self::sk_to_pk(&private);
        (private, public)
    }

    fn decap(
        private: &PrivateKey,
        sender: Option<&PublicKey>,
        encapsulated: &EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // There is no authenticated mode.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let (decapsulation, secret, public) = expand(private);
        let lattice = decapsulation.decapsulate(&encapsulated.lattice).map_err(|()| HpkeError::DecapError)?;
        let curve = secret.diffie_hellman(&encapsulated.share);
        Ok(combine(&lattice, curve.as_bytes(), &encapsulated.share, &public.curve))
    }

    fn encap<R: CryptoRng + RngCore>(
        recipient: &PublicKey,
        sender: Option<(&PrivateKey, &PublicKey)>,
        random: &mut R,
    ) -> Result<(SharedSecret<Self>, EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (ciphertext, lattice) = recipient.lattice.encapsulate(random).map_err(|()| HpkeError::EncapError)?;
        let secret = StaticSecret::random_from_rng(&mut *random);
        let share = X25519Public::from(&secret);
        let curve = secret.diffie_hellman(&recipient.curve);
        let shared = combine(&lattice, curve.as_bytes(), &share, &recipient.curve);
        Ok((shared, EncappedKey { lattice: ciphertext, share }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::{Identity as _, Recipient as _};

    #[test]
    fn a_file_key_reaches_its_identity_and_no_other() {
        let identity = Identity::generate().unwrap();
        let recipient = Recipient::parse(&identity.recipient()).unwrap();
        let key = FileKey::new(Box::new([9; FILE_KEY_BYTES]));
        let (stanzas, labels) = recipient.wrap_file_key(&key).unwrap();
        assert!(labels.contains("postquantum"));
        let opened = identity.unwrap_stanzas(&stanzas).unwrap().unwrap();
        assert_eq!(opened.expose_secret(), key.expose_secret());
        assert!(Identity::generate().unwrap().unwrap_stanzas(&stanzas).is_none());
        let again = Identity::parse(&identity.encode()).unwrap();
        assert_eq!(again.recipient(), identity.recipient());
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        assert!(Recipient::parse("age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a").is_err());
        assert!(Identity::parse("AGE-SECRET-KEY-1").is_err() && Identity::parse("").is_err());
    }
}
