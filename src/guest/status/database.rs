//! Whether PostgreSQL answers a query.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

use super::config::Postgresql;

/// How long the database may take, and how long its answer counts.
const ANSWER: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_secs(1);
/// The role, which is the system user that this runs as, and the database that every cluster has.
const ROLE: &str = "status";
const DATABASE: &str = "postgres";

/// Why it is not ready. What the database says itself stays in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, or it broke.
    Unreachable,
    /// It says no: the role is missing, or there are too many connections.
    Refused,
    /// It takes too long.
    Late,
    /// The query has another result.
    Wrong,
}

impl Trouble {
    /// For whoever asks.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "cannot be reached",
            Self::Refused => "refuses the connection",
            Self::Late => "does not answer in time",
            Self::Wrong => "does not answer a query",
        }
    }
}

/// A database that is asked at most once a second, by one connection.
pub struct Database {
    config: tokio_postgres::Config,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    known: Option<(Instant, Result<(), Trouble>)>,
}

impl Database {
    /// Prepares to ask.
    pub fn new(place: Postgresql) -> Self {
        let mut config = tokio_postgres::Config::new();
        config.host_path(place.directory).port(place.port).user(ROLE).dbname(DATABASE);
        config.application_name("rave status").connect_timeout(ANSWER);
        Self { config, state: Mutex::default() }
    }

    /// Whether it answers now, or did within the last second.
    pub async fn check(&self) -> Result<(), Trouble> {
        let mut state = self.state.lock().await;
        if let Some((_, known)) = state.known.filter(|(at, _)| at.elapsed() < FRESH) {
            return known;
        }
        // Taken out, so that a connection that hangs is given up with the question.
        let client = state.client.take().filter(|client| !client.is_closed());
        let asked = tokio::time::timeout(ANSWER, self.ask(client)).await.unwrap_or(Err(Trouble::Late));
        let result = asked.map(|client| state.client = Some(client));
        state.known = Some((Instant::now(), result));
        result
    }

    async fn ask(&self, client: Option<Client>) -> Result<Client, Trouble> {
        let client = match client {
            Some(client) => client,
            None => self.connect().await?,
        };
        let row = client.query_one("select 1", &[]).await.map_err(|error| trouble(&error))?;
        match row.try_get::<_, i32>(0) {
            Ok(1) => Ok(client),
            _ => Err(Trouble::Wrong),
        }
    }

    async fn connect(&self) -> Result<Client, Trouble> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| trouble(&error))?;
        // It ends with the client, or with the server: then the client knows that it is closed.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

fn trouble(error: &tokio_postgres::Error) -> Trouble {
    if error.as_db_error().is_some() { Trouble::Refused } else { Trouble::Unreachable }
}
