//! Rehearsals of clouds: the machine finds its datasource by itself, and does what examples of cloud-init's own
//! documentation say, which are read from its Debian package (/usr/share/doc/cloud-init/examples).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rave::disk;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::copy::copy;
use crate::lab::{Fault, Lab, checks, lines, shared, unwell, verdicts, with_verdict};
use crate::package;

const EXAMPLES: &str = "usr/share/doc/cloud-init/examples";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";

/// The image `told` has a secret, and user-data brings what opens it.
const MODULE: &str = "description: A secret.\nsecrets: { word: { kind: token } }\n";
const TOLD: &str = "name: told\nversion: 1.0.0\nextends: cloud\nimports: [word]\n";

/// The image `hasty` does not wait long for its provider.
const HASTY: &str = "name: hasty\nversion: 1.0.0\nextends: cloud\nconfig: { cloud.give-up: 30s }\n";

/// What the provider says of the machine, which the owner has the last word on.
const VENDOR: &str = "#cloud-config\nhostname: of-the-vendor\nbootcmd: [touch /run/of-the-vendor]\n";

/// The one card of a machine that rave runs, and the address that its host forwards ports to.
const MAC: &str = "52:54:00:12:34:56";
const ADDRESS: &str = "10.0.2.15/24";

/// Asks for a provider's services.
const NOBODY: &str = "python3 -c \"import socket; socket.create_connection(('169.254.169.254', 80), 10)\" 2>&1 || true";

/// Targets of all kinds that user-data provisions, and the file that is uploaded there. None of them exists.
const TARGETS: [(&str, &str, &str); 4] = [
    (
        "aws",
        "/objects/disk/",
        "kind: aws\nregion: eu-central-1\nssh-key: check\n\
         machines: { web-1: { instance-type: t3.small, user-data: web-1 } }\n",
    ),
    (
        "gcp",
        "cloud_1.0.0.gce.tar.gz",
        "kind: gcp\nproject: shop\nzone: europe-west3-a\nbucket: shop\nssh-key: check\n\
         machines: { web-1: { machine-type: e2-small, user-data: web-1 } }\n",
    ),
    (
        "azure",
        "cloud_1.0.0.vhd",
        "kind: azure\nresource-group: shop\nlocation: westeurope\nstorage-account: shop\ncontainer: images\n\
         ssh-key: check\nmachines:\n  \
         web-1: { size: Standard_B2s, user-data: web-1, vnet: shop, subnet: web, security-group: web }\n",
    ),
    (
        "cluster",
        "cloud_1.0.0.containerdisk.tar",
        "kind: kubevirt\nnamespace: shop\nrepository: registry.example.org/vm/cloud\nephemeral: true\n\
         machines: { web-1: {} }\n",
    ),
];

/// What cloud-init leaves behind when it could not do what it was told.
pub const FAULT: Fault = Fault {
    breaks: "sed -i 's/\"errors\": \\[/&\"runcmd\"/' /run/cloud-init/result.json",
    mends: "",
    seen_by: &["services.cloud.provisioned"],
};

/// A rehearsal, and what must be true in the machine then.
struct Scene {
    image: &'static str,
    cloud: &'static str,
    user_data: String,
    /// What else `rave run` is given.
    more: Vec<String>,
    says: &'static [(&'static str, &'static str)],
    /// What happens to its disk then.
    later: Option<Later>,
}

/// What a disk that is kept is told when it starts again.
struct Later {
    /// Its own instance, with an address that has ended besides.
    ended: String,
    /// Another instance.
    second: String,
}

