//! `rave check`: holds a running machine against its image.

mod asking;
mod evidence;
mod files;
mod limits;
mod live;
mod remote;
mod show;
mod suites;
pub mod typed;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::check::{self, Outside, Report, Stage, StageReport, Target, Verdict, Wanted};
use crate::cli;
use crate::images::Manifest;
use crate::interrupt;
use crate::probe::{Answered, Probe, Suite};
use crate::qemu::vm::Vm;

use super::secrets::authorities;
use super::{Context, Failure, Result, Status, running};

use asking::{Asking, Inside, Subject};
use limits::Limits;
use live::Table;
use remote::Remote;
pub use show::show;
use suites::{Programs, Suites};

/// How long a machine that was just deployed may take to come to the end of its start.
const SETTLE: Duration = Duration::from_secs(120);
/// Between two looks at a machine that still starts.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until nothing more starts in the machine; what state that ended in is for the checks.
fn await_start(context: &Context, subject: &Subject<'_>, wait: Duration) {
    let until = Instant::now() + wait;
    let mut told = String::new();
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let answers = asking::inside(&subject.inside, &[Probe::SystemState], left, None);
        let progress = answers.first().map(|answered| check::progress(&answered.answer));
        let Some(check::Progress::Waiting(reason)) = progress.filter(|_| !interrupt::heard()) else { return };
        if reason != told {
            context.ui.say(format!("waiting: {reason}"));
            told = reason;
        }
        if interrupt::pause(LOOK) {
            return;
        }
    }
}

/// Checks all of a machine that is reached by SSH at `place`, but for `skip`: ids, of which those that the image has no
/// check of are nothing.
pub fn over_ssh(
    context: &Context,
    manifest: Manifest,
    place: &str,
    way: &cli::Elsewhere,
    skip: &[&str],
) -> Result<Report> {
    let target = target(&manifest, Vec::new());
    let known = |id: &&&str| Wanted { skip: vec![(**id).to_owned()], ..Wanted::default() }.unknown(&target).is_empty();
    let skip = skip.iter().filter(known).map(|id| (*id).to_owned()).collect();
    let remote = Remote::new(place, &manifest, way, context)?;
    remote.greet()?;
    let subject = Subject { name: remote.name(), inside: Inside::Ssh(&remote), manifest };
    await_start(context, &subject, SETTLE);
    check(context, &subject, &Wanted { skip, ..Wanted::default() }, &Programs::default(), Limits::default())
}

/// What is wrong with a machine, a line for each check, the worst first; nothing if it is healthy and every check had an
/// answer.
pub fn troubles(report: &Report) -> Vec<String> {
    if matches!(end(report, false), Ok(Status::Done)) {
        return Vec::new();
    }
    let rows = check::trouble_rows(report).into_iter().filter(|row| row.verdict > Verdict::Warning);
    let troubles: Vec<String> =
        rows.map(|row| format!("{}: expected {}, observed {}", row.id, row.expected, row.observed)).collect();
    if troubles.is_empty() { vec!["nothing was checked".to_owned()] } else { troubles }
}

/// What a report means for the exit status.
pub fn end(report: &Report, strict: bool) -> Result<Status> {
    let asked = report.stages.iter().any(|stage| stage.verdict != Verdict::NotApplicable);
    match report.exit_status(strict) {
        0 => Ok(Status::Done),
        1 => Ok(Status::Unwell),
        _ if asked => Err(Failure::error("not every check had an answer").hint("the skipped checks say why")),
        _ => Err(Failure::error("nothing was checked").hint("of what was asked for, everything was left out")),
    }
}

/// Checks all of a machine that rave runs.
pub fn of_vm(context: &Context, vm: &Vm) -> Result<Report> {
    check(context, &subject(vm)?, &Wanted::default(), &Programs::default(), Limits::default())
}

