//! `rave fmt`: YAML files laid out in one way.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::cli;
use crate::disk;
use crate::modules;
use crate::origin::Source;

use super::{Context, Failure, Result, Status, project};

/// Rewrites the files that are not laid out so, or names them.
pub fn run(arguments: &cli::Fmt, context: &Context) -> Result<Status> {
    let mut changed = Vec::new();
    let mut errors = Vec::new();
    for (path, source) in files(arguments, context)? {
        match modules::format(&source) {
            Ok(text) if text == source.text => {}
            Ok(text) => changed.push((path, source, text)),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors.into());
    }
    if !arguments.check {
        for (path, _, text) in &changed {
            let mode = std::os::unix::fs::PermissionsExt::mode(&disk::metadata(path)?.permissions()) & 0o777;
            disk::write_atomic(path, text.as_bytes(), mode)?;
        }
    }
    let names: Vec<&str> = changed.iter().map(|(_, source, _)| source.name.as_str()).collect();
    if context.ui.is_json() {
        context.ui.print_json(&json!({"changed": names, "written": !arguments.check}));
    } else {
        names.iter().for_each(|name| context.ui.print(name));
    }
    if arguments.check && !changed.is_empty() {
        context.ui.hint("`rave fmt` lays these files out");
        return Ok(Status::Unwell);
    }
    Ok(Status::Done)
}

/// The files that were named, or all of the project, each with its path on disk.
fn files(arguments: &cli::Fmt, context: &Context) -> Result<Vec<(PathBuf, Arc<Source>)>> {
    if arguments.files.is_empty() {
        let project = project::all(&context.project)?;
        let sources = project.images.into_values().chain(project.modules.into_values());
        let own = sources.filter(|source| !source.name.starts_with('<'));
        return Ok(own.map(|source| (context.project.join(&source.name), source)).collect());
    }
    let read = |path: &PathBuf| {
        let shown = path.display().to_string();
        if !disk::exists(path) {
            return Err(Failure::request(format!("there is no file {shown}")));
        }
        let text = String::from_utf8(project::read_limited(path)?)
            .map_err(|_| Failure::request(format!("{shown} is not UTF-8 text")))?;
        // Through a link, so that the file itself is replaced.
        Ok((disk::canonical(path)?, Source::new(shown, text)))
    };
    arguments.files.iter().map(read).collect()
}
