//! The ways in which a command ends.

use std::error::Error as StdError;
use std::process::ExitCode;

pub use crate::origin::chain;

use crate::origin::Diagnostic;
use crate::ui::Ui;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done, and healthy where health was asked for. Exit status 0.
    Done,
    /// Done, but what was looked at is not as it should be. Exit status 1.
    Unwell,
    /// A command in a machine ended with this status, which is rave's own then.
    Remote(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Done => Self::SUCCESS,
            Status::Unwell => Self::from(1),
            Status::Remote(status) => Self::from(status),
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The input is wrong. Exit status 1.
    Input(Vec<Diagnostic>),
    /// The input is wrong in a way that has no place in a file. Exit status 1.
    Request {
        /// What is wrong with it.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The user ended it. Exit status 130.
    Interrupted,
    /// Locked packages are on no mirror any more. Exit status 2; `rave up` locks anew instead.
    Gone(crate::debian::fetch::Error),
    /// A file of secrets is not as it should be. Exit status: that of sops, on which scripts depend.
    Secrets {
        /// The status.
        status: u8,
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// rave could not do its job. Exit status 2.
    Error {
        /// Why.
        error: Box<dyn StdError + Send + Sync>,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What commands return.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// rave could not do its job.
    pub fn error(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Error { error: error.into(), hint: None }
    }

    /// What was asked for makes no sense.
    pub fn request(message: impl Into<String>) -> Self {
        Self::Request { message: message.into(), hint: None }
    }

    /// Secrets were found in an image, at these places.
    pub fn leaks(lines: &[String]) -> Self {
        Self::request(format!("there are secrets in the image:\n  {}", lines.join("\n  "))).hint(
            "ask for a secret below `secrets:` in a module, and it arrives in /run/secrets; what is no secret is named \
             below `key-allow:`",
        )
    }

    /// Adds the remedy; diagnostics have their own.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Request { hint, .. } | Self::Secrets { hint, .. } | Self::Error { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Why, in words for a report that goes on.
    pub fn reason(&self) -> String {
        match self {
            Self::Input(diagnostics) => diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Self::Request { message, .. } | Self::Secrets { message, .. } => message.clone(),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Gone(error) => chain(error),
            Self::Error { error, .. } => chain(error.as_ref()),
        }
    }

    /// Tells the user; returns the exit status.
    pub fn show(&self, ui: &Ui) -> ExitCode {
        match self {
            Self::Input(diagnostics) => {
                ui.diagnostics(diagnostics);
                ExitCode::from(1)
            }
            Self::Request { message, hint } => {
                ui.error(message);
                hint.iter().for_each(|text| ui.hint(text));
                ExitCode::from(1)
            }
            Self::Secrets { status, message, hint } => {
                ui.error(message);
                hint.iter().for_each(|text| ui.hint(text));
                ExitCode::from(*status)
            }
            Self::Interrupted => ExitCode::from(u8::try_from(crate::interrupt::STATUS).unwrap_or(u8::MAX)),
            Self::Gone(error) => {
                ui.error(chain(error));
                error.hint().iter().for_each(|text| ui.hint(text));
                ExitCode::from(2)
            }
            Self::Error { error, hint } => {
                ui.error(chain(error.as_ref()));
                hint.iter().for_each(|text| ui.hint(text));
                ExitCode::from(2)
            }
        }
    }
}

/// Errors of rooms end commands without more ado.
macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::error(error)
            }
        })*
    };
}

from_errors!(crate::disk::Error, crate::tool::Error, serde_json::Error);

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        let hint = error.hint();
        let failure = Self::error(error);
        match hint {
            Some(text) => failure.hint(text),
            None => failure,
        }
    }
}

impl From<crate::debian::Error> for Failure {
    fn from(error: crate::debian::Error) -> Self {
        let hint = error.hint();
        let failure = if error.is_input() { Self::request(chain(&error)) } else { Self::error(error) };
        match hint {
            Some(text) => failure.hint(text),
            None => failure,
        }
    }
}

impl From<crate::debian::fetch::Error> for Failure {
    fn from(error: crate::debian::fetch::Error) -> Self {
        if matches!(error, crate::debian::fetch::Error::Gone(_)) {
            return Self::Gone(error);
        }
        let hint = error.hint();
        let failure = Self::error(error);
        match hint {
            Some(text) => failure.hint(text),
            None => failure,
        }
    }
}

impl From<crate::qemu::Error> for Failure {
    fn from(error: crate::qemu::Error) -> Self {
        use crate::qemu::Error;
        match error {
            Error::Interrupted => Self::Interrupted,
            Error::NoSuchMachine(_) => Self::request(error.to_string()).hint("`rave vm list` shows the machines"),
            Error::Running(ref name) => {
                let hint = format!("`rave vm stop {name}` stops it; --name gives the new one another name");
                Self::request(error.to_string()).hint(hint)
            }
            Error::NotRunning(_) | Error::Keeps(_) | Error::OtherImage { .. } => Self::request(chain(&error)),
            other => Self::error(other),
        }
    }
}

impl From<crate::images::Error> for Failure {
    fn from(error: crate::images::Error) -> Self {
        match error {
            crate::images::Error::Store(error) => error.into(),
            crate::images::Error::Leaks(lines) => Self::leaks(&lines),
            refused @ crate::images::Error::Refused(_) => Self::request(refused.to_string())
                .hint("`rave eval IMAGE --file PATH` shows a file as it is in the image"),
            other => Self::error(other),
        }
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Input(diagnostics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_not_said_twice() {
        let io = std::io::Error::other("disk on fire");
        let error = crate::disk::Error { verb: "read", path: "/x".into(), source: io };
        assert_eq!(chain(&error), "cannot read /x: disk on fire");
        let transparent = crate::images::Error::from(error);
        assert_eq!(chain(&transparent), "cannot read /x: disk on fire");
    }
}
