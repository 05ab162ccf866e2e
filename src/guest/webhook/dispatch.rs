//! Has handlers work on what waits: takes deliveries from the database, gives them to the sockets of handlers, and notes
//! what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::config::{Config, Handler, Name};
use super::database::{Connection, Database, Error, Running};
use super::journal::Journal;
use super::metrics::Metrics;
use super::retry::Breaker;
use super::statements::{self, Claimed, Outcome};
use super::wire;
use crate::origin::chain;

/// The longest time without a look into the database: an operator may have let dead letters wait again.
const LOOK: Duration = Duration::from_secs(15);
/// Time between two clean-ups.
const CLEAN: Duration = Duration::from_secs(60);
/// How much longer than its handler the dispatcher waits: systemd ends a handler whose time is over.
const GRACE: Duration = Duration::from_secs(10);
/// How long handlers have to end when the dispatcher is stopped.
const END: Duration = Duration::from_secs(12);
/// Time between attempts to note an outcome while the database is away.
const NOTE: Duration = Duration::from_millis(500);

/// What the work is done with.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub database: Database,
    /// What handlers are at work on.
    pub running: Running,
    /// What is measured.
    pub metrics: Metrics,
    /// Whom to tell.
    pub journal: Journal,
    /// Is notified when an event has been stored.
    pub stored: Arc<Notify>,
}

/// A handler as the dispatcher sees it.
#[derive(Debug, Default)]
struct State {
    running: usize,
    breaker: Breaker,
}

/// How an attempt ended: whose it was, and whether it did what it should.
type Ended = (Name, bool);

impl Dispatcher {
    /// Works until told to stop; handlers at work then have twelve seconds.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut states: BTreeMap<Name, State> =
            self.config.handlers.keys().map(|name| (name.clone(), State::default())).collect();
        let mut work = JoinSet::new();
        let mut cleaned = None;
        while !*stop.borrow() {
            let mut database = self.database.clone();
            let connection = tokio::select! {
                connection = database.connected() => connection,
                _ = stop.changed() => break,
            };
            let round = self.round(&connection, &mut states, &mut work, &mut cleaned).await;
            let wait = match round {
                Ok(wait) => wait,
                Err(error) => {
                    self.journal.say(format_args!("cannot look for work: {}", chain(&error)));
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = self.stored.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(ended) = work.join_next() => self.note(ended, &mut states),
                _ = stop.changed() => {}
            }
            while let Some(ended) = work.try_join_next() {
                self.note(ended, &mut states);
            }
        }
        let rest = async { while work.join_next().await.is_some() {} };
        if tokio::time::timeout(END, rest).await.is_err() {
            self.journal.say("handlers are still at work; what they are at is delivered again after the next start");
        }
    }

    fn note(&self, ended: Result<Ended, tokio::task::JoinError>, states: &mut BTreeMap<Name, State>) {
        // A task neither panics nor is cancelled; its delivery would be recovered with the next connection.
        let Ok((name, succeeded)) = ended else { return };
        let Some(state) = states.get_mut(&name) else { return };
        state.running = state.running.saturating_sub(1);
        let was_open = state.breaker.is_open();
        state.breaker.note(succeeded, Instant::now());
        if state.breaker.is_open() != was_open {
            self.metrics.paused(name.as_str(), !was_open);
            let what =
                if was_open { "works again" } else { "has failed five times in a row and is left alone for 30 s" };
            self.journal.say(format_args!("the handler {name} {what}"));
        }
    }

    /// Starts what is due; how long there is nothing to do.
    async fn round(
        &self,
        connection: &Connection,
        states: &mut BTreeMap<Name, State>,
        work: &mut JoinSet<Ended>,
        cleaned: &mut Option<Instant>,
    ) -> Result<Duration, Error> {
        let mut ready = Vec::new();
        let mut wait = LOOK;
        for (name, handler) in &self.config.handlers {
            let Some(state) = states.get_mut(name) else { continue };
            let now = Instant::now();
            let room = state.breaker.admits(now, handler.concurrency.saturating_sub(state.running), state.running);
            if let Some(left) = state.breaker.left(now) {
                wait = wait.min(left);
            }
            if room == 0 {
                continue;
            }
            let claimed = statements::claim(connection, name.as_str(), room, self.config.backoff().max).await?;
            state.running += claimed.len();
            if claimed.len() < room {
                ready.push(name.as_str());
            }
            for delivery in claimed {
                self.running.insert(delivery.id);
                work.spawn(self.clone().attempt(name.clone(), handler.clone(), delivery));
            }
        }
        if cleaned.is_none_or(|at| at.elapsed() >= CLEAN) {
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            statements::clean(connection, seconds(self.config.keep), seconds(self.config.keep_dead)).await?;
            // Such as what a statement took that was answered too late; whatever was taken in time is known by now.
            statements::recover(connection, &self.running.all(), self.config.attempts).await?;
            // Such as a dead letter that is tried again though nobody handles it any more.
            let handlers: Vec<&str> = self.config.handlers.keys().map(Name::as_str).collect();
            statements::bury_orphans(connection, &handlers).await?;
            *cleaned = Some(Instant::now());
        }
        let (open, dead) = statements::count(connection).await?;
        self.metrics.queue.set(open);
        self.metrics.dead.set(dead);
        // Whoever has no room left is looked at when one of its deliveries ends.
        let next = statements::until_next(connection, &ready).await?;
        Ok(next.map_or(wait, |next| next.min(wait)).max(Duration::from_millis(10)))
    }

