//! `rave deploy` to AWS, as far as its calls go: Amazon's own client against moto's HTTP server. What a machine answers is
//! given here; `rave check` and the machine tests have that.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

#[path = "clouds/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rave::deploy::Target;
use rave::deploy::cloud::act::Error;
use rave::deploy::cloud::blocks::BLOCK;
use rave::deploy::cloud::plan::{Action, Outcome, plan};
use rave::deploy::cloud::run::Runner;
use rave::deploy::cloud::step::Slot;
use rave::deploy::cloud::{Declared, Release, Wanted};
use rave::digest::Digest;
use rave::origin::Source;
use rave::system::Mode;
use world::World;

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
    let (before, failed) = match &outcome {
        Outcome::Well(before) => (before.clone(), false),
        Outcome::Unwell { .. } => (BTreeSet::new(), true),
    };
    if action.is_some() {
        runner.tidy(release, &before, failed)?;
    }
    Ok(outcome)
}

#[test]
fn a_deployment_to_aws_is_taken_up_again_goes_back_and_leaves_nothing() {
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

    // A version that is not well goes, with its image, and the one before goes on.
    let (second, path) = disk(&world, "2.0");
    *world.trouble.lock().unwrap() = Some("system.units: expected none failed, observed nginx.service".to_owned());
    let Outcome::Unwell { reason, instead, stays: false } = deploy(&world, &second, &path).unwrap() else {
        panic!("it is not well")
    };
    assert!(reason.contains("nginx.service") && instead.as_deref() == Some("web 1.0"), "{reason} {instead:?}");
    let target = declared(&world);
    let calls = target.place.calls();
    let runner = Runner::new(calls.as_ref(), &world);
    let [instance] = &runner.instances().unwrap()[..] else { panic!("one instance") };
    assert!(instance.title() == "web 1.0" && instance.is_well() && instance.runs, "{instance:?}");
    let images = ["ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=rave-*"];
    let names = ["--query", "Images[].[Name]", "--output", "text"];
    assert_eq!(world.aws(&[&images[..], &names].concat()), first.name());

    // All of it goes.
    runner.remove(&instance.id).unwrap();
    runner.clear_images(&first.image, &BTreeSet::new(), &|_| true).unwrap();
    assert_eq!(runner.instances().unwrap(), []);
    assert_eq!(world.aws(&[&images[..], &names].concat()), "");
    assert_eq!(world.aws(&[&snapshots[..], &query].concat()), "");
    assert_eq!(world.left(), [] as [PathBuf; 0]);

    // Somebody whom nobody knows.
    world.want_credentials();
    *world.key.lock().unwrap() = "unknown";
    let Err(Error::Failed { remedy, said, .. }) = deploy(&world, &first, &path) else { panic!("it must fail") };
    assert!(remedy.is_some_and(|remedy| remedy.contains("get-caller-identity")), "{said}");
}
