//! `rave build --plan`: the same steps and digests wherever and by whomever it is asked for.

use std::collections::BTreeMap;

use rave::digest::{Canonical, Digest};
use rave::images::assemble::kind;
use rave::images::plan::Piece;
use rave::store::Store;
use rave::system::Expect;
use serde_json::{Value, json};

use super::world::{Ran, World, ran, text};

const PLAN: [&str; 4] = ["build", "minimal", "--plan", "--json"];

fn locked() -> World {
    let world = World::new();
    world.lock("minimal", &[]);
    world
}

/// Digests by piece.
fn digests(ran: &Ran) -> BTreeMap<String, String> {
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let word = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    ran.json()["steps"].as_array().unwrap().iter().map(|step| (word(step, "piece"), word(step, "digest"))).collect()
}

/// The pieces whose digests differ.
fn moved(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    assert!(one.keys().eq(other.keys()));
    one.keys().filter(|piece| one[*piece] != other[*piece]).cloned().collect()
}

#[test]
fn a_plan_shows_each_step_its_digest_and_what_is_cached() {
    let world = locked();
    let plan = world.run(&PLAN).json();
    assert_eq!(plan["image"], "minimal");
    let steps = plan["steps"].as_array().unwrap();
    let pieces: Vec<&str> = steps.iter().map(|step| step["piece"].as_str().unwrap()).collect();
    assert_eq!(pieces, ["tools", "rootfs", "root", "verity", "initrd", "uki", "esp", "disk", "manifest"]);
    for (number, step) in steps.iter().enumerate() {
        let digest = step["digest"].as_str().unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
        assert_eq!(step["cached"], false);
        for need in step["needs"].as_array().unwrap() {
            assert!(pieces[..number].contains(&need.as_str().unwrap()), "{step} needs what comes later");
        }
    }
    let ran = world.run(&["build", "minimal", "--plan"]);
    let lines: Vec<Vec<&str>> = ran.clean().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["STEP", "DIGEST", "STATE"]);
    for (step, line) in steps.iter().zip(&lines[1..]) {
        assert_eq!(line[0], step["piece"].as_str().unwrap());
        assert!(step["digest"].as_str().unwrap().starts_with(line[1]), "{step} {line:?}");
        assert_eq!(line[2..], ["to", "be", "made"]);
    }
    assert_eq!(lines.len(), steps.len() + 1);
}

