//! How long a look waits for a machine that is busy or has just started.

use std::time::{Duration, Instant};

use crate::check::StageReport;
use crate::tool::Tool;

/// How long systemd may take for its answer, and how much of it is read, in bytes.
const TIME: Duration = Duration::from_secs(10);
const OUTPUT: usize = 4096;

/// A look does not wait longer than this in all: it comes every few minutes.
const LONGEST: Duration = Duration::from_secs(90);

/// Waits a little before a stage in which something may settle is asked again: the first time always, for one answer that
/// comes late is no news of a busy machine; more often only of a young one, in a look that did not begin long ago. False:
/// there is no use in asking again.
pub fn pause(first: bool, started: Instant) -> bool {
    let waits = first || (started.elapsed() < LONGEST && is_young());
    if waits {
        std::thread::sleep(StageReport::PAUSE);
    }
    waits
}

/// Whether the start is not over, or has been for a short time. Of a machine that does not tell it is not known.
pub fn is_young() -> bool {
    let asked = Tool::new("systemctl").args(["show", "--value", "--property=FinishTimestampMonotonic"]);
    let finish =
        asked.bounded(TIME, OUTPUT).ok().and_then(|told| String::from_utf8_lossy(&told.stdout).trim().parse().ok());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
    finish.is_some_and(|finish| StageReport::is_young(Duration::from_micros(finish), now))
}
