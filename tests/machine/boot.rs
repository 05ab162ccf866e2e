//! Boots that do not come to their end: interrupted, killed, or of a damaged disk.

use std::os::unix::fs::FileExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rave::disk;
use rave::tool::Tool;
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
    let lab = Lab::new();
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

/// Where the second partition of a disk begins, the root file system, in bytes (UEFI 2.10, 5.3).
fn root_offset(disk: &std::fs::File) -> u64 {
    let mut bytes = [0; 8];
    // Sector 2 holds the entries, 128 bytes each, with the first sector at 32.
    disk.read_exact_at(&mut bytes, 2 * 512 + 128 + 32).unwrap();
    u64::from_le_bytes(bytes) * 512
}

#[test]
fn a_damaged_root_is_refused_by_the_guest_and_the_console_says_why() {
    let lab = Lab::new();
    let folder = lab.path().join("damaged");
    disk::create_dir_all(&folder).unwrap();
    for name in ["disk.raw", "manifest.json", "uki.efi"] {
        let from = disk::canonical(lab.result().join(name)).unwrap();
        Tool::new("cp").arg("--sparse=always").arg(from).arg(folder.join(name)).output().unwrap();
    }
    let path = folder.join("disk.raw");
    disk::set_mode(&path, 0o644).unwrap();
    let damaged = disk::open_existing_rw(&path).unwrap();
    // The superblock of EROFS begins at 1024; its magic number stays, so that only dm-verity can notice.
    let at = root_offset(&damaged) + 1024;
    let mut magic = [0; 4];
    damaged.read_exact_at(&mut magic, at).unwrap();
    assert_eq!(u32::from_le_bytes(magic), 0xe0f5_e1e2);
    damaged.write_all_at(b"x", at + 64).unwrap();
    drop(damaged);

    let ended = lab.rave(&["run", path.to_str().unwrap(), "--direct", "--timeout", "90", "--name", "damaged"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("machine damaged reboots in a loop"), "{ended:?}");
    assert!(ended.stderr.contains("verity") && ended.stderr.contains("is corrupted"), "{ended:?}");
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}
