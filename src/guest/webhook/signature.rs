//! Who sent a request: GitHub's `X-Hub-Signature-256`, GitLab's `X-Gitlab-Token`, and Standard Webhooks
//! (standardwebhooks.com), each over the body as it came, compared in constant time.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::rejection::Rejection;
use super::route::CHECK;
use crate::probe::{Scheme, SigningScheme};
use crate::secrets::Secret;

/// The shortest key, in bytes.
const SHORTEST: usize = 16;
/// How the text of a key begins that is base64 (Standard Webhooks, "Signature scheme").
const ENCODED: &str = "whsec_";
/// The secret of whoever has none.
const FORGERS: &str = "rave-check-has-no-secret";
/// Signatures of one request that are looked at; a sender that changes its key has two.
const SIGNATURES: usize = 8;

impl Scheme {
    /// The header that says that a request is signed so.
    pub fn header(self) -> &'static str {
        match self {
            Self::Github => "x-hub-signature-256",
            Self::Gitlab => "x-gitlab-token",
            Self::Standard => "webhook-signature",
        }
    }
}

/// Why a secret is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It can be guessed.
    #[error("it is shorter than {SHORTEST} bytes")]
    Short,
    /// What follows `whsec_` cannot be read.
    #[error("what follows {ENCODED} is not base64")]
    Base64,
}

/// A secret that a sender signs with.
#[derive(Debug)]
pub struct Key {
    /// The secret as it is written.
    text: Secret,
    /// What Standard Webhooks takes for the key: the bytes behind `whsec_`, or the text of a secret without it.
    standard: Secret,
}

impl Key {
    /// Reads a secret; a line end behind it is none of its own.
    pub fn parse(secret: &Secret) -> Result<Self, KeyError> {
        let bytes = secret.expose();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let text = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let standard = match text.strip_prefix(ENCODED.as_bytes()) {
            Some(encoded) => Secret::new(STANDARD.decode(encoded).map_err(|_| KeyError::Base64)?),
            None => Secret::from(text),
        };
        if standard.expose().len() < SHORTEST {
            return Err(KeyError::Short);
        }
        Ok(Self { text: Secret::from(text), standard })
    }
}

/// The clock that signed times are held against.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Seconds since 1970.
    pub now: i64,
    /// How far a signed time may be off, in seconds, both ways.
    pub window: i64,
}

/// Which of the schemes the request is signed by. Of several the first counts.
///
/// # Errors
/// The request is not signed, wrongly signed, or was signed too long ago.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    schemes: &[Scheme],
    keys: &[Key],
    clock: Clock,
) -> Result<Scheme, Rejection> {
    for scheme in schemes {
        let Some(given) = one(headers, scheme.header())? else { continue };
        let good = match scheme {
            Scheme::Github => github(given, body, keys),
            Scheme::Gitlab => gitlab(given, keys),
            Scheme::Standard => return standard(headers, given, body, keys, clock).map(|()| *scheme),
        };
        return if good { Ok(*scheme) } else { Err(Rejection::Forged) };
    }
    Err(Rejection::Unsigned)
}

/// The headers by which a sender that has the secret signs an event, with its id and type.
///
/// # Errors
/// The secret is no key.
pub fn sign(
    secret: &Secret,
    scheme: SigningScheme,
    id: &str,
    time: u64,
    body: &str,
) -> Result<Vec<(&'static str, String)>, KeyError> {
    let key = Key::parse(secret)?;
    Ok(match scheme {
        SigningScheme::Github => vec![
            (Scheme::Github.header(), format!("sha256={}", hex(&mac(&key.text, &[body.as_bytes()])))),
            ("x-github-delivery", id.to_owned()),
            ("x-github-event", CHECK.to_owned()),
        ],
        SigningScheme::Standard => {
            let time = time.to_string();
            let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body.as_bytes()];
            vec![
                (Scheme::Standard.header(), format!("v1,{}", STANDARD.encode(mac(&key.standard, &parts)))),
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", time),
            ]
        }
    })
}

/// The headers of an event that somebody without the secret has signed, with its id and type.
///
/// # Errors
/// None in practice: the made-up secret is a key.
pub fn forge(scheme: Scheme, id: &str, time: u64, body: &str) -> Result<Vec<(&'static str, String)>, KeyError> {
    let secret = Secret::from(FORGERS);
    match scheme {
        Scheme::Github => sign(&secret, SigningScheme::Github, id, time, body),
        Scheme::Standard => sign(&secret, SigningScheme::Standard, id, time, body),
        Scheme::Gitlab => Ok(vec![
            (Scheme::Gitlab.header(), FORGERS.to_owned()),
            ("idempotency-key", id.to_owned()),
            ("x-gitlab-event", CHECK.to_owned()),
        ]),
    }
}

/// The value of a header that may come once.
pub fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::Malformed("a header comes twice"));
    }
    value.to_str().map(Some).map_err(|_| Rejection::Malformed("a header is not ASCII"))
}

/// Whether any key fits. All are tried, so that the time does not tell which.
fn any(keys: &[Key], fits: impl Fn(&Key) -> Choice) -> bool {
    keys.iter().fold(Choice::from(0), |found, key| found | fits(key)).into()
}

fn github(given: &str, body: &[u8], keys: &[Key]) -> bool {
    let Some(given) = given.strip_prefix("sha256=") else { return false };
    any(keys, |key| hex(&mac(&key.text, &[body])).as_bytes().ct_eq(given.as_bytes()))
}

/// Digests are compared, for they are equally long whatever is given.
fn gitlab(given: &str, keys: &[Key]) -> bool {
    let given = Sha256::digest(given.as_bytes());
    any(keys, |key| Sha256::digest(key.text.expose()).ct_eq(&given))
}

fn standard(headers: &HeaderMap, given: &str, body: &[u8], keys: &[Key], clock: Clock) -> Result<(), Rejection> {
    let id = one(headers, "webhook-id")?.ok_or(Rejection::Malformed("no delivery id"))?;
    let time = one(headers, "webhook-timestamp")?.ok_or(Rejection::Unsigned)?;
    let good = any(keys, |key| {
        let wanted = STANDARD.encode(mac(&key.standard, &[id.as_bytes(), b".", time.as_bytes(), b".", body]));
        let signatures = given.split(' ').filter_map(|one| one.strip_prefix("v1,")).take(SIGNATURES);
        signatures.fold(Choice::from(0), |found, one| found | wanted.as_bytes().ct_eq(one.as_bytes()))
    });
    if !good {
        return Err(Rejection::Forged);
    }
    let time: i64 = time.parse().map_err(|_| Rejection::Stale)?;
    let off = clock.now.checked_sub(time).and_then(i64::checked_abs);
    if off.is_some_and(|off| off <= clock.window) { Ok(()) } else { Err(Rejection::Stale) }
}

/// HMAC-SHA256 (RFC 2104) of parts, one behind the other.
fn mac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    // A key of HMAC may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else { unreachable!("HMAC takes every key") };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
pub(super) mod tests;
