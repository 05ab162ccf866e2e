//! What a look found: as JSON for rave's other parts, and in the Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::{Report, Stage, StageReport, Verdict};

/// Checks that are told one by one, at most: each is a time series and a row of a page.
const TOLD: usize = 50;

/// Verdicts in the order in which they are told.
const VERDICTS: [Verdict; 5] =
    [Verdict::Unhealthy, Verdict::Skipped, Verdict::Warning, Verdict::Healthy, Verdict::NotApplicable];

/// The health of a machine at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// When the look began, in seconds since 1970.
    pub time: u64,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The six stages, in order.
    pub stages: Vec<StageOutcome>,
    /// What is not healthy, the worst first; no more than 50 of them.
    pub troubles: Vec<Trouble>,
    /// How many checks are wrong, whether told or not. Warnings are not.
    pub wrong: u64,
    /// Units that have failed.
    pub failed: Vec<String>,
    /// The certificates that are watched.
    pub certificates: Vec<Certificate>,
    /// What the kernel has counted.
    pub kernel: Kernel,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageOutcome {
    /// The stage.
    pub stage: Stage,
    /// The greatest verdict of its checks; not applicable for those that are asked from outside only.
    pub verdict: Verdict,
    /// Its checks by verdict: unhealthy, skipped, warning, healthy, not applicable.
    pub checks: [u64; 5],
}

/// Something that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Id of the check.
    pub id: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
}

/// A certificate that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Its file.
    pub path: String,
    /// When it ends, in seconds since 1970; nothing for one that cannot be read.
    pub end: Option<u64>,
}

/// What the kernel has counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What it says of its audit record, if the machine keeps one.
    pub audit: Option<Audit>,
    /// Packets by the rule of the firewall that they met, of rules that count and have a name.
    pub packets: BTreeMap<String, u64>,
}

/// The kernel's audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Events that were lost since the start.
    pub lost: u64,
    /// Events that wait for auditd.
    pub backlog: u64,
}

impl Audit {
    /// Reads what `auditctl -s` prints: a name and a number on each line.
    pub fn read(status: &str) -> Option<Self> {
        let value = |line: &str, name: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let number = |name: &str| status.lines().find_map(|line| value(line, name));
        Some(Self { lost: number("lost")?, backlog: number("backlog")? })
    }
}

/// Reads what `nft list` prints: packets by the comments of the rules that count them.
pub fn packets(rules: &str) -> impl Iterator<Item = (String, u64)> {
    rules.lines().filter_map(|rule| {
        let (_, counted) = rule.split_once("counter packets ")?;
        let (count, rest) = counted.split_once(' ')?;
        let (_, name) = rest.split_once("comment \"")?;
        Some((name.split_once('"')?.0.to_owned(), count.parse().ok()?))
    })
}

impl Outcome {
    /// The outcome of a report and of what else was looked at.
    pub fn new(
        report: &Report,
        certificates: Vec<Certificate>,
        failed: Vec<String>,
        kernel: Kernel,
        time: u64,
        took: Duration,
    ) -> Self {
        let checks = report.stages.iter().flat_map(|stage| &stage.checks);
        let troubles = checks.filter(|check| check.verdict > Verdict::Healthy).map(|check| Trouble {
            id: check.id.clone(),
            verdict: check.verdict,
            expected: check.expected.clone(),
            observed: check.observed.clone(),
        });
        let mut troubles: Vec<Trouble> = troubles.collect();
        let wrong = troubles.iter().filter(|trouble| trouble.verdict > Verdict::Warning).count() as u64;
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.verdict));
        troubles.truncate(TOLD);
        Self {
            healthy: report.healthy,
            time,
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            stages: report.stages.iter().map(stage).collect(),
            troubles,
            wrong,
            failed,
            certificates,
            kernel,
        }
    }

    /// The metrics.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, samples: &[(String, String)]| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# HELP rave_health_{name} {help}\n# TYPE rave_health_{name} gauge");
            for (labels, value) in samples {
                let _ = writeln!(text, "rave_health_{name}{labels} {value}");
            }
        };
        let plain = |value: String| [(String::new(), value)];
        let one = || "1".to_owned();
        let counts = self.stages.iter().flat_map(|stage| {
            VERDICTS.iter().zip(stage.checks).map(|(verdict, count)| {
                (labels(&[("stage", stage.stage.name()), ("verdict", verdict.name())]), count.to_string())
            })
        });
        let troubles = self
            .troubles
            .iter()
            .map(|trouble| (labels(&[("check", trouble.id.as_str()), ("verdict", trouble.verdict.name())]), one()));
        let units = self.failed.iter().take(TOLD).map(|unit| (labels(&[("unit", unit)]), one()));
        let ends = self.certificates.iter().map(|certificate| {
            (labels(&[("path", &certificate.path)]), certificate.end.unwrap_or_default().to_string())
        });
        family("checks", "Checks of the last look.", &counts.collect::<Vec<_>>());
        family("check_trouble", "A check that is not healthy.", &troubles.collect::<Vec<_>>());
        family("failed_units", "Units that have failed.", &plain(self.failed.len().to_string()));
        family("unit_failed", "A unit that has failed.", &units.collect::<Vec<_>>());
        let about = "When a certificate ends, in seconds since 1970; 0 if unreadable.";
        family("certificate_end_seconds", about, &ends.collect::<Vec<_>>());
        let audit = |of: fn(Audit) -> u64| self.kernel.audit.map(|audit| (String::new(), of(audit).to_string()));
        let about = "Events that the kernel's audit record has lost since the start.";
        family("audit_lost", about, audit(|audit| audit.lost).as_slice());
        let about = "Events that wait to be taken into the audit record.";
        family("audit_backlog", about, audit(|audit| audit.backlog).as_slice());
        let packets = self.kernel.packets.iter().map(|(rule, count)| (labels(&[("rule", rule)]), count.to_string()));
        let about = "Packets that have met a rule of the firewall since the start.";
        family("firewall_packets", about, &packets.collect::<Vec<_>>());
        family("troubles", "What is wrong with the machine, in number.", &plain(self.wrong.to_string()));
        let seconds = format!("{}.{:03}", self.ms / 1000, self.ms % 1000);
        family("duration_seconds", "How long the last look took.", &plain(seconds));
        family("time_seconds", "When the last look began, in seconds since 1970.", &plain(self.time.to_string()));
        text
    }
}

fn stage(report: &StageReport) -> StageOutcome {
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count() as u64;
    StageOutcome { stage: report.stage, verdict: report.verdict, checks: VERDICTS.map(count) }
}

/// `{name="value",...}`, with the escapes of the format.
fn labels(pairs: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    };
    format!("{{{}}}", pairs.iter().map(label).collect::<Vec<_>>().join(","))
}
