//! Commands of the guides, on the production machine.

use std::path::Path;
use std::process::Stdio;

use crate::lab::wait_for;
use crate::production::Scene;
use crate::site::Site;
use crate::webhooks::github;

const OPERATION: &str = include_str!("../../docs/operation.md");
const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");
/// The chapter whose commands are one after the other what a restore takes.
const BACKUPS: &str = "\n## Backups\n";

/// The blocks of a guide, or of a part of one, that a shell runs.
fn blocks(guide: &str) -> impl Iterator<Item = &str> {
    guide.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0)
}

/// Has a shell run what a guide says, of this machine; returns what it said on standard error.
fn follow(scene: &Scene, script: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", Path::new(env!("CARGO_BIN_EXE_rave")).parent().unwrap().display());
    let script = script.replace(" shop", " production");
    let shell = scene.lab.tool("/bin/sh").env("PATH", &path).args(["-ec", &script]);
    let ended = shell.command().stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{script}: {ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

/// Commands of the guides that are not run here, by their beginnings: those that go on until somebody ends them, end the
/// machine, or need another host, an option or an event of that number; and checks of all stages, which are run often enough.
const ELSEWHERE: [&str; 20] = [
    "rave check --ssh",
    "rave check shop\n",
    "rave check shop --bundle",
    "rave check shop --json",
    "rave check shop --junit",
    "rave check shop --skip",
    "rave check shop --ssh",
    "rave check shop --stage",
    "rave check shop --wa",
    "rave run shop",
    "rave verify",
    "rave vm console",
    "rave vm fault",
    "rave vm gdb",
    "rave vm journal",
    "rave vm rm",
    "rave vm screenshot",
    "rave vm ssh shop -- sudo journalctl --setup-keys",
    "rave vm ssh shop -- sudo rave guest dead-letters drop",
    "rave vm stop",
];

pub fn work(scene: &Scene) {
    println!("commands of the guides do what they say");
    let (before, backups) = OPERATION.split_once(BACKUPS).unwrap();
    let (_, after) = backups.split_once("\n## ").unwrap();
    let all =
        [before, after, TROUBLESHOOTING].into_iter().flat_map(blocks).flat_map(|block| block.split_inclusive('\n'));
    let (elsewhere, here): (Vec<&str>, Vec<&str>) =
        all.partition(|line| ELSEWHERE.iter().any(|begin| line.starts_with(begin)));
    for begin in ELSEWHERE {
        assert!(elsewhere.iter().any(|line| line.starts_with(begin)), "{begin}");
    }
    assert!(here.len() >= 20, "{here:?}");
    for line in here {
        println!("    {}", line.trim());
        follow(scene, line);
    }
}

pub fn restore(scene: &Scene, site: &Site, secret: &str) {
    println!("what the guide says brings back what was lost, and takes away what came after the backup");
    let (_, chapter) = OPERATION.split_once(BACKUPS).unwrap();
    let mut scripts = blocks(chapter);
    // There is no service of the shop here.
    let mut run = || {
        let script = scripts.next().unwrap();
        assert!(script.lines().count() > 1, "{script}");
        follow(scene, &script.replace(" shop\n", "\n"))
    };
    run();
    scene.sql(
        "delete from webhook.event where delivery = 'one'; \
         insert into webhook.event (source, delivery, type) values ('default', 'later', 'push')",
    );
    let said = run();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR:")).collect();
    assert_eq!(
        errors,
        ["ERROR:  current user cannot be dropped", "ERROR:  role \"postgres\" already exists"],
        "{said}"
    );
    let known = "select string_agg(delivery, ',') from webhook.event where delivery in ('one', 'later')";
    assert_eq!(scene.sql(known), "one");
    wait_for("it to be ready", || (site.get("/ready").status == 200).then_some(()));
    wait_for("the dispatcher", || (github(site, secret, "after", "push", b"{}").status == 202).then_some(()));
}
