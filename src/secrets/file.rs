//! A file of secrets, from bytes to values and back.

use std::sync::Arc;

use super::cipher::{Cipher, DATA_KEY};
use super::error::{BadMac, Error, Result};
use super::format::{DATA, Format};
use super::identity::Identities;
use super::metadata::{Group, Metadata};
use super::prompt::Prompt;
use super::rule::Rule;
use super::tree::{self, Document, Leaf};
use super::{Layout, Secret, cipher, keyring, walk};

/// Files larger than this are refused, in bytes.
pub const LIMIT: usize = 64 << 20;

/// An encrypted file, read and not opened.
#[derive(Debug, Clone)]
pub struct File {
    /// Its format.
    pub format: Format,
    /// What it says about itself.
    pub metadata: Metadata,
    /// How it is written.
    pub layout: Layout,
    documents: Vec<Document>,
}

/// An opened file: its values are plain, its data key is at hand.
pub struct Opened {
    /// Its format.
    pub format: Format,
    /// What it says about itself.
    pub metadata: Metadata,
    /// How it is written.
    pub layout: Layout,
    /// The values.
    pub documents: Vec<Document>,
    cipher: Cipher,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an opened file of {} documents", self.documents.len())
    }
}

/// Whether a file whose MAC is wrong is opened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mac {
    /// It is refused.
    Check,
    /// It is opened; its values may be in a wrong order, or some may be missing.
    Ignore,
}

impl File {
    /// Reads an encrypted file.
    pub fn read(format: Format, bytes: &[u8]) -> Result<Self> {
        limit(format, bytes)?;
        let (documents, metadata) = format.read_encrypted(bytes)?;
        Ok(Self { format, metadata: Metadata::read(&metadata)?, layout: Layout::default(), documents })
    }

    /// The file as bytes, nothing encrypted anew.
    pub fn write(&self) -> Result<Vec<u8>> {
        let text = self.format.write_encrypted(&self.documents, self.metadata.write(), &self.layout)?;
        read_back(self.format, &self.documents, text.expose())?;
        Ok(text.expose().to_vec())
    }

    /// Decrypts all values and compares the MAC.
    pub fn open(mut self, identities: &Identities, mac: Mac) -> Result<Opened> {
        let key = keyring::unwrap(&self.metadata.groups, self.metadata.threshold, identities)?;
        let mut cipher = cipher_of(key)?;
        let rule = Rule::new(&self.metadata.effective_rule())?;
        let found = walk::decrypt(&mut self.documents, &rule, self.metadata.mac_only_encrypted, &mut cipher)?;
        if mac == Mac::Check {
            check_mac(&self.metadata, &found.mac, &mut cipher)?;
        }
        for place in found.damaged {
            let place = if place.is_empty() { "at the top of the file".to_owned() } else { format!("in {place}") };
            identities.prompt().warn(&format!("a comment {place} was changed or moved, and stays encrypted"));
        }
        let Self { format, metadata, layout, documents } = self;
        Ok(Opened { format, metadata, layout, documents, cipher })
    }

    /// Encrypts the same data key for other recipients; values and MAC stay as they are. Who stays among the
    /// recipients of an undivided key keeps the very bytes.
    pub fn rewrap(&mut self, groups: Vec<Group>, threshold: Option<u8>, identities: &Identities) -> Result<()> {
        let key = keyring::unwrap(&self.metadata.groups, self.metadata.threshold, identities)?;
        let (mut groups, mut threshold) = (groups, threshold);
        match (self.metadata.groups.as_slice(), groups.as_mut_slice()) {
            ([before], [after]) => {
                let known = |name: &str| before.age.iter().find(|key| key.recipient == name && !key.enc.is_empty());
                let (kept, mut new): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut after.age).into_iter().partition(|key| known(&key.recipient).is_some());
                if !new.is_empty() {
                    let mut only = [Group { age: std::mem::take(&mut new), others: Vec::new() }];
                    keyring::wrap(&key, &mut only, &mut None, identities.prompt())?;
                    let [only] = only;
                    new = only.age;
                }
                let kept = kept.into_iter().filter_map(|key| known(&key.recipient).cloned());
                after.age = kept.chain(new).collect();
                after.others.clone_from(&before.others);
                if after.age.is_empty() {
                    return Err(Error::NoRecipients);
                }
                threshold = None;
            }
            _ => keyring::wrap(&key, &mut groups, &mut threshold, identities.prompt())?,
        }
        (self.metadata.groups, self.metadata.threshold) = (groups, threshold);
        Ok(())
    }
}

impl Opened {
    /// A new file for `metadata`'s recipients, with a new data key.
    pub fn create(
        format: Format,
        documents: Vec<Document>,
        mut metadata: Metadata,
        prompt: &Arc<dyn Prompt>,
    ) -> Result<Self> {
        if documents.is_empty() {
            return Err(Error::Empty);
        }
        if format.has_metadata(&documents) {
            return Err(Error::AlreadyEncrypted);
        }
        let rule = Rule::new(&metadata.effective_rule())?;
        if format == Format::Binary && !rule.encrypts(&[DATA.to_owned()], &[], false) {
            let text = format!("nothing of it would be encrypted: by its rule, {:?} stays plain", DATA);
            return Err(Error::Rule(text));
        }
        let key = Secret::random(DATA_KEY)?;
        keyring::wrap(&key, &mut metadata.groups, &mut metadata.threshold, prompt)?;
        Ok(Self { format, metadata, layout: Layout::default(), documents, cipher: cipher_of(key)? })
    }

