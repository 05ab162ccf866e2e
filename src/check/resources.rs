//! Stage 5: memory, processors and disks are what the mode asks for, and suffice.

use std::collections::BTreeMap;

use super::table::{Check, Finding, Subject, list};
use super::{Outside, Target, Verdict, limits, services};
use crate::probe::{Answer, Cgroup, FileSystem, Pressure, Probe, Resources, Unit};

const MIB: u64 = 1024 * 1024;

/// What the kernel keeps for itself of the memory that a machine has, at most: this share and this much.
const KERNEL_SHARE: u64 = 10;
const KERNEL_MEMORY: u64 = 64 * MIB;

/// Per cent of the memory that must be available, and that should be.
const AVAILABLE_BAD: u64 = 10;
const AVAILABLE_FINE: u64 = 20;

/// Per cent of a unit's limit from which on it is too close to it.
const USAGE_BAD: u64 = 90;

/// Per cent of a disk, of its space or its inodes, from which on it is filling up, and from which on it is full.
const DISK_FULL: u64 = 90;
const DISK_FILLING: u64 = 80;

/// What the kernel measures the pressure of, and the per cent of a minute that is too much. Processors and disks
/// are busy after every boot, above all under software emulation: that only warns.
const PRESSURE: [(&str, f64, Verdict); 3] =
    [("cpu", 98.0, Verdict::Warning), ("io", 80.0, Verdict::Warning), ("memory", 10.0, Verdict::Unhealthy)];

/// The checks of the stage.
pub static CHECKS: [Check; 10] = [
    Check {
        ask: |_| of_machine("machine.memory"),
        ..of_resources("resources.memory.size", "the machine has the mode's memory", judge_memory)
    },
    Check {
        ask: |_| of_machine("machine.vcpus"),
        ..of_resources("resources.processors", "the machine has the mode's processors", judge_processors)
    },
    Check {
        id: "resources.limit",
        about: "the unit's limit is the configured one",
        unreachable: Verdict::Skipped,
        ask: ask_limits,
        judge: judge_limit,
    },
    Check {
        id: "resources.usage",
        about: "the unit is below 90 % of its limits",
        unreachable: Verdict::Skipped,
        ask: ask_usage,
        judge: judge_usage,
    },
    of_resources("resources.oom-kills", "no process was killed for want of memory", judge_oom),
    of_resources("resources.memory.available", "memory is available", judge_available),
    Check {
        id: "resources.pressure",
        about: "tasks do not wait for the resource",
        unreachable: Verdict::Skipped,
        ask: |_| {
            let subject = |(name, ..): &(&str, f64, Verdict)| Subject {
                name: (*name).to_owned(),
                option: None,
                probes: vec![Probe::Resources],
            };
            PRESSURE.iter().map(subject).collect()
        },
        judge: judge_pressure,
    },
    Check {
        id: "resources.disk",
        about: "no disk is filling up",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Space),
        judge: |_, _, answers| judge_space(answers, "space", |disk| (disk.total, disk.available)),
    },
    Check {
        id: "resources.inodes",
        about: "no disk is running out of inodes",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::Space),
        judge: |_, _, answers| judge_space(answers, "inodes", |disk| (disk.inodes, disk.inodes_free)),
    },
    super::module::check("resources", |target| super::module::subjects(super::Stage::Resources, target)),
];

const fn of_resources(id: &'static str, about: &'static str, judge: fn(&Target, &str, &[&Answer]) -> Finding) -> Check {
    Check { id, about, unreachable: Verdict::Skipped, ask: |_| Subject::only(Probe::Resources), judge }
}

/// What an option of the machine has set.
fn of_machine(option: &str) -> Vec<Subject> {
    vec![Subject { name: String::new(), option: option.parse().ok(), probes: vec![Probe::Resources] }]
}

fn cgroups(target: &Target) -> Probe {
    Probe::Cgroups { units: target.expect.limits.keys().cloned().collect() }
}

/// `part` of `whole` in per cent; of nothing everything is used.
fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

