//! Stage 3: everything that should run does.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::table::{Check, Finding, Subject, list};
use super::{Stage, Target, Verdict, https, limits, module};
use crate::probe::{Answer, JournalEntry, Probe, Unit};

/// Difference of clocks in seconds that is fine, since the answers are not given at one instant, and that is bad.
const CLOCK_FINE: u64 = 60;
const CLOCK_BAD: u64 = 300;

/// How often a service may have been restarted on its own with no more than a warning, and how long ago the last time is no
/// longer held against it, in seconds.
const RESTARTS: u64 = 2;
const RECENT: u64 = 15 * 60;

/// When a unit was last started, in microseconds since the system was.
const STARTED: &str = "InactiveExitTimestampMonotonic";

/// The checks of the stage.
pub static CHECKS: [Check; 7] = [
    Check {
        id: "services.system",
        about: "the system is running",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::only(Probe::SystemState),
        judge: judge_system,
    },
    Check {
        id: "services.failures",
        about: "no unit has failed, is being restarted or was more than twice in the last quarter of an hour",
        unreachable: Verdict::Skipped,
        ask: |target| Subject::whole(vec![units(target), Probe::Clock]),
        judge: judge_failures,
    },
    Check {
        id: "services.unit",
        about: "the unit is active, or starts as soon as its socket is asked",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let subject = |(unit, option)| Subject::of(unit, option, units(target));
            target.expect.units.iter().map(subject).collect()
        },
        judge: judge_unit,
    },
    Check {
        id: "services.clock",
        about: "the machine's clock agrees with the host's",
        unreachable: Verdict::Skipped,
        ask: |_| Subject::whole(vec![Probe::HostClock, Probe::Clock]),
        judge: judge_clock,
    },
    // What is shown to others is asked over HTTPS, but only of sites with pages, and only from outside.
    Check {
        id: "services.certificate",
        about: "the certificate in the file is valid for more than a month",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let files = target.expect.certificates.iter().map(|(path, option)| Subject {
                name: path.to_string(),
                option: Some(option.clone()),
                probes: vec![Probe::Certificate { path: path.clone() }, Probe::Clock],
            });
            files.collect()
        },
        judge: |_, _, answers| match answers {
            [Answer::Certificate { chain }, Answer::Clock { unix_seconds, .. }] => {
                https::judge_dates(chain, *unix_seconds)
            }
            _ => Finding::misfit(),
        },
    },
    Check {
        id: "services.journal",
        about: "no error in the journal outside the allow list",
        unreachable: Verdict::Skipped,
        ask: |target| Subject::only(Probe::Journal { seconds: target.journal }),
        judge: judge_journal,
    },
    module::check("services", |target| module::subjects(Stage::Services, target)),
];

/// The one question about units; asked alike by every check, it is put to the machine once.
pub fn units(target: &Target) -> Probe {
    let limits = limits::properties(&target.expect.limits);
    let sandbox = target.expect.sandbox.values().flat_map(|(properties, _)| properties.keys().cloned());
    Probe::Units { properties: limits.into_iter().chain(sandbox).chain([STARTED.to_owned()]).collect() }
}

/// How far a machine's boot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nothing more will start on its own: the checks may begin.
    Done,
    /// What it is waiting for, for people.
    Waiting(String),
}

/// Reads the progress of a boot from the answer to [`Probe::SystemState`]; whoever waits asks again until it is
/// done or the deadline passes, and lets the checks judge what state it ended in.
pub fn progress(answer: &Answer) -> Progress {
    match answer {
        Answer::SystemState { state, jobs } if state == "starting" || state == "initializing" => {
            Progress::Waiting(format!("the system is {state}, {jobs} jobs to do"))
        }
        Answer::SystemState { .. } => Progress::Done,
        Answer::Unavailable { reason } | Answer::Unreachable { reason } => Progress::Waiting(reason.clone()),
        _ => Progress::Waiting("an answer to another question".to_owned()),
    }
}

fn judge_system(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::SystemState { state, .. }] = answers else { return Finding::misfit() };
    if target.outside.is_none() && state == "starting" {
        // A look that the end of the start waits for: the units themselves tell whether they are up.
        return Finding::new(Verdict::NotApplicable, "running once this look is over", state);
    }
    Finding::hold(state == "running", "running", state).because("systemctl is-system-running")
}

fn judge_failures(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Units { units }, Answer::Clock { uptime_seconds, .. }] = answers else { return Finding::misfit() };
    let expected = "no unit failed, none restarted";
    if units.is_empty() {
        return Finding::new(Verdict::Skipped, expected, "no units at all");
    }
    let bad: Vec<String> =
        units.iter().filter(|(_, unit)| is_bad(unit, *uptime_seconds)).map(|(name, u)| describe(name, u)).collect();
    let restarted: Vec<String> = units
        .iter()
        .filter(|(_, unit)| unit.restarts > 0)
        .map(|(name, unit)| format!("{name} restarted {} times", unit.restarts))
        .collect();
    match (bad.is_empty(), restarted.is_empty()) {
        (true, true) => Finding::new(Verdict::Healthy, expected, format!("{} units, none failed", units.len())),
        (true, false) => Finding::new(Verdict::Warning, expected, list(&restarted)),
        (false, _) => Finding::new(Verdict::Unhealthy, expected, list(&bad)).because(list(&restarted)),
    }
}

