//! How long a check may take.

use std::time::Duration;

use crate::cli;

/// How long a machine may take for its answers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All checks together.
    pub all: Duration,
    /// One check; nothing: as long as its kind needs.
    pub each: Option<Duration>,
    /// Whether nothing is asked again of a machine that is young.
    pub at_once: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: Duration::from_secs(300), each: None, at_once: false }
    }
}

impl Limits {
    /// Those that were typed.
    pub fn of(times: &cli::Times) -> Self {
        Self {
            all: Duration::from_secs(times.deadline),
            each: times.check_deadline.map(Duration::from_secs),
            at_once: times.at_once,
        }
    }
}
