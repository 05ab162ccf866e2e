//! When a delivery that failed is tried again, and when its handler is left alone for a while.

use std::time::{Duration, Instant};

/// Failures in a row after which a handler is left alone.
const FAILURES: u32 = 5;
/// For how long.
const PAUSE: Duration = Duration::from_secs(30);

/// Times between attempts: each twice the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt.
    pub base: Duration,
    /// The longest.
    pub max: Duration,
}

impl Backoff {
    /// The time after attempt number `attempts`, counted from 1.
    pub fn after(self, attempts: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.checked_mul(factor).map_or(self.max, |wait| wait.min(self.max))
    }
}

/// Leaves a handler alone that fails and fails: after the pause one delivery tries whether it works again.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// How many of `room` deliveries may start now.
    pub fn admits(&self, now: Instant, room: usize, running: usize) -> usize {
        match self.until {
            None => room,
            Some(until) if now >= until && running == 0 => room.min(1),
            Some(_) => 0,
        }
    }

    /// How much longer the handler is left alone.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether the handler is left alone, or on trial.
    pub fn is_open(&self) -> bool {
        self.until.is_some()
    }

    /// A delivery ended.
    pub fn note(&mut self, succeeded: bool, now: Instant) {
        if succeeded {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.until = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_the_longest() {
        let backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(60) };
        let seconds: Vec<u64> = (1..=8).map(|attempts| backoff.after(attempts).as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.after(0).as_secs(), 2);
        assert_eq!(backoff.after(u32::MAX).as_secs(), 60);
    }

    proptest::proptest! {
        #[test]
        fn a_later_attempt_never_comes_sooner(base in 0_u64..=u64::MAX / 2, max in 0_u64..=u64::MAX / 2, attempts: u32) {
            let backoff = Backoff { base: Duration::from_secs(base), max: Duration::from_secs(max) };
            let (one, next) = (backoff.after(attempts), backoff.after(attempts.saturating_add(1)));
            proptest::prop_assert!(one <= next && next <= backoff.max);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.note(false, start);
        }
        assert_eq!(breaker.admits(start, 3, 0), 3);
        breaker.note(true, start);
        for _ in 0..4 {
            breaker.note(false, start);
        }
        assert_eq!((breaker.admits(start, 3, 0), breaker.left(start)), (3, None));
        breaker.note(false, start);
        assert_eq!((breaker.admits(start, 3, 0), breaker.left(start)), (0, Some(PAUSE)));
        let later = start + PAUSE;
        assert_eq!((breaker.admits(later, 3, 0), breaker.admits(later, 2, 1), breaker.left(later)), (1, 0, None));
        assert!(breaker.is_open());
        breaker.note(false, later);
        assert_eq!((breaker.admits(later, 3, 0), breaker.left(later)), (0, Some(PAUSE)));
        breaker.note(true, later);
        assert_eq!((breaker.admits(later, 3, 0), breaker.is_open()), (3, false));
    }
}
