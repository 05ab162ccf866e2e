//! `rave secrets edit`.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cli::secrets::Edit;
use crate::disk;
use crate::secrets::tree::{Document, Entry, Value};
use crate::secrets::{Error, Format, Mac, Opened, Secret, words};
use crate::tool::Tool;

use super::super::{Context, Failure, Result, Status};
use super::encrypt::with_default_rule;
use super::memory::Place;
use super::{failure, files, identities, prompt, refused};

/// sops' statuses.
const UNCHANGED: u8 = 200;
const NO_EDITOR: u8 = 201;

/// Editors that are looked for if no variable names one.
const EDITORS: [&str; 3] = ["vim", "nano", "vi"];

/// Runs the verb.
pub fn run(arguments: &Edit, context: &Context) -> Result<Status> {
    let file = &arguments.file;
    let said = |error: &Error| failure(file.display(), error);
    let (read, mut opened) = if disk::exists(file) {
        let (read, encrypted) = files::load(file, arguments.opening.types.input_type)?;
        let mac = if arguments.opening.ignore_mac { Mac::Ignore } else { Mac::Check };
        (Some(read), encrypted.open(&identities(context), mac).map_err(|error| said(&error))?)
    } else {
        (None, new(file, context)?)
    };
    let before = opened.format.write_as(&opened.documents, &opened.layout).map_err(|error| said(&error))?;
    let editor = editor(context)?;
    let place = Place::new(context, arguments.allow_disk)?;
    let path = place.write(file, before.expose())?;
    loop {
        run_editor(&editor, &path, context)?;
        let edited = Secret::new(disk::read(&path)?);
        if edited == before {
            return Err(refused(UNCHANGED, format!("{} was not changed", file.display())));
        }
        let parsed = opened.format.read(edited.expose()).and_then(|documents| opened.replace(documents));
        match parsed {
            Ok(()) => break,
            Err(error) => back_to_editor(&error, context)?,
        }
    }
    let sealed = opened.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    match read {
        Some(read) => replace(file, &read, &sealed),
        None if disk::exists(file) => Err(keep(file, &sealed)?),
        None => Ok(disk::write_atomic(file, &sealed, 0o644)?),
    }?;
    Ok(Status::Done)
}

/// A file that does not exist yet, with an example to begin from.
fn new(file: &Path, context: &Context) -> Result<Opened> {
    let format = Format::of(file);
    let example = vec![Entry::Pair("example".to_owned(), Value::str("replace me"))];
    let example: Document = match format {
        Format::Binary => vec![Entry::Pair("data".to_owned(), Value::str("replace me\n"))],
        Format::Ini => vec![Entry::Pair("section".to_owned(), Value::Map(example))],
        _ => example,
    };
    let creation = files::creation(file)?.unwrap_or_default();
    let metadata = with_default_rule(creation, format).metadata();
    let new = Opened::create(format, vec![example], metadata, &prompt(context));
    let mut new = new.map_err(|error| failure(file.display(), &error))?;
    new.layout = files::layout(file)?;
    Ok(new)
}

/// The editor and its arguments.
fn editor(context: &Context) -> Result<Vec<String>> {
    let none = || refused(NO_EDITOR, "there is no editor").hint("set EDITOR, such as to nano");
    if let Some(editor) = &context.environment.editor {
        return words::split(editor).filter(|words| !words.is_empty()).ok_or_else(none);
    }
    let variables = &context.environment.identities.environment;
    let path = variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = EDITORS.iter().find(|name| folders.iter().any(|folder| disk::exists(folder.join(name))));
    found.map(|name| vec![(*name).to_owned()]).ok_or_else(none)
}

fn run_editor(editor: &[String], file: &Path, context: &Context) -> Result<()> {
    let Some((program, arguments)) = editor.split_first() else { return Ok(()) };
    let environment = &context.environment.identities.environment;
    let tool = Tool::of_user(program, environment).args(arguments).arg(file);
    let status = tool.command().stdin(Stdio::inherit()).status();
    let status = status.map_err(|error| refused(NO_EDITOR, format!("cannot run the editor {program}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(refused(NO_EDITOR, format!("the editor {program} failed ({status}); nothing was written")))
}

/// Shows what is wrong; a person returns to the editor, a script ends here.
fn back_to_editor(error: &Error, context: &Context) -> Result<()> {
    context.ui.error(error);
    if !std::io::stdin().is_terminal() {
        return Err(refused(error.status(), "the edited text cannot be encrypted; nothing was written"));
    }
    context.ui.hint("press Enter to return to the editor, Ctrl-C to give up");
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(bytes) if bytes > 0 => Ok(()),
        _ => Err(Failure::Interrupted),
    }
}

fn replace(file: &Path, read: &Secret, sealed: &[u8]) -> Result<()> {
    match disk::read(file).map(Secret::new) {
        Ok(now) if now == *read => files::replace(file, read, sealed),
        _ => Err(keep(file, sealed)?),
    }
}

/// The file was changed meanwhile: it stays as it is, and the edited text is kept beside it, encrypted.
fn keep(file: &Path, sealed: &[u8]) -> Result<Failure> {
    let extension = file.extension().map(|name| format!(".{}", name.to_string_lossy())).unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut beside = file.with_file_name(format!("{stem}.edited{extension}"));
    let mut number = 1;
    while disk::exists(&beside) {
        number += 1;
        beside = file.with_file_name(format!("{stem}.edited-{number}{extension}"));
    }
    disk::write_atomic(&beside, sealed, 0o600)?;
    let message = format!("{} was changed by somebody else meanwhile", file.display());
    Ok(Failure::request(message).hint(format!("the edited text is in {}, encrypted", beside.display())))
}
