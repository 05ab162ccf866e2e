//! How long a look waits for a machine that has just started.

use std::time::{Duration, Instant};

use crate::check::StageReport;
use crate::tool::Tool;

/// How long systemd may take for its answer, and how much of it is read, in bytes.
const TIME: Duration = Duration::from_secs(10);
const OUTPUT: usize = 4096;

/// Waits a little if the machine is young and the look did not begin long ago; false: there is no use in asking again.
pub fn pause(started: Instant) -> bool {
    let young = started.elapsed() < StageReport::YOUNG && is_young();
    if young {
        std::thread::sleep(StageReport::PAUSE);
    }
    young
}

/// Whether the start is not over, or has been for a short time. Of a machine that does not tell it is not known.
fn is_young() -> bool {
    let asked = Tool::new("systemctl").args(["show", "--value", "--property=FinishTimestampMonotonic"]);
    let finish =
        asked.bounded(TIME, OUTPUT).ok().and_then(|told| String::from_utf8_lossy(&told.stdout).trim().parse().ok());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    finish.is_some_and(|finish| young(finish, u64::try_from(now.tv_sec).unwrap_or(0)))
}

/// `finish` is in microseconds, and 0 before; `now` is in seconds.
fn young(finish: u64, now: u64) -> bool {
    finish == 0 || Duration::from_secs(now).saturating_sub(Duration::from_micros(finish)) < StageReport::YOUNG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_young_for_a_while_after_its_start() {
        assert!(young(0, 1000) && young(10_000_000, 99) && young(10_000_000, 1));
        assert!(!young(10_000_000, 100));
    }
}
