//! Ctrl-C and SIGTERM: what has to be undone is undone, then the process ends with 130.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

type Undo = Box<dyn FnOnce() + Send>;

static PENDING: Mutex<(u64, BTreeMap<u64, Undo>)> = Mutex::new((0, BTreeMap::new()));

static DEFERRED: AtomicUsize = AtomicUsize::new(0);

/// Whether a signal came that was left to a command.
static HEARD: Heard = Heard(Mutex::new(false), Condvar::new());

struct Heard(Mutex<bool>, Condvar);

impl Heard {
    fn tell(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    fn wait(&self, time: Duration) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *self.1.wait_timeout_while(heard, time, |heard| !*heard).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Exit status of a command that was interrupted.
pub const STATUS: i32 = 130;

/// Keeps something registered for as long as it lives.
#[must_use]
pub struct Registered(u64);

impl Drop for Registered {
    fn drop(&mut self) {
        PENDING.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.0);
    }
}

/// Has `undo` run if the process is interrupted while the returned value lives.
pub fn on_interrupt(undo: impl FnOnce() + Send + 'static) -> Registered {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    pending.0 += 1;
    let id = pending.0;
    pending.1.insert(id, Box::new(undo));
    Registered(id)
}

/// While the returned value lives, a signal is left to the machine that is being run: its event loop ends what it
/// is doing, and the command stops the machine properly. A second signal ends the process all the same.
pub fn leave_to_machine() -> Deferred {
    DEFERRED.fetch_add(1, Ordering::SeqCst);
    Deferred(())
}

/// Whether a signal came that [`leave_to_machine`] left to the command.
pub fn heard() -> bool {
    HEARD.wait(Duration::ZERO)
}

/// Waits for `time`, or until such a signal comes: then at once, and the answer is `true`.
pub fn pause(time: Duration) -> bool {
    HEARD.wait(time)
}

/// See [`leave_to_machine`].
#[must_use]
pub struct Deferred(());

impl Drop for Deferred {
    fn drop(&mut self) {
        DEFERRED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts to listen for SIGINT, SIGTERM and SIGHUP. Call once, early.
pub fn listen() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?
    };
    std::thread::spawn(move || {
        let [interrupt, terminate, hangup] = &mut signals[..] else { return };
        let mut left = false;
        loop {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            if left || DEFERRED.load(Ordering::SeqCst) == 0 {
                break;
            }
            left = true;
            HEARD.tell();
        }
        let pending = std::mem::take(&mut PENDING.lock().unwrap_or_else(PoisonError::into_inner).1);
        // The newest first: what was built on top goes before what carries it.
        pending.into_values().rev().for_each(|undo| undo());
        std::process::exit(STATUS);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_wait() {
        let heard = Heard(Mutex::new(false), Condvar::new());
        assert!(!heard.wait(Duration::from_millis(1)));
        let begin = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| heard.tell());
            assert!(heard.wait(Duration::from_secs(60)));
        });
        assert!(heard.wait(Duration::from_secs(60)) && begin.elapsed() < Duration::from_secs(30));
    }
}