    /// One attempt, from the handler's socket to the note in the database.
    async fn attempt(self, name: Name, handler: Handler, delivery: Claimed) -> Ended {
        let path = self.config.sockets.join(format!("{name}.sock"));
        let limit = Duration::from_secs(handler.timeout.into()) + GRACE;
        let begin = Instant::now();
        let result = tokio::time::timeout(limit, deliver(&path, &delivery)).await;
        let result = result.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
        self.metrics.took(name.as_str(), begin.elapsed().as_secs_f64());
        let succeeded = result.is_ok();
        let outcome = self.outcome(delivery.attempt, result);
        let (label, said) = match &outcome {
            Outcome::Done => ("done", None),
            Outcome::Again(_, why) => ("failed", Some((why, "is tried again"))),
            Outcome::Dead(why) => ("dead", Some((why, "is given up"))),
        };
        self.metrics.deliveries(name.as_str(), label).inc();
        if let Some((why, what)) = said {
            self.journal.say(format_args!("delivery {} to {name} {what}: {why}", delivery.id));
        }
        self.settle(delivery.id, &outcome).await;
        self.running.remove(delivery.id);
        (name, succeeded)
    }

    fn outcome(&self, attempt: u32, result: Result<(), String>) -> Outcome {
        match result {
            Ok(()) => Outcome::Done,
            Err(why) if attempt >= self.config.attempts => Outcome::Dead(why),
            Err(why) => Outcome::Again(self.config.backoff().after(attempt), why),
        }
    }

    /// Notes an outcome, however long the database is away.
    async fn settle(&self, id: statements::Id, outcome: &Outcome) {
        let mut database = self.database.clone();
        loop {
            let connection = database.connected().await;
            match statements::settle(&connection, id, outcome).await {
                Ok(()) => return,
                Err(error) => self.journal.say(format_args!("cannot note delivery {id}: {}", chain(&error))),
            }
            tokio::time::sleep(NOTE).await;
        }
    }
}

/// Gives a delivery to the socket of a handler and waits for the exit status.
async fn deliver(socket: &Path, delivery: &Claimed) -> Result<(), String> {
    let head = wire::Head {
        source: delivery.source.clone(),
        delivery: delivery.event.delivery.clone(),
        kind: delivery.event.kind.clone(),
        received: delivery.received.clone(),
        attempt: delivery.attempt,
        length: u64::try_from(delivery.body.len()).unwrap_or(u64::MAX),
    };
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&wire::head(&head)?).await?;
        stream.write_all(&delivery.body).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(wire::ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = talk.await.map_err(|error| format!("the handler's socket: {error}"))?;
    match wire::status(&answer) {
        Some(0) => Ok(()),
        Some(status) => Err(format!("exit status {status}")),
        None => Err("the handler ended without a status".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::super::event::Event;
    use super::*;

    /// What comes of a delivery to a handler that answers so, and what the handler got.
    async fn ask(answer: &'static [u8]) -> (Result<(), String>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handler.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let handler = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            stream.write_all(answer).unwrap();
            got
        });
        let event = Event { delivery: "d1".into(), kind: "push".into() };
        let (source, received) = ("default".into(), "2026-11-28T04:00:00Z".into());
        let delivery = Claimed { id: 7, attempt: 2, source, event, received, body: b"{\"a\": 1}".to_vec() };
        let result = deliver(&path, &delivery).await;
        (result, handler.join().unwrap())
    }

    #[tokio::test]
    async fn a_handler_gets_the_whole_event_and_only_zero_is_success() {
        let (result, got) = ask(b"0\n").await;
        assert_eq!(result, Ok(()));
        let (head, body) = wire::read(&got[..]).unwrap();
        assert_eq!((head.delivery.as_str(), head.attempt, body.as_slice()), ("d1", 2, &b"{\"a\": 1}"[..]));
        assert_eq!(ask(b"3\n").await.0, Err("exit status 3".to_owned()));
        for broken in [&b""[..], b"0", b"done\n", b"0\n0\n0\n0\n0\n0\n0\n0\n0\n"] {
            assert_eq!(ask(broken).await.0, Err("the handler ended without a status".to_owned()), "{broken:?}");
        }
    }

    #[tokio::test]
    async fn a_handler_that_is_not_there_is_a_failure() {
        let event = Event { delivery: "d1".into(), kind: "push".into() };
        let (source, received) = ("default".into(), String::new());
        let delivery = Claimed { id: 7, attempt: 1, source, event, received, body: Vec::new() };
        let result = deliver(Path::new("/nonexistent/handler.sock"), &delivery).await;
        assert!(result.unwrap_err().starts_with("the handler's socket: No such file"));
    }
}
