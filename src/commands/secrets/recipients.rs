//! `rave secrets recipients`, `updatekeys` and `rotate`: who can open a file.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::secrets::{RecipientChange, Recipients, Rotate, Updatekeys};
use crate::disk;
use crate::secrets::{AgeKey, Error, File, Group, Mac, Recipient};

use super::super::{Context, Failure, Result, Status};
use super::{failure, files, identities, refused};

/// Runs one of the verbs of `recipients`.
pub fn run(verb: &Recipients, context: &Context) -> Result<Status> {
    match verb {
        Recipients::List { file } => list(file, context),
        Recipients::Add(change) => add(change, context),
        Recipients::Rm(change) => remove(change, context),
    }
}

fn list(path: &Path, context: &Context) -> Result<Status> {
    let (_, file) = files::load(path, None)?;
    let names = |group: &Group| {
        let others = group.others.iter().filter_map(|entry| entry.pair().map(|(kind, _)| format!("({kind})")));
        group.age.iter().map(|key| key.recipient.clone()).chain(others).collect::<Vec<_>>()
    };
    let groups: Vec<Vec<String>> = file.metadata.groups.iter().map(names).collect();
    if context.ui.is_json() {
        context.ui.print_json(&json!({"threshold": file.metadata.threshold, "groups": groups}));
    } else if let [only] = groups.as_slice() {
        only.iter().for_each(|name| context.ui.print(name));
    } else {
        for (number, group) in groups.iter().enumerate() {
            group.iter().for_each(|name| context.ui.print(format!("{number} {name}")));
        }
        let needed = file.metadata.threshold.map_or(groups.len(), usize::from);
        context.ui.say(format!("{needed} of {} groups are needed", groups.len()));
    }
    Ok(Status::Done)
}

fn parse(texts: &[String]) -> Result<Vec<Recipient>> {
    let all = texts.iter().map(|text| Recipient::parse_list(text)).collect::<std::result::Result<Vec<_>, _>>();
    all.map(|lists| lists.concat()).map_err(|error| Failure::request(error.to_string()))
}

fn group_of<'a>(groups: &'a mut [Group], change: &RecipientChange) -> Result<&'a mut Group> {
    let missing = || Failure::request(format!("{} has no key group {}", change.file.display(), change.group));
    groups.get_mut(change.group).ok_or_else(missing)
}

/// Adds recipients to a group; returns whether there were new ones.
fn extend(group: &mut Group, recipients: &[Recipient]) -> bool {
    let before = group.age.len();
    for recipient in recipients {
        if group.age.iter().all(|known| known.recipient != recipient.as_str()) {
            group.age.push(AgeKey { recipient: recipient.as_str().to_owned(), enc: String::new() });
        }
    }
    group.age.len() > before
}

fn add(change: &RecipientChange, context: &Context) -> Result<Status> {
    let recipients = parse(&change.recipients)?;
    let held = files::Held::new(&change.file)?;
    let mut file = held.file(None)?;
    let mut groups = file.metadata.groups.clone();
    if !extend(group_of(&mut groups, change)?, &recipients) {
        context.ui.say("nothing changed");
        return Ok(Status::Done);
    }
    let threshold = file.metadata.threshold;
    let said = |error: &Error| failure(change.file.display(), error);
    file.rewrap(groups, threshold, &identities(context)).map_err(|error| said(&error))?;
    held.replace(&file.write().map_err(|error| said(&error))?)?;
    Ok(Status::Done)
}

fn remove(change: &RecipientChange, context: &Context) -> Result<Status> {
    let recipients = parse(&change.recipients)?;
    let held = files::Held::new(&change.file)?;
    let mut file = held.file(None)?;
    take(group_of(&mut file.metadata.groups, change)?, &recipients, &change.file)?;
    rotate_file(&change.file, held, file, context, Mac::Check)?;
    context
        .ui
        .say("the file has a new data key; who could read it before still knows the old values: change those, too");
    Ok(Status::Done)
}

fn take(group: &mut Group, recipients: &[Recipient], file: &Path) -> Result<()> {
    for recipient in recipients {
        let before = group.age.len();
        group.age.retain(|key| key.recipient != recipient.as_str());
        if group.age.len() == before {
            return Err(Failure::request(format!("{} is no recipient of {}", recipient.as_str(), file.display())));
        }
    }
    Ok(())
}

