use super::*;
use crate::debian::lock::tests::{archive, lock, package};

/// Checked as a whole, for the order and the layout are what reviews depend on.
const TEXT: &str = r#"# Made by `rave lock`. Review its changes; make them with `rave lock` only.
format: 1
recommends: false
requested:
  - "0ad"
  - adduser
archives:
- name: trixie
  base: debian
  suite: trixie
  components: [main, non-free-firmware]
  date: "2026-09-12T07:55:41Z"
  inrelease: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  signed-by:
  - "04B54C3CDCA79751B16BC6B5225629DF75B188BD"
- name: tools
  base: "https://example.org/apt"
  suite: stable
  components: [main]
  date: "2026-09-13T00:00:00Z"
  inrelease: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  key: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  signed-by:
  - B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8
packages:
- {name: "0ad", version: "1:0.27~rc1-2", architecture: amd64, size: 7, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, archive: tools, path: pool/0ad.deb}
- {name: adduser, version: "3.152", architecture: all, size: 7, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, archive: trixie, path: pool/adduser.deb}
- {name: local, version: "1", architecture: amd64, size: 7, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, file: debs/a b.deb, needed-by: "0ad"}
"#;

fn sample() -> Lock {
    let mut all = lock(&[("0ad", "1:0.27~rc1-2"), ("adduser", "3.152"), ("local", "1")]);
    all.packages[0].place = Place::Archive { archive: "tools".into(), path: "pool/0ad.deb".into() };
    all.packages[1].architecture = "all".into();
    all.packages[2].place = Place::File("debs/a b.deb".into());
    all.requested = ["0ad", "adduser"].map(|n| n.parse().unwrap()).into();
    all.archives[0].components.push("non-free-firmware".into());
    let mut tools = archive("tools", Base::Extra("https://example.org/apt".into()), "2026-09-13T00:00:00Z");
    tools.suite = "stable".into();
    tools.signed_by = vec!["B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8".into()];
    tools.key = Some(package("xx", "1").sha256);
    all.archives.push(tools);
    all.needed_by = [("local".parse().unwrap(), "0ad".parse().unwrap())].into();
    all
}

fn read_text(text: &str) -> Result<Lock, Vec<String>> {
    let faults = |faults: Vec<Diagnostic>| faults.iter().map(|f| format!("{}: {}", f.labels[0].0, f.message)).collect();
    parse(&Source::new("web.lock", text)).map_err(faults)
}

#[test]
fn the_text_is_stable_and_reads_back() {
    let text = TEXT.replace("file: debs/a b.deb", "file: \"debs/a b.deb\"");
    assert_eq!(write(&sample()), text);
    assert_eq!(read_text(&text), Ok(sample()));
    assert_eq!(read_text(TEXT), Ok(sample()), "YAML allows the plain form too");
    let empty = Lock {
        archives: vec![],
        requested: BTreeSet::new(),
        recommends: true,
        packages: vec![],
        needed_by: BTreeMap::new(),
    };
    assert_eq!(read_text(&write(&empty)), Ok(empty));
}

#[test]
fn faults_are_told_with_their_line() {
    let cases = [
        ("path: pool/adduser.deb", "path: ../adduser.deb", "web.lock:27:"),
        ("path: pool/adduser.deb", "path: /etc/passwd", "web.lock:27:"),
        ("path: pool/adduser.deb", "path: \"http://evil/x\"", "web.lock:27:"),
        ("path: pool/adduser.deb", "path: pool/%2e%2e/x", "web.lock:27:"),
        ("file: debs/a b.deb", "file: ../x.deb", "web.lock:28:"),
        ("file: debs/a b.deb", "file: /x.deb", "web.lock:28:"),
        ("file: debs/a b.deb", "file: \"x\\ny\"", "web.lock:28:"),
        ("file: debs/a b.deb", "file: x, path: y", "web.lock:28:3: a package has either"),
        ("archive: trixie", "archive: sid", "web.lock:27:"),
        ("name: adduser", "name: Adduser", "web.lock:27:10: \"Adduser\" is not a package name"),
        ("name: adduser", "name: zz", "web.lock:28:3: local stands twice or out of order"),
        ("name: adduser", "name: local", "web.lock:28:3: local stands twice or out of order"),
        ("name: adduser, ", "", "web.lock:27:3: name is missing"),
        ("name: adduser, ", "name: adduser, nmae: x, ", "web.lock:27:19: unknown key \"nmae\""),
        ("name: adduser, ", "name: adduser, name: x, ", "web.lock:27:19: name stands twice"),
        ("version: \"3.152\"", "version: \"3 152\"", "web.lock:27:"),
        ("architecture: all", "architecture: arm64", "web.lock:27:"),
        ("all, size: 7", "all, size: -7", "web.lock:27:"),
        ("all, size: 7", "all, size: [7]", "web.lock:27:"),
        ("all, size: 7, sha256: ba", "all, size: 7, sha256: b", "web.lock:27:"),
        ("recommends: false", "recommends: no", "web.lock:3:13:"),
        ("format: 1", "format: 2", "web.lock:2:9: this rave reads lock files of format 1"),
        ("suite: trixie", "suite: ../trixie", "web.lock:10:"),
        ("base: debian", "base: ftp://x", "web.lock:9:"),
        ("2026-09-12T07:55:41Z", "yesterday", "web.lock:12:"),
        ("name: tools", "name: trixie", "web.lock:8:"),
        ("  - adduser", "  - &a adduser", "web.lock:6:"),
        ("  - adduser", "  - !!str adduser", "web.lock:6:"),
        ("  - adduser", "  -\tadduser: [", "web.lock:"),
        ("- B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8", "- nobody", "web.lock:24:"),
    ];
    for (good, bad, wanted) in cases {
        assert!(TEXT.contains(good), "{good}");
        let faults = read_text(&TEXT.replacen(good, bad, 1)).unwrap_err();
        assert!(faults.iter().any(|f| f.starts_with(wanted)), "{bad}: {faults:?}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = TEXT.replace("architecture: all", "architecture: arm64").replace("size: 7", "size: many");
    assert_eq!(read_text(&text).unwrap_err().len(), 4);
}

#[test]
fn what_is_no_lock_file_is_refused() {
    let deep = "[".repeat(100_000);
    let many = format!("{{{}}}", (0..100).map(|n| format!("k{n}: 1")).collect::<Vec<_>>().join(", "));
    let two = format!("{TEXT}---\n{TEXT}");
    for text in ["", "# nothing\n", "- a\n", "just text", "{", "a: *b", "\u{0}", "? [a]\n: b\n", &deep, &many, &two] {
        assert!(!read_text(text).unwrap_err().is_empty(), "{:?}", text.get(..40));
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_lock_file_panics(at in 0..TEXT.len(), byte: u8) {
        let mut bytes = TEXT.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = read_text(text);
        }
    }
}
