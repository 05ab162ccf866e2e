//! Encrypts and decrypts all values of a file in document order, and computes its MAC on the way.

use sha2::{Digest as _, Sha512};

use super::Secret;
use super::cipher::{self, Cipher, Opened};
use super::error::{Error, Refusal, Result};
use super::rule::Rule;
use super::tree::{Comment, Document, Entry, Item, Kind, Leaf, Value};

/// What a MAC of encrypted values only begins with: the SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Containers in which a comment that does not decrypt where it stands is looked for.
const PLACES: usize = 256;

/// Encrypts documents in place; returns the MAC, upper-case hexadecimal.
pub(super) fn encrypt(documents: &mut [Document], rule: &Rule, only: bool, cipher: &mut Cipher) -> Result<Secret> {
    walk(documents, rule, only, Encrypt { cipher, rule })
}

/// What was found in encrypted documents.
pub(super) struct Decrypted {
    /// Its MAC, upper-case hexadecimal.
    pub mac: Secret,
    /// Where comments stand that do not decrypt: `a/b`, or nothing at the top.
    pub damaged: Vec<String>,
}

/// Decrypts documents in place.
pub(super) fn decrypt(documents: &mut [Document], rule: &Rule, only: bool, cipher: &mut Cipher) -> Result<Decrypted> {
    let (mut places, mut damaged) = (Vec::new(), Vec::new());
    documents.iter().for_each(|document| containers(document, &mut Vec::new(), &mut places));
    let mac = walk(documents, rule, only, Decrypt { cipher, places, damaged: &mut damaged })?;
    Ok(Decrypted { mac, damaged })
}

fn walk<V: Visit>(documents: &mut [Document], rule: &Rule, only: bool, visitor: V) -> Result<Secret> {
    let mut mac = Sha512::new();
    if only {
        mac.update(ONLY_ENCRYPTED);
    }
    let mut walk = Walk { visitor, rule, only, mac, path: Vec::new(), comments: Vec::new() };
    documents.iter_mut().try_for_each(|document| walk.map(document))?;
    let hex: String = walk.mac.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(hex.into())
}

/// What is done to a value or comment that the rule selects. Both return what takes its place; a value also what
/// enters the MAC.
trait Visit {
    fn leaf(&mut self, leaf: &Leaf, aad: &str) -> std::result::Result<(Item, Option<Secret>), Fault>;
    fn comment(&mut self, comment: &Comment, aad: &str) -> std::result::Result<Comment, Fault>;
    /// Whether lists, numbers ... in the place of ciphertext are wrong.
    const CIPHERTEXT: bool;
}

enum Fault {
    Refused(Refusal),
    Other(Error),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<getrandom::Error> for Fault {
    fn from(error: getrandom::Error) -> Self {
        Self::Other(error.into())
    }
}

struct Walk<'a, V> {
    visitor: V,
    rule: &'a Rule,
    only: bool,
    mac: Sha512,
    path: Vec<String>,
    comments: Vec<Vec<Secret>>,
}

