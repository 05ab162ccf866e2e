//! One encrypted value: `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]`.

use std::collections::BTreeMap;

use aes_gcm::aead::consts::*;
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Secret;
use super::error::Refusal;
use super::scalar;
use super::tree::{Kind, Leaf};

/// Bytes of the key that all values of a file are encrypted with.
pub const DATA_KEY: usize = 32;

const PREFIX: &str = "ENC[AES256_GCM,data:";
const TAG: usize = 16;

/// What a ciphertext holds.
#[derive(Debug, PartialEq)]
pub(super) enum Opened {
    Leaf(Leaf),
    Comment(Secret),
}

/// Encrypts and decrypts the values of one file, and remembers the nonces of what it decrypted: an unchanged value
/// keeps its ciphertext.
pub(super) struct Cipher {
    key: Secret,
    usual: AesGcm<Aes256, U32>,
    seen: BTreeMap<Place, Vec<[u8; 32]>>,
}

/// What decides a ciphertext besides key and nonce.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    aad: String,
    kind: &'static str,
    text: Secret,
}

struct Parts<'a> {
    data: Vec<u8>,
    iv: Vec<u8>,
    tag: Vec<u8>,
    kind: &'a str,
}

/// Whether a text looks like a ciphertext.
pub(super) fn is_encrypted(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

fn parse(text: &str) -> Result<Parts<'_>, Refusal> {
    let rest = text.strip_prefix(PREFIX).ok_or(Refusal::Plain)?;
    let malformed = Refusal::Malformed;
    // What follows the bracket is tolerated.
    let (rest, _) = rest.rsplit_once(']').ok_or(malformed("no closing bracket"))?;
    let (rest, kind) = rest.rsplit_once(",type:").ok_or(malformed("no type"))?;
    let (rest, tag) = rest.rsplit_once(",tag:").ok_or(malformed("no tag"))?;
    let (data, iv) = rest.rsplit_once(",iv:").ok_or(malformed("no iv"))?;
    let decode = |text: &str, what| STANDARD.decode(text).map_err(|_| malformed(what));
    let parts = Parts {
        data: decode(data, "data is not base64")?,
        iv: decode(iv, "iv is not base64")?,
        tag: decode(tag, "tag is not base64")?,
        kind,
    };
    if parts.data.is_empty() || parts.iv.is_empty() || parts.tag.len() != TAG {
        return Err(malformed("data, iv or tag has a wrong length"));
    }
    Ok(parts)
}

fn open_with<N: ArrayLength<u8>>(key: &Secret, parts: &mut Parts<'_>, aad: &[u8]) -> Result<(), Refusal> {
    let cipher = AesGcm::<Aes256, N>::new_from_slice(key.expose()).map_err(|_| Refusal::Forged)?;
    let (iv, tag) = (GenericArray::from_slice(&parts.iv), Tag::from_slice(&parts.tag));
    cipher.decrypt_in_place_detached(iv, aad, &mut parts.data, tag).map_err(|_| Refusal::Forged)
}

/// Nonces other than SOPS' own 32 bytes: each length is a type.
macro_rules! open_by_length {
    ($key:expr, $parts:expr, $aad:expr, $($length:literal $type:ident),+) => {
        match $parts.iv.len() {
            $($length => open_with::<$type>($key, $parts, $aad),)+
            _ => Err(Refusal::Malformed("iv has a length that nobody writes")),
        }
    };
}

impl Cipher {
    /// Returns nothing unless the key has [`DATA_KEY`] bytes.
    pub fn new(key: Secret) -> Option<Self> {
        let usual = AesGcm::new_from_slice(key.expose()).ok()?;
        Some(Self { key, usual, seen: BTreeMap::new() })
    }

