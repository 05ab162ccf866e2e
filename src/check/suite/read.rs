//! Reads what suites say. They repeat what a stranger told them: nothing is taken for granted, and what is not understood
//! is an error, never a good sign.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::super::Target;
use super::{Fault, Reading};
use crate::quantity::tenths;

/// How much of one saying is kept, in characters.
const SAID: usize = 160;

fn fault(id: &str, said: &str, tenths: Option<u32>) -> Fault {
    Fault { id: id.chars().take(SAID).collect(), said: said.chars().take(SAID).collect(), tenths }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("its output is not what is known of it: {error}"))
}

/// `ssh-audit --json`: notes of each algorithm by level, and known vulnerabilities.
pub fn ssh_audit(_: &Target, text: &str) -> Result<Reading, String> {
    let report: Value = json(text)?;
    let mut faults = Vec::new();
    let mut algorithms = 0_usize;
    for kind in ["kex", "key", "enc", "mac"] {
        let list = report.get(kind).and_then(Value::as_array).filter(|list| !list.is_empty());
        for entry in list.ok_or_else(|| format!("it tells of no {kind}"))? {
            let name = entry.get("algorithm").and_then(Value::as_str).ok_or("an algorithm has no name")?;
            let notes = entry.get("notes").and_then(Value::as_object).ok_or("an algorithm has no notes")?;
            algorithms += 1;
            for level in ["fail", "warn"] {
                let said = notes.get(level).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                faults.extend(said.map(|said| fault(name, &format!("{level}: {said}"), None)));
            }
        }
    }
    for cve in report.get("cves").and_then(Value::as_array).into_iter().flatten() {
        let name = cve.get("name").and_then(Value::as_str).unwrap_or("a vulnerability");
        faults.push(fault(name, cve.get("description").and_then(Value::as_str).unwrap_or("known"), None));
    }
    Ok(Reading { summary: format!("{algorithms} algorithms"), faults })
}

/// What sslyze prints below the heading of compliance: one verdict, and a line for each reason.
pub fn sslyze(_: &Target, text: &str) -> Result<Reading, String> {
    let told = text.split_once("COMPLIANCE AGAINST").ok_or("it says nothing of compliance")?.1;
    let verdict = |word: &str| told.lines().any(|line| line.trim_end().ends_with(word));
    let reasons = told.lines().filter_map(|line| line.trim_start().strip_prefix("* ")?.split_once(": "));
    let faults: Vec<Fault> = reasons.map(|(id, said)| fault(id, said.trim(), None)).collect();
    match (verdict(": OK - Compliant."), verdict(": FAILED - Not compliant."), faults.is_empty()) {
        (true, false, true) => Ok(Reading { summary: "compliant".to_owned(), faults }),
        (false, true, false) => Ok(Reading { summary: "not compliant".to_owned(), faults }),
        _ => Err("it comes to no conclusion".to_owned()),
    }
}

/// One record of `testssl --jsonfile`.
#[derive(Deserialize)]
struct Record {
    id: String,
    severity: String,
    finding: String,
}

/// `testssl --jsonfile`: records with a severity, grade and score among them.
pub fn testssl(_: &Target, text: &str) -> Result<Reading, String> {
    let records: Vec<Record> = json(text)?;
    let of = |id: &str| records.iter().find(|record| record.id == id).map(|record| record.finding.trim());
    let (Some(grade), Some(score)) = (of("overall_grade"), of("final_score")) else {
        return Err("it gives no grade".to_owned());
    };
    let bad = |record: &&Record| matches!(record.severity.as_str(), "MEDIUM" | "HIGH" | "CRITICAL" | "FATAL");
    let figure = |id: &str| matches!(id, "overall_grade" | "final_score");
    let mut faults: Vec<Fault> = records
        .iter()
        .filter(|record| bad(record) && !figure(&record.id))
        .map(|record| fault(&record.id, &format!("{}: {}", record.severity, record.finding), None))
        .collect();
    faults.extend((grade != "A+").then(|| fault("overall_grade", grade, None)));
    faults.extend((score != "100").then(|| fault("final_score", score, None)));
    let (grade, score) = (fault("", grade, None).said, fault("", score, None).said);
    Ok(Reading { summary: format!("{grade}, {score}"), faults })
}

