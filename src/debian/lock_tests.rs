use super::*;
use crate::system::ExtraArchive;

pub fn package(name: &str, version: &str) -> LockedPackage {
    LockedPackage {
        name: name.parse().unwrap(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        size: 7,
        sha256: Digest::of(b"abc"),
        place: Place::Archive { archive: "trixie".to_owned(), path: format!("pool/{name}.deb") },
    }
}

pub fn archive(name: &str, base: Base, date: &str) -> LockedArchive {
    LockedArchive {
        archive: ArchiveRef { name: name.to_owned(), base },
        suite: name.to_owned(),
        components: vec!["main".to_owned()],
        date: date.parse().unwrap(),
        inrelease: Digest::of(b"abc"),
        signed_by: vec!["04B54C3CDCA79751B16BC6B5225629DF75B188BD".to_owned()],
        key: None,
    }
}

pub fn lock(packages: &[(&str, &str)]) -> Lock {
    Lock {
        archives: vec![archive("trixie", Base::Debian, "2026-09-12T07:55:41Z")],
        requested: BTreeSet::new(),
        recommends: false,
        packages: packages.iter().map(|(name, version)| package(name, version)).collect(),
        needed_by: BTreeMap::new(),
    }
}

#[test]
fn changes_are_told_by_name_and_direction() {
    let old = lock(&[("aa", "1"), ("bb", "2"), ("cc", "1.0"), ("dd", "1"), ("ee", "1")]);
    let mut new = lock(&[("bb", "10"), ("cc", "1.0~rc1"), ("dd", "1"), ("ee", "1"), ("ff", "1")]);
    new.packages[3].sha256 = Digest::of(b"other");
    let told: Vec<_> = changes(&old, &new).iter().map(Change::to_string).collect();
    let wanted = ["removed aa 1", "upgraded bb 2 to 10", "downgraded cc 1.0 to 1.0~rc1", "rebuilt ee 1", "added ff 1"];
    assert_eq!(told, wanted);
    assert_eq!(changes(&old, &old), []);
}

#[test]
fn why_a_package_is_there() {
    let mut lock = lock(&[("aa", "1"), ("bb", "1"), ("cc", "1"), ("dd", "1")]);
    let name = |text: &str| text.parse::<PackageName>().unwrap();
    lock.needed_by = [("bb", "aa"), ("cc", "bb"), ("dd", "dd")].map(|(a, b)| (name(a), name(b))).into();
    let why = |text: &str| lock.why(&name(text)).iter().map(|p| p.name.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(why("cc"), "aa bb cc");
    assert_eq!(why("aa"), "aa");
    assert_eq!(why("dd"), "dd", "a lock that somebody wrote by hand ends, too");
    assert_eq!(why("zz"), "");
}

#[test]
fn the_digest_covers_bytes_and_clock_but_not_places() {
    let base = lock(&[("aa", "1"), ("bb", "1")]);
    let differs = |edit: fn(&mut Lock)| {
        let mut other = base.clone();
        edit(&mut other);
        other.digest() != base.digest()
    };
    assert!(differs(|l| l.packages[0].sha256 = Digest::of(b"x")));
    assert!(differs(|l| l.packages[0].version = "2".into()));
    assert!(differs(|l| drop(l.packages.pop())));
    assert!(differs(|l| l.archives[0].date = "2026-09-12T07:55:42Z".parse().unwrap()));
    assert!(!differs(|l| l.packages[0].place = Place::File("aa.deb".into())));
    assert!(!differs(|l| l.archives[0].signed_by.clear()));
    assert!(!differs(|l| drop(l.needed_by.insert("bb".parse().unwrap(), "aa".parse().unwrap()))));
}

#[test]
fn the_clock_is_the_newest_archives() {
    let mut lock = lock(&[]);
    lock.archives.push(archive("b", Base::DebianSecurity, "2026-09-13T00:00:00Z"));
    lock.archives.push(archive("c", Base::Debian, "2026-09-01T00:00:00Z"));
    assert_eq!(lock.source_date_epoch(), 1_789_257_600);
}

#[test]
fn a_lock_is_stale_when_the_request_differs() {
    let mut request = system::Archive {
        suite: "trixie".to_owned(),
        components: vec!["main".to_owned()],
        mirrors: vec!["http://one".to_owned()],
        extra: Vec::new(),
        debs: Vec::new(),
    };
    let mut locked = lock(&[("aa", "1"), ("bb", "1")]);
    locked.archives.push(archive("trixie-updates", Base::Debian, "2026-09-12T07:55:41Z"));
    locked.archives.push(archive("trixie-security", Base::DebianSecurity, "2026-09-12T07:55:41Z"));
    let names = |names: &[&str]| -> BTreeSet<PackageName> { names.iter().map(|n| n.parse().unwrap()).collect() };
    locked.requested = names(&["aa"]);
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), None);
    request.mirrors.clear();
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), None, "mirrors do not count");
    let more = locked.stale(&request, &names(&["aa", "bb"]), false).unwrap();
    assert_eq!(more.to_string(), "the image asks for bb, which the lock lacks");
    assert!(matches!(locked.stale(&request, &names(&[]), false), Some(Stale::NotRequested(_))));
    assert_eq!(locked.stale(&request, &names(&["aa"]), true), Some(Stale::Recommends));
    request.debs.push("x.deb".to_owned());
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), Some(Stale::Debs));
    request.debs.clear();
    request.components.push("contrib".to_owned());
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), Some(Stale::Archives));
    request.components.pop();
    let extra = ExtraArchive {
        name: "x".into(),
        url: "http://x".into(),
        suite: "x".into(),
        components: vec!["main".into()],
        key: "key".into(),
    };
    request.extra.push(extra);
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), Some(Stale::Archives));
    let mut own = archive("x", Base::Extra("http://x".into()), "2026-09-12T07:55:41Z");
    own.key = Some(Digest::of(b"key"));
    locked.archives.push(own);
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), None);
    request.extra[0].key = "another".into();
    assert_eq!(locked.stale(&request, &names(&["aa"]), false), Some(Stale::Archives));
}
