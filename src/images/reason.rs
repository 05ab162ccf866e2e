//! Why a piece has to be made anew: what is other than in the newest build, as far as its manifest tells. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::system::System;
use crate::tree::{Content, Entry};

use super::erofs::FileRecord;
use super::manifest::Manifest;
use super::plan::{Inputs, Piece};

/// The most reasons of one kind that are told.
const LIMIT: usize = 4;

/// Why `piece` is not what it was in the build of `manifest`; `anew` are the pieces that are made before it. Something
/// is always said.
pub fn reasons(piece: Piece, anew: &[Piece], manifest: &Manifest, system: &System, inputs: &Inputs) -> Vec<String> {
    let mut told: Vec<String> =
        piece.needs().iter().filter(|need| anew.contains(need)).map(|need| format!("{} is new", need.name())).collect();
    let named = (&manifest.image, &manifest.version) != (&system.name, &system.version);
    if named && matches!(piece, Piece::Root | Piece::Uki | Piece::Esp | Piece::Disk) {
        told.push(format!("{} {} was {} {}", system.name, system.version, manifest.image, manifest.version));
    }
    told.extend(match piece {
        Piece::Rootfs => shorten(packages(manifest, inputs)),
        Piece::Root => {
            let mut own = shorten(files(manifest, system));
            own.extend(shorten(options(manifest, system, "disk.compression.")));
            own.extend(shorten(words(manifest, system)));
            if manifest.epoch != inputs.epoch {
                own.push("the newest archive has another date".to_owned());
            }
            own
        }
        Piece::Uki => shorten(words(manifest, system)),
        Piece::Esp => options(manifest, system, "disk.esp-size"),
        Piece::Disk => options(manifest, system, "disk.slot-size"),
        Piece::Manifest => shorten(options(manifest, system, "")),
        Piece::Tools | Piece::Verity | Piece::Initrd | Piece::Qcow2 => Vec::new(),
    });
    if told.is_empty() {
        told.push(unseen(piece).to_owned());
    }
    told
}

/// What else goes into a piece, of which a manifest keeps no trace.
fn unseen(piece: Piece) -> &'static str {
    match piece {
        Piece::Tools => "the lock of the tools changed",
        Piece::Rootfs => "packages that do not ship, users, groups or archives changed",
        Piece::Root => "paths that do not ship, what the machine is held against, or rave itself changed",
        Piece::Initrd => "modules of the initrd, or rave itself changed",
        Piece::Qcow2 => "this format was not built",
        _ => "it left the store, or rave itself changed",
    }
}

fn shorten(mut told: Vec<String>) -> Vec<String> {
    if let Some(more) = told.len().checked_sub(LIMIT).filter(|more| *more > 0) {
        told.truncate(LIMIT);
        told.push(format!("and {more} more"));
    }
    told
}

fn packages(manifest: &Manifest, inputs: &Inputs) -> Vec<String> {
    let names: BTreeSet<_> = manifest.packages.keys().chain(inputs.packages.keys()).collect();
    let change = |name| match (manifest.packages.get(name), inputs.packages.get(name)) {
        (Some(old), Some(new)) if old != new => Some(format!("{name} {old} -> {new}")),
        (Some(old), None) => Some(format!("- {name} {old}")),
        (None, Some(new)) => Some(format!("+ {name} {new}")),
        _ => None,
    };
    names.into_iter().filter_map(change).collect()
}

fn files(manifest: &Manifest, system: &System) -> Vec<String> {
    let by = |option: Option<&str>| option.map_or(String::new(), |option| format!(" ({option})"));
    let mut told = Vec::new();
    for (path, entry) in &system.tree {
        let option = entry.option.as_ref().map(|option| option.as_str());
        let what = match manifest.files.get(path.as_str()) {
            Some(record) if is_same(entry, record) => continue,
            None if entry.content == Content::Absent => continue,
            Some(_) if entry.content == Content::Absent => "is taken away",
            Some(_) => "changed",
            None => "is new",
        };
        told.push(format!("{path}{} {what}", by(option)));
    }
    let paths: BTreeMap<&str, ()> = system.tree.keys().map(|path| (path.as_str(), ())).collect();
    let ours =
        manifest.files.iter().filter(|(path, record)| record.option.is_some() && !paths.contains_key(path.as_str()));
    told.extend(ours.map(|(path, record)| format!("{path}{} is gone", by(record.option.as_deref()))));
    told
}

/// Whether a file is as it was. Owners do not count: a build knows their numbers, an image their names.
fn is_same(entry: &Entry, record: &FileRecord) -> bool {
    let mode = u32::from_str_radix(&record.mode, 8).ok();
    match &entry.content {
        Content::File(bytes) => record.sha256 == Some(Digest::of(bytes)) && mode == Some(entry.mode),
        Content::Symlink(target) => record.link.as_ref() == Some(target),
        Content::Directory => record.sha256.is_none() && record.link.is_none() && mode == Some(entry.mode),
        Content::Absent => false,
    }
}

