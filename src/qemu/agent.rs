//! The agent inside the guest (qga-ref). Everything it says is the guest's word: bounded in size and time,
//! and never more than a claim.

use std::path::Path;
use std::time::Duration;

use qapi::qga;
use tokio::time::Instant;

use crate::disk;
use crate::qemu::args::file;
use crate::qemu::error::{Error, LinkError, Peer, Result};
use crate::qemu::link::{self, Link};

/// Longest message accepted from the guest, in bytes. Output arrives in base64, so that about 6 MB of it
/// pass.
const LIMIT: usize = 8 << 20;
/// How long the agent may take for one answer. Generous, for emulated guests under load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a fresh agent may take to come back into step before it is tried again.
const SYNC: Duration = Duration::from_secs(5);
/// Bytes asked for at a time when a file is read.
const CHUNK: i64 = 1 << 20;

/// What a program in the guest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// How a program in the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a status.
    Code(i64),
    /// By a signal.
    Signal(i64),
}

/// A connection to the agent of one guest.
#[derive(Debug)]
pub struct Agent {
    link: Link,
    /// QEMU serves one client at a time; others would hang without a word.
    _lock: disk::Lock,
}

impl Agent {
    /// Connects to the agent's socket in a machine's directory; nothing is sent yet. `None`: another rave is
    /// talking to the agent.
    pub async fn connect(directory: &Path) -> Result<Option<Self>> {
        let Some(lock) = disk::Lock::try_exclusive(directory.join("agent.lock"))? else { return Ok(None) };
        let stream = link::connect(directory, file::AGENT).await?;
        // The agent sends no events: what answers nothing is noise.
        let link = Link::new(Peer::Agent, stream, LIMIT, drop)?;
        Ok(Some(Self { link, _lock: lock }))
    }

    /// Waits until the agent answers, trying again and again for `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.sync(left.min(SYNC)).await {
                Err(error) if self.link.is_closed() || Instant::now() >= deadline => return Err(error),
                // It answered something else: not at once again.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(()) => return self.link.call(qga::guest_ping {}, PATIENCE).await.map(drop),
            }
        }
    }

    /// Brings both sides into step, whatever was said before.
    async fn sync(&self, limit: Duration) -> Result<()> {
        let id = i64::from(link::random_u32()?);
        match self.link.call_delimited(qga::guest_sync_delimited { id }, limit).await? {
            answer if answer == id => Ok(()),
            _ => Err(self.link.error("guest-sync-delimited", LinkError::Sense("another token than the one sent"))),
        }
    }

    /// Runs a program in the guest, by absolute path, with `input` on its standard input. It must end within
    /// `limit`; one that does not is left to the guest.
    pub async fn exec(&self, path: &str, arguments: &[&str], input: &[u8], limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        let start = qga::guest_exec {
            path: path.to_owned(),
            arg: Some(arguments.iter().map(|&argument| argument.to_owned()).collect()),
            env: None,
            input_data: (!input.is_empty()).then(|| input.to_vec()),
            capture_output: Some(qga::GuestExecCaptureOutput::flag(true)),
        };
        let pid = self.link.call(start, limit.min(PATIENCE)).await?.pid;
        let mut pause = Duration::from_millis(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.link.error("guest-exec-status", LinkError::Timeout(limit)));
            }
            let status = self.link.call(qga::guest_exec_status { pid }, left.min(PATIENCE)).await?;
            if status.exited {
                return self.output(path, status);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    fn output(&self, path: &str, status: qga::GuestExecStatus) -> Result<Output> {
        if status.out_truncated == Some(true) || status.err_truncated == Some(true) {
            return Err(Error::TooMuch { what: path.to_owned(), limit: LIMIT });
        }
        let exit = match (status.exitcode, status.signal) {
            (_, Some(signal)) => Exit::Signal(signal),
            (Some(code), None) => Exit::Code(code),
            (None, None) => {
                let reason = LinkError::Sense("a program that ended without a status");
                return Err(self.link.error("guest-exec-status", reason));
            }
        };
        let (stdout, stderr) = (status.out_data.unwrap_or_default(), status.err_data.unwrap_or_default());
        Ok(Output { exit, stdout, stderr })
    }

    /// Reads a file of the guest, of at most `limit` bytes, within `time`.
    pub async fn read_file(&self, path: &str, limit: usize, time: Duration) -> Result<Vec<u8>> {
        let open = qga::guest_file_open { path: path.to_owned(), mode: Some("r".to_owned()) };
        let handle = self.link.call(open, time.min(PATIENCE)).await?;
        let content = tokio::time::timeout(time, self.read_handle(handle, path, limit)).await;
        let closed = self.link.call(qga::guest_file_close { handle }, PATIENCE).await;
        let timeout = || self.link.error("guest-file-read", LinkError::Timeout(time));
        let content = content.map_err(|_| timeout())??;
        closed.map(|_| content)
    }

    async fn read_handle(&self, handle: i64, path: &str, limit: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let part = self.link.call(qga::guest_file_read { handle, count: Some(CHUNK) }, PATIENCE).await?;
            if content.len().saturating_add(part.buf_b64.len()) > limit {
                return Err(Error::TooMuch { what: path.to_owned(), limit });
            }
            content.extend(part.buf_b64);
            if part.eof {
                return Ok(content);
            }
        }
    }

    /// Asks the guest to power off. The agent does not answer when it obeys; keep the connection until the
    /// guest is gone, for the request may still be on its way.
    pub async fn shutdown(&self) -> Result<()> {
        self.link.send(qga::guest_shutdown { mode: Some(qga::GuestShutdownMode::Powerdown) }, PATIENCE).await
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
