//! A line of JSON messages over a socket, as QMP and the guest agent speak it (QEMU's qmp-spec and
//! qga-ref): commands with ids, replies in any order, events in between.
//!
//! The peer is not trusted. Each message is bounded, garbage and replies that nobody waits for are
//! dropped, every call has a time limit, and a call that is given up leaves nothing behind: two tasks own
//! the halves of the socket and move whole messages only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qapi::{Command, Execute};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::disk;
use crate::qemu::error::{Error, LinkError, Peer, Result};

/// Commands that may wait for a peer that does not read.
const QUEUE: usize = 16;
/// Resets the parser of the guest agent and delimits its answer (qga-ref, guest-sync-delimited).
const DELIMITER: u8 = 0xff;

type Answer = std::result::Result<Vec<u8>, LinkError>;

/// An open line.
#[derive(Debug)]
pub struct Link {
    peer: Peer,
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
    /// Aborted when the link is dropped.
    _tasks: JoinSet<()>,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    calls: BTreeMap<u64, oneshot::Sender<Answer>>,
}

/// A reply; only one of both fields is set.
#[derive(Deserialize)]
struct Reply<T> {
    #[serde(rename = "return", default = "none")]
    value: Option<T>,
    #[serde(default = "none")]
    error: Option<Refusal>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

/// What is read first of every message; the rest is only checked to be JSON.
#[derive(Deserialize)]
struct Envelope {
    id: Option<u64>,
}

impl Link {
    /// Opens a line over `stream`. Messages longer than `limit` bytes are refused. `event` gets each message
    /// that answers nothing; it must not block.
    pub fn new(
        peer: Peer,
        stream: UnixStream,
        limit: usize,
        event: impl FnMut(Value) + Send + 'static,
    ) -> Result<Self> {
        // Not from 1: an answer to somebody who gave up earlier must not look like one to this line.
        let first = u64::from(random_u32()?) << 20;
        let (read, write) = stream.into_split();
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(read_all(read, limit, Arc::clone(&waiting), event));
        tasks.spawn(write_all(write, queue, Arc::clone(&waiting)));
        Ok(Self { peer, outgoing, waiting, next: AtomicU64::new(first), _tasks: tasks })
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// Runs a command and waits for its answer, at most for `limit`.
    pub async fn call<C: Command>(&self, command: C, limit: Duration) -> Result<C::Ok> {
        self.call_after(&[], command, limit).await
    }

    /// Like [`Link::call`], after resetting the peer's parser.
    pub async fn call_delimited<C: Command>(&self, command: C, limit: Duration) -> Result<C::Ok> {
        self.call_after(&[DELIMITER], command, limit).await
    }

    /// Sends a command that has no answer when it succeeds; waits only until it is handed over.
    pub async fn send<C: Command>(&self, command: C, limit: Duration) -> Result<()> {
        let handed_over = async {
            let message = message(&[], command, None)?;
            self.outgoing.send(message).await.map_err(|_| LinkError::Closed)
        };
        let result = tokio::time::timeout(limit, handed_over).await.unwrap_or(Err(LinkError::Timeout(limit)));
        result.map_err(|source| self.error(C::NAME, source))
    }

    /// An error of this line's peer.
    pub fn error(&self, command: &'static str, source: LinkError) -> Error {
        Error::Link { peer: self.peer, command, source }
    }

    async fn call_after<C: Command>(&self, prefix: &[u8], command: C, limit: Duration) -> Result<C::Ok> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let exchange = async {
            let message = message(prefix, command, Some(id))?;
            let (call, answer) = Call::register(&self.waiting, id)?;
            self.outgoing.send(message).await.map_err(|_| LinkError::Closed)?;
            let line = answer.await.map_err(|_| LinkError::Closed)??;
            drop(call);
            value(&line)
        };
        let result = tokio::time::timeout(limit, exchange).await.unwrap_or(Err(LinkError::Timeout(limit)));
        result.map_err(|source| self.error(C::NAME, source))
    }
}

/// A registered call; forgotten when dropped, so that a late answer finds nobody.
struct Call<'a> {
    waiting: &'a Mutex<Waiting>,
    id: u64,
}

impl<'a> Call<'a> {
    fn register(
        waiting: &'a Mutex<Waiting>,
        id: u64,
    ) -> std::result::Result<(Self, oneshot::Receiver<Answer>), LinkError> {
        let (sender, receiver) = oneshot::channel();
        let mut held = lock(waiting);
        if held.closed {
            return Err(LinkError::Closed);
        }
        held.calls.insert(id, sender);
        Ok((Self { waiting, id }, receiver))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        lock(self.waiting).calls.remove(&self.id);
    }
}