/// Options below `prefix` whose values are others than in the build.
fn options(manifest: &Manifest, system: &System, prefix: &str) -> Vec<String> {
    let names: BTreeSet<_> = manifest.options.keys().chain(system.options.keys()).collect();
    let change = |name: &&crate::name::OptionPath| {
        let values = [manifest.options.get(*name), system.options.get(*name)].map(|set| set.map(|set| &set.value));
        let [old, new] = values.map(|value| value.map_or("nothing".to_owned(), ToString::to_string));
        (name.as_str().starts_with(prefix) && old != new).then(|| format!("{name} {old} -> {new}"))
    };
    names.iter().filter_map(change).collect()
}

fn words(manifest: &Manifest, system: &System) -> Vec<String> {
    let old: BTreeSet<&str> =
        manifest.cmdline.split_whitespace().filter(|word| !word.starts_with("roothash=")).collect();
    let new: BTreeSet<&str> = system.cmdline.iter().flat_map(|word| word.split_whitespace()).collect();
    let gone = old.difference(&new).map(|word| format!("- {word}"));
    gone.chain(new.difference(&old).map(|word| format!("+ {word}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::fixture::{manifest, system};

    fn inputs() -> Inputs {
        let digest = Digest::of(b"");
        Inputs { tools: digest, rootfs: digest, rave: digest, packages: BTreeMap::new(), epoch: 0 }
    }

    /// The reasons for a piece, after a change of what is asked for or of what was built.
    #[track_caller]
    fn check(piece: Piece, change: impl FnOnce(&mut System, &mut Inputs, &mut Manifest), wanted: &[&str]) {
        let (mut system, mut inputs, mut manifest) = (system(), inputs(), manifest());
        change(&mut system, &mut inputs, &mut manifest);
        assert_eq!(reasons(piece, &[], &manifest, &system, &inputs), wanted);
    }

    #[test]
    fn what_changed_is_named_with_the_option_behind_it() {
        let path = |text: &str| text.parse::<crate::name::GuestPath>().unwrap();
        let by = |entry: Entry| Entry { option: Some("environment.files".parse().unwrap()), ..entry };
        check(
            Piece::Root,
            |s, _, _| drop(s.tree.insert(path("/a"), by(Entry::file("x", 0o644)))),
            &["/a (environment.files) changed"],
        );
        check(Piece::Root, |s, _, _| drop(s.tree.insert(path("/c"), Entry::file("x", 0o644))), &["/c is new"]);
        check(Piece::Root, |s, _, _| drop(s.tree.insert(path("/a"), Entry::absent())), &["/a is taken away"]);
        check(Piece::Root, |_, _, m| m.files.get_mut("/b").unwrap().option = Some("a.b".into()), &["/b (a.b) is gone"]);
        check(Piece::Root, |_, i, _| i.epoch = 1, &["the newest archive has another date"]);
        check(Piece::Root, |s, _, _| s.version = "2".parse().unwrap(), &["test 2 was test 1"]);
        check(
            Piece::Uki,
            |s, _, m| (s.cmdline, m.cmdline) = (vec!["quiet".into()], "a roothash=1".into()),
            &["- a", "+ quiet"],
        );
        let package = |name: &str, version: &str| (name.parse().unwrap(), version.to_owned());
        let packages = |_: &mut System, i: &mut Inputs, m: &mut Manifest| {
            m.packages = [package("aa", "1"), package("bb", "1"), package("cc", "1")].into();
            i.packages = [package("bb", "2"), package("cc", "1"), package("dd", "1")].into();
        };
        check(Piece::Rootfs, packages, &["- aa 1", "bb 1 -> 2", "+ dd 1"]);
    }

    #[test]
    fn something_is_always_said_and_never_too_much() {
        for piece in Piece::ALL {
            check(piece, |_, _, _| {}, &[unseen(piece)]);
        }
        let told = reasons(Piece::Uki, &[Piece::Initrd, Piece::Verity], &manifest(), &system(), &inputs());
        assert_eq!(told, ["initrd is new", "verity is new"]);
        let many = |s: &mut System, _: &mut Inputs, _: &mut Manifest| {
            s.cmdline = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into()
        };
        check(Piece::Uki, many, &["+ a", "+ b", "+ c", "+ d", "and 2 more"]);
    }

    #[test]
    fn a_file_that_is_as_it_was_is_no_reason() {
        let same = |s: &mut System, _: &mut Inputs, _: &mut Manifest| {
            s.tree.insert("/a".parse().unwrap(), Entry::file("a", 0o644));
            s.tree.insert("/gone".parse().unwrap(), Entry::absent());
        };
        check(Piece::Root, same, &[unseen(Piece::Root)]);
    }
}
