//! `rave secrets seal`, and what building does of it by itself: an image's secrets, encrypted for its machines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::cli::secrets::Seal;
use crate::disk;
use crate::secrets::deploy::{self, About, Sealing};
use crate::secrets::needed::{self, Found, Problem};
use crate::secrets::prompt::{Nobody, Prompt};
use crate::secrets::{Error, File, Format, Identities, config};
use crate::system::SecretKind;
use crate::tree::Entry;

use super::super::locking::{self, Asked};
use super::super::project;
use super::super::{Context, Failure, Result, Status};
use super::{check, failure, files, prompt};

/// The files that an image's values come from, by their names as the user knows them, each with its fingerprint.
type Sources = BTreeMap<String, String>;

/// Runs the verb.
pub fn run(arguments: &Seal, context: &Context) -> Result<Status> {
    let asked = locking::evaluate(context, &arguments.image, &[], None)?;
    let path = asked.named.sealed();
    if asked.system.secrets.is_empty() {
        context.ui.say(format!("{} needs no secrets", asked.system.name));
        return Ok(Status::Done);
    }
    let sources = sources(context, &asked)?;
    let before = read(&path)?;
    if arguments.check {
        let stale = stale(&asked, before.as_deref(), &sources)?;
        if context.ui.is_json() {
            context.ui.print_json(&json!({"file": path, "fits": stale.is_none(), "reason": stale}));
        } else if let Some(reason) = &stale {
            context.ui.error(format!("{}: {reason}", path.display()));
            context.ui.hint(format!("run `rave secrets seal {}`", asked.named.typed));
        }
        return Ok(if stale.is_none() { Status::Done } else { Status::Unwell });
    }
    let found = gather(context, &asked, prompt(context)).map_err(|(file, error)| failure(file, &error))?;
    judge(context, &asked, &found)?;
    let sealed = seal(context, &asked, &found, &sources, before.as_deref(), prompt(context))?;
    let changed = before.as_deref() != Some(sealed.as_slice());
    let about = deploy::about(&sealed).map_err(|error| failure(path.display(), &error))?;
    let recipients: BTreeSet<&String> = about.access.0.iter().flatten().collect();
    if context.ui.is_json() {
        context.ui.print_json(
            &json!({"file": path, "changed": changed, "secrets": asked.system.secrets.keys().collect::<Vec<_>>(),
            "recipients": recipients}),
        );
    } else {
        context.ui.print(path.display());
        let state = if changed { "sealed" } else { "unchanged" };
        context.ui.say(format!("{state}: {} secrets for {} recipients", found.len(), recipients.len()));
    }
    Ok(Status::Done)
}

/// Puts the secrets that an image asks for into it, as ciphertext. They are sealed now if they have to be and an
/// identity opens their sources; without one, the sealed file is taken as it is.
pub fn complete(context: &Context, asked: &mut Asked) -> Result<()> {
    if asked.system.secrets.is_empty() {
        return Ok(());
    }
    let _hidden = super::Hidden::new()?;
    let path = asked.named.sealed();
    let sources = sources(context, asked)?;
    let before = read(&path)?;
    let stale = stale(asked, before.as_deref(), &sources)?;
    let nobody: Arc<dyn Prompt> = Arc::new(Nobody);
    let bytes = match gather(context, asked, Arc::clone(&nobody)) {
        Ok(found) if !sources.is_empty() => {
            judge(context, asked, &found)?;
            match (before, stale) {
                (Some(before), None) => before,
                (before, stale) => {
                    let reason = stale.unwrap_or_else(|| "it is missing".to_owned());
                    context.ui.say(format!("{}: {reason}; sealing", path.display()));
                    seal(context, asked, &found, &sources, before.as_deref(), nobody)?
                }
            }
        }
        Err((file, error)) if !matches!(error, Error::Locked(_)) => return Err(failure(file, &error)),
        _ => as_it_is(context, asked, before, stale)?,
    };
    let needs = deploy::needs(&asked.system.secrets)?;
    let option = asked.system.secrets.values().next().map(|secret| secret.option.clone());
    for (path, bytes) in [(deploy::SEALED, bytes), (deploy::NEEDS, needs)] {
        let path = path.parse().map_err(Failure::error)?;
        // No secret, but nothing of other users' business either.
        asked.system.tree.insert(path, Entry { option: option.clone(), ..Entry::file(bytes, 0o400) });
    }
    Ok(())
}