#[test]
fn a_machine_finds_itself_in_each_cloud_and_does_as_it_is_told() {
    let mut lab = Lab::new();
    let project = lab.path().join("project");
    copy(&shared("project"), &project);
    disk::write_atomic(project.join("modules/word.yaml"), MODULE.as_bytes(), 0o644).unwrap();
    for (image, text) in [("told", TOLD), ("hasty", HASTY)] {
        disk::write_atomic(project.join(format!("images/{image}.yaml")), text.as_bytes(), 0o644).unwrap();
    }
    lab.use_project(project.clone());
    lab.good(&["lock", "cloud"]);
    let lock = project.join("images/cloud.lock");
    for image in ["told", "hasty"] {
        disk::copy(&lock, project.join(format!("images/{image}.lock"))).unwrap();
    }
    lab.good(&["secrets", "init", "told"]);
    for image in ["cloud", "told", "hasty"] {
        lab.good(&["build", image, "--output", lab.path().join(image).to_str().unwrap()]);
    }
    refused(&lab);
    exported(&lab, &examples(&lock)["seed/user-data"]);
    shown(&lab);
    let examples = examples(&lock);
    let identity = lab.path().join("home/.config/sops/age/keys.txt");
    let bucket = Bucket::open(disk::read(&identity).unwrap());
    let scenes = scenes(&lab, &examples, &identity, &bucket);
    let mut tasks: Vec<Box<dyn Fn() + Sync + '_>> = Vec::new();
    tasks.extend(scenes.iter().map(|scene| Box::new(|| rehearse(&lab, scene)) as Box<dyn Fn() + Sync>));
    // cloud-init itself would wait for ever.
    tasks.push(Box::new(|| no_service(&lab, "hasty", "gce", "hang", "error: sys.exit(1) called")));
    tasks.push(Box::new(|| no_service(&lab, "cloud", "gce", "lie", "DataSourceGCE'> failed")));
    tasks.push(Box::new(|| nowhere(&lab)));
    // Some of it is waiting, so two machines at a time.
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            task();
        }
    };
    std::thread::scope(|scope| [(); 2].map(|()| drop(scope.spawn(work))));
    assert_eq!(bucket.given(), 2, "each boot of the instance that has the address fetches it");
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<PathBuf>::new());
}

/// The examples of the package that the image was made of, by name.
fn examples(lock: &Path) -> BTreeMap<String, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    package::files(lock, "cloud-init", EXAMPLES).into_iter().map(|(name, bytes)| (name, text(bytes))).collect()
}

fn parsed(examples: &BTreeMap<String, String>, name: &str) -> Value {
    serde_yaml::from_str(&examples[name]).unwrap()
}

fn config(value: &Value) -> String {
    format!("#cloud-config\n{value}\n")
}

/// What an instance is told: the example with a script, to write down where that has run, an authority if it needs one, and
/// what opens its secrets, as `identity` has it rendered.
fn instance(
    lab: &Lab,
    examples: &BTreeMap<String, String>,
    name: &str,
    users: &[&str],
    identity: &[&str],
    authority: Option<&str>,
) -> String {
    let output = lab.path().join(format!("{name}-rendered"));
    let rendered = ["cloud-init", "render", "told", "--output", output.to_str().unwrap()];
    lab.good(&[&rendered[..], identity].concat());
    let rendered: Value = serde_yaml::from_str(&disk::read_to_string(output).unwrap()).unwrap();
    let mut files = rendered["write_files"].as_array().unwrap().clone();
    files.push(json!({"path": format!("/etc/of-{name}"), "content": name}));
    let mut told = parsed(examples, "seed/user-data");
    told["runcmd"].as_array_mut().unwrap().push("uname -n >> /var/home/ran".into());
    told["hostname"] = name.into();
    let made = users.iter().map(|user| json!({"name": user, "ssh_authorized_keys": [KEY]}));
    told["users"] = std::iter::once(Value::from("default")).chain(made).collect();
    told["write_files"] = files.into();
    if let Some(authority) = authority {
        told["ca_certs"] = json!({"trusted": [authority]});
    }
    config(&told)
}

