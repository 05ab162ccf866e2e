//! The secrets of one machine, by name: gathered from the project's files, encrypted once more for the deployment's
//! recipients into one file, and opened inside the machine. Nothing here touches the host.
//!
//! The file is one of SOPS in JSON. Its top level has each secret under its name, UTF-8 as a text, other bytes as
//! `{"base64": "..."}`. The entry `_sealed`, which no secret can be called, is not encrypted: it names the files that
//! the values came from, each with a fingerprint, so that whoever has no identity can tell whether they changed.
//! A fingerprint is the digest of a file's encrypted MAC: it changes with every edit, and says nothing of values.
//!
//! ```
//! use std::collections::BTreeMap;
//! use rave::secrets::{Group, Identities, Secret, deploy, identity};
//!
//! let machine = identity::generate(false)?;
//! let values = BTreeMap::from([("db-password".to_owned(), Secret::from("hunter2"))]);
//! let groups = [Group::of([machine.recipient])];
//! let sealing = deploy::Sealing { values: &values, groups: &groups, threshold: None, sources: &BTreeMap::new() };
//! let ciphertext = deploy::seal(&sealing, None, &Identities::default(), jiff::Timestamp::now())?;
//! // In the machine, with what came as a credential:
//! let identities = Identities::parse("credential", machine.identity.expose())?;
//! assert_eq!(deploy::open(&ciphertext, &identities)?, values);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::file::{File, Mac, Opened};
use super::identity::Identities;
use super::metadata::{Group, Metadata};
use super::tree::{self, Document, Entry, Value};
use super::{Format, Secret, rule};
use crate::digest::Digest;
use crate::system::{self, OnChange, SecretKind};

/// Where the image has the file.
pub const SEALED: &str = "/usr/share/rave/secrets/sealed.json";
/// Where the image says what becomes of each secret: see [`Need`].
pub const NEEDS: &str = "/usr/share/rave/secrets/needs.json";

/// The entry that is not encrypted.
const RECORD: &str = "_sealed";
const SOURCES: &str = "sources";
/// The key that bytes stand under which are no text.
const BYTES: &str = "base64";

/// What is sealed, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Sealing<'a> {
    /// Values by name.
    pub values: &'a BTreeMap<String, Secret>,
    /// Who can open the file.
    pub groups: &'a [Group],
    /// How many groups are needed, where there are several; nothing for all of them.
    pub threshold: Option<u8>,
    /// The files that the values came from, with their [`fingerprint`].
    pub sources: &'a BTreeMap<String, String>,
}

/// What can be told of a sealed file without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The names of its secrets.
    pub names: BTreeSet<String>,
    /// The files that the values came from, with the fingerprints they had.
    pub sources: BTreeMap<String, String>,
    /// Who can open it: recipients by key group, and how many groups that takes.
    pub access: Access,
}

/// Recipients by key group, and how many groups are needed.
pub type Access = (Vec<BTreeSet<String>>, usize);

/// What becomes of a secret in a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// What it is.
    pub kind: SecretKind,
    /// Owning user, by name or number.
    pub owner: String,
    /// Owning group, by name or number.
    pub group: String,
    /// Permission bits in octal, such as `0400`.
    pub mode: String,
    /// Units that need it.
    pub units: BTreeSet<String>,
    /// What happens to these units when it changes.
    pub on_change: OnChange,
}

