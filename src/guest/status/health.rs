//! What the timer that looks after the machine found last.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::config::Looked;
use super::text;

/// How many intervals may pass until a look is too old to count.
const INTERVALS: u64 = 3;

/// The last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it is recent and found nothing.
    pub good: bool,
    /// Seconds since then; none if there was no look yet.
    pub age_seconds: Option<u64>,
    /// How much was wrong then: failed units, and certificates that end soon or cannot be read.
    pub troubles: Option<u64>,
}

impl Health {
    /// Reads what the last look left behind.
    pub fn read(looked: &Looked) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self::parse(&text(&looked.path, 1 << 16).unwrap_or_default(), now, looked.interval)
    }

    fn parse(text: &str, now: u64, interval: u64) -> Self {
        let value = |name: &str| -> Option<u64> {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
        };
        let troubles = value("rave_health_troubles");
        let age_seconds = value("rave_health_time_seconds").map(|time| now.saturating_sub(time));
        // Before the first look nothing is known to be wrong.
        let unknown = troubles.is_none() && age_seconds.is_none();
        let recent = age_seconds.is_some_and(|age| age <= interval.saturating_mul(INTERVALS));
        Self { good: unknown || (recent && troubles == Some(0)), age_seconds, troubles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_good_while_it_is_recent_and_found_nothing() {
        let text = |troubles: &str, time: &str| {
            format!("# HELP x\nrave_health_troubles {troubles}\nrave_health_time_seconds {time}\n")
        };
        let good = |text: &str| Health::parse(text, 10_000, 300).good;
        assert!(good(&text("0", "9800")) && good(""));
        assert!(good(&text("0", "10050")), "a clock that was set back");
        assert!(
            !good(&text("1", "9800"))
                && !good(&text("0", "9000"))
                && !good(&text("x", "9800"))
                && !good(&text("0", ""))
        );
        let found = Health::parse(&text("2", "9900"), 10_000, 300);
        assert_eq!((found.age_seconds, found.troubles), (Some(100), Some(2)));
    }
}
