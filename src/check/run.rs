//! A whole check: ask each stage's questions, judge, and go on whatever came of it.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Question, ask};
use super::judge::{judge, left_out};
use super::{CheckReport, Report, Stage, StageReport, Target};
use crate::probe::{Answered, Probe, Side};

/// What the user asked to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Stages; empty means all.
    pub stages: BTreeSet<Stage>,
    /// Ids of checks, or their beginnings up to a dot; empty means all.
    pub only: Vec<String>,
    /// The same of checks that are left out. They are reported, as not applicable.
    pub skip: Vec<String>,
    /// Whether all is left out that a machine cannot ask itself, or need not. That is reported in the same way.
    pub inside: bool,
    /// Whether it was asked before: nobody is told of a test alert again. That is reported in the same way.
    pub again: bool,
}

/// What is said of a check that is left out.
const ON_REQUEST: &str = "left out on request";
const FROM_OUTSIDE: &str = "asked from outside only";
const TELLS: &str = "asked from outside only: it tells the receiver of alerts";
const TOLD: &str = "asked in the first round only: it tells the receiver of alerts";
const UNCHANGED: &str =
    "asked from outside only: what it looks for is in files that cannot change while the machine runs";

impl Wanted {
    /// The different probes that answer what the user asked of a stage, in order.
    pub fn probes(&self, stage: Stage, target: &Target) -> Vec<Probe> {
        let questions =
            self.questions(stage, target).into_iter().filter(|question| self.leaves_out(question).is_none());
        questions.flat_map(|question| question.probes).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The questions of a stage that the user asked for, with those that are left out.
    fn questions(&self, stage: Stage, target: &Target) -> Vec<Question> {
        if !self.stages.is_empty() && !self.stages.contains(&stage) {
            return Vec::new();
        }
        let wanted = |question: &Question| self.only.is_empty() || self.only.iter().any(|only| question.is(only));
        ask(stage, target).into_iter().filter(wanted).collect()
    }

    /// Why a question is not asked, if it is not.
    fn leaves_out(&self, question: &Question) -> Option<&'static str> {
        let tells = || question.probes.iter().any(|probe| matches!(probe, Probe::Alert { .. }));
        let asks = |what: fn(&Probe) -> bool| self.inside && question.probes.iter().any(what);
        if self.skip.iter().any(|skip| question.is(skip)) {
            Some(ON_REQUEST)
        } else if asks(|probe| probe.side() == Side::Outside) {
            Some(FROM_OUTSIDE)
        } else if self.inside && tells() {
            Some(TELLS)
        } else if self.again && tells() {
            Some(TOLD)
        } else if asks(|probe| *probe == Probe::Scan) {
            Some(UNCHANGED)
        } else {
            None
        }
    }

    /// The entries of `only` and `skip` that name no check of this machine.
    pub fn unknown(&self, target: &Target) -> Vec<&str> {
        let questions: Vec<Question> = Stage::ALL.into_iter().flat_map(|stage| ask(stage, target)).collect();
        let unknown = |id: &&str| !questions.iter().any(|question| question.is(id));
        self.only.iter().chain(&self.skip).map(String::as_str).filter(unknown).collect()
    }

    fn is_everything(&self) -> bool {
        self.stages.is_empty() && self.only.is_empty()
    }
}

/// Checks a machine. `answer` gets different probes of one stage and gives one answer for each, in order; what it leaves
/// out counts as unavailable. `each` sees every stage as it ends, and says whether what is not well in it shall be asked
/// once more.
pub fn run(
    target: &Target,
    wanted: &Wanted,
    answer: &mut dyn FnMut(Stage, &[Probe]) -> Vec<Answered>,
    each: &mut dyn FnMut(&StageReport) -> bool,
) -> Report {
    let stages = Stage::ALL.map(|stage| {
        let questions = wanted.questions(stage, target);
        if questions.is_empty() && !(wanted.is_everything() && super::applies(stage, target)) {
            let report = StageReport::not_applicable(stage);
            each(&report);
            return report;
        }
        let probes = wanted.probes(stage, target);
        let mut known = BTreeMap::new();
        loop {
            let asked: Vec<Probe> = probes.iter().filter(|probe| !known.contains_key(*probe)).cloned().collect();
            if !asked.is_empty() {
                let answers = answer(stage, &asked);
                known.extend(asked.into_iter().zip(answers));
            }
            let report = StageReport::new(stage, judged(&questions, target, wanted, &known));
            if !each(&report) {
                return report;
            }
            for (question, _) in questions.iter().zip(&report.checks).filter(|(_, check)| check.verdict.is_bad()) {
                question.probes.iter().for_each(|probe| drop(known.remove(probe)));
            }
        }
    });
    Report::new(stages.into())
}

fn judged(
    questions: &[Question],
    target: &Target,
    wanted: &Wanted,
    answers: &BTreeMap<Probe, Answered>,
) -> Vec<CheckReport> {
    let silence = Answered::unavailable("no answer");
    let judged = questions.iter().map(|question| {
        if let Some(reason) = wanted.leaves_out(question) {
            return left_out(question, reason);
        }
        let given: Vec<&Answered> =
            question.probes.iter().map(|probe| answers.get(probe).unwrap_or(&silence)).collect();
        judge(question, target, &given)
    });
    judged.collect()
}
