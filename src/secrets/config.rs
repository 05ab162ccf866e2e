//! `.sops.yaml`: for whom new files are encrypted, and by which rule.

use std::path::{Component, Path, PathBuf};

use regex::bytes::Regex;

use super::error::{Error, Result};
use super::metadata::{Group, Metadata};
use super::rule::{self, Written};
use super::tree::{self, Entry, Item, Kind, Value};
use super::{Layout, Recipient, yaml};
use crate::disk;

/// The file's name.
pub const NAME: &str = ".sops.yaml";

/// What a creation rule says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Creation {
    /// Who can open the file.
    pub groups: Vec<Group>,
    /// How many groups are needed.
    pub threshold: Option<u8>,
    /// Which values are encrypted.
    pub rule: Option<Written>,
    /// Whether the MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
}

impl Creation {
    /// The metadata of a new file.
    pub fn metadata(self) -> Metadata {
        Metadata::new(self.groups, self.threshold, self.rule, self.mac_only_encrypted)
    }
}

/// Finds the configuration for a file: in its folder or the nearest above.
pub fn find(file: &Path) -> Option<PathBuf> {
    let absolute = absolute(file);
    absolute.ancestors().skip(1).map(|folder| folder.join(NAME)).find(|path| disk::exists(path))
}

/// No level is deeper indented, in spaces.
const DEEPEST: i64 = 64;

/// How the configuration at `config` wants files to be laid out: `stores.yaml.indent`, and the same of `json` and
/// `json_binary`.
pub fn layout(config: &Path, text: &str) -> Result<Layout> {
    let wrong = |reason: String| Error::Config { file: config.display().to_string(), reason };
    let documents = yaml::read(text).map_err(|error| wrong(error.to_string()))?;
    let root = documents.first().map(Vec::as_slice).unwrap_or_default();
    let stores = field(root, "stores").and_then(Value::as_map).unwrap_or_default();
    let indent = |store: &str, least: i64| match field(stores, store).and_then(|store| field(store.as_map()?, "indent"))
    {
        None => Ok(None),
        Some(Value::Leaf(leaf)) if leaf.kind == Kind::Int => {
            let number = leaf.text.expose_text().and_then(|text| text.parse::<i64>().ok());
            let number = number.filter(|number| (least..=DEEPEST).contains(number));
            number.map(Some).ok_or_else(|| format!("stores.{store}.indent is not between {least} and {DEEPEST}"))
        }
        Some(_) => Err(format!("stores.{store}.indent is not a number")),
    };
    let spaces = |store| indent(store, -1).map(|number| number.and_then(|number| usize::try_from(number).ok()));
    let yaml = match indent("yaml", 0).map_err(&wrong)?.and_then(|number| usize::try_from(number).ok()) {
        None | Some(0) => Layout::default().yaml,
        // As the writer of sops does with what YAML has no sign for.
        Some(spaces) if !(2..=9).contains(&spaces) => 2,
        Some(spaces) => spaces,
    };
    Ok(Layout { yaml, json: spaces("json").map_err(&wrong)?, binary: spaces("json_binary").map_err(&wrong)? })
}

/// The creation rule of the configuration at `config` for `file`. Without one, nobody is named.
pub fn creation(config: &Path, text: &str, file: &Path) -> Result<Creation> {
    matching(config, text, file)?.ok_or_else(|| {
        let reason = format!("no creation rule's path_regex matches {}", relative(config, file).display());
        Error::Config { file: config.display().to_string(), reason }
    })
}

/// The path from the root, without `.` and `..`. As in sops, `..` takes the name before it away, also that of a link.
fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for component in whole.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// The file as `path_regex` sees it: relative to the configuration's folder.
fn relative(config: &Path, file: &Path) -> PathBuf {
    let (file, config) = (absolute(file), absolute(config));
    let folder = config.parent().unwrap_or(Path::new("/"));
    file.strip_prefix(folder).map_or_else(|_| file.clone(), Path::to_owned)
}

/// The same; nothing if no rule matches.
pub fn matching(config: &Path, text: &str, file: &Path) -> Result<Option<Creation>> {
    let wrong = |reason: String| Error::Config { file: config.display().to_string(), reason };
    let documents = yaml::read(text).map_err(|error| wrong(error.to_string()))?;
    let root = documents.first().map(Vec::as_slice).unwrap_or_default();
    let Some(Value::List(rules)) = tree::get(root, "creation_rules") else {
        return Err(wrong("it has no creation_rules".to_owned()));
    };
    let relative = relative(config, file);
    for rule in rules.iter().filter_map(Item::value) {
        let rule = rule.as_map().ok_or_else(|| wrong("a creation rule is not a map".to_owned()))?;
        let pattern = text_of(rule, "path_regex").map_err(&wrong)?.unwrap_or_default();
        let regex = Regex::new(&rule::translate(&pattern)).map_err(|error| wrong(format!("path_regex: {error}")))?;
        if regex.is_match(relative.as_os_str().as_encoded_bytes()) {
            return creation_rule(rule).map(Some).map_err(wrong);
        }
    }
    Ok(None)
}

