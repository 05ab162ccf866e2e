//! A report in the forms that people and CI systems read. JSON is the serde form of [`Report`].

use std::fmt::Write as _;

use super::{CheckReport, Report, Stage, StageReport, Verdict};

/// One stage in the table for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRow {
    /// The stage.
    pub stage: Stage,
    /// Its verdict.
    pub verdict: Verdict,
    /// Number of checks by verdict, such as `23 healthy, 1 warning`; empty without checks.
    pub checks: String,
    /// Milliseconds that its slowest answer took.
    pub ms: u64,
}

/// One check that is not healthy, in the table for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Id of the check.
    pub id: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
    /// The option, or empty.
    pub option: String,
}

/// The stages, one row each.
pub fn stage_rows(report: &Report) -> Vec<StageRow> {
    report.stages.iter().map(stage_row).collect()
}

/// The row of a stage.
pub fn stage_row(stage: &StageReport) -> StageRow {
    StageRow {
        stage: stage.stage,
        verdict: stage.verdict,
        checks: counts(stage),
        ms: stage.checks.iter().map(|check| check.ms).max().unwrap_or(0),
    }
}

/// The checks that people must see: unhealthy, skipped and warning, the worst first.
pub fn trouble_rows(report: &Report) -> Vec<Row> {
    let checks = report.stages.iter().flat_map(|stage| &stage.checks);
    let mut rows: Vec<Row> = checks.filter(|check| check.verdict > Verdict::Healthy).map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.verdict));
    rows
}

/// Ids of the checks that were not judged, by the reason, such as `left out on request`; both in the order of the report.
pub fn left_out(report: &Report) -> Vec<(&str, Vec<&str>)> {
    let checks = report.stages.iter().flat_map(|stage| &stage.checks);
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in checks.filter(|check| check.verdict == Verdict::NotApplicable) {
        match reasons.iter_mut().find(|(reason, _)| *reason == check.observed) {
            Some((_, ids)) => ids.push(&check.id),
            None => reasons.push((check.observed.as_str(), vec![check.id.as_str()])),
        }
    }
    reasons
}

fn row(check: &CheckReport) -> Row {
    Row {
        id: check.id.clone(),
        verdict: check.verdict,
        expected: check.expected.clone(),
        observed: check.observed.clone(),
        option: check.option.clone().unwrap_or_default(),
    }
}

fn counts(stage: &StageReport) -> String {
    let order = [Verdict::Unhealthy, Verdict::Skipped, Verdict::Warning, Verdict::Healthy, Verdict::NotApplicable];
    let count = |verdict| stage.checks.iter().filter(|check| check.verdict == verdict).count();
    let parts = order.into_iter().map(|verdict| (count(verdict), verdict)).filter(|(count, _)| *count > 0);
    parts.map(|(count, verdict)| format!("{count} {verdict}")).collect::<Vec<_>>().join(", ")
}