fn is_bad(unit: &Unit, uptime: u64) -> bool {
    unit.active == "failed" || unit.sub.starts_with("auto-restart") || is_restless(unit, uptime)
}

/// Whether a service comes back again and again. Without a time its restarts count for ever.
fn is_restless(unit: &Unit, uptime: u64) -> bool {
    let started = unit.properties.get(STARTED).and_then(|time| time.parse::<u64>().ok());
    let ago = started.map_or(0, |microseconds| uptime.saturating_sub(microseconds / 1_000_000));
    unit.restarts > RESTARTS && ago <= RECENT
}

fn describe(name: &str, unit: &Unit) -> String {
    format!("{name} is {} ({}, {}), restarts: {}", unit.active, unit.sub, unit.result, unit.restarts)
}

/// A unit by its own name or an alias.
pub fn find<'a>(units: &'a BTreeMap<String, Unit>, name: &str) -> Option<&'a Unit> {
    units.get(name).or_else(|| units.values().find(|unit| unit.names.contains(name)))
}

fn judge_unit(_: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Units { units }] = answers else { return Finding::misfit() };
    let unit = find(units, subject);
    let active = unit.is_some_and(|unit| ["active", "reloading"].contains(&unit.active.as_str()));
    // systemctl does not list what is inactive, unless that is to change.
    let idle = unit.is_none_or(|unit| unit.active == "inactive" && unit.result == "success");
    let waits = idle && listens(units, subject);
    let mut state = unit.map_or("inactive or not loaded".to_owned(), |unit| format!("{} ({})", unit.active, unit.sub));
    if waits {
        state.push_str(", its socket listens");
    }
    let evidence = unit.map(|unit| format!("{}, result {}", unit.load, unit.result));
    Finding::hold(active || waits, "active", state).because(evidence.unwrap_or_default())
}

/// Whether there is a socket that starts this service for whoever asks first (systemd.socket(5)).
pub fn listens(units: &BTreeMap<String, Unit>, service: &str) -> bool {
    let socket = service.strip_suffix(".service").and_then(|stem| units.get(&format!("{stem}.socket")));
    socket.is_some_and(|socket| socket.active == "active")
}

fn judge_clock(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Clock { unix_seconds: host, .. }, Answer::Clock { unix_seconds: guest, .. }] = answers else {
        return Finding::misfit();
    };
    let difference = host.abs_diff(*guest);
    let verdict = if difference <= CLOCK_FINE {
        Verdict::Healthy
    } else if difference <= CLOCK_BAD {
        Verdict::Warning
    } else {
        Verdict::Unhealthy
    };
    Finding::new(verdict, format!("within {CLOCK_FINE} s of the host's clock"), format!("{difference} s away"))
        .because(format!("{guest} in the machine, {host} outside"))
}

fn judge_journal(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::Journal { entries, truncated }] = answers else { return Finding::misfit() };
    let allow = &target.expect.journal_allow;
    let (patterns, broken): (Vec<_>, Vec<_>) =
        allow.iter().map(|(pattern, _)| Regex::new(pattern).map_err(|_| pattern)).partition(Result::is_ok);
    let patterns: Vec<Regex> = patterns.into_iter().flatten().collect();
    let broken: BTreeSet<&String> = broken.into_iter().filter_map(Result::err).collect();
    let unknown: Vec<String> = entries
        .iter()
        .map(|entry| (line(entry), entry.count))
        .filter(|(line, _)| !patterns.iter().any(|pattern| pattern.is_match(line)))
        .map(|(line, count)| if count > 1 { format!("{line} ({count} times)") } else { line })
        .collect();
    let expected = "no entry of priority error or worse outside the allow list";
    let verdict = match (unknown.is_empty() && broken.is_empty(), truncated) {
        (true, false) => Verdict::Healthy,
        // The entries left out may be anything.
        (true, true) => Verdict::Skipped,
        (false, _) => Verdict::Unhealthy,
    };
    let span = target.journal.map_or("this boot".to_owned(), |seconds| format!("the last {seconds} s"));
    let mut evidence = format!("{} different entries of {span}, {} unknown", entries.len(), unknown.len());
    if *truncated {
        evidence.push_str("; older ones were not read");
    }
    if !broken.is_empty() {
        evidence.push_str(&format!("; not a regular expression: {}", list(broken)));
    }
    Finding::new(verdict, expected, list(&unknown)).because(evidence)
}

/// What a pattern of the allow list is matched against.
fn line(entry: &JournalEntry) -> String {
    format!("{}: {}", entry.identifier, entry.message)
}