impl<V: Visit> Walk<'_, V> {
    fn map(&mut self, entries: &mut [Entry]) -> Result<()> {
        self.comments.push(Vec::new());
        for entry in entries {
            match entry {
                Entry::Comment(comment) => self.comment(comment)?,
                Entry::Pair(key, value) => {
                    self.path.push(key.clone());
                    if let Some(Item::Comment(_)) = self.value(value)? {
                        return Err(self.fault(Fault::Refused(Refusal::Type("a value"))));
                    }
                    self.path.pop();
                    self.comments.last_mut().map(Vec::clear);
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn list(&mut self, items: &mut [Item]) -> Result<()> {
        self.comments.push(Vec::new());
        for item in items {
            match item {
                Item::Comment(comment) => self.comment(comment)?,
                Item::Value(value) => {
                    if let Some(replaced) = self.value(value)? {
                        *item = replaced;
                    }
                    self.comments.last_mut().map(Vec::clear);
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    /// Returns a comment where a value turned out to be one.
    fn value(&mut self, value: &mut Value) -> Result<Option<Item>> {
        match value {
            Value::Null => Ok(None),
            Value::Map(entries) => self.map(entries).map(|()| None),
            Value::List(items) => self.list(items).map(|()| None),
            Value::Leaf(leaf) => {
                if !self.rule.encrypts(&self.path, &self.comments, false) {
                    if !self.only {
                        self.mac.update(leaf.text.expose());
                    }
                    return Ok(None);
                }
                if V::CIPHERTEXT && leaf.kind != Kind::Str {
                    return Err(self.fault(Fault::Refused(Refusal::NotText)));
                }
                let visited = self.visitor.leaf(leaf, &aad(&self.path));
                let (item, hashed) = visited.map_err(|fault| self.fault(fault))?;
                if let Some(text) = hashed {
                    self.mac.update(text.expose());
                }
                match item {
                    Item::Value(new) => {
                        *value = new;
                        Ok(None)
                    }
                    comment => Ok(Some(comment)),
                }
            }
        }
    }

    fn comment(&mut self, comment: &mut Comment) -> Result<()> {
        if let Some(active) = self.comments.last_mut() {
            active.push(comment.text.clone());
        }
        if self.rule.encrypts(&self.path, &self.comments, true) {
            *comment = self.visitor.comment(comment, &aad(&self.path)).map_err(|fault| self.fault(fault))?;
        }
        Ok(())
    }

    fn fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Refused(reason) => Error::Value { path: self.path.join("/"), reason },
            Fault::Other(error) => error,
        }
    }
}

/// What binds a ciphertext to its place. Indices of lists are not part of it.
fn aad(path: &[String]) -> String {
    let mut text = path.join(":");
    text.push(':');
    text
}

struct Encrypt<'a> {
    cipher: &'a mut Cipher,
    rule: &'a Rule,
}

impl Visit for Encrypt<'_> {
    const CIPHERTEXT: bool = false;

    fn leaf(&mut self, leaf: &Leaf, aad: &str) -> std::result::Result<(Item, Option<Secret>), Fault> {
        let sealed = self.cipher.seal(leaf, aad)?;
        Ok((Item::Value(Value::str(sealed)), Some(leaf.text.clone())))
    }

    fn comment(&mut self, comment: &Comment, aad: &str) -> std::result::Result<Comment, Fault> {
        let sealed = self.cipher.seal_comment(&comment.text, aad)?;
        if self.rule.mistakes(&sealed) {
            let text = "unencrypted_comment_regex matches encrypted comments too: choose a longer expression";
            return Err(Fault::Other(Error::Rule(text.to_owned())));
        }
        Ok(Comment { text: sealed.into(), inline: comment.inline })
    }
}

struct Decrypt<'a> {
    cipher: &'a mut Cipher,
    /// Where comments may have been when they were encrypted.
    places: Vec<String>,
    damaged: &'a mut Vec<String>,
}

impl Visit for Decrypt<'_> {
    const CIPHERTEXT: bool = true;

    fn leaf(&mut self, leaf: &Leaf, aad: &str) -> std::result::Result<(Item, Option<Secret>), Fault> {
        if leaf.text.is_empty() {
            return Ok((Item::Value(Value::Leaf(leaf.clone())), None));
        }
        let text = leaf.text.expose_text().ok_or(Refusal::Plain)?;
        Ok(match self.cipher.open(text, aad)? {
            Opened::Leaf(leaf) => (Item::Value(Value::Leaf(leaf.clone())), Some(leaf.text)),
            // Comments in lists were written this way before they were comments, and never entered the MAC.
            Opened::Comment(text) => (Item::Comment(Comment { text, inline: false }), None),
        })
    }

    /// A comment that does not decrypt keeps its text: older versions did not encrypt comments.
    fn comment(&mut self, comment: &Comment, aad: &str) -> std::result::Result<Comment, Fault> {
        if !cipher::is_encrypted(comment.text.expose()) {
            return Ok(comment.clone());
        }
        let Some(text) = comment.text.expose_text() else { return Ok(comment.clone()) };
        let here = self.cipher.open(text, aad).ok();
        // YAML libraries differ in what a comment belongs to; the ciphertext knows.
        let elsewhere = || {
            let mut places = self.places.iter();
            places.find_map(|aad| self.cipher.try_open(text, aad).ok().map(|(opened, _)| opened))
        };
        Ok(match here.or_else(elsewhere) {
            Some(Opened::Comment(text)) => Comment { text, inline: false },
            Some(Opened::Leaf(leaf)) if leaf.kind == Kind::Str => Comment { text: leaf.text, inline: false },
            _ => {
                self.damaged.push(aad.trim_end_matches(':').replace(':', "/"));
                comment.clone()
            }
        })
    }
}

/// What binds the comments of each container to it.
fn containers(entries: &[Entry], path: &mut Vec<String>, places: &mut Vec<String>) {
    add_place(path, places);
    for (key, value) in entries.iter().filter_map(Entry::pair) {
        path.push(key.to_owned());
        value_containers(value, path, places);
        path.pop();
    }
}

fn value_containers(value: &Value, path: &mut Vec<String>, places: &mut Vec<String>) {
    match value {
        Value::Map(entries) => containers(entries, path, places),
        Value::List(items) => {
            add_place(path, places);
            items.iter().filter_map(Item::value).for_each(|value| value_containers(value, path, places));
        }
        Value::Null | Value::Leaf(_) => {}
    }
}

fn add_place(path: &[String], places: &mut Vec<String>) {
    let place = aad(path);
    if places.len() < PLACES && !places.contains(&place) {
        places.push(place);
    }
}
