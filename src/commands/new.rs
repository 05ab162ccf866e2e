//! `rave new`: a project that builds at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli;
use crate::debian::Update;
use crate::disk;
use crate::name::ImageName;

use super::secrets::init;
use super::{Context, Failure, Result, Status, locking, project, schema};

/// What stands for the image's name in the files below.
const NAME: &str = "NAME";

/// The files of a new project, by path.
const FILES: [(&str, &str); 6] = [
    ("images/NAME.yaml", include_str!("new/image.yaml")),
    ("modules/greeting.yaml", include_str!("new/greeting.yaml")),
    (".github/workflows/rave.yaml", include_str!("new/workflow.yaml")),
    (".vscode/settings.json", include_str!("new/settings.json")),
    (".gitignore", include_str!("new/gitignore")),
    ("README.md", include_str!("new/readme.md")),
];

/// Writes what is not there yet, and locks the image if a mirror answers.
pub fn run(arguments: &cli::New, context: &Context) -> Result<Status> {
    let name: ImageName = arguments.image.parse().map_err(|e| Failure::request(format!("--image: {e}")))?;
    if project::library_images().contains(name.as_str()) {
        return Err(Failure::request(format!("--image: `{name}` is an image of rave's own"))
            .hint("choose another name; the new image extends `minimal`"));
    }
    let root = std::path::absolute(&arguments.dir).unwrap_or_else(|_| arguments.dir.clone());
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    let mut note = |path: &Path, is_new: bool| {
        let list = if is_new { &mut written } else { &mut kept };
        list.push(path.strip_prefix(&root).unwrap_or(path).to_owned());
    };
    for (path, text) in FILES {
        let path = root.join(path.replace(NAME, name.as_str()));
        let is_new = create(&path, text.replace(NAME, name.as_str()).as_bytes())?;
        note(&path, is_new);
    }
    let all = project::all(&root)?;
    for (file, text) in schema::files(&all)? {
        let path = root.join("schema").join(file);
        let is_new = create(&path, &text)?;
        note(&path, is_new);
    }
    let inside = Context {
        ui: Arc::clone(&context.ui),
        project: root.clone(),
        store: context.store.clone(),
        state: context.state.clone(),
        environment: context.environment.clone(),
    };
    written.extend(rules(&inside).into_iter().map(PathBuf::from));
    for path in &kept {
        context.ui.say(format!("{} is there already and stays as it is", path.display()));
    }
    if !context.ui.is_json() {
        written.iter().for_each(|path: &PathBuf| context.ui.print(arguments.dir.join(path).display()));
    }
    let is_locked = if arguments.no_lock { false } else { lock(&name, &inside)? };
    if context.ui.is_json() {
        let result = json!({"event": "result", "written": written, "kept": kept, "locked": is_locked});
        context.ui.print_json(&result);
    }
    let next = if is_locked { "up" } else { "lock" };
    let enter =
        if arguments.dir == Path::new(".") { String::new() } else { format!("cd {} && ", arguments.dir.display()) };
    context.ui.say(format!("next: {enter}rave {next} {name}"));
    Ok(Status::Done)
}

/// Writes a file with its folders; false if something of that name is there.
fn create(path: &Path, bytes: &[u8]) -> Result<bool> {
    if let Some(folder) = path.parent() {
        disk::create_dir_all(folder)?;
    }
    match disk::create_new(path) {
        Ok(mut file) => disk::context("write", path, file.write_all(bytes)).map(|()| true).map_err(Failure::from),
        Err(e) if e.is_taken() => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes the rules for secrets, and makes the identity that they name unless there is one; tells what was made, and
/// warns if there is no place for an identity.
fn rules(context: &Context) -> Vec<String> {
    let mut made = Vec::new();
    if let Err(failure) = init::start(false, &[], context, &mut made) {
        failure.show(&context.ui);
        context.ui.warn("the project is there, but has no rules for secrets: `rave secrets init` writes them");
    }
    made
}

/// Locks the image and the tools unless they are; false, with a warning, if no mirror helps.
fn lock(name: &ImageName, context: &Context) -> Result<bool> {
    let asked = locking::evaluate(context, name.as_str(), &[], None)?;
    for asked in [&locking::tools(context, &asked.named)?, &asked] {
        if locking::fitting(asked)?.is_ok() {
            continue;
        }
        match locking::lock(context, asked, &Update::None) {
            Ok(_) => {}
            Err(failure @ (Failure::Error { .. } | Failure::Gone(_))) => {
                failure.show(&context.ui);
                context.ui.warn("the project is there, but its packages are not locked yet");
                return Ok(false);
            }
            Err(other) => return Err(other),
        }
    }
    Ok(true)
}
