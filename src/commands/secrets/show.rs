//! `rave secrets view`, `decrypt` and `get`.

use crate::cli::secrets::{Decrypt, Get, Read};
use crate::disk;
use crate::secrets::tree::Document;
use crate::secrets::{Secret, path};

use super::super::{Context, Result, Status};
use super::{failure, files};

/// Runs `view`.
pub fn view(arguments: &Read, context: &Context) -> Result<Status> {
    let opened = files::open(&arguments.file, &arguments.opening, context)?;
    let format =
        arguments.opening.types.output_type.map_or(opened.format, |said| files::format("".as_ref(), Some(said)));
    let plain = opened.plain(format).map_err(|error| failure(arguments.file.display(), &error))?;
    context.ui.print_bytes(plain.expose());
    Ok(Status::Done)
}

/// Runs `decrypt`.
pub fn decrypt(arguments: &Decrypt, context: &Context) -> Result<Status> {
    let types = &arguments.opening.types;
    let held = arguments.in_place.then(|| files::Held::new(&arguments.file)).transpose()?;
    let encrypted = match &held {
        Some(held) => held.file(types.input_type),
        None => files::load(&arguments.file, types.input_type).map(|(_, file)| file),
    };
    let opened = files::decrypt(&arguments.file, encrypted?, &arguments.opening, context)?;
    let plain = match &arguments.extract {
        Some(path) => extract(&opened.documents, path, &arguments.file, types, &opened),
        None => {
            let said = types.output_type;
            let format = said.map_or(opened.format, |said| files::format(&arguments.file, Some(said)));
            opened.plain(format).map_err(|error| failure(arguments.file.display(), &error))
        }
    }?;
    match (&arguments.output, held) {
        (Some(path), _) => disk::write_to(path, plain.expose(), 0o600)?,
        // What was readable as ciphertext need not be so as plain text.
        (None, Some(held)) => held.replace_as(plain.expose(), Some(0o600))?,
        (None, None) => context.ui.print_bytes(plain.expose()),
    }
    Ok(Status::Done)
}

/// Runs `get`.
pub fn get(arguments: &Get, context: &Context) -> Result<Status> {
    let opened = files::open(&arguments.file, &arguments.opening, context)?;
    let types = &arguments.opening.types;
    let value = extract(&opened.documents, &arguments.path, &arguments.file, types, &opened)?;
    context.ui.print_bytes(value.expose());
    Ok(Status::Done)
}

fn extract(
    documents: &[Document],
    path: &str,
    file: &std::path::Path,
    types: &crate::cli::secrets::Types,
    opened: &crate::secrets::Opened,
) -> Result<Secret> {
    let path: path::Path = path.parse().map_err(|error| failure(file.display(), &error))?;
    let format = types.output_type.map_or(opened.format, |said| files::format(file, Some(said)));
    let first = documents.first().map(Vec::as_slice).unwrap_or_default();
    let value = path::get(first, &path).map_err(|error| failure(file.display(), &error))?;
    format.write_value(value, &opened.layout).map_err(|error| failure(file.display(), &error))
}
