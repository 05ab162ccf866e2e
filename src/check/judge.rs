//! What to think of a machine's answers. Pure: no clock, no files, no network.

use super::ask::Question;
use super::table::Finding;
use super::{CheckReport, Target, Verdict};
use crate::probe::{Answer, Answered};

/// How much of what a machine says is told, in characters.
const TOLD: usize = 2000;

/// Judges the answers to a question's probes, which must be given in their order.
pub fn judge(question: &Question, target: &Target, answers: &[&Answered]) -> CheckReport {
    let finding = no_answer(question, answers).unwrap_or_else(|| {
        let answers: Vec<&Answer> = answers.iter().map(|answered| &answered.answer).collect();
        (question.check.judge)(target, &question.subject, &answers)
    });
    CheckReport {
        id: question.id.clone(),
        verdict: finding.verdict,
        expected: told(&finding.expected),
        observed: told(&finding.observed),
        option: question.option.as_ref().or(finding.option.as_ref()).map(ToString::to_string),
        evidence: told(&finding.evidence),
        ms: answers.iter().map(|answered| answered.ms).max().unwrap_or(0),
    }
}

/// What is reported of a question that was left out for a reason: neither pass nor failure.
pub fn left_out(question: &Question, reason: &str) -> CheckReport {
    CheckReport {
        id: question.id.clone(),
        verdict: Verdict::NotApplicable,
        expected: question.check.about.to_owned(),
        observed: reason.to_owned(),
        option: question.option.as_ref().map(ToString::to_string),
        evidence: String::new(),
        ms: 0,
    }
}

/// What a machine says ends on somebody's terminal: bounded, and without control characters.
fn told(text: &str) -> String {
    let harmless = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let mut told: String = text.trim_end().chars().take(TOLD).map(harmless).collect();
    if text.trim_end().chars().nth(TOLD).is_some() {
        told.push('…');
    }
    told
}

/// The finding if an answer is missing: no judge ever sees that, so none can take it for a good sign.
fn no_answer(question: &Question, answers: &[&Answered]) -> Option<Finding> {
    let missing = |verdict, reason: &str| Some(Finding::new(verdict, question.check.about, reason));
    for answered in answers {
        match &answered.answer {
            Answer::Unavailable { reason } => return missing(Verdict::Skipped, reason),
            Answer::Inapplicable { reason } => return missing(Verdict::NotApplicable, reason),
            Answer::Unreachable { reason } => return missing(question.check.unreachable, reason),
            _ => {}
        }
    }
    if answers.len() == question.probes.len() { None } else { missing(Verdict::Skipped, "no answer") }
}
