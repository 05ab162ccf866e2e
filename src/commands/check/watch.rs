//! One round of checks, or one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::{Report, Verdict, Wanted};
use crate::cli;
use crate::evidence::SigningKey;
use crate::interrupt;

use super::super::{Context, Failure, Result, Status};
use super::asking::Subject;
use super::limits::Limits;
use super::suites::Programs;
use super::{check, end, evidence, files, show};

/// What was asked for, and where.
pub struct Round<'a> {
    pub context: &'a Context,
    pub arguments: &'a cli::Check,
    pub wanted: Wanted,
    pub suites: Programs,
}

/// Checks once, or with `--watch` until a signal comes; the status is that of the last whole round. `key` signs the
/// evidence, if some is wanted.
pub fn rounds(round: &Round<'_>, subject: &Subject<'_>, key: Option<&SigningKey>) -> Result<Status> {
    let Round { context, arguments, wanted, suites } = round;
    let mut wanted = wanted.clone();
    let limits = Limits::of(&arguments.times);
    let mut last: Option<Report> = None;
    loop {
        let report = match check(context, subject, &wanted, suites, limits) {
            Err(Failure::Interrupted) if last.is_some() => break,
            other => other?,
        };
        files::write(&arguments.reports, &report, &subject.manifest, arguments.strict)?;
        if !arguments.times.watch {
            show(context, &report);
            if let (Some(path), Some(key)) = (&arguments.reports.bundle, key) {
                evidence::write(context, subject, &report, key, path)?;
            }
            return end(&report, arguments.strict);
        }
        tell(context, &report, last.as_ref());
        wanted.again = true;
        last = Some(report);
        if interrupt::pause(Duration::from_secs(arguments.times.every)) {
            break;
        }
    }
    last.map_or(Err(Failure::Interrupted), |report| end(&report, arguments.strict))
}

/// A round of many: the table anew on a terminal, a line of JSON, or a line and what changed.
fn tell(context: &Context, report: &Report, before: Option<&Report>) {
    if context.ui.is_json() {
        return context.ui.print_json(report);
    }
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_else(|_| jiff::Timestamp::now());
    let health = if report.healthy { "healthy" } else { "not healthy" };
    if context.ui.redraw() {
        context.ui.print(format!("{now} {health}; Ctrl-C ends\n"));
        return show(context, report);
    }
    let stages: Vec<String> = report.stages.iter().map(|stage| format!("{} {}", stage.stage, stage.verdict)).collect();
    context.ui.print(format!("{now} {health}: {}", stages.join(", ")));
    let known: BTreeMap<&str, Verdict> = before.map(verdicts).unwrap_or_default();
    for check in report.stages.iter().flat_map(|stage| &stage.checks) {
        let was = known.get(check.id.as_str()).copied().unwrap_or(Verdict::Healthy);
        if was.max(Verdict::Healthy) != check.verdict.max(Verdict::Healthy) {
            let observed = check.observed.replace('\n', " ");
            context.ui.print(format!("{now} {} {}: {observed}", check.id, check.verdict));
        }
    }
}

fn verdicts(report: &Report) -> BTreeMap<&str, Verdict> {
    let checks = report.stages.iter().flat_map(|stage| &stage.checks);
    checks.map(|check| (check.id.as_str(), check.verdict)).collect()
}
