//! `rave vm fault`: what goes wrong is seen, what ends is mended, and what was acknowledged is there after all of it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Lab, assert_well, checks, signal, unwell, wait_for, with_verdict};

const NAME: &str = "faulty";
const RUN: [&str; 7] = ["run", "minimal", "--name", NAME, "--persist", "--detach", "--direct"];

/// What sees the faults that are tried at once.
pub const SEEN: [&str; 3] = ["resources.disk", "resources.memory.available", "services.clock"];

/// A fault that lasts.
struct Fault(Child);

impl Fault {
    /// Returns once the machine is broken.
    fn begin(lab: &Lab, fault: &[&str]) -> Self {
        println!("    {fault:?}");
        let mut command = lab.command(&[&["vm", "fault", NAME], fault].concat());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.as_mut().unwrap()).lines().next().unwrap().unwrap();
        assert!(said.contains("broken until Ctrl-C"), "{fault:?}: {said}");
        Self(child)
    }

    fn end(mut self) {
        signal(&self.0, Signal::INT);
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_machine_survives_what_goes_wrong_or_refuses_to_run_and_says_why() {
    let lab = Lab::new();
    let begin = Instant::now();
    lab.good(&RUN);
    let start = begin.elapsed();
    lab.root(NAME, "echo acknowledged > /var/home/note; sync");
    reported(&lab);
    unheard(&lab);
    unreadable(&lab);
    broken_off(&lab, start);
    wrong_hardware_clock(&lab);
    corrupted(&lab);
}

fn reported(lab: &Lab) {
    println!("several at once: each is seen by its check and by no other, and all is well afterwards");
    let faults: [&[&str]; 4] = [
        &["slow-disk", "--rate", "2M"],
        &["clock-jump", "-7200"],
        &["full-disk", "--leave", "24M"],
        &["memory-pressure", "--leave", "64M"],
    ];
    let faults = faults.map(|fault| Fault::begin(lab, fault));
    let (status, report) = lab.check(&[NAME, "--at-once"]);
    assert_eq!((status, with_verdict(&report, "unhealthy")), (Some(1), BTreeSet::from(SEEN)), "{:#?}", unwell(&report));
    faults.into_iter().for_each(Fault::end);
    let ahead = Fault::begin(lab, &["clock-jump", "7200"]);
    let (status, report) = lab.check(&[NAME, "--at-once", "--stage", "services"]);
    let seen = BTreeSet::from(["services.clock"]);
    assert_eq!((status, with_verdict(&report, "unhealthy")), (Some(1), seen), "{:#?}", unwell(&report));
    ahead.end();
    assert_well(&lab.check(&[NAME]).1, &["https", "monitoring"]);
}

/// What the SSH port says within two seconds.
fn banner(lab: &Lab) -> Option<String> {
    let port = lab.list()[0]["ssh"].as_u64().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut said = [0; 8];
    stream.read_exact(&mut said).ok()?;
    Some(String::from_utf8_lossy(&said).into_owned())
}

fn unheard(lab: &Lab) {
    println!("without a link and with a server that is stuck nobody answers; afterwards it does");
    for fault in [&["network-loss"][..], &["stuck-unit", "ssh.service"]] {
        assert_eq!(banner(lab).as_deref(), Some("SSH-2.0-"));
        let fault = Fault::begin(lab, fault);
        assert_eq!(banner(lab), None);
        fault.end();
        wait_for("the server", || banner(lab));
        assert_well(&lab.check(&[NAME]).1, &["https", "monitoring"]);
        assert_eq!(lab.root(NAME, "cat /var/home/note"), "acknowledged");
    }
}

fn unreadable(lab: &Lab) {
    println!("a disk that cannot be read is told; after a power cut all is well and nothing is lost");
    let boot = || lab.root(NAME, "cat /proc/sys/kernel/random/boot_id");
    let before = boot();
    lab.root(NAME, "echo 3 > /proc/sys/vm/drop_caches");
    let fault = Fault::begin(lab, &["read-errors"]);
    assert_eq!(banner(lab), None);
    fault.end();
    wait_for("the machine", || banner(lab));
    if boot() == before {
        // Whatever has to start meanwhile fails, too.
        let report = lab.check(&[NAME, "--stage", "services"]).1;
        assert!(with_verdict(&report, "unhealthy").contains("services.journal"), "{:#?}", unwell(&report));
    } else {
        assert!(lab.good(&["vm", "logs", NAME]).contains("Kernel panic"));
    }

    println!("nor after an error in the file system, with which it could not grow any more");
    let script = "echo test > /sys/fs/ext4/vda6/trigger_fs_error";
    let mut breaking = lab.command(&["vm", "ssh", NAME, "--", "sudo", "sh", "-c", script]).spawn().unwrap();
    let logs = || lab.good(&["vm", "logs", NAME]);
    wait_for("the panic", || logs().contains("panic forced after error").then_some(()));
    lab.good(&["vm", "fault", NAME, "power-cut"]);
    breaking.kill().unwrap();
    breaking.wait().unwrap();
    assert_eq!(lab.list()[0]["condition"], Value::from("stopped"));
}

/// What the hardware clock says in one of the starts: it is years behind.
const RTC: &str = "2001-09-09T01:46:40";

/// Starts the machine with a wrong hardware clock, which takes about `start`, and does not let it.
fn broken_off(lab: &Lab, start: Duration) {
    println!("a start after a power cut that is broken off again and again does no harm, nor is anything lost");
    let mut starting = lab.command(&[&RUN[..], &["--rtc", RTC]].concat());
    let mut starting = starting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("QEMU", || lab.state(NAME)?["process"]["pid"].as_u64());
    // Well before the machine is up, also where it is quick.
    let within = (start.as_secs() / 4).max(1).to_string();
    let told = lab.rave(&["vm", "fault", NAME, "reboot-loop", "--times", "3", "--within", &within]);
    let last = Instant::now();
    assert!(told.status == Some(0) && told.stderr.contains("reset 3 of 3, after "), "{told:?}");
    print!("{}", told.stderr);
    let mut said = String::new();
    starting.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(starting.wait().unwrap().success(), "{said}");
    wait_for("the machine", || banner(lab));
    assert_eq!(lab.started(NAME), "running");
    let state = lab.root(NAME, "cat /var/home/note; cut -d' ' -f1 /proc/uptime");
    let [note, uptime] = state.lines().collect::<Vec<_>>()[..] else { panic!("{state}") };
    assert_eq!(note, "acknowledged");
    // It is a start since the last reset.
    assert!(uptime.parse::<f64>().unwrap() < last.elapsed().as_secs_f64() + 1.0, "{uptime}");
}

fn wrong_hardware_clock(lab: &Lab) {
    println!("a machine whose hardware clock is years behind is up, and nothing is wrong with it but its clock");
    let (status, report) = lab.check(&[NAME, "--at-once"]);
    assert_eq!(
        (status, with_verdict(&report, "unhealthy")),
        (Some(1), BTreeSet::from(["services.clock"])),
        "{:#?}",
        unwell(&report)
    );
    let clock = checks(&report).into_iter().find(|check| check["id"] == "services.clock").unwrap();
    assert_eq!(clock["expected"], "within 60 s of the host's clock");
    let away = clock["observed"].as_str().unwrap().strip_suffix(" s away").unwrap().parse::<u64>().unwrap();
    // systemd takes no time for the present that is before its own release.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let bound = "2024-01-01T00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    assert!(away > 24 * 60 * 60 && now - away > u64::try_from(bound).unwrap(), "{away}");

    println!("set right, it is well");
    lab.root(NAME, &format!("date -s @{now}"));
    assert_well(&lab.check(&[NAME]).1, &["https", "monitoring"]);
}

fn corrupted(lab: &Lab) {
    println!("a byte beyond the end of a partition is none");
    let far = lab.rave(&["vm", "fault", NAME, "flipped-byte", "--at", "99999999999"]);
    assert!(far.status == Some(1) && far.stderr.contains("and none at 99999999999"), "{far:?}");
    lab.good(&["vm", "rm", "--force", NAME]);

    let firmware = &RUN[..RUN.len() - 1];
    for (partition, run, said) in [
        ("verity", &RUN[..], &["machine faulty reboots in a loop", "verity", "is corrupted"][..]),
        ("root", &RUN, &["machine faulty reboots in a loop", "verity", "is corrupted"]),
        ("esp", firmware, &[" of machine faulty panicked"]),
    ] {
        println!("with another byte in {partition} a machine does not start, and says why");
        let mut starting = lab.command(run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("QEMU", || lab.state(NAME)?["process"]["pid"].as_u64());
        lab.good(&["vm", "fault", NAME, "flipped-byte", "--in", partition]);
        lab.good(&["vm", "fault", NAME, "power-cut"]);
        assert!(!starting.wait().unwrap().success());
        let ended = lab.rave(&[run, &["--timeout", "240"]].concat());
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(said.iter().all(|said| ended.stderr.contains(said)), "{ended:?}");
        lab.good(&["vm", "rm", "--force", NAME]);
    }
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}
