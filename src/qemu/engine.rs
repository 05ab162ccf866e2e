//! The event loop behind a blocking face.

use std::cell::Cell;
use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::qemu::error::{Error, Result};

/// An event loop that minds SIGINT, SIGTERM and SIGHUP. From its making on these no longer end the process,
/// not even after it is gone: they end the operation that runs, or else the next one.
#[derive(Debug)]
pub struct Engine {
    runtime: Runtime,
    received: watch::Receiver<u64>,
    handled: Cell<u64>,
}

impl Engine {
    /// Starts an event loop with one thread of its own.
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
        let (sender, received) = watch::channel(0_u64);
        {
            let _entered = runtime.enter();
            for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
                let mut signals = signal(kind).map_err(Error::Runtime)?;
                let sender = sender.clone();
                runtime.spawn(async move {
                    while signals.recv().await.is_some() {
                        sender.send_modify(|count| *count = count.wrapping_add(1));
                    }
                });
            }
        }
        Ok(Self { runtime, received, handled: Cell::new(0) })
    }

    /// Runs an operation to its end, or until a signal comes; then it is dropped, and the error is
    /// [`Error::Interrupted`]. Each signal ends one operation.
    pub fn run<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let mut received = self.received.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                interrupted = received.wait_for(|&count| count != self.handled.get()) => {
                    if let Ok(count) = interrupted {
                        self.handled.set(*count);
                    }
                    Err(Error::Interrupted)
                }
                result = operation => result,
            }
        })
    }

    /// Runs an operation that no signal may cut short.
    pub fn finish<T>(&self, operation: impl Future<Output = T>) -> T {
        self.runtime.block_on(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;
    use rustix::process::{Signal, getpid, kill_process};

    /// Signals reach the whole process and every event loop in it, so the test has a process of its own.
    const ALONE: &str = "RAVE_TEST_ALONE";

    #[test]
    fn a_signal_ends_exactly_one_operation() {
        if std::env::var_os(ALONE).is_none() {
            let name = "qemu::engine::tests::a_signal_ends_exactly_one_operation";
            let output = Tool::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(ALONE, "1").output();
            let text = String::from_utf8(output.unwrap()).unwrap();
            assert!(text.contains("1 passed"), "{text}");
            return;
        }
        let engine = Engine::new().unwrap();
        assert_eq!(engine.run(async { Ok(1) }).unwrap(), 1);
        kill_process(getpid(), Signal::TERM).unwrap();
        let endless = engine.run(std::future::pending::<Result<()>>());
        assert!(matches!(endless, Err(Error::Interrupted)));
        assert_eq!(engine.run(async { Ok(2) }).unwrap(), 2);
    }
}