/// What an image asks for, as JSON: an object of [`Need`]s by name.
pub fn needs(secrets: &BTreeMap<String, system::Secret>) -> serde_json::Result<Vec<u8>> {
    let need = |secret: &system::Secret| Need {
        kind: secret.kind,
        owner: secret.owner.clone(),
        group: secret.group.clone(),
        mode: format!("{:04o}", secret.mode),
        units: secret.units.clone(),
        on_change: secret.on_change,
    };
    let needs: BTreeMap<&String, Need> = secrets.iter().map(|(name, secret)| (name, need(secret))).collect();
    let mut bytes = serde_json::to_vec_pretty(&needs)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads what [`needs`] wrote.
pub fn read_needs(bytes: &[u8]) -> serde_json::Result<BTreeMap<String, Need>> {
    serde_json::from_slice(bytes)
}

/// What tells one state of a file from another without telling of its values.
pub fn fingerprint(file: &File) -> String {
    Digest::of(file.metadata.mac.as_bytes()).to_string()
}

/// Who can open a file with these groups.
pub fn access(groups: &[Group], threshold: Option<u8>) -> Access {
    let names = |group: &Group| group.age.iter().map(|key| key.recipient.clone()).collect();
    let needed = if groups.len() > 1 { threshold.map_or(groups.len(), usize::from) } else { 1 };
    (groups.iter().map(names).collect(), needed)
}

/// Those who open less with `had` than with `wanted`: a recipient who is missing, or from one of several key groups.
pub fn locked_out<'a>(had: &Access, wanted: &'a Access) -> BTreeSet<&'a str> {
    let shares = |access: &Access, name: &String| access.0.iter().filter(|group| group.contains(name)).count();
    let lacks = |name: &&String| had.1 > wanted.1 || shares(had, name) < shares(wanted, name);
    wanted.0.iter().flatten().filter(lacks).map(String::as_str).collect()
}

/// Those who have a part in `had` and none in `wanted`.
pub fn unnamed<'a>(had: &'a Access, wanted: &Access) -> BTreeSet<&'a str> {
    let named = |name: &String| wanted.0.iter().any(|group| group.contains(name));
    had.0.iter().flatten().filter(|name| !named(name)).map(String::as_str).collect()
}

/// Encrypts named values. A file that was there before keeps its bytes where one of the identities opens it and it says the
/// same to the same recipients. Otherwise all of it is encrypted anew: age does not tell who has encrypted, so whoever can
/// change the file may have chosen its data key; and who can no longer open the new one must not know its key.
pub fn seal(
    sealing: &Sealing<'_>,
    before: Option<&[u8]>,
    identities: &Identities,
    now: jiff::Timestamp,
) -> Result<Vec<u8>> {
    let document = document(sealing);
    if let Some(before) = before.filter(|before| says(sealing, &document, before, identities)) {
        return Ok(before.to_vec());
    }
    let metadata = Metadata::new(sealing.groups.to_vec(), sealing.threshold, Some(plain_record()), false);
    Opened::create(Format::Json, vec![document], metadata, identities.prompt())?.seal(now)
}

/// Whether the file that was there before says this already, to the same recipients.
fn says(sealing: &Sealing<'_>, document: &Document, before: &[u8], identities: &Identities) -> bool {
    let Ok(file) = File::read(Format::Json, before) else { return false };
    let had = access(&file.metadata.groups, file.metadata.threshold);
    let is_as_wanted = had == access(sealing.groups, sealing.threshold)
        && file.metadata.rule == Some(plain_record())
        && !file.metadata.mac_only_encrypted;
    let opened = is_as_wanted.then(|| file.open(identities, Mac::Check));
    matches!(opened, Some(Ok(opened)) if opened.documents.as_slice() == std::slice::from_ref(document))
}

/// All is encrypted but the record.
fn plain_record() -> rule::Written {
    rule::Written { name: "unencrypted_regex", text: format!("^{RECORD}$") }
}

fn document(sealing: &Sealing<'_>) -> Document {
    let value = |secret: &Secret| match secret.expose_text() {
        Some(_) => Value::str(secret.clone()),
        None => Value::Map(vec![Entry::Pair(BYTES.to_owned(), Value::str(BASE64_STANDARD.encode(secret.expose())))]),
    };
    let mut document: Document =
        sealing.values.iter().map(|(name, secret)| Entry::Pair(name.clone(), value(secret))).collect();
    let sources = sealing.sources.iter().map(|(file, mac)| Entry::Pair(file.clone(), Value::str(mac.as_str())));
    let record = vec![Entry::Pair(SOURCES.to_owned(), Value::Map(sources.collect()))];
    document.push(Entry::Pair(RECORD.to_owned(), Value::Map(record)));
    document
}