    /// Replaces the values, such as by what came back from an editor.
    pub fn replace(&mut self, documents: Vec<Document>) -> Result<()> {
        if documents.is_empty() {
            return Err(Error::Empty);
        }
        if self.format.has_metadata(&documents) {
            return Err(Error::AlreadyEncrypted);
        }
        self.documents = documents;
        Ok(())
    }

    /// The values as a plain file of that format, laid out as the project wants.
    pub fn plain(&self, format: Format) -> Result<Secret> {
        format.write_as(&self.documents, &self.layout)
    }

    /// A digest of a value that tells whether it is equal to another under the same key, and nothing else: by `key`,
    /// or by the file's own data key. 16 hexadecimal digits.
    pub fn fingerprint(&self, leaf: &Leaf, key: Option<&Secret>) -> String {
        use sha2::Digest as _;
        let key = key.unwrap_or_else(|| self.cipher.key());
        let mut hash = sha2::Sha256::new_with_prefix(b"rave secrets fingerprint");
        hash.update(key.expose());
        hash.update([leaf.kind as u8]);
        hash.update(leaf.text.expose());
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Takes a new data key, so that those who knew the old one cannot read what is written from now on.
    pub fn rotate(&mut self, prompt: &Arc<dyn Prompt>) -> Result<()> {
        let key = Secret::random(DATA_KEY)?;
        let (mut groups, mut threshold) = (self.metadata.groups.clone(), self.metadata.threshold);
        keyring::wrap(&key, &mut groups, &mut threshold, prompt)?;
        (self.metadata.groups, self.metadata.threshold) = (groups, threshold);
        self.cipher = cipher_of(key)?;
        Ok(())
    }

    /// Encrypts everything as of `now`. Values that did not change since the file was opened keep their ciphertext.
    /// What comes out was read and decrypted again: what a format cannot hold is an error here, never a lost file.
    pub fn seal(&mut self, now: jiff::Timestamp) -> Result<Vec<u8>> {
        let rule = Rule::new(&self.metadata.effective_rule())?;
        let mut documents = self.documents.clone();
        let mac = walk::encrypt(&mut documents, &rule, self.metadata.mac_only_encrypted, &mut self.cipher)?;
        self.metadata.touch();
        self.metadata.last_modified = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.metadata.mac = self.cipher.seal(&Leaf::str(mac), &self.metadata.last_modified)?;
        let text = self.format.write_encrypted(&documents, self.metadata.write(), &self.layout)?;
        let mut again = read_back(self.format, &documents, text.expose())?;
        let mut cipher = cipher_of(self.cipher.key().clone())?;
        let found = walk::decrypt(&mut again, &rule, self.metadata.mac_only_encrypted, &mut cipher)?;
        check_mac(&self.metadata, &found.mac, &mut cipher)?;
        same(self.format, &self.documents, &again)?;
        Ok(text.expose().to_vec())
    }
}

/// Reads what is about to be written, which has to say what `documents` say.
fn read_back(format: Format, documents: &[Document], text: &[u8]) -> Result<Vec<Document>> {
    if text.len() > LIMIT {
        let reason = "it would be larger than 64 MiB, which are refused when read";
        return Err(Error::Unwritable { format, path: "the file".to_owned(), reason });
    }
    let (again, metadata) = format.read_encrypted(text)?;
    Metadata::read(&metadata)?;
    same(format, documents, &again)?;
    Ok(again)
}

fn same(format: Format, written: &[Document], read: &[Document]) -> Result<()> {
    let (written, read) = (tree::leaves(written), tree::leaves(read));
    let differs = |at: &usize| written.get(*at) != read.get(*at);
    let Some(at) = (0..written.len().max(read.len())).find(differs) else { return Ok(()) };
    let path = written.get(at).or_else(|| read.get(at)).map(|(path, _)| path.join("/")).unwrap_or_default();
    Err(Error::Unwritable { format, path, reason: "it would be read as something else" })
}

/// Refuses what no hand and no program writes as secrets.
pub(super) fn limit(format: Format, bytes: &[u8]) -> Result<()> {
    if bytes.len() <= LIMIT {
        return Ok(());
    }
    Err(Error::Syntax { format, reason: format!("it is larger than {LIMIT} bytes"), line: 0 })
}

fn cipher_of(key: Secret) -> Result<Cipher> {
    Cipher::new(key).ok_or_else(|| Error::Metadata(format!("the data key does not have {DATA_KEY} bytes")))
}

fn check_mac(metadata: &Metadata, computed: &Secret, cipher: &mut Cipher) -> Result<()> {
    if metadata.mac.is_empty() {
        return Err(Error::Mac(BadMac::Missing));
    }
    match cipher.try_open(&metadata.mac, &metadata.last_modified) {
        Ok((cipher::Opened::Leaf(found), _)) if found.text == *computed => Ok(()),
        Ok(_) => Err(Error::Mac(BadMac::Mismatch)),
        Err(_) => Err(Error::Mac(BadMac::Forged)),
    }
}
