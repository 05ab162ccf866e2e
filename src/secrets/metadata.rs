//! What a file says about itself under `sops`: who can open it, by which rule it is encrypted, its MAC.

use super::error::{Error, Result};
use super::rule::{self, Written};
use super::scalar;
use super::tree::{self, Entry, Item, Kind, Leaf, Value};

/// The version that is written: the newest whose files are written in the same way.
const VERSION: &str = "3.13.1";

/// Fields that list keys, in the metadata itself and in each key group.
const KEYS: [&str; 7] = ["age", "azure_kv", "gcp_kms", "hc_vault", "hckms", "kms", "pgp"];

/// Everything under `sops`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// Who can open the file; with several groups, a share of the data key each.
    pub groups: Vec<Group>,
    /// How many groups are needed, where there are several.
    pub threshold: Option<u8>,
    /// When the content was last changed, in RFC 3339.
    pub last_modified: String,
    /// The encrypted MAC; empty if there is none.
    pub mac: String,
    /// Which values are encrypted; nothing for the default.
    pub rule: Option<Written>,
    /// Whether the MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
    /// The version of SOPS that wrote the file.
    pub version: String,
    /// Fields that this version of rave does not know.
    unknown: Vec<Entry>,
}

/// The keys that open one share of the data key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// age recipients.
    pub age: Vec<AgeKey>,
    /// Keys of other kinds, which are kept but cannot be used here: `pgp`, `kms` ...
    pub others: Vec<Entry>,
}

/// The data key, or a share of it, encrypted for an age recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeKey {
    /// The recipient.
    pub recipient: String,
    /// An armored age file.
    pub enc: String,
}

impl Metadata {
    /// That of a new file; the MAC and the encrypted keys are still to come.
    pub fn new(groups: Vec<Group>, threshold: Option<u8>, rule: Option<Written>, mac_only_encrypted: bool) -> Self {
        Self {
            groups,
            threshold,
            last_modified: String::new(),
            mac: String::new(),
            rule,
            mac_only_encrypted,
            version: VERSION.to_owned(),
            unknown: Vec::new(),
        }
    }

    /// The rule that holds.
    pub(super) fn effective_rule(&self) -> Written {
        self.rule.clone().unwrap_or_else(Written::default_rule)
    }

    /// The file was changed by this version.
    pub(super) fn touch(&mut self) {
        if numbers(&self.version) < numbers(VERSION) {
            VERSION.clone_into(&mut self.version);
        }
    }

    /// Reads the fields, in any order.
    pub(super) fn read(entries: &[Entry]) -> Result<Self> {
        let wrong = |text: String| Error::Metadata(text);
        let top = group(entries)?;
        let groups = match field(entries, "key_groups") {
            _ if !top.is_empty() => vec![top],
            Some(list) => {
                let items = list.as_list().ok_or_else(|| wrong("key_groups is not a list".to_owned()))?;
                items.map(|item| group(map(item, "an entry of key_groups")?)).collect::<Result<_>>()?
            }
            None => return Err(wrong("it names no keys".to_owned())),
        };
        let text = |name| field(entries, name).map(|value| text_of(value, name)).transpose();
        let mut rules = Vec::new();
        for name in rule::NAMES {
            if let Some(text) = text(name)?.filter(|text| !text.is_empty()) {
                rules.push(Written { name, text });
            }
        }
        if rules.len() > 1 {
            let names: Vec<_> = rules.iter().map(|rule| rule.name).collect();
            return Err(wrong(format!("only one rule may say what is encrypted, these do: {}", names.join(", "))));
        }
        let last_modified = text("lastmodified")?.ok_or_else(|| wrong("it has no lastmodified".to_owned()))?;
        let time = scalar::rfc3339(&last_modified);
        let time = time.ok_or_else(|| wrong("lastmodified is not a time of RFC 3339".to_owned()))?;
        let version = text("version")?.filter(|version| numbers(version).is_some());
        Ok(Self {
            groups,
            threshold: field(entries, "shamir_threshold").map(threshold).transpose()?.filter(|&n| n > 0),
            last_modified: scalar::without_fraction(&time),
            mac: text("mac")?.unwrap_or_default(),
            rule: rules.pop(),
            mac_only_encrypted: field(entries, "mac_only_encrypted").map(truth).transpose()?.unwrap_or(false),
            version: version.ok_or_else(|| wrong("it has no version such as 3.13.1".to_owned()))?,
            unknown: entries.iter().filter(|entry| is_unknown(entry)).cloned().collect(),
        })
    }

