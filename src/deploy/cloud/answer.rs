//! What a provider's tool answers. It comes over a network from programs that are not ours: it is read strictly, within bounds.

use std::collections::BTreeMap;

use serde_json::Value;

use super::declared::short;
use super::{Registered, tag};

/// The longest answer that is read, in bytes.
pub const LONGEST: usize = 8 << 20;
/// The longest word, in bytes.
const WORD: usize = 256;
/// No project has more machines or images of rave's.
const MOST: usize = 10_000;

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not what it answers: {0}")]
pub struct Bad(pub String);

fn bad<T>(reason: impl Into<String>) -> Result<T, Bad> {
    Err(Bad(reason.into()))
}

/// An instance that rave has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What the provider calls it.
    pub id: String,
    /// What state it is in, in the provider's words.
    pub state: String,
    /// Whether it runs, or is about to.
    pub runs: bool,
    /// Its public address.
    pub public: Option<String>,
    /// Its address in the subnet.
    pub private: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Instance {
    /// A tag.
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }

    /// Image and version, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.tag(tag::IMAGE), self.tag(tag::VERSION))
    }

    /// Whether the six stages have found it well.
    pub fn is_well(&self) -> bool {
        self.tag(tag::STATE) == tag::WELL
    }
}

/// One line that is a word or two; none if there is nothing. AWS writes `None` for nothing.
pub fn word(answer: &[u8]) -> Result<Option<String>, Bad> {
    Ok(words(answer)?.into_iter().next())
}

/// Lines, each a word or two.
pub fn words(answer: &[u8]) -> Result<Vec<String>, Bad> {
    let text = text(answer)?;
    let mut words = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "None") {
        words.push(checked(line)?);
        if words.len() > MOST {
            return bad("too many lines");
        }
    }
    Ok(words)
}

fn text(answer: &[u8]) -> Result<&str, Bad> {
    if answer.len() > LONGEST {
        return bad("it is too long");
    }
    std::str::from_utf8(answer).or_else(|_| bad("it is not UTF-8"))
}

/// A name, a state or an address: what follows may use it as a word of a call.
fn checked(text: &str) -> Result<String, Bad> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/ ".contains(c);
    if text.len() > WORD || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(plain) {
        return bad(format!("{:?}", text.chars().take(40).collect::<String>()));
    }
    Ok(text.to_owned())
}

/// A list of maps. Tools print nothing for an empty one.
fn list(answer: &[u8]) -> Result<Vec<Value>, Bad> {
    if text(answer)?.trim().is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_slice(answer) {
        Ok(Value::Array(list)) if list.len() <= MOST => Ok(list),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(_) => bad("no list"),
        Err(error) => bad(error.to_string()),
    }
}

fn needed(value: &Value, key: &str) -> Result<String, Bad> {
    match value.get(key) {
        Some(Value::String(text)) => checked(text),
        _ => bad(format!("there is no {key}")),
    }
}

/// An address, if there is one. Azure writes several with commas between.
fn address(value: Option<&Value>) -> Result<Option<String>, Bad> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match text.split(',').next().unwrap_or_default().trim() {
            "" => Ok(None),
            first => first.parse::<std::net::IpAddr>().map(|ip| Some(ip.to_string())).or_else(|e| bad(e.to_string())),
        },
        Some(_) => bad("an address is no text"),
    }
}

/// What a tag says: it is shown and compared, and never part of a call.
fn tag_value(key: &str, value: &Value) -> Result<String, Bad> {
    let text = value.as_str().filter(|text| text.len() <= WORD && !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| Bad(format!("the tag {key}")))
}

/// Tags as a map, or as a list of `Key` and `Value`. Others' tags may say anything; only rave's are taken.
fn tags(value: Option<&Value>) -> Result<BTreeMap<String, String>, Bad> {
    let mut tags = BTreeMap::new();
    let mut take = |key: &str, value: &Value| -> Result<(), Bad> {
        if key.starts_with(super::PREFIX) {
            tags.insert(key.to_owned(), tag_value(key, value)?);
        }
        Ok(())
    };
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => map.iter().try_for_each(|(key, value)| take(key, value))?,
        Some(Value::Array(list)) => {
            for tag in list {
                let key = tag.get("Key").and_then(Value::as_str).ok_or_else(|| Bad("a tag without a key".into()))?;
                take(key, tag.get("Value").unwrap_or(&Value::Null))?;
            }
        }
        Some(_) => return bad("tags"),
    }
    Ok(tags)
}

