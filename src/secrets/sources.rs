//! Where identities come from on a workstation, in the order in which sops looks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::{self, Identities};
use super::prompt::Prompt;
use super::words;
use crate::tool::Tool;

/// Below the user's configuration directory.
pub const KEY_FILE: &str = "sops/age/keys.txt";

/// What the environment says of identities.
#[derive(Clone, Default)]
pub struct Sources {
    /// `SOPS_AGE_SSH_PRIVATE_KEY_FILE`.
    pub ssh_file: Option<PathBuf>,
    /// `SOPS_AGE_SSH_PRIVATE_KEY_CMD`.
    pub ssh_command: Option<String>,
    /// `SOPS_AGE_KEY`.
    pub key: Option<super::Secret>,
    /// `SOPS_AGE_KEY_FILE`.
    pub key_file: Option<PathBuf>,
    /// `SOPS_AGE_KEY_CMD`.
    pub key_command: Option<String>,
    /// Home directory.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or its default.
    pub config: Option<PathBuf>,
    /// The whole environment, for the commands.
    pub environment: Vec<(OsString, OsString)>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables hold keys.
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Loads all of them. What cannot be loaded becomes a note, of interest only if nothing opens a file.
    pub fn load(&self, prompt: Arc<dyn Prompt>) -> Identities {
        let mut all = Identities::new(prompt);
        if let Some(path) = &self.ssh_file {
            add_file(&mut all, path, "SOPS_AGE_SSH_PRIVATE_KEY_FILE: ");
        }
        self.add_output(&mut all, self.ssh_command.as_deref(), "SOPS_AGE_SSH_PRIVATE_KEY_CMD");
        for name in ["id_ed25519", "id_rsa"] {
            let path = self.home.as_ref().map(|home| home.join(".ssh").join(name));
            add_default(&mut all, path.as_deref());
        }
        if let Some(key) = &self.key {
            let added = all.add_words("SOPS_AGE_KEY", key.expose());
            note(&mut all, "", added);
        }
        if let Some(path) = &self.key_file {
            add_file(&mut all, path, "SOPS_AGE_KEY_FILE: ");
        }
        self.add_output(&mut all, self.key_command.as_deref(), "SOPS_AGE_KEY_CMD");
        add_default(&mut all, self.default_file().as_deref());
        all
    }

    /// The file that holds identities if no variable names another.
    pub fn default_file(&self) -> Option<PathBuf> {
        self.config.as_ref().map(|config| config.join(KEY_FILE))
    }

    fn add_output(&self, all: &mut Identities, command: Option<&str>, variable: &str) {
        let Some(command) = command else { return };
        let Some((program, arguments)) = words::split(command).and_then(|words| {
            let (program, arguments) = words.split_first()?;
            Some((program.clone(), arguments.to_vec()))
        }) else {
            all.notes.push(format!("{variable} is not a command"));
            return;
        };
        match Tool::of_user(program, &self.environment).args(arguments).output() {
            Ok(output) => {
                let output = super::Secret::new(output);
                let added = all.add(variable, output.expose());
                note(all, "", added);
            }
            Err(error) => all.notes.push(format!("{variable}: {error}")),
        }
    }
}

fn note(all: &mut Identities, prefix: &str, added: Result<(), identity::Error>) {
    if let Err(error) = added {
        let mut text = format!("{prefix}{error}");
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        all.notes.push(text);
    }
}

/// Adds the identities of a file. What cannot be loaded becomes a note that begins with `prefix`.
pub fn add_file(all: &mut Identities, path: &Path, prefix: &str) {
    let added = identity::read(path).and_then(|bytes| all.add(&path.display().to_string(), bytes.expose()));
    note(all, prefix, added);
}

/// The same of a file that need not be there.
pub fn add_default(all: &mut Identities, path: Option<&Path>) {
    match path {
        Some(path) if crate::disk::exists(path) => add_file(all, path, ""),
        Some(path) => all.notes.push(format!("{} does not exist", path.display())),
        None => {}
    }
}