    /// Writes the fields in the order of their names.
    pub(super) fn write(&self) -> Vec<Entry> {
        let pair = |name: &str, value: Value| Entry::Pair(name.to_owned(), value);
        let text = |name: &str, text: &str| pair(name, Value::str(text));
        let mut entries = self.unknown.clone();
        match self.groups.as_slice() {
            [only] => entries.extend(only.write()),
            groups => {
                let groups = groups.iter().map(|group| {
                    let mut entries = group.write();
                    // sops writes these two even where they are empty.
                    for name in ["age", "hc_vault"] {
                        if tree::get(&entries, name).is_none() {
                            entries.push(pair(name, Value::List(Vec::new())));
                        }
                    }
                    sort(&mut entries);
                    Item::Value(Value::Map(entries))
                });
                entries.push(pair("key_groups", Value::List(groups.collect())));
            }
        }
        entries.push(text("lastmodified", &self.last_modified));
        entries.push(text("mac", &self.mac));
        if self.mac_only_encrypted {
            entries.push(pair("mac_only_encrypted", Value::Leaf(Leaf::bool(true))));
        }
        if let Some(rule) = &self.rule {
            entries.push(text(rule.name, &rule.text));
        }
        if let Some(threshold) = self.threshold {
            entries.push(pair("shamir_threshold", Value::Leaf(Leaf::int(threshold.into()))));
        }
        entries.push(text("version", &self.version));
        sort(&mut entries);
        entries
    }
}

impl Group {
    /// A group of age recipients whose shares are still to be encrypted.
    pub fn of(recipients: impl IntoIterator<Item = String>) -> Self {
        let mut age: Vec<AgeKey> = Vec::new();
        for recipient in recipients {
            if age.iter().all(|known| known.recipient != recipient) {
                age.push(AgeKey { recipient, enc: String::new() });
            }
        }
        Self { age, others: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.age.is_empty() && self.others.is_empty()
    }

    fn write(&self) -> Vec<Entry> {
        let mut entries = self.others.clone();
        if !self.age.is_empty() {
            let keys = self.age.iter().map(|key| {
                let pair = |name: &str, text: &str| Entry::Pair(name.to_owned(), Value::str(text));
                Item::Value(Value::Map(vec![pair("enc", &key.enc), pair("recipient", &key.recipient)]))
            });
            entries.push(Entry::Pair("age".to_owned(), Value::List(keys.collect())));
        }
        sort(&mut entries);
        entries
    }
}

fn group(entries: &[Entry]) -> Result<Group> {
    let mut group = Group::default();
    for name in KEYS {
        let Some(value) = field(entries, name) else { continue };
        let list = value.as_list().ok_or_else(|| Error::Metadata(format!("{name} is not a list")))?;
        let keys: Vec<&Value> = list.collect();
        if keys.is_empty() {
            continue;
        }
        if name != "age" {
            group.others.push(Entry::Pair(name.to_owned(), value.clone()));
            continue;
        }
        for key in keys {
            let key = map(key, "an entry of age")?;
            let part = |name: &str| {
                let value = field(key, name).ok_or_else(|| Error::Metadata(format!("an age key has no {name}")))?;
                text_of(value, name)
            };
            group.age.push(AgeKey { recipient: part("recipient")?, enc: part("enc")? });
        }
    }
    Ok(group)
}

fn is_unknown(entry: &Entry) -> bool {
    let known = ["key_groups", "lastmodified", "mac", "mac_only_encrypted", "shamir_threshold", "version"];
    entry.pair().is_some_and(|(name, _)| ![&known[..], &KEYS, &rule::NAMES].concat().contains(&name))
}

fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| a.pair().map(|(name, _)| name).cmp(&b.pair().map(|(name, _)| name)));
}

/// A field that is there and not null.
fn field<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Value> {
    tree::get(entries, name).filter(|value| !matches!(value, Value::Null))
}

fn map<'a>(value: &'a Value, what: &str) -> Result<&'a [Entry]> {
    value.as_map().ok_or_else(|| Error::Metadata(format!("{what} is not a map")))
}

fn text_of(value: &Value, name: &str) -> Result<String> {
    let text = value.as_text().map(str::to_owned);
    text.ok_or_else(|| Error::Metadata(format!("{name} is {} and must be a text: quote it", value.describe())))
}

/// A number, also as older versions flattened it: `2.000000`.
fn threshold(value: &Value) -> Result<u8> {
    let text = match value {
        Value::Leaf(leaf) => leaf.text.expose_text(),
        _ => None,
    };
    let number = text.and_then(|text| text.parse::<f64>().ok());
    let whole = number.filter(|n| n.fract() == 0.0 && (0.0..=255.0).contains(n));
    // In range, and whole.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let threshold = whole.map(|number| number as u8);
    threshold.ok_or_else(|| Error::Metadata("shamir_threshold is not a number of groups".to_owned()))
}

fn truth(value: &Value) -> Result<bool> {
    let found = match value {
        Value::Leaf(Leaf { kind: Kind::Bool | Kind::Str | Kind::Int, text }) => match text.expose_text() {
            Some("") => Some(false),
            Some(text) => scalar::parse_bool(text),
            None => None,
        },
        _ => None,
    };
    found.ok_or_else(|| Error::Metadata("mac_only_encrypted is neither true nor false".to_owned()))
}

/// The three numbers of a version such as `3.13.1-rc.1`.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let release = version.split(['-', '+']).next()?;
    let mut parts = release.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}
