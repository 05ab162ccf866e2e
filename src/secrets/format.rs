//! The formats of files, and where each keeps the metadata.

use std::fmt;
use std::path::Path;

use super::error::{Error, Result};
use super::flatten::{flatten, unflatten};
use super::tree::{Document, Entry, Leaf, Value};
use super::{Layout, Secret, dotenv, ini, json, yaml};

/// The key that the metadata stands under.
pub(super) const KEY: &str = "sops";

/// The same as a prefix, in files without nesting.
const PREFIX: &str = "sops_";

/// The key of a binary file's only value.
pub(super) const DATA: &str = "data";

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON, with an object at the top.
    Json,
    /// `NAME=value` lines.
    Dotenv,
    /// INI.
    Ini,
    /// Anything else: encrypted as one value, in JSON.
    Binary,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Yaml, Self::Json, Self::Dotenv, Self::Ini, Self::Binary];

    /// The format of a file by its name.
    pub fn of(path: &Path) -> Self {
        let name = path.as_os_str().as_encoded_bytes();
        let suffixes: [(&[u8], Self); 5] = [
            (b".yaml", Self::Yaml),
            (b".yml", Self::Yaml),
            (b".json", Self::Json),
            (b".env", Self::Dotenv),
            (b".ini", Self::Ini),
        ];
        suffixes.iter().find(|(suffix, _)| name.ends_with(suffix)).map_or(Self::Binary, |(_, format)| *format)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Dotenv => "dotenv",
            Self::Ini => "ini",
            Self::Binary => "binary",
        }
    }

    /// Reads a plain file.
    pub fn read(self, bytes: &[u8]) -> Result<Vec<Document>> {
        match self {
            Self::Yaml => yaml::read(self.text(bytes)?),
            Self::Json => json::read(self.text(bytes)?).map(|document| vec![document]),
            Self::Dotenv => dotenv::read(bytes).map(|document| vec![document]),
            Self::Ini => ini::read(self.text(bytes)?).map(|document| vec![document]),
            Self::Binary => Ok(vec![vec![Entry::Pair(DATA.to_owned(), Value::str(bytes))]]),
        }
    }

    /// Writes a plain file as sops lays it out by default.
    pub fn write(self, documents: &[Document]) -> Result<Secret> {
        self.write_as(documents, &Layout::default())
    }

    /// Writes a plain file.
    pub fn write_as(self, documents: &[Document], layout: &Layout) -> Result<Secret> {
        let empty = Document::new();
        let first = documents.first().unwrap_or(&empty);
        let unwritable = |path: &str, reason| Error::Unwritable { format: self, path: path.to_owned(), reason };
        if self != Self::Yaml && documents.len() > 1 {
            return Err(unwritable("a file of several documents", "it holds one"));
        }
        match self {
            Self::Yaml => match documents.iter().find_map(|document| super::tree::twice_in(document)) {
                Some(key) => Err(unwritable(key, "it is there twice")),
                None => Ok(yaml::write(documents, layout.yaml)),
            },
            Self::Json => json::write(first, layout.json),
            Self::Dotenv => dotenv::write(first),
            Self::Ini => ini::write(first),
            Self::Binary => match super::tree::get(first, DATA) {
                Some(Value::Leaf(Leaf { text, .. })) => Ok(text.clone()),
                _ => Err(unwritable(DATA, "a binary file has one text, under `data`")),
            },
        }
    }

    /// Writes one value of a file: a text as it is, anything else in this format.
    pub fn write_value(self, value: &Value, layout: &Layout) -> Result<Secret> {
        let unwritable = |reason| Err(Error::Unwritable { format: self, path: "the value".to_owned(), reason });
        match (self, value) {
            (_, Value::Leaf(Leaf { kind: super::tree::Kind::Str, text })) => Ok(text.clone()),
            (Self::Yaml, Value::Map(entries)) => Ok(yaml::write(std::slice::from_ref(entries), layout.yaml)),
            (Self::Yaml, value) => Ok(yaml::write_value(value, layout.yaml)),
            (Self::Ini, Value::Map(entries)) => ini::write(entries),
            (Self::Dotenv, Value::Map(entries)) => dotenv::write(entries),
            (Self::Json, Value::Map(entries)) => json::write(entries, layout.json),
            (Self::Json | Self::Ini, value) => json::write_value(value, layout.json),
            (Self::Dotenv, value) => dotenv::flat(value).map_or_else(|| unwritable("it is not a single value"), Ok),
            (Self::Binary, _) => unwritable("a binary file has no parts"),
        }
    }

    /// Reads an encrypted file: its documents, and its metadata as it is written.
    pub(super) fn read_encrypted(self, bytes: &[u8]) -> Result<(Vec<Document>, Vec<Entry>)> {
        let inner = if self == Self::Binary { Self::Json } else { self };
        let mut documents = inner.read(bytes)?;
        let metadata = match self {
            Self::Dotenv => take_flat(&mut documents)?,
            _ => take(&mut documents)?,
        };
        let metadata = metadata.ok_or(Error::NotEncrypted)?;
        if self != Self::Ini {
            return Ok((documents, metadata));
        }
        let flat = metadata.iter().filter_map(Entry::pair).map(|(key, value)| {
            let value = value.as_text().map(|text| Value::str(text.replace("\\n", "\n")));
            (key.to_owned(), value.unwrap_or(Value::Null))
        });
        Ok((documents, unflatten(flat.collect()).map_err(Error::Metadata)?))
    }

    /// Writes an encrypted file.
    pub(super) fn write_encrypted(
        self,
        documents: &[Document],
        metadata: Vec<Entry>,
        layout: &Layout,
    ) -> Result<Secret> {
        let metadata = match self {
            Self::Dotenv => {
                let flat = flatten(&metadata);
                flat.into_iter().map(|(key, value)| Entry::Pair(format!("{PREFIX}{key}"), value)).collect()
            }
            Self::Ini => {
                let escaped = flatten(&metadata).into_iter().map(|(key, value)| {
                    let value = match value.as_text() {
                        Some(text) => Value::str(text.replace('\n', "\\n")),
                        None => value,
                    };
                    Entry::Pair(key, value)
                });
                vec![Entry::Pair(KEY.to_owned(), Value::Map(escaped.collect()))]
            }
            Self::Yaml | Self::Json | Self::Binary => vec![Entry::Pair(KEY.to_owned(), Value::Map(metadata))],
        };
        let with = |document: &Document| [document.as_slice(), metadata.as_slice()].concat();
        let documents: Vec<Document> = documents.iter().map(with).collect();
        match self {
            Self::Binary => Self::Json.write_as(&documents, &Layout { json: layout.binary, ..*layout }),
            _ => self.write_as(&documents, layout),
        }
    }

    /// Whether a plain file has what would be taken for metadata.
    pub(super) fn has_metadata(self, documents: &[Document]) -> bool {
        let mut keys = documents.iter().flatten().filter_map(Entry::pair).map(|(key, _)| key);
        match self {
            Self::Dotenv => keys.any(|key| key.starts_with(PREFIX)),
            Self::Binary => false,
            _ => keys.any(|key| key == KEY),
        }
    }

    fn text(self, bytes: &[u8]) -> Result<&str> {
        std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            Error::Syntax { format: self, reason: "it is not UTF-8".to_owned(), line }
        })
    }
}

