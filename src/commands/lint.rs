//! `rave lint`: what could be better in images and modules.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli;
use crate::disk;
use crate::modules::{self, Finding};
use crate::ui::Tone;

use super::{Context, Failure, Result, Status, project};

/// Shows what is found in the project, or in some of its files.
pub fn run(arguments: &cli::Lint, context: &Context) -> Result<Status> {
    if arguments.list {
        return Ok(list(context));
    }
    let project = project::all(&context.project)?;
    let only = names(arguments, context)?;
    let mut found = modules::lint(&project, &project::library())?;
    found.retain(|finding| only.as_ref().is_none_or(|only| only.contains(place(finding).0)));
    if context.ui.is_json() {
        context.ui.print_json(&found.iter().map(as_json).collect::<Vec<_>>());
    } else {
        for finding in &found {
            context.ui.diagnostics(std::slice::from_ref(&finding.diagnostic));
            let (file, line, column) = place(finding);
            context.ui.print(format!("{file}:{line}:{column}: {}", finding.lint));
        }
    }
    Ok(if found.is_empty() { Status::Done } else { Status::Unwell })
}

fn list(context: &Context) -> Status {
    if context.ui.is_json() {
        let lints = modules::LINTS.iter().map(|(name, about)| json!({"lint": name, "about": about}));
        context.ui.print_json(&lints.collect::<Vec<_>>());
    } else {
        let cells =
            |(name, about): &(&str, &str)| vec![((*name).to_owned(), Tone::Strong), ((*about).to_owned(), Tone::Plain)];
        context.ui.table(&["LINT", "FINDS"], &modules::LINTS.iter().map(cells).collect::<Vec<_>>());
    }
    Status::Done
}

/// The names of the files that were asked for, as the project knows them; none for all.
fn names(arguments: &cli::Lint, context: &Context) -> Result<Option<BTreeSet<String>>> {
    if arguments.files.is_empty() {
        return Ok(None);
    }
    let root = disk::canonical(&context.project)?;
    let name = |path: &std::path::PathBuf| {
        if !disk::exists(path) {
            return Err(Failure::request(format!("there is no file {}", path.display())));
        }
        let whole = disk::canonical(path)?;
        let relative = whole
            .strip_prefix(&root)
            .ok()
            .filter(|relative| project::FOLDERS.iter().any(|folder| relative.starts_with(folder)));
        relative.map(|relative| relative.to_string_lossy().into_owned()).ok_or_else(|| {
            let text = format!("{} is no image or module of the project", path.display());
            Failure::request(text).hint("--project names another directory")
        })
    };
    arguments.files.iter().map(name).collect::<Result<_>>().map(Some)
}

/// File, line and column.
fn place(finding: &Finding) -> (&str, usize, usize) {
    match finding.diagnostic.labels.first() {
        Some((origin, _)) => {
            let (line, column) = origin.position();
            (&origin.source.name, line, column)
        }
        None => ("", 0, 0),
    }
}

fn as_json(finding: &Finding) -> Value {
    let (file, line, column) = place(finding);
    let diagnostic = &finding.diagnostic;
    json!({
        "lint": finding.lint,
        "file": file,
        "line": line,
        "column": column,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}
