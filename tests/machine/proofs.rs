//! Which checks are seen to fail in a machine, and why some are not. What every check makes of wrong answers is held in
//! `src/check/tests`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rave::check::{Stage, checks};
use rave::disk;
use serde_yaml::Value;

use crate::lab::Fault;
use crate::{clouds, debug, faults, https, library, production, scan, secrets, up};

/// What no scenario breaks in a machine that it could ask afterwards.
const UNSEEN: [(&str, &str); 9] = [
    ("https.malformed", "nginx has no setting by which it accepts such requests"),
    ("resources.pressure", "it warns, and of a host that is busy itself, too"),
    ("security.keys", "it reads a file system that cannot be written"),
    ("security.root.read-only", "EROFS cannot be written"),
    ("security.root.verity", "a machine with a block that is corrupted restarts: `faults` sees that"),
    ("security.set-id", "it reads a file system that cannot be written"),
    ("security.suite", "outside suites are not on every host"),
    ("ssh.algorithms.host-keys", "a server offers keys that it has, and there is one"),
    ("ssh.host-key", "a scenario that breaks it is locked out itself: `up` sees a wrong key refused"),
];

/// The same for probes of modules.
const UNSEEN_PROBES: [(&str, &str); 5] = [
    ("monitoring.grafana.health", "Grafana is in none of the images: Debian does not have it"),
    ("security.audit.enabled", "the rules are locked until the next start"),
    ("security.audit.lost", "records are lost only under a load that nothing here makes"),
    ("security.audit.rules", "the rules are locked until the next start"),
    ("services.health.result", "a look that is killed is followed by the next: its age is what is seen to fail"),
];

fn seen() -> BTreeSet<&'static str> {
    let tables: [&[Fault]; 10] = [
        &up::FAULTS,
        &up::PROBED,
        &library::WEB,
        &library::DATA,
        &library::PROBED,
        &production::UNMEASURED,
        &production::GONE,
        &scan::FAULTS,
        &https::WRONG,
        &https::LONELY,
    ];
    let alone = [&clouds::FAULT, &library::FIRING, &library::LOST, &production::PATIENT];
    let listed = tables.into_iter().flatten().chain(alone).flat_map(|fault| fault.seen_by);
    let others =
        [&faults::SEEN[..], &production::FULL, &production::UNTOLD, &secrets::READABLE, &up::CLOSED, &debug::SEEN];
    listed.chain(others.into_iter().flatten()).copied().collect()
}

/// Those of the ids of which neither they nor anything below them was seen to fail.
fn unseen<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let seen = seen();
    let is_seen = |id: &str| {
        seen.iter().any(|seen| seen.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    ids.into_iter().filter(|id| !is_seen(id)).collect()
}

#[test]
fn every_check_is_seen_to_fail_in_a_machine_or_it_is_said_why_not() {
    let ids: BTreeSet<&str> = Stage::ALL.into_iter().flat_map(checks).map(|check| check.id).collect();
    assert_eq!(unseen(ids), UNSEEN.iter().map(|(id, _)| *id).collect());
}

/// Ids of the probes in a directory of modules; of those that are made for each of a list, as far as all have them.
fn probes(directory: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for path in disk::list(directory).unwrap() {
        if path.is_dir() {
            ids.extend(probes(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let module: Value = serde_yaml::from_str(&disk::read_to_string(path).unwrap()).unwrap();
            for probe in module.get("probes").and_then(Value::as_sequence).into_iter().flatten() {
                let id = format!("{}.{}", probe["stage"].as_str().unwrap(), probe["id"].as_str().unwrap());
                let fixed = id.split("{{").next().unwrap().trim_end_matches('.');
                ids.insert(fixed.to_owned());
            }
        }
    }
    ids
}

#[test]
fn every_probe_of_a_module_is_seen_to_fail_in_a_machine_or_it_is_said_why_not() {
    let ids = probes(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("modules"));
    assert_eq!(unseen(ids.iter().map(String::as_str)), UNSEEN_PROBES.iter().map(|(id, _)| *id).collect());
}