/// What a sealed file says to everybody. Not authenticated: good for telling that it is out of date, and no more.
pub fn about(bytes: &[u8]) -> Result<About> {
    super::file::limit(Format::Json, bytes)?;
    let (documents, metadata) = Format::Json.read_encrypted(bytes)?;
    let metadata = Metadata::read(&metadata)?;
    let document = documents.first().map(Vec::as_slice).unwrap_or_default();
    let pairs = || document.iter().filter_map(Entry::pair);
    let record = tree::get(document, RECORD).and_then(Value::as_map).unwrap_or_default();
    let sources = tree::get(record, SOURCES).and_then(Value::as_map).unwrap_or_default();
    let source = |(file, mac): (&str, &Value)| Some((file.to_owned(), mac.as_text()?.to_owned()));
    Ok(About {
        names: pairs().map(|(name, _)| name.to_owned()).filter(|name| name != RECORD).collect(),
        sources: sources.iter().filter_map(Entry::pair).filter_map(source).collect(),
        access: access(&metadata.groups, metadata.threshold),
    })
}

/// Opens what [`seal`] made.
pub fn open(bytes: &[u8], identities: &Identities) -> Result<BTreeMap<String, Secret>> {
    let opened = File::read(Format::Json, bytes)?.open(identities, Mac::Check)?;
    let entries = opened.documents.iter().flatten().filter_map(Entry::pair).filter(|(name, _)| *name != RECORD);
    entries.map(|(name, value)| Ok((name.to_owned(), value_of(name, value)?))).collect()
}

