//! Commands of the guides, on the production machine.

use std::path::Path;
use std::process::Stdio;

use rave::disk;

use crate::guide::blocks_in;
use crate::lab::{Ended, Lab, assert_well, wait_for};
use crate::scene::Scene;
use crate::site::Site;
use crate::webhooks::github;

const OPERATION: &str = include_str!("../../docs/operation.md");
const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");
const UPGRADE: &str = include_str!("../../docs/upgrade.md");
/// The chapter whose commands are one after the other what a restore takes.
const BACKUPS: &str = "Backups";
/// The version that the guide to upgrades has at first, and the next.
const VERSIONS: [&str; 2] = ["1.0.0", "1.0.1"];

/// A chapter of a guide, by its heading.
fn chapter<'a>(guide: &'a str, heading: &str) -> &'a str {
    let (_, text) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    text.split_once("\n## ").map_or(text, |(text, _)| text)
}

/// Has a shell run what a guide says, of production instead of the shop.
fn follow(lab: &Lab, script: &str) -> Ended {
    let path = format!("{}:/usr/bin:/bin", Path::new(env!("CARGO_BIN_EXE_rave")).parent().unwrap().display());
    let script = script.replace(" shop", " production");
    for line in script.lines() {
        println!("    {line}");
    }
    let shell = lab.tool("/bin/sh").env("PATH", &path).args(["-ec", &script]);
    let ended = Ended::from(shell.command().stdin(Stdio::null()).output().unwrap());
    assert_eq!(ended.status, Some(0), "{script}: {ended:?}");
    ended
}

/// Commands without the shop's own service, which stands at their ends: production has none.
fn without_service(script: &str) -> String {
    script.replace(" shop\n", "\n")
}

/// What the guide says of a machine's backups: how to take one, to restore it, and what else there is.
fn backups(machine: &str) -> [String; 3] {
    let scripts = blocks_in(chapter(OPERATION, BACKUPS), "sh").into_iter();
    let scripts = scripts.map(|script| without_service(script).replace(" shop ", &format!(" {machine} ")));
    scripts.collect::<Vec<_>>().try_into().unwrap()
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
    let (before, after) = OPERATION.split_once(chapter(OPERATION, BACKUPS)).unwrap();
    let blocks = [before, after, TROUBLESHOOTING].into_iter().flat_map(|part| blocks_in(part, "sh"));
    let all = blocks.flat_map(|block| block.split_inclusive('\n'));
    let (elsewhere, here): (Vec<&str>, Vec<&str>) =
        all.partition(|line| ELSEWHERE.iter().any(|begin| line.starts_with(begin)));
    for begin in ELSEWHERE {
        assert!(elsewhere.iter().any(|line| line.starts_with(begin)), "{begin}");
    }
    assert!(here.len() >= 20, "{here:?}");
    for line in here {
        follow(&scene.lab, line);
    }
}

pub fn restore(scene: &Scene, site: &Site, secret: &str) {
    println!("what the guide says brings back what was lost, and takes away what came after the backup");
    let [dump, restore, others] = backups("shop");
    follow(&scene.lab, &dump);
    scene.sql(
        "delete from webhook.event where delivery = 'one'; \
         insert into webhook.event (source, delivery, type) values ('default', 'later', 'push')",
    );
    let said = follow(&scene.lab, &restore).stderr;
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

    println!("a base backup is whole");
    follow(&scene.lab, &others);
    let (base, mark) = (disk::read(scene.lab.path().join("base.tar")).unwrap(), b"START WAL LOCATION");
    assert!(base.windows(mark.len()).any(|part| part == mark), "{} bytes", base.len());
}

/// Builds a version and puts it aside, as the guide to upgrades says. The first has no other to be compared with.
fn release(lab: &Lab, version: &str) {
    let chapter = chapter(UPGRADE, "Review, build");
    let build = blocks_in(chapter, "sh").concat();
    let copy = blocks_in(chapter, "console").pop().unwrap();
    let copy = copy.lines().map(|line| line.strip_prefix("$ ").unwrap());
    for line in build.lines().chain(copy) {
        if version != VERSIONS[0] || !line.starts_with("rave diff ") {
            follow(lab, &line.replace(VERSIONS[1], version));
        }
    }
}

/// How another version takes over: what comes before the restore, how it is checked, and the way back.
fn take_over() -> [&'static str; 3] {
    blocks_in(chapter(UPGRADE, "Take over"), "sh").try_into().unwrap()
}

/// Has the machine that the guide to upgrades begins with. The way back runs it, as the guide says.
pub fn first_version(scene: &mut Scene) {
    println!("a version runs from where it was put aside");
    scene.lab.good(&["secrets", "init", "production"]);
    release(&scene.lab, VERSIONS[0]);
    let [_, _, back] = take_over();
    follow(&scene.lab, back.lines().find(|line| line.starts_with("rave run ")).unwrap());
    scene.machine = "production-1";
}

fn version(scene: &Scene) -> String {
    scene.root("sed -n s/^IMAGE_VERSION=//p /etc/os-release")
}

/// Needs an event `cut` in the database.
pub fn next_version(scene: &mut Scene) {
    println!("the next version takes over with what was in the database, and gives way again");
    // Each check leaves one of its own.
    let events = "select string_agg(delivery, ',' order by id) from webhook.event where type <> 'rave.check'";
    let before = scene.sql(events);
    assert!(before.split(',').any(|event| event == "cut"), "{before}");
    scene.edit(VERSIONS[0], VERSIONS[1]);
    release(&scene.lab, VERSIONS[1]);
    let [over, check, back] = take_over();
    follow(&scene.lab, &without_service(over));
    scene.machine = "production-2";
    assert_eq!([version(scene), scene.sql(events)], [VERSIONS[1], ""]);

    let [_, restore, _] = backups("shop-2");
    follow(&scene.lab, &restore);
    // With a tenth of a processor, an exporter that a scrape starts under emulation takes longer than one waits.
    let scraped = || scene.lab.check(&[scene.machine, "--only", "monitoring.prometheus.targets"]).0 == Some(0);
    wait_for("all metrics", || scraped().then_some(()));
    // The report is held against more than the status tells.
    let report = follow(&scene.lab, &format!("{} --json", check.trim_end())).report();
    assert_well(&report, &[]);
    assert_eq!(scene.sql(events), before);
    let secret = scene.secret("production", "webhook-secret");
    assert_eq!(github(&scene.site(), &secret, "later", "push", b"{}").status, 202);

    follow(&scene.lab, back);
    scene.machine = "production-1";
    assert_eq!([version(scene), scene.sql(events)], [VERSIONS[0], before.as_str()]);
}
