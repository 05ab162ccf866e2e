//! `rave eval`: what the options of an image come to.

use serde_json::{Map, Value, json};

use crate::cli;
use crate::modules;

use super::{Context, Result, Status, locking};

/// Prints the final configuration, in the shape of an image file.
pub fn run(arguments: &cli::Eval, context: &Context) -> Result<Status> {
    let system = locking::evaluate(context, &arguments.image, &arguments.variant.set, arguments.variant.mode)?.system;
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
