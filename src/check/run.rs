//! A whole check: ask each stage's questions, judge, and go on whatever came of it.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Question, ask};
use super::judge::{judge, left_out};
use super::{Report, Stage, StageReport, Target};
use crate::probe::{Answered, Probe};

/// What the user asked to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Stages; empty means all.
    pub stages: BTreeSet<Stage>,
    /// Ids of checks, or their beginnings up to a dot; empty means all.
    pub only: Vec<String>,
    /// The same of checks that are left out. They are reported, as not applicable.
    pub skip: Vec<String>,
}

impl Wanted {
    /// The different probes that answer what the user asked of a stage, in order.
    pub fn probes(&self, stage: Stage, target: &Target) -> Vec<Probe> {
        let questions = self.questions(stage, target).into_iter().filter(|question| !self.leaves_out(question));
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

    fn leaves_out(&self, question: &Question) -> bool {
        self.skip.iter().any(|skip| question.is(skip))
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

/// Checks a machine. `answer` gets the different probes of one stage and gives one answer for each, in order; what
/// it leaves out counts as unavailable. `each` sees every stage as it ends, and says whether it shall be asked once more.
pub fn run(
    target: &Target,
    wanted: &Wanted,
    answer: &mut dyn FnMut(Stage, &[Probe]) -> Vec<Answered>,
    each: &mut dyn FnMut(&StageReport) -> bool,
) -> Report {
    let stages = Stage::ALL.map(|stage| {
        let mut report = run_stage(stage, target, wanted, answer);
        while each(&report) {
            report = run_stage(stage, target, wanted, answer);
        }
        report
    });
    Report::new(stages.into())
}

fn run_stage(
    stage: Stage,
    target: &Target,
    wanted: &Wanted,
    answer: &mut dyn FnMut(Stage, &[Probe]) -> Vec<Answered>,
) -> StageReport {
    let questions = wanted.questions(stage, target);
    if questions.is_empty() && !(wanted.is_everything() && super::applies(stage, target)) {
        return StageReport::not_applicable(stage);
    }
    let probes = wanted.probes(stage, target);
    let answers = if probes.is_empty() { Vec::new() } else { answer(stage, &probes) };
    let answers: BTreeMap<&Probe, &Answered> = probes.iter().zip(&answers).collect();
    let silence = Answered::unavailable("no answer");
    let judged = questions.iter().map(|question| {
        if wanted.leaves_out(question) {
            return left_out(question);
        }
        let given: Vec<&Answered> =
            question.probes.iter().map(|probe| answers.get(probe).copied().unwrap_or(&silence)).collect();
        judge(question, target, &given)
    });
    StageReport::new(stage, judged.collect())
}
