//! A report for people, or as JSON.

use crate::check::{self, Report, Verdict};
use crate::ui::Tone;

use super::super::Context;

/// Shows a report: the table of stages, and what is not healthy.
pub fn show(context: &Context, report: &Report) {
    if context.ui.is_json() {
        context.ui.print_json(report);
        return;
    }
    let tone = |verdict: Verdict| match verdict {
        Verdict::Healthy => Tone::Good,
        Verdict::NotApplicable => Tone::Dim,
        Verdict::Warning => Tone::Warn,
        Verdict::Skipped | Verdict::Unhealthy => Tone::Bad,
    };
    let stages = check::stage_rows(report).into_iter().map(|row| {
        vec![
            (row.stage.to_string(), Tone::Strong),
            (row.verdict.to_string(), tone(row.verdict)),
            (row.checks, Tone::Plain),
        ]
    });
    context.ui.table(&["STAGE", "VERDICT", "CHECKS"], &stages.collect::<Vec<_>>());
    for (reason, ids) in check::left_out(report) {
        context.ui.print(format!("\nnot judged ({reason}): {}", some_of(&ids)));
    }
    for group in groups(check::trouble_rows(report)) {
        let Some(first) = group.first() else { continue };
        let option = if first.option.is_empty() { String::new() } else { format!(" ({})", first.option) };
        context.ui.print(format!("\n{} {}", tone(first.verdict).paint(first.verdict), Tone::Strong.paint(&first.id)));
        context.ui.print(format!("  expected {}{option}", first.expected));
        context.ui.print(format!("  observed {}", first.observed.replace('\n', "\n           ")));
        if group.len() > 1 {
            let rest: Vec<&str> = group[1..].iter().map(|row| row.id.as_str()).collect();
            context.ui.print(format!("  the same of {}", some_of(&rest)));
        }
    }
}

/// Checks that went wrong in the same way, together.
fn groups(rows: Vec<check::Row>) -> Vec<Vec<check::Row>> {
    let mut groups: Vec<Vec<check::Row>> = Vec::new();
    for row in rows {
        let same = |group: &&mut Vec<check::Row>| {
            group.first().is_some_and(|first| first.verdict == row.verdict && first.observed == row.observed)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// The first few of a list, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(4) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