/// What else a creation rule may have.
const KNOWN: [&str; 6] = ["path_regex", "age", "aws_profile", "key_groups", "shamir_threshold", "mac_only_encrypted"];

/// Refuses a name that is nearly a known one: without it, a rule would encrypt less, or for others. Names of other kinds
/// are left to whoever uses them, as sops does.
fn refuse_misspelt(entries: &[Entry]) -> std::result::Result<(), String> {
    let known = || KNOWN.iter().chain(&OTHERS).chain(&rule::NAMES);
    for (name, _) in entries.iter().filter_map(Entry::pair) {
        let plain = name.to_ascii_lowercase().replace('-', "_");
        let measured = known().map(|other| (strsim::damerau_levenshtein(&plain, other), other));
        let near = measured.filter(|(distance, other)| *distance <= (other.len() / 4).max(1)).min();
        if !known().any(|other| *other == name)
            && let Some((_, near)) = near
        {
            return Err(format!("a creation rule has no {name:?}; did you mean {near}?"));
        }
    }
    Ok(())
}

fn creation_rule(entries: &[Entry]) -> std::result::Result<Creation, String> {
    refuse_misspelt(entries)?;
    let mut rules = Vec::new();
    for name in rule::NAMES {
        if let Some(text) = text_of(entries, name)?.filter(|text| !text.is_empty()) {
            rules.push(Written { name, text });
        }
    }
    if rules.len() > 1 {
        return Err("a creation rule has more than one of the rules that say what is encrypted".to_owned());
    }
    let groups = match field(entries, "key_groups") {
        Some(Value::List(groups)) if !groups.is_empty() => {
            groups.iter().filter_map(Item::value).map(key_group).collect::<std::result::Result<_, _>>()?
        }
        Some(Value::List(_)) | None => vec![flat_group(entries)?],
        Some(_) => return Err("key_groups is not a list".to_owned()),
    };
    let threshold = match number_of(entries, "shamir_threshold") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| "shamir_threshold is not a number of groups".to_owned())?),
    };
    let mac_only_encrypted = match field(entries, "mac_only_encrypted") {
        None => false,
        Some(Value::Leaf(leaf)) if leaf.kind == Kind::Bool => leaf.text.expose() == b"True",
        Some(_) => return Err("mac_only_encrypted is neither true nor false".to_owned()),
    };
    Ok(Creation { groups, threshold: threshold.filter(|&n| n > 0), rule: rules.pop(), mac_only_encrypted })
}

/// The kinds of keys that rave cannot encrypt for, as configurations name them.
const OTHERS: [&str; 7] = ["pgp", "kms", "gcp_kms", "hckms", "azure_keyvault", "hc_vault", "hc_vault_transit_uri"];

fn refuse_others(entries: &[Entry]) -> std::result::Result<(), String> {
    let is_there = |name: &&&str| match field(entries, name) {
        Some(Value::List(items)) => !items.is_empty(),
        Some(value) => value.as_text() != Some(""),
        None => false,
    };
    match OTHERS.iter().find(is_there) {
        Some(name) => Err(format!("it asks for keys of {name}, and rave encrypts for age only")),
        None => Ok(()),
    }
}

fn flat_group(entries: &[Entry]) -> std::result::Result<Group, String> {
    refuse_others(entries)?;
    group_of(recipients(entries)?)
}

fn key_group(value: &Value) -> std::result::Result<Group, String> {
    fn gather(value: &Value, depth: usize, all: &mut Vec<String>) -> std::result::Result<(), String> {
        let entries = value.as_map().filter(|_| depth < 16).ok_or("a key group is not a map")?;
        refuse_others(entries)?;
        if let Some(Value::List(merged)) = field(entries, "merge") {
            merged.iter().filter_map(Item::value).try_for_each(|value| gather(value, depth + 1, all))?;
        }
        all.extend(recipients(entries)?);
        Ok(())
    }
    let mut all = Vec::new();
    gather(value, 0, &mut all)?;
    group_of(all)
}

fn group_of(recipients: Vec<String>) -> std::result::Result<Group, String> {
    for recipient in &recipients {
        Recipient::parse(recipient).map_err(|error| error.to_string())?;
    }
    Ok(Group::of(recipients))
}

/// `age`: a text with commas, or a list of such texts.
fn recipients(entries: &[Entry]) -> std::result::Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut add = |text: &str| {
        all.extend(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    };
    match field(entries, "age") {
        None => {}
        Some(Value::List(items)) => {
            for item in items.iter().filter_map(Item::value) {
                add(item.as_text().ok_or("age is not a list of texts")?);
            }
        }
        Some(value) => add(value.as_text().ok_or("age is neither a text nor a list")?),
    }
    Ok(all)
}

