//! Private keys and password hashes, by the forms that others gave them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::der;

/// How far behind its first byte a finding is examined, in bytes.
pub(super) const LOOKAHEAD: usize = 2048;

/// What a private key of each kind begins with, or has within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The armor of PEM (RFC 7468), OpenSSH and OpenPGP.
    Armor,
    /// An age identity.
    Age,
    /// An identity of a plugin of age.
    Plugin,
    /// The private part of PuTTY's own format.
    Putty,
    /// A key in JSON (RFC 7517).
    Jwk,
    /// A key in DER, by its place in [`der::KEYS`].
    Der(usize),
    /// A key in PKCS #8 or #12 that a password protects.
    Protected(&'static str),
    /// The end of the armor's first line, in base64, which began this many characters earlier.
    Wrapped(usize),
}

/// The texts that are looked for, beside those of [`der::KEYS`].
const ANCHORS: [(&str, Anchor); 11] = [
    (ARMOR, Anchor::Armor),
    (AGE, Anchor::Age),
    (PLUGIN, Anchor::Plugin),
    (PUTTY, Anchor::Putty),
    // Members of JSON may stand in any order; that of the alphabet has `crv` before the key.
    ("\"kty\":\"", Anchor::Jwk),
    ("\"kty\": \"", Anchor::Jwk),
    ("\"crv\":\"", Anchor::Jwk),
    ("\"crv\": \"", Anchor::Jwk),
    // `PRIVATE KEY-----` at the three places where it can begin in what is encoded.
    ("UFJJVkFURSBLRVktLS0tL", Anchor::Wrapped(0)),
    ("BSSVZBVEUgS0VZLS0tLS", Anchor::Wrapped(2)),
    ("QUklWQVRFIEtFWS0tLS0t", Anchor::Wrapped(3)),
];

const ARMOR: &str = "-----BEGIN ";
const AGE: &str = "AGE-SECRET-KEY-";
const PLUGIN: &str = "AGE-PLUGIN-";
const PUTTY: &str = "Private-Lines: ";

/// All texts that are looked for, each with what it begins.
pub(super) fn anchors() -> impl Iterator<Item = (&'static [u8], Anchor)> {
    let texts = ANCHORS.iter().map(|(text, anchor)| (text.as_bytes(), *anchor));
    let keys = der::KEYS.iter().enumerate().map(|(number, key)| (key.begin, Anchor::Der(number)));
    let protected = [(der::SHROUDED, Anchor::Protected("PKCS #12")), (der::PBES2, Anchor::Protected("PKCS #8"))];
    texts.chain(keys).chain(protected)
}

impl Anchor {
    /// The kind of key, if `bytes`, which begin with the anchor's text, are one.
    pub fn confirm(self, bytes: &[u8]) -> Option<String> {
        let bytes = bytes.get(..LOOKAHEAD).unwrap_or(bytes);
        match self {
            Self::Armor => armored(bytes),
            Self::Age => age(bytes).then(|| "age identity".to_owned()),
            Self::Plugin => plugin(bytes).then(|| "age identity of a plugin".to_owned()),
            Self::Putty => putty(bytes).then(|| "PuTTY".to_owned()),
            Self::Jwk => jwk(bytes).then(|| "JSON Web Key".to_owned()),
            Self::Der(number) => {
                let key = der::KEYS.get(number).filter(|key| key.confirm(bytes))?;
                Some(format!("{} in DER", key.kind))
            }
            Self::Protected(kind) => der::is_protected(bytes).then(|| format!("{kind} with a password, in DER")),
            Self::Wrapped(before) => wrapped(bytes, before).then(|| "PRIVATE KEY in base64".to_owned()),
        }
    }
}

/// The kind of the first private key in a file's bytes. A program that only knows the header of one has no key
/// below it.
pub fn private_key(bytes: &[u8]) -> Option<String> {
    anchors().find_map(|(text, anchor)| {
        memchr::memmem::find_iter(bytes, text).find_map(|at| anchor.confirm(bytes.get(at..).unwrap_or_default()))
    })
}

fn armored(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (kind, rest) = text.strip_prefix(ARMOR)?.split_once("-----")?;
    if !kind.contains("PRIVATE KEY") || kind.len() >= 64 {
        return None;
    }
    has_key(rest).then(|| kind.to_owned())
}

/// Whether a key follows the first line of its armor.
fn has_key(rest: &str) -> bool {
    // In JSON and in some settings, lines end in the two characters \n. Headers (RFC 1421, RFC 9580) may stand
    // between the first line and the key.
    let mut lines = rest.split('\n').flat_map(|line| line.split("\\n")).take(7);
    lines.any(|line| is_base64(line.trim_ascii()))
}

/// Whether a key follows the armor's first line where both are in base64.
fn wrapped(bytes: &[u8], before: usize) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let text = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take_while(known);
    let mut text: Vec<u8> = std::iter::repeat_n(b'A', before).chain(text).take(512).collect();
    text.truncate(text.len() / 4 * 4);
    let decoded = BASE64_STANDARD_NO_PAD.decode(text).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded);
    // Of the first letter, a part may be in what stands before.
    decoded.split_once("RIVATE KEY-----").is_some_and(|(_, rest)| has_key(rest))
}

