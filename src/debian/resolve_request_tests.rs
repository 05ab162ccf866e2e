//! What a request asks for beyond Debian's packages, and how it relates to an earlier lock.

use super::*;
use crate::debian::samples::Package;
use crate::disk;
use crate::system::ExtraArchive;

#[test]
fn an_extra_archive_is_trusted_by_its_own_key_only() {
    let other = Signer::new(7);
    let mut fixture = Fixture::new(&world(), &["web", "tool"]);
    let base = Base::Extra("https://example.org/apt".to_owned());
    let packed = xz(&stanza("tool", "1", "Depends: libc"));
    let text = release("stable", DATE, "", &[(INDEX, &packed)]);
    fixture.memory.put(&base, "dists/stable/InRelease", other.sign(&text, MADE + DAY));
    fixture.memory.put(&base, &format!("dists/stable/{INDEX}"), packed);
    let extra = ExtraArchive {
        name: "tools".to_owned(),
        url: "https://example.org/apt".to_owned(),
        suite: "stable".to_owned(),
        components: vec!["main".to_owned()],
        key: other.armored(),
    };
    fixture.archive.extra = vec![extra.clone()];
    let lock = fixture.resolve().unwrap();
    let tool = lock.packages.iter().find(|p| p.name.as_str() == "tool").unwrap();
    assert!(matches!(&tool.place, Place::Archive { archive, .. } if archive == "tools"));
    assert_eq!(lock.archives[3].key, Some(Digest::of(extra.key.as_bytes())));
    assert_eq!(lock.stale(&fixture.archive, &fixture.packages, false), None);

    fixture.archive.extra[0].key = fixture.signer.armored();
    assert!(matches!(fixture.refusal(), Error::Signature { archive, .. } if archive == "tools"));
    fixture.archive.extra[0].key = "no key".to_owned();
    assert!(matches!(fixture.resolve().unwrap_err(), Error::Keyring { .. }));
    fixture.archive.extra[0] = ExtraArchive { name: "trixie".to_owned(), ..extra };
    assert!(matches!(fixture.resolve().unwrap_err(), Error::SameName(name) if name == "trixie"));
}

#[test]
fn a_deb_file_comes_before_every_archive() {
    let mut fixture = Fixture::new(&(world() + &stanza("tool", "9", "")), &["web"]);
    disk::create_dir_all(fixture.project.path().join("debs")).unwrap();
    let deb = disk::read(Package::new("tool", "Depends: mta").write(&fixture.project.path().join("debs"))).unwrap();
    fixture.archive.debs = vec!["debs/tool.deb".to_owned()];
    let lock = fixture.resolve().unwrap();
    let tool = lock.packages.iter().find(|p| p.name.as_str() == "tool").unwrap();
    assert_eq!((tool.version.as_str(), tool.architecture.as_str()), ("1", "all"));
    assert_eq!((tool.size, tool.sha256), (deb.len() as u64, Digest::of(&deb)));
    assert_eq!(tool.place, Place::File("debs/tool.deb".to_owned()));
    assert_eq!(lock.stale(&fixture.archive, &fixture.packages, false), None);

    disk::copy(fixture.project.path().join("debs/tool.deb"), fixture.project.path().join("copy.deb")).unwrap();
    fixture.archive.debs.push("copy.deb".to_owned());
    assert!(matches!(fixture.resolve().unwrap_err(), Error::Deb { source: LocalError::Twice(_), .. }));
    for bad in ["../x.deb", "/x.deb", "a//b", ""] {
        fixture.archive.debs = vec![bad.to_owned()];
        assert!(matches!(fixture.resolve().unwrap_err(), Error::Deb { source: LocalError::Path, .. }), "{bad}");
    }
    let foreign = disk::read(Package::new("foreign", "").write(fixture.project.path())).unwrap();
    let foreign = String::from_utf8(foreign).unwrap().replace("Architecture: all", "Architecture: arm");
    disk::write_atomic(fixture.project.path().join("foreign.deb"), foreign.as_bytes(), 0o644).unwrap();
    fixture.archive.debs = vec!["foreign.deb".to_owned()];
    assert!(matches!(fixture.resolve().unwrap_err(), Error::Deb { source: LocalError::Architecture, .. }));
}

#[test]
fn a_deb_file_holds_one_package_and_no_other() {
    let mut fixture = Fixture::new(&world(), &["web"]);
    Package::new("tool", "X: y\n \nPackage: libc\nVersion: 99\nArchitecture: all").write(fixture.project.path());
    fixture.archive.debs = vec!["tool.deb".to_owned()];
    assert!(matches!(fixture.resolve().unwrap_err(), Error::Deb { source: LocalError::Deb(_), .. }));
    fixture.archive.debs = vec!["gone.deb".to_owned()];
    assert!(matches!(fixture.resolve().unwrap_err(), Error::Deb { source: LocalError::Deb(_), .. }));
}

#[test]
fn an_update_moves_what_it_names_and_nothing_else() {
    let old = [stanza("aa", "1", ""), stanza("bb", "1", "")].concat();
    let new = [stanza("aa", "2", ""), stanza("bb", "2", ""), stanza("cc", "1", "")].concat();
    let mut fixture = Fixture::new(&old, &["aa", "bb"]);
    fixture.previous = Some(fixture.resolve().unwrap());
    fixture.publish(&Base::Debian, "trixie-updates", DATE, &new);
    assert_eq!(fixture.names(), ["aa 1", "bb 1"]);
    fixture.packages.insert("cc".parse().unwrap());
    assert_eq!(fixture.names(), ["aa 1", "bb 1", "cc 1"]);
    fixture.update = Update::Some(BTreeSet::from(["bb".parse().unwrap()]));
    assert_eq!(fixture.names(), ["aa 1", "bb 2", "cc 1"]);
    fixture.update = Update::All;
    assert_eq!(fixture.names(), ["aa 2", "bb 2", "cc 1"]);
    fixture.update = Update::None;
    fixture.publish(&Base::Debian, "trixie", DATE, "");
    assert_eq!(fixture.names(), ["aa 2", "bb 2", "cc 1"], "what is gone is replaced");
}

#[test]
fn a_kept_version_gives_way_to_a_need() {
    let mut fixture = Fixture::new(&stanza("aa", "1", ""), &["aa"]);
    fixture.previous = Some(fixture.resolve().unwrap());
    let new = [stanza("aa", "2", ""), stanza("bb", "1", "Depends: aa (>= 2)")].concat();
    fixture.publish(&Base::Debian, "trixie-updates", DATE, &new);
    fixture.packages.insert("bb".parse().unwrap());
    assert_eq!(fixture.names(), ["aa 2", "bb 1"]);
}

#[test]
fn unknown_and_virtual_names_are_explained() {
    let text =
        stanza("nginx", "1", "") + &stanza("mta-a", "1", "Provides: mta") + &stanza("mta-b", "1", "Provides: mta");
    let error = Fixture::new(&text, &["ngnix", "zzzzzzzz"]).resolve().unwrap_err();
    assert!(error.is_input());
    assert_eq!(error.to_string(), "no archive has the package ngnix (did you mean nginx?), the package zzzzzzzz");
    let error = Fixture::new(&text, &["mta"]).resolve().unwrap_err();
    assert_eq!(error.to_string(), "mta is not a package but provided by mta-a, mta-b: name one of them");
}
