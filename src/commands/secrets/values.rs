//! `rave secrets set` and `unset`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::cli::secrets::{Hidden, Opening, Set, Unset};
use crate::secrets::tree::{Document, Value};
use crate::secrets::{Error, Secret, path, read_json};

use super::super::{Context, Result, Status};
use super::{failure, files, refused};

/// sops' status for a path or value that it cannot read.
const WRONG_FORMAT: u8 = 7;

/// Runs `set`.
pub fn set(arguments: &Set, context: &Context) -> Result<Status> {
    let path = parse(&arguments.path)?;
    let value = value(arguments, context)?;
    change(&arguments.file, &arguments.opening, context, |document| Ok(path::set(document, &path, value)))
}

/// Runs `unset`.
pub fn unset(arguments: &Unset, context: &Context) -> Result<Status> {
    let path = parse(&arguments.path)?;
    change(&arguments.file, &arguments.opening, context, |document| match path::unset(document, &path) {
        Err(_) if arguments.idempotent && path::get(document, &path).is_err() => Ok(false),
        result => result.map(|()| true),
    })
}

fn parse(path: &str) -> Result<path::Path> {
    path.parse().map_err(|error: Error| refused(WRONG_FORMAT, error.to_string()))
}

fn value(arguments: &Set, context: &Context) -> Result<Value> {
    let text = match &arguments.value {
        Some(Hidden(file)) if arguments.value_file => files::read(Path::new(file))?,
        Some(Hidden(value)) => {
            context.ui.warn(
                "every user of this machine can read arguments; secrets belong into --value-stdin or --value-file",
            );
            Secret::from(value.as_bytes())
        }
        None => files::read_stdin()?,
    };
    if arguments.raw {
        return Ok(Value::str(text));
    }
    let hint = "--raw takes it as a text; JSON has texts in quotes";
    let json = text.expose_text().ok_or_else(|| refused(WRONG_FORMAT, "the value is not JSON").hint(hint))?;
    read_json(json).map_err(|error| refused(WRONG_FORMAT, format!("the value: {error}")).hint(hint))
}

/// Opens a file, changes its first document, and writes it if that changed anything.
fn change(
    file: &Path,
    opening: &Opening,
    context: &Context,
    change: impl FnOnce(&mut Document) -> crate::secrets::Result<bool>,
) -> Result<Status> {
    let said = |error: &Error| failure(file.display(), error);
    let held = files::Held::new(file)?;
    let mut opened = files::decrypt(file, held.file(opening.types.input_type)?, opening, context)?;
    let mut documents = std::mem::take(&mut opened.documents);
    if documents.is_empty() {
        documents.push(Document::new());
    }
    let changed = documents.first_mut().map_or(Ok(false), change).map_err(|error| said(&error))?;
    opened.replace(documents).map_err(|error| said(&error))?;
    if !changed {
        context.ui.say("nothing changed");
        return Ok(Status::Done);
    }
    let sealed = opened.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    held.replace(&sealed)?;
    Ok(Status::Done)
}
