//! `rave secrets`: SOPS files with age, from the first identity to the editor.

mod authorities;
mod check;
mod diff;
mod edit;
mod encrypt;
mod exec;
mod files;
pub mod init;
mod keygen;
mod memory;
mod others;
mod prove;
mod recipients;
mod seal;
mod show;
pub mod signing;
mod terminal;
mod values;

use std::sync::Arc;

use crate::cli::secrets::Secrets;
use crate::secrets::Identities;
use crate::secrets::prompt::Prompt;

use super::{Context, Failure, Result, Status};

pub use authorities::authorities;
pub use prove::prove;
pub use seal::complete;

/// Runs one of the verbs.
pub fn run(verb: &Secrets, context: &Context) -> Result<Status> {
    crate::secrets::harden().map_err(Failure::error)?;
    match verb {
        Secrets::Init(arguments) => init::run(arguments, context),
        Secrets::Edit(arguments) => edit::run(arguments, context),
        Secrets::View(arguments) => show::view(arguments, context),
        Secrets::Decrypt(arguments) => show::decrypt(arguments, context),
        Secrets::Encrypt(arguments) => encrypt::run(arguments, context),
        Secrets::Get(arguments) => show::get(arguments, context),
        Secrets::Set(arguments) => values::set(arguments, context),
        Secrets::Unset(arguments) => values::unset(arguments, context),
        Secrets::Rotate(arguments) => recipients::rotate(arguments, context),
        Secrets::Updatekeys(arguments) => recipients::updatekeys(arguments, context),
        Secrets::Recipients(verb) => recipients::run(verb, context),
        Secrets::ExecEnv(arguments) => exec::env(arguments, context),
        Secrets::ExecFile(arguments) => exec::file(arguments, context),
        Secrets::Diff(arguments) => diff::run(arguments, context),
        Secrets::Seal(arguments) => seal::run(arguments, context),
        Secrets::Check(arguments) => check::run(arguments, context),
        Secrets::Keygen(arguments) => keygen::run(arguments, context),
    }
}

/// For as long as it lives, no core dump and no debugger sees this process. Not for the time in which sandboxes are
/// made: they have to write to this process's own files in /proc, which are root's meanwhile.
struct Hidden;

impl Hidden {
    fn new() -> Result<Self> {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(std::io::Error::from).map_err(Failure::error)?;
        Ok(Self)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // It was so before; a process that stays hidden fails loudly later.
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
}

/// Whom identities and plugins may ask.
fn prompt(context: &Context) -> Arc<dyn Prompt> {
    Arc::new(terminal::Terminal(Arc::clone(&context.ui)))
}

/// All identities of this user.
fn identities(context: &Context) -> Identities {
    context.environment.identities.load(prompt(context))
}

/// A failure with the exit status that sops has for it.
fn failure(what: impl std::fmt::Display, error: &crate::secrets::Error) -> Failure {
    use crate::secrets::Error;
    let hint = match error {
        Error::Locked(_) => Some("`rave secrets recipients list` shows who can open it"),
        Error::Mac(_) => Some("compare it with its history; --ignore-mac opens it all the same"),
        Error::NotEncrypted => Some("`rave secrets encrypt --in-place` encrypts it"),
        Error::AlreadyEncrypted => Some("`rave secrets edit` changes an encrypted file"),
        Error::NoRecipients => Some("name them with --age, or in .sops.yaml: `rave secrets init`"),
        _ => None,
    };
    Failure::Secrets { status: error.status(), message: format!("{what}: {error}"), hint: hint.map(str::to_owned) }
}

/// A failure of this command itself, with a status of sops.
fn refused(status: u8, message: impl Into<String>) -> Failure {
    Failure::Secrets { status, message: message.into(), hint: None }
}
