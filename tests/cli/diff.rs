//! `rave diff`: two images, modes, revisions or builds, in their own terms.

use serde_json::{Value, json};

use super::world::{World, package, text};

const WEB: &str = "name: web\nversion: 1.0.0\nextends: minimal\nconfig:\n  system.hostname: web-7\n";

fn world() -> World {
    let world = World::new();
    world.write("project/images/web.yaml", WEB);
    world
}

/// Section and name of each difference.
fn differences(told: &Value) -> Vec<String> {
    let all = told["differences"].as_array().unwrap().iter();
    all.map(|one| format!("{} {}", one["section"].as_str().unwrap(), one["name"].as_str().unwrap())).collect()
}

#[test]
fn images_and_modes_differ_by_their_options_and_what_these_make() {
    let world = world();
    let told = world.run(&["diff", "minimal", "web", "--json"]).json();
    assert_eq!(differences(&told), ["options system.hostname", "files /etc/hostname", "files /etc/hosts"]);
    let option = &told["differences"][0];
    assert_eq!((&option["old"], &option["new"]), (&json!(""), &json!("web-7")));
    assert_eq!(option["set_by"], "images/web.yaml:5:20");
    let modes = world.run(&["diff", "web@safe", "web@full-pipe"]);
    for part in ["~ machine.memory: \"2G\" -> \"4G\"", "~ machine.vcpus: 2 -> 4", "modules/mode/full-pipe.yaml:"] {
        assert!(modes.clean().contains(part), "{part:?} is not in\n{}", modes.stdout);
    }
}

#[test]
fn values_are_shown_by_their_entries_and_without_what_is_empty() {
    let world = world();
    world.write(
        "project/images/on.yaml",
        "name: minimal\nversion: 1.0.0\nextends: minimal\nimports: [app]\nconfig:\n  environment.files:\n    \
         /etc/motd: { text: hello }\n",
    );
    world.write(
        "project/modules/app.yaml",
        "description: A.\noptions: { debug: { type: bool, default: true, description: D. } }\n",
    );
    let ran = world.run(&["diff", "minimal", "on"]);
    for line in [
        "  + app.debug: true  modules/app.yaml:2:42",
        "  + environment.files./etc/motd: {\"group\":\"root\",\"mode\":\"0644\",\"owner\":\"root\",\"text\":\"hello\"}  \
         images/on.yaml:7:5",
    ] {
        assert!(ran.clean().lines().any(|told| told == line), "{line:?} is not in\n{}", ran.stdout);
    }
    let told = world.run(&["explain", "on", "/etc/motd"]);
    assert!(told.clean().contains("environment.files./etc/motd = {\"group\":\"root\",\"mode\""), "{}", told.stdout);
    assert!(!told.stdout.contains("template"), "{}", told.stdout);
}

#[test]
fn the_status_tells_of_differences_only_if_asked() {
    let world = world();
    assert_eq!(world.run(&["diff", "minimal", "web"]).status, 0);
    assert_eq!(world.run(&["diff", "minimal", "web", "--exit-code"]).status, 1);
    let same = world.run(&["diff", "web", "web", "--exit-code"]);
    assert_eq!((same.status, same.stdout.as_str(), same.stderr.trim()), (0, "", "no differences"));
}

#[test]
fn lines_of_files_are_shown_on_request() {
    let world = world();
    let ran = world.run(&["diff", "minimal", "web", "--content"]);
    for part in ["-127.0.1.1 minimal", "+127.0.1.1 web-7", " ::1 localhost"] {
        assert!(
            ran.clean().lines().any(|line| line.trim_start_matches("      ").starts_with(part)),
            "{part:?}\n{}",
            ran.stdout
        );
    }
    assert!(!world.run(&["diff", "minimal", "web"]).clean().contains("127.0.1.1"));
}

#[test]
fn locks_give_versions() {
    let world = world();
    world.write("project/images/old.yaml", WEB.replacen("name: web", "name: old", 1));
    let mut nftables = package("nftables", b"new");
    world.lock("old", &[]);
    nftables.version = "2".to_owned();
    world.lock("web", &[nftables]);
    let told = world.run(&["diff", "old", "web", "--json"]).json();
    assert_eq!(differences(&told), ["packages nftables"]);
    assert_eq!((&told["differences"][0]["old"], &told["differences"][0]["new"]), (&json!("1"), &json!("2")));
}