/// The sealed file, for who cannot open the sources.
fn as_it_is(context: &Context, asked: &Asked, before: Option<Vec<u8>>, stale: Option<String>) -> Result<Vec<u8>> {
    let path = asked.named.sealed();
    let typed = &asked.named.typed;
    let remedy = if check::files(&context.project, &asked.named.name).is_empty() {
        format!("`rave secrets init {typed}` makes secrets that can be made")
    } else {
        format!("run `rave secrets seal {typed}` where an identity opens secrets/, and commit the file")
    };
    let Some(bytes) = before else {
        let names: Vec<&str> = asked.system.secrets.keys().map(String::as_str).collect();
        let text = format!("{} is missing, and {} needs {}", path.display(), asked.system.name, names.join(", "));
        return Err(Failure::request(text).hint(remedy));
    };
    let about = deploy::about(&bytes).map_err(|error| failure(path.display(), &error))?;
    let missing = missing(asked, &about);
    if !missing.is_empty() {
        let text = format!("{} lacks {}, which {} needs", path.display(), missing.join(", "), asked.system.name);
        return Err(Failure::request(text).hint(remedy));
    }
    if let Some(reason) = locked_out(&path, &bytes)? {
        return Err(Failure::request(format!("{}: {reason}", path.display())).hint(remedy));
    }
    if let Some(reason) = stale {
        context.ui.warn(format!("{}: {reason}; no identity opens the sources, so it is used as it is", path.display()));
    }
    Ok(bytes)
}

/// Opens all sources with this user's identities.
fn gather(
    context: &Context,
    asked: &Asked,
    prompt: Arc<dyn Prompt>,
) -> std::result::Result<BTreeMap<String, Found>, (String, Error)> {
    let identities = context.environment.identities.load(prompt);
    let mut found = BTreeMap::new();
    for path in check::files(&context.project, &asked.named.name) {
        let shown = check::shown(&path, context);
        let open = || -> std::result::Result<_, Error> {
            let bytes = disk::read(&path).map_err(|error| Error::Path(super::super::failure::chain(&error)))?;
            File::read(Format::of(&path), &bytes)?.open(&identities, crate::secrets::Mac::Check)
        };
        let opened = open().map_err(|error| (shown.clone(), error))?;
        needed::gather(&shown, &opened, &mut found);
    }
    found.retain(|name, _| asked.system.secrets.contains_key(name));
    Ok(found)
}

/// The values of an image's secrets that must not be seen, if an identity of this user opens them.
pub fn values(context: &Context, asked: &Asked) -> Option<BTreeMap<String, crate::secrets::Secret>> {
    let nobody: Arc<dyn Prompt> = Arc::new(Nobody);
    let from_sources = gather(context, asked, Arc::clone(&nobody)).ok().filter(|found| !found.is_empty());
    let sealed = |identities: Identities| {
        let path = deploy::SEALED.parse().ok()?;
        match &asked.system.tree.get(&path)?.content {
            crate::tree::Content::File(bytes) => deploy::open(bytes, &identities).ok(),
            _ => None,
        }
    };
    let values = match from_sources {
        Some(found) => Some(found.into_iter().map(|(name, found)| (name, found.value)).collect()),
        None => sealed(context.environment.identities.load(nobody)),
    };
    values.map(|mut values: BTreeMap<String, crate::secrets::Secret>| {
        let is_secret =
            |name: &String| asked.system.secrets.get(name).is_some_and(|s| s.kind != SecretKind::TlsCertificate);
        values.retain(|name, _| is_secret(name));
        values
    })
}

/// Refuses what `rave secrets check` finds wrong. Who can open the sources does not change what is built, so that is
/// only warned of.
fn judge(context: &Context, asked: &Asked, found: &BTreeMap<String, Found>) -> Result<()> {
    let mut wrong = Vec::new();
    for problem in check::unfit(&asked.system, found) {
        let text = format!("secret `{}`: {}", problem.secret, problem.what);
        if problem.is_warning { context.ui.warn(text) } else { wrong.push(text) }
    }
    let files = check::files(&context.project, &asked.named.name);
    check::readers(&files, context)?.into_iter().for_each(|problem| context.ui.warn(problem.what));
    if wrong.is_empty() {
        return Ok(());
    }
    let hint = format!(
        "`rave secrets init {0}` makes what can be made; `rave secrets check {0}` shows all",
        asked.named.typed
    );
    Err(Failure::request(wrong.join("\n       ")).hint(hint))
}

