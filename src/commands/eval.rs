//! `rave eval`: what the options of an image come to.

use serde_json::{Map, Value, json};

use crate::cli;
use crate::modules;
use crate::name::GuestPath;
use crate::system::System;
use crate::tree::Content;

use super::{Context, Failure, Result, Status, locking};

/// Prints the final configuration, in the shape of an image file, or one file of the image.
pub fn run(arguments: &cli::Eval, context: &Context) -> Result<Status> {
    let system = locking::evaluate(context, &arguments.image, &arguments.variant.set, arguments.variant.mode)?.system;
    if let Some(path) = &arguments.file {
        return file(&system, path, context);
    }
    let values = system.options.into_iter().map(|(option, value)| (option.to_string(), value.value));
    let config: Map<String, Value> = values.collect();
    let image = json!({"name": system.name, "version": system.version, "mode": system.mode, "config": config});
    if context.ui.is_json() {
        context.ui.print_json(&image);
    } else {
        context.ui.print(modules::write(&image).trim_end());
    }
    Ok(Status::Done)
}

fn file(system: &System, path: &GuestPath, context: &Context) -> Result<Status> {
    let Some(entry) = system.tree.get(path) else {
        return Err(Failure::request(format!("no module writes {path} in {}", system.name))
            .hint(format!("`rave explain {} {path}` knows the files of packages, too", system.name)));
    };
    let Content::File(bytes) = &entry.content else {
        return Err(Failure::request(format!("{path} is no regular file in {}", system.name)));
    };
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::request(format!("{path} is not text")))?;
    if context.ui.is_json() {
        context.ui.print_json(&json!({"path": path, "mode": format!("{:04o}", entry.mode), "text": text}));
    } else {
        context.ui.print(text.strip_suffix('\n').unwrap_or(text));
    }
    Ok(Status::Done)
}
