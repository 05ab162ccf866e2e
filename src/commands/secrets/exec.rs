//! `rave secrets exec-env` and `exec-file`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Stdio;

use crate::cli::secrets::{ExecEnv, ExecFile};
use crate::interrupt;
use crate::secrets::tree::{Entry, Value};
use crate::secrets::{Format, Opened};
use crate::tool::{self, Tool};

use super::super::{Context, Failure, Result, Status};
use super::memory::Place;
use super::{failure, files};

/// Runs `exec-env`: this process becomes the command, so that signals and status are the command's own.
pub fn env(arguments: &ExecEnv, context: &Context) -> Result<Status> {
    let opened = files::open(&arguments.file, &arguments.opening, context)?;
    let inherited = context.environment.identities.environment.as_slice();
    let inherited = if arguments.pristine { &[] } else { inherited };
    let mut tool = tool(arguments.command.as_deref(), &arguments.argv, inherited);
    for (name, value) in variables(&opened, &arguments.file)? {
        tool = tool.env(name, value);
    }
    drop(opened);
    let error = tool.command().stdin(Stdio::inherit()).exec();
    Err(tool::Error::Start { program: tool.display(), source: error }.into())
}

/// The values at the top of a file as variables.
fn variables(opened: &Opened, file: &Path) -> Result<Vec<(OsString, OsString)>> {
    let wrong =
        |name: &str, why: &str| Failure::request(format!("{}: {name} cannot be a variable: {why}", file.display()));
    let mut variables = Vec::new();
    for (name, value) in opened.documents.first().into_iter().flatten().filter_map(Entry::pair) {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(wrong(name, "of its name"));
        }
        if matches!(value, Value::Map(_) | Value::List(_)) {
            return Err(wrong(name, "it is not a single value"));
        }
        let pair = [Entry::Pair(String::new(), value.clone())];
        let line = Format::Dotenv.write(&[pair.to_vec()]).map_err(|error| failure(file.display(), &error))?;
        let text = match value {
            Value::Leaf(leaf) if leaf.kind == crate::secrets::tree::Kind::Str => leaf.text.expose().to_vec(),
            _ => line.expose().trim_ascii_end().get(1..).unwrap_or_default().to_vec(),
        };
        if text.contains(&0) {
            return Err(wrong(name, "its value holds a zero byte"));
        }
        variables.push((OsString::from(name), OsString::from_vec(text)));
    }
    Ok(variables)
}

/// Runs `exec-file`.
pub fn file(arguments: &ExecFile, context: &Context) -> Result<Status> {
    let opened = files::open(&arguments.file, &arguments.opening, context)?;
    let said = arguments.opening.types.output_type;
    let format = said.map_or(opened.format, |said| files::format(&arguments.file, Some(said)));
    let plain = opened.plain(format).map_err(|error| failure(arguments.file.display(), &error))?;
    let name = arguments.filename.as_ref().unwrap_or(&arguments.file);
    if name.file_name().is_none() || arguments.filename.as_ref().is_some_and(|name| name.components().count() != 1) {
        return Err(Failure::request("--filename takes a name without folders"));
    }
    let place = Place::new(context, arguments.allow_disk)?;
    let path = place.write(name, plain.expose())?;
    drop((plain, opened));
    let fill = |word: &OsStr| fill(word, &path);
    let command = arguments.command.as_deref().map(fill);
    let argv: Vec<OsString> = arguments.argv.iter().map(|word| fill(word)).collect();
    let tool = tool(command.as_deref(), &argv, &context.environment.identities.environment);
    let start = |source| tool::Error::Start { program: tool.display(), source };
    let mut child = tool.command().stdin(Stdio::inherit()).spawn().map_err(start)?;
    // Ctrl-C reaches the command by itself; what is sent to rave alone is passed on.
    let pid = rustix::process::Pid::from_child(&child);
    let _ending = interrupt::on_interrupt(move || {
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    });
    let status = child.wait().map_err(start)?;
    drop(place);
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Status::Remote(u8::try_from(code).unwrap_or(1)))
}

/// The command as the user gave it: words, or one line for the shell.
fn tool(command: Option<&OsStr>, argv: &[OsString], environment: &[(OsString, OsString)]) -> Tool {
    match (command, argv.split_first()) {
        (Some(line), _) => Tool::of_user("/bin/sh", environment).arg("-c").arg(line),
        (None, Some((program, arguments))) => Tool::of_user(program, environment).args(arguments),
        (None, None) => Tool::of_user("/bin/sh", environment),
    }
}

/// Puts the file's path where `{}` stands.
fn fill(word: &OsStr, path: &Path) -> OsString {
    let mut out = Vec::new();
    let mut rest = word.as_bytes();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"{}") {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(path.as_os_str().as_bytes());
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    OsString::from_vec(out)
}
