//! Results on standard output, everything else on standard error; colours where they are wanted; no panic and no
//! false success where nobody reads.

use std::process::Stdio;

use super::world::{World, coloured, ran, spawned};

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let world = World::new();
    let stderr = |color: &[&str]| world.run(&[&["build", "minmal"], color].concat()).stderr;
    assert!(!coloured(&stderr(&[])));
    assert!(!coloured(&stderr(&["--color", "auto"])));
    assert!(!coloured(&stderr(&["--color", "never"])));
    assert!(coloured(&stderr(&["--color", "always"])));
    let plain = stderr(&["--color", "never"]);
    assert_eq!(plain, stderr(&[]));
    // A CI system that shows colours, and a user there who does not want them.
    let stderr = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = world.rave();
        ran(command.envs(variables.iter().copied()).args(["build", "minmal"]).args(arguments)).stderr
    };
    assert!(coloured(&stderr(&[("CLICOLOR_FORCE", "1")], &[])));
    assert!(!coloured(&stderr(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[])));
    assert!(!coloured(&stderr(&[("CLICOLOR_FORCE", "1")], &["--color", "never"])));
    assert!(coloured(&stderr(&[("NO_COLOR", "1")], &["--color", "always"])));
    assert!(coloured(&stderr(&[("RAVE_COLOR", "always")], &[])));
}

#[test]
fn a_table_keeps_its_colours_apart_from_its_text() {
    let world = World::new();
    let table = |color: &str| {
        let ran = world.run(&["vm", "list", "--color", color]);
        ran.clean().to_owned()
    };
    assert_eq!(table("never"), "NAME  STATE  ACCEL  SSH  HTTPS\n");
    assert!(coloured(&table("always")));
}

#[test]
fn json_is_never_coloured_and_errors_stay_apart_from_it() {
    let world = World::new();
    let ran = world.run(&["vm", "list", "--json", "--color", "always"]);
    assert_eq!(ran.clean(), "[]\n");
    world.run(&["vm", "stop", "web", "--json"]).refused(1, &["error: there is no machine web"]);
    let ran = world.run(&["lock", "minimal", "--check", "--json"]);
    assert_eq!(ran.status, 1);
    let locks = ran.json()["locks"].as_array().unwrap().clone();
    assert_eq!(locks.len(), 2);
    assert!(locks.iter().all(|lock| lock["fits"] == false && lock["reason"] == "there is no lock"), "{locks:?}");
    assert!(ran.stderr.contains("error: "));
}

#[test]
fn quiet_leaves_results_and_errors() {
    let world = World::new();
    assert!(world.run(&["store", "verify"]).stderr.contains("verify"));
    assert_eq!(world.run(&["store", "verify", "--quiet"]).clean(), "0 good, 0 damaged\n");
    let mut command = world.rave();
    assert_eq!(ran(command.env("RAVE_QUIET", "1").args(["store", "verify"])).clean(), "0 good, 0 damaged\n");
    world.run(&["build", "minmal", "--quiet"]).refused(1, &["error: ", "did you mean `minimal`?"]);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let world = World::new();
    let all: [&[&str]; 6] = [
        &["--help"],
        &["completions", "bash"],
        &["man"],
        &["vm", "list"],
        &["vm", "list", "--json"],
        &["store", "verify", "--json"],
    ];
    for arguments in all {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = spawned(&world, arguments, Stdio::from(writer));
        assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("error"), "{arguments:?}: {}", ran.stderr);
    }
}

/// A result that a full disk has swallowed is not a result.
#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let world = World::new();
    for arguments in [&["vm", "list"][..], &["vm", "list", "--json"], &["completions", "fish"], &["man"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        spawned(&world, arguments, Stdio::from(full))
            .refused(2, &["error: cannot write standard output: No space left on device"]);
    }
}
