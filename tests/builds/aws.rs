//! `rave deploy` to AWS: Amazon's own client against moto's HTTP server, which starts no machines. One that is well is for the
//! library alone, with what it answers given here; `rave check` and the machine tests have that.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

#[path = "aws/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rave::deploy::Target;
use rave::deploy::cloud::act::Error;
use rave::deploy::cloud::blocks::{self, BLOCK};
use rave::deploy::cloud::plan::{Action, Outcome, plan};
use rave::deploy::cloud::run::Runner;
use rave::deploy::cloud::step::Slot;
use rave::deploy::cloud::{Declared, Release, Wanted};
use rave::digest::Digest;
use rave::disk;
use rave::origin::Source;
use rave::system::Mode;
use rave::tool::Tool;
use serde_json::Value;
use world::World;

use crate::build::built;

const IMAGE: &str = include_str!("../library/cloud.yaml");
const TARGET: &str = "kind: aws\nregion: eu-central-1\nssh-key: check\nboot: 10s\nmachines:\n  \
                      web-1: { instance-type: t3.small, user-data: web-1.yaml }\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj ana\n";

fn declared(world: &World) -> Declared {
    let text = format!(
        "kind: aws\nregion: eu-central-1\nendpoint: http://127.0.0.1:{}\nssh-key: check\nmachines:\n  web-1: {{ instance-type: t3.small, \
         user-data: web-1.yaml }}\n",
        world.port
    );
    Target::parse("shop", &Source::new("targets/shop.yaml", text)).unwrap().cloud.unwrap()
}

/// A disk with some blocks of data.
fn disk(world: &World, version: &str) -> (Release, PathBuf) {
    let path = world.file(version, b"");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(40 * BLOCK).unwrap();
    for index in [0, 7, 39] {
        file.write_all_at(format!("{version} {index}").as_bytes(), index * BLOCK + 5).unwrap();
    }
    let release = Release {
        image: "web".parse().unwrap(),
        version: version.parse().unwrap(),
        mode: Mode::Safe,
        disk: Digest::of(version.as_bytes()),
        disk_size: 1 << 30,
    };
    (release, path)
}

/// All of a roll-out to the only machine.
fn deploy(world: &World, release: &Release, path: &Path) -> Result<Outcome, Error> {
    let declared = declared(world);
    let (calls, machine) = (declared.place.calls(), &declared.machines[0]);
    let user_data = world.file("user-data", b"#cloud-config\n");
    let wanted = Wanted { target: "shop", machine, release, config: &machine.config(b"#cloud-config\n") };
    let mut runner = Runner::new(calls.as_ref(), world);
    let all = runner.instances()?;
    let action = plan(&wanted, &all);
    if matches!(action, Some(Action::Launch { .. })) {
        runner.image(release, &|| Ok(path.to_path_buf()))?;
    }
    let outcome = runner.machine(&wanted, &all, &[(Slot::UserData, user_data)])?;
    let Outcome::Well(before) = &outcome else { panic!("it is well") };
    if action.is_some() {
        runner.tidy(release, before, false)?;
    }
    Ok(outcome)
}