    /// The data key.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// Decrypts without remembering the nonce.
    pub fn try_open(&self, text: &str, aad: &str) -> Result<(Opened, Vec<u8>), Refusal> {
        let mut parts = parse(text)?;
        if parts.iv.len() == 32 {
            let (iv, tag) = (GenericArray::from_slice(&parts.iv), Tag::from_slice(&parts.tag));
            self.usual
                .decrypt_in_place_detached(iv, aad.as_bytes(), &mut parts.data, tag)
                .map_err(|_| Refusal::Forged)?;
        } else {
            open_by_length!(&self.key, &mut parts, aad.as_bytes(),
                1 U1, 2 U2, 3 U3, 4 U4, 5 U5, 6 U6, 7 U7, 8 U8, 9 U9, 10 U10, 11 U11, 12 U12, 13 U13, 14 U14, 15 U15,
                16 U16, 17 U17, 18 U18, 19 U19, 20 U20, 21 U21, 22 U22, 23 U23, 24 U24, 25 U25, 26 U26, 27 U27,
                28 U28, 29 U29, 30 U30, 31 U31, 40 U40, 48 U48, 64 U64)?;
        }
        let text = Secret::new(std::mem::take(&mut parts.data));
        Ok((typed(parts.kind, text)?, parts.iv))
    }

    /// Decrypts.
    pub fn open(&mut self, text: &str, aad: &str) -> Result<Opened, Refusal> {
        let (opened, iv) = self.try_open(text, aad)?;
        if let Ok(iv) = iv.try_into() {
            let (kind, text) = match &opened {
                Opened::Leaf(leaf) => (name(leaf.kind), leaf.text.clone()),
                Opened::Comment(text) => ("comment", text.clone()),
            };
            self.seen.entry(Place { aad: aad.to_owned(), kind, text }).or_default().push(iv);
        }
        Ok(opened)
    }

    /// Encrypts a value; an empty text stays empty.
    pub fn seal(&mut self, leaf: &Leaf, aad: &str) -> Result<String, getrandom::Error> {
        self.seal_as(name(leaf.kind), &leaf.text, aad)
    }

    /// Encrypts a comment; an empty one stays empty.
    pub fn seal_comment(&mut self, text: &Secret, aad: &str) -> Result<String, getrandom::Error> {
        self.seal_as("comment", text, aad)
    }

    fn seal_as(&mut self, kind: &'static str, text: &Secret, aad: &str) -> Result<String, getrandom::Error> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let (kind, iv) = match self.earlier(kind, text, aad) {
            Some(found) => found,
            None => {
                let mut iv = [0; 32];
                getrandom::fill(&mut iv)?;
                (kind, iv)
            }
        };
        let mut data = text.expose().to_vec();
        // AES-GCM refuses only what is longer than 64 GiB.
        let tag = self.usual.encrypt_in_place_detached(&iv.into(), aad.as_bytes(), &mut data);
        let tag = tag.map_err(|_| getrandom::Error::UNEXPECTED)?;
        let (data, iv, tag) = (STANDARD.encode(data), STANDARD.encode(iv), STANDARD.encode(tag));
        Ok(format!("{PREFIX}{data},iv:{iv},tag:{tag},type:{kind}]"))
    }

    /// The nonce that the same text had at the same place, each only once: equal values in a list keep different
    /// ciphertexts. JSON numbers were all floats before sops 3.13.2, and stay what they were.
    fn earlier(&mut self, kind: &'static str, text: &Secret, aad: &str) -> Option<(&'static str, [u8; 32])> {
        let kinds: &[&'static str] = if kind == "int" { &["int", "float"] } else { &[kind] };
        kinds.iter().find_map(|&kind| {
            let place = Place { aad: aad.to_owned(), kind, text: text.clone() };
            let ivs = self.seen.get_mut(&place).filter(|ivs| !ivs.is_empty())?;
            Some((kind, ivs.remove(0)))
        })
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Str => "str",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Bool => "bool",
        Kind::Time => "time",
    }
}

