//! Commands about machines where there is none, and what they refuse before anything is fetched or built.

use super::world::{World, ran, text};

#[test]
fn an_unknown_machine_is_wrong_input_for_every_verb() {
    let world = World::new();
    assert_eq!(world.run(&["vm", "list", "--json"]).json(), serde_json::json!([]));
    assert_eq!(world.run(&["vm", "ls"]).clean(), "NAME  STATE  ACCEL  SSH  HTTPS\n");
    let before = world.files();
    let verbs: [&[&str]; 12] = [
        &["ssh", "web"],
        &["ssh", "web", "--", "true"],
        &["console", "web"],
        &["logs", "web"],
        &["logs", "web", "--follow"],
        &["journal", "web"],
        &["screenshot", "web"],
        &["gdb", "web"],
        &["fault", "web", "reboot-loop", "--within", "3600"],
        &["stop", "web"],
        &["rm", "web"],
        &["rm", "web", "--force"],
    ];
    for verb in verbs {
        let ran = world.run(&[&["vm"], verb].concat());
        ran.refused(1, &["error: there is no machine web", "hint: `rave vm list` shows the machines"]);
    }
    for name in ["../web", "Web", "", "a/b", "-", "web\n"] {
        world.run(&["vm", "logs", "--", name]).refused(1, &["is not an image name"]);
    }
    assert_eq!(world.files(), before);
}

/// Before hours of building, and before a store is made.
#[test]
fn a_qemu_that_is_not_there_is_told_at_once() {
    let world = World::new();
    world.lock("minimal", &[]);
    let before = world.files();
    for verb in ["run", "up", "check"] {
        let ran = world.run(&[verb, "minimal", "--qemu", "/nonexistent/qemu"]);
        ran.refused(1, &["error: there is no QEMU at /nonexistent/qemu", "hint: without --qemu"]);
    }
    let ran = ran(world.rave().env("RAVE_QEMU", "/nonexistent").args(["run", "minimal"]));
    ran.refused(1, &["there is no QEMU at /nonexistent"]);
    assert_eq!(world.files(), before);
}

