//! Probes that modules contribute to the stages.

use super::table::{Check, Finding, Subject};
use super::{Stage, Target, Verdict};
use crate::probe::{Answer, Ended, Probe};
use crate::system::ModuleProbe;

/// How much of a command's output serves as evidence, in bytes.
const EVIDENCE: usize = 400;

/// The checks of the stage https.
pub static HTTPS: [Check; 1] = [check("https", |target| subjects(Stage::Https, target))];

/// The checks of the stage monitoring.
pub static MONITORING: [Check; 1] = [check("monitoring", |target| subjects(Stage::Monitoring, target))];

/// The modules' part of a stage; the id of each is that of the stage, a dot, and the module's.
pub const fn check(stage: &'static str, ask: fn(&Target) -> Vec<Subject>) -> Check {
    Check { id: stage, about: "a module's own probe passes", unreachable: Verdict::Skipped, ask, judge }
}

/// The probes that modules contribute to a stage. One for a stage that does not exist is asked with the
/// services: it must not get lost.
pub fn subjects(stage: Stage, target: &Target) -> Vec<Subject> {
    let of_stage = |probe: &&ModuleProbe| probe.stage.parse().unwrap_or(Stage::Services) == stage;
    let subject =
        |probe: &ModuleProbe| Subject::of(&probe.id, &probe.option, Probe::Run { command: probe.command.clone() });
    target.expect.probes.iter().filter(of_stage).map(subject).collect()
}

fn judge(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let (Some(probe), [Answer::Run(ended)]) = (target.expect.probes.iter().find(|probe| probe.id == subject), answers)
    else {
        return Finding::misfit();
    };
    let command = probe.command.join(" ");
    let evidence = format!("{} {}", start(&ended.stdout), start(&ended.stderr)).trim().to_owned();
    if ended.code != Some(0) {
        let observed = format!("exit status {}", code(ended));
        return Finding::new(Verdict::Unhealthy, format!("`{command}` succeeds"), observed).because(evidence);
    }
    match &probe.contains {
        None => Finding::new(Verdict::Healthy, format!("`{command}` succeeds"), "exit status 0").because(evidence),
        Some(text) => {
            let found = ended.stdout.contains(text);
            let observed = if found { "printed" } else { "not printed" };
            Finding::hold(found, format!("`{command}` prints {text:?}"), observed).because(evidence)
        }
    }
}

/// An exit status for people.
pub fn code(ended: &Ended) -> String {
    ended.code.map_or_else(|| "none (killed, or too slow)".to_owned(), |code| code.to_string())
}

fn start(text: &str) -> &str {
    let mut end = text.len().min(EVIDENCE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim()
}
