//! `rave check`: holds a running machine against its image.

use std::time::Duration;

use crate::check::{self, Report, Stage, StageReport, Target, Verdict, Wanted};
use crate::cli;
use crate::disk;
use crate::event::Work;
use crate::images::Manifest;
use crate::interrupt;
use crate::name::ImageName;
use crate::probe::{Answer, Answered, Probe, Side};
use crate::qemu::outside::{Outside, Patience};
use crate::qemu::state::Condition;
use crate::qemu::vm::Vm;
use crate::ui::Tone;

use super::building::Manner;
use super::running::{self, Wish, machines};
use super::{Context, Failure, Result, Status, build, locking, run as run_command, store};

/// How long the guest may take for the answers of one stage.
const ANSWERS: Duration = Duration::from_secs(120);

/// A machine younger than this may not have measured everything twice: targets are scraped every 30 s in SAFE.
const YOUNG: Duration = Duration::from_secs(90);
/// How long to wait before such a machine is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// Checks a machine that runs, or boots an image for it.
pub fn run(arguments: &cli::Check, context: &Context) -> Result<Status> {
    let wanted = wanted(arguments)?;
    let running = arguments.target.parse::<ImageName>().ok().and_then(|name| machines(context).find(&name).ok());
    let _left = interrupt::leave_to_machine();
    let report = match running {
        Some(known) if known.condition == Condition::Running => {
            let vm = machines(context).attach(&known.state.name)?;
            check(context, &vm, &wanted)?
        }
        _ => {
            running::expect(&arguments.host)?;
            let asked = locking::evaluate(context, &arguments.target, &[], None)?;
            let prepared = build::prepare(context, asked, Manner::default())?;
            let store = store::open(context)?;
            let bootable = run_command::of_image(context, &store, &prepared)?;
            let wish = Wish { name: None, host: &arguments.host, direct: false, persist: false, detach: false };
            let mut vm = running::start(context, &bootable, &wish)?;
            running::wait(context, &mut vm, &arguments.host)?;
            let result = check(context, &vm, &wanted);
            running::stop(context, &mut vm)?;
            result?
        }
    };
    if let Some(path) = &arguments.junit {
        disk::write_atomic(path, check::junit(&report, arguments.strict).as_bytes(), 0o644)?;
    }
    show(context, &report);
    end(&report, arguments.strict)
}

/// What a report means for the exit status.
pub fn end(report: &Report, strict: bool) -> Result<Status> {
    match report.exit_status(strict) {
        0 => Ok(Status::Done),
        1 => Ok(Status::Unwell),
        _ => Err(Failure::error("not every check had an answer").hint("the skipped checks say why")),
    }
}

fn wanted(arguments: &cli::Check) -> Result<Wanted> {
    let parse = |text: &String| text.parse::<Stage>().map_err(|e| Failure::request(e.to_string()));
    let stages = arguments.stage.iter().map(parse).collect::<Result<_>>()?;
    Ok(Wanted { stages, only: arguments.only.iter().cloned().collect() })
}

/// Asks a running machine, stage by stage.
pub fn check(context: &Context, vm: &Vm, wanted: &Wanted) -> Result<Report> {
    let manifest = running::manifest_of(vm)?;
    let target = target(&manifest);
    if let Some(unknown) = wanted.unknown(&target).first() {
        return Err(Failure::request(format!("there is no check `{unknown}`")));
    }
    let outside = outside(vm, &target)?;
    let mut answer = |stage: Stage, probes: &[Probe]| {
        let work = Work::start(context.ui.as_ref(), "check", stage.to_string(), None);
        let answers = answer_all(vm, &outside, probes);
        work.finish(format!("{} answers", answers.len()));
        answers
    };
    let mut again = |report: &StageReport| {
        let early = report.stage == Stage::Monitoring
            && matches!(report.verdict, Verdict::Unhealthy | Verdict::Skipped)
            && age(vm).is_some_and(|age| age < YOUNG);
        if early {
            context.ui.say("what is measured regularly may not have been yet; asking again");
            std::thread::sleep(PAUSE);
        }
        early
    };
    Ok(check::run(&target, wanted, &mut answer, &mut again))
}

/// How long ago a machine came to the end of its start, by its own clock.
fn age(vm: &Vm) -> Option<Duration> {
    let arguments = ["-c", "cut -d' ' -f1 /proc/uptime; systemctl show --value --property=FinishTimestampMonotonic"];
    let told = vm.exec("/bin/sh", &arguments, b"", ANSWERS).ok()?.stdout;
    let told = String::from_utf8(told).ok()?;
    let (now, finish) = told.trim().split_once('\n')?;
    let now = Duration::try_from_secs_f64(now.parse().ok()?).ok()?;
    now.checked_sub(Duration::from_micros(finish.parse().ok()?))
}