/// `nmap -p- -oG -`: a line of ports for each host.
pub fn nmap(target: &Target, text: &str) -> Result<Reading, String> {
    if !text.lines().any(|line| line.starts_with("# Nmap done")) {
        return Err("it did not come to its end".to_owned());
    }
    let mut hosts = text.lines().filter_map(|line| line.split_once("\tPorts: "));
    let (Some((_, told)), None) = (hosts.next(), hosts.next()) else {
        return Err("it tells of no ports, or of those of several hosts".to_owned());
    };
    let told = told.split('\t').next().unwrap_or_default();
    let port = |entry: &str| {
        let mut fields = entry.trim().split('/');
        let (port, state, protocol) = (fields.next()?.parse::<u16>().ok()?, fields.next()?, fields.next()?);
        (state == "open" && protocol == "tcp").then_some(port)
    };
    let open: BTreeSet<u16> = told.split(", ").filter_map(port).collect();
    let expected = target.expect.open.keys().filter_map(|name| name.strip_prefix("tcp/")?.parse().ok());
    let expected: BTreeSet<u16> = expected.collect();
    let surplus = open.difference(&expected).map(|port| fault(&format!("tcp/{port}"), "open", None));
    let missing = expected.difference(&open).map(|port| fault(&format!("tcp/{port}"), "not open", None));
    Ok(Reading { summary: format!("{} open", open.len()), faults: surplus.chain(missing).collect() })
}

/// One finding of `gixy --format json`.
#[derive(Deserialize)]
struct Issue {
    plugin: String,
    severity: String,
    summary: String,
}

/// `gixy --format json`: a list of findings.
pub fn gixy(_: &Target, text: &str) -> Result<Reading, String> {
    let issues: Vec<Issue> = json(text)?;
    let told = |issue: &Issue| fault(&issue.plugin, &format!("{}: {}", issue.severity, issue.summary), None);
    Ok(Reading { summary: format!("{} findings", issues.len()), faults: issues.iter().map(told).collect() })
}

/// One result of `kernel-hardening-checker -m json`.
#[derive(Deserialize)]
struct Setting {
    option_name: String,
    #[serde(rename = "type")]
    kind: String,
    desired_val: String,
    check_result: String,
    check_result_bool: bool,
}

/// `kernel-hardening-checker -m json`. How the kernel was built is left to whoever built it.
pub fn kernel(_: &Target, text: &str) -> Result<Reading, String> {
    let settings: Vec<Setting> = json(text)?;
    let of = |kind: &str| settings.iter().filter(|setting| setting.kind == kind).collect::<Vec<_>>();
    let (line, sysctl) = (of("cmdline"), of("sysctl"));
    if line.is_empty() || sysctl.is_empty() {
        return Err("it tells of no command line, or of no settings".to_owned());
    }
    let told = |setting: &&Setting| {
        let said = format!("{} should be {}: {}", setting.kind, setting.desired_val, setting.check_result);
        fault(&setting.option_name, &said, None)
    };
    let count = line.len() + sysctl.len();
    let bad = line.iter().chain(&sysctl).filter(|setting| !setting.check_result_bool).copied();
    Ok(Reading { summary: format!("{count} settings"), faults: bad.map(|setting| told(&setting)).collect() })
}

/// Where units are that modules describe.
const OWN: &str = "/etc/systemd/system/";
/// The most that a service may have, in tenths: one of modules, one of packages.
const MOST: (u32, u32) = (15, 50);
/// Services of packages that speak to the network, and may have as much as one of modules.
const EXPOSED: [&str; 2] = ["systemd-networkd.service", "systemd-resolved.service"];

/// Lines `PATH → Overall exposure level for UNIT: 1.1 OK`; path and arrow are not always there.
pub fn systemd(_: &Target, text: &str) -> Result<Reading, String> {
    let mut faults = Vec::new();
    let (mut count, mut worst) = (0_usize, 0);
    for line in text.lines() {
        let told = line.split_once("Overall exposure level for ").ok_or("a line of it tells of no service")?;
        let (unit, figure) = told.1.split_once(": ").ok_or("a service has no figure")?;
        let figure = figure.split(' ').next().unwrap_or_default();
        let tenths = tenths(figure).ok_or("the figure of a service is none")?;
        let most = if told.0.starts_with(OWN) || EXPOSED.contains(&unit) { MOST.0 } else { MOST.1 };
        (count, worst) = (count + 1, tenths.max(worst));
        if tenths > most {
            faults.push(fault(unit, figure, Some(tenths)));
        }
    }
    match count {
        0 => Err("it tells of no service".to_owned()),
        _ => Ok(Reading { summary: format!("{count} services, {}.{} at worst", worst / 10, worst % 10), faults }),
    }
}
