//! A small system for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::system::{Archive, Compression, Disk, Expect, Machine, Mode, System};

use super::erofs::FileRecord;
use super::manifest::{Blob, Manifest, Partition};

/// An image that asks for nothing.
pub fn system() -> System {
    System {
        name: "test".parse().unwrap(),
        version: "1".parse().unwrap(),
        mode: Mode::Safe,
        archive: Archive {
            suite: "trixie".into(),
            components: vec!["main".into()],
            mirrors: vec![],
            extra: vec![],
            debs: vec![],
        },
        packages: BTreeSet::new(),
        recommends: false,
        build_only: BTreeSet::new(),
        starts: BTreeMap::new(),
        exclude: vec![],
        set_id: BTreeSet::new(),
        prepare: BTreeMap::new(),
        validate: BTreeMap::new(),
        users: BTreeMap::new(),
        groups: BTreeMap::new(),
        tree: BTreeMap::new(),
        cmdline: vec![],
        initrd_modules: BTreeSet::new(),
        debug: false,
        secrets: BTreeMap::new(),
        certificates: BTreeMap::new(),
        key_allow: vec![],
        state: BTreeMap::new(),
        disk: Disk {
            compression: Compression { algorithm: "lz4".into(), level: None, cluster: 65536 },
            esp_size: 64 << 20,
            slot_size: None,
            size: 4 << 30,
        },
        machine: Machine { memory: 2048, vcpus: 2 },
        expect: Expect::default(),
        options: BTreeMap::new(),
    }
}

/// What is known of a build of it that holds two files.
pub fn manifest() -> Manifest {
    let system = system();
    let blob = |text: &str| Blob { sha256: Digest::of(text.as_bytes()), size: 1 };
    let file = |text: &str| FileRecord {
        sha256: Some(Digest::of(text.as_bytes())),
        size: Some(1),
        link: None,
        mode: "0644".into(),
        owner: (0, 0),
        option: None,
        package: None,
    };
    Manifest {
        format: 1,
        image: system.name,
        version: system.version,
        mode: system.mode,
        rave: "0".into(),
        epoch: 0,
        root_hash: Digest::of(b"root"),
        kernel: "6".into(),
        cmdline: String::new(),
        disk: blob("disk"),
        uki: blob("uki"),
        initrd: blob("initrd"),
        partitions: vec![Partition {
            label: "esp".into(),
            kind: String::new(),
            uuid: String::new(),
            size: 1,
            content: blob("esp"),
        }],
        packages: BTreeMap::new(),
        options: BTreeMap::new(),
        machine: system.machine,
        disk_size: 1,
        state: BTreeMap::new(),
        expect: system.expect,
        leaks: crate::images::contents::Searched::default(),
        files: [("/a".to_owned(), file("a")), ("/b".to_owned(), file("b"))].into(),
    }
}
