//! production's alert rules, by promtool's unit tests: each fires when it should, and not before.

use std::collections::BTreeSet;
use std::path::Path;

use rave::disk;
use rave::sandbox::Sandbox;
use rave::tool::Tool;

use super::{RAVE, tree};

/// What follows `key` in each line that has it, up to a comma.
fn named(text: &str, key: &str) -> BTreeSet<String> {
    let value = |line: &str| {
        let (_, value) = line.split_once(key)?;
        value.split(',').next().map(|value| value.trim().to_owned())
    };
    text.lines().filter_map(value).collect()
}

#[test]
fn alert_rules_fire_when_they_should() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = tempfile::tempdir().unwrap();
    let rendered = Tool::new(RAVE).args(["eval", "production", "--file", "/etc/prometheus/rules.yml", "--project"]);
    let rendered = rendered.arg(top).env("HOME", work.path());
    let rules = String::from_utf8(rendered.output().unwrap()).unwrap();
    let tests = disk::read_to_string(top.join("tests/alerts/rules_test.yml")).unwrap();

    let (alerts, tested) = (named(&rules, "- alert:"), named(&tests, "alertname:"));
    assert!(alerts.len() > 10, "{rules}");
    assert_eq!(alerts, tested, "alerts on the left, those with a test on the right");

    for (name, text) in [("rules.yml", &rules), ("rules_test.yml", &tests)] {
        disk::write_atomic(work.path().join(name), text.as_bytes(), 0o644).unwrap();
    }
    let sandbox = Sandbox::new(tree::tree()).bind(work.path(), "/work", false).directory("/work").executable(RAVE);
    let promtool = |arguments: [&str; 3]| sandbox.tool("/usr/bin/promtool").args(arguments).output();
    promtool(["check", "rules", "rules.yml"]).unwrap();
    promtool(["test", "rules", "rules_test.yml"]).unwrap();
}
