//! Lock files that are missing, do not fit, or were written by someone else than rave.

use super::world::{World, package};

/// A project whose minimal image is locked.
fn locked() -> World {
    let world = World::new();
    world.lock("minimal", &[]);
    world
}

fn read(world: &World) -> String {
    std::fs::read_to_string(world.path("project/images/minimal.lock")).unwrap()
}

/// Writes a lock with a piece replaced; refuses to do nothing.
fn replace(world: &World, text: &str, from: &str, to: &str) {
    assert!(text.contains(from), "{from:?} is not in the lock");
    world.write("project/images/minimal.lock", text.replacen(from, to, 1));
}

/// Replaces a piece of the lock that is there.
fn edit(world: &World, from: &str, to: &str) {
    replace(world, &read(world), from, to);
}

/// All commands that build from a lock, and the one that judges it.
const READERS: [&[&str]; 4] =
    [&["build", "minimal"], &["build", "minimal", "--plan"], &["run", "minimal"], &["lock", "minimal", "--check"]];

#[track_caller]
fn refused(world: &World, parts: &[&str]) {
    let before = world.files();
    for arguments in READERS {
        world.run(arguments).refused(1, parts);
    }
    assert_eq!(world.files(), before, "a lock that does not fit made rave write something");
}

#[test]
fn a_missing_lock_is_told_with_its_path_and_the_remedy() {
    let world = World::new();
    refused(&world, &["project/images/minimal.lock: there is no lock", "hint: run `rave lock minimal`"]);
}

/// `rave lock tools` would lock in the project, which need not be where the image is.
#[test]
fn a_missing_lock_of_the_tools_is_remedied_through_the_image() {
    let world = locked();
    std::fs::remove_file(world.path("project/images/tools.lock")).unwrap();
    refused(&world, &["project/images/tools.lock: there is no lock", "hint: run `rave lock minimal`"]);
}

#[test]
fn a_stale_lock_is_told_with_what_changed() {
    let world = locked();
    let remedy = "hint: run `rave lock minimal`";
    let image = |text: &str| {
        world.write("project/images/minimal.yaml", format!("name: minimal\nversion: 1.0.0\n{text}"));
    };
    image("config: { system.packages: [jq, tree] }\n");
    refused(&world, &["minimal.lock: not locked yet: jq, tree", remedy]);
    image("config: { system.recommends: true }\n");
    refused(&world, &["minimal.lock: system.recommends has changed", remedy]);
    image("archive: { suite: forky }\n");
    refused(&world, &["minimal.lock: the archives have changed", remedy]);
    image("archive: { debs: [ours.deb] }\n");
    refused(&world, &["minimal.lock: the .deb files of the image have changed", remedy]);
    image("");
    assert_eq!(world.run(&["lock", "minimal", "--check"]).clean(), "");
    image("config: { system.packages: [jq] }\n");
    world.lock("minimal", &[]);
    image("");
    refused(&world, &["minimal.lock: locked, but no longer asked for: jq", remedy]);
}

#[test]
fn a_damaged_lock_is_told_with_its_line() {
    let place = "project/images/minimal.lock:";
    let remedy = "restore the file from version control, or make it anew with `rave lock`";
    let cases = [
        ("format: 1", "format: 2", "this rave reads lock files of format 1"),
        ("format: 1", "fromat: 1", "fromat"),
        ("recommends: false", "recommends: perhaps", "this must be true or false"),
        ("size: ", "size: -", "size: -"),
        ("architecture: all", "architecture: riscv64", "riscv64"),
        ("archive: trixie,", "archive: sid,", "sid"),
        ("- {name: ", "- {nmae: ", "nmae"),
        ("date: \"2026", "date: \"yesterday, 2026", "yesterday"),
        ("sha256: ", "sha256: 0", "sha256: 0"),
        ("signed-by:\n  - ", "signed-by:\n  - x", "cannot stand here"),
    ];
    let world = locked();
    let sound = read(&world);
    for (from, to, said) in cases {
        replace(&world, &sound, from, to);
        refused(&world, &["error: ", place, said, remedy]);
    }
    replace(&world, &sound, "requested:", "<<<<<<< HEAD\nrequested:");
    refused(&world, &["error: ", "project/images/minimal.lock:4:"]);
    world.write("project/images/minimal.lock", "");
    refused(&world, &["error: ", place]);
}

#[test]
fn a_hostile_path_in_a_lock_is_refused_before_anything_is_asked_for_it() {
    let hostile = [
        "../../etc/passwd",
        "/etc/passwd",
        "pool/../../x.deb",
        "\"pool/%2e%2e/x.deb\"",
        "\"http://example.org/x.deb\"",
        "\"pool/a?b.deb\"",
        "\"pool/a\\nb.deb\"",
    ];
    let world = World::new();
    world.lock("minimal", &[package("zzz", b"x")]);
    let sound = read(&world);
    for path in hostile {
        replace(&world, &sound, "path: pool/main/zzz_1_all.deb", &format!("path: {path}"));
        refused(&world, &["error: ", "project/images/minimal.lock:", "restore the file from version control"]);
    }
    for file in ["../ours.deb", "/ours.deb", "a/../../b.deb"] {
        replace(&world, &sound, "archive: trixie, path: pool/main/zzz_1_all.deb", &format!("file: {file}"));
        refused(&world, &["error: ", "project/images/minimal.lock:"]);
    }
}

#[test]
fn escape_sequences_in_a_lock_do_not_reach_the_terminal() {
    let world = locked();
    edit(&world, "recommends: false", "recommends: \"\\e]0;owned\\a\"");
    for color in ["never", "auto"] {
        let ran = world.run(&["build", "minimal", "--color", color]);
        ran.refused(1, &["error: "]);
        assert!(!super::world::coloured(&ran.stderr), "{:?}", ran.stderr);
    }
    edit(&world, "recommends: \"", "recommends: \u{1b}]0;owned\u{7}\"");
    let ran = world.run(&["build", "minimal", "--color", "always"]);
    ran.refused(1, &["error"]);
    assert!(!ran.stderr.contains("\u{1b}]0") && !ran.stderr.contains('\u{7}'), "{:?}", ran.stderr);
}

/// Stops at the first fault of the input, with a network that would answer nothing.
#[test]
fn packages_that_cannot_be_moved_are_named() {
    let world = locked();
    let before = world.files();
    world.run(&["lock", "minimal", "--update", "no such"]).refused(1, &["\"no such\" is not a package name"]);
    assert_eq!(world.files(), before);
}