/// What is wrong with the sealed file, or would be if it were made now. That it is missing is not: building makes it.
pub fn problem(context: &Context, asked: &Asked) -> Result<Option<Problem>> {
    let path = asked.named.sealed();
    let shown = check::shown(&path, context);
    if files::rule(&path)?.is_none() {
        let what = format!("{} names nobody who could open {shown}", config::NAME);
        return Ok(Some(check::wrong(what)));
    }
    let Some(sealed) = read(&path)? else { return Ok(None) };
    if let Some(reason) = locked_out(&path, &sealed)? {
        return Ok(Some(check::wrong(format!("{shown}: {reason}"))));
    }
    let stale = stale(asked, Some(&sealed), &sources(context, asked)?)?;
    let what = |reason| format!("{shown}: {reason}; `rave secrets seal {}` makes it anew", asked.named.typed);
    Ok(stale.map(|reason| Problem { is_warning: true, ..check::wrong(what(reason)) }))
}

/// Why a machine would not open a sealed file.
fn locked_out(path: &Path, sealed: &[u8]) -> Result<Option<String>> {
    let about = deploy::about(sealed).map_err(|error| failure(path.display(), &error))?;
    let Some(creation) = files::rule(path)? else { return Ok(None) };
    let wanted = deploy::access(&creation.groups, creation.threshold);
    let names: Vec<&str> = deploy::locked_out(&about.access, &wanted).into_iter().collect();
    let reason = || format!("it is not encrypted for {}, whom {} names", names.join(", "), config::NAME);
    Ok((!names.is_empty()).then(reason))
}

/// Seals and writes, unless the file that is there has the same bytes.
fn seal(
    context: &Context,
    asked: &Asked,
    found: &BTreeMap<String, Found>,
    sources: &Sources,
    before: Option<&[u8]>,
    prompt: Arc<dyn Prompt>,
) -> Result<Vec<u8>> {
    let path = asked.named.sealed();
    let Some(creation) = files::creation(&path)? else {
        let text = format!("there is no {}: nobody is named who could open {}", config::NAME, path.display());
        return Err(Failure::request(text).hint(format!("`rave secrets init {}` makes one", asked.named.typed)));
    };
    let values = found.iter().map(|(name, found)| (name.clone(), found.value.clone())).collect();
    let sealing = Sealing { values: &values, groups: &creation.groups, threshold: creation.threshold, sources };
    let identities = context.environment.identities.load(prompt);
    let sealed = deploy::seal(&sealing, before, &identities, jiff::Timestamp::now());
    let sealed = sealed.map_err(|error| failure(path.display(), &error))?;
    if before != Some(sealed.as_slice()) {
        disk::write_atomic(&path, &sealed, 0o644)?;
    }
    Ok(sealed)
}

/// Why the sealed file does not fit; nothing if it does. Needs no identity.
fn stale(asked: &Asked, sealed: Option<&[u8]>, sources: &Sources) -> Result<Option<String>> {
    let path = asked.named.sealed();
    let Some(sealed) = sealed else { return Ok(Some("it is missing".to_owned())) };
    let about = deploy::about(sealed).map_err(|error| failure(path.display(), &error))?;
    let missing = missing(asked, &about);
    if !missing.is_empty() {
        return Ok(Some(format!("it lacks {}", missing.join(", "))));
    }
    let extra: Vec<&str> =
        about.names.iter().map(String::as_str).filter(|name| !asked.system.secrets.contains_key(*name)).collect();
    if !extra.is_empty() {
        return Ok(Some(format!("the image no longer asks for {}", extra.join(", "))));
    }
    let all: BTreeSet<&String> = about.sources.keys().chain(sources.keys()).collect();
    if let Some(changed) = all.into_iter().find(|file| about.sources.get(*file) != sources.get(*file)) {
        return Ok(Some(format!("{changed} has changed since")));
    }
    let creation = files::creation(&path)?;
    let fits = creation.is_none_or(|creation| deploy::access(&creation.groups, creation.threshold) == about.access);
    Ok((!fits).then(|| format!("{} names other recipients", config::NAME)))
}

fn missing<'a>(asked: &'a Asked, about: &About) -> Vec<&'a str> {
    asked.system.secrets.keys().filter(|name| !about.names.contains(*name)).map(String::as_str).collect()
}

fn sources(context: &Context, asked: &Asked) -> Result<Sources> {
    let fingerprint = |path: std::path::PathBuf| {
        let (_, file) = files::load(&path, None)?;
        Ok((check::shown(&path, context), deploy::fingerprint(&file)))
    };
    check::files(&context.project, &asked.named.name).into_iter().map(fingerprint).collect()
}

/// The bytes of the sealed file, if there is one.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    if disk::exists(path) { project::read_limited(path).map(Some) } else { Ok(None) }
}
