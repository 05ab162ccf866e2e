//! What the timer that looks after the machine found last.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::config::Looked;
use crate::check::Verdict;
use crate::guest::health::{self, Outcome};

/// How many intervals may pass until a look is too old to count.
const INTERVALS: u64 = 3;
/// How long a first look may be awaited.
const FIRST: Duration = Duration::from_secs(15 * 60);

/// The last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it is recent and found nothing, or the first is still to come.
    pub good: bool,
    /// Seconds since then; none if there was no look yet.
    pub age_seconds: Option<u64>,
    /// How many checks did not pass then.
    pub troubles: Option<u64>,
    /// Ids of what was wrong, the worst first; not all of them, if there are many.
    pub wrong: Vec<String>,
    /// All that was found.
    #[serde(skip)]
    pub outcome: Option<Outcome>,
}

impl Health {
    /// Reads what the last look left behind; `waited` is how long somebody should have been looking.
    pub fn read(looked: &Looked, waited: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match health::last(&looked.path) {
            Ok(outcome) => Self::of(outcome, now, looked.interval),
            // Before the first look nothing is known to be wrong. One that never comes is.
            Err(health::Error::Disk(error)) if error.is_not_found() => Self { good: waited < FIRST, ..Self::default() },
            Err(_) => Self::default(),
        }
    }

    fn of(outcome: Outcome, now: u64, interval: u64) -> Self {
        let age = now.saturating_sub(outcome.time);
        let wrong = outcome.troubles.iter().filter(|trouble| trouble.verdict > Verdict::Warning);
        Self {
            good: outcome.healthy && age <= interval.saturating_mul(INTERVALS),
            age_seconds: Some(age),
            troubles: Some(outcome.wrong),
            wrong: wrong.map(|trouble| trouble.id.clone()).collect(),
            outcome: Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use crate::guest::health::{Kernel, Trouble};

    #[test]
    fn a_look_is_good_while_it_is_recent_and_found_nothing() {
        let trouble = |id: &str, verdict| Trouble {
            id: id.to_owned(),
            verdict,
            expected: String::new(),
            observed: String::new(),
        };
        let outcome = |healthy, time| Outcome {
            healthy,
            time,
            ms: 1,
            stages: Vec::new(),
            troubles: vec![trouble("a", Verdict::Unhealthy), trouble("b", Verdict::Warning)],
            wrong: 1,
            failed: Vec::new(),
            certificates: Vec::new(),
            kernel: Kernel::default(),
        };
        let of = |healthy, time| Health::of(outcome(healthy, time), 10_000, 300);
        assert!(of(true, 9800).good);
        assert!(of(true, 10_050).good, "a clock that was set back");
        assert!(!of(false, 9800).good && !of(true, 9000).good);
        let found = of(false, 9900);
        assert_eq!((found.age_seconds, found.troubles, found.wrong), (Some(100), Some(1), vec!["a".to_owned()]));
    }

    #[test]
    fn what_cannot_be_read_is_not_good_and_what_is_not_there_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let looked = Looked { path: folder.path().join("report.json"), interval: 300 };
        assert_eq!(Health::read(&looked, FIRST - Duration::from_secs(1)), Health { good: true, ..Health::default() });
        assert_eq!(Health::read(&looked, FIRST), Health::default(), "nobody looks");
        for text in ["", "{}", "[1]", "{\"healthy\":true}"] {
            disk::write(&looked.path, text.as_bytes(), 0o644).unwrap();
            assert_eq!(Health::read(&looked, Duration::ZERO), Health::default(), "{text}");
        }
    }
}
