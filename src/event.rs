//! What work says about itself while it runs. Rooms emit, `ui` renders.

use std::time::Duration;

/// Names one piece of work for as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Work began.
    Started {
        /// Its identity in later events.
        task: Task,
        /// The work this is a part of, such as one file of a download.
        parent: Option<Task>,
        /// A verb, to be aligned in a column: `fetch`, `unpack`, `boot`.
        verb: &'static str,
        /// What it works on.
        subject: String,
        /// How much there is to do, where known.
        total: Option<Amount>,
    },
    /// Work went on; `done` is absolute.
    Progress {
        /// Which work.
        task: Task,
        /// How much is done, in the unit of the total.
        done: u64,
    },
    /// Work ended well.
    Finished {
        /// Which work.
        task: Task,
        /// How long it took.
        took: Duration,
        /// What to say of the outcome, such as `cached` or `131 packages, 58 MB`.
        outcome: String,
    },
    /// Work ended without success; the error itself is returned, not told here.
    Failed {
        /// Which work.
        task: Task,
    },
    /// Something worth a line of its own.
    Note(String),
    /// Something the user should act on although the work goes on.
    Warning(String),
}

/// An amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Things of one kind.
    Items(u64),
}

/// A number of bytes for people: `58.3 MB`.
pub fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..1_000 => return format!("{count} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
}

/// Where events go. Called from several threads at once.
pub trait Report: Send + Sync {
    /// Takes note of one event; must not block for long.
    fn event(&self, event: Event);
}

/// Drops every event, for tests and for work nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {
    fn event(&self, _: Event) {}
}

/// A piece of work that reports its end on every path: dropped without [`Work::finish`], it has failed.
pub struct Work<'a> {
    report: &'a dyn Report,
    task: Task,
    started: std::time::Instant,
    ended: bool,
}

impl<'a> Work<'a> {
    /// Begins a piece of work.
    pub fn start(
        report: &'a dyn Report,
        verb: &'static str,
        subject: impl Into<String>,
        total: Option<Amount>,
    ) -> Self {
        Self::begin(report, None, verb, subject.into(), total)
    }

    /// Begins a part of this work.
    pub fn part(&self, verb: &'static str, subject: impl Into<String>, total: Option<Amount>) -> Work<'a> {
        Self::begin(self.report, Some(self.task), verb, subject.into(), total)
    }

    fn begin(
        report: &'a dyn Report,
        parent: Option<Task>,
        verb: &'static str,
        subject: String,
        total: Option<Amount>,
    ) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let task = Task(NEXT.fetch_add(1, Ordering::Relaxed));
        report.event(Event::Started { task, parent, verb, subject, total });
        Self { report, task, started: std::time::Instant::now(), ended: false }
    }

    /// Says how much is done so far, in the unit of the total.
    pub fn progress(&self, done: u64) {
        self.report.event(Event::Progress { task: self.task, done });
    }

    /// Ends the work well.
    pub fn finish(mut self, outcome: impl Into<String>) {
        self.ended = true;
        let took = self.started.elapsed();
        self.report.event(Event::Finished { task: self.task, took, outcome: outcome.into() });
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.report.event(Event::Failed { task: self.task });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(
            [0, 999, 1_000, 58_349_000, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "58.3 MB", "18446744073.7 GB"]
        );
    }

    #[test]
    fn work_that_is_not_finished_has_failed() {
        struct Names(std::sync::Mutex<Vec<&'static str>>);
        impl Report for Names {
            fn event(&self, event: Event) {
                self.0.lock().unwrap().push(match event {
                    Event::Started { .. } => "started",
                    Event::Finished { .. } => "finished",
                    Event::Failed { .. } => "failed",
                    _ => "other",
                });
            }
        }
        let names = Names(std::sync::Mutex::default());
        Work::start(&names, "a", "b", None).finish("");
        drop(Work::start(&names, "a", "b", None));
        assert_eq!(*names.0.lock().unwrap(), ["started", "finished", "started", "failed"]);
    }
}
