//! `rave secrets edit`.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cli::secrets::Edit;
use crate::disk;
use crate::secrets::tree::{Document, Entry, Value};
use crate::secrets::{Error, Format, Opened, Secret, words};
use crate::tool::Tool;

use super::super::{Context, Failure, Result, Status};
use super::encrypt::with_default_rule;
use super::memory::Place;
use super::{failure, files, prompt, refused};

/// sops' statuses.
const UNCHANGED: u8 = 200;
const NO_EDITOR: u8 = 201;

/// Editors that are looked for if no variable names one.
const EDITORS: [&str; 3] = ["vim", "nano", "vi"];

/// How many texts are kept beside one file.
const NAMES: u32 = 99;

/// Runs the verb.
pub fn run(arguments: &Edit, context: &Context) -> Result<Status> {
    let file = &arguments.file;
    let said = |error: &Error| failure(file.display(), error);
    let (read, mut opened) = if disk::exists(file) {
        let (read, encrypted) = files::load(file, arguments.opening.types.input_type)?;
        (Some(read), files::decrypt(file, encrypted, &arguments.opening, context)?)
    } else {
        (None, new(file, context)?)
    };
    let before = opened.plain(opened.format).map_err(|error| said(&error))?;
    let editor = editor(context)?;
    let place = Place::new(context, arguments.allow_disk)?;
    let path = place.write(file, before.expose())?;
    let sealed = loop {
        run_editor(&editor, &path, context)?;
        let edited = Secret::new(disk::read(&path)?);
        if edited == before {
            return Err(refused(UNCHANGED, format!("{} was not changed", file.display())));
        }
        let parsed = opened.format.read(edited.expose()).and_then(|documents| opened.replace(documents));
        match parsed.and_then(|()| opened.seal(jiff::Timestamp::now())) {
            Ok(sealed) => break sealed,
            Err(error) => back_to_editor(&error, context)?,
        }
    };
    match read {
        Some(read) => replace(file, &read, &sealed),
        None => disk::followed(file).and_then(|file| disk::write_new(file, &sealed, 0o644)).map_err(Failure::from),
    }
    .map_err(|error| keep(file, &sealed, error, context))?;
    Ok(Status::Done)
}

/// Writes what was edited, unless the file is no longer what it was.
fn replace(file: &Path, read: &Secret, sealed: &[u8]) -> Result<()> {
    let held = files::Held::new(file)?;
    if held.read() != read {
        return Err(Failure::request(format!("{} was changed by somebody else meanwhile", file.display())));
    }
    held.replace(sealed)
}

/// The edited text could not be written: it is kept beside the file or, where that cannot be, in a folder for what is
/// temporary; encrypted.
fn keep(file: &Path, sealed: &[u8], error: Failure, context: &Context) -> Failure {
    let extension = file.extension().map(|name| format!(".{}", name.to_string_lossy())).unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let places = [file.with_file_name(""), std::env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from("/dev/shm")];
    let name = |number| match number {
        1 => format!("{stem}.edited{extension}"),
        _ => format!("{stem}.edited-{number}{extension}"),
    };
    let kept = places.iter().find_map(|place| {
        let mut paths = (1..=NAMES).map(|number| place.join(name(number)));
        paths.find_map(|path| match disk::write_new(&path, sealed, 0o600) {
            Err(error) if error.is_taken() => None,
            written => Some(written.is_ok().then_some(path)),
        })?
    });
    match kept {
        Some(path) => context.ui.warn(format!("the edited text is in {}, encrypted", path.display())),
        None => context.ui.warn("the edited text could be kept nowhere"),
    }
    error
}

/// A file that does not exist yet, with an example to begin from.
fn new(file: &Path, context: &Context) -> Result<Opened> {
    let format = Format::of(file);
    // Found out before anybody writes something.
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !disk::exists(folder)) {
        return Err(Failure::request(format!("there is no folder {}", folder.display())));
    }
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
