//! What is compared of an image, evaluated or built, and how two of them differ. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::debian::Lock;
use crate::digest::Digest;
use crate::images::Manifest;
use crate::images::erofs::FileRecord;
use crate::system::{Expect, OptionValue, System};
use crate::tree::{Content, Entry};

/// What is known of one side. What a side cannot know is not compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Values by option, each with who set it.
    pub options: BTreeMap<String, OptionValue>,
    /// Versions by package, where there is a lock or a build.
    pub packages: Option<BTreeMap<String, String>>,
    /// Packages that modules and image ask for; a build does not know.
    pub requested: Option<BTreeSet<String>>,
    /// Files by path.
    pub files: BTreeMap<String, File>,
    /// Whether these are all files, also those of packages.
    pub is_whole: bool,
    /// Units that must be active.
    pub units: BTreeSet<String>,
    /// Sockets that may listen: `open` to all, or `local`.
    pub ports: BTreeMap<String, &'static str>,
    /// Words of the kernel command line, without what a build adds.
    pub cmdline: BTreeSet<String>,
    /// Users by name; a build does not know.
    pub users: Option<BTreeMap<String, Value>>,
    /// Bytes, of a build.
    pub sizes: BTreeMap<String, u64>,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// `file`, `link`, `directory` or `absent`.
    pub kind: &'static str,
    /// Digest of a file's content.
    pub digest: Option<Digest>,
    /// Target of a link.
    pub link: Option<String>,
    /// Permission bits in octal; links have none of their own.
    pub mode: Option<String>,
    /// Owner and group by name, which a build does not know.
    pub owner: Option<String>,
    /// Owner and group by number, which only a build knows.
    pub ids: Option<String>,
    /// Content, where it is at hand and text.
    pub text: Option<String>,
}

/// One thing that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What kind of thing: `options`, `packages`, `files` ...
    pub section: &'static str,
    /// Which one.
    pub name: String,
    /// What it was; nothing if it is new.
    pub old: Option<Value>,
    /// What it is; nothing if it is gone.
    pub new: Option<Value>,
    /// Where the new value was set, or the old one if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
}

impl Facts {
    /// Those of an evaluated image, with its lock if it has one.
    pub fn of_system(system: System, lock: Option<&Lock>) -> Self {
        let ships = |name| !system.build_only.contains(name);
        let packages = lock.map(|lock| {
            let shipped = lock.packages.iter().filter(|package| ships(&package.name));
            shipped.map(|package| (package.name.to_string(), package.version.clone())).collect()
        });
        let users = system.users.iter().map(|(name, user)| {
            (name.clone(), json!({"uid": user.uid, "group": user.group, "groups": user.groups, "shell": user.shell}))
        });
        Self {
            packages,
            requested: Some(system.packages.iter().map(ToString::to_string).collect()),
            users: Some(users.collect()),
            files: system.tree.iter().map(|(path, entry)| (path.to_string(), File::of_entry(entry))).collect(),
            cmdline: system.cmdline.iter().cloned().collect(),
            ..Self::common(system.options.into_iter().map(|(name, value)| (name.to_string(), value)), &system.expect)
        }
    }

    /// Those of a built image.
    pub fn of_manifest(manifest: Manifest) -> Self {
        let words = manifest.cmdline.split_whitespace().filter(|word| !word.starts_with("roothash="));
        let mut sizes: BTreeMap<String, u64> =
            manifest.partitions.iter().map(|partition| (partition.label.clone(), partition.content.size)).collect();
        sizes.extend([
            ("disk".to_owned(), manifest.disk.size),
            ("uki".to_owned(), manifest.uki.size),
            ("initrd".to_owned(), manifest.initrd.size),
        ]);
        let packages = manifest.packages.iter().map(|(name, version)| (name.to_string(), version.clone()));
        Self {
            packages: Some(packages.collect()),
            files: manifest.files.iter().map(|(path, record)| (path.clone(), File::of_record(record))).collect(),
            is_whole: true,
            cmdline: words.map(str::to_owned).collect(),
            sizes,
            ..Self::common(
                manifest.options.into_iter().map(|(name, value)| (name.to_string(), value)),
                &manifest.expect,
            )
        }
    }

    fn common(options: impl Iterator<Item = (String, OptionValue)>, expect: &Expect) -> Self {
        let open = expect.open.keys().map(|port| (port.clone(), "open"));
        let local = expect.local.keys().map(|port| (port.clone(), "local"));
        Self {
            options: options.collect(),
            units: expect.units.keys().cloned().collect(),
            ports: local.chain(open).collect(),
            ..Self::default()
        }
    }
}

impl File {
    fn of_entry(entry: &Entry) -> Self {
        let owner = Some(format!("{}:{}", entry.owner, entry.group));
        let mode = Some(format!("{:04o}", entry.mode));
        match &entry.content {
            Content::File(bytes) => {
                let text = String::from_utf8(bytes.clone()).ok();
                Self { kind: "file", digest: Some(Digest::of(bytes)), mode, owner, text, ..Self::default() }
            }
            Content::Directory => Self { kind: "directory", mode, owner, ..Self::default() },
            Content::Symlink(target) => Self { kind: "link", link: Some(target.clone()), ..Self::default() },
            Content::Absent => Self { kind: "absent", ..Self::default() },
        }
    }

