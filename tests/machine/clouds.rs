//! Rehearsals of clouds: the machine finds its datasource by itself, and does what examples of cloud-init's own
//! documentation say, which are read from its Debian package (/usr/share/doc/cloud-init/examples).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rave::disk;
use serde_json::Value;

use crate::lab::{Fault, Lab, checks, lines, verdicts, with_verdict};
use crate::package;

const EXAMPLES: &str = "usr/share/doc/cloud-init/examples";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";

/// What cloud-init leaves behind when it could not do what it was told.
pub const FAULT: Fault = Fault {
    breaks: "sed -i 's/\"errors\": \\[/&\"runcmd\"/' /run/cloud-init/result.json",
    mends: "",
    seen_by: &["services.cloud.provisioned"],
};

/// A rehearsal, and what must be true in the machine then.
struct Scene {
    cloud: &'static str,
    user_data: String,
    says: &'static [(&'static str, &'static str)],
    /// What a second instance with the disk of this one is told, if there is to be one.
    second: Option<String>,
}

#[test]
fn a_machine_finds_itself_in_each_cloud_and_does_as_it_is_told() {
    let lab = Lab::alone(|lab| {
        lab.good(&["lock", "cloud"]);
        lab.good(&["build", "cloud", "--output", lab.path().join("cloud").to_str().unwrap()]);
        refused(lab);
        exported(lab, &examples()["seed/user-data"]);
    });
    let examples = examples();
    let scenes = scenes(&examples);
    // Some of it is waiting, so two machines at a time.
    for pair in scenes.chunks(2) {
        std::thread::scope(|scope| {
            pair.iter().for_each(|scene| drop(scope.spawn(|| rehearse(&lab, scene))));
            if pair.len() == 1 {
                scope.spawn(|| no_service(&lab));
            }
        });
    }
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<PathBuf>::new());
}

/// The examples of the package that the image was made of, by name.
fn examples() -> BTreeMap<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    package::files("cloud", "cloud-init", EXAMPLES).into_iter().map(|(name, bytes)| (name, text(bytes))).collect()
}

fn parsed(examples: &BTreeMap<String, String>, name: &str) -> Value {
    serde_yaml::from_str(&examples[name]).unwrap()
}

fn config(value: &Value) -> String {
    format!("#cloud-config\n{value}\n")
}

/// What an instance is told: the example with a script, and to write down where that has run.
fn instance(examples: &BTreeMap<String, String>, name: &str, users: &[&str]) -> String {
    let mut told = parsed(examples, "seed/user-data");
    told["runcmd"].as_array_mut().unwrap().push("uname -n >> /var/home/ran".into());
    told["hostname"] = name.into();
    let made = users.iter().map(|user| serde_json::json!({"name": user, "ssh_authorized_keys": [KEY]}));
    told["users"] = std::iter::once(Value::from("default")).chain(made).collect();
    told["write_files"] = serde_json::json!([{"path": format!("/etc/of-{name}"), "content": name}]);
    config(&told)
}

fn scenes(examples: &BTreeMap<String, String>) -> [Scene; 5] {
    // What no machine without the Internet could do is left out of them, and so is what an image is made of.
    let users = parsed(examples, "cloud-config-user-groups.txt");
    let alone = |user: &&Value| user == &"default" || user["name"] == "cloudy";
    let users = serde_json::json!({
        "groups": users["groups"],
        "users": users["users"].as_array().unwrap().iter().filter(alone).collect::<Vec<_>>(),
    });
    let mut commands = parsed(examples, "cloud-config-run-cmds.txt");
    commands["runcmd"].as_array_mut().unwrap().retain(|command| command[0] != "wget");
    let mut files = parsed(examples, "cloud-config-write-files.txt");
    files["write_files"].as_array_mut().unwrap().retain(|file| file["path"] == "/etc/sysconfig/samba");
    [
        Scene {
            cloud: "nocloud",
            user_data: instance(examples, "first", &["ana"]),
            says: &[("journalctl -b -o cat", "HI WORLD")],
            second: Some(instance(examples, "second", &[])),
        },
        Scene {
            cloud: "ec2",
            user_data: examples["user-script.txt"].clone(),
            says: &[("journalctl -b -o cat", "I was input via user data"), ("lsblk -no NAME", "nvme0n1")],
            second: None,
        },
        Scene {
            cloud: "gce",
            user_data: config(&users),
            says: &[
                ("getent passwd cloudy", "Magic Cloud App Daemon User"),
                ("getent group cloud-users admingroup", "admingroup:"),
                ("lsblk -no NAME", "sda"),
            ],
            second: None,
        },
        Scene {
            cloud: "azure",
            user_data: config(&files),
            says: &[("cat /etc/sysconfig/samba", "SMBDOPTIONS=\"-D\"")],
            second: None,
        },
        Scene {
            cloud: "openstack",
            user_data: config(&commands),
            says: &[("stat -c %F /run/mydir", "directory"), ("journalctl -b -o cat", "hello world")],
            second: None,
        },
    ]
}

