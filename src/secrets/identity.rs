//! Who one is: age identities (age-keygen(1)) and SSH keys, from files, variables and credentials.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use age::armor::ArmoredReader;
use age::plugin::IdentityPluginV1;
use age::secrecy::{ExposeSecret as _, SecretString};

use super::prompt::{Asking, Nobody, Prompt};
use super::{Secret, convert, pq};
use crate::disk;

/// Name of the systemd credential by which a machine is given its identity.
pub const CREDENTIAL: &str = "rave.identity";

/// No identity file is larger, in bytes.
const LIMIT: u64 = 64 << 10;

/// No share of a data key is larger, in bytes: 32 and a coordinate.
const SHARE: u64 = 64;

/// No age file of a share is larger, in bytes, whatever stanzas a plugin makes.
const FILE: u64 = 1 << 20;

/// The largest work factor of a passphrase that is tried: 2^20 is some seconds.
const WORK: u8 = 20;

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
    /// One line is not an identity.
    #[error("{place}: line {line} is not an age identity")]
    Line {
        /// The file or variable.
        place: String,
        /// Counted from 1.
        line: usize,
    },
    /// A plugin is missing, or a key is of a kind that cannot be used.
    #[error("{place}: {reason}")]
    Unusable {
        /// The file or variable.
        place: String,
        /// Why.
        reason: String,
    },
}

/// Identities that are tried one after the other.
pub struct Identities {
    all: Vec<Box<dyn age::Identity + Send + Sync>>,
    /// The recipients that some of them are known to open: their stanzas are tried first.
    recipients: Vec<String>,
    prompt: Arc<dyn Prompt>,
    /// What went wrong while they were gathered; of interest only if nothing opens a file.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} identities", self.all.len())
    }
}

impl Default for Identities {
    fn default() -> Self {
        Self::new(Arc::new(Nobody))
    }
}

impl Identities {
    /// None yet. `prompt` is asked for passphrases.
    pub fn new(prompt: Arc<dyn Prompt>) -> Self {
        Self { all: Vec::new(), recipients: Vec::new(), prompt, notes: Vec::new() }
    }

    /// Those of one text: an identity file, also an encrypted one, or an SSH private key. `place` names it in
    /// messages.
    pub fn parse(place: &str, bytes: &[u8]) -> Result<Self, Error> {
        let mut identities = Self::default();
        identities.add(place, bytes)?;
        Ok(identities)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The recipients of those that say so by themselves, without a plugin or passphrase.
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Whom they may ask.
    pub fn prompt(&self) -> &Arc<dyn Prompt> {
        &self.prompt
    }

    /// Adds those of a text; see [`Identities::parse`].
    pub fn add(&mut self, place: &str, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() as u64 > LIMIT {
            return Err(Error::TooLarge(place.to_owned()));
        }
        if bytes.starts_with(b"-----BEGIN ") && !bytes.starts_with(b"-----BEGIN AGE") {
            return self.add_ssh(place, bytes);
        }
        if bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE") {
            return self.add_encrypted(place, bytes);
        }
        self.add_lines(place, bytes)
    }

