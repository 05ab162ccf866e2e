//! `rave options`: what images can set.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli;
use crate::modules::{self, Evaluation, Project, Reference, Trail};
use crate::ui::Tone;

use super::{Context, Result, Status, project};

/// What the reference in docs/ begins with.
const HEAD: &str = "# Options

<!-- Made by `rave options --markdown > docs/options.md`. -->

Every option of the module library, by module. An image sets them under `config`, nested or dotted; `rave options
--image IMAGE` shows them with their values, and `rave explain IMAGE OPTION` what they do.
";

/// Prints the options that answer a query.
pub fn run(arguments: &cli::Options, context: &Context) -> Result<Status> {
    let query = arguments.query.join(" ");
    let (project, evaluation) = match &arguments.image {
        None => (project::all(&context.project)?, None),
        Some(image) => {
            let (project, named) = project::read(&context.project, image)?;
            let evaluation = modules::evaluate(&project, &named.name, &[], None)?;
            (project, Some(evaluation))
        }
    };
    let found = modules::search(modules::reference(&project)?, &query);
    if context.ui.is_json() {
        let all: Vec<Value> = found.iter().map(|option| as_json(option, evaluation.as_ref())).collect();
        context.ui.print_json(&all);
    } else if arguments.markdown {
        context.ui.print(markdown(&project, &found).trim_end());
    } else {
        found.iter().for_each(|option| context.ui.print(describe(option, evaluation.as_ref())));
    }
    if found.is_empty() && !query.is_empty() {
        context.ui.say(format!("no option has {query:?} in its name or description"));
    }
    Ok(Status::Done)
}

/// The value in an image, and how it came about; none if the image does not have the option.
fn in_image<'a>(option: &Reference, evaluation: &'a Evaluation) -> Option<(&'a Value, &'a Trail)> {
    let path = option.name.parse().ok()?;
    let value = evaluation.system.options.get(&path)?;
    Some((&value.value, evaluation.settings.get(&path)?))
}

fn as_json(option: &Reference, evaluation: Option<&Evaluation>) -> Value {
    let mut told = json!({
        "name": option.name,
        "type": option.kind,
        "default": option.default,
        "description": option.description,
        "example": option.example,
        "declared": option.declared.to_string(),
        "module": option.module,
        "required": option.default.is_none() && !option.kind.ends_with(" or null"),
    });
    if let Some((value, trail)) = evaluation.and_then(|evaluation| in_image(option, evaluation)) {
        told["value"] = value.clone();
        told["set_by"] = definitions(trail);
    }
    told
}

/// Every definition of an option, strongest first, as JSON.
pub fn definitions(trail: &Trail) -> Value {
    let told = trail.definitions.iter().map(|definition| {
        let (line, column) = definition.origin.position();
        json!({
            "file": definition.origin.source.name,
            "line": line,
            "column": column,
            "level": definition.level.name(),
            "used": definition.used,
        })
    });
    told.collect()
}

/// A value without what is empty in its records, for people to read.
pub fn compact(value: &Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    match value {
        Value::Object(entries) => {
            let full = entries.iter().map(|(key, value)| (key.clone(), compact(value)));
            full.filter(|(_, value)| !is_empty(value)).collect()
        }
        Value::Array(items) => items.iter().map(compact).collect(),
        other => other.clone(),
    }
}

fn describe(option: &Reference, evaluation: Option<&Evaluation>) -> String {
    let mut text = format!("{}  {}", Tone::Strong.paint(&option.name), Tone::Dim.paint(&option.kind));
    let mut line = |what: &str, value: String| {
        let _ = write!(text, "\n    {}{value}", Tone::Dim.paint(what));
    };
    if !option.description.is_empty() {
        line("", option.description.clone());
    }
    if let Some(default) = &option.default {
        line("default   ", default.to_string());
    }
    if let Some(example) = &option.example {
        line("example   ", example.to_string());
    }
    line("declared  ", option.declared.to_string());
    if let Some((value, trail)) = evaluation.and_then(|evaluation| in_image(option, evaluation)) {
        line("value     ", compact(value).to_string());
        for definition in trail.definitions.iter().filter(|definition| definition.used) {
            line("set       ", format!("{} {}", definition.origin, definition.level.describe()));
        }
    }
    text
}

/// The reference: a heading for each module and for each option.
fn markdown(project: &Project, options: &[Reference]) -> String {
    let about = modules::descriptions(project);
    let mut by_module: BTreeMap<&str, Vec<&Reference>> = BTreeMap::new();
    for option in options {
        by_module.entry(&option.module).or_default().push(option);
    }
    let mut text = HEAD.to_owned();
    for (module, options) in by_module {
        let _ = write!(text, "\n## {module}\n\n{}\n", about.get(module).map_or("", String::as_str));
        for option in options {
            let _ = write!(text, "\n### `{}`\n\n{}\n\n- type: {}\n", option.name, option.description, option.kind);
            for (what, value) in [("default", &option.default), ("example", &option.example)] {
                if let Some(value) = value {
                    let _ = writeln!(text, "- {what}: `{value}`");
                }
            }
        }
    }
    text
}
