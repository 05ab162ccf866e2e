//! `rave secrets init`: from nothing to a project with an identity, rules and secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use crate::cli::secrets::Init;
use crate::disk::{self, Lock};
use crate::secrets::tree::{Comment, Document, Entry, Value};
use crate::secrets::{Format, Identities, Mac, Opened, Recipient, Secret, config, generate, identity, needed};
use crate::system::{SecretKind, System};

use super::super::{Context, Failure, Result, Status, locking};
use super::check::{COMMON, FOLDER, files};
use super::encrypt::with_default_rule;
use super::{check, failure, keygen, prompt};

/// File of the project's own certificate authority, below [`FOLDER`]. No image gets it.
const AUTHORITY: &str = "authority.yaml";

/// What was made.
#[derive(Default)]
struct Made {
    files: Vec<String>,
    secrets: Vec<String>,
    left: Vec<String>,
}

/// Runs the verb.
pub fn run(arguments: &Init, context: &Context) -> Result<Status> {
    let asked = arguments.image.as_ref().map(|image| locking::evaluate(context, image, &[], None)).transpose()?;
    let (own, made) = make(arguments.post_quantum, &arguments.recipient, asked.as_ref(), context)?;
    if context.ui.is_json() {
        context
            .ui
            .print_json(&json!({"recipient": own, "files": made.files, "secrets": made.secrets, "missing": made.left}));
    } else {
        context.ui.print(format!("recipient: {own}"));
        made.files.iter().for_each(|file| context.ui.print(format!("made {file}")));
        made.secrets.iter().for_each(|secret| context.ui.print(format!("made secret {secret}")));
    }
    for name in &made.left {
        context.ui.warn(format!("{name} has to come from you: `rave secrets set` or `rave secrets edit`"));
    }
    Ok(Status::Done)
}

/// Makes all that an image needs, if the project has no secrets for it at all: whoever tries an image is not asked to
/// learn of secrets first.
pub fn first(asked: &locking::Asked, context: &Context) -> Result<()> {
    let sources = files(&context.project, &asked.named.name);
    if asked.system.secrets.is_empty() || disk::exists(asked.named.sealed()) || !sources.is_empty() {
        return Ok(());
    }
    let (own, made) = make(false, &[], Some(asked), context)?;
    let (secrets, files) = (made.secrets.join(", "), made.files.join(", "));
    context.ui.say(format!("{} has no secrets yet; made {secrets} for {own}, in {files}", asked.system.name));
    Ok(())
}

fn make(
    post_quantum: bool,
    others: &[String],
    asked: Option<&locking::Asked>,
    context: &Context,
) -> Result<(String, Made)> {
    let mut made = Made::default();
    let own = start(post_quantum, others, context, &mut made.files)?;
    // Whoever begins the same project at the same time waits, and finds what was made.
    let _alone = Lock::existing(disk::followed(context.project.join(config::NAME))?)?;
    let identities = super::identities(context);
    let folder = context.project.join(FOLDER);
    disk::create_dir_all(&folder)?;
    if files(&context.project, COMMON).is_empty() {
        let note =
            Comment { text: " Secrets that all images of this project share: name: value".into(), inline: false };
        create(&folder.join("common.yaml"), vec![Entry::Comment(note)], context, &mut made)?;
    }
    if let Some(asked) = asked {
        fill(&asked.system, asked.named.name.as_str(), &identities, context, &mut made)?;
    }
    Ok((own, made))
}

/// Makes a file of the project's own, with identity and rules where there are none; returns the files that were made.
/// One that is there already is left alone.
pub fn own_file(path: &Path, document: Document, context: &Context) -> Result<Vec<String>> {
    let mut made = Made::default();
    start(false, &[], context, &mut made.files)?;
    let _alone = Lock::existing(disk::followed(context.project.join(config::NAME))?)?;
    if let Some(folder) = path.parent() {
        disk::create_dir_all(folder)?;
    }
    if !disk::exists(path) {
        create(path, document, context, &mut made)?;
    }
    Ok(made.files)
}

/// Makes an identity and rules where there are none; adds what was made to `files`, and returns one's own recipient.
pub fn start(post_quantum: bool, others: &[String], context: &Context, files: &mut Vec<String>) -> Result<String> {
    let own = identity(post_quantum, context, files)?;
    rules(others, &own, context, files)?;
    Ok(own)
}

