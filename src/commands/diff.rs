//! `rave diff`: what distinguishes two images, in their own terms.

mod facts;
mod side;

use serde_json::{Value, json};
use similar::TextDiff;

use crate::cli;
use crate::event::bytes;
use crate::ui::Tone;

use super::{Context, Result, Status};

use facts::{Difference, Facts};

/// Compares two sides.
pub fn run(arguments: &cli::Diff, context: &Context) -> Result<Status> {
    let (a, b) = (side::read(&arguments.a, context)?, side::read(&arguments.b, context)?);
    let found = facts::compare(&a, &b);
    let content = |difference: &Difference| arguments.content.then(|| content(difference, &a, &b)).flatten();
    if context.ui.is_json() {
        let told = found.iter().map(|difference| {
            let mut told = json!(difference);
            if let Some(text) = content(difference) {
                told["content"] = Value::String(text);
            }
            told
        });
        context.ui.print_json(&json!({"a": arguments.a, "b": arguments.b, "differences": told.collect::<Vec<_>>()}));
    } else {
        let mut section = "";
        for difference in &found {
            if difference.section != section {
                section = difference.section;
                context.ui.print(Tone::Strong.paint(section));
            }
            context.ui.print(describe(difference));
            for line in content(difference).iter().flat_map(|text| text.lines()) {
                context.ui.print(format!("      {}", tone(line).paint(line)));
            }
        }
        if found.is_empty() {
            context.ui.say("no differences");
        }
    }
    Ok(if arguments.exit_code && !found.is_empty() { Status::Unwell } else { Status::Done })
}

fn describe(difference: &Difference) -> String {
    let text = |value: &Value| match value {
        Value::Number(number) if difference.section == "sizes" => bytes(number.as_u64().unwrap_or(0)),
        Value::String(text) if difference.section != "options" => text.clone(),
        other => other.to_string(),
    };
    let name = &difference.name;
    let line = match (&difference.old, &difference.new) {
        (Some(old), Some(new)) => format!("  {} {name}: {} -> {}", Tone::Warn.paint("~"), text(old), text(new)),
        (None, Some(Value::Bool(true))) => format!("  {} {name}", Tone::Good.paint("+")),
        (Some(Value::Bool(true)), None) => format!("  {} {name}", Tone::Bad.paint("-")),
        (None, Some(new)) => format!("  {} {name}: {}", Tone::Good.paint("+"), text(new)),
        (Some(old), None) => format!("  {} {name}: {}", Tone::Bad.paint("-"), text(old)),
        (None, None) => String::new(),
    };
    match &difference.set_by {
        Some(origin) => format!("{line}  {}", Tone::Dim.paint(origin)),
        None => line,
    }
}

/// The lines of a text file that changed, as a unified diff.
fn content(difference: &Difference, a: &Facts, b: &Facts) -> Option<String> {
    if difference.section != "files" {
        return None;
    }
    let text = |facts: &Facts| match facts.files.get(&difference.name) {
        Some(file) => file.text.clone(),
        None => Some(String::new()),
    };
    let (old, new) = (text(a)?, text(b)?);
    Some(TextDiff::from_lines(&old, &new).unified_diff().context_radius(2).to_string())
}

fn tone(line: &str) -> Tone {
    match line.bytes().next() {
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        Some(b'@') => Tone::Dim,
        _ => Tone::Plain,
    }
}