fn resources<'a>(answers: &[&'a Answer]) -> Option<&'a Resources> {
    match answers {
        [Answer::Resources(resources)] => Some(resources),
        _ => None,
    }
}

fn judge_memory(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let Some(resources) = resources(answers) else { return Finding::misfit() };
    let observed = format!("{} MiB", resources.memory_total / MIB);
    let Some(Outside { machine, .. }) = &target.outside else { return given(observed) };
    let nominal = machine.memory.saturating_mul(MIB);
    let least = (nominal - nominal / KERNEL_SHARE).saturating_sub(KERNEL_MEMORY);
    let expected = format!("{} MiB ({}), less what the kernel keeps", machine.memory, target.mode);
    Finding::hold((least..=nominal).contains(&resources.memory_total), expected, observed).because("/proc/meminfo")
}

fn judge_processors(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let Some(resources) = resources(answers) else { return Finding::misfit() };
    let observed = resources.processors.to_string();
    let Some(Outside { machine, .. }) = &target.outside else { return given(observed) };
    let expected = format!("{} ({})", machine.vcpus, target.mode);
    Finding::hold(resources.processors == machine.vcpus, expected, observed)
}

/// What a machine has, by its own account.
fn given(observed: String) -> Finding {
    Finding::new(Verdict::NotApplicable, "what the machine was given, which is known outside only", observed)
}

fn judge_oom(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let Some(resources) = resources(answers) else { return Finding::misfit() };
    Finding::hold(resources.oom_kills == 0, "0 since boot", resources.oom_kills.to_string()).because("/proc/vmstat")
}

fn judge_available(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let Some(resources) = resources(answers) else { return Finding::misfit() };
    let available = percent(resources.memory_available, resources.memory_total);
    let verdict = match available {
        AVAILABLE_FINE.. => Verdict::Healthy,
        AVAILABLE_BAD.. => Verdict::Warning,
        _ => Verdict::Unhealthy,
    };
    let observed = format!("{available} %, {} MiB", resources.memory_available / MIB);
    Finding::new(verdict, format!("{AVAILABLE_FINE} % or more"), observed).because("/proc/meminfo")
}

fn judge_pressure(_: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let row = PRESSURE.iter().find(|(name, ..)| *name == subject);
    let (Some(resources), Some((name, most, bad))) = (resources(answers), row) else { return Finding::misfit() };
    // No task can run while all wait for a processor, so `full` means nothing there (accounting/psi.rst).
    let measure = |pressure: &Pressure| if *name == "cpu" { pressure.some } else { pressure.full };
    let expected = format!("below {most} % of the last minute");
    match resources.pressure.get(subject).map(measure) {
        None => Finding::new(Verdict::Skipped, expected, "not measured by this kernel"),
        // Written so that a value that is no number is not healthy.
        Some(value) => {
            Finding::new(if value < *most { Verdict::Healthy } else { *bad }, expected, format!("{value} %"))
                .because(format!("/proc/pressure/{subject}"))
        }
    }
}

fn ask_limits(target: &Target) -> Vec<Subject> {
    let subjects = target.expect.limits.iter().flat_map(|(unit, limits)| {
        limits.iter().map(move |(property, (_, option))| Subject {
            name: format!("{unit}.{property}"),
            option: Some(option.clone()),
            probes: vec![cgroups(target), services::units(target)],
        })
    });
    subjects.collect()
}

fn judge_limit(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let limit = subject.rsplit_once('.').and_then(|(unit, property)| {
        let (value, _) = target.expect.limits.get(unit)?.get(property)?;
        Some((unit, property, value))
    });
    let (Some((unit, property, value)), [Answer::Cgroups { groups }, Answer::Units { units }]) = (limit, answers)
    else {
        return Finding::misfit();
    };
    match limits::observed(property, groups.get(unit), services::find(units, unit)) {
        None if !groups.contains_key(unit) => idle(units, unit, value),
        None => Finding::new(Verdict::Unhealthy, value, "no such limit"),
        Some((observed, source)) => {
            Finding::hold(limits::same(property, value, &observed), value, observed).because(source)
        }
    }
}

