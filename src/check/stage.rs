//! Stages, verdicts and the report of a check: what `rave check --json` prints.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The six stages, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The machine can be administered, and only by whom it should be.
    Ssh,
    /// What the machine serves over HTTPS.
    Https,
    /// Services are up.
    Services,
    /// The machine is watched.
    Monitoring,
    /// Memory, processors and disks suffice.
    Resources,
    /// The machine is the image, and is closed.
    Security,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 6] =
        [Self::Ssh, Self::Https, Self::Services, Self::Monitoring, Self::Resources, Self::Security];

    /// The name that people type and JSON holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Https => "https",
            Self::Services => "services",
            Self::Monitoring => "monitoring",
            Self::Resources => "resources",
            Self::Security => "security",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A text is not the name of a stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a stage: ssh, https, services, monitoring, resources or security")]
pub struct NotAStage(pub String);

impl std::str::FromStr for Stage {
    type Err = NotAStage;

    fn from_str(text: &str) -> Result<Self, NotAStage> {
        Self::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| NotAStage(text.to_owned()))
    }
}

/// What rave thinks of a check or a stage. Ordered: of several verdicts the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The image does not take part, or the user did not ask: neither pass nor failure.
    NotApplicable,
    /// As expected.
    Healthy,
    /// As expected, but not for long.
    Warning,
    /// Could not be asked. Never healthy.
    Skipped,
    /// Not as expected.
    Unhealthy,
}

impl Verdict {
    /// Whether a machine is not known to be well for it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Unhealthy | Self::Skipped)
    }

    /// The name that JSON holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not-applicable",
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Dotted id, such as `ssh.root.refused` or `security.sysctl.kernel.sysrq`.
    pub id: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
    /// The option that asked for it, where one did.
    pub option: Option<String>,
    /// Where the observation comes from, or details of it.
    pub evidence: String,
    /// Milliseconds it took to ask.
    pub ms: u64,
}

/// What came of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// The stage.
    pub stage: Stage,
    /// The greatest verdict of its checks.
    pub verdict: Verdict,
    /// The checks in the order of the table.
    pub checks: Vec<CheckReport>,
}

impl StageReport {
    /// A stage with its verdict drawn from its checks; one that should have some and has none was skipped.
    pub fn new(stage: Stage, checks: Vec<CheckReport>) -> Self {
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Skipped);
        Self { stage, verdict, checks }
    }

    /// A machine whose start ended less than this ago may not have measured everything twice: targets are scraped every
    /// 30 s in SAFE, and for the first time while what answers is still starting.
    const YOUNG: Duration = Duration::from_secs(120);
    /// A start that has not ended by then does not end: something in it waits for ever, and so would who waits for it.
    const ENDLESS: Duration = Duration::from_secs(600);
    /// How long to wait before what may settle in such a machine is asked again.
    pub const PAUSE: Duration = Duration::from_secs(5);

    /// Whether a machine whose clock is at `now` may still settle after a start that ended at `finish`, both since the
    /// kernel started; 0: it has not ended. A host that took long for the start takes long for what comes after it, too.
    /// One that is not over ten minutes after the kernel started never will be. In a container the kernel is its host's, and
    /// may have started long ago: how long the start took is not known then.
    pub fn is_young(finish: Duration, now: Duration) -> bool {
        let took = if finish < Self::ENDLESS { finish } else { Duration::ZERO };
        match finish.is_zero() {
            true => now < Self::ENDLESS,
            false => now.saturating_sub(finish) < Self::YOUNG.max(took.saturating_mul(2)),
        }
    }

    /// Whether all that is wrong may come right as a machine settles: what is measured regularly, services that listen
    /// and answer some time after systemd counts them as started, and pages that tell whether others answer in time.
    pub fn may_settle(&self) -> bool {
        const LATE: [&str; 6] = [
            "https.page.",
            "services.status.",
            "security.bans",
            "security.fail2ban.",
            "security.scan.",
            "security.sockets",
        ];
        let mut checks = self.checks.iter().filter(|check| check.verdict.is_bad());
        self.verdict.is_bad()
            && (self.stage == Stage::Monitoring || checks.all(|check| LATE.iter().any(|id| check.id.starts_with(id))))
    }

    /// A stage that the image does not take part in, or that the user did not ask for.
    pub fn not_applicable(stage: Stage) -> Self {
        Self { stage, verdict: Verdict::NotApplicable, checks: Vec::new() }
    }
}

/// What came of all stages: six of them, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether something was judged and nothing was unhealthy or skipped.
    pub healthy: bool,
    /// The stages.
    pub stages: Vec<StageReport>,
}

impl Report {
    /// A report with its health drawn from its stages.
    pub fn new(stages: Vec<StageReport>) -> Self {
        let worst = worst(&stages);
        Self { healthy: matches!(worst, Verdict::Healthy | Verdict::Warning), stages }
    }

    /// The exit status of `rave check`: 0 healthy, 1 the machine is unwell, 2 rave could not ask (all it was to
    /// ask, or anything at all). With `strict` a warning is unwell.
    pub fn exit_status(&self, strict: bool) -> u8 {
        match worst(&self.stages) {
            Verdict::Healthy => 0,
            Verdict::Warning => u8::from(strict),
            Verdict::Unhealthy => 1,
            Verdict::Skipped | Verdict::NotApplicable => 2,
        }
    }
}

fn worst(stages: &[StageReport]) -> Verdict {
    stages.iter().map(|stage| stage.verdict).max().unwrap_or(Verdict::NotApplicable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_settles_is_asked_again() {
        let check = |id: &str, verdict| CheckReport {
            id: id.to_owned(),
            verdict,
            expected: String::new(),
            observed: String::new(),
            option: None,
            evidence: String::new(),
            ms: 0,
        };
        let sockets = || check("security.sockets", Verdict::Unhealthy);
        let other = || check("security.verity", Verdict::Unhealthy);
        let young = |finish, now| StageReport::is_young(Duration::from_secs(finish), Duration::from_secs(now));
        assert!(young(0, 599) && !young(0, 600));
        assert!(young(10, 129) && young(10, 1) && young(100, 299));
        assert!(!young(10, 130) && !young(100, 300));
        // A container of a host that has run for a day.
        assert!(young(86_400, 86_500) && !young(86_400, 86_600));
        let may = |stage, checks| StageReport::new(stage, checks).may_settle();
        assert!(may(Stage::Security, vec![sockets(), check("security.mounts", Verdict::Healthy)]));
        assert!(may(Stage::Monitoring, vec![check("monitoring.targets", Verdict::Skipped)]));
        assert!(may(Stage::Https, vec![check("https.page.main/ready", Verdict::Unhealthy)]));
        assert!(!may(Stage::Https, vec![check("https.tls.main", Verdict::Unhealthy)]));
        assert!(!may(Stage::Security, vec![sockets(), other()]));
        assert!(!may(Stage::Security, vec![check("security.sockets", Verdict::Healthy)]));
        assert!(!may(Stage::Services, vec![check("services.failed", Verdict::Unhealthy)]));
        assert!(!StageReport::not_applicable(Stage::Monitoring).may_settle());
    }
}
