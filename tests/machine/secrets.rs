//! Secrets in a real machine: opened at boot, owned, rotated without a reboot, never on disk; and a boot without the
//! identity that opens them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use rave::disk;
use serde_json::Value;

use crate::copy::copy;
use crate::lab::{Ended, Lab, lines, unwell, wait_for, with_verdict};

const PASSWORDS: [&str; 2] = ["correct-horse-battery-7", "staple-battery-horse-8"];

/// What sees a secret that others may read.
pub const READABLE: [&str; 1] = ["security.secrets.db-password"];

/// What the machine runs: one service for each of two secrets.
const MODULE: &str = r#"description: Services that need secrets.
secrets:
  db-password: { kind: password, owner: agent, group: agent, mode: "0440" }
  other-token: { kind: token }
secret-files:
  app.conf: { text: "password={{ secret('db-password') }}\n", owner: agent, on-change: none }
units:
  reader.service:
    credentials: [db-password]
    service:
      Type: exec
      ExecStart: "/bin/sh -c 'sha256sum < $CREDENTIALS_DIRECTORY/db-password > /run/reader.sum && exec sleep infinity'"
    install: { WantedBy: multi-user.target }
    enable: true
  other.service:
    credentials: [other-token]
    service: { Type: exec, ExecStart: "/bin/sh -c 'exec sleep infinity'" }
    install: { WantedBy: multi-user.target }
    enable: true
"#;

/// A project of its own with the image `app`, beside the store of all scenarios.
struct Scene {
    lab: Lab,
}

impl Scene {
    /// `config` are option values of the image.
    fn new(config: &str) -> Self {
        let scene = Self { lab: Lab::new() };
        let project = scene.project();
        copy(&crate::lab::shared("project"), &project);
        let minimal = disk::read_to_string(project.join("images/minimal.yaml")).unwrap();
        let image = minimal.replace("name: minimal\n", "name: app\nimports: [app]\n");
        assert_ne!(image, minimal);
        let image = format!("{image}{config}");
        disk::write(project.join("images/app.yaml"), image.as_bytes(), 0o644).unwrap();
        disk::write(project.join("modules/app.yaml"), MODULE.as_bytes(), 0o644).unwrap();
        disk::copy(project.join("images/minimal.lock"), project.join("images/app.lock")).unwrap();
        scene.good(&["secrets", "init", "app"]);
        scene.password(PASSWORDS[0]);
        scene.good(&["build", "app", "--output", scene.lab.path().join("result").to_str().unwrap()]);
        scene
    }

    fn project(&self) -> PathBuf {
        self.lab.path().join("project")
    }

    fn identity(&self) -> PathBuf {
        self.lab.path().join("home/.config/sops/age/keys.txt")
    }