    fn of_record(record: &FileRecord) -> Self {
        let kind = match record {
            FileRecord { link: Some(_), .. } => "link",
            FileRecord { sha256: Some(_), .. } => "file",
            _ => "directory",
        };
        let mode = (kind != "link").then(|| record.mode.clone());
        let ids = (kind != "link").then(|| format!("{}:{}", record.owner.0, record.owner.1));
        Self { kind, digest: record.sha256, link: record.link.clone(), mode, ids, ..Self::default() }
    }

    /// What a person is told of it beside `other`: nothing that only one side can know.
    fn shown(&self, other: Option<&Self>) -> Value {
        let what = match (&self.link, self.digest) {
            (Some(target), _) => format!("link to {target}"),
            (None, Some(digest)) => format!("file {}", digest.short()),
            (None, None) => self.kind.to_owned(),
        };
        let both = |field: fn(&Self) -> &Option<String>| {
            let known = other.is_none_or(|other| field(other).is_some() || other.kind != self.kind);
            field(self).as_ref().filter(|_| known)
        };
        let more = [both(|file| &file.mode), both(|file| &file.owner), both(|file| &file.ids)].into_iter().flatten();
        json!(more.fold(what, |text, more| format!("{text} {more}")))
    }

    fn is_same(&self, other: &Self) -> bool {
        let both = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        (self.kind, self.digest, &self.link) == (other.kind, other.digest, &other.link)
            && both(&self.mode, &other.mode)
            && both(&self.owner, &other.owner)
            && both(&self.ids, &other.ids)
    }
}

/// All differences, by section and name.
pub fn compare(a: &Facts, b: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut of = |section, name: &str, old: Option<Value>, new: Option<Value>, set_by: Option<String>| {
        found.push(Difference { section, name: name.to_owned(), old, new, set_by });
    };
    for (name, old, new) in pairs(&a.options, &b.options) {
        let set_by = new.or(old).map(|set| set.origin.clone());
        for Difference { name, old, new, .. } in values(name, old.map(|set| &set.value), new.map(|set| &set.value)) {
            of("options", &name, old, new, set_by.clone());
        }
    }
    match (&a.packages, &b.packages, &a.requested, &b.requested) {
        (Some(old), Some(new), ..) => maps("packages", old, new, &mut of),
        (_, _, Some(old), Some(new)) => sets("packages", old, new, &mut of),
        _ => {}
    }
    for (name, old, new) in pairs(&a.files, &b.files) {
        // What only the whole of the other side has may come from packages.
        let unknown = (old.is_none() && b.is_whole && !a.is_whole) || (new.is_none() && a.is_whole && !b.is_whole);
        let gone = |file: Option<&File>| file.is_none_or(|file| file.kind == "absent");
        let same = match (old, new) {
            (Some(old), Some(new)) => old.is_same(new),
            _ => a.is_whole != b.is_whole && gone(old) && gone(new),
        };
        if !unknown && !same {
            of("files", name, old.map(|file| file.shown(new)), new.map(|file| file.shown(old)), None);
        }
    }
    sets("units", &a.units, &b.units, &mut of);
    maps("ports", &a.ports, &b.ports, &mut of);
    sets("cmdline", &a.cmdline, &b.cmdline, &mut of);
    if let (Some(old), Some(new)) = (&a.users, &b.users) {
        maps("users", old, new, &mut of);
    }
    if !a.sizes.is_empty() && !b.sizes.is_empty() {
        maps("sizes", &a.sizes, &b.sizes, &mut of);
    }
    found
}

/// What differs in two values of an option: of records on both sides only those keys, named as an image would.
fn values(name: &str, old: Option<&Value>, new: Option<&Value>) -> Vec<Difference> {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().flat_map(|key| values(&format!("{name}.{key}"), old.get(key), new.get(key))).collect()
        }
        (old, new) if old != new => {
            let (name, old, new) = (name.to_owned(), old.cloned(), new.cloned());
            vec![Difference { section: "options", name, old, new, set_by: None }]
        }
        _ => Vec::new(),
    }
}

/// The entries of two maps by name.
fn pairs<'a, V>(
    a: &'a BTreeMap<String, V>,
    b: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a str, Option<&'a V>, Option<&'a V>)> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().map(|name| (name.as_str(), a.get(name), b.get(name)))
}

type Take<'a> = dyn FnMut(&'static str, &str, Option<Value>, Option<Value>, Option<String>) + 'a;

fn maps<V: Serialize + PartialEq>(
    section: &'static str,
    a: &BTreeMap<String, V>,
    b: &BTreeMap<String, V>,
    take: &mut Take<'_>,
) {
    for (name, old, new) in pairs(a, b).filter(|(_, old, new)| old != new) {
        take(section, name, old.map(|old| json!(old)), new.map(|new| json!(new)), None);
    }
}

