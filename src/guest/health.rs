//! What a timer asks every few minutes when nobody looks: all checks of `rave check` that need no outside. The outcome
//! becomes metrics, and a report for the status page and for whoever blesses a boot.

mod outcome;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::check::{self, Stage, StageReport, Target, Wanted};
use crate::disk;
use crate::guest::answer::answer;
use crate::probe::{Answer, Answered, Probe};
use crate::system::Baseline;

pub use outcome::{Audit, Certificate, Kernel, Outcome, StageOutcome, Trouble};

/// The stages that a machine can ask itself.
const STAGES: [Stage; 4] = [Stage::Services, Stage::Monitoring, Stage::Resources, Stage::Security];

/// How far back the journal counts, in seconds: as long as three looks are apart, so that an error is told for a while
/// and not until the machine restarts.
const JOURNAL: u64 = 15 * 60;

/// The unit that this runs in: it is no news that it failed the last time.
const OWN: &str = "rave-health.service";
/// The file of metrics in each directory.
const METRICS: &str = "health.prom";
/// No description of an image and no outcome is longer, in bytes.
const FILE: u64 = 4 << 20;

/// What the module of the audit record has asked of the kernel.
const AUDIT: [&str; 2] = ["/usr/sbin/auditctl", "-s"];

/// How the module of the firewall asks for its rules.
const FIREWALL: [&str; 2] = ["/usr/sbin/nft", "list"];

/// Where systemd says what container this is, if it is one.
const CONTAINER: &str = "/run/systemd/container";

/// Why the machine's health is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or the outcome cannot be left.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A file is not what it should be.
    #[error("{} is not what it should be", .0.display())]
    Form(PathBuf, #[source] serde_json::Error),
}

/// What to look at, and where to leave the outcome.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file that says what the machine should be.
    pub baseline: PathBuf,
    /// Ids of checks that are left out, or their beginnings up to a dot.
    pub skip: Vec<String>,
    /// Directories to leave metrics in.
    pub metrics: Vec<PathBuf>,
    /// The file to leave the outcome in as JSON.
    pub report: Option<PathBuf>,
}

/// Looks, and leaves the outcome.
pub fn look(settings: &Settings, now: SystemTime) -> Result<Outcome, Error> {
    let started = Instant::now();
    let target = Target::of_itself(&baseline(&settings.baseline)?, JOURNAL);
    let mut skip = settings.skip.clone();
    if disk::exists(CONTAINER) {
        skip.extend(check::APART.map(str::to_owned));
    }
    let wanted = Wanted { stages: STAGES.into(), skip, inside: true, ..Wanted::default() };
    let mut asking = Asking::new(&target, &wanted, |probes| answer(probes, None));
    let mut asked = BTreeSet::new();
    let mut again = |report: &StageReport| report.may_settle() && settle::pause(asked.insert(report.stage), started);
    let report = check::run(&target, &wanted, &mut |stage, probes| asking.answer(stage, probes), &mut again);
    let kernel = Kernel { audit: asking.audit(), packets: asking.packets() };
    let outcome =
        Outcome::new(&report, asking.certificates(), asking.failed(), kernel, seconds(now), started.elapsed());
    // Each in one step, so that nobody reads half of it.
    for directory in &settings.metrics {
        disk::write_atomic(directory.join(METRICS), outcome.metrics().as_bytes(), 0o644)?;
    }
    if let Some(path) = &settings.report {
        let bytes = serde_json::to_vec(&outcome).map_err(|error| Error::Form(path.clone(), error))?;
        disk::write_atomic(path, &bytes, 0o644)?;
    }
    Ok(outcome)
}

/// What the last look found.
pub fn last(path: &Path) -> Result<Outcome, Error> {
    read(path)
}

/// What the machine should be.
pub fn baseline(path: &Path) -> Result<Baseline, Error> {
    read(path)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = disk::read_start(path, FILE)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Form(path.to_owned(), error))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The answers of all stages, asked for at once: what tells of all units is long, and is needed by several stages.
struct Asking<F> {
    ask: F,
    known: BTreeMap<Probe, Answered>,
    answered: BTreeSet<Stage>,
}

impl<F: FnMut(&[Probe]) -> Vec<Answered>> Asking<F> {
    fn new(target: &Target, wanted: &Wanted, mut ask: F) -> Self {
        let probes: BTreeSet<Probe> = STAGES.iter().flat_map(|stage| wanted.probes(*stage, target)).collect();
        let probes: Vec<Probe> = probes.into_iter().collect();
        let answers = ask(&probes);
        Self { ask, known: probes.into_iter().zip(answers).collect(), answered: BTreeSet::new() }
    }

    /// The answers to a stage's probes. A stage that has had its answers is asked anew.
    fn answer(&mut self, stage: Stage, probes: &[Probe]) -> Vec<Answered> {
        if !self.answered.insert(stage) {
            let answers = (self.ask)(probes);
            self.known.extend(probes.iter().cloned().zip(answers));
        }
        let silence = || Answered::unavailable("no answer");
        probes.iter().map(|probe| self.known.get(probe).cloned().unwrap_or_else(silence)).collect()
    }

    /// What the kernel says of its audit record, if that was asked.
    fn audit(&self) -> Option<Audit> {
        self.printed(AUDIT).find_map(Audit::read)
    }

    /// What the firewall has counted, if its rules were asked for.
    fn packets(&self) -> BTreeMap<String, u64> {
        self.printed(FIREWALL).flat_map(outcome::packets).collect()
    }

    /// What programs have printed that were asked for by commands which begin so.
    fn printed(&self, begin: [&'static str; 2]) -> impl Iterator<Item = &str> {
        let begin = begin.map(str::to_owned);
        self.known.iter().filter_map(move |(probe, answered)| match (probe, &answered.answer) {
            (Probe::Run { command }, Answer::Run(ended)) if command.starts_with(&begin) => Some(ended.stdout.as_str()),
            _ => None,
        })
    }

    /// When the certificates end that were asked for.
    fn certificates(&self) -> Vec<Certificate> {
        let certificates = self.known.iter().filter_map(|(probe, answered)| {
            let Probe::Certificate { path } = probe else { return None };
            let end = match &answered.answer {
                Answer::Certificate { chain } => check::certificate_dates(chain).map(|(_, end)| end),
                _ => None,
            };
            Some(Certificate { path: path.to_string(), end: end.and_then(|end| u64::try_from(end).ok()) })
        });
        certificates.collect()
    }

    /// Units that have failed.
    fn failed(&self) -> Vec<String> {
        let units = self.known.values().filter_map(|answered| match &answered.answer {
            Answer::Units { units } => Some(units),
            _ => None,
        });
        let failed = units.flatten().filter(|(name, unit)| unit.active == "failed" && *name != OWN);
        failed.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
