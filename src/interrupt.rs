//! Ctrl-C and SIGTERM: what has to be undone is undone, then the process ends with 130.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

type Undo = Box<dyn FnOnce() + Send>;

static PENDING: Mutex<(u64, BTreeMap<u64, Undo>)> = Mutex::new((0, BTreeMap::new()));

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
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        let pending = std::mem::take(&mut PENDING.lock().unwrap_or_else(PoisonError::into_inner).1);
        // The newest first: what was built on top goes before what carries it.
        pending.into_values().rev().for_each(|undo| undo());
        std::process::exit(STATUS);
    });
    Ok(())
}