    fn add_lines(&mut self, place: &str, bytes: &[u8]) -> Result<(), Error> {
        let before = self.all.len() + self.notes.len();
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                self.add_word(line, place, number + 1)?;
            }
        }
        if self.all.len() + self.notes.len() == before { Err(Error::None(place.to_owned())) } else { Ok(()) }
    }

    /// Adds those of a variable, in which words stand for lines.
    pub fn add_words(&mut self, place: &str, text: &[u8]) -> Result<(), Error> {
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.into_iter().try_for_each(|word| self.add_word(word, place, number + 1))?;
        }
        Ok(())
    }

    fn add_word(&mut self, word: &[u8], place: &str, line: usize) -> Result<(), Error> {
        let wrong = || Error::Line { place: place.to_owned(), line };
        let word = std::str::from_utf8(word).map_err(|_| wrong())?;
        if word.starts_with("AGE-PLUGIN-") {
            let identity: age::plugin::Identity = word.parse().map_err(|_| wrong())?;
            let asking = Asking(Arc::clone(&self.prompt));
            let plugin = IdentityPluginV1::new(identity.plugin(), std::slice::from_ref(&identity), asking);
            match plugin {
                Ok(plugin) => self.all.push(Box::new(plugin)),
                // Another identity may do.
                Err(error) => self.notes.push(format!("{place}: line {line}: {error}")),
            }
        } else if word.starts_with(pq::IDENTITY) {
            let identity = pq::Identity::parse(word).map_err(|_| wrong())?;
            self.recipients.push(identity.recipient());
            self.all.push(Box::new(identity));
        } else {
            let identity: age::x25519::Identity = word.parse().map_err(|_| wrong())?;
            self.recipients.push(identity.to_public().to_string());
            self.all.push(Box::new(identity));
        }
        Ok(())
    }

    /// Adds an SSH private key, as itself and, where it is of Ed25519, as the age identity that it converts to.
    fn add_ssh(&mut self, place: &str, bytes: &[u8]) -> Result<(), Error> {
        let unusable = |reason: &str| Error::Unusable { place: place.to_owned(), reason: reason.to_owned() };
        let no_key = || unusable("it is not an SSH private key");
        // The crate `age` panics at numbers that are written as zeros only, which this one refuses.
        if bytes.starts_with(b"-----BEGIN OPENSSH") {
            ssh_key::PrivateKey::from_openssh(bytes).map_err(|_| no_key())?;
        }
        let identity = age::ssh::Identity::from_buffer(bytes, Some(place.to_owned())).map_err(|_| no_key())?;
        match &identity {
            age::ssh::Identity::Unsupported(_) => {
                return Err(unusable("only SSH keys of the types ssh-ed25519 and ssh-rsa can open files"));
            }
            age::ssh::Identity::Encrypted(_) => {
                self.all.push(Box::new(identity.with_callbacks(Asking(Arc::clone(&self.prompt)))));
            }
            age::ssh::Identity::Unencrypted(_) => {
                if let Ok(recipient) = age::ssh::Recipient::try_from(identity.clone()) {
                    self.recipients.push(recipient.to_string());
                }
                self.all.push(Box::new(identity));
                if let Some(converted) = convert::identity(bytes) {
                    self.recipients.push(converted.to_public().to_string());
                    self.all.push(Box::new(converted));
                }
            }
        }
        Ok(())
    }

    /// Adds those of an identity file that is encrypted with a passphrase.
    fn add_encrypted(&mut self, place: &str, bytes: &[u8]) -> Result<(), Error> {
        let unusable = |reason: String| Error::Unusable { place: place.to_owned(), reason };
        let file = dearmored(bytes).map_err(unusable)?;
        let decryptor = decryptor(&file).map_err(unusable)?;
        if !decryptor.is_scrypt() {
            return Err(unusable("it is encrypted, but not with a passphrase".to_owned()));
        }
        let passphrase = self.prompt.passphrase(&format!("Passphrase of {place}"));
        let passphrase = passphrase.ok_or_else(|| unusable("nobody can be asked for its passphrase".to_owned()))?;
        let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_string()));
        identity.set_max_work_factor(WORK);
        let plain = decrypt(decryptor, std::iter::once(&identity as &dyn age::Identity), LIMIT).map_err(unusable)?;
        if plain.expose().len() as u64 > LIMIT {
            return Err(Error::TooLarge(place.to_owned()));
        }
        self.add_lines(place, plain.expose())
    }

    /// The recipients in the order in which they should be tried: those of one's own first.
    pub(super) fn rank(&self, recipient: &str) -> bool {
        let mut words = recipient.split(' ');
        let plain = [words.next(), words.next()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        !self.recipients.contains(&plain)
    }

    /// Decrypts a small age file, armored or not; says why not.
    pub(super) fn unwrap(&self, enc: &[u8]) -> Result<Secret, String> {
        let file = dearmored(enc)?;
        let identities = self.all.iter().map(|identity| &**identity as &dyn age::Identity);
        decrypt(decryptor(&file)?, identities, SHARE)
    }
}