/// The disk and the seed in one archive, for programs of other people.
fn exported(lab: &Lab, user_data: &str) {
    println!("a disk and its seed are exported together");
    let (folder, user_data) = (lab.path().join("export"), files(lab, "export", user_data).0);
    let output = text(&folder);
    lab.good(&["export", "cloud", "--format", "nocloud,qcow2", "--user-data", &user_data, "--output", &output]);
    let tar = |arguments: &[&str]| lab.tool("tar").args(arguments).current_dir(&folder).output().unwrap();
    assert_eq!(tar(&["-tf", "cloud_1.0.0.nocloud.tar"]), b"cloud_1.0.0.qcow2\nseed.iso\n");
    let disk_inside = tar(&["-xOf", "cloud_1.0.0.nocloud.tar", "cloud_1.0.0.qcow2"]);
    assert!(disk_inside == disk::read(folder.join("cloud_1.0.0.qcow2")).unwrap());
    disk::write_atomic(folder.join("seed.iso"), &tar(&["-xOf", "cloud_1.0.0.nocloud.tar", "seed.iso"]), 0o600).unwrap();
    let label = lab.tool("blkid").args(["-p", "-o", "value", "-s", "LABEL", "-s", "TYPE"]).arg(folder.join("seed.iso"));
    assert_eq!(label.output().unwrap(), b"cidata\niso9660\n");
}

