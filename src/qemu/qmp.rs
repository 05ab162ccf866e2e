//! QEMU's machine protocol: commands to QEMU, and what its events say of the guest.

use std::path::Path;
use std::time::Duration;

use qapi::{Command, Enum as _, qmp};
use serde_json::Value;
use tokio::sync::watch;

use crate::qemu::error::{Peer, Result};
use crate::qemu::link::{self, Link};

/// Longest message accepted from QEMU, in bytes.
const LIMIT: usize = 1 << 20;
/// How long QEMU may take for an answer; it answers at once unless the host is overloaded.
const PATIENCE: Duration = Duration::from_secs(20);

/// What QEMU's events have told so far. Grows with no number of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often the guest reset itself.
    pub resets: u32,
    /// Whether the machine was reset from outside, and not by the guest since.
    pub pressed: bool,
    /// Whether the guest's kernel reported a panic (pvpanic).
    pub panicked: bool,
    /// Whether QEMU stopped the guest and has not resumed it.
    pub stopped: bool,
    /// Why the machine ends, once it does: `guest-shutdown`, `host-qmp-quit`, ...
    pub shutdown: Option<String>,
}

impl Seen {
    /// Takes note of one event (qemu-qmp-ref); whatever is unknown changes nothing.
    fn note(&mut self, event: &Value) {
        let data = |name: &str| event.get("data").and_then(|data| data.get(name));
        match event.get("event").and_then(Value::as_str) {
            // SeaBIOS, started by a reset, resets once more to have a clean memory.
            Some("RESET") => match data("guest").and_then(Value::as_bool) {
                Some(true) if self.pressed => self.pressed = false,
                Some(true) => self.resets = self.resets.saturating_add(1),
                Some(false) => self.pressed = true,
                None => {}
            },
            Some("GUEST_PANICKED") => self.panicked = true,
            Some("STOP") => self.stopped = true,
            Some("RESUME") => self.stopped = false,
            Some("SHUTDOWN") => {
                let reason = data("reason").and_then(Value::as_str).unwrap_or("unknown");
                self.shutdown = Some(reason.chars().filter(|c| c.is_ascii_graphic()).take(40).collect());
            }
            _ => {}
        }
    }
}

/// A connection to QEMU.
#[derive(Debug)]
pub struct Qmp {
    link: Link,
    seen: watch::Receiver<Seen>,
}

impl Qmp {
    /// Connects to the socket `name` in a machine's directory and ends the negotiation. Fails within 20 s if
    /// another client holds the socket.
    pub async fn connect(directory: &Path, name: &str) -> Result<Self> {
        let stream = link::connect(directory, name).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let link = Link::new(Peer::Qemu, stream, LIMIT, move |event| {
            sender.send_if_modified(|seen| {
                let before = seen.clone();
                seen.note(&event);
                *seen != before
            });
        })?;
        link.call(qmp::qmp_capabilities { enable: None }, PATIENCE).await?;
        Ok(Self { link, seen })
    }

    /// QEMU's run state: `running`, `internal-error`, ...
    pub async fn status(&self) -> Result<&'static str> {
        Ok(self.link.call(qmp::query_status {}, PATIENCE).await?.status.name())
    }

    /// Presses the power button.
    pub async fn power_button(&self) -> Result<()> {
        self.link.call(qmp::system_powerdown {}, PATIENCE).await.map(drop)
    }

    /// Ends QEMU, as if the power was cut.
    pub async fn quit(&self) -> Result<()> {
        self.link.call(qmp::quit {}, PATIENCE).await.map(drop)
    }

    /// Runs any command.
    pub(super) async fn call<C: Command>(&self, command: C) -> Result<C::Ok> {
        self.link.call(command, PATIENCE).await
    }

    /// What the events have told so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the events tell something new or the connection ends.
    pub async fn news(&mut self) {
        // The sender is gone with the connection, which `is_closed` tells.
        self.seen.changed().await.ok();
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_summed_up() {
        let mut seen = Seen::default();
        for event in [
            json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}),
            json!({"event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}),
            json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}),
            json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}),
            json!({"event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}),
            json!({"event": "STOP"}),
            json!({"event": "RESUME"}),
            json!({"event": "GUEST_PANICKED", "data": {"action": "run"}}),
            json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown\n"}}),
        ] {
            seen.note(&event);
        }
        let shutdown = Some("guest-shutdown".to_owned());
        assert_eq!(seen, Seen { resets: 2, pressed: true, panicked: true, stopped: false, shutdown });
    }

    #[test]
    fn unknown_and_senseless_events_change_nothing() {
        let mut seen = Seen::default();
        for event in [json!(null), json!([]), json!({"event": 1}), json!({"event": "NEW"}), json!({"event": "RESET"})] {
            seen.note(&event);
        }
        assert_eq!(seen, Seen::default());
    }
}