#[test]
fn a_deployment_to_aws_is_taken_up_again_takes_the_place_of_the_one_before_and_leaves_nothing() {
    let world = World::new();
    let snapshots = ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", "Name=tag-key,Values=rave-disk"];
    let query = ["--query", "Snapshots[].[State]", "--output", "text"];

    // Ctrl-C in the middle of the upload of a version that is given up, and in that of the next.
    let (given_up, path) = disk(&world, "0.9");
    world.patience.store(1, Ordering::SeqCst);
    assert!(matches!(deploy(&world, &given_up, &path), Err(Error::Interrupted)));
    let (first, path) = disk(&world, "1.0");
    world.patience.store(1, Ordering::SeqCst);
    assert!(matches!(deploy(&world, &first, &path), Err(Error::Interrupted)));
    assert_eq!((world.count("put-snapshot-block"), world.count("complete-snapshot")), (2, 0));
    assert_eq!(world.left().len(), 2, "notes on what is there, and no block");

    // The same command goes on. When that version is well, nothing is left of the one before.
    world.patience.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(world.aws(&[&snapshots[..], &query].concat()), "pending\npending");
    assert_eq!(deploy(&world, &first, &path).unwrap(), Outcome::Well(BTreeSet::new()));
    assert_eq!((world.count("put-snapshot-block"), world.count("start-snapshot")), (4, 2), "no block twice");
    assert_eq!(world.left(), [] as [PathBuf; 0]);
    assert_eq!(world.aws(&[&snapshots[..], &query].concat()), "completed");

    // What is there is not done again.
    let before = world.calls.lock().unwrap().values().sum::<usize>();
    assert_eq!(deploy(&world, &first, &path).unwrap(), Outcome::Well(BTreeSet::new()));
    assert_eq!(world.calls.lock().unwrap().values().sum::<usize>() - before, 1, "one question");

    // Another version that is well takes the place of the first, whose image is kept to go back to.
    let (second, path) = disk(&world, "2.0");
    assert_eq!(deploy(&world, &second, &path).unwrap(), Outcome::Well(BTreeSet::from([first.tag()])));
    let target = declared(&world);
    let calls = target.place.calls();
    let runner = Runner::new(calls.as_ref(), &world);
    let [instance] = &runner.instances().unwrap()[..] else { panic!("one instance") };
    assert!(instance.title() == "web 2.0" && instance.is_well() && instance.runs, "{instance:?}");
    let images = ["ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=rave-*"];
    let names = ["--query", "sort(Images[].Name)", "--output", "text"];
    let mut both = [first.name(), second.name()];
    both.sort();
    assert_eq!(world.aws(&[&images[..], &names].concat()), both.join("\t"));

    // All of it goes.
    runner.remove(&instance.id).unwrap();
    runner.clear_images(&first.image, &BTreeSet::new(), &|_| true).unwrap();
    assert_eq!(runner.instances().unwrap(), []);
    assert_eq!(world.aws(&[&images[..], &names].concat()), "");
    assert_eq!(world.aws(&[&snapshots[..], &query].concat()), "");
    assert_eq!(world.left(), [] as [PathBuf; 0]);
}

/// Runs a command, which must end so; returns what it says.
fn ends(mut command: Command, status: i32) -> String {
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(status), "{said}");
    String::from_utf8(ended.stdout).unwrap() + &said
}

/// Presses Ctrl-C when some blocks are written.
fn interrupt(mut command: Command) {
    let mut rave = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(rave.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("32 of ") {
            Tool::new("kill").args(["-INT", &rave.id().to_string()]).output().unwrap();
        }
        said.push(line);
    }
    assert_eq!(rave.wait().unwrap().code(), Some(130), "{said:#?}");
}

