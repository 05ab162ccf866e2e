//! `rave schema`: what images and modules may say, for editors, and what a report says.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::check;
use crate::cli::{self, SchemaKind};
use crate::disk;
use crate::modules::{self, Project};

use super::{Context, Result, Status, project};

/// Prints one schema, or writes both into a directory.
pub fn run(arguments: &cli::Schema, context: &Context) -> Result<Status> {
    if arguments.kind == SchemaKind::Report {
        context.ui.print_bytes(check::SCHEMA.as_bytes());
        return Ok(Status::Done);
    }
    let project = project::all(&context.project)?;
    if let Some(directory) = &arguments.output {
        let written = write(&project, directory)?;
        if context.ui.is_json() {
            context.ui.print_json(&json!({"schemas": written}));
        } else {
            written.iter().for_each(|path| context.ui.print(path.display()));
        }
        return Ok(Status::Done);
    }
    let schema = match arguments.kind {
        SchemaKind::Module => modules::module_schema(&project)?,
        _ => modules::image_schema(&project)?,
    };
    context.ui.print_bytes(&text(&schema)?);
    Ok(Status::Done)
}

/// Writes both schemas; returns their paths.
fn write(project: &Project, directory: &Path) -> Result<Vec<PathBuf>> {
    disk::create_dir_all(directory)?;
    let mut written = Vec::new();
    for (name, text) in files(project)? {
        let path = directory.join(name);
        disk::write_atomic(&path, &text, 0o644)?;
        written.push(path);
    }
    Ok(written)
}

/// Both schemas, with the names of their files.
pub fn files(project: &Project) -> Result<[(&'static str, Vec<u8>); 2]> {
    let (image, module) = (modules::image_schema(project)?, modules::module_schema(project)?);
    Ok([("image.schema.json", text(&image)?), ("module.schema.json", text(&module)?)])
}

fn text(schema: &serde_json::Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(schema)?;
    bytes.push(b'\n');
    Ok(bytes)
}
