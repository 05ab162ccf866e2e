//! No event that the production machine has accepted is lost, whatever ends who accepted it.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use rave::disk;

use crate::lab::wait_for;
use crate::scene::Scene;
use crate::site::Site;
use crate::webhooks::github;

pub fn power(scene: &Scene, site: &Site) {
    println!("an event that was accepted survives the loss of what the machine had in memory, and is handled after it");
    let start = || {
        let asked = ["vm", "ssh", scene.machine, "--", "cat", "/proc/sys/kernel/random/boot_id"];
        Some(scene.lab.rave(&asked)).filter(|ended| ended.status == Some(0)).map(|ended| ended.stdout)
    };
    let before = start().unwrap();
    assert_eq!(github(site, &scene.secret("production", "webhook-secret"), "cut", "long", b"{\"cut\":1}").status, 202);
    let sent = sent(scene, "sent", "echo b > /proc/sysrq-trigger", |sender| {
        std::thread::sleep(Duration::from_secs(6));
        wait_for("the machine", || start().filter(|now| *now != before));
        // Whoever waits for an answer of the machine that was waits in vain.
        sender.kill().unwrap();
        sender.wait().unwrap();
    });
    wait_for("the end of the start", || (scene.lab.started(scene.machine) == "running").then_some(()));
    wait_for("the handler", || scene.delivery("cut").starts_with("done|").then_some(()));
    kept(scene, &sent);
}

/// None of the events that were accepted is lost.
fn kept(scene: &Scene, sent: &[String]) {
    println!("    {} events were accepted before", sent.len());
    let known = scene.sql("select delivery from webhook.event");
    let lost: Vec<&String> = sent.iter().filter(|name| !known.lines().any(|known| known == **name)).collect();
    assert!(sent.len() >= 10 && lost.is_empty(), "{} {lost:?}", sent.len());
}

/// Has the machine send events to itself, and breaks it 4 s after the first was accepted; returns the names of those that were,
/// as far as was heard of them. `over` begins after that first, and waits until nothing is accepted any more.
fn sent(scene: &Scene, name: &str, breaks: &str, over: impl FnOnce(&mut Child)) -> Vec<String> {
    let heard = scene.lab.path().join(name);
    let first = format!("until test -e /run/accepted-{name}; do sleep 0.1; done");
    scene.root(&format!("systemd-run --quiet --no-block /bin/sh -c '{first}; sleep 4; {breaks}'"));
    let mut ssh = scene.lab.command(&["vm", "ssh", scene.machine, "--", "sudo", "python3", "-", name]);
    let mut sender = ssh.stdin(Stdio::piped()).stdout(disk::create(&heard).unwrap()).spawn().unwrap();
    sender.stdin.take().unwrap().write_all(SENDER.as_bytes()).unwrap();
    wait_for("an event", || (!disk::read(&heard).unwrap().is_empty()).then_some(()));
    over(&mut sender);
    let heard = disk::read_to_string(heard).unwrap();
    heard.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

/// Sends events until one is not accepted.
const SENDER: &str = include_str!("sender.py");

pub fn killed(scene: &Scene, site: &Site) {
    println!("no event that was accepted is lost when dispatcher and database are killed");
    let breaks = "systemctl kill --signal=KILL webhook.service postgresql.service";
    let sent = sent(scene, "killed", breaks, |sender| assert!(sender.wait().unwrap().success()));
    wait_for("it to be ready", || (site.get("/ready").status == 200).then_some(()));
    kept(scene, &sent);
}
