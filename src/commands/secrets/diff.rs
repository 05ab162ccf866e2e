//! `rave secrets diff`: what changed, and never the values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::secrets::Diff;
use crate::digest::Digest;
use crate::secrets::tree::Kind;
use crate::secrets::{Error, File, Mac, Opened, Secret, path};
use crate::system;
use crate::ui::Tone;

use super::super::{Context, Failure, Result, Status, locking};
use super::{failure, files, identities};

/// What is told of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Face {
    kind: &'static str,
    size: usize,
    digest: String,
}

/// Runs the verb.
pub fn run(arguments: &Diff, context: &Context) -> Result<Status> {
    let owners = match &arguments.image {
        Some(image) => locking::evaluate(context, image, &[], None)?.system.secrets,
        None => BTreeMap::new(),
    };
    let Some(b) = arguments.b.as_ref().filter(|_| !arguments.textconv) else {
        return textconv(arguments, context, &owners);
    };
    let key = Secret::random(32).map_err(Failure::error)?;
    let faces = |file: &Path| Ok::<_, Failure>(faces(&open(file, arguments, context)?, Some(&key)));
    let (old, new) = (faces(&arguments.a)?, faces(b)?);
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed: Vec<&String> = paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).collect();
    if context.ui.is_json() {
        let one = |face: Option<&Face>| face.map(|f| json!({"type": f.kind, "size": f.size, "digest": f.digest}));
        let entry = |path: &&String| {
            let mut entry = Map::new();
            entry.insert("path".to_owned(), json!(path));
            if let Some(secret) = owner(&owners, path) {
                entry.insert("owner".to_owned(), json!(format!("{}:{}", secret.owner, secret.group)));
                entry.insert("mode".to_owned(), json!(format!("{:04o}", secret.mode)));
            }
            entry.insert("old".to_owned(), json!(one(old.get(*path))));
            entry.insert("new".to_owned(), json!(one(new.get(*path))));
            Value::Object(entry)
        };
        context.ui.print_json(&changed.iter().map(entry).collect::<Vec<_>>());
    } else if !changed.is_empty() {
        let rows: Vec<_> =
            changed.iter().flat_map(|path| rows(path, old.get(*path), new.get(*path), &owners)).collect();
        context.ui.table(&["", "PATH", "OWNER", "MODE", "TYPE", "SIZE", "DIGEST"], &rows);
    }
    Ok(if changed.is_empty() { Status::Done } else { Status::Unwell })
}

fn owner<'a>(owners: &'a BTreeMap<String, system::Secret>, path: &str) -> Option<&'a system::Secret> {
    owners.get(path.split('/').next().unwrap_or(path))
}

fn rows(
    path: &str,
    old: Option<&Face>,
    new: Option<&Face>,
    owners: &BTreeMap<String, system::Secret>,
) -> Vec<Vec<(String, Tone)>> {
    let row = |mark: &str, tone: Tone, face: &Face| {
        let secret = owner(owners, path);
        let person = secret.map(|secret| format!("{}:{}", secret.owner, secret.group)).unwrap_or_default();
        let mode = secret.map(|secret| format!("{:04o}", secret.mode)).unwrap_or_default();
        let cells = [mark, path, &person, &mode, face.kind, &face.size.to_string(), &face.digest];
        cells.iter().map(|cell| ((*cell).to_owned(), tone)).collect()
    };
    let old = old.map(|face| row("-", Tone::Bad, face));
    old.into_iter().chain(new.map(|face| row("+", Tone::Good, face))).collect()
}

/// One line for each value. git shows what differs between two versions of them; a file that is not encrypted or
/// cannot be opened is told so instead of failing, which would fail the whole of `git diff`.
fn textconv(arguments: &Diff, context: &Context, owners: &BTreeMap<String, system::Secret>) -> Result<Status> {
    let bytes = files::read(&arguments.a)?;
    let format = files::format(&arguments.a, arguments.input_type);
    let file = File::read(format, bytes.expose());
    // Each change has a new MAC, and each version so another line.
    let version = file.as_ref().map(|file| {
        let digest = Digest::of(file.metadata.mac.as_bytes()).to_string();
        format!("version {} of {}", digest.get(..12).unwrap_or(&digest), file.metadata.last_modified)
    });
    let version = version.unwrap_or_default();
    match file.and_then(|file| file.open(&identities(context), Mac::Check)) {
        Err(Error::Locked(_)) => context.ui.print(format!("(no identity opens this file: {version})")),
        Err(error) => context.ui.print(format!("({error})")),
        Ok(opened) => {
            for (path, face) in faces(&opened, None) {
                let owner = owner(owners, &path).map(|s| format!(" {}:{} {:04o}", s.owner, s.group, s.mode));
                let owner = owner.unwrap_or_default();
                context.ui.print(format!("{path}{owner} {} {} bytes {}", face.kind, face.size, face.digest));
            }
        }
    }
    Ok(Status::Done)
}

fn open(file: &Path, arguments: &Diff, context: &Context) -> Result<Opened> {
    let (_, encrypted) = files::load(file, arguments.input_type)?;
    encrypted.open(&identities(context), Mac::Check).map_err(|error| failure(file.display(), &error))
}

fn faces(opened: &Opened, key: Option<&Secret>) -> BTreeMap<String, Face> {
    let several = opened.documents.len() > 1;
    let mut faces = BTreeMap::new();
    for (number, document) in opened.documents.iter().enumerate() {
        for (path, leaf) in path::leaves(document) {
            let kind = match leaf.kind {
                Kind::Str => "str",
                Kind::Int => "int",
                Kind::Float => "float",
                Kind::Bool => "bool",
                Kind::Time => "time",
            };
            let face = Face { kind, size: leaf.text.expose().len(), digest: opened.fingerprint(leaf, key) };
            faces.insert(if several { format!("{number}:{path}") } else { path }, face);
        }
    }
    faces
}