/// JUnit XML as CI systems read it: unhealthy is a failure, skipped an error, since neither may pass unseen.
/// With `strict` a warning is a failure too.
pub fn junit(report: &Report, strict: bool) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"rave check\">\n");
    for stage in &report.stages {
        junit_stage(&mut xml, stage, strict);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn junit_stage(xml: &mut String, stage: &StageReport, strict: bool) {
    let own = CheckReport {
        id: stage.stage.to_string(),
        verdict: stage.verdict,
        expected: "an answer".to_owned(),
        observed: "nothing was asked".to_owned(),
        option: None,
        evidence: String::new(),
        ms: 0,
    };
    // A stage without checks is shown as one case, else it could be overlooked.
    let cases = if stage.checks.is_empty() { std::slice::from_ref(&own) } else { &stage.checks };
    let outcomes: Vec<&str> = cases.iter().map(|case| outcome(case.verdict, strict)).collect();
    let count = |element| outcomes.iter().filter(|outcome| **outcome == element).count();
    put(xml, format_args!("  <testsuite name=\"{}\" tests=\"{}\"", stage.stage, cases.len()));
    let (failures, errors, skipped) = (count("failure"), count("error"), count("skipped"));
    put(xml, format_args!(" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">\n"));
    for (case, outcome) in cases.iter().zip(outcomes) {
        junit_case(xml, stage.stage, case, outcome);
    }
    xml.push_str("  </testsuite>\n");
}

/// The element that tells a verdict; empty for none.
fn outcome(verdict: Verdict, strict: bool) -> &'static str {
    match verdict {
        Verdict::Healthy => "",
        Verdict::Warning if strict => "failure",
        Verdict::Warning => "system-out",
        Verdict::Unhealthy => "failure",
        Verdict::Skipped => "error",
        Verdict::NotApplicable => "skipped",
    }
}

fn junit_case(xml: &mut String, stage: Stage, case: &CheckReport, outcome: &str) {
    let (seconds, millis) = (case.ms / 1000, case.ms % 1000);
    let id = escape(&case.id);
    put(xml, format_args!("    <testcase classname=\"{stage}\" name=\"{id}\" time=\"{seconds}.{millis:03}\""));
    let message = escape(&format!("{}: expected {}, observed {}", case.verdict, case.expected, case.observed));
    let option = case.option.as_ref().map_or_else(String::new, |option| format!("option {option}\n"));
    let body = escape(&format!("{option}{}", case.evidence));
    match outcome {
        "" => put(xml, format_args!("/>\n")),
        "skipped" => put(xml, format_args!("><skipped message=\"{message}\"/></testcase>\n")),
        "system-out" => put(xml, format_args!("><system-out>{message}\n{body}</system-out></testcase>\n")),
        element => put(xml, format_args!("><{element} message=\"{message}\">{body}</{element}></testcase>\n")),
    }
}

/// Text for XML 1.0, in content and attributes: characters that it forbids (section 2.2) become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A summary in Markdown, as CI systems show it beside a run.
pub fn markdown(report: &Report) -> String {
    let health = if report.healthy { "healthy" } else { "not healthy" };
    let mut text = format!("## rave check: {health}\n\n| stage | verdict | checks |\n| --- | --- | --- |\n");
    for row in stage_rows(report) {
        put(&mut text, format_args!("| {} | {} | {} |\n", row.stage, row.verdict, row.checks));
    }
    let troubles = trouble_rows(report);
    if !troubles.is_empty() {
        text.push_str("\n| check | verdict | expected | observed | option |\n| --- | --- | --- | --- | --- |\n");
    }
    for row in troubles {
        let [id, expected, observed, option] = [row.id, row.expected, row.observed, row.option].map(|t| cell(&t));
        put(&mut text, format_args!("| {id} | {} | {expected} | {observed} | {option} |\n", row.verdict));
    }
    for (reason, ids) in left_out(report) {
        let ids: Vec<String> = ids.into_iter().map(cell).collect();
        put(&mut text, format_args!("\nNot judged ({}): {}\n", cell(reason), ids.join(", ")));
    }
    text
}

/// One line of plain text for a cell: what a machine says must not become mark-up.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '!' | '~' | '@' | '#' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, verdict: Verdict, observed: &str) -> CheckReport {
        CheckReport {
            id: id.to_owned(),
            verdict,
            expected: "a <b> & \"c\"".to_owned(),
            observed: observed.to_owned(),
            option: (verdict == Verdict::Unhealthy).then(|| "a.b".to_owned()),
            evidence: "line\nline".to_owned(),
            ms: 1234,
        }
    }

    fn report() -> Report {
        let ssh = vec![
            check("ssh.port", Verdict::Healthy, "x"),
            check("ssh.login", Verdict::Warning, "x"),
            check("ssh.host-key", Verdict::Skipped, "x"),
            check("ssh.root.refused", Verdict::Unhealthy, "]]>\u{1b}[31m|`x`\n<script>"),
        ];
        let mut stages = vec![StageReport::new(Stage::Ssh, ssh)];
        stages.extend(Stage::ALL.into_iter().skip(1).map(StageReport::not_applicable));
        Report::new(stages)
    }

    #[test]
    fn json_is_the_contract() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["healthy"], false);
        assert_eq!(json["stages"].as_array().unwrap().len(), 6);
        assert_eq!(json["stages"][1]["verdict"], "not-applicable");
        let check = json["stages"][0]["checks"][3].as_object().unwrap();
        let keys: Vec<&str> = check.keys().map(String::as_str).collect();
        assert_eq!(keys, ["id", "verdict", "expected", "observed", "option", "evidence", "ms"]);
        assert_eq!(check["option"], "a.b");
        assert!(json["stages"][0]["checks"][0]["option"].is_null());
    }

    #[test]
    fn junit_counts_and_cannot_be_broken_by_what_a_machine_says() {
        let xml = junit(&report(), false);
        assert!(
            xml.contains("<testsuite name=\"ssh\" tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"0\">"),
            "{xml}"
        );
        assert!(
            xml.contains("<testsuite name=\"https\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\">"),
            "{xml}"
        );
        assert!(xml.contains("]]&gt;\u{fffd}[31m|`x`&#10;&lt;script&gt;"), "{xml}");
        assert!(xml.contains("expected a &lt;b&gt; &amp; &quot;c&quot;") && xml.contains("time=\"1.234\""), "{xml}");
        assert!(junit(&report(), true).contains("failures=\"2\""));
        for open in ["testsuites", "testsuite", "failure", "error", "system-out"] {
            let count = |text: String| xml.matches(&text).count();
            assert_eq!(count(format!("<{open} ")) + count(format!("<{open}>")), count(format!("</{open}>")), "{open}");
        }
    }

    #[test]
    fn markdown_shows_troubles_as_plain_text() {
        let text = markdown(&report());
        assert!(text.starts_with("## rave check: not healthy\n"));
        assert!(text.contains("| ssh | unhealthy | 1 unhealthy, 1 skipped, 1 warning, 1 healthy |"), "{text}");
        assert!(text.contains("\\|\\`x\\` &lt;script>"), "{text}");
        assert!(!text.contains("ssh.port"), "{text}");
    }

    #[test]
    fn what_is_not_judged_stands_with_its_own_reason() {
        let stages = vec![
            StageReport::new(Stage::Services, vec![check("services.journal", Verdict::NotApplicable, "on request")]),
            StageReport::new(
                Stage::Security,
                vec![
                    check("security.scan.tcp4", Verdict::NotApplicable, "only a machine that rave runs"),
                    check("security.keys", Verdict::NotApplicable, "on request"),
                    check("security.scan.udp4", Verdict::NotApplicable, "only a machine that rave runs"),
                    check("security.mounts", Verdict::Healthy, "x"),
                ],
            ),
        ];
        let report = Report::new(stages);
        let expected = [
            ("on request", vec!["services.journal", "security.keys"]),
            ("only a machine that rave runs", vec!["security.scan.tcp4", "security.scan.udp4"]),
        ];
        assert_eq!(left_out(&report), expected);
        let text = markdown(&report);
        let line = "\nNot judged (only a machine that rave runs): security.scan.tcp4, security.scan.udp4\n";
        assert!(text.contains(line) && text.contains("\nNot judged (on request): services.journal, "), "{text}");
    }

    #[test]
    fn troubles_come_worst_first() {
        let verdicts: Vec<Verdict> = trouble_rows(&report()).iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Unhealthy, Verdict::Skipped, Verdict::Warning]);
        assert_eq!(stage_rows(&report())[0].ms, 1234);
    }
}