#[test]
fn a_plan_fetches_and_builds_nothing() {
    let world = locked();
    world.run(&PLAN);
    assert!(!world.path("project/result").exists());
    let store = world.path("cache/rave");
    for folder in ["objects", "partial", "staging", "users"] {
        let left: Vec<_> = std::fs::read_dir(store.join(folder)).unwrap().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    assert_eq!(std::fs::read_dir(world.path("tmp")).unwrap().count(), 0);
}

#[test]
fn the_same_plan_everywhere() {
    let world = locked();
    let plan = world.run(&PLAN).stdout;
    assert_eq!(world.run(&PLAN).stdout, plan, "asked twice");
    let project = world.path("project");
    let mut elsewhere = world.rave();
    elsewhere.current_dir(world.path("elsewhere")).args(["--project", text(&project)]).args(PLAN);
    assert_eq!(ran(&mut elsewhere).stdout, plan, "in another directory");
    let variables = [("TZ", "Pacific/Auckland"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "C"), ("SOURCE_DATE_EPOCH", "1")];
    for variable in variables {
        assert_eq!(ran(world.rave().envs([variable]).args(PLAN)).stdout, plan, "{variable:?}");
    }
    for mask in ["000", "077", "777"] {
        let other = World::new();
        for name in ["minimal.lock", "tools.lock"] {
            let lock = std::fs::read(project.join("images").join(name)).unwrap();
            other.write(&format!("project/images/{name}"), lock);
        }
        if mask == "777" {
            // With this mask a user could not enter the store that rave makes, so one is there.
            other.run(&PLAN);
        }
        let mut shell = other.program("/bin/sh");
        let script = format!("umask {mask}; exec \"$0\" \"$@\"");
        let ran = ran(shell.args(["-c", &script, env!("CARGO_BIN_EXE_rave")]).args(PLAN));
        assert_eq!(ran.stdout, plan, "with umask {mask}, in another project, home and store: {}", ran.stderr);
    }
}

#[test]
fn a_value_moves_only_the_steps_that_hold_it() {
    let world = locked();
    let plan = |more: &[&str]| digests(&world.run(&[&PLAN, more].concat()));
    let base = plan(&[]);
    let after_root = ["disk", "esp", "manifest", "root", "uki", "verity"];
    assert_eq!(moved(&base, &plan(&["--set", "system.hostname=web-7"])), after_root);
    // The manifest tells who gave which value.
    assert_eq!(moved(&base, &plan(&["--set", "system.hostname=\"\""])), ["manifest"], "the default, said aloud");
    assert_eq!(moved(&base, &plan(&["--set", "machine.memory=3G"])), ["manifest"]);
    assert_eq!(
        plan(&["--set", "machine.memory=3G"]),
        plan(&["--set", "machine.memory=3072M"]),
        "one value, written in two ways"
    );
    let mut raw_and_qcow2 = plan(&["--format", "qcow2"]);
    assert!(raw_and_qcow2.remove("qcow2").is_some());
    assert_eq!(raw_and_qcow2, base);
}

#[test]
fn a_locked_package_moves_what_is_made_of_it() {
    let world = locked();
    let base = digests(&world.run(&PLAN));
    let swap = |name: &str| {
        let path = world.path(&format!("project/images/{name}.lock"));
        let text = std::fs::read_to_string(&path).unwrap();
        let at = text.rfind("sha256: ").unwrap() + "sha256: ".len();
        let other = format!("{}{}{}", &text[..at], "0".repeat(64), &text[at + 64..]);
        std::fs::write(&path, other).unwrap();
        let moved = moved(&base, &digests(&world.run(&PLAN)));
        std::fs::write(path, text).unwrap();
        moved
    };
    assert_eq!(swap("tools"), ["disk", "esp", "manifest", "root", "tools", "uki", "verity"]);
    assert_eq!(swap("minimal"), ["disk", "esp", "initrd", "manifest", "root", "rootfs", "uki", "verity"]);
    assert_eq!(digests(&world.run(&PLAN)), base);
}

/// A store that holds a build of the minimal image in which only /etc/hostname and one package were other.
fn build_before(world: &World) {
    let none = Digest::of(b"");
    let blob = json!({"sha256": none, "size": 1});
    let options = &world.run(&["options", "--image", "minimal", "--json"]).json();
    let set = options.as_array().unwrap().iter().filter(|option| option.get("value").is_some());
    let options: serde_json::Map<String, Value> = set
        .map(|option| {
            (option["name"].as_str().unwrap().to_owned(), json!({"value": option["value"], "origin": "before"}))
        })
        .collect();
    let manifest = json!({
        "format": 1, "image": "minimal", "version": "1.0.0", "mode": "safe", "rave": "0", "epoch": 0,
        "root_hash": none, "kernel": "6", "cmdline": "roothash=0 before", "disk": blob, "uki": blob, "initrd": blob,
        "partitions": [], "packages": {"base-files": "0.9"}, "options": options,
        "machine": {"memory": 2048, "vcpus": 2}, "disk_size": 1, "state": {}, "expect": Expect::default(),
        "files": {"/etc/hostname": {"sha256": none, "size": 0, "mode": "0644", "owner": [0, 0], "option": "system"}},
    });
    let store = Store::open(world.path("cache/rave")).unwrap();
    let written = store.put(kind(Piece::Manifest), none, |to| std::fs::write(to, manifest.to_string()));
    written.unwrap_or_else(|_| panic!("the store takes no manifest"));
    // As builds name it: by the place of the lock, which tells images of one name apart.
    let lock = world.path("project/images/minimal.lock");
    let place = Canonical::new("rave pin").field(text(&lock)).finish();
    store.pin(&format!("minimal-{}", place.short()), &[none]).unwrap();
}

#[test]
fn a_plan_says_what_is_other_than_in_the_newest_build() {
    let world = locked();
    assert_eq!(world.run(&PLAN).json()["steps"][2]["reasons"], json!([]), "nothing was built before");
    build_before(&world);
    let plan = world.run(&[&PLAN[..], &["--set", "disk.esp-size=256M"]].concat()).json();
    let reasons = |piece: &str| {
        let steps = plan["steps"].as_array().unwrap();
        steps.iter().find(|step| step["piece"] == piece).unwrap()["reasons"].to_string()
    };
    for (piece, part) in [
        ("tools", "the lock of the tools changed"),
        ("rootfs", "base-files 0.9 -> 1"),
        ("root", "rootfs is new"),
        ("root", "is new\""),
        ("verity", "root is new"),
        ("uki", "- before"),
        ("esp", "disk.esp-size \\\"128M\\\" -> \\\"256M\\\""),
        ("manifest", "disk.esp-size"),
    ] {
        assert!(reasons(piece).contains(part), "{part:?} is not in the reasons for {piece}: {}", reasons(piece));
    }
    let shown = world.run(&["build", "minimal", "--plan"]);
    let lines: Vec<&str> = shown.clean().lines().collect();
    assert!(lines[0].ends_with("WHY") && lines[2].contains("base-files 0.9 -> 1"), "{}", shown.stdout);
}