    fn rave(&self, arguments: &[&str]) -> Ended {
        let home = self.lab.path().join("home");
        disk::create_dir_all(&home).unwrap();
        let tool = self.lab.tool(env!("CARGO_BIN_EXE_rave")).env("RAVE_PROJECT", self.project()).env("HOME", home);
        Ended::from(tool.args(arguments).command().output().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> String {
        let ended = self.rave(arguments);
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout
    }

    fn password(&self, value: &str) {
        let file = self.project().join("secrets/app.yaml");
        let (path, json) = ("[\"db-password\"]", format!("\"{value}\""));
        self.good(&["secrets", "set", file.to_str().unwrap(), path, &json]);
    }

    fn boot(&self, name: &str, more: &[&str]) {
        let disk = self.lab.path().join("result/disk.raw");
        let run = ["run", disk.to_str().unwrap(), "--name", name, "--direct", "--detach"];
        self.good(&[&run[..], more].concat());
    }

    /// What a service is: a number that each start changes.
    fn invocation(&self, machine: &str, unit: &str) -> String {
        self.lab.root(machine, &format!("systemctl show --value --property=InvocationID {unit}"))
    }
}

fn sum(text: &str) -> String {
    rave::digest::Digest::of(text.as_bytes()).to_string()
}

#[test]
fn secrets_appear_rotate_and_never_reach_a_disk() {
    let scene = Scene::new("");
    let lab = &scene.lab;
    scene.boot("app", &["--identity", scene.identity().to_str().unwrap()]);

    println!("each is its owner's, in memory only, and was there before the service that needs it");
    let script = "cd /run/secrets; stat -L -c '%n %U:%G %a' db-password other-token rendered/app.conf; \
                  grep ' /run/secrets.d ' /proc/mounts | cut -d' ' -f3,4; cat /proc/sys/kernel/core_pattern";
    let told = lab.root("app", script);
    let told: Vec<&str> = told.lines().collect();
    let owners = ["db-password agent:agent 440", "other-token root:root 400", "rendered/app.conf agent:root 400"];
    assert_eq!(told[..3], owners);
    let options = ["nosuid", "nodev", "noexec", "noswap"];
    assert!(told[3].starts_with("tmpfs ") && options.iter().all(|option| told[3].contains(option)), "{told:?}");
    assert!(lab.root("app", "cat /run/reader.sum").starts_with(&sum(PASSWORDS[0])));
    assert_eq!(lab.root("app", "systemctl --failed --quiet --no-legend | wc -l"), "0");
    let (status, report) = lab.check(&["app", "--only", "security.secrets"]);
    assert_eq!(status, Some(0), "{:#?}", unwell(&report));
    assert_eq!(with_verdict(&report, "healthy").len(), 3, "{:#?}", unwell(&report));

    println!("a new value restarts the service that reads it and no other");
    let before = ["reader", "other"].map(|unit| scene.invocation("app", unit));
    scene.password(PASSWORDS[1]);
    let pushed: Value = lines(&scene.good(&["vm", "secrets", "app", "push", "--json"])).pop().unwrap();
    let changed: Vec<_> = pushed["changed"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(changed, ["rendered/app.conf", "db-password"]);
    assert_eq!(pushed["units"].as_array().unwrap().len(), 1, "{pushed}");
    assert_eq!(
        (&pushed["units"][0]["unit"], &pushed["units"][0]["act"]),
        (&"reader.service".into(), &"restart".into())
    );
    let after = ["reader", "other"].map(|unit| scene.invocation("app", unit));
    assert!(after[0] != before[0] && after[1] == before[1], "{before:?} {after:?}");
    wait_for("the new value", || lab.root("app", "cat /run/reader.sum").starts_with(&sum(PASSWORDS[1])).then_some(()));
    let again: Value = lines(&scene.good(&["vm", "secrets", "app", "push", "--json"])).pop().unwrap();
    assert_eq!((&again["changed"], &again["generation"]), (&Value::from(Vec::<Value>::new()), &pushed["generation"]));

    println!("a secret that others may read is no longer healthy");
    lab.root("app", "chmod 444 /run/secrets/db-password");
    let (status, report) = lab.check(&["app", "--stage", "security", "--skip", "security.scan", "--at-once"]);
    assert_eq!(status, Some(1), "{:#?}", unwell(&report));
    assert_eq!(with_verdict(&report, "unhealthy"), READABLE.into());

    println!("nothing of it is on a disk");
    lab.root("app", "sync");
    let identity = disk::read_to_string(scene.identity()).unwrap();
    let key = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let mut seen = 0;
    for folder in [lab.machines(), disk::canonical(lab.path().join("result/disk.raw")).unwrap()] {
        search(&folder, &[PASSWORDS[0], PASSWORDS[1], key], &mut seen);
    }
    assert!(seen > 4, "{seen} files");
    lab.good(&["vm", "stop", "app"]);
}

/// No file below holds one of `values`, as it is or encoded.
fn search(path: &Path, values: &[&str], seen: &mut usize) {
    let kind = disk::metadata(path).unwrap().file_type();
    if kind.is_dir() {
        return disk::list(path).unwrap().iter().for_each(|path| search(path, values, seen));
    }
    if !kind.is_file() {
        return;
    }
    *seen += 1;
    let bytes = disk::read(path).unwrap();
    for value in values {
        // Wherever it begins in what is encoded; the first and last characters depend on what stands beside it.
        let base64 = [(0, 0), (1, 2), (2, 3)].map(|(before, skip)| {
            let text = [&b"xx"[..before], value.as_bytes()].concat();
            base64::prelude::BASE64_STANDARD_NO_PAD.encode(text)[skip..skip + 24].to_owned()
        });
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let wide: Vec<u8> = value.bytes().flat_map(|byte| [byte, 0]).collect();
        let base64 = base64.iter().map(String::as_bytes);
        for needle in [value.as_bytes(), hex.as_bytes(), &wide].into_iter().chain(base64) {
            let finder = regex::bytes::Regex::new(&format!("(?-u){}", escape(needle))).unwrap();
            assert!(!finder.is_match(&bytes), "{} holds a secret", path.display());
        }
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

#[test]
fn a_machine_without_its_identity_says_so_and_is_reached() {
    let scene = Scene::new("");
    let lab = &scene.lab;
    let other = lab.path().join("other.txt");
    scene.good(&["secrets", "keygen", "--output", other.to_str().unwrap()]);
    for (name, more, said) in [
        ("none", &[][..], "no identity came with this machine: its 2 secrets stay closed"),
        ("wrong", &["--identity", other.to_str().unwrap()][..], "no identity opens the secrets of this machine"),
    ] {
        println!("{said}");
        scene.boot(name, more);
        let console = lab.good(&["vm", "logs", name]);
        assert_eq!(console.matches(said).count(), 1, "{console}");
        // SSH is there before the last unit has had its turn.
        assert_eq!(lab.started(name), "degraded");
        let failed = lab.root(name, "systemctl --failed --plain --no-legend | cut -d' ' -f1 | sort");
        assert_eq!(failed, "other.service\nrave-secrets.service\nreader.service");
        assert!(lab.root(name, "journalctl --unit=rave-secrets --output=cat").contains(said));
        let push = scene.rave(&["vm", "secrets", name, "push"]);
        assert!(push.status == Some(2) && push.stderr.contains("keeps the secrets that it had"), "{push:?}");
        lab.good(&["vm", "stop", name]);
    }
}

#[test]
fn each_source_of_an_identity_opens_the_secrets() {
    let sources =
        "{ encrypted: /var/lib/rave/id.cred, identity-files: [/var/lib/id.txt], volume: true, host-key: true }";
    let scene = Scene::new(&format!("  base.secrets: {sources}\n"));
    let lab = &scene.lab;
    scene.boot("app", &[]);
    let open = || lab.root("app", "systemctl restart rave-secrets && echo open || echo closed");
    let right = disk::read_to_string(scene.identity()).unwrap();
    let wrong = lab.path().join("wrong.txt");
    scene.good(&["secrets", "keygen", "--output", wrong.to_str().unwrap()]);
    let wrong = disk::read_to_string(&wrong).unwrap();
    let seal = |identity: &str| {
        let creds = "mkdir -p /var/lib/rave; systemd-creds -q encrypt --with-key=host --name=rave.identity - - ";
        format!("{creds} > /var/lib/rave/id.cred <<'END'\n{identity}\nEND")
    };
    let write = |path: &str| format!("(umask 77; cat > {path} <<'END'\n{right}\nEND\n)");
    let volume = "truncate -s 4M /run/volume; mkfs.ext4 -q -L RAVE-IDENTITY /run/volume; mkdir /run/v; \
                  mount -o loop /run/volume /run/v";
    let volume = format!(
        "{volume}; {}; umount /run/v; losetup /dev/loop7 /run/volume; udevadm settle",
        write("/run/v/identity.txt")
    );
    // The start has waited for the volume as long as the image says; seven times more would be seen to do the same.
    let device = r"/run/systemd/system/dev-disk-by\x2dlabel-RAVE\x2dIDENTITY.device.d";
    let short = r"[Unit]\nJobRunningTimeoutSec=1\n";
    lab.root("app", &format!("mkdir '{device}'; printf '{short}' > '{device}/zz.conf'; systemctl daemon-reload"));
    // Each but the first stands beside a sealed identity that opens nothing, which must not hide it.
    for (name, give, take) in [
        ("sealed by the machine", seal(&right), seal(&wrong)),
        ("a file", write("/var/lib/id.txt"), "rm /var/lib/id.txt".to_owned()),
        ("a volume", volume, "umount /run/rave/identity; losetup -d /dev/loop7".to_owned()),
    ] {
        println!("{name}");
        assert_eq!(open(), "closed");
        lab.root("app", &give);
        assert_eq!(open(), "open");
        assert_eq!(
            lab.root("app", "sha256sum < /run/secrets/db-password").split(' ').next(),
            Some(sum(PASSWORDS[0]).as_str())
        );
        lab.root("app", &take);
    }

    println!("the host key of SSH");
    assert_eq!(open(), "closed");
    let key = lab.root("app", "cut -d' ' -f1,2 /var/lib/ssh/ssh_host_ed25519_key.pub");
    let rules = scene.project().join(".sops.yaml");
    let text = disk::read_to_string(&rules).unwrap();
    let sealed = format!("creation_rules:\n  - path_regex: ^images/app\\.secrets$\n    age: {key}\n");
    let changed = text.replacen("creation_rules:\n", &sealed, 1);
    assert_ne!(changed, text);
    disk::write(&rules, changed.as_bytes(), 0o644).unwrap();
    scene.password(PASSWORDS[1]);
    scene.good(&["vm", "secrets", "app", "push"]);
    assert_eq!(
        lab.root("app", "sha256sum < /run/secrets/db-password").split(' ').next(),
        Some(sum(PASSWORDS[1]).as_str())
    );
    assert_eq!(open(), "open");
    lab.good(&["vm", "stop", "app"]);
}