fn value_of(name: &str, value: &Value) -> Result<Secret> {
    let wrong = |what: &str| Error::Path(format!("{name} is {what}, and must be a text, or bytes below `{BYTES}`"));
    match value {
        Value::Leaf(leaf) => Ok(leaf.text.clone()),
        Value::Map(entries) => {
            let text = tree::get(entries, BYTES).and_then(Value::as_text);
            let text = text.filter(|_| entries.len() == 1).ok_or_else(|| wrong("a map"))?;
            let mut bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| wrong("not base64"))?);
            Ok(Secret::new(std::mem::take(&mut *bytes)))
        }
        other => Err(wrong(other.describe())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::{New, generate};
    use super::*;

    fn identities(new: &[&New]) -> Identities {
        let mut all = Identities::default();
        new.iter().for_each(|new| all.add("x", new.identity.expose()).unwrap());
        all
    }

    fn values() -> BTreeMap<String, Secret> {
        BTreeMap::from([
            ("db_unencrypted".to_owned(), Secret::from("hunter2")),
            ("blob".to_owned(), Secret::from(&b"\x00\xff"[..])),
            ("nothing".to_owned(), Secret::from("")),
        ])
    }

    fn sealed(values: &BTreeMap<String, Secret>, to: &[&New], before: Option<&[u8]>, own: &[&New], at: i64) -> Vec<u8> {
        let groups = [Group::of(to.iter().map(|new| new.recipient.clone()))];
        let sources = BTreeMap::from([("secrets/web.yaml".to_owned(), "aa".to_owned())]);
        let sealing = Sealing { values, groups: &groups, threshold: None, sources: &sources };
        seal(&sealing, before, &identities(own), jiff::Timestamp::from_second(at).unwrap()).unwrap()
    }

    #[test]
    fn who_has_less_than_they_should_is_locked_out() {
        let of = |groups: &[&[&str]], needed| -> Access {
            (groups.iter().map(|group| group.iter().map(|name| (*name).to_owned()).collect()).collect(), needed)
        };
        let check = |had: &Access, wanted: &Access, locked: &[&str], extra: &[&str]| {
            assert_eq!(locked_out(had, wanted), locked.iter().copied().collect());
            assert_eq!(unnamed(had, wanted), extra.iter().copied().collect());
        };
        check(&of(&[&["a", "b"]], 1), &of(&[&["b", "a"]], 1), &[], &[]);
        check(&of(&[&["a", "x"]], 1), &of(&[&["a", "b"]], 1), &["b"], &["x"]);
        let groups = of(&[&["a", "b"], &["b", "c"]], 2);
        check(&groups, &groups, &[], &[]);
        check(&of(&[&["a"], &["b", "c"]], 2), &groups, &["b"], &[]);
        check(&of(&[&["a", "b"], &["b", "c"]], 3), &groups, &["a", "b", "c"], &[]);
    }

    /// The ciphertext of a secret.
    fn ciphertext(bytes: &[u8], name: &str) -> String {
        serde_json::from_slice::<serde_json::Value>(bytes).unwrap()[name].to_string()
    }

    #[test]
    fn each_recipient_opens_the_file_and_nobody_else() {
        let (one, two, other) = (generate(false).unwrap(), generate(false).unwrap(), generate(false).unwrap());
        let bytes = sealed(&values(), &[&one, &two], None, &[], 1);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("AP8="), "{text}");
        for new in [&one, &two] {
            assert_eq!(open(&bytes, &identities(&[new])).unwrap(), values());
        }
        assert!(matches!(open(&bytes, &identities(&[&other])), Err(Error::Locked(_))));
        let nobody = Sealing { values: &values(), groups: &[], threshold: None, sources: &BTreeMap::new() };
        let refused = seal(&nobody, None, &Identities::default(), jiff::Timestamp::now());
        assert!(matches!(refused, Err(Error::NoRecipients)));
        let about = about(&bytes).unwrap();
        assert_eq!(about.names, ["blob", "db_unencrypted", "nothing"].map(str::to_owned).into());
        assert_eq!(about.sources["secrets/web.yaml"], "aa");
        assert_eq!(about.access.0[0], [one.recipient, two.recipient].into());
    }

    #[test]
    fn what_did_not_change_keeps_its_bytes() {
        let one = generate(false).unwrap();
        let first = sealed(&values(), &[&one], None, &[], 1);
        assert_eq!(sealed(&values(), &[&one], Some(&first), &[&one], 2), first);
    }

    /// Whoever lost access, and whoever has put a file there with a key of their own, must not know the new one.
    #[test]
    fn what_changed_is_encrypted_with_a_new_key() {
        let (one, two) = (generate(false).unwrap(), generate(false).unwrap());
        let first = sealed(&values(), &[&one, &two], None, &[], 1);
        let mut changed = values();
        changed.insert("nothing".to_owned(), Secret::from("something"));
        for (values, to) in [(&changed, &[&one, &two][..]), (&values(), &[&one])] {
            let second = sealed(values, to, Some(&first), &[&one], 2);
            assert_ne!(ciphertext(&second, "blob"), ciphertext(&first, "blob"));
            assert_eq!(&open(&second, &identities(&[&one])).unwrap(), values);
            assert_eq!(open(&second, &identities(&[&two])).is_ok(), to.len() == 2);
        }
    }

    #[test]
    fn a_file_that_somebody_changed_is_made_anew() {
        let one = generate(false).unwrap();
        let first = sealed(&values(), &[&one], None, &[], 1);
        // The MAC covers values that are not encrypted, but no names.
        let text = String::from_utf8(first.clone()).unwrap();
        let changed = text.replace(": \"aa\"", ": \"bb\"");
        assert_ne!(changed, text);
        assert!(open(changed.as_bytes(), &identities(&[&one])).is_err());
        let moved = text.replace("secrets/web.yaml", "secrets/bad.yaml");
        for before in [changed.as_bytes(), moved.as_bytes(), b"{}", b"", b"\xff"] {
            let second = sealed(&values(), &[&one], Some(before), &[&one], 2);
            assert_eq!(open(&second, &identities(&[&one])).unwrap(), values());
        }
    }

    #[test]
    fn what_an_image_needs_reads_back() {
        let secret = system::Secret {
            kind: SecretKind::TlsKey,
            owner: "www-data".into(),
            group: "0".into(),
            mode: 0o440,
            units: ["nginx.service".to_owned()].into(),
            on_change: OnChange::Reload,
            description: "x".into(),
            option: "a.b".parse().unwrap(),
        };
        let bytes = needs(&BTreeMap::from([("key".to_owned(), secret)])).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            value["key"],
            serde_json::json!({"kind": "tls-key", "owner": "www-data", "group": "0",
            "mode": "0440", "units": ["nginx.service"], "on_change": "reload"})
        );
        assert_eq!(read_needs(&bytes).unwrap()["key"].on_change, OnChange::Reload);
    }
}
