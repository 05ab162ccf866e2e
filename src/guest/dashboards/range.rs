//! How far back a picture looks, and how finely.

use super::board::Kind;
use super::query::Window;

/// A stretch of time that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Its name in addresses and on buttons.
    pub name: &'static str,
    seconds: u64,
    step: u64,
}

/// All of them, the shortest first. No step is longer than five minutes, the time over which boards take rates: a longer
/// one would skip what happened between two points.
pub const RANGES: [Range; 4] = [
    Range { name: "1h", seconds: 3600, step: 15 },
    Range { name: "6h", seconds: 6 * 3600, step: 60 },
    Range { name: "24h", seconds: 24 * 3600, step: 240 },
    Range { name: "7d", seconds: 7 * 24 * 3600, step: 300 },
];

impl Range {
    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        RANGES.into_iter().find(|range| range.name == name)
    }

    /// The shortest that holds so many seconds, or the longest.
    pub fn of(seconds: u64) -> Self {
        let [.., longest] = RANGES;
        RANGES.into_iter().find(|range| range.seconds >= seconds).unwrap_or(longest)
    }

    /// What is asked for a panel, at this moment.
    pub fn window(&self, kind: Kind) -> Window {
        match kind {
            Kind::Timeseries => Window::until_now(self.seconds, self.step),
            Kind::Stat => Window::instant(),
        }
    }

    /// How many seconds an answer is good for: until the next point, more or less.
    pub fn fresh(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Timeseries => (self.step / 2).clamp(5, 30),
            Kind::Stat => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_enough_points_and_names() {
        for range in RANGES {
            let window = range.window(Kind::Timeseries);
            assert!((100..=2017).contains(&window.count) && range.step <= 300, "{range:?}");
            assert_eq!((range.seconds % range.step, window.end() - window.start), (0, range.seconds));
            assert_eq!(Range::named(range.name), Some(range));
            assert_eq!(range.window(Kind::Stat).count, 1);
        }
        assert_eq!(Range::named("5h"), None);
        assert_eq!([1, 3600, 3601, 86_400, u64::MAX].map(|s| Range::of(s).name), ["1h", "1h", "6h", "24h", "7d"]);
    }
}