/// The recipient of one's own identity; makes the identity if there is none.
fn identity(post_quantum: bool, context: &Context, files: &mut Vec<String>) -> Result<String> {
    let sources = &context.environment.identities;
    let default = sources.default_file();
    for path in [&sources.ssh_file, &sources.key_file, &default].into_iter().flatten() {
        outside(path, &context.project)?;
    }
    if let Some(own) = own(context) {
        return Ok(own);
    }
    let path = sources.key_file.clone().or(default);
    let path = path.ok_or_else(|| Failure::request("cannot tell where identities are kept: HOME is not set"))?;
    let path = disk::followed(path)?;
    if let Some(folder) = path.parent() {
        disk::create_dir_all(folder)?;
        // The folder of others, such as ~/.config, stays as it is; that of keys is one's own.
        disk::set_mode(folder, 0o700)?;
    }
    // Of two that come at the same time, the second finds the identity of the first.
    let _alone = Lock::exclusive(&path)?;
    if let Some(own) = own(context) {
        return Ok(own);
    }
    let new = identity::generate(post_quantum).map_err(Failure::error)?;
    let text = keygen::file(&new, jiff::Timestamp::now());
    let before = Secret::new(disk::read(&path)?);
    let line = if before.is_empty() || before.expose().ends_with(b"\n") { "" } else { "\n" };
    let all = Secret::new([before.expose(), line.as_bytes(), text.expose()].concat());
    disk::rewrite(&path, all.expose(), Some(0o600))?;
    files.push(path.display().to_string());
    Ok(new.recipient)
}

/// Refuses an identity that would be published together with what it opens: in the project, or in the Git repository
/// that the project is part of, whatever links lead there.
fn outside(identity: &Path, project: &Path) -> Result<()> {
    let project = real(project);
    let root = project.ancestors().find(|folder| disk::exists(folder.join(".git")));
    if ![Some(project.as_path()), root].into_iter().flatten().any(|folder| real(identity).starts_with(folder)) {
        return Ok(());
    }
    let place = if root.is_some() { "the project's repository" } else { "the project" };
    let message = format!("{} is inside of {place}; identities must not be", identity.display());
    Err(Failure::request(message).hint("keep identities elsewhere: SOPS_AGE_KEY_FILE names the file"))
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|folder| Some((folder, disk::canonical(folder).ok()?)));
    let Some((folder, real)) = found else { return absolute };
    absolute.strip_prefix(folder).map_or(real.clone(), |rest| real.join(rest))
}

fn own(context: &Context) -> Option<String> {
    super::identities(context).recipients().iter().find(|own| own.starts_with("age1")).cloned()
}

/// Writes .sops.yaml if there is none.
fn rules(others: &[String], own: &str, context: &Context, files: &mut Vec<String>) -> Result<()> {
    let path = context.project.join(config::NAME);
    if disk::exists(&path) {
        return Ok(());
    }
    let mut all = vec![own.to_owned()];
    for text in others {
        let recipients = Recipient::parse_list(text).map_err(|error| Failure::request(error.to_string()))?;
        all.extend(recipients.iter().map(|recipient| recipient.as_str().to_owned()));
    }
    let list: String = all.iter().map(|recipient| format!("      - {recipient}\n")).collect();
    let text = format!(
        "# Who can open the secrets of this project. After a change: rave secrets updatekeys secrets/*\n\
         creation_rules:\n  - path_regex: ^{FOLDER}/\n    age:\n{list}\
         # The machines. Add the recipient of their identity: rave secrets keygen --output machine.key\n\
         \x20 - path_regex: ^images/.*\\.secrets$\n    age:\n{list}"
    );
    match disk::write_new(&path, text.as_bytes(), 0o644) {
        Err(error) if error.is_taken() => return Ok(()),
        written => written?,
    }
    files.push(config::NAME.to_owned());
    Ok(())
}

fn create(path: &Path, document: Document, context: &Context, made: &mut Made) -> Result<Opened> {
    let creation = super::files::creation(path)?.unwrap_or_default();
    let metadata = with_default_rule(creation, Format::of(path)).metadata();
    let said = |error: &crate::secrets::Error| failure(path.display(), error);
    let mut new = Opened::create(Format::of(path), vec![document], metadata, &prompt(context)).map_err(|e| said(&e))?;
    new.layout = super::files::layout(path)?;
    let sealed = new.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    disk::write_new(path, &sealed, 0o644)?;
    made.files.push(path.strip_prefix(&context.project).unwrap_or(path).display().to_string());
    Ok(new)
}

