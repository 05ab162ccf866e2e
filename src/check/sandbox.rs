//! Part of stage 6: systemd keeps the processes of each service from what its module says.

use super::table::{Check, Finding, Subject, list};
use super::{Target, Verdict, services};
use crate::probe::Answer;

/// The check.
pub const CHECK: Check = Check {
    id: "security.sandbox",
    about: "the service has the sandbox that is configured",
    unreachable: Verdict::Skipped,
    ask: |target| {
        let units = target.expect.sandbox.iter();
        units.map(|(unit, (_, option))| Subject::of(unit, option, services::units(target))).collect()
    },
    judge,
};

fn judge(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let (Some((properties, _)), [Answer::Units { units }]) = (target.expect.sandbox.get(subject), answers) else {
        return Finding::misfit();
    };
    let expected = list(properties.iter().map(|(property, value)| format!("{property}={value}")));
    let Some(unit) = services::find(units, subject).filter(|unit| unit.load == "loaded") else {
        return Finding::new(Verdict::NotApplicable, expected, "not loaded: it has no processes");
    };
    let others = properties.iter().filter_map(|(property, value)| {
        let observed = unit.properties.get(property).map_or("", String::as_str);
        (observed != value).then(|| format!("{property}={observed}"))
    });
    let others: Vec<String> = others.collect();
    let observed = if others.is_empty() { "as configured".to_owned() } else { list(others.iter()) };
    Finding::hold(others.is_empty(), expected, observed).because("systemctl show")
}