fn target(manifest: &Manifest) -> Target {
    let root_hash = format!("roothash={}", manifest.root_hash);
    let cmdline = manifest.cmdline.split(' ').filter(|word| *word != root_hash && !word.is_empty());
    Target {
        image: manifest.image.clone(),
        version: manifest.version.clone(),
        mode: manifest.mode,
        machine: manifest.machine.clone(),
        cmdline: cmdline.map(str::to_owned).collect(),
        root_hash: manifest.root_hash,
        expect: manifest.expect.clone(),
    }
}

fn outside(vm: &Vm, target: &Target) -> Result<Outside> {
    let port = vm.state().host_port(22).ok_or_else(|| Failure::error("the machine has no SSH port"))?;
    let ssh = running::ssh(&running::tools_of(vm)?, vm.directory(), false);
    let outside = Outside::new("127.0.0.1", port, &vm.private_key(), ssh, Patience::default())?;
    let sites = target.expect.https.values().map(|site| site.port);
    Ok(outside.reached(sites.filter_map(|port| Some((port, vm.state().host_port(port)?))).collect()))
}

/// Answers from outside and from inside at once, in the order of the probes.
fn answer_all(vm: &Vm, outside: &Outside, probes: &[Probe]) -> Vec<Answered> {
    let side = |wanted: Side| probes.iter().filter(|probe| probe.side() == wanted).cloned().collect::<Vec<_>>();
    let (from_outside, from_inside) = (side(Side::Outside), side(Side::Inside));
    let (mut seen, mut told) = std::thread::scope(|scope| {
        let seen = scope.spawn(|| outside.answer(&from_outside));
        let told = inside(vm, &from_inside);
        let seen = seen.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (seen.into_iter(), told.into_iter())
    });
    let silence = || Answered { answer: Answer::unavailable("no answer"), ms: 0 };
    let next = |probe: &Probe| match probe.side() {
        Side::Outside => seen.next().unwrap_or_else(silence),
        Side::Inside => told.next().unwrap_or_else(silence),
    };
    probes.iter().map(next).collect()
}

/// Has rave answer inside the machine, all probes in one go.
fn inside(vm: &Vm, probes: &[Probe]) -> Vec<Answered> {
    if probes.is_empty() {
        return Vec::new();
    }
    let ask = || -> std::result::Result<Vec<Answered>, String> {
        let input = serde_json::to_vec(probes).map_err(|e| e.to_string())?;
        let output =
            vm.exec("/usr/bin/rave", &["guest", "answer"], &input, ANSWERS).map_err(|e| super::failure::chain(&e))?;
        serde_json::from_slice(&output.stdout).map_err(|e| {
            format!("the machine gave no answers ({e}): {}", String::from_utf8_lossy(&output.stderr).trim())
        })
    };
    ask().unwrap_or_else(|reason| {
        let nothing = || Answered { answer: Answer::unavailable(&reason), ms: 0 };
        probes.iter().map(|_| nothing()).collect()
    })
}

/// Shows a report: the table of stages, and what is not healthy.
pub fn show(context: &Context, report: &Report) {
    if context.ui.is_json() {
        context.ui.print_json(report);
        return;
    }
    let tone = |verdict: Verdict| match verdict {
        Verdict::Healthy => Tone::Good,
        Verdict::NotApplicable => Tone::Dim,
        Verdict::Warning => Tone::Warn,
        Verdict::Skipped | Verdict::Unhealthy => Tone::Bad,
    };
    let stages = check::stage_rows(report).into_iter().map(|row| {
        vec![
            (row.stage.to_string(), Tone::Strong),
            (row.verdict.to_string(), tone(row.verdict)),
            (row.checks, Tone::Plain),
        ]
    });
    context.ui.table(&["STAGE", "VERDICT", "CHECKS"], &stages.collect::<Vec<_>>());
    for group in groups(check::trouble_rows(report)) {
        let Some(first) = group.first() else { continue };
        let option = if first.option.is_empty() { String::new() } else { format!(" ({})", first.option) };
        context.ui.print(format!("\n{} {}", tone(first.verdict).paint(first.verdict), Tone::Strong.paint(&first.id)));
        context.ui.print(format!("  expected {}{option}", first.expected));
        context.ui.print(format!("  observed {}", first.observed.replace('\n', "\n           ")));
        if group.len() > 1 {
            let rest: Vec<&str> = group[1..].iter().map(|row| row.id.as_str()).collect();
            context.ui.print(format!("  the same of {}", some_of(&rest)));
        }
    }
}

/// Checks that went wrong in the same way, together.
fn groups(rows: Vec<check::Row>) -> Vec<Vec<check::Row>> {
    let mut groups: Vec<Vec<check::Row>> = Vec::new();
    for row in rows {
        let same = |group: &&mut Vec<check::Row>| {
            group.first().is_some_and(|first| first.verdict == row.verdict && first.observed == row.observed)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// The first few of a list, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(4) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