/// Instances as maps of `id`, `state`, `public`, `private` and `tags`; `states` are those in which they run or can again.
pub fn flat(answer: &[u8], states: &[(&str, bool)]) -> Result<Vec<Instance>, Bad> {
    let read = |value: &Value| {
        let state = match value.get("state") {
            // Azure knows none of a machine that it is still making.
            Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text.is_empty() => String::new(),
            _ => needed(value, "state")?,
        };
        Ok(Instance {
            id: needed(value, "id")?,
            runs: states.iter().any(|(name, runs)| *runs && *name == state),
            state,
            public: address(value.get("public"))?,
            private: address(value.get("private"))?,
            tags: tags(value.get("tags"))?,
        })
    };
    list(answer)?.iter().map(read).collect()
}

/// Instances as Compute Engine describes them. The version is in the description.
pub fn gcp(answer: &[u8]) -> Result<Vec<Instance>, Bad> {
    let read = |value: &Value| {
        let state = needed(value, "status")?;
        let card = value.pointer("/networkInterfaces/0");
        let mut tags = tags(value.get("labels"))?;
        if let Some(version) = value.get("description").filter(|_| !tags.is_empty()) {
            tags.insert(tag::VERSION.to_owned(), tag_value(tag::VERSION, version)?);
        }
        Ok(Instance {
            id: needed(value, "name")?,
            runs: ["PROVISIONING", "STAGING", "RUNNING"].contains(&state.as_str()),
            state,
            public: address(card.and_then(|card| card.pointer("/accessConfigs/0/natIP")))?,
            private: address(card.and_then(|card| card.get("networkIP")))?,
            tags,
        })
    };
    list(answer)?.iter().map(read).collect()
}

/// Images by name, and by id where that is something else. Those that no rave has named are left out.
pub fn images(answer: &[u8], image: &str) -> Result<Vec<Registered>, Bad> {
    let prefix = format!("{}{image}-", super::PREFIX);
    let read = |value: &Value| {
        let name = needed(value, "name")?;
        let id = if value.get("id").is_some() { needed(value, "id")? } else { name.clone() };
        let parts = name.strip_prefix(&prefix).and_then(disk_of);
        Ok(parts.map(|(disk, gib)| Registered { id, name: name.clone(), disk, gib }))
    };
    list(answer)?.iter().filter_map(|value| read(value).transpose()).collect()
}

/// What was uploaded to become an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// What the provider calls it.
    pub found: String,
    /// The name of that image.
    pub name: String,
    /// Whether others may be at it: only a note tells that this host has begun it.
    pub is_anybodys: bool,
}

/// What was uploaded to become an image of `image`, by the name of that image. What no rave has named is left out.
pub fn uploads(answer: &[u8], image: &str) -> Result<Vec<Uploaded>, Bad> {
    let prefix = format!("{}{image}-", super::PREFIX);
    let read = |found: String| {
        let name = found.split_once('.')?.0.to_owned();
        name.strip_prefix(&prefix).and_then(disk_of).map(|_| Uploaded { found, name, is_anybodys: false })
    };
    Ok(words(answer)?.into_iter().filter_map(read).collect())
}

/// The same of snapshots, each as its id, its state, and the digest and the size that it is tagged with. One in the state
/// `error` was given up by the provider, so that nobody is at it.
pub fn snapshots(answer: &[u8], image: &str) -> Result<Vec<Uploaded>, Bad> {
    let read = |line: &String| {
        let parts: Vec<&str> = line.split(' ').collect();
        let [id, state, disk, gib] = parts.as_slice() else { return None };
        let end = format!("{}-{gib}g", short(disk, super::IN_NAME));
        // The note on it has its name.
        let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        disk_of(&end).filter(|_| is_id)?;
        let name = format!("{}{image}-{end}", super::PREFIX);
        Some(Uploaded { found: (*id).to_owned(), name, is_anybodys: *state != "error" })
    };
    Ok(words(answer)?.iter().filter_map(read).collect())
}

/// Digest and size in the end of an image's name, if that is what it is.
fn disk_of(end: &str) -> Option<(String, Option<String>)> {
    let (digest, gib) = match end.split_once('-') {
        Some((digest, size)) => (digest, Some(size.strip_suffix('g')?)),
        None => (end, None),
    };
    let is_digest = digest.len() == super::IN_NAME && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_size = gib.is_none_or(|gib| !gib.is_empty() && gib.bytes().all(|byte| byte.is_ascii_digit()));
    (is_digest && is_size).then(|| (digest.to_owned(), gib.map(str::to_owned)))
}

/// The SSH host key that a machine has shown on its console: the last one, for it may have been another machine's disk.
pub fn host_key(console: &[u8]) -> Option<String> {
    const KIND: &str = "ssh-ed25519 ";
    let text = String::from_utf8_lossy(console.get(console.len().saturating_sub(LONGEST)..).unwrap_or_default());
    let key = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).unwrap_or(rest.len());
        ssh_key::PublicKey::from_openssh(&format!("{KIND}{}", rest.get(..end)?)).ok()?.to_openssh().ok()
    };
    text.split(KIND).skip(1).filter_map(key).last()
}
