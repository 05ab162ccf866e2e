//! The connection to PostgreSQL: made at the start and whenever it is lost, with a schema that is as new as this
//! program, and by one dispatcher at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::config::{Config, Database as Settings};
use super::journal::Journal;
use super::metrics::Metrics;
use super::statements::{self, Id};
use crate::origin::chain;

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(10);
/// Times between attempts to connect.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// The longest until there was a connection: at a machine's first start the database is made meanwhile.
const SOON: Duration = Duration::from_secs(1);
/// The advisory lock of the dispatcher that works.
const LOCK: i64 = 0x7261_7665_7768;

/// The schema, one step for each version.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Why the database does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error("there is no connection to the database")]
    Absent,
    /// It takes too long.
    #[error("the database has not answered within {} s", STATEMENT.as_secs())]
    Slow,
    /// It refuses.
    #[error("the database refuses")]
    Refused(#[from] tokio_postgres::Error),
    /// Another program has been there.
    #[error("the schema has version {0}, made by a newer rave")]
    Newer(i32),
    /// Another dispatcher works.
    #[error("another dispatcher works on this database")]
    Locked,
}

/// A connection.
pub type Connection = Arc<Client>;

/// Waits for an answer, but not for ever.
pub async fn timely<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    Ok(tokio::time::timeout(STATEMENT, answer).await.map_err(|_| Error::Slow)??)
}

/// The connection as others see it: there or not.
#[derive(Debug, Clone)]
pub struct Database(watch::Receiver<Option<Connection>>);

impl Database {
    /// The connection, if there is one now.
    pub fn now(&self) -> Result<Connection, Error> {
        self.0.borrow().clone().ok_or(Error::Absent)
    }

    /// Waits for a connection; for ever once nobody makes any.
    pub async fn connected(&mut self) -> Connection {
        if let Ok(found) = self.0.wait_for(Option::is_some).await
            && let Some(connection) = found.clone()
        {
            return connection;
        }
        std::future::pending().await
    }
}

/// The deliveries that this process has handlers at work on.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<BTreeSet<Id>>>);

impl Running {
    /// A handler begins.
    pub fn insert(&self, id: Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// A handler has ended, and the database knows.
    pub fn remove(&self, id: Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// All of them.
    pub fn all(&self) -> Vec<Id> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// Makes connections, one after the other.
#[derive(Debug)]
pub struct Keeper {
    /// The configuration.
    pub config: Arc<Config>,
    /// What must not be taken for abandoned.
    pub running: Running,
    /// Where to say that the database is there.
    pub metrics: Metrics,
    /// Whom to tell.
    pub journal: Journal,
}

impl Keeper {
    /// Starts to connect; goes on until the event loop ends.
    pub fn start(self) -> Database {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(self.keep(sender));
        Database(receiver)
    }

    async fn keep(self, sender: watch::Sender<Option<Connection>>) {
        let (mut wait, mut longest, mut told) = (FIRST, SOON, String::new());
        loop {
            match self.open().await {
                Ok((client, ended)) => {
                    self.journal.say("connected to the database");
                    self.metrics.database.set(1);
                    sender.send_replace(Some(Arc::new(client)));
                    (wait, longest, told) = (FIRST, LONGEST, String::new());
                    // Why it ended is said by what does not work from now on.
                    let _ = ended.await;
                    sender.send_replace(None);
                    self.metrics.database.set(0);
                    self.journal.say("the database is gone");
                }
                Err(error) => {
                    let text = chain(&error);
                    if text != told {
                        self.journal.say(format_args!("cannot connect: {text}"));
                        told = text;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// A connection that is ready for use, and the task that carries it.
    async fn open(&self) -> Result<(Client, tokio::task::JoinHandle<()>), Error> {
        let (client, ended) = connect(&self.config.database).await?;
        let locked = timely(client.query_typed_one("select pg_try_advisory_lock($1)", &[(&LOCK, Type::INT8)])).await?;
        if !locked.try_get::<_, bool>(0)? {
            return Err(Error::Locked);
        }
        migrate(&client).await?;
        let abandoned = statements::recover(&client, &self.running.all(), self.config.attempts).await?;
        if abandoned > 0 {
            self.journal.say(format_args!("{abandoned} deliveries were interrupted"));
        }
        let handlers: Vec<&str> = self.config.handlers.keys().map(super::config::Name::as_str).collect();
        let orphans = statements::bury_orphans(&client, &handlers).await?;
        if orphans > 0 {
            self.journal.say(format_args!("{orphans} deliveries have no handler any more"));
        }
        Ok((client, ended))
    }
}

/// Connects. An answer to a statement means that it has reached the disk.
pub async fn connect(settings: &Settings) -> Result<(Client, tokio::task::JoinHandle<()>), Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(&settings.socket).port(settings.port).dbname(&settings.name).user(&settings.user);
    config.application_name("rave webhook");
    let (client, connection) = timely(config.connect(NoTls)).await?;
    let ended = tokio::spawn(async move {
        // The client learns of it by the next statement.
        let _ = connection.await;
    });
    timely(client.batch_execute("set synchronous_commit = on; set statement_timeout = '9s'")).await?;
    Ok((client, ended))
}

/// Brings the schema to the version of this program, each step wholly or not at all.
async fn migrate(client: &Client) -> Result<(), Error> {
    let begin = "set client_min_messages = warning; create schema if not exists webhook; \
                 create table if not exists webhook.migration (version int primary key, applied timestamptz not null default now())";
    timely(client.batch_execute(begin)).await?;
    let version = "select coalesce(max(version), 0) from webhook.migration";
    let version: i32 = timely(client.query_typed_one(version, &[])).await?.try_get(0)?;
    let done = usize::try_from(version).ok().filter(|done| *done <= MIGRATIONS.len()).ok_or(Error::Newer(version))?;
    for (number, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let number = number + 1;
        let step = format!("begin; {step}; insert into webhook.migration (version) values ({number}); commit");
        timely(client.batch_execute(&step)).await?;
    }
    Ok(())
}

/// Values of a statement with their types.
pub type Values<'a> = [(&'a (dyn ToSql + Sync), Type)];
