//! Which checks are seen to fail in a machine, and why some are not. What every check makes of wrong answers is held in
//! `src/check/tests`.

use std::collections::BTreeSet;

use rave::check::{Stage, checks};

use crate::lab::Fault;
use crate::{faults, https, production, scan, secrets, up};

/// What no scenario breaks in a machine that it could ask afterwards.
const UNSEEN: [(&str, &str); 9] = [
    ("https.malformed", "nginx has no setting by which it accepts such requests"),
    ("resources.pressure", "it warns, and of a host that is busy itself, too"),
    ("security.keys", "it reads a file system that cannot be written"),
    ("security.root.read-only", "EROFS cannot be written"),
    ("security.root.verity", "a machine with a block that is corrupted restarts: `boot` and `faults` see that"),
    ("security.set-id", "it reads a file system that cannot be written"),
    ("security.suite", "outside suites are not on every host"),
    ("ssh.algorithms.host-keys", "a server offers keys that it has, and there is one"),
    ("ssh.host-key", "a scenario that breaks it is locked out itself: `up` sees a wrong key refused"),
];

#[test]
fn every_check_is_seen_to_fail_in_a_machine_or_it_is_said_why_not() {
    let tables: [&[Fault]; 5] = [&up::FAULTS, &production::UNMEASURED, &scan::FAULTS, &https::WRONG, &https::LONELY];
    let listed = tables.into_iter().flatten().flat_map(|fault| fault.seen_by);
    let others = [&faults::SEEN[..], &production::FULL, &secrets::READABLE, &up::CLOSED];
    let seen: BTreeSet<&str> = listed.chain(others.into_iter().flatten()).copied().collect();
    let is_seen = |id: &str| {
        seen.iter().any(|seen| seen.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let ids: BTreeSet<&str> = Stage::ALL.into_iter().flat_map(checks).map(|check| check.id).collect();
    let unseen: BTreeSet<&str> = ids.into_iter().filter(|id| !is_seen(id)).collect();
    assert_eq!(unseen, UNSEEN.iter().map(|(id, _)| *id).collect());
}