fn scenes(lab: &Lab, examples: &BTreeMap<String, String>, identity: &Path, bucket: &Bucket) -> [Scene; 5] {
    // By reference where the network leads anywhere, and elsewhere on a seed that nobody else reads.
    let (address, file) = (bucket.address(), text(identity));
    let by_reference = ["--identity-url", address.as_str()];
    let plain = ["--cloud", "nocloud", "--identity", file.as_str()];
    let first = instance(lab, examples, "first", &["ana"], &by_reference, Some(bucket.authority()));
    let mut ended: Value = serde_yaml::from_str(&first).unwrap();
    let late = json!({"path": "/etc/late", "source": {"uri": bucket.ended()}});
    ended["write_files"].as_array_mut().unwrap().push(late);
    let vendor = lab.path().join("of-the-vendor");
    disk::write_atomic(&vendor, VENDOR.as_bytes(), 0o600).unwrap();
    // What no machine without the Internet could do is left out of them, and so is what an image is made of.
    let users = parsed(examples, "cloud-config-user-groups.txt");
    let alone = |user: &&Value| user == &"default" || user["name"] == "cloudy";
    let users = json!({
        "groups": users["groups"],
        "users": users["users"].as_array().unwrap().iter().filter(alone).collect::<Vec<_>>(),
    });
    let mut commands = parsed(examples, "cloud-config-run-cmds.txt");
    commands["runcmd"].as_array_mut().unwrap().retain(|command| command[0] != "wget");
    let mut files = parsed(examples, "cloud-config-write-files.txt");
    files["write_files"].as_array_mut().unwrap().retain(|file| file["path"] == "/etc/sysconfig/samba");
    [
        Scene {
            image: "told",
            cloud: "nocloud",
            user_data: first,
            more: Vec::new(),
            says: &[("journalctl -b -o cat", "HI WORLD")],
            later: Some(Later { ended: config(&ended), second: instance(lab, examples, "second", &[], &plain, None) }),
        },
        Scene {
            image: "told",
            cloud: "ec2",
            user_data: examples["user-script.txt"].clone(),
            more: vec!["--identity".to_owned(), file.clone()],
            says: &[
                ("journalctl -b -o cat", "I was input via user data"),
                ("lsblk -no NAME", "nvme0n1"),
                ("stat -L -c %U /run/secrets/word", "root"),
                // As a credential, beside all that the provider tells.
                ("ls /run/credentials/@system", "rave.identity"),
                ("grep -rlF AGE-SECRET-KEY- /var/lib/cloud /run/cloud-init || echo not told", "not told"),
            ],
            later: None,
        },
        Scene {
            image: "cloud",
            cloud: "gce",
            user_data: config(&users),
            more: Vec::new(),
            says: &[
                ("getent passwd cloudy", "Magic Cloud App Daemon User"),
                ("getent group cloud-users admingroup", "admingroup:"),
                ("lsblk -no NAME", "sda"),
            ],
            later: None,
        },
        Scene {
            image: "cloud",
            cloud: "azure",
            user_data: config(&files),
            more: Vec::new(),
            says: &[("cat /etc/sysconfig/samba", "SMBDOPTIONS=\"-D\"")],
            later: None,
        },
        Scene {
            image: "cloud",
            cloud: "openstack",
            user_data: config(&commands),
            more: vec!["--vendor-data".to_owned(), text(&vendor)],
            says: &[
                ("stat -c %F /run/mydir", "directory"),
                ("journalctl -b -o cat", "hello world"),
                ("uname -n; stat -c %F /run/of-the-vendor", "of-the-vendor\nregular empty file"),
                // Who has units read again keeps its id.
                ("systemctl daemon-reload; wc -c < /etc/machine-id", "33"),
            ],
            later: None,
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

/// What a deployment would do is shown without a network, the provider's tool or anything that exists there.
fn shown(lab: &Lab) {
    println!("what clouds and a cluster would be told is a script, and manifests");
    let project = lab.path().join("project");
    disk::create_dir_all(project.join("targets")).unwrap();
    for (name, text) in [("check", ""), ("check.pub", ""), ("web-1", "#cloud-config\nhostname: web-1\n")] {
        disk::write_atomic(project.join(name), text.as_bytes(), 0o600).unwrap();
    }
    let manifest = disk::read(lab.path().join("cloud/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let image = format!("rave-cloud-{}-", &manifest["disk"]["sha256"].as_str().unwrap()[..16]);
    for (target, file, text) in TARGETS {
        let path = project.join(format!("targets/{target}.yaml"));
        disk::write_atomic(path, text.as_bytes(), 0o644).unwrap();
        let told = lab.good(&["deploy", "cloud", "--to", target, "--dry-run"]);
        assert!(told.contains(file), "{target}: {told}");
        if target == "cluster" {
            let mut objects =
                serde_yaml::Deserializer::from_str(&told).map(|object| Value::deserialize(object).unwrap());
            let machine = objects.find(|object| object["kind"] == "VirtualMachine").unwrap();
            assert_eq!(machine["metadata"]["annotations"]["rave.root-hash"], manifest["root_hash"], "{machine:#}");
        } else {
            lab.tool("sh").arg("-n").output_with_input(told.as_bytes()).unwrap();
            assert!(told.contains("\n# cloud 1.0.0 (") && told.contains(&image), "{target}: {told}");
        }
    }
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
fn run(
    lab: &Lab,
    image: &str,
    name: &str,
    cloud: &str,
    user_data: &str,
    more: &[&str],
) -> (Option<i32>, Value, String) {
    let (user_data, key) = files(lab, name, user_data);
    let arguments = ["run", image, "--direct", "--name", name, "--json", "--cloud", cloud, "--user-data", &user_data];
    let ended = lab.rave(&[&arguments[..], &["--cloud-key", &key], more].concat());
    let report = lines(&ended.stdout).into_iter().rfind(|line| line["stages"].is_array());
    (ended.status, report.unwrap_or_else(|| panic!("{cloud}: {ended:?}")), ended.stderr)
}

/// Rehearses with a machine that goes on and is well in all stages.
fn well(lab: &Lab, image: &str, name: &str, cloud: &str, user_data: &str, more: &[&str]) {
    let (status, report, _) = run(lab, image, name, cloud, user_data, &[&["--detach"], more].concat());
    let bad: Vec<&Value> = checks(&report).into_iter().filter(|check| check["verdict"] == "unhealthy").collect();
    assert_eq!(status, Some(0), "{cloud}: {bad:#?}");
    assert_eq!(verdicts(&report).len(), 6);
    assert!(with_verdict(&report, "healthy").contains("services.rehearsal.datasource"), "{cloud}");
}

fn rehearse(lab: &Lab, scene: &Scene) {
    let Scene { image, cloud, user_data, more, says, later } = scene;
    println!("{cloud}: the datasource is found, all stages are healthy");
    match later {
        None => well(lab, image, cloud, cloud, user_data, &more.iter().map(String::as_str).collect::<Vec<_>>()),
        Some(_) => {
            let seed = seeded(
                lab,
                &json!({"version": 2, "ethernets": {"card": {
                    "match": {"macaddress": MAC}, "mtu": 1400, "addresses": [ADDRESS],
                    "routes": [{"to": "0.0.0.0/0", "via": "10.0.2.2"}], "nameservers": {"addresses": ["10.0.2.3"]},
                }}}),
            );
            let seed: Vec<&str> = seed.iter().map(String::as_str).collect();
            well(lab, image, cloud, cloud, user_data, &[&["--persist"], seed.as_slice()].concat());
        }
    }

    println!(
        "{cloud}: what user-data and the provider say is done, and nobody answers at the provider's address any more"
    );
    let mut asked = says.to_vec();
    // The provider's key.
    asked.push(("cat /run/rave/authorized_keys/agent", KEY));
    if *cloud != "nocloud" {
        asked.push((NOBODY, "Error"));
    }
    for ((command, expected), told) in asked.iter().zip(each(lab, cloud, &asked)) {
        assert!(told.contains(expected), "{cloud}: {command}: {told}");
    }
    if *cloud == "openstack" {
        println!("{cloud}: what cloud-init could not do is seen");
        lab.seen(&[*cloud, "--stage", "services"], &[FAULT], &[]);
    }
    if let Some(later) = later {
        again(lab, cloud, user_data, later);
    }
    lab.good(&["vm", "rm", "--force", cloud]);
}

/// What commands tell root, all by one login.
fn each(lab: &Lab, machine: &str, asked: &[(&str, &str)]) -> Vec<String> {
    // The journal has the script, but not what divides the answers.
    let script: Vec<String> = asked.iter().map(|(command, _)| format!("{command}; printf ':%s:' end")).collect();
    let told = lab.root(machine, &script.join("; "));
    let told: Vec<String> = told.split_terminator(":end:").map(|said| said.trim().to_owned()).collect();
    assert_eq!(told.len(), asked.len(), "{told:?}");
    told
}

/// What a seed holds besides user-data, as arguments.
fn seeded(lab: &Lab, network: &Value) -> [String; 4] {
    let (vendor, config) = (lab.path().join("vendor-data"), lab.path().join("network-config"));
    disk::write_atomic(&vendor, VENDOR.as_bytes(), 0o600).unwrap();
    disk::write_atomic(&config, format!("{network}\n").as_bytes(), 0o600).unwrap();
    ["--vendor-data".to_owned(), text(&vendor), "--network-config".to_owned(), text(&config)]
}

/// A kept disk starts again as the same instance, and then as another one of another cloud: /etc is of user-data, /var stays.
fn again(lab: &Lab, cloud: &str, first: &str, Later { ended, second }: &Later) {
    let user_data: Value = serde_yaml::from_str(first).unwrap();
    let authority = user_data["ca_certs"]["trusted"][0].as_str().unwrap().lines().nth(1).unwrap();
    // Who it is, what is left of what was before, how the card has its address, whether the provider was heard, the authority
    // of the first instance, what opens secrets, and one; then the instance, and the card.
    let asked = [
        "echo is $(uname -n) $(id -un ana 2>/dev/null)",
        "echo etc $(cd /etc; ls -d by-hand of-* 2>/dev/null)",
        "echo var $(cat /var/home/by-hand 2>/dev/null)",
        "echo ran $(cat /var/home/ran)",
        &format!("echo keys $(cd /run/rave/authorized_keys; grep -lF '{KEY}' agent ana 2>/dev/null)"),
        "echo mtu $(cat /sys/class/net/en*/mtu)",
        "echo leased $(ip -o -4 address show scope global | grep -c dynamic || true)",
        "echo address $(ip -o -4 address show scope global | grep -o '10.0.2.15/24')",
        "echo vendor $(ls /run/of-the-vendor 2>/dev/null)",
        &format!("echo authority $(grep -cxF '{authority}' /etc/ssl/certs/ca-certificates.crt)"),
        "echo identity $(stat -c '%a %U' /run/rave/identity.txt)",
        "echo secret $(stat -L -c %U /run/secrets/word)",
        "cat /var/lib/rave-cloud/instance-id; ls /sys/class/net | grep ^en",
    ]
    .join("; ");
    let facts = |before: &str| {
        let told = lab.root(cloud, &format!("{before}{asked}"));
        let mut parts = told.rsplitn(3, '\n').map(str::to_owned);
        let [card, id, facts] = [(); 3].map(|()| parts.next().unwrap());
        (facts, id, card)
    };
    let stop = || drop(lab.good(&["vm", "stop", "--grace", "120", cloud]));
    let vendor = "address 10.0.2.15/24\nvendor /run/of-the-vendor\nauthority 1\nidentity 400 root\nsecret root";
    let is = "is first ana\netc of-first\nvar\nran first\nkeys agent ana";
    let (told, before, card) = facts("");
    assert_eq!(told, format!("{is}\nmtu 1400\nleased 0\n{vendor}"));
    let (told, ..) = facts("mount -o remount,bind,rw /etc; echo kept | tee /etc/by-hand > /var/home/by-hand; sync; ");
    let is = "is first ana\netc by-hand of-first\nvar kept\nran first\nkeys agent ana";
    assert_eq!(told, format!("{is}\nmtu 1400\nleased 0\n{vendor}"));

    println!("{cloud}: the next boot makes the same of user-data, has nothing of what was written into /etc by hand");
    let static_address = json!({"type": "static", "address": ADDRESS, "gateway": "10.0.2.2"});
    let network =
        json!({"type": "physical", "name": card, "mac_address": MAC, "mtu": 1300, "subnets": [static_address]});
    let seed = seeded(lab, &json!({"version": 1, "config": [network]}));
    stop();
    let seed: Vec<&str> = seed.iter().map(String::as_str).collect();
    let (status, report, said) =
        run(lab, "told", cloud, cloud, ended, &[&["--detach", "--persist"], &seed[..]].concat());
    let (told, id, _) = facts("");
    let is = "is first ana\netc of-first\nvar kept\nran first\nkeys agent ana";
    assert_eq!((told, &id), (format!("{is}\nmtu 1300\nleased 0\n{vendor}"), &before));

    println!("{cloud}: an address that has ended is told of, but not the address");
    let only = BTreeSet::from(["services.rehearsal.cloud-init"]);
    assert_eq!((status, with_verdict(&report, "unhealthy")), (Some(1), only), "{:#?}", unwell(&report));
    let told = checks(&report).into_iter().find(|check| check["id"] == "services.rehearsal.cloud-init").unwrap();
    assert!(told["observed"].as_str().unwrap().contains("source \"https://10.0.2.2:"), "{told}");
    let asked = [
        ("journalctl -b -o cat", "No content could be loaded for entry"),
        // Who is not root learns nothing.
        (
            "python3 -c \"import os; os.setuid(65534); open('/run/cloud-init/status.json')\" 2>&1 || true",
            "Permission denied",
        ),
        ("grep -m1 '403 Client Error' /run/cloud-init/cloud-init.log", "Forbidden"),
    ];
    let answers = each(lab, cloud, &asked);
    for ((command, expected), told) in asked.iter().zip(&answers) {
        assert!(told.contains(expected), "{command}: {told}");
    }
    for text in [&answers[0], &report.to_string(), &said] {
        assert!(!text.contains("X-Signature") && !text.contains("X-Expires"), "{text}");
    }

    println!("{cloud}: as another instance, by a config drive, it runs scripts again, and has of the first /var only");
    stop();
    well(lab, "told", cloud, "configdrive", second, &["--persist", "--cloud-instance", "second"]);
    let (told, id, _) = facts("");
    let is = "is second\netc of-second\nvar kept\nran first second\nkeys agent";
    let network = "mtu 1500\nleased 1\naddress 10.0.2.15/24";
    assert_eq!(told, format!("{is}\n{network}\nvendor\nauthority 0\nidentity 400 root\nsecret root"));
    assert_ne!(id, before);
}

/// Without a datasource nothing of cloud-init starts. The disk is one with large sectors, as some of a cloud's are.
fn nowhere(lab: &Lab) {
    println!("with sectors of 4096 bytes and in no cloud a machine is well, and has started nothing of cloud-init");
    let folder = lab.path().join("large");
    let output = text(&folder);
    lab.good(&["export", "cloud", "--format", "raw", "--sector-size", "4096", "--output", &output]);
    for name in ["manifest.json", "uki.efi"] {
        disk::copy(lab.path().join("cloud").join(name), folder.join(name)).unwrap();
    }
    lab.good(&["run", &text(&folder.join("cloud_1.0.0.4k.raw")), "--name", "nowhere", "--detach"]);
    let asked = "cat /sys/block/vda/queue/logical_block_size; cat /run/cloud-init/disabled; findmnt -no FSTYPE /etc || true; \
                 systemctl list-units --all --plain --no-legend 'cloud*' | grep -v inactive || true";
    assert_eq!(lab.root("nowhere", asked), "4096");
    let (status, report) = lab.check(&["nowhere"]);
    assert_eq!(status, Some(0), "{:#?}", unwell(&report));
    lab.good(&["vm", "rm", "--force", "nowhere"]);
}

/// A machine comes up where nobody answers, or somebody else does, and says what became of it. `told` is what cloud-init
/// says of it.
fn no_service(lab: &Lab, image: &str, cloud: &str, fault: &str, told: &str) {
    println!("{cloud}: a metadata service that is broken ({fault}) is seen, and holds nobody up");
    let broken = ["--cloud-fault", fault, "--timeout", "600"];
    let (status, report, _) = run(lab, image, fault, cloud, "#cloud-config\n{}\n", &broken);
    assert_eq!(status, Some(1));
    let check = |id: &str| checks(&report).into_iter().find(|check| check["id"] == id).unwrap();
    let seen = check("services.rehearsal.datasource");
    assert_eq!((&seen["verdict"], &seen["expected"]), (&"unhealthy".into(), &cloud.into()));
    assert!(seen["observed"].as_str().unwrap().contains("metadata service"), "{seen}");
    let said = check("services.rehearsal.cloud-init");
    assert!(said["verdict"] == "unhealthy" && said["observed"].as_str().unwrap().contains(told), "{said}");
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
    let unknown = wrong("unknown", "#cloud-config\nwrite_files: [{path: /x, contnt: y}]\n");
    for (arguments, status, said) in [
        (&["cloud", "--cloud", "ec2", "--user-data", broken.as_str()][..], 1, "broken-user-data"),
        (&["cloud", "--cloud", "ec2", "--user-data", foreign.as_str()], 1, "the first line must be #cloud-config"),
        (&["cloud", "--cloud", "ec2", "--user-data", large.as_str()], 1, "at most"),
        // By the schema of the cloud-init that is in the image.
        (&["cloud", "--cloud", "ec2", "--user-data", unknown.as_str()], 1, "did you mean `content`?"),
        (&["cloud", "--cloud", "ec2", "--cloud-key", good.as_str()], 1, "is no public key"),
        (&["cloud", "--cloud", "nocloud", "--cloud-fault", "hang"], 1, "no service that could fail"),
        (&["cloud", "--cloud", "ec2", "--vendor-data", good.as_str()], 1, "is not given vendor-data here"),
        (&["cloud", "--cloud", "nocloud", "--network-config", broken.as_str()], 1, "broken-user-data"),
        (&["minimal", "--cloud", "ec2", "--cloud-key", key.as_str()], 1, "cloud.enable: true"),
    ] {
        let ended = lab.rave(&[&["run"], arguments].concat());
        assert_eq!(ended.status, Some(status), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("xxxx"), "user-data is not printed");
    }
    assert!(lab.list().is_empty());
}