/// Whether a line begins with base64 that is long enough for a key. Filling, all of one character, is no key.
fn is_base64(line: &str) -> bool {
    let text: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
    text.len() >= 32 && varied(text.as_bytes())
}

fn age(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(AGE.as_bytes()).unwrap_or_default();
    let rest = rest.strip_prefix(b"PQ-").unwrap_or(rest);
    let data = rest.strip_prefix(b"1").unwrap_or_default();
    data.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count() >= 50
}

/// Bech32 (BIP 173) in capitals, the name of the plugin before it.
fn plugin(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(PLUGIN.as_bytes()).unwrap_or_default();
    let end = rest.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'-').count();
    let word = rest.get(..end).unwrap_or_default();
    let Some(at) = word.iter().rposition(|&byte| byte == b'1') else { return false };
    let (name, data) = (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default());
    let known = data.iter().all(|byte| b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".contains(byte));
    name.ends_with(b"-") && known && data.len() >= 20 && varied(data)
}

fn putty(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.strip_prefix(PUTTY).and_then(|rest| rest.split_once('\n'));
    lines.is_some_and(|(count, rest)| {
        let count = count.trim_end();
        !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) && is_base64(rest)
    })
}

/// Whether a private member follows in the same object: `d`, or one of the primes of RSA (RFC 7518, 6.2.2 and 6.3.2).
fn jwk(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'}').unwrap_or(bytes.len());
    let object = bytes.get(..end).unwrap_or_default();
    let is_private = |name: &[u8]| {
        memchr::memmem::find_iter(object, name).any(|at| {
            let rest = object.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
            let value = rest.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
            value.strip_prefix(b"\"").is_some_and(|value| encoded(value, 40))
        })
    };
    [&b"\"d\""[..], b"\"p\"", b"\"q\""].into_iter().any(is_private)
}

/// Salts and hashes of bcrypt that a program compares with where there is no user, so that the time it takes tells
/// nothing. They stand in its published source, and let nobody in.
const PUBLISHED: [&[u8]; 1] = [
    b"QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", // Prometheus' exporter-toolkit
];

/// What password hashes begin with. For some this is not their first byte; it is what others seldom have.
pub(super) const HASHES: [u8; 3] = *b"$*{";

/// The kind of password hash that has one of [`HASHES`] at the first byte.
pub(super) fn password_hash(bytes: &[u8]) -> Option<&'static str> {
    let rest = bytes.get(1..LOOKAHEAD.min(bytes.len()))?;
    match bytes.first()? {
        b'*' => mysql(rest).then_some("MySQL"),
        b'{' => ldap(rest).then_some("LDAP"),
        _ => crypt(rest),
    }
}

/// The 40 capital hexadecimal digits of MySQL's native passwords.
fn mysql(bytes: &[u8]) -> bool {
    let digit = |byte: &&u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    let digits = bytes.iter().take(41).take_while(digit).count();
    let ends = bytes.get(digits).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    digits == 40 && ends && bytes.get(..digits).is_some_and(varied)
}

/// A digest in base64, its salt behind it, and the name of the method in braces before it (RFC 2307, 5.3).
fn ldap(bytes: &[u8]) -> bool {
    // In bytes.
    let methods: [(&[u8], usize, bool); 9] = [
        (b"SSHA}", 20, true),
        (b"SHA}", 20, false),
        (b"SMD5}", 16, true),
        (b"SSHA256}", 32, true),
        (b"SSHA384}", 48, true),
        (b"SSHA512}", 64, true),
        (b"SHA256}", 32, false),
        (b"SHA384}", 48, false),
        (b"SHA512}", 64, false),
    ];
    methods.iter().any(|(name, digest, salted)| {
        let Some(text) = bytes.strip_prefix(*name) else { return false };
        let letters = text.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+/".contains(*b)).count();
        let size = letters * 3 / 4;
        let fits = if *salted { (digest + 1..digest + 65).contains(&size) } else { size == *digest };
        fits && text.get(..letters).is_some_and(varied)
    })
}

/// PostgreSQL's `md5` and 32 digits, a word of their own.
pub(super) fn postgres(bytes: &[u8], before: Option<u8>) -> bool {
    let digit = |byte: &&u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let Some(rest) = bytes.strip_prefix(b"md5") else { return false };
    let digits = rest.iter().take(33).take_while(digit).count();
    let after = rest.get(digits).copied();
    let apart = |byte: Option<u8>| byte.is_none_or(|byte| b"\"':=, \t\r\n\0".contains(&byte));
    digits == 32 && apart(before) && apart(after) && rest.get(..digits).is_some_and(varied)
}

