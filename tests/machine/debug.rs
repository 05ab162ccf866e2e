//! `rave run --debug`: shells before and after the root file system takes over, journal, screen and debugger.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rave::disk;
use rustix::process::Signal;

use crate::console::Console;
use crate::lab::{Lab, lines, signal, wait_for, with_verdict};

const NAME: &str = "open";

/// What such a machine has against it.
pub const SEEN: [&str; 1] = ["security.debug.shell"];

#[test]
fn a_machine_for_debugging_can_be_looked_into() {
    let lab = Lab::new();
    let mut command = lab.command(&["run", "minimal", "--debug", "--break", "--direct", "--name", NAME]);
    let rave = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the machine", || lab.state(NAME)?["process"]["pid"].as_u64());

    println!("it stops in the initrd, with a root shell there");
    let mut console = Console::attach(&lab, NAME);
    wait_for("the initrd", || lab.good(&["vm", "logs", NAME]).contains("becomes the root file system").then_some(()));
    console.types("\rls /dev/dm-0 /sysroot; echo it is $((6 * 7)) in $(tty)\r");
    console.shows("it is 42 in /dev/ttyS0");
    console.shows("/dev/dm-0");

    println!("and goes on when that is left, to a root shell on the console of systemd");
    console.types("exit\r");
    wait_for("the machine", || {
        let journal = lab.good(&["vm", "journal", NAME]);
        journal.contains("Reached target multi-user.target").then_some(())
    });
    console.types("\recho $(id -un) at $((6 * 8)); cat /proc/1/comm\r");
    console.shows("root at 48");
    console.leave();

    println!("its journal comes to the host by itself, and can be told by unit and urgency");
    let all = lab.good(&["vm", "journal", NAME]);
    assert!(all.contains("kernel: Linux version") && all.contains("sshd["), "{all}");
    let of_ssh = lines(&lab.good(&["vm", "journal", NAME, "--unit", "ssh.service", "--priority", "info", "--json"]));
    assert!(!of_ssh.is_empty());
    for entry in of_ssh {
        assert!([&entry["_SYSTEMD_UNIT"], &entry["UNIT"]].iter().any(|unit| **unit == "ssh.service"), "{entry}");
    }

    println!("its screen is a picture, and a debugger reaches its processors");
    let picture = lab.path().join("screen.png");
    lab.good(&["vm", "screenshot", NAME, "--output", picture.to_str().unwrap()]);
    let picture = disk::read(picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.len() > 1000, "{}", picture.len());
    assert_eq!(debugger(&lab), "T05thread:01;");

    println!("it is not taken for a machine that is well, for its shell and nothing else");
    let (status, report) = lab.check(&[NAME, "--stage", "security", "--skip", "security.scan", "--at-once"]);
    assert_eq!((status, with_verdict(&report, "unhealthy")), (Some(1), SEEN.into()));

    signal(&rave, Signal::INT);
    assert_eq!(rave.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}

/// Why the machine has stopped, by GDB's remote protocol: a debugger that comes stops it.
fn debugger(lab: &Lab) -> String {
    // A path may be too long for a socket, which one through an open directory is not.
    let directory = disk::open(lab.machines().join(NAME)).unwrap();
    let path = format!("/proc/self/fd/{}/gdb.sock", directory.as_raw_fd());
    let mut stub = UnixStream::connect(path).unwrap();
    // Acknowledged, why stopped; then detached.
    stub.write_all(b"+$?#3f").unwrap();
    let mut said = String::new();
    while said.matches('#').count() < 1 {
        let mut byte = [0];
        stub.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    stub.write_all(b"+$D#44").unwrap();
    said.trim_start_matches(['+', '$']).trim_end_matches('#').to_owned()
}
