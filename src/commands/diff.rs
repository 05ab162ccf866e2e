//! `rave diff`: what distinguishes two images, in their own terms.

mod facts;
mod side;

use serde_json::{Value, json};
use similar::TextDiff;

use crate::cli;
use crate::event::bytes;
use crate::ui::Tone;

use super::options::compact;
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
        other => compact(other).to_string(),
    };
    // Of things that are there or not, being there is all there is to say.
    let is_there = |value: &Value| difference.section != "options" && *value == Value::Bool(true);
    let name = &difference.name;
    let line = match (&difference.old, &difference.new) {
        (Some(old), Some(new)) => {
            let more = growth(old, new).filter(|_| difference.section == "sizes").unwrap_or_default();
            format!("  {} {name}: {} -> {}{more}", Tone::Warn.paint("~"), text(old), text(new))
        }
        (None, Some(new)) if is_there(new) => format!("  {} {name}", Tone::Good.paint("+")),
        (Some(old), None) if is_there(old) => format!("  {} {name}", Tone::Bad.paint("-")),
        (None, Some(new)) => format!("  {} {name}: {}", Tone::Good.paint("+"), text(new)),
        (Some(old), None) => format!("  {} {name}: {}", Tone::Bad.paint("-"), text(old)),
        (None, None) => String::new(),
    };
    match &difference.set_by {
        Some(origin) => format!("{line}  {}", Tone::Dim.paint(origin)),
        None => line,
    }
}

/// By how much a size changed: rounded, both may look the same.
fn growth(old: &Value, new: &Value) -> Option<String> {
    let (old, new) = (old.as_u64()?, new.as_u64()?);
    let sign = if new < old { '-' } else { '+' };
    Some(format!(" ({sign}{})", bytes(new.abs_diff(old))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_line_that_tells_both_sides_apart() {
        let check = |section, old: Value, new: Value, wanted: &str| {
            let some = |value: Value| (!value.is_null()).then_some(value);
            let difference = Difference { section, name: "x".into(), old: some(old), new: some(new), set_by: None };
            assert_eq!(anstream::adapter::strip_str(&describe(&difference)).to_string(), wanted);
        };
        check("sizes", json!(20_700_100), json!(20_704_196), "  ~ x: 20.7 MB -> 20.7 MB (+4.0 kB)");
        check("sizes", json!(2_000), json!(1_000), "  ~ x: 2.0 kB -> 1.0 kB (-1.0 kB)");
        check("options", Value::Null, json!(true), "  + x: true");
        check("options", json!(true), Value::Null, "  - x: true");
        check("units", Value::Null, json!(true), "  + x");
        check("options", Value::Null, json!({"a": "", "b": {"c": null}, "d": 1}), "  + x: {\"d\":1}");
    }
}