#[test]
fn revisions_are_read_from_git_and_nothing_is_checked_out() {
    let world = world();
    let git = |arguments: &[&str]| {
        let mut command = world.program("git");
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
        ]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q"]);
    world.write("project/modules/site.yaml", "description: S.\npackages: [nginx]\nopen: [tcp/80]\n");
    world.write("project/modules/site.conf", b"\xff not read as text");
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    let changed = WEB.replace("web-7", "web-8") + "imports: [site]\n";
    world.write("project/images/web.yaml", &changed);
    let before = world.files();
    let told = world.run(&["diff", "HEAD:web", "web", "--json"]).json();
    let wanted =
        ["options system.hostname", "packages nginx", "files /etc/hostname", "files /etc/hosts", "ports tcp/80"];
    // The firewall's rules hold the port, too.
    let found: Vec<String> = differences(&told).into_iter().filter(|one| one != "files /etc/nftables.conf").collect();
    assert_eq!(found, wanted);
    assert_eq!(world.files(), before);
    git(&["commit", "-qam", "two"]);
    let told = world.run(&["diff", "HEAD~1:web", "HEAD:web@full-pipe", "--json"]).json();
    assert!(differences(&told).contains(&"options machine.memory".to_owned()), "{told}");
    // A project in a folder of its repository.
    world.write("project/below/images/web.yaml", WEB);
    git(&["add", "."]);
    git(&["commit", "-qm", "three"]);
    let below = world.path("project/below");
    let ran = world.run(&["--project", text(&below), "diff", "HEAD:web", "web", "--exit-code"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    world.run(&["diff", "nowhere:web", "web"]).refused(1, &["git knows no revision \"nowhere\""]);
    world.run(&["diff", "HEAD:wbe", "web"]).refused(1, &["there is no image `wbe` in HEAD"]);
    let hint = "hint: `HEAD~1` is a revision: name an image of it, such as `HEAD~1:web`";
    world.run(&["diff", "HEAD~1", "HEAD"]).refused(1, &["there is no image `HEAD`", hint]);
}

#[test]
fn builds_are_remembered_by_how_many_ago_they_were() {
    let world = world();
    world.build(7, &[("/etc/a", None, None)]);
    world.build(8, &[("/etc/a", None, None), ("/etc/b", None, None)]);
    let told = world.run(&["diff", "web~1", "web~0", "--json"]).json();
    assert_eq!(differences(&told), ["files /etc/b"]);
    assert_eq!(world.run(&["diff", "web~0", "web~0"]).stdout, "");
    // Against what a build now would be.
    assert!(differences(&world.run(&["diff", "web~0", "web", "--json"]).json()).contains(&"files /etc/hosts".into()));
    let hint = "hint: the store knows web~0, the newest, to web~1";
    world.run(&["diff", "web~2", "web"]).refused(1, &["there is no build web~2", hint]);
}

#[test]
fn a_side_that_makes_no_sense_is_refused() {
    let world = world();
    world.run(&["diff", "web", "web@fast"]).refused(1, &["\"fast\" is not a mode"]);
    world.run(&["diff", "--", "--output=x:web", "web"]).refused(1, &["names no image", "[REVISION:]IMAGE[@MODE]"]);
    world.run(&["diff", "HEAD:web", "web"]).refused(1, &["git knows no revision \"HEAD\""]);
    world.run(&["diff", "web", "wbe"]).refused(1, &["did you mean `web`?"]);
    world.run(&["diff", "web~0", "web"]).refused(1, &["web was not built yet", "hint: run `rave build web`"]);
    world.write("project/old.json", "{}");
    let parts = ["old.json is not a manifest of this rave: missing field", "hint: `rave build` writes"];
    world.run(&["diff", "old.json", "web"]).refused(1, &parts);
    world.run(&["diff", "none.json", "web"]).refused(1, &["there is no manifest none.json"]);
}