/// Asks a machine, and judges stage by stage.
fn check(
    context: &Context,
    subject: &Subject<'_>,
    wanted: &Wanted,
    programs: &Programs,
    limits: Limits,
) -> Result<Report> {
    let mut target = target(&subject.manifest, programs.suites());
    if let (Some(ssh), Some(user)) = (target.expect.ssh.as_mut(), subject.user()) {
        user.clone_into(&mut ssh.user);
    }
    let until = Instant::now() + limits.all;
    // Suites keep a machine busy, so they come when all else is answered.
    let is_suite = |probe: &Probe| matches!(probe, Probe::Suite { .. });
    let probes = Stage::ALL.map(|stage| (stage, wanted.probes(stage, &target)));
    let lots = probes.each_ref().map(|(_, probes)| probes.iter().filter(|probe| !is_suite(probe)).cloned().collect());
    let is_certificate = |probe: &Probe| matches!(probe, Probe::Certificate { .. });
    let mut of_sites = probes.iter().filter(|(stage, _)| *stage == Stage::Https).flat_map(|(_, probes)| probes);
    if let Some(outside) = target.outside.as_mut().filter(|_| of_sites.any(is_certificate)) {
        outside.authorities = authorities(context, &subject.manifest)?;
    }
    let mut suites = Suites::new(context, subject, programs, limits, until);
    let (plug, peer) = subject.beside(&lots);
    let outside = subject.outside(limits, until, peer)?;
    let table = Table::new(context.ui.as_ref(), probes);
    let told = |known: &BTreeMap<Probe, Answered>| table.answered(known);
    let report = std::thread::scope(|scope| {
        let mut asking = Asking::start(scope, &subject.inside, &outside, lots, until, limits.each, &told);
        let mut answer = |stage: Stage, probes: &[Probe]| {
            let (tried, usual): (Vec<Probe>, Vec<Probe>) = probes.iter().cloned().partition(is_suite);
            let answers = asking.answer(stage, &usual);
            let mut known: BTreeMap<Probe, Answered> = usual.into_iter().zip(answers).collect();
            known.extend(suites.answers(&tried));
            let none = || Answered::unavailable("no answer");
            probes.iter().map(|probe| known.remove(probe).unwrap_or_else(none)).collect()
        };
        let began = Instant::now();
        let mut asked = BTreeMap::new();
        let mut again = |report: &StageReport| {
            let age = asked.get(&report.stage).unwrap_or(&began).elapsed();
            let early = !limits.at_once
                && report.may_settle()
                && until.saturating_duration_since(Instant::now()) > StageReport::PAUSE
                && !interrupt::heard()
                && was_young(&subject.inside, age);
            if early {
                if !asked.contains_key(&report.stage) {
                    context
                        .ui
                        .say(format!("{}: the machine was young, and this may settle; asking again", report.stage));
                }
                interrupt::pause(StageReport::PAUSE);
                asked.insert(report.stage, Instant::now());
            } else {
                table.judged(report);
            }
            early
        };
        check::run(&target, wanted, &mut answer, &mut again)
    });
    drop(plug);
    // What a signal has cut short is no report.
    if interrupt::heard() { Err(Failure::Interrupted) } else { Ok(report) }
}

/// Whether a machine could still settle after its start when it was asked, `age` ago, by its own clock: all is asked at
/// first, and what a late stage was told is judged late. Of one that does not tell it is not known.
fn was_young(inside: &Inside<'_>, age: Duration) -> bool {
    let script = "cut -d' ' -f1 /proc/uptime; systemctl show --value --property=FinishTimestampMonotonic";
    let times = || {
        let told = String::from_utf8(inside.run(&["/bin/sh", "-c", script], b"", LOOK * 30).ok()?).ok()?;
        let (now, finish) = told.trim().split_once('\n')?;
        let now = Duration::try_from_secs_f64(now.parse().ok()?).ok()?;
        Some((Duration::from_micros(finish.parse().ok()?), now))
    };
    times().is_some_and(|(finish, now)| StageReport::is_young(finish, now.saturating_sub(age)))
}

fn target(manifest: &Manifest, suites: Vec<Suite>) -> Target {
    let root_hash = format!("roothash={}", manifest.root_hash);
    let cmdline = manifest.cmdline.split(' ').filter(|word| *word != root_hash && !word.is_empty());
    Target {
        image: manifest.image.clone(),
        version: manifest.version.clone(),
        mode: manifest.mode,
        cmdline: cmdline.map(str::to_owned).collect(),
        expect: manifest.expect.clone(),
        journal: None,
        suites,
        outside: Some(Outside {
            machine: manifest.machine.clone(),
            root_hash: manifest.root_hash,
            authorities: BTreeMap::new(),
        }),
    }
}

fn subject(vm: &Vm) -> Result<Subject<'_>> {
    let name = vm.state().name.to_string();
    Ok(Subject { name, inside: Inside::Agent(vm), manifest: running::manifest_of(vm)? })
}
