//! The stage security as a SARIF log (OASIS, Static Analysis Results Interchange Format 2.1.0), which code hosts show
//! beside the lines that ask for what was not found.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CheckReport, Report, Stage, Verdict, ask};
use crate::name::{self, OptionPath};
use crate::system::OptionValue;

/// Writes the stage security of a report. Healthy checks are rules without a result; a skipped one is an open result
/// and a notification, and the run was then not successful. `options` are those of the image, with their origins.
pub fn sarif(report: &Report, options: &BTreeMap<OptionPath, OptionValue>) -> Value {
    let checks = report.stages.iter().filter(|stage| stage.stage == Stage::Security).flat_map(|stage| &stage.checks);
    let checks: Vec<&CheckReport> = checks.filter(|check| check.verdict != Verdict::NotApplicable).collect();
    let rules: BTreeMap<&str, &str> = checks.iter().map(|check| rule(check)).collect();
    let index = |id: &str| rules.keys().position(|known| *known == id);
    let results = checks.iter().filter(|check| check.verdict != Verdict::Healthy).map(|check| {
        let (id, _) = rule(check);
        let (kind, level) = match check.verdict {
            Verdict::Unhealthy => ("fail", "error"),
            Verdict::Warning => ("fail", "warning"),
            _ => ("open", "none"),
        };
        json!({
            "ruleId": id,
            "ruleIndex": index(id),
            "kind": kind,
            "level": level,
            "message": {"text": said(check)},
            "locations": locations(check, options),
            "partialFingerprints": {"check/v1": check.id},
            "properties": {"check": check.id, "verdict": check.verdict, "option": check.option, "evidence": check.evidence},
        })
    });
    let results: Vec<Value> = results.collect();
    let skipped = checks.iter().filter(|check| check.verdict == Verdict::Skipped);
    let notifications: Vec<Value> =
        skipped.map(|check| json!({"level": "error", "message": {"text": said(check)}})).collect();
    let rules = rules.iter().map(|(id, about)| json!({"id": id, "shortDescription": {"text": about}}));
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "rave",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": !checks.is_empty() && notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

/// Id and meaning of the check without its subject. Each probe of a module is a rule of its own.
fn rule(check: &CheckReport) -> (&str, &'static str) {
    let of = |record: &&super::Check| {
        check.id.strip_prefix(record.id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match ask::checks(Stage::Security).iter().filter(of).max_by_key(|record| record.id.len()) {
        Some(record) if record.id != Stage::Security.name() => (record.id, record.about),
        Some(record) => (&check.id, record.about),
        None => (&check.id, "a check of the stage security"),
    }
}

fn said(check: &CheckReport) -> String {
    format!("{}: expected {}, observed {}", check.id, check.expected, check.observed)
}

/// The option, and where in the project's YAML it is set, if it is set there.
fn locations(check: &CheckReport, options: &BTreeMap<OptionPath, OptionValue>) -> Vec<Value> {
    let Some(option) = &check.option else { return Vec::new() };
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": option, "kind": "member"}]});
    if let Some((file, line, column)) = value_of(option, options).and_then(|value| place(&value.origin)) {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": encoded(file), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": line, "startColumn": column},
        });
    }
    vec![location]
}

/// The value of an option, also by the name of something within it.
fn value_of<'a>(option: &str, options: &'a BTreeMap<OptionPath, OptionValue>) -> Option<&'a OptionValue> {
    name::ancestry(option).find_map(|path| options.get(&path.parse::<OptionPath>().ok()?))
}

/// A place in a file of the project: not one of rave's own library, nor of the command line.
fn place(origin: &str) -> Option<(&str, u32, u32)> {
    let (rest, column) = origin.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    let in_project = !file.is_empty() && !file.starts_with(['<', '/']);
    (in_project && line > 0 && column > 0).then_some((file, line, column))
}

/// A path as a relative reference (RFC 3986, 4.2).
fn encoded(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::StageReport;
    use super::*;

    fn check(id: &str, verdict: Verdict, option: Option<&str>) -> CheckReport {
        CheckReport {
            id: id.to_owned(),
            verdict,
            expected: "0".to_owned(),
            observed: "1".to_owned(),
            option: option.map(str::to_owned),
            evidence: String::new(),
            ms: 1,
        }
    }

    fn log(checks: Vec<CheckReport>) -> Value {
        let option = |origin: &str| OptionValue { value: json!(0), origin: origin.to_owned() };
        let options = BTreeMap::from([
            ("kernel.sysrq".parse().unwrap(), option("images/my web.yaml:7:3")),
            ("network.firewall".parse().unwrap(), option("<rave>/modules/base/firewall.yaml:1:1")),
        ]);
        let stages = vec![
            StageReport::new(Stage::Ssh, vec![check("ssh.port", Verdict::Unhealthy, None)]),
            StageReport::new(Stage::Security, checks),
        ];
        sarif(&Report::new(stages), &options)
    }

    #[test]
    fn troubles_are_results_with_rule_level_and_place() {
        let log = log(vec![
            check("security.sysctl.kernel.sysrq", Verdict::Unhealthy, Some("kernel.sysrq")),
            check("security.sysctl.kernel.other", Verdict::Healthy, Some("kernel.sysrq")),
            check("security.firewall.policy", Verdict::Warning, Some("network.firewall")),
            check("security.root.verity", Verdict::Skipped, None),
            check("security.cmdline", Verdict::NotApplicable, None),
        ]);
        let run = &log["runs"][0];
        let rules: Vec<&str> = run["tool"]["driver"]["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["id"].as_str().unwrap())
            .collect();
        assert_eq!(rules, ["security.firewall.policy", "security.root.verity", "security.sysctl"]);
        let results = run["results"].as_array().unwrap();
        let told: Vec<_> = results.iter().map(|r| [&r["ruleId"], &r["kind"], &r["level"]]).collect();
        assert_eq!(
            told,
            [
                ["security.sysctl", "fail", "error"],
                ["security.firewall.policy", "fail", "warning"],
                ["security.root.verity", "open", "none"]
            ]
        );
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(result["ruleId"], rules[index]);
        }
        let place = &results[0]["locations"][0];
        assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "images/my%20web.yaml");
        assert_eq!(place["physicalLocation"]["region"], json!({"startLine": 7, "startColumn": 3}));
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], "kernel.sysrq");
        assert!(
            results[1]["locations"][0]["physicalLocation"].is_null(),
            "a place in the library is not the project's"
        );
        assert_eq!(results[2]["locations"], json!([]));
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
        assert_eq!(run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_is_within_an_option_is_where_the_option_is_set() {
        let log = log(vec![check("security.bans", Verdict::Unhealthy, Some("kernel.sysrq.sshd.tries"))]);
        let place = &log["runs"][0]["results"][0]["locations"][0];
        assert_eq!(place["physicalLocation"]["region"], json!({"startLine": 7, "startColumn": 3}));
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], "kernel.sysrq.sshd.tries");
    }

    #[test]
    fn a_run_without_checks_is_not_a_clean_one() {
        assert_eq!(log(Vec::new())["runs"][0]["invocations"][0]["executionSuccessful"], false);
        let log = log(vec![check("security.cmdline", Verdict::Healthy, None)]);
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], true);
        assert_eq!(log["runs"][0]["results"], json!([]));
    }
}
