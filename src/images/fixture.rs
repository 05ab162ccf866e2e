//! A small system for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};

use crate::system::{Archive, Compression, Disk, Expect, Machine, Mode, System};

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
        exclude: vec![],
        set_id: BTreeSet::new(),
        users: BTreeMap::new(),
        groups: BTreeMap::new(),
        tree: BTreeMap::new(),
        cmdline: vec![],
        initrd_modules: BTreeSet::new(),
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
