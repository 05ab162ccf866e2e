//! Power cuts: QEMU is killed at random moments, while the machine starts and while it writes. What it said was on disk
//! is on disk afterwards, and the machine comes back well.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rave::disk;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, assert_well, wait_for};
use crate::processes;

const NAME: &str = "cut";
const RUN: [&str; 7] = ["run", "minimal", "--name", NAME, "--persist", "--detach", "--direct"];

/// Counts, and says each number once it is on disk.
const WRITER: &str = "n=0; while :; do n=$((n + 1)); echo $n >> /var/home/$0; sync /var/home/$0; echo $n; done";

/// Moments, from a number that is told, so that a run can be seen again.
struct Moments(u64);

impl Moments {
    /// A time up to `most` (Knuth's generator: only its upper bits are any good).
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64(f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31))
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::vars_os()
        .find(|(key, _)| key == name)
        .map_or(default, |(_, value)| value.to_str().unwrap().parse().unwrap())
}

/// `RAVE_CUTS` sets how many are under load (20); after every fourth comes one while the machine starts.
/// `RAVE_CUTS_SEED` repeats the moments of another run.
#[test]
fn what_is_acknowledged_survives_power_cuts() {
    let lab = Lab::new();
    let seed = setting("RAVE_CUTS_SEED", u64::from(std::process::id()));
    let cuts = setting("RAVE_CUTS", 20);
    println!("{cuts} power cuts under load and {} at the start, RAVE_CUTS_SEED={seed}", cuts.div_ceil(4));
    let mut moments = Moments(seed);
    lab.good(&RUN);
    // The file of each cut under load, and its last number.
    let mut acknowledged = Vec::new();
    for cut in 1..=cuts {
        let file = format!("count-{cut}");
        let last = write_until_cut(&lab, &file, moments.next(Duration::from_secs(3)));
        println!("    cut {cut}: {last} acknowledged");
        if cut % 4 == 1 {
            cut_at_start(&lab, moments.next(Duration::from_secs(9)));
        }
        let learnt = (cut == 1).then(|| mistake(&lab)).flatten();
        lab.good(&RUN);
        if let Some((path, text)) = learnt {
            assert_ne!(disk::read_to_string(path).unwrap(), text, "KVM was not tried");
        }
        acknowledged.push((file, last));
        verify(&lab, acknowledged.last().as_slice());
    }
    verify(&lab, &acknowledged.iter().collect::<Vec<_>>());
    let (status, report) = lab.check(&[NAME]);
    assert_well(&report, &["https", "monitoring"]);
    assert_eq!(status, Some(0));
    lab.good(&["vm", "rm", "--force", NAME]);
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}

/// Starts the machine and kills it after `delay`.
fn cut_at_start(lab: &Lab, delay: Duration) {
    let begin = Instant::now();
    let mut starting = lab.command(&RUN).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let family = wait_for("QEMU", running(lab));
    std::thread::sleep(delay.saturating_sub(begin.elapsed()));
    end(&family);
    starting.wait().unwrap();
    println!("    {:.1} s after its start", begin.elapsed().as_secs_f32());
}

/// Where KVM does not work here, has the next start believe that it does: it must go on without it. Returns what it finds.
fn mistake(lab: &Lab) -> Option<(PathBuf, String)> {
    let learnt = lab.machines().join("accelerator.json");
    let text = disk::read_to_string(&learnt).ok().filter(|text| text.contains("\"tcg\""))?;
    println!("    a KVM that seemed to work gives way");
    let text = text.replace("\"tcg\"", "\"kvm\"");
    disk::write_atomic(&learnt, text.as_bytes(), 0o600).unwrap();
    Some((learnt, text))
}

/// The processes of the machine, once there is a QEMU.
fn running(lab: &Lab) -> impl FnMut() -> Option<Vec<processes::Process>> + '_ {
    || {
        let pid = lab.state(NAME)?["process"]["pid"].as_u64()?;
        let family = processes::family(u32::try_from(pid).ok()?);
        processes::has_qemu(&family).then_some(family)
    }
}

fn end(family: &[processes::Process]) {
    let qemu = family.iter().find(|process| processes::has_qemu(&[**process])).unwrap();
    kill_process(Pid::from_raw(i32::try_from(qemu.0).unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_for("the end of QEMU", || processes::alive(family).is_empty().then_some(()));
}

/// Lets the machine write, kills it after `delay`, and returns the last number that it has said.
fn write_until_cut(lab: &Lab, file: &str, delay: Duration) -> u64 {
    let family = wait_for("QEMU", running(lab));
    let mut writer = lab
        .command(&["-q", "vm", "ssh", NAME, "--", "sudo", "sh", "-c", WRITER, file])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap().parse().unwrap();
    let cutter = std::thread::spawn(move || {
        std::thread::sleep(delay);
        end(&family);
    });
    // ssh waits for a machine that says nothing any more; what it had said is read by then.
    cutter.join().unwrap();
    writer.kill().unwrap();
    // A line may be cut short.
    let last = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).fold(first, u64::max);
    writer.wait().unwrap();
    last
}

/// Every number is there up to the last one that was acknowledged.
fn verify(lab: &Lab, acknowledged: &[&(String, u64)]) {
    let files: Vec<&str> = acknowledged.iter().map(|(file, _)| file.as_str()).collect();
    let found = lab.root(NAME, &format!("cd /var/home; grep -H '' {}", files.join(" ")));
    for (file, last) in acknowledged {
        let numbers = found.lines().filter_map(|line| line.strip_prefix(file)?.strip_prefix(':'));
        let whole = numbers.zip(1..=*last).take_while(|(line, number)| *line == number.to_string()).count();
        assert_eq!(whole as u64, *last, "{file}: {found}");
    }
}
