//! The shape of a check: one record that both asks and judges, so that neither can be forgotten.

use super::{Target, Verdict};
use crate::name::OptionPath;
use crate::probe::{Answer, Probe};

/// How much of a list is shown before the rest is only counted.
const SHOWN: usize = 8;

/// One check of the table.
pub struct Check {
    /// Dotted id; a subject follows it after another dot.
    pub id: &'static str,
    /// What it proves, in a few words.
    pub about: &'static str,
    /// What it means when the machine cannot be reached for an answer: skipped, or unhealthy where being
    /// reached is the point.
    pub unreachable: Verdict,
    /// The questions, one for each subject.
    pub ask: fn(&Target) -> Vec<Subject>,
    /// The finding on one subject, given the answers to its probes in order.
    pub judge: fn(&Target, &str, &[&Answer]) -> Finding,
}

/// What one question is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Unit, setting, path ...; empty where the check has only one subject.
    pub name: String,
    /// The option that asked for it.
    pub option: Option<OptionPath>,
    /// What has to be known.
    pub probes: Vec<Probe>,
}

impl Subject {
    /// The only subject of a check.
    pub fn only(probe: Probe) -> Vec<Self> {
        Self::whole(vec![probe])
    }

    /// The same, of which several things are asked.
    pub fn whole(probes: Vec<Probe>) -> Vec<Self> {
        vec![Self { name: String::new(), option: None, probes }]
    }

    /// One subject among several.
    pub fn of(name: impl Into<String>, option: &OptionPath, probe: Probe) -> Self {
        Self { name: name.into(), option: Some(option.clone()), probes: vec![probe] }
    }
}

/// What a judge found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
    /// Where the observation comes from, or details.
    pub evidence: String,
    /// The option at issue, where the question names none.
    pub option: Option<OptionPath>,
}

impl Finding {
    /// A finding without evidence.
    pub fn new(verdict: Verdict, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { verdict, expected: expected.into(), observed: observed.into(), evidence: String::new(), option: None }
    }

    /// Healthy if `holds`, else unhealthy.
    pub fn hold(holds: bool, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self::new(if holds { Verdict::Healthy } else { Verdict::Unhealthy }, expected, observed)
    }

    /// The answers are of another kind than the question.
    pub fn misfit() -> Self {
        Self::new(Verdict::Skipped, "an answer to the question", "an answer to another question")
    }

    /// Adds evidence.
    #[must_use]
    pub fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    /// Names the option at issue, if there is one.
    #[must_use]
    pub fn asked_by(mut self, option: Option<&OptionPath>) -> Self {
        self.option = option.cloned();
        self
    }
}

/// `tcp/22 (services.ssh.port), tcp/80 (services.nginx.sites)`: all of what is expected, with the options that ask for it;
/// `none` without any.
pub fn with_options<'a>(expected: impl IntoIterator<Item = (&'a str, Option<&'a OptionPath>)>) -> String {
    let named = |(what, option): (&str, Option<&OptionPath>)| match option {
        Some(option) => format!("{what} ({option})"),
        None => what.to_owned(),
    };
    let named: Vec<String> = expected.into_iter().map(named).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}

/// `a, b, c and 4 more`; `none` without any.
pub fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<S> = items.into_iter().collect();
    let shown: Vec<&str> = items.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match (shown.is_empty(), items.len() - shown.len()) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, rest) => format!("{} and {rest} more", shown.join(", ")),
    }
}