/// The maps stay sound whatever panicked while holding them.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message<C: Command>(prefix: &[u8], command: C, id: Option<u64>) -> std::result::Result<Vec<u8>, LinkError> {
    let mut bytes = prefix.to_vec();
    serde_json::to_writer(&mut bytes, &Execute::new(command, id)).map_err(LinkError::Form)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn value<T: serde::de::DeserializeOwned>(line: &[u8]) -> std::result::Result<T, LinkError> {
    let reply: Reply<T> = serde_json::from_slice(line).map_err(LinkError::Form)?;
    match (reply.value, reply.error) {
        (_, Some(refusal)) => {
            Err(LinkError::Refused { class: printable(&refusal.class), description: printable(&refusal.desc) })
        }
        (Some(value), None) => Ok(value),
        (None, None) => Err(LinkError::Sense("neither a result nor an error")),
    }
}

/// A number that nobody can guess.
pub fn random_u32() -> Result<u32> {
    getrandom::u32().map_err(|e| Error::Random(e.into()))
}

/// The same with more digits.
pub fn random_u64() -> Result<u64> {
    getrandom::u64().map_err(|e| Error::Random(e.into()))
}

/// A peer's words, short and without control characters, for an error.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

async fn write_all(mut half: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>, waiting: Arc<Mutex<Waiting>>) {
    while let Some(message) = queue.recv().await {
        if half.write_all(&message).await.is_err() {
            return close(&waiting);
        }
    }
}

async fn read_all(mut half: OwnedReadHalf, limit: usize, waiting: Arc<Mutex<Waiting>>, mut event: impl FnMut(Value)) {
    let mut frames = Frames::new(limit);
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match half.read(&mut buffer).await {
            Ok(0) | Err(_) => return close(&waiting),
            Ok(length) => {
                for &byte in &buffer[..length] {
                    match frames.push(byte) {
                        Some(Frame::Line(line)) => deliver(&line, &waiting, &mut event),
                        Some(Frame::TooLong) => fail_all(&waiting, limit),
                        None => {}
                    }
                }
            }
        }
        // A peer that never pauses must not keep the event loop from its timers.
        tokio::task::yield_now().await;
    }
}

/// Nobody can tell whose answer an oversized one is: all calls fail.
fn fail_all(waiting: &Mutex<Waiting>, limit: usize) {
    for (_, sender) in std::mem::take(&mut lock(waiting).calls) {
        // A receiver that is gone has timed out and told so itself.
        sender.send(Err(LinkError::TooLong(limit))).ok();
    }
}

fn close(waiting: &Mutex<Waiting>) {
    let mut held = lock(waiting);
    held.closed = true;
    held.calls.clear();
}

fn deliver(line: &[u8], waiting: &Mutex<Waiting>, event: &mut impl FnMut(Value)) {
    let Ok(Envelope { id }) = serde_json::from_slice(line) else { return };
    let Some(id) = id else {
        if let Ok(value) = serde_json::from_slice(line) {
            event(value);
        }
        return;
    };
    if let Some(sender) = lock(waiting).calls.remove(&id) {
        // As in `fail_all`.
        sender.send(Ok(line.to_vec())).ok();
    }
}

/// Cuts a stream into lines of bounded length.
#[derive(Debug)]
struct Frames {
    line: Vec<u8>,
    limit: usize,
    skipping: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Line(Vec<u8>),
    /// A line that is too long; said once, then the line is skipped.
    TooLong,
}

impl Frames {
    fn new(limit: usize) -> Self {
        Self { line: Vec::new(), limit, skipping: false }
    }

    fn push(&mut self, byte: u8) -> Option<Frame> {
        match byte {
            DELIMITER => {
                self.line.clear();
                self.skipping = false;
                None
            }
            b'\n' => {
                let line = std::mem::take(&mut self.line);
                (!std::mem::take(&mut self.skipping) && !line.is_empty()).then_some(Frame::Line(line))
            }
            _ if self.skipping => None,
            _ if self.line.len() >= self.limit => {
                self.line = Vec::new();
                self.skipping = true;
                Some(Frame::TooLong)
            }
            _ => {
                self.line.push(byte);
                None
            }
        }
    }
}

/// The path by which a socket `name` in `directory` can be reached although socket addresses hold 107
/// bytes only. Valid as long as the file, which is the open directory, lives.
pub fn short_path(directory: &Path, name: &str) -> Result<(std::fs::File, std::path::PathBuf)> {
    use std::os::fd::AsRawFd as _;
    let file = disk::open(directory)?;
    let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()).join(name);
    Ok((file, path))
}

/// Connects to a socket in a machine's directory.
pub async fn connect(directory: &Path, name: &str) -> Result<UnixStream> {
    let (_open, path) = short_path(directory, name)?;
    Ok(disk::context("connect to", directory.join(name), UnixStream::connect(path).await)?)
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
