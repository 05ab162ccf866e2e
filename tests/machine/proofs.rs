//! Which checks are seen to fail in a machine, and why some are not. What every check makes of wrong answers is held in
//! `src/check/tests`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rave::check::{Stage, checks};
use rave::disk;
use serde_yaml::Value;

use crate::lab::Fault;
use crate::{bans, clouds, debug, faults, https, library, production, scan, secrets, strain, up, watch};

/// What no scenario breaks in a machine that it could ask afterwards.
const UNSEEN: [(&str, &str); 7] = [
    ("https.malformed", "nginx has no setting by which it accepts such requests"),
    ("resources.pressure.cpu", "it warns, and of a host that is busy itself, too"),
    ("resources.pressure.io", "it warns, and of a host that is busy itself, too"),
    ("security.keys", "it reads a file system that cannot be written"),
    ("security.root.read-only", "EROFS cannot be written"),
    ("security.root.verity", "a machine with a block that is corrupted restarts: `faults` sees that"),
    ("security.set-id", "it reads a file system that cannot be written"),
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
        &watch::UNMEASURED,
        &production::GONE,
        &scan::FAULTS,
        &https::WRONG,
        &https::LONELY,
    ];
    let alone = [
        &clouds::FAULT,
        &library::FIRING,
        &library::LOST,
        &production::ENDED,
        &bans::PATIENT,
        &bans::LONGER,
        &bans::DEAF,
        &bans::UNCONFINED,
        &up::BARE,
        &up::OTHER_KEY,
    ];
    let listed = tables.into_iter().flatten().chain(alone).flat_map(|fault| fault.seen_by);
    let others = [&faults::SEEN[..], &strain::FULL, &watch::UNTOLD, &secrets::READABLE, &up::CLOSED, &debug::SEEN];
    listed.chain(others.into_iter().flatten()).copied().collect()
}

/// Checks that ask about each of what an image lists, whose ids end in its name: of a unit, a path, a setting, a secret.
/// One that is seen to fail stands for all, for they differ in the name only. So do all checks of the stage https, which are
/// about sites, and probes of modules that are made for `each`. Of any other check the whole id has to be seen.
const OF_NAMES: [&str; 10] = [
    "resources.limit",
    "resources.usage",
    "security.mount",
    "security.sandbox",
    "security.secrets",
    "security.suite",
    "security.sysctl",
    "security.write",
    "services.certificate",
    "services.unit",
];

/// Checks that ask several things, which are the same whatever the image.
const SEVERAL: [(&str, &[&str]); 2] =
    [("resources.pressure", &["cpu", "io", "memory"]), ("security.scan", &["tcp4", "tcp6", "udp4", "udp6"])];

/// An id that has to be seen to fail, and whether what is seen has a name behind it.
type Wanted = (String, bool);

fn wanted_checks() -> BTreeSet<Wanted> {
    // The id of a stage alone stands for the modules' own probes.
    let stages = Stage::ALL.map(|stage| stage.to_string());
    let ids = Stage::ALL.into_iter().flat_map(checks).map(|check| check.id);
    let ids = ids.filter(|id| !stages.iter().any(|stage| stage == id) && !SEVERAL.iter().any(|(one, _)| one == id));
    let ids = ids.map(|id| (id.to_owned(), id.starts_with("https.") || OF_NAMES.contains(&id)));
    let parts =
        |(id, parts): (&str, &[&str])| parts.iter().map(|part| (format!("{id}.{part}"), false)).collect::<Vec<_>>();
    ids.chain(SEVERAL.into_iter().flat_map(parts)).collect()
}

/// The probes in a directory of modules.
fn wanted_probes(directory: &Path) -> BTreeSet<Wanted> {
    let mut wanted = BTreeSet::new();
    for path in disk::list(directory).unwrap() {
        if path.is_dir() {
            wanted.extend(wanted_probes(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let module: Value = serde_yaml::from_str(&disk::read_to_string(path).unwrap()).unwrap();
            for probe in module.get("probes").and_then(Value::as_sequence).into_iter().flatten() {
                let id = format!("{}.{}", probe["stage"].as_str().unwrap(), probe["id"].as_str().unwrap());
                wanted.insert(match id.split_once(".{{") {
                    Some((before, _)) => (before.to_owned(), true),
                    None => (id, false),
                });
            }
        }
    }
    wanted
}

/// Which of them an id is that was seen: itself, or the longest that it has a name behind.
fn which<'a>(wanted: &'a BTreeSet<Wanted>, seen: &str) -> Option<&'a str> {
    let named = |id: &str| seen.strip_prefix(id).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
    let itself = wanted.iter().find(|(id, of_names)| !of_names && id == seen);
    let longest = || wanted.iter().filter(|(id, of_names)| *of_names && named(id)).max_by_key(|(id, _)| id.len());
    itself.or_else(longest).map(|(id, _)| id.as_str())
}

fn modules() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("modules")
}

/// Those of the ids that were not seen to fail.
fn unseen(ids: &BTreeSet<Wanted>) -> BTreeSet<String> {
    let all: BTreeSet<Wanted> = wanted_checks().union(&wanted_probes(&modules())).cloned().collect();
    let seen: BTreeSet<&str> = seen().into_iter().filter_map(|seen| which(&all, seen)).collect();
    ids.iter().map(|(id, _)| id.clone()).filter(|id| !seen.contains(id.as_str())).collect()
}

fn told(reasons: &[(&str, &str)]) -> BTreeSet<String> {
    reasons.iter().map(|(id, _)| (*id).to_owned()).collect()
}

#[test]
fn every_check_is_seen_to_fail_in_a_machine_or_it_is_said_why_not() {
    assert_eq!(unseen(&wanted_checks()), told(&UNSEEN));
}

#[test]
fn every_probe_of_a_module_is_seen_to_fail_in_a_machine_or_it_is_said_why_not() {
    assert_eq!(unseen(&wanted_probes(&modules())), told(&UNSEEN_PROBES));
}

#[test]
fn what_is_seen_to_fail_is_a_check() {
    let all: BTreeSet<Wanted> = wanted_checks().union(&wanted_probes(&modules())).cloned().collect();
    let unknown: BTreeSet<&str> = seen().into_iter().filter(|seen| which(&all, seen).is_none()).collect();
    assert_eq!(unknown, BTreeSet::new());
    let checks = wanted_checks();
    assert!(OF_NAMES.iter().all(|id| checks.contains(&((*id).to_owned(), true))));
}

#[test]
fn a_check_is_not_seen_by_another_whose_id_begins_alike() {
    let wanted: BTreeSet<Wanted> = [("a.b", true), ("a.b.c", false), ("a.d", false), ("a.b.e", true)]
        .map(|(id, of_names)| (id.to_owned(), of_names))
        .into();
    for (seen, is) in [
        ("a.b.x", Some("a.b")),
        ("a.b.c", Some("a.b.c")),
        ("a.b.e.x", Some("a.b.e")),
        ("a.d", Some("a.d")),
        ("a.d.x", None),
        ("a.b", None),
        ("a.b.", None),
        ("a.bx", None),
    ] {
        assert_eq!(which(&wanted, seen), is, "{seen}");
    }
}