/// Runs `rotate`.
pub fn rotate(arguments: &Rotate, context: &Context) -> Result<Status> {
    let list = |text: &Option<String>| parse(text.as_slice());
    let (new, gone) = (list(&arguments.add_age)?, list(&arguments.rm_age)?);
    each(&arguments.files, context, |path| {
        if !(disk::exists(path) || new.is_empty() && gone.is_empty()) {
            let text = format!("there is no file {} whose recipients could change", path.display());
            return Err(refused(files::NO_FILE_TO_SHARE, text));
        }
        let held = files::Held::new(path)?;
        let mut file = held.file(arguments.opening.types.input_type)?;
        if let Some(group) = file.metadata.groups.first_mut() {
            extend(group, &new);
            take(group, &gone, path)?;
        }
        let mac = if arguments.opening.ignore_mac { Mac::Ignore } else { Mac::Check };
        rotate_file(path, held, file, context, mac)
    })
}

/// Does the same to several files, those behind one that fails too, and ends as the first that failed.
fn each(files: &[PathBuf], context: &Context, mut act: impl FnMut(&Path) -> Result<()>) -> Result<Status> {
    let mut first = None;
    for path in files {
        match act(path) {
            Ok(()) => {}
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(failure) if first.is_none() => first = Some(failure),
            Err(failure) => drop(failure.show(&context.ui)),
        }
    }
    first.map_or(Ok(Status::Done), Err)
}

/// Opens a file as it was read, and writes it with a new data key for the recipients that `file` has now.
fn rotate_file(path: &Path, held: files::Held, file: File, context: &Context, mac: Mac) -> Result<()> {
    let said = |error: &Error| failure(path.display(), error);
    let groups = file.metadata.groups.clone();
    let mut before = File::read(file.format, held.read().expose()).map_err(|error| said(&error))?;
    before.layout = file.layout;
    let identities = identities(context);
    let mut opened = before.open(&identities, mac).map_err(|error| said(&error))?;
    opened.metadata.groups = groups;
    opened.rotate(identities.prompt()).map_err(|error| said(&error))?;
    let sealed = opened.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    held.replace(&sealed)
}

/// Runs `updatekeys`.
pub fn updatekeys(arguments: &Updatekeys, context: &Context) -> Result<Status> {
    each(&arguments.files, context, |path| update(path, arguments, context))
}

fn update(path: &Path, arguments: &Updatekeys, context: &Context) -> Result<()> {
    let held = files::Held::new(path)?;
    let mut file = held.file(arguments.input_type)?;
    let wanted = files::creation(path)?.ok_or_else(|| Failure::request("there is no .sops.yaml here or above"))?;
    let names = |groups: &[Group]| -> Vec<Vec<String>> {
        groups.iter().map(|group| group.age.iter().map(|key| key.recipient.clone()).collect()).collect()
    };
    let (before, after) = (names(&file.metadata.groups), names(&wanted.groups));
    let threshold = wanted.threshold.or(file.metadata.threshold).filter(|_| after.len() > 1);
    let threshold = threshold.map(|needed| needed.min(u8::try_from(after.len()).unwrap_or(u8::MAX)));
    let sorted = |groups: &[Vec<String>]| {
        let mut groups = groups.to_vec();
        groups.iter_mut().for_each(|group| group.sort());
        groups
    };
    if sorted(&before) == sorted(&after) && (after.len() < 2 || threshold == file.metadata.threshold) {
        context.ui.say(format!("{} is up to date", path.display()));
        return Ok(());
    }
    let mut removes = false;
    for number in 0..before.len().max(after.len()) {
        let empty = Vec::new();
        let (old, new) = (before.get(number).unwrap_or(&empty), after.get(number).unwrap_or(&empty));
        let group = if after.len().max(before.len()) > 1 { format!(" in group {number}") } else { String::new() };
        for name in old.iter().filter(|name| !new.contains(name)) {
            removes = true;
            context.ui.say(format!("{}: - {name}{group}", path.display()));
        }
        new.iter()
            .filter(|name| !old.contains(name))
            .for_each(|name| context.ui.say(format!("{}: + {name}{group}", path.display())));
    }
    if !arguments.yes && !agreed(context)? {
        context.ui.say(format!("{} was left as it is", path.display()));
        return Ok(());
    }
    let said = |error: &Error| failure(path.display(), error);
    file.rewrap(wanted.groups, threshold, &identities(context)).map_err(|error| said(&error))?;
    held.replace(&file.write().map_err(|error| said(&error))?)?;
    if removes {
        context.ui.warn("removed readers still know the data key: `rave secrets rotate` takes a new one");
    }
    Ok(())
}

fn agreed(context: &Context) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::request("nobody is there to agree").hint("--yes does not ask"));
    }
    context.ui.say("change the file so? (y/n)");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && line.trim().eq_ignore_ascii_case("y"))
}
