//! The values of a project's secret files that an image does not ask for: they must not be in it either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::disk;
use crate::secrets::prompt::Nobody;
use crate::secrets::tree::Kind;
use crate::secrets::{File, Format, Mac, Secret, path};

use super::super::{Context, Result};
use super::check;

/// No folder of secrets is deeper.
const DEEPEST: usize = 8;

/// What begins so is public.
const PUBLIC: [&[u8]; 6] =
    [b"-----BEGIN CERTIFICATE", b"-----BEGIN PUBLIC", b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"age1"];

/// What was gathered.
#[derive(Default)]
pub struct Others {
    /// The values, by file and path.
    pub values: BTreeMap<String, Secret>,
    /// The encrypted files that they are of.
    pub files: Vec<Digest>,
}

/// Gathers what an identity of this user opens without a question, but not what `own` has already.
pub fn others(context: &Context, own: &BTreeMap<String, Secret>) -> Result<Others> {
    let mut others = Others::default();
    let mut files = Vec::new();
    gather(&context.project.join(check::FOLDER), 0, &mut files)?;
    if files.is_empty() {
        return Ok(others);
    }
    let identities = context.environment.identities.load(Arc::new(Nobody));
    for file in files {
        let bytes = disk::read(&file)?;
        let opened = File::read(Format::of(&file), &bytes).and_then(|file| file.open(&identities, Mac::Check));
        // Files of other people, and what is no file of secrets.
        let Ok(opened) = opened else { continue };
        others.files.push(Digest::of(&bytes));
        for (at, leaf) in opened.documents.iter().flat_map(|document| path::leaves(document)) {
            let value = &leaf.text;
            // What stands there in plain text is no secret.
            let is_plain = memchr::memmem::find(&bytes, value.expose()).is_some();
            if leaf.kind == Kind::Str && !is_plain && !is_public(value.expose()) && own.values().all(|o| o != value) {
                others.values.insert(format!("{}: {at}", check::shown(&file, context)), value.clone());
            }
        }
    }
    Ok(others)
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > DEEPEST || !disk::exists(folder) {
        return Ok(());
    }
    for path in disk::list(folder)? {
        let kind = disk::metadata(&path)?.file_type();
        if kind.is_dir() {
            gather(&path, depth + 1, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a value is public, or a name as images are full of: of users, hosts, and files. Passwords that look so are
/// found if the image asks for them.
fn is_public(value: &[u8]) -> bool {
    let is_name = value.trim_ascii().iter().all(|byte| byte.is_ascii_lowercase() || b".-_/@".contains(byte));
    is_name || PUBLIC.iter().any(|begin| value.trim_ascii_start().starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_public_keys_are_not_searched_for() {
        for public in ["postgres", "db.example.org", "/var/lib/app", "me@example.org", "ssh-ed25519 AAAA", "age1qqq1"] {
            assert!(is_public(public.as_bytes()), "{public}");
        }
        for secret in ["correct horse", "hunter2", "Password", "https://u:p@x.org", "-----BEGIN PRIVATE KEY-----"] {
            assert!(!is_public(secret.as_bytes()), "{secret}");
        }
    }
}