fn field<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Value> {
    tree::get(entries, name).filter(|value| !matches!(value, Value::Null))
}

fn text_of(entries: &[Entry], name: &str) -> std::result::Result<Option<String>, String> {
    match field(entries, name) {
        None => Ok(None),
        Some(value) => value.as_text().map(|text| Some(text.to_owned())).ok_or(format!("{name} is not a text")),
    }
}

fn number_of(entries: &[Entry], name: &str) -> Option<String> {
    match field(entries, name)? {
        Value::Leaf(leaf) if leaf.kind != Kind::Str => leaf.text.expose_text().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a";
    const TWO: &str = "age1twmqkglarzlxnal456r6w393qafehpn2dv0uwnwdm38ufkrlppqsycdn8c";

    fn find_rule(text: &str, file: &str) -> Result<Creation> {
        creation(Path::new("/p/.sops.yaml"), text, Path::new(file))
    }

    #[test]
    fn the_first_rule_that_matches_the_relative_path_counts() {
        let text = format!(
            "creation_rules:\n- path_regex: ^secrets/\n  age: '{ONE}, {TWO}'\n  encrypted_regex: ^data$\n- age: [{TWO}]\n  mac_only_encrypted: true\n"
        );
        let first = find_rule(&text, "/p/secrets/a.yaml").unwrap();
        assert_eq!(first.groups[0].age.len(), 2);
        assert_eq!(first.rule, Some(Written { name: "encrypted_regex", text: "^data$".to_owned() }));
        let other = find_rule(&text, "/p/x/secrets/a.yaml").unwrap();
        assert!(other.groups[0].age[0].recipient == TWO && other.mac_only_encrypted);
        for path in ["/p/x/../secrets/a.yaml", "/p/./secrets/b/../a.yaml", "/../p/secrets/a.yaml"] {
            assert_eq!(find_rule(&text, path).unwrap(), first, "{path}");
        }
        assert!(
            find_rule("creation_rules:\n- path_regex: x\n", "/p/a").unwrap_err().to_string().contains("path_regex")
        );
    }

    #[test]
    fn key_groups_are_merged_and_doubles_dropped() {
        let text = format!(
            "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n  - merge:\n    - age: [{ONE}]\n    age: ['{ONE},{TWO}']\n  - age: [{TWO}]\n"
        );
        let found = find_rule(&text, "/p/a").unwrap();
        let sizes: Vec<usize> = found.groups.iter().map(|group| group.age.len()).collect();
        assert_eq!((sizes, found.threshold), (vec![2, 1], Some(2)));
    }

    #[test]
    fn the_layout_is_that_of_the_stores() {
        let read = |text: &str| layout(Path::new("/p/.sops.yaml"), text);
        let of = |yaml, json, binary| Layout { yaml, json, binary };
        assert_eq!(read("creation_rules: []\n").unwrap(), Layout::default());
        let text = "stores:\n  yaml:\n    indent: 2\n  json:\n    indent: 3\n  json_binary:\n    indent: 0\n";
        assert_eq!(read(text).unwrap(), of(2, Some(3), Some(0)));
        for (number, yaml) in [("0", 4), ("1", 2), ("9", 9), ("10", 2), ("null", 4)] {
            assert_eq!(read(&format!("stores: {{yaml: {{indent: {number}}}}}\n")).unwrap().yaml, yaml, "{number}");
        }
        assert_eq!(read("stores: {json: {indent: -1}}\n").unwrap().json, None);
        for wrong in ["yaml: {indent: -1}", "json: {indent: -2}", "json: {indent: two}", "json: {indent: 99999999999}"]
        {
            let error = read(&format!("stores: {{{wrong}}}\n")).unwrap_err().to_string();
            assert!(error.contains("indent"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for rule in [
            "age: nonsense",
            "pgp: ABCD",
            "encrypted_regex: a\n  encrypted_suffix: b",
            "key_groups: 1",
            "encrypted_regx: a",
            "Encrypted-Regex: a",
            "path_regx: a",
            "agee: a",
            "unencrypted_sufix: b",
            "mac_only_encrypted: 'yes'",
        ] {
            let text = format!("creation_rules:\n- {rule}\n");
            assert!(matches!(find_rule(&text, "/p/a"), Err(Error::Config { .. })), "{rule}");
        }
        let said = find_rule("creation_rules:\n- encrypted_regx: a\n", "/p/a").unwrap_err().to_string();
        assert!(said.contains("\"encrypted_regx\"; did you mean encrypted_regex?"), "{said}");
        assert!(find_rule(&format!("creation_rules:\n- age: {ONE}\n  owner: me\n"), "/p/a").is_ok());
        assert!(find_rule("a: 1\n", "/p/a").is_err() && find_rule("- 1\n", "/p/a").is_err());
    }
}