/// Takes the metadata out of all documents; the first one's counts.
fn take(documents: &mut [Document]) -> Result<Option<Vec<Entry>>> {
    let mut found = None;
    for (at, document) in documents.iter_mut().enumerate() {
        let mut metadata = Vec::new();
        document.retain_mut(|entry| match entry {
            Entry::Pair(key, value) if key == KEY => {
                metadata.push(std::mem::replace(value, Value::Null));
                false
            }
            _ => true,
        });
        if at > 0 {
            continue;
        }
        let wrong = |text: &str| Err(Error::Metadata(text.to_owned()));
        found = match (metadata.pop(), metadata.is_empty()) {
            (None, _) => None,
            (Some(_), false) => return wrong("`sops` is there twice"),
            (Some(Value::Map(entries)), true) => Some(entries),
            (Some(_), true) => return wrong("`sops` is not a map"),
        };
    }
    Ok(found)
}

/// The same for a file without nesting.
fn take_flat(documents: &mut [Document]) -> Result<Option<Vec<Entry>>> {
    let mut flat = Vec::new();
    for document in documents {
        document.retain_mut(|entry| match entry {
            Entry::Pair(key, value) => match key.strip_prefix(PREFIX) {
                Some(name) => {
                    flat.push((name.to_owned(), std::mem::replace(value, Value::Null)));
                    false
                }
                None => true,
            },
            Entry::Comment(_) => true,
        });
    }
    if flat.is_empty() { Ok(None) } else { unflatten(flat).map(Some).map_err(Error::Metadata) }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
            Self::Dotenv => "a dotenv file",
            Self::Ini => "an INI file",
            Self::Binary => "a binary file",
        })
    }
}
