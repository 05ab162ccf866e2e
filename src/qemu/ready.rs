//! Waiting for a guest to become ready, and telling apart how it fails to.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk;
use crate::event::{Report, Work};
use crate::name::ImageName;
use crate::qemu::agent::{Agent, Exit};
use crate::qemu::args::file;
use crate::qemu::console;
use crate::qemu::error::{Error, LinkError, Peer, Result};
use crate::qemu::qmp::Qmp;

/// Resets before the guest is ready that count as a loop. Firmware that sets itself up may reset once.
const LOOP: u32 = 3;
/// How often the signs are looked at, besides when QEMU reports something.
const TICK: Duration = Duration::from_millis(500);
/// Who gives up, and what is on the console then: of Linux, of what unpacks it, of UEFI firmware.
const PANICS: [(&str, &[u8]); 3] = [
    ("kernel", b"Kernel panic - not syncing"),
    ("kernel", b"-- System halted"),
    ("firmware", b"!!!! X64 Exception Type"),
];

/// Stands for a run state when an accelerator shows no sign of life.
pub const SILENT: &str = "a silent console";

/// When a guest counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Its agent answers.
    Agent,
    /// Its agent answers and systemd has no more jobs: `running` or `degraded`, for others to judge.
    Settled,
}

/// A guest that is waited for.
pub struct Waiting<'a> {
    /// Its name.
    pub name: &'a ImageName,
    /// Its private directory.
    pub directory: &'a Path,
    /// Whether a console that stays silent for this long counts as failure of the accelerator.
    pub silence: Option<Duration>,
    /// Bytes of the console log that are older than the wait and prove nothing.
    pub skip: u64,
}

impl Waiting<'_> {
    /// Waits until the guest is ready, or until there are signs that it will not be, at most for `limit`.
    pub async fn wait(&self, qmp: &mut Qmp, until: Ready, limit: Duration, report: &dyn Report) -> Result<()> {
        let work = Work::start(report, "boot", self.name.as_str(), None);
        let awaited = Cell::new("the guest agent");
        let result = tokio::select! {
            biased;
            error = self.bad_signs(qmp, &awaited) => error.map(|never| match never {}),
            ready = tokio::time::timeout(limit, self.good_signs(until, &work, &awaited)) => match ready {
                Ok(result) => result,
                Err(_) => Err(Error::NotReady {
                    name: self.name.clone(),
                    waited: limit,
                    awaited: awaited.get(),
                    console: self.console()?,
                }),
            },
        };
        if result.is_ok() {
            work.finish("ready");
        }
        result
    }

    async fn good_signs(&self, until: Ready, work: &Work<'_>, awaited: &Cell<&'static str>) -> Result<()> {
        let part = work.part("await", awaited.get(), None);
        let agent = self.agent().await?;
        part.finish("answers");
        if until == Ready::Settled {
            awaited.set("the end of its start-up jobs");
            let part = work.part("await", awaited.get(), None);
            let state = settled(&agent).await?;
            part.finish(state);
        }
        Ok(())
    }

    /// Tries until the agent answers; the caller limits the time.
    async fn agent(&self) -> Result<Agent> {
        loop {
            if let Some(agent) = Agent::connect(self.directory).await? {
                match agent.ping(Duration::from_secs(60)).await {
                    Ok(()) => return Ok(agent),
                    Err(Error::Link { peer: Peer::Agent, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Returns when there is a sign that the guest will not become ready.
    async fn bad_signs(&self, qmp: &mut Qmp, awaited: &Cell<&'static str>) -> Result<std::convert::Infallible> {
        let started = Instant::now();
        let name = || self.name.clone();
        loop {
            let seen = qmp.seen();
            let ended = |why: String, console| Error::Ended { name: name(), awaited: awaited.get(), why, console };
            if let Some(why) = seen.shutdown {
                return Err(ended(why, self.console()?));
            }
            if qmp.is_closed() {
                return Err(ended(self.last_words()?, self.console()?));
            }
            if seen.resets >= LOOP {
                return Err(Error::RebootLoop { name: name(), resets: seen.resets, console: self.console()? });
            }
            if let Some(who) = self.says_panic()?.or(seen.panicked.then_some("kernel")) {
                // What is still being written belongs to the evidence.
                tokio::time::sleep(TICK).await;
                return Err(Error::Panicked { who, name: name(), console: self.console()? });
            }
            if seen.stopped {
                let status = qmp.status().await?.to_owned();
                return Err(Error::Stopped { name: name(), status, console: self.console()? });
            }
            if self.silence.is_some_and(|silence| started.elapsed() > silence) && self.is_silent()? {
                return Err(Error::Stopped { name: name(), status: SILENT.to_owned(), console: String::new() });
            }
            // Either wakes the loop; both are looked at again.
            tokio::time::timeout(TICK, qmp.news()).await.ok();
            if qmp.is_closed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Who has given up, if the console says so.
    fn says_panic(&self) -> Result<Option<&'static str>> {
        let fresh = console::length(self.directory)?.saturating_sub(self.skip);
        let tail = disk::tail(console::log(self.directory), fresh.min(64 * 1024))?;
        let said = |said: &[u8]| tail.windows(said.len()).any(|window| window == said);
        Ok(PANICS.iter().find(|(_, clue)| said(clue)).map(|(who, _)| *who))
    }

    fn is_silent(&self) -> Result<bool> {
        Ok(console::length(self.directory)? <= self.skip)
    }

    fn console(&self) -> Result<String> {
        console::tail(&console::log(self.directory))
    }

    fn last_words(&self) -> Result<String> {
        let log = console::tail(&self.directory.join(file::QEMU_LOG))?;
        Ok(log.lines().next_back().map_or_else(|| "QEMU closed the connection".to_owned(), str::to_owned))
    }
}

/// Waits until systemd has no more jobs to start; returns its state. The caller limits the time.
pub(super) async fn settled(agent: &Agent) -> Result<String> {
    // systemctl waits in the guest: asking again and again would take processor time from what is waited for.
    let patience = Duration::from_secs(120);
    loop {
        let asked = agent.exec("/usr/bin/systemctl", &["is-system-running", "--wait"], b"", patience).await;
        match asked {
            Ok(output) if matches!(output.exit, Exit::Code(_)) => {
                let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                if matches!(state.as_str(), "running" | "degraded") {
                    return Ok(state);
                }
            }
            // A slow guest may answer late or lose a program; one that refuses the command always will.
            Ok(_) | Err(Error::Link { source: LinkError::Timeout(_), .. }) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
#[path = "ready_tests.rs"]
mod tests;
