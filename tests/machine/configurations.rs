//! Configurations that a module writes and its program cannot read: they end the build.

use rave::disk;

use crate::copy::copy;
use crate::lab::{Lab, shared};

/// What is validated, a module's file, and what is wrong in it instead of what.
const WRONG: [(&str, &str, &str, &str); 7] = [
    ("alertmanager", "services/alertmanager.yaml", "group_by: [alertname]", "group_by: 1"),
    ("caddy", "services/Caddyfile", "skip_install_trust", "skip_nothing"),
    ("chrony", "base/time.yaml", "      rtcsync\n", "      rtcnonsense\n"),
    ("nginx", "services/nginx.conf", "server_tokens off;", "server_tokens perhaps;"),
    ("prometheus", "services/postgresql.yaml", "expr: pg_up == 0", "expr: pg_up === 0"),
    ("sshd", "base/sshd_config", "\nRekeyLimit ", "\nRekeyWhenever "),
    ("sudo", "base/users/sudo.yaml", "NOPASSWD: ALL", "NOPASSWORD: ALL"),
];

/// All of them are told at once, and nothing is asked again that has not changed.
pub fn refused(lab: &Lab, image: &str) {
    let project = lab.path().join("wrong");
    copy(&shared("project"), &project);
    let build = || {
        let mut rave = lab.command(&["build", image, "--output", lab.path().join("none").to_str().unwrap()]);
        rave.env("RAVE_PROJECT", &project).output().unwrap()
    };
    for (name, file, right, wrong) in WRONG {
        let path = project.join("modules").join(file);
        let text = disk::read_to_string(&path).unwrap();
        assert_eq!(text.matches(right).count(), 1, "{name}");
        disk::write(&path, text.replace(right, wrong).as_bytes(), 0o644).unwrap();
    }
    let ended = build();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    let names: Vec<&str> =
        told.lines().filter_map(|line| Some(line.split_once(" refuses its configuration")?.0)).collect();
    let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches("error: ")).collect();
    assert_eq!(names, WRONG.map(|(name, ..)| name), "{told}");
    let said = ["rtcnonsense", "\"perhaps\"", "unexpected \"=\"", "RekeyWhenever", "skip_nothing", "NOPASSWORD"];
    assert!(said.iter().all(|word| told.contains(word)), "{told}");
    assert!(!lab.path().join("none").exists(), "{told}");

    for (_, file, ..) in WRONG {
        disk::copy(shared("project").join("modules").join(file), project.join("modules").join(file)).unwrap();
    }
    let path = project.join("modules/base/sshd_config");
    let text = disk::read_to_string(&path).unwrap();
    // The store may know the text of an earlier run.
    disk::write(&path, format!("{text}\n# Another, of {}.\n", std::process::id()).as_bytes(), 0o644).unwrap();
    let ended = build();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    let asked: Vec<&str> = told.lines().filter(|line| line.contains(" validate: ")).collect();
    assert!(ended.status.success() && asked.len() == 1 && asked[0].contains("validate: sshd "), "{told}");
}
