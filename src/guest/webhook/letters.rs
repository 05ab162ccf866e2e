//! Dead letters: deliveries that were given up, for an operator to look at, to try again or to forget.

use super::Error;
use super::config::Config;
use super::database::{self, connect, timely};
use super::statements::{self, Id, Letter};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Let them wait again, with all their attempts.
    Retry,
    /// Forget them.
    Drop,
}

/// The deliveries that were given up, the oldest first; at most a thousand.
pub fn list(config: &Config) -> Result<Vec<Letter>, Error> {
    ask(config, async |client| statements::dead(client).await)
}

/// Does it with these, or with all; returns which there were.
pub fn act(config: &Config, decision: Decision, ids: Option<&[Id]>) -> Result<Vec<Id>, Error> {
    ask(config, async |client| statements::revive(client, ids, decision == Decision::Retry).await)
}

fn ask<T>(
    config: &Config,
    question: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, database::Error>,
) -> Result<T, Error> {
    let mut settings = config.database.clone();
    // PostgreSQL lets the user of the system in who has the role's name, and root as its own administrator.
    if rustix::process::geteuid().is_root() {
        settings.user = "postgres".to_owned();
    }
    let mut answer = None;
    super::serve::run(async {
        let (client, _carried) = connect(&settings).await?;
        let exists = "select to_regclass('webhook.delivery') is not null";
        let exists: bool =
            timely(client.query_typed_one(exists, &[])).await?.try_get(0).map_err(database::Error::from)?;
        if !exists {
            return Err(Error::NoSchema);
        }
        answer = Some(question(&client).await?);
        Ok(())
    })?;
    answer.ok_or(Error::NoSchema)
}