/// The bytes of an age file, armored or not.
fn dearmored(enc: &[u8]) -> Result<Vec<u8>, String> {
    // Space around an armored file is not part of it.
    let armored = enc.trim_ascii_start().starts_with(b"-----BEGIN");
    let enc = if armored { enc.trim_ascii() } else { enc };
    let mut file = Vec::new();
    ArmoredReader::new(enc).take(FILE).read_to_end(&mut file).map_err(|error| error.to_string())?;
    Ok(file)
}

fn decryptor(file: &[u8]) -> Result<age::Decryptor<&[u8]>, String> {
    if !has_bodies(file) {
        return Err(age::DecryptError::InvalidHeader.to_string());
    }
    age::Decryptor::new_buffered(file).map_err(|error| error.to_string())
}

/// What an age file holds; of more than `limit` bytes, one more than these.
fn decrypt<'a>(
    decryptor: age::Decryptor<&[u8]>,
    identities: impl Iterator<Item = &'a dyn age::Identity>,
    limit: u64,
) -> Result<Secret, String> {
    let reader = decryptor.decrypt(identities).map_err(|error| error.to_string())?;
    let mut plain = Vec::with_capacity(limit as usize + 1);
    let read = reader.take(limit + 1).read_to_end(&mut plain);
    let plain = Secret::new(plain);
    read.map_err(|error| error.to_string()).map(|_| plain)
}

/// Whether each stanza of a header has a body that ends in a line shorter than 64 characters, as the format asks. The
/// crate `age` also takes stanzas without a body, which old versions of it wrote.
fn has_bodies(file: &[u8]) -> bool {
    let mut complete = true;
    for line in file.split(|&byte| byte == b'\n') {
        if line.starts_with(b"---") {
            return complete;
        }
        if line.starts_with(b"-> ") {
            if !complete {
                return false;
            }
            complete = false;
        } else {
            complete |= line.len() < 64;
        }
    }
    false
}

/// A new age identity.
pub struct New {
    /// The private half, in the form of an identity file's line.
    pub identity: Secret,
    /// The public half.
    pub recipient: String,
}

/// Makes an identity: of X25519, or a post-quantum one.
pub fn generate(post_quantum: bool) -> Result<New, getrandom::Error> {
    if post_quantum {
        let identity = pq::Identity::generate()?;
        return Ok(New { recipient: identity.recipient(), identity: identity.encode().as_bytes().into() });
    }
    let identity = age::x25519::Identity::generate();
    let text = identity.to_string();
    Ok(New { recipient: identity.to_public().to_string(), identity: text.expose_secret().into() })
}

/// An identity file's content, on its way into a machine; redacted in `Debug`, zeroed when dropped.
#[derive(Debug)]
pub struct Identity(Secret);

impl Identity {
    /// Reads and checks an identity file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read(path)?;
        Identities::parse(&path.display().to_string(), bytes.expose())?;
        Ok(Self(bytes))
    }

    /// The bytes, for the credential.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Reads a file that may hold identities.
pub(super) fn read(path: &Path) -> Result<Secret, Error> {
    if disk::metadata(disk::canonical(path)?)?.len() > LIMIT {
        return Err(Error::TooLarge(path.display().to_string()));
    }
    Ok(Secret::new(disk::read(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.txt");
        for post_quantum in [false, true] {
            let new = generate(post_quantum).unwrap();
            let text = format!("# public key: {}\n{}\n", new.recipient, new.identity.expose_text().unwrap());
            disk::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
            let identity = Identity::read(&path).unwrap();
            assert_eq!(identity.expose(), text.as_bytes());
            assert!(!format!("{identity:?}").contains("AGE-SECRET"));
            assert_eq!(Identities::parse("x", text.as_bytes()).unwrap().recipients(), [new.recipient]);
        }
    }

    #[test]
    fn what_is_no_identity_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.txt");
        for bad in
            ["", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE\n", "\u{0}\n", "hunter2\n", "-----BEGIN hunter2"]
        {
            disk::write_atomic(&path, bad.as_bytes(), 0o600).unwrap();
            let error = Identity::read(&path).unwrap_err();
            assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("NONSENSE"), "{error}");
        }
        disk::write_atomic(&path, &vec![b'#'; LIMIT as usize + 1], 0o600).unwrap();
        assert!(matches!(Identity::read(&path), Err(Error::TooLarge(_))));
    }
}