/// Writes user-data and the public key; returns their paths.
fn files(lab: &Lab, name: &str, user_data: &str) -> (String, String) {
    let path = |what: &str| lab.path().join(format!("{name}-{what}"));
    disk::write_atomic(path("user-data"), user_data.as_bytes(), 0o600).unwrap();
    disk::write_atomic(path("key.pub"), format!("{KEY}\n").as_bytes(), 0o644).unwrap();
    (text(&path("user-data")), text(&path("key.pub")))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Rehearses; returns the exit status, the report and what was said besides.
fn run(lab: &Lab, name: &str, cloud: &str, user_data: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let (user_data, key) = files(lab, name, user_data);
    let arguments = ["run", "cloud", "--direct", "--name", name, "--json", "--cloud", cloud, "--user-data", &user_data];
    let ended = lab.rave(&[&arguments[..], &["--cloud-key", &key], more].concat());
    let report = lines(&ended.stdout).into_iter().rfind(|line| line["stages"].is_array());
    (ended.status, report.unwrap_or_else(|| panic!("{cloud}: {ended:?}")), ended.stderr)
}

/// Rehearses with a machine that goes on and is well in all stages.
fn well(lab: &Lab, name: &str, cloud: &str, user_data: &str, more: &[&str]) {
    let (status, report, _) = run(lab, name, cloud, user_data, &[&["--detach"], more].concat());
    let bad: Vec<&Value> = checks(&report).into_iter().filter(|check| check["verdict"] == "unhealthy").collect();
    assert_eq!(status, Some(0), "{cloud}: {bad:#?}");
    assert_eq!(verdicts(&report).len(), 6);
    assert!(with_verdict(&report, "healthy").contains("services.rehearsal.datasource"), "{cloud}");
}

fn rehearse(lab: &Lab, scene: &Scene) {
    let Scene { cloud, user_data, says, second } = scene;
    println!("{cloud}: the datasource is found, all stages are healthy");
    well(lab, cloud, cloud, user_data, if second.is_some() { &["--persist"] } else { &[] });

    println!("{cloud}: what user-data and the provider say is done");
    for (command, expected) in *says {
        let told = lab.root(cloud, command);
        assert!(told.contains(expected), "{cloud}: {command}: {told}");
    }
    assert!(lab.root(cloud, "cat /run/rave/authorized_keys/agent").contains(KEY), "{cloud}: the provider's key");
    if *cloud != "nocloud" {
        println!("{cloud}: once it is over, nobody answers at the provider's address, and nothing else is reached");
        let ask = "import socket; socket.create_connection(('169.254.169.254', 80), 10)";
        assert!(lab.root(cloud, &format!("python3 -c \"{ask}\" 2>&1 || true")).contains("Error"), "{cloud}");
    }
    if *cloud == "openstack" {
        println!("{cloud}: who has units read again keeps its id");
        assert_eq!(lab.root(cloud, "systemctl daemon-reload; wc -c < /etc/machine-id"), "33");

        println!("{cloud}: what cloud-init could not do is seen");
        lab.seen(&[*cloud, "--stage", "services"], &[FAULT], &[]);
    }
    if let Some(second) = second {
        again(lab, cloud, user_data, second);
    }
    lab.good(&["vm", "rm", "--force", cloud]);
}

/// A kept disk starts again as the same instance, and then as another one of another cloud: /etc is of user-data, /var stays.
fn again(lab: &Lab, cloud: &str, first: &str, second: &str) {
    let facts = || {
        let asked = [
            "echo is $(uname -n) $(id -un ana 2>/dev/null)",
            "echo etc $(cd /etc; ls -d by-hand of-* 2>/dev/null)",
            "echo var $(cat /var/home/by-hand 2>/dev/null)",
            "echo ran $(cat /var/home/ran)",
            &format!("echo keys $(cd /run/rave/authorized_keys; grep -lF '{KEY}' agent ana 2>/dev/null)"),
        ];
        lab.root(cloud, &asked.join("; "))
    };
    let id = || lab.root(cloud, "cat /var/lib/rave-cloud/instance-id");
    let restart = |now: &str, user_data: &str, more: &[&str]| {
        lab.good(&["vm", "stop", "--grace", "120", cloud]);
        well(lab, cloud, now, user_data, &[&["--persist"], more].concat());
    };
    assert_eq!(facts(), "is first ana\netc of-first\nvar\nran first\nkeys agent ana");
    let before = id();
    lab.root(cloud, "mount -o remount,bind,rw /etc; echo kept | tee /etc/by-hand > /var/home/by-hand; sync");
    assert_eq!(facts(), "is first ana\netc by-hand of-first\nvar kept\nran first\nkeys agent ana");

    println!("{cloud}: the next boot makes the same of user-data, has nothing of what was written into /etc by hand");
    restart(cloud, first, &[]);
    assert_eq!(facts(), "is first ana\netc of-first\nvar kept\nran first\nkeys agent ana");
    assert_eq!(id(), before);

    println!("{cloud}: as another instance, by a config drive, it runs scripts again, and has of the first /var only");
    restart("configdrive", second, &["--cloud-instance", "second"]);
    assert_eq!(facts(), "is second\netc of-second\nvar kept\nran first second\nkeys agent");
    assert_ne!(id(), before);
}

/// A machine comes up where nobody answers, and says what became of it.
fn no_service(lab: &Lab) {
    println!("a metadata service that hangs is seen, and holds nobody up");
    let hang = ["--cloud-fault", "hang", "--timeout", "600"];
    let (status, report, _) = run(lab, "broken", "openstack", "#cloud-config\n{}\n", &hang);
    assert_eq!(status, Some(1));
    let seen = checks(&report).into_iter().find(|check| check["id"] == "services.rehearsal.datasource").unwrap();
    assert_eq!((&seen["verdict"], &seen["expected"]), (&"unhealthy".into(), &"openstack".into()));
    assert!(seen["observed"].as_str().unwrap().contains("metadata service"), "{seen}");
    let bad = with_verdict(&report, "unhealthy");
    assert!(!bad.iter().any(|id| id.starts_with("ssh.") || id.starts_with("security.")), "{bad:?}");
}

/// What makes no sense costs no boot and leaves nothing.
fn refused(lab: &Lab) {
    println!("what makes no sense is refused before anything starts");
    let (good, key) = files(lab, "refused", "#cloud-config\nhostname: x\n");
    let wrong = |name: &str, user_data: &str| files(lab, name, user_data).0;
    let (broken, foreign) = (wrong("broken", "#cloud-config\na: [\n"), wrong("foreign", "hostname: x\n"));
    let large = wrong("large", &format!("#!/bin/sh\n# {}\n", "x".repeat(20_000)));
    for (arguments, status, said) in [
        (&["cloud", "--cloud", "ec2", "--user-data", broken.as_str()][..], 1, "broken-user-data"),
        (&["cloud", "--cloud", "ec2", "--user-data", foreign.as_str()], 1, "the first line must be #cloud-config"),
        (&["cloud", "--cloud", "ec2", "--user-data", large.as_str()], 1, "at most"),
        (&["cloud", "--cloud", "ec2", "--cloud-key", good.as_str()], 1, "is no public key"),
        (&["cloud", "--cloud", "nocloud", "--cloud-fault", "hang"], 1, "no service that could fail"),
        (&["minimal", "--cloud", "ec2", "--cloud-key", key.as_str()], 1, "cloud.enable: true"),
    ] {
        let ended = lab.rave(&[&["run"], arguments].concat());
        assert_eq!(ended.status, Some(status), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("xxxx"), "user-data is not printed");
    }
    assert!(lab.list().is_empty());
}
