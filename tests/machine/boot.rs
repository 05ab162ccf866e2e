//! Boots that do not come to their end: interrupted or killed.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rave::disk;
use rustix::process::Signal;

use crate::lab::{Ended, Lab, signal, wait_for};
use crate::processes::{self, Process};

/// Starts a machine and returns once its guest says something, with rave and the machine's processes.
fn booting(lab: &Lab, name: &str) -> (Child, Vec<Process>) {
    let mut command = lab.command(&["run", "minimal", "--direct", "--name", name]);
    let rave = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = wait_for("QEMU", || lab.state(name)?["process"]["pid"].as_u64());
    let log = lab.machines().join(name).join("console.log");
    wait_for("the console", || disk::metadata(&log).ok().filter(|log| log.len() > 0));
    let family = processes::family(u32::try_from(pid).unwrap());
    assert!(processes::has_qemu(&family), "{family:?}");
    (rave, family)
}

#[test]
fn an_interrupted_boot_leaves_nothing() {
    let mut lab = Lab::new();
    lab.alone();
    for wanted in [Signal::INT, Signal::TERM] {
        println!("{wanted:?} while the machine boots");
        let before = snapshot(&lab);
        let (rave, family) = booting(&lab, "passing");
        signal(&rave, wanted);
        let begin = Instant::now();
        let ended = Ended::from(rave.wait_with_output().unwrap());
        assert_eq!(ended.status, Some(130), "{ended:?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "a guest that is not up is not waited for");
        assert_eq!(processes::alive(&family), []);
        assert!(lab.list().is_empty());
        assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
        assert_eq!(snapshot(&lab), before, "the store's own temporary files");
    }
}

/// Names in the store's directories for work under way.
fn snapshot(lab: &Lab) -> Vec<std::path::PathBuf> {
    let names = ["staging", "partial", "users"].map(|name| disk::list(lab.store().join(name)).unwrap());
    names.concat()
}

#[test]
fn a_killed_rave_takes_its_machine_along() {
    let lab = Lab::new();
    let (mut rave, family) = booting(&lab, "orphan");
    signal(&rave, Signal::KILL);
    rave.wait().unwrap();
    wait_for("the end of QEMU", || processes::alive(&family).is_empty().then_some(()));
    assert_eq!(lab.list()[0]["condition"], "dead");
    let ssh = lab.rave(&["vm", "ssh", "orphan", "--", "id"]);
    assert!(ssh.status == Some(1) && ssh.stderr.contains("machine orphan is not running"), "{ssh:?}");
    lab.good(&["vm", "rm", "orphan"]);
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}
