//! What acts for a roll-out, and why something was not done.

use std::path::Path;
use std::time::Duration;

use super::Machine;
use super::answer::{Bad, Instance};
use crate::disk;

/// What acts.
pub trait Hands: Sync {
    /// Runs a program; returns what it printed.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Failed`] without a remedy, [`Error::Interrupted`].
    fn call(&self, argv: &[String]) -> Result<Vec<u8>>;
    /// Holds a machine against its image in six stages; what is wrong with it, if something is.
    ///
    /// # Errors
    /// What keeps rave from looking.
    fn look(&self, machine: &Machine, instance: &Instance) -> Result<Option<String>>;
    /// Waits, and returns at once if the user ends it: true.
    fn pause(&self, time: Duration) -> bool;
    /// Tells the user.
    fn say(&self, text: &str);
    /// A private directory for files that go away.
    fn scratch(&self) -> &Path;
    /// A directory for notes on uploads that are not finished.
    fn notes(&self) -> &Path;
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider's tool is not there.
    #[error("{0} is not installed")]
    Missing(String),
    /// A call failed.
    #[error("{call}\n{said}")]
    Failed {
        /// What was run.
        call: String,
        /// What the tool said.
        said: String,
        /// What to do about it.
        remedy: Option<&'static str>,
    },
    /// A call has answered something else.
    #[error("{call}")]
    Answer {
        /// What was run.
        call: String,
        /// What is wrong with the answer.
        source: Bad,
    },
    /// The provider could not do it.
    #[error("{title}: the provider says {state}")]
    State {
        /// What was to be done.
        title: String,
        /// What became of it.
        state: String,
    },
    /// It took too long.
    #[error("{title}: not done within {} minutes, the provider says {state}", time.as_secs() / 60)]
    Slow {
        /// What was to be done.
        title: String,
        /// What state it is in.
        state: String,
        /// How long was waited.
        time: Duration,
    },
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// A file could not be read or written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// Something else.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// What this module returns.
pub type Result<T> = std::result::Result<T, Error>;