fn sets(section: &'static str, a: &BTreeSet<String>, b: &BTreeSet<String>, take: &mut Take<'_>) {
    for name in a.symmetric_difference(b) {
        let here = |set: &BTreeSet<String>| set.contains(name).then_some(Value::Bool(true));
        take(section, name, here(a), here(b), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::of_entry(&Entry::file(text, 0o644))
    }

    fn told(a: &Facts, b: &Facts) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        compare(a, b).iter().map(|d| format!("{} {} {} {}", d.section, d.name, text(&d.old), text(&d.new))).collect()
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let set = |value: i32| OptionValue { value: value.into(), origin: format!("a.yaml:{value}:1") };
        let map = |name: &str, version: &str| Some(BTreeMap::from([(name.to_owned(), version.to_owned())]));
        let a = Facts {
            options: [("x".into(), set(1)), ("y".into(), set(1))].into(),
            packages: map("jq", "1"),
            files: [("/a".into(), file("1")), ("/b".into(), file("1"))].into(),
            units: ["a.service".into()].into(),
            ports: [("tcp/22".into(), "open")].into(),
            ..Facts::default()
        };
        let b = Facts {
            options: [("x".into(), set(2)), ("y".into(), set(1))].into(),
            packages: map("jq", "2"),
            files: [("/a".into(), file("2")), ("/c".into(), file("1"))].into(),
            ports: [("tcp/22".into(), "local"), ("udp/1".into(), "open")].into(),
            ..Facts::default()
        };
        assert_eq!(told(&a, &a), [""; 0]);
        let short = |text: &str| format!("\"file {} 0644 root:root\"", Digest::of(text.as_bytes()).short());
        let (one, two) = (short("1"), short("2"));
        let wanted = [
            "options x 1 2".to_owned(),
            "packages jq \"1\" \"2\"".to_owned(),
            format!("files /a {one} {two}"),
            format!("files /b {one} nothing"),
            format!("files /c nothing {one}"),
            "units a.service true nothing".to_owned(),
            "ports tcp/22 \"open\" \"local\"".to_owned(),
            "ports udp/1 nothing \"open\"".to_owned(),
        ];
        assert_eq!(told(&a, &b), wanted);
        assert_eq!(compare(&a, &b)[0].set_by.as_deref(), Some("a.yaml:2:1"));
    }

    #[test]
    fn what_one_side_cannot_know_is_not_compared() {
        let evaluated = Facts {
            requested: Some(["jq".into()].into()),
            files: [("/a".into(), file("1")), ("/b".into(), File { kind: "absent", ..File::default() })].into(),
            users: Some(BTreeMap::new()),
            ..Facts::default()
        };
        let record = File { owner: None, ids: Some("0:0".into()), text: None, ..file("1") };
        let built = Facts {
            packages: Some(BTreeMap::new()),
            files: [("/a".into(), record), ("/bin/sh".into(), file("sh"))].into(),
            is_whole: true,
            sizes: [("disk".into(), 1)].into(),
            ..Facts::default()
        };
        assert_eq!(told(&evaluated, &built), [""; 0]);
        assert_eq!(told(&built, &evaluated), [""; 0]);
        let asks = Facts { requested: Some(BTreeSet::new()), ..Facts::default() };
        assert_eq!(
            told(&Facts { requested: Some(["jq".into()].into()), ..Facts::default() }, &asks),
            ["packages jq true nothing"]
        );
    }
    #[test]
    fn of_a_map_only_what_changed_is_told() {
        let set = |value: Value| OptionValue { value, origin: "a.yaml:1:1".into() };
        let facts = |value: Value| Facts { options: [("files".into(), set(value))].into(), ..Facts::default() };
        let a = facts(json!({"/a": {"mode": "0644", "text": "x"}, "/b": {"text": "y"}}));
        let b = facts(json!({"/a": {"mode": "0600", "text": "x"}, "/c": {"text": ""}}));
        let wanted = [
            "options files./a.mode \"0644\" \"0600\"",
            "options files./b {\"text\":\"y\"} nothing",
            "options files./c nothing {\"text\":\"\"}",
        ];
        assert_eq!(told(&a, &b), wanted);
    }

    #[test]
    fn both_sides_of_a_file_tell_the_same_of_its_owner() {
        let facts = |file: File| Facts { files: [("/a".into(), file)].into(), ..Facts::default() };
        let (one, two) = (Digest::of(b"1").short(), Digest::of(b"2").short());
        let record = |text: &str, ids: &str| File { owner: None, ids: Some(ids.into()), text: None, ..file(text) };
        assert_eq!(
            told(&facts(file("1")), &facts(record("2", "0:0"))),
            [format!("files /a \"file {one} 0644\" \"file {two} 0644\"")]
        );
        assert_eq!(
            told(&facts(record("1", "0:0")), &facts(record("1", "0:5"))),
            [format!("files /a \"file {one} 0644 0:0\" \"file {one} 0644 0:5\"")]
        );
    }
}