/// Makes what the image needs and the project does not have, into the image's own file.
fn fill(system: &System, image: &str, identities: &Identities, context: &Context, made: &mut Made) -> Result<()> {
    let known = check::gather(&files(&context.project, image), identities, context)?;
    let mut values: BTreeMap<&str, Secret> = BTreeMap::new();
    let missing = system.secrets.iter().filter(|(name, _)| !known.contains_key(*name));
    let mut certificates = Vec::new();
    for (name, secret) in missing {
        let value = match secret.kind {
            SecretKind::Password => generate::password(),
            SecretKind::Token => generate::token(),
            SecretKind::TlsKey => generate::tls_key(),
            SecretKind::SshKey => generate::ssh_key(&format!("{name}@{image}")),
            SecretKind::TlsCertificate => {
                certificates.push(name.as_str());
                continue;
            }
            SecretKind::Text | SecretKind::Binary => {
                made.left.push(name.clone());
                continue;
            }
        };
        values.insert(name, value.map_err(|error| Failure::error(error.to_string()))?);
    }
    for name in certificates {
        let key = needed::key_of(system, name);
        let key = key.and_then(|key| values.get(key).or_else(|| known.get(key).map(|found| &found.value)));
        let Some(key) = key else {
            made.left.push(name.to_owned());
            continue;
        };
        let authority = authority(identities, context, made)?;
        let hosts = needed::hosts_of(system, name);
        match generate::server_certificate(&hosts, key, &authority, SystemTime::now()) {
            Ok(chain) => drop(values.insert(name, chain.into())),
            Err(error) => {
                context.ui.warn(format!("{name}: {error}"));
                made.left.push(name.to_owned());
            }
        }
    }
    if values.is_empty() {
        return Ok(());
    }
    made.secrets.extend(values.keys().map(|name| (*name).to_owned()));
    store(image, values, identities, context, made)
}

fn store(
    image: &str,
    values: BTreeMap<&str, Secret>,
    identities: &Identities,
    context: &Context,
    made: &mut Made,
) -> Result<()> {
    let pairs = values.into_iter().map(|(name, value)| Entry::Pair(name.to_owned(), Value::str(value)));
    let own =
        files(&context.project, image).into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == image));
    let Some(path) = own else {
        let path = context.project.join(FOLDER).join(format!("{image}.yaml"));
        return create(&path, pairs.collect(), context, made).map(drop);
    };
    let said = |error: &crate::secrets::Error| failure(path.display(), error);
    let held = super::files::Held::new(&path)?;
    let mut opened = held.file(None)?.open(identities, Mac::Check).map_err(|error| said(&error))?;
    if let Some(document) = opened.documents.first_mut() {
        document.extend(pairs);
    }
    let sealed = opened.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    held.replace(&sealed)
}

/// The project's certificate authority; made if there is none.
fn authority(identities: &Identities, context: &Context, made: &mut Made) -> Result<generate::Pair> {
    let path: PathBuf = context.project.join(FOLDER).join(AUTHORITY);
    if disk::exists(&path) {
        let found = check::gather(std::slice::from_ref(&path), identities, context)?;
        let part = |name: &str| {
            let missing = || Failure::request(format!("{} has no {name}", path.display()));
            found.get(name).map(|found| found.value.clone()).ok_or_else(missing)
        };
        let (certificate, key) = (part("certificate")?, part("key")?);
        let certificate = certificate.expose_text().unwrap_or_default().to_owned();
        return Ok(generate::Pair { certificate, key });
    }
    let name = context.project.file_name().map_or("rave".into(), |name| name.to_string_lossy());
    let pair = generate::authority(&format!("{name} authority"), SystemTime::now());
    let pair = pair.map_err(|error| Failure::error(error.to_string()))?;
    let document = vec![
        Entry::Pair("certificate".to_owned(), Value::str(pair.certificate.as_str())),
        Entry::Pair("key".to_owned(), Value::str(pair.key.clone())),
    ];
    create(&path, document, context, made)?;
    Ok(pair)
}
