//! Part of stage 6: whoever guesses is kept out, and not for ever.

use super::table::{Check, Finding, Subject};
use super::{Target, Verdict};
use crate::probe::{Answer, Probe};

/// Whom no machine has.
const INTRUDER: &str = "intruder";

/// The check.
pub const CHECK: Check = Check {
    id: "security.bans",
    about: "an address from which logins fail is kept out, and can be let in again",
    unreachable: Verdict::Skipped,
    ask,
    judge,
};

fn ask(target: &Target) -> Vec<Subject> {
    let subject = target.expect.ssh.iter().filter_map(|ssh| {
        let bans = ssh.bans.as_ref()?;
        let probe = Probe::BruteForce {
            user: INTRUDER.to_owned(),
            tries: bans.tries,
            pardon: (ssh.user.clone(), bans.pardon.clone()),
        };
        Some(Subject::of("", bans.option.as_ref().unwrap_or(&ssh.option), probe))
    });
    subject.collect()
}

fn judge(target: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let (Some(bans), [Answer::BruteForce(told)]) =
        (target.expect.ssh.as_ref().and_then(|ssh| ssh.bans.as_ref()), answers)
    else {
        return Finding::misfit();
    };
    let expected = format!("kept out after {} bad logins, then let in again", bans.tries);
    let observed = match (told.kept_out, told.let_in) {
        (true, true) => format!("kept out after {}, then let in again", told.refused),
        (true, false) => format!("kept out after {}, and not let in again", told.refused),
        (false, _) => format!("{} refused, and not kept out", told.refused),
    };
    let said = if told.said.is_empty() { String::new() } else { format!(": {}", told.said) };
    Finding::hold(told.kept_out && told.let_in, expected, observed).because(format!("from {}{said}", told.address))
}