fn typed(kind: &str, text: Secret) -> Result<Opened, Refusal> {
    let leaf = |leaf: Option<Leaf>, what| leaf.map(Opened::Leaf).ok_or(Refusal::Type(what));
    match kind {
        "str" | "bytes" => Ok(Opened::Leaf(Leaf { kind: Kind::Str, text })),
        "comment" => Ok(Opened::Comment(text)),
        "int" => leaf(plain(&text).and_then(|text| text.parse().ok()).map(Leaf::int), "a whole number"),
        "float" => leaf(plain(&text).and_then(|text| text.parse().ok()).map(Leaf::float), "a number"),
        "bool" => leaf(plain(&text).and_then(scalar::parse_bool).map(Leaf::bool), "a truth value"),
        "time" => {
            let time = plain(&text).and_then(scalar::rfc3339);
            leaf(time.map(|time| Leaf { kind: Kind::Time, text: time.into() }), "a time")
        }
        _ => Err(Refusal::Malformed("unknown type")),
    }
}

fn plain(text: &Secret) -> Option<&str> {
    text.expose_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> Cipher {
        Cipher::new(Secret::new(vec![7; DATA_KEY])).unwrap()
    }

    /// That this compiles is the test: the crate says so of its keys only with the feature that makes it true.
    #[test]
    fn keys_are_overwritten_when_dropped() {
        fn overwritten<T: zeroize::ZeroizeOnDrop>() {}
        overwritten::<Aes256>();
        overwritten::<Secret>();
    }

    #[test]
    fn what_is_sealed_opens_only_at_its_place() {
        let mut cipher = cipher();
        let leaf = Leaf::str("hunter2");
        let text = cipher.seal(&leaf, "a:b:").unwrap();
        assert_eq!(cipher.open(&text, "a:b:"), Ok(Opened::Leaf(leaf)));
        assert_eq!(cipher.open(&text, "a:c:"), Err(Refusal::Forged));
        assert_eq!(cipher.open(&format!("{text} tail"), "a:b:").map(drop), Ok(()));
        assert_eq!(cipher.open("plain", "a:b:"), Err(Refusal::Plain));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let mut cipher = cipher();
        let leaf = Leaf::int(42);
        let text = cipher.seal(&leaf, "x:").unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            let opened = cipher.try_open(&changed, "x:").map(|(opened, _)| opened);
            // The type is not authenticated by the format itself.
            assert!(opened.is_err() || opened == Ok(Opened::Leaf(leaf.clone())), "{changed}");
        }
    }

    #[test]
    fn unchanged_values_keep_their_ciphertext_and_equal_ones_stay_different() {
        let mut cipher = cipher();
        let leaf = Leaf::str("same");
        let (first, second) = (cipher.seal(&leaf, "l:").unwrap(), cipher.seal(&leaf, "l:").unwrap());
        assert_ne!(first, second);
        cipher.open(&first, "l:").unwrap();
        cipher.open(&second, "l:").unwrap();
        assert_eq!([cipher.seal(&leaf, "l:").unwrap(), cipher.seal(&leaf, "l:").unwrap()], [first, second]);
    }

    #[test]
    fn nonces_of_other_lengths_open() {
        let key = Secret::new(vec![7; DATA_KEY]);
        for (length, seal) in [(12, seal_with::<U12> as fn(&Secret) -> String), (16, seal_with::<U16>)] {
            let text = seal(&key);
            assert_eq!(cipher().open(&text, "a:"), Ok(Opened::Leaf(Leaf::str("v"))), "{length}");
        }
    }

    fn seal_with<N: ArrayLength<u8>>(key: &Secret) -> String {
        let iv = GenericArray::<u8, N>::default();
        let mut data = b"v".to_vec();
        let cipher = AesGcm::<Aes256, N>::new_from_slice(key.expose()).unwrap();
        let tag = cipher.encrypt_in_place_detached(&iv, b"a:", &mut data).unwrap();
        let [data, iv, tag] = [&data[..], &iv[..], &tag[..]].map(|bytes| STANDARD.encode(bytes));
        format!("{PREFIX}{data},iv:{iv},tag:{tag},type:str]")
    }
}
