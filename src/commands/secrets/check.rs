//! `rave secrets check`: what an image needs, held against the project's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use crate::cli::secrets::Check;
use crate::disk;
use crate::leaks;
use crate::secrets::needed::{self, Found, Problem};
use crate::secrets::{File, Format, Identities, Mac, Recipient, config, deploy};
use crate::system::{SecretKind, System};
use crate::ui::Tone;

use super::super::{Context, Failure, Result, Status, locking};
use super::{failure, identities, seal};

/// Folder of a project's secrets.
pub const FOLDER: &str = "secrets";
/// File of secrets that all images of a project share.
pub const COMMON: &str = "common";
const SUFFIXES: [&str; 5] = ["yaml", "yml", "json", "env", "ini"];

/// Runs the verb.
pub fn run(arguments: &Check, context: &Context) -> Result<Status> {
    let asked = locking::evaluate(context, &arguments.image, &[], None)?;
    let recipients =
        arguments.recipient.iter().map(|text| Recipient::parse(text)).collect::<std::result::Result<Vec<_>, _>>();
    let recipients = recipients.map_err(|error| Failure::request(error.to_string()))?;
    let system = &asked.system;
    let mut problems = Vec::new();
    let mut found = BTreeMap::new();
    if !system.secrets.is_empty() {
        let files = files(&context.project, asked.named.name.as_str());
        for path in &files {
            let (_, file) = super::files::load(path, None)?;
            for recipient in needed::locked_out(&file, &recipients) {
                problems.push(wrong(format!(
                    "{} cannot be opened by {} alone",
                    shown(path, context),
                    recipient.as_str()
                )));
            }
        }
        problems.extend(readers(&files, context)?);
        problems.extend(seal::problem(context, &asked)?);
        found = gather(&files, &identities(context), context)?;
    }
    problems.extend(unfit(system, &found));
    show(system, &found, &problems, context);
    Ok(if problems.iter().all(|problem| problem.is_warning) { Status::Done } else { Status::Unwell })
}

/// A problem of no single secret.
pub fn wrong(what: String) -> Problem {
    Problem { secret: "*".to_owned(), what, is_warning: false }
}

/// What is missing, of the wrong kind, about to expire, or too weak to be told from chance.
pub fn unfit(system: &System, found: &BTreeMap<String, Found>) -> Vec<Problem> {
    let mut problems = needed::judge(system, found, SystemTime::now());
    for (name, secret) in &system.secrets {
        let Some(Found { file, value }) = found.get(name) else { continue };
        let is_public = secret.kind == SecretKind::TlsCertificate;
        if let Some(reason) = leaks::too_weak(value.expose()).filter(|_| !is_public && !value.is_empty()) {
            let what = format!("in {file} it is too weak: {reason}");
            problems.push(Problem { secret: name.clone(), what, is_warning: false });
        }
    }
    problems
}

/// Files that somebody cannot open whom .sops.yaml names for them, or that somebody else can open.
pub fn readers(files: &[PathBuf], context: &Context) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for path in files {
        let (_, file) = super::files::load(path, None)?;
        // Whoever encrypts by hand says for whom.
        let Some(creation) = super::files::rule(path)? else { continue };
        let had = deploy::access(&file.metadata.groups, file.metadata.threshold);
        let wanted = deploy::access(&creation.groups, creation.threshold);
        let shown = shown(path, context);
        for recipient in deploy::locked_out(&had, &wanted) {
            problems.push(wrong(format!("{shown} is not encrypted for {recipient}, whom {} names", config::NAME)));
        }
        for recipient in deploy::unnamed(&had, &wanted) {
            let what = format!("{shown} is encrypted for {recipient}, whom {} does not name", config::NAME);
            problems.push(Problem { is_warning: true, ..wrong(what) });
        }
    }
    Ok(problems)
}

/// The files in which an image's secrets are looked for, the image's own before the common ones.
pub fn files(project: &Path, image: &str) -> Vec<PathBuf> {
    let folder = project.join(FOLDER);
    let named = |name: &str| SUFFIXES.map(|suffix| folder.join(format!("{name}.{suffix}")));
    named(image).into_iter().chain(named(COMMON)).filter(|path| disk::exists(path)).collect()
}

/// Opens files and gathers their values by name.
pub fn gather(files: &[PathBuf], identities: &Identities, context: &Context) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for path in files {
        let bytes = disk::read(path)?;
        let file = File::read(Format::of(path), &bytes).map_err(|error| failure(path.display(), &error))?;
        let opened = file.open(identities, Mac::Check).map_err(|error| failure(path.display(), &error))?;
        needed::gather(&shown(path, context), &opened, &mut found);
    }
    Ok(found)
}

/// A file as the user knows it.
pub fn shown(path: &Path, context: &Context) -> String {
    path.strip_prefix(&context.project).unwrap_or(path).display().to_string()
}

fn show(system: &System, found: &BTreeMap<String, Found>, problems: &[Problem], context: &Context) {
    let of = |name: &str| problems.iter().filter(|problem| problem.secret == name).collect::<Vec<_>>();
    if context.ui.is_json() {
        let secrets: Vec<_> = system
            .secrets
            .iter()
            .map(|(name, secret)| {
                let problems: Vec<_> =
                    of(name).iter().map(|p| json!({"what": p.what, "warning": p.is_warning})).collect();
                let file = found.get(name).map(|found| &found.file);
                json!({"name": name, "kind": secret.kind, "owner": secret.owner, "group": secret.group,
                    "mode": format!("{:04o}", secret.mode), "units": secret.units, "file": file, "problems": problems})
            })
            .collect();
        let others: Vec<_> = of("*").iter().map(|problem| &problem.what).collect();
        context.ui.print_json(&json!({"secrets": secrets, "problems": others}));
        return;
    }
    let plain = |text: String| (text, Tone::Plain);
    let rows: Vec<_> = system
        .secrets
        .iter()
        .map(|(name, secret)| {
            let state = match of(name).iter().map(|problem| problem.is_warning).min() {
                None => ("good".to_owned(), Tone::Good),
                Some(true) => ("warning".to_owned(), Tone::Warn),
                Some(false) => ("wrong".to_owned(), Tone::Bad),
            };
            let owner = format!("{}:{}", secret.owner, secret.group);
            let file = found.get(name).map(|found| found.file.clone()).unwrap_or_default();
            vec![plain(name.clone()), state, plain(owner), plain(format!("{:04o}", secret.mode)), plain(file)]
        })
        .collect();
    if rows.is_empty() {
        context.ui.print(format!("{} needs no secrets", system.name));
    } else {
        context.ui.table(&["SECRET", "STATE", "OWNER", "MODE", "FILE"], &rows);
    }
    for Problem { secret, what, is_warning } in problems {
        let text = if secret == "*" { what.clone() } else { format!("{secret}: {what}") };
        if *is_warning { context.ui.warn(text) } else { context.ui.error(text) }
    }
    if problems.iter().any(|problem| !problem.is_warning && problem.what.starts_with("it is missing")) {
        context.ui.hint(format!("`rave secrets init {}` makes what can be made", system.name));
    }
    if problems.iter().any(|problem| problem.what.contains(&format!("whom {}", config::NAME))) {
        context.ui.hint("`rave secrets updatekeys` encrypts a file's key for those whom .sops.yaml names");
    }
}
