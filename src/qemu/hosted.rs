//! Machines that a service manager runs: QEMU is its child, and rave only talks to the sockets in the machine's directory.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::qemu::agent::Agent;
use crate::qemu::args::file;
use crate::qemu::engine::Engine;
use crate::qemu::error::{Error, Result};
use crate::qemu::keys;
use crate::qemu::qmp::Qmp;
use crate::qemu::ready;

/// How often is looked whether the agent answers, or QEMU has ended.
const TICK: Duration = Duration::from_millis(500);
/// How long the agent may take for one answer while a guest starts.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest public key file that is read, in bytes, and how long that may take.
const KEY: (usize, Duration) = (16 * 1024, Duration::from_secs(30));

/// Waits until nothing more starts in the guest whose sockets are in `directory`; returns the host key that it reports
/// in `key_file`, on one line. The caller, a service manager, bounds the time.
pub fn host_key(directory: &Path, key_file: &str) -> Result<String> {
    Engine::new()?.run(async {
        let agent = answering(directory).await?;
        ready::settled(&agent).await?;
        keys::host_key(&agent.read_file(key_file, KEY.0, KEY.1).await?)
    })
}

async fn answering(directory: &Path) -> Result<Agent> {
    loop {
        // The socket appears a moment after the process, one of an earlier process may be there, and the agent answers
        // much later.
        match Agent::connect(directory).await {
            Ok(Some(agent)) if agent.ping(ANSWER).await.is_ok() => return Ok(agent),
            Ok(_) | Err(Error::Link { .. } | Error::Disk(_)) => sleep(TICK).await,
            Err(error) => return Err(error),
        }
    }
}

/// Has the guest shut down: its agent is asked, after half of `limit` the power button is pressed. Returns whether QEMU
/// has ended within `limit`.
pub fn power_off(directory: &Path, limit: Duration) -> Result<bool> {
    let engine = Engine::new()?;
    engine.finish(async {
        let Ok(qmp) = Qmp::connect(directory, file::CONTROL).await else { return Ok(true) };
        let until = Instant::now() + limit;
        let agent = timeout(limit / 4, async {
            let agent = Agent::connect(directory).await.ok()??;
            agent.ping(limit / 4).await.ok()?;
            agent.shutdown().await.ok()?;
            Some(agent)
        })
        .await;
        // Held until the guest is gone: the request may still be on its way.
        let agent = agent.ok().flatten();
        let mut pressed = false;
        while Instant::now() < until {
            if qmp.is_closed() || qmp.status().await.is_err() {
                return Ok(true);
            }
            let is_late = agent.is_none() || until.saturating_duration_since(Instant::now()) < limit / 2;
            if is_late && !pressed {
                pressed = qmp.power_button().await.is_ok();
            }
            sleep(TICK).await;
        }
        Ok(false)
    })
}