/// The command itself. Nothing that moto launches can be asked, so that no version is ever well.
#[test]
fn the_command_deploys_to_aws_and_takes_back_a_machine_that_does_not_answer() {
    let (lab, world) = (built(), World::new());
    let project = lab.path("project");
    let write = |name: &str, text: &str| disk::write_atomic(project.join(name), text.as_bytes(), 0o600).unwrap();
    disk::create_dir_all(project.join("targets")).unwrap();
    // Others read this project meanwhile, one of them as somebody else.
    disk::write_atomic(project.join("images/cloud.yaml"), IMAGE.as_bytes(), 0o644).unwrap();
    write("targets/shop.yaml", &TARGET.replace("web-1.yaml", "web-1.yaml, subnet: subnet-0a1b2c3d"));
    write("check", "");
    write("check.pub", KEY);
    lab.good(&["lock", "cloud"]);
    lab.good(&["build", "cloud", "--output", "cloud"]);
    let manifest = lab.manifest_in("cloud");
    let digest = manifest["disk"]["sha256"].as_str().unwrap();
    let user_data = ["--hostname", "web-1", "--ssh-key", "check.pub", "--output", "web-1.yaml"];
    lab.good(&[&["cloud-init", "render", "cloud"], &user_data[..]].concat());
    let rave = |arguments: &[&str]| world.within(lab.command(arguments), Some("known"));
    let deploy = ["deploy", "cloud", "--to", "shop"];

    // Nobody, and somebody whom nobody knows.
    world.let_in(0);
    for (key, remedy) in [(None, "aws configure"), (Some("unknown"), "aws sts get-caller-identity")] {
        let said = ends(world.within(lab.command(&deploy), key), 2);
        assert!(said.contains(remedy), "{said}");
    }
    world.let_in(u32::MAX);
    assert_eq!(world.left(), [] as [PathBuf; 0]);
    let snapshots = ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", "Name=tag-key,Values=rave-disk"];
    let snapshot =
        || world.aws(&[&snapshots[..], &["--query", "Snapshots[].[SnapshotId]", "--output", "text"]].concat());
    assert_eq!(snapshot(), "");

    // What ran before, in a network that is there.
    let tag = |(key, value): (&str, &str)| format!("{{Key=rave-{key},Value={value}}}");
    let own = [("target", "shop"), ("machine", "web-1"), ("image", "cloud"), ("mode", "safe"), ("size", "4")];
    let before = [("version", "0.9"), ("disk", "0123456789abcdef"), ("config", "0"), ("state", "well")];
    let tags: Vec<String> = own.iter().chain(&before).copied().map(tag).collect();
    let tags = format!("ResourceType=instance,Tags=[{}]", tags.join(","));
    let launch = ["ec2", "run-instances", "--image-id", "ami-12345678", "--tag-specifications", &tags];
    let id = ["--query", "Instances[0].InstanceId", "--output", "text"];
    let before = world.aws(&[&launch[..], &id].concat());
    let is_in = |state: &str| {
        let (state, query) =
            (format!("Name=instance-state-name,Values={state}"), "Reservations[].Instances[].InstanceId");
        let words = ["ec2", "describe-instances", "--filters", "Name=tag-key,Values=rave-target", &state];
        world.aws(&[&words[..], &["--query", query, "--output", "text"]].concat())
    };

    // What was begun goes on, up to what the target has wrong.
    interrupt(rave(&deploy));
    let begun = snapshot();
    assert!(begun.starts_with("snap-") && world.left().len() == 1, "{begun} {:?}", world.left());
    let said = ends(rave(&deploy), 2);
    for part in [" blocks are there already", "InvalidSubnetID", "names a subnet that is not in this region"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((world.left(), snapshot(), is_in("running")), (Vec::new(), begun.clone(), before.clone()));
    let written = blocks::of(&project.join("cloud/disk.raw")).unwrap();
    let listed = world.aws(&["ebs", "list-snapshot-blocks", "--snapshot-id", &begun, "--query", "length(Blocks)"]);
    assert_eq!(listed, written.len().to_string());

    // The machine shows no host key, so it goes, with its image, and the one before goes on.
    write("targets/shop.yaml", TARGET);
    let begin = Instant::now();
    let said = ends(rave(&deploy), 1);
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    for part in ["done already: register the image", "no host key within 10 s", "cloud 0.9 goes on"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!((world.left(), snapshot(), is_in("running")), (Vec::new(), String::new(), before.clone()));
    let images = ["ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=rave-*"];
    assert_eq!(world.aws(&[&images[..], &["--query", "Images[].Name", "--output", "text"]].concat()), "");
    let gone = is_in("terminated");
    let tags = ["--query", "sort_by(Reservations[0].Instances[0].Tags, &Key)[].[Key, Value]", "--output", "text"];
    let told = world.aws(&[&["ec2", "describe-instances", "--instance-ids", &gone], &tags[..]].concat());
    let after = [("version", "1.0.0"), ("disk", &digest[..32]), ("state", "new")];
    for (key, value) in own.iter().chain(&after) {
        assert!(told.lines().any(|line| line == format!("rave-{key}\t{value}")), "{key} {value}: {told}");
    }

    // What serves is known, and goes when it is told to.
    let rows = rave(&["ps", "shop", "--json"]).output().unwrap().stdout;
    let rows: Value = serde_json::from_slice(&rows).unwrap();
    let deployed = &rows[0]["deployed"];
    assert_eq!((&deployed["version"], &deployed["instance"]), (&"0.9".into(), &before.as_str().into()), "{rows:#}");
    ends(rave(&["target", "remove", "shop", "--purge"]), 0);
    assert_eq!((is_in("running").as_str(), world.left()), ("", Vec::new()));
}
