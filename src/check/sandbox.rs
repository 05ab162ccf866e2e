//! Part of stage 6: systemd keeps the processes of each service from what its module says.

use std::collections::BTreeSet;

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
        let observed = unit.properties.get(property);
        let good = observed.is_some_and(|observed| holds(property, value, observed));
        (!good).then(|| format!("{property}={}", observed.map_or("", String::as_str)))
    });
    let others: Vec<String> = others.collect();
    let observed = if others.is_empty() { "as configured".to_owned() } else { list(others.iter()) };
    Finding::hold(others.is_empty(), expected, observed).because("systemctl show")
}

/// Whether what systemd tells of a directive keeps processes from all that the configured value does.
fn holds(property: &str, configured: &str, told: &str) -> bool {
    match property {
        "SystemCallFilter" => !told.trim_start_matches('~').is_empty(),
        // Other directives take capabilities away, too. A list of what is left out begins with `~`.
        "AmbientCapabilities" | "CapabilityBoundingSet" | "RestrictAddressFamilies" => {
            let configured: BTreeSet<&str> = configured.split_whitespace().collect();
            told.split_whitespace().all(|word| configured.contains(word))
        }
        _ => told == configured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_holds_as_much_as_what_is_configured() {
        for (property, configured, told, good) in [
            ("User", "web", "web", true),
            ("User", "web", "root", false),
            ("UMask", "0077", "0022", false),
            ("CapabilityBoundingSet", "", "", true),
            ("CapabilityBoundingSet", "cap_kill cap_bpf", "cap_bpf cap_kill", true),
            ("CapabilityBoundingSet", "cap_kill cap_bpf", "cap_bpf", true),
            ("CapabilityBoundingSet", "cap_kill", "cap_kill cap_sys_admin", false),
            ("AmbientCapabilities", "", "cap_kill", false),
            ("RestrictAddressFamilies", "AF_UNIX AF_INET", "AF_INET AF_UNIX", true),
            ("RestrictAddressFamilies", "AF_UNIX", "~", false),
            ("RestrictAddressFamilies", "AF_UNIX", "~AF_UNIX", false),
            ("SystemCallFilter", "@system-service", "read write", true),
            ("SystemCallFilter", "@system-service", "~mount", true),
            ("SystemCallFilter", "@system-service", "~", false),
            ("SystemCallFilter", "@system-service", "", false),
            ("SystemCallArchitectures", "native", "", false),
        ] {
            assert_eq!(holds(property, configured, told), good, "{property}={configured}, {told}");
        }
    }
}