/// What is said of a unit that has no control group. Stage 3 tells that it does not run, unless it need not yet.
fn idle(units: &BTreeMap<String, Unit>, unit: &str, expected: &str) -> Finding {
    match services::listens(units, unit) {
        true => Finding::new(Verdict::NotApplicable, expected, "nobody has asked its socket yet"),
        false => Finding::new(Verdict::Skipped, expected, "the unit does not run"),
    }
}

/// The limits of systemd that use is held against.
const USED: [&str; 3] = ["MemoryMax", "MemoryHigh", "TasksMax"];

fn ask_usage(target: &Target) -> Vec<Subject> {
    let subjects = target.expect.limits.iter().map(|(unit, limits)| {
        let limit = USED.iter().find_map(|property| limits.get(*property));
        let option = limit.map(|(_, option)| option.clone());
        Subject { name: unit.clone(), option, probes: vec![cgroups(target), services::units(target)] }
    });
    subjects.collect()
}

fn judge_usage(_: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Cgroups { groups }, Answer::Units { units }] = answers else { return Finding::misfit() };
    let expected = format!("below {USAGE_BAD} % of every limit");
    let Some(group) = groups.get(subject) else { return idle(units, subject, &expected) };
    let number = |file: &str| group.get(file).and_then(|text| text.parse::<u64>().ok());
    let used = [
        ("memory", working_set(group), number("memory.max")),
        ("memory before it is throttled", working_set(group), number("memory.high")),
        ("tasks", number("pids.current"), number("pids.max")),
    ];
    if let Some((what, ..)) = used.iter().find(|(_, used, limit)| used.is_none() && limit.is_some()) {
        return Finding::new(Verdict::Skipped, expected, format!("the kernel does not say how much {what} is used"));
    }
    let used: Vec<(&str, u64)> =
        used.into_iter().filter_map(|(what, used, limit)| Some((what, percent(used?, limit?)))).collect();
    let observed = list(used.iter().map(|(what, percent)| format!("{percent} % of {what}")));
    match used.iter().map(|(_, percent)| *percent).max() {
        None => Finding::new(Verdict::NotApplicable, expected, "no limit of memory or tasks"),
        Some(most) => Finding::hold(most < USAGE_BAD, expected, observed).because("working set, pids.current"),
    }
}

/// Memory that cannot be had back without harm: pages of files that nobody read lately do not count, else every
/// service that reads files would fill its limit.
fn working_set(group: &Cgroup) -> Option<u64> {
    let number = |file: &str| group.get(file).and_then(|text| text.parse::<u64>().ok());
    Some(number("memory.current")?.saturating_sub(number("inactive_file").unwrap_or(0)))
}

fn judge_space(answers: &[&Answer], what: &str, measure: fn(&FileSystem) -> (u64, u64)) -> Finding {
    let [Answer::Space { file_systems }] = answers else { return Finding::misfit() };
    let expected = format!("less than {DISK_FILLING} % of {what} used");
    let mut used: Vec<(u64, &str)> = file_systems
        .iter()
        .filter(|disk| !disk.read_only && measure(disk).0 > 0)
        .map(|disk| {
            let (total, free) = measure(disk);
            (percent(total.saturating_sub(free), total), disk.point.as_str())
        })
        .collect();
    used.sort_unstable_by(|a, b| b.cmp(a));
    let Some((worst, _)) = used.first() else {
        return Finding::new(Verdict::Skipped, expected, "no file system that can be written to");
    };
    let verdict = match worst {
        DISK_FULL.. => Verdict::Unhealthy,
        DISK_FILLING.. => Verdict::Warning,
        _ => Verdict::Healthy,
    };
    Finding::new(verdict, expected, list(used.iter().map(|(percent, point)| format!("{point} {percent} %"))))
        .because("statvfs")
}