/// Those of crypt(5), of PHP and Python, Argon2's, and PostgreSQL's behind `SCRAM-SHA-256`.
fn crypt(bytes: &[u8]) -> Option<&'static str> {
    // Nearly every `$` of a program or script ends here.
    let end = bytes.iter().take(64).position(|&byte| byte == b'$')?;
    let (id, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let mut parts = rest.split(|&byte| byte == b'$');
    let mut next = || parts.next();
    let found = match id {
        b"1" => salt(next()?, 8) && hash(next()?, 22),
        b"apr1" => salt(next()?, 8) && hash(next()?, 22),
        b"5" | b"6" => {
            let mut first = next()?;
            if first.starts_with(b"rounds=") {
                first = next()?;
            }
            salt(first, 16) && hash(next()?, if id == b"5" { 43 } else { 86 })
        }
        b"2a" | b"2b" | b"2x" | b"2y" => {
            let cost = next()?;
            let part = next()?;
            let published = PUBLISHED.iter().any(|known| part.starts_with(known));
            cost.len() == 2 && cost.iter().all(u8::is_ascii_digit) && hash(part, 53) && !published
        }
        b"y" | b"gy" => salt(next()?, 16) && salt(next()?, 86) && hash(next()?, 43),
        b"7" => salt(next()?, 100) && hash(next()?, 43),
        b"argon2i" | b"argon2d" | b"argon2id" => {
            let version = next()?;
            let costs = if version.starts_with(b"v=") { next()? } else { version };
            costs.starts_with(b"m=") && encoded(next()?, 11) && encoded(next()?, 16)
        }
        // phpass, as in WordPress and phpBB: the count, the salt and the hash are one word.
        b"P" | b"H" => hash(next()?, 31),
        b"scrypt" => next()?.starts_with(b"ln=") && encoded(next()?, 8) && encoded(next()?, 22),
        id if id.starts_with(b"pbkdf2") => {
            let rounds = next()?;
            let rounds = rounds.strip_prefix(b"i=").unwrap_or(rounds);
            let digits = rounds.iter().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && encoded(next()?, 8) && encoded(next()?, 22)
        }
        _ => {
            let found = scram(id, rest).then_some("SCRAM-SHA-256");
            return found.or_else(|| django(id, rest).then_some("PBKDF2"));
        }
    };
    let names = [("1", "MD5"), ("apr1", "MD5"), ("5", "SHA-256"), ("6", "SHA-512"), ("7", "scrypt"), ("y", "yescrypt")];
    let name = names.iter().find(|(name, _)| name.as_bytes() == id).map(|(_, kind)| *kind);
    found.then(|| {
        name.unwrap_or(match id {
            b"gy" => "gost-yescrypt",
            b"P" | b"H" => "phpass",
            b"scrypt" => "scrypt",
            id if id.starts_with(b"pbkdf2") => "PBKDF2",
            id if id.starts_with(b"2") => "bcrypt",
            _ => "Argon2",
        })
    })
}

fn salt(part: &[u8], longest: usize) -> bool {
    (1..=longest).contains(&part.len()) && part.iter().all(|&b| b.is_ascii_graphic() && !b":\"'\\".contains(&b))
}

/// A hash is as long as its method makes it, and not part of a longer word.
fn hash(part: &[u8], length: usize) -> bool {
    let word = part.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/').count();
    word == length && part.get(..word).is_some_and(varied)
}

fn encoded(part: &[u8], shortest: usize) -> bool {
    let word = part.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b)).count();
    word >= shortest && part.get(..word).is_some_and(varied)
}

/// `ITERATIONS:SALT$STORED:SERVER`, the keys of 32 bytes each.
fn scram(first: &[u8], rest: &[u8]) -> bool {
    let key = |part: &[u8]| {
        let word = part.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)).count();
        word == 44 && part.get(..word).is_some_and(varied)
    };
    let Some(colon) = first.iter().position(|&byte| byte == b':') else { return false };
    let (count, salt) = first.split_at(colon);
    let is_base64 = salt.iter().skip(1).all(|&b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let digits = !count.is_empty() && count.iter().all(u8::is_ascii_digit);
    let mut keys = rest.split(|&byte| byte == b':');
    digits && salt.len() > 8 && is_base64 && keys.next().is_some_and(key) && keys.next().is_some_and(key)
}

/// Behind `pbkdf2_sha256`: rounds, salt and hash.
fn django(rounds: &[u8], rest: &[u8]) -> bool {
    let mut parts = rest.split(|&byte| byte == b'$');
    let (Some(salt_), Some(hash)) = (parts.next(), parts.next()) else { return false };
    let length = hash.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(*b)).count();
    let digits = (4..=8).contains(&rounds.len()) && rounds.iter().all(u8::is_ascii_digit);
    digits && salt(salt_, 64) && salt_.len() >= 8 && [28, 44].contains(&length) && encoded(hash, 27)
}

/// Whether a text is more than filling in an example.
fn varied(text: &[u8]) -> bool {
    text.iter().collect::<std::collections::BTreeSet<_>>().len() >= 8
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