#[test]
fn what_is_no_identity_is_refused_without_showing_it() {
    let world = World::new();
    world.lock("minimal", &[]);
    for (secret, said) in [
        ("hunter2-very-secret\n", "home/keys.txt: line 1 is not an age identity"),
        ("AGE-SECRET-KEY-1HUNTER2\n", "home/keys.txt: line 1 is not an age identity"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n", "home/keys.txt: it is not an SSH private key"),
        ("# none\n", "home/keys.txt holds no age identity"),
    ] {
        let path = world.write("home/keys.txt", secret);
        let before = world.files();
        for verb in ["run", "up", "check"] {
            let ran = world.run(&[verb, "minimal", "--verbose", "--verbose", "--identity", text(&path)]);
            ran.refused(1, &[said, "hint: `rave secrets keygen --output FILE` makes one"]);
            assert!(!ran.stderr.to_lowercase().contains("hunter2"), "{}", ran.stderr);
        }
        assert_eq!(world.files(), before);
    }
    let path = world.path("home/none.txt");
    world.run(&["run", "minimal", "--identity", text(&path)]).refused(1, &["home/none.txt", "No such file"]);
    let path = world.write("home/large.txt", vec![b'#'; 1 << 20]);
    world.run(&["run", "minimal", "--identity", text(&path)]).refused(1, &["large.txt is too large"]);
}

#[test]
fn a_machine_needs_a_name_that_can_be_one() {
    let world = World::new();
    world.lock("minimal", &[]);
    let before = world.files();
    for name in ["../web", "Web", "", "a b"] {
        world.run(&["run", "minimal", "--name", name]).refused(1, &["is not an image name"]);
    }
    assert_eq!(world.files(), before);
}

#[test]
fn a_hardware_clock_tells_a_time_that_it_can() {
    let world = World::new();
    world.lock("minimal", &[]);
    let before = world.files();
    for time in [
        "yesterday",
        "1979-12-31",
        "2080-01-01",
        "2001-02-30",
        "2001-09-09,driftfix=slew",
        "2001-09-09T01:00+05:00",
        "2001-09-09 01:00-05",
        "-1",
    ] {
        let ran = world.run(&["run", "minimal", &format!("--rtc={time}")]);
        ran.refused(1, &["--rtc", "expected a time from 1980 to 2079, such as 2001-09-09T01:46:40"]);
    }
    assert_eq!(world.files(), before);
}

#[test]
fn what_a_check_could_not_report_is_told_before_anything_is_asked() {
    let world = World::new();
    world.lock("minimal", &[]);
    let before = world.files();
    for option in ["--junit", "--markdown", "--sarif", "--bundle"] {
        let ran = world.run(&["check", "minimal", option, "nowhere/report"]);
        ran.refused(1, &["there is no directory nowhere", "hint: nowhere/report is to be written there"]);
    }
    let ran = world.run(&["check", "minimal", "--stage", "ssh", "--sarif", "report.sarif"]);
    ran.refused(1, &["--sarif tells of the stage security"]);
    world.run(&["check", "minimal", "--every", "5"]).refused(1, &["--watch"]);
    world.run(&["check", "minimal", "--watch", "--bundle", "b"]).refused(1, &["--watch", "--bundle"]);
    for option in ["--deadline", "--check-deadline", "--every"] {
        world.run(&["check", "minimal", "--watch", option, "0"]).refused(1, &[option, "0 is not in 1..=86400"]);
    }
    world.run(&["check", "minimal", "--wait", "soon"]).refused(1, &["--wait", "soon"]);
    assert_eq!(world.files(), before);
}

#[test]
fn a_machine_elsewhere_needs_an_address_a_manifest_and_keys_that_can_be_right() {
    let world = World::new();
    world.lock("minimal", &[]);
    world.build(1, &[]);
    world.write("project/images/web.yaml", "name: web\nversion: 1.0.0\n");
    let before = world.files();
    let check = |arguments: &[&str]| world.run(&[&["check"], arguments].concat());
    check(&["--ssh", "ops@web"]).refused(1, &["<TARGET>"]);
    check(&["minimal", "--manifest", "m.json"]).refused(1, &["--ssh"]);
    check(&["minimal", "--ssh-key", "k"]).refused(1, &["--ssh"]);
    check(&["--ssh", "ops@web", "--manifest", "none.json"]).refused(1, &["there is no file none.json"]);
    check(&["nosuch", "--ssh", "ops@web"]).refused(1, &["there is no image `nosuch`"]);
    assert_eq!(world.files(), before);
    let ran = check(&["minimal", "--ssh", "ops@web"]);
    ran.refused(1, &["minimal was not built here", "hint: --manifest names the manifest.json"]);
    world.write("project/bad.json", "{}");
    check(&["--ssh", "ops@web", "--manifest", "bad.json"]).refused(1, &["bad.json is no manifest of this rave"]);
    // The newest build of web, which lets no user in.
    for (place, said) in [("host", "USER@HOST"), ("-oProxyCommand=x@host", "USER@HOST"), ("ops@host:x", "port")] {
        check(&["web", &format!("--ssh={place}")]).refused(1, &[said]);
    }
    let ran = check(&["web", "--ssh", "ops@127.0.0.1:1", "--https", "http://web"]);
    ran.refused(1, &["--https http://web: it does not begin with https://"]);
    let ran = check(&["web", "--ssh", "ops@127.0.0.1:1", "--https", "https://web"]);
    ran.refused(1, &["the image has not one port that serves HTTPS", "hint: without --https"]);
    let ran = check(&["web", "--ssh", "ops@127.0.0.1:1", "--host-key", "ssh-ed25519 x"]);
    ran.refused(1, &["--host-key: ", "hint: it begins like ssh-ed25519"]);
    for option in ["--only", "--skip"] {
        check(&["web", "--ssh", "ops@127.0.0.1:1", option, "moon"]).refused(1, &["there is no check `moon`"]);
    }
    check(&["web", "--ssh", "ops@127.0.0.1:1", "--ssh-key", "none"]).refused(1, &["there is no key at none"]);
}

/// Nobody listens at port 1: the report says so of each check, and is not taken for that of a healthy machine.
#[test]
fn a_machine_elsewhere_that_is_not_there_makes_a_report_that_says_so() {
    let world = World::new();
    world.build(1, &[]);
    world.write("project/images/web.yaml", "name: web\nversion: 1.0.0\n");
    let files = ["--junit", "j.xml", "--markdown", "m.md", "--sarif", "s.json"];
    let place = ["check", "web", "--json", "--ssh", "ops@127.0.0.1:1", "--wait", "0", "--skip", "services.journal"];
    let ran = ran(world.rave().env("PATH", "/usr/bin:/bin").args(place).args(files));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(report["healthy"], false);
    let services = report["stages"][2]["checks"].as_array().unwrap().clone();
    for check in &services {
        let verdict = if check["id"] == "services.journal" { "not-applicable" } else { "skipped" };
        assert_eq!(check["verdict"], verdict, "{check}");
    }
    assert!(services.len() > 3);
    let read = |name: &str| std::fs::read_to_string(world.path(&format!("project/{name}"))).unwrap();
    assert!(read("j.xml").contains("<error message=\"skipped: "));
    assert!(read("m.md").contains("## rave check: not healthy") && read("m.md").contains("services.journal"));
    let log: serde_json::Value = serde_json::from_str(&read("s.json")).unwrap();
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
    assert!(!log["runs"][0]["results"].as_array().unwrap().is_empty());
}

#[test]
fn a_debugger_has_the_users_environment_and_what_is_typed() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let state = serde_json::json!({
        "name": "web", "process": null, "accelerator": "tcg", "forwards": [], "persist": false, "detach": false, "notes": {},
        "base": {"path": "/nowhere", "length": 1, "modified": 1},
    });
    world.write("state/rave/vms/web/vm.json", state.to_string());
    let _stub = std::os::unix::net::UnixListener::bind(world.path("state/rave/vms/web/gdb.sock")).unwrap();
    let folder = world.path("bin");
    let gdb = world.write("bin/gdb", "#!/bin/sh\necho \"$TERM $*\"\ncat\n");
    std::fs::set_permissions(gdb, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.rave();
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.display())).env("TERM", "dumb");
    let told = ran(command.args(["vm", "gdb", "web", "--", "-n"]).write_stdin("info threads\n"));
    let socket = world.path("state/rave/vms/web/gdb.sock");
    assert_eq!(told.clean(), format!("dumb -q -ex target remote {} -n\ninfo threads\n", socket.display()));
    let none = ran(world.rave().env("PATH", "/nonexistent").args(["vm", "gdb", "web"]));
    none.refused(2, &["there is no gdb on this host", text(&socket)]);
}
