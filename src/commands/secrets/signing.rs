//! The key by which a project signs what it vouches for: an Ed25519 pair of OpenSSH, the private half encrypted for
//! whom `.sops.yaml` names, the public half beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::disk;
use crate::evidence::SigningKey;
use crate::leaks::Patterns;
use crate::secrets::generate;
use crate::secrets::tree::{Entry, Value};

use super::super::{Context, Failure, Result};
use super::check::{self, FOLDER};
use super::{identities, init, others};

/// File of the private half, below the project's secrets; no image gets it. Its only value has this name, too.
const PRIVATE: &str = "signing.yaml";
const NAME: &str = "signing-key";
/// File of the public half.
const PUBLIC: &str = "signing.pub";

/// Where the public half is.
pub fn public(context: &Context) -> PathBuf {
    context.project.join(FOLDER).join(PUBLIC)
}

/// The project's key; a project without one gets one.
pub fn key(context: &Context) -> Result<SigningKey> {
    let (private, public) = (context.project.join(FOLDER).join(PRIVATE), public(context));
    if !disk::exists(&private) {
        if disk::exists(&public) {
            let said = format!("there is no {}, although {} is there", private.display(), public.display());
            return Err(
                Failure::request(said).hint("get the file from whoever made the key; a new one is made without both")
            );
        }
        make(&private, context)?;
    }
    let found = check::gather(std::slice::from_ref(&private), &identities(context), context)?;
    let value = found.get(NAME).ok_or_else(|| Failure::request(format!("{} has no {NAME}", private.display())))?;
    let unfit = |error| Failure::request(format!("{}: {error}", private.display()));
    let key = SigningKey::parse(value.value.expose()).map_err(unfit)?;
    let line = format!("{}\n", key.public().map_err(unfit)?);
    match disk::write_new(&public, line.as_bytes(), 0o644) {
        Err(error) if error.is_taken() && same(&disk::read_to_string(&public)?, &line) => Ok(key),
        Err(error) if error.is_taken() => {
            let said = format!("{} is not the public half of {}", public.display(), private.display());
            Err(Failure::request(said).hint("remove the .pub file if the key was changed on purpose"))
        }
        written => Ok(written.map(|()| key)?),
    }
}

/// Whether two lines have the same key, whatever their comments.
fn same(one: &str, other: &str) -> bool {
    let words = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    words(one) == words(other)
}

fn make(private: &std::path::Path, context: &Context) -> Result<()> {
    let name = context.project.file_name().map_or("rave".into(), |name| name.to_string_lossy());
    let value = generate::ssh_key(&format!("{name} evidence")).map_err(|error| Failure::error(error.to_string()))?;
    let made = init::own_file(private, vec![Entry::Pair(NAME.to_owned(), Value::str(value))], context)?;
    context.ui.say(format!("the project has no key to sign with yet; made {}", made.join(", ")));
    Ok(())
}

/// All values of the project's secrets that an identity of this user opens without a question, to be looked for.
pub fn values(context: &Context) -> Result<Patterns> {
    let others = others::others(context, &BTreeMap::new())?;
    Ok(Patterns::secrets(others.values.iter().map(|(name, value)| (name.as_str(), value.expose()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Environment;
    use crate::evidence::VerifyingKey;
    use crate::secrets::sources::Sources;

    fn context(root: &std::path::Path, home: &str) -> Context {
        let home = root.join(home);
        let identities = Sources { home: Some(home.clone()), config: Some(home.join(".config")), ..Sources::default() };
        let environment = Environment { home: Some(home), identities, ..Environment::default() };
        Context { environment, ..Context::below(root) }
    }

    #[test]
    fn a_project_gets_one_key_which_only_its_people_can_use() {
        let root = tempfile::tempdir().unwrap();
        let here = context(root.path(), "home");
        disk::create_dir_all(&here.project).unwrap();
        let first = key(&here).unwrap().public().unwrap();
        assert_eq!(key(&here).unwrap().public().unwrap(), first);
        let line = disk::read_to_string(public(&here)).unwrap();
        assert!(line == format!("{first}\n") && first.ends_with(" project evidence"), "{line}");
        VerifyingKey::parse(&line).unwrap();
        let private = here.project.join("secrets/signing.yaml");
        let text = disk::read_to_string(&private).unwrap();
        assert!(text.contains("ENC[AES256_GCM") && crate::leaks::private_key(text.as_bytes()).is_none(), "{text}");
        assert!(!values(&here).unwrap().is_empty());
        // Somebody without the identity; a public half of another pair; and one without its private half.
        assert!(key(&context(root.path(), "elsewhere")).is_err());
        disk::write_atomic(public(&here), line.replacen("AAAAI", "AAAAJ", 1).as_bytes(), 0o644).unwrap();
        assert!(matches!(key(&here), Err(Failure::Request { message, .. }) if message.contains("not the public half")));
        disk::remove_file(&private).unwrap();
        assert!(matches!(key(&here), Err(Failure::Request { message, .. }) if message.contains("although")));
    }
}
