//! What a deployment to this host would do and would run, of an image that is built.

use std::process::Output;

use rave::disk;
use serde_json::Value;

use super::controllers::{LIMITING, with_controllers};
use super::{Lab, built};

/// A machine that no host has.
const MACHINE: &str = "shown-to-a-test";

/// What `rave deploy` prints for a target of this kind.
fn shown(lab: &Lab, kind: &str, options: &[&str]) -> (Option<i32>, String) {
    let output = deployed(lab, kind, LIMITING, options);
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn deployed(lab: &Lab, kind: &str, controllers: &str, options: &[&str]) -> Output {
    let text = format!("kind: {kind}\nmachines: {{ {MACHINE}: {{ ports: {{ 22: 2299 }} }} }}\n");
    let target = format!("shown-{kind}");
    disk::create_dir_all(lab.path("project/targets")).unwrap();
    disk::write_atomic(lab.path("project/targets").join(format!("{target}.yaml")), text.as_bytes(), 0o644).unwrap();
    let [program, arguments @ ..] = with_controllers(controllers);
    let mut command = lab.program(program);
    command.args(arguments).arg(lab.path("rave"));
    command.args(["deploy", "minimal", "--to", &target]).args(options).output().unwrap()
}

#[test]
fn a_plan_and_a_dry_run_show_what_a_deployment_would_do_and_do_none_of_it() {
    if !rustix::process::geteuid().is_root() {
        // Only root may deploy to this host; there is no other one here.
        return;
    }
    let lab = built();
    for (kind, unit) in [
        ("qemu", format!("/etc/systemd/system/rave-{MACHINE}.service")),
        ("podman", format!("/etc/containers/systemd/rave-{MACHINE}.container")),
    ] {
        let (status, told) = shown(lab, kind, &["--plan", "--exit-code", "--json"]);
        let plan: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!((status, &plan[0]["machine"], &plan[0]["host"]), (Some(1), &MACHINE.into(), &"this host".into()));
        let release = plan[0]["release"].as_str().unwrap();
        assert!(release.starts_with("minimal 1.0.0 (safe, root hash "), "{release}");
        let actions = plan[0]["actions"].as_array().unwrap();
        let words: Vec<&str> = actions.iter().map(|action| action["action"].as_str().unwrap()).collect();
        assert_eq!(words, ["send-tools", "send-image", "create"]);
        assert_eq!(actions[2]["to"], release);

        let (status, told) = shown(lab, kind, &["--dry-run"]);
        assert_eq!(status, Some(0));
        for part in [
            format!("# {MACHINE} on this host\nrave host receive tools "),
            "\nrave host receive image ".to_owned(),
            "\nrave host apply\n".to_owned(),
            format!("\n# {unit}\n"),
            format!("\n# /etc/systemd/system/rave-{MACHINE}-health.timer\n"),
            "2299".to_owned(),
        ] {
            assert!(told.contains(&part), "{part}: {told}");
        }
        assert!(!disk::exists(unit) && !disk::exists(format!("/etc/rave/machines/{MACHINE}")));
    }
    let refused = deployed(lab, "podman", "cpuset cpu", &["--plan"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("lack memory, pids"), "{told}");
    let (status, told) = shown(lab, "qemu", &["--plan"]);
    let words =
        format!("{MACHINE} on this host\n  send the programs that run it\n  send the image\n  make the machine, ");
    assert!(status == Some(0) && told.starts_with(&words), "{told}");
    // What is shown to be sent is what was built.
    let manifest = lab.manifest();
    let (_, told) = shown(lab, "qemu", &["--dry-run"]);
    let image = format!("rave host receive image {}\n", manifest["disk"]["sha256"].as_str().unwrap());
    assert!(told.contains(&image), "{image}: {told}");
}
