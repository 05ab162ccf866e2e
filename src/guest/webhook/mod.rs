//! The webhook dispatcher: takes events from senders that sign them, keeps them in PostgreSQL, and has handlers work on
//! them, each event at least once.
//!
//! ```text
//! sender ─ nginx ─ intake (signature, event) ─ statements::store ─ 202
//!                                                    │
//!               handler's unit ◄─ wire ─ dispatch ◄──┘ claim ─ settle (done, again, dead)
//! ```
//!
//! The dispatcher itself has no privileges: systemd starts a sandboxed unit for each connection to a handler's socket.

pub mod config;
mod database;
mod dispatch;
mod event;
pub mod handle;
mod intake;
mod journal;
pub mod letters;
mod metrics;
mod rejection;
mod retry;
mod route;
mod signature;
mod statements;
mod wire;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::{Notify, Semaphore, watch};

use super::serve;
use config::Config;
use database::{Keeper, Running};
use dispatch::Dispatcher;
use intake::Intake;
use journal::Journal;
use metrics::Metrics;

pub use route::CHECK;
pub use signature::{forge, sign};
pub use statements::{Id, Letter};

/// Why the dispatcher does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not know what to do.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// It cannot listen.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The database does not answer.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The dispatcher has never run.
    #[error("the database has no events: the dispatcher has never been connected to it")]
    NoSchema,
}

/// Serves until SIGTERM. `credentials` is the directory of the secrets that the configuration names; `journal` gets a
/// line for each request that is refused and each delivery that fails.
pub fn run(config: &Path, credentials: Option<&Path>, journal: impl Write + Send + 'static) -> Result<(), Error> {
    let config = Arc::new(Config::read(config)?);
    let keys = config.keys(credentials)?;
    serve::run(async {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        for name in config.handlers.keys() {
            metrics.begin(name.as_str());
        }
        let (journal, running, stored) = (Journal::new(journal), Running::default(), Arc::new(Notify::new()));
        let keeper = Keeper {
            config: Arc::clone(&config),
            running: running.clone(),
            metrics: metrics.clone(),
            journal: journal.clone(),
        };
        let database = keeper.start();
        let (stop, stopped) = watch::channel(false);
        let dispatcher = Dispatcher {
            config: Arc::clone(&config),
            database: database.clone(),
            running,
            metrics: metrics.clone(),
            journal: journal.clone(),
            stored: Arc::clone(&stored),
        };
        let dispatching = tokio::spawn(dispatcher.run(stopped));
        let free = Semaphore::new(config.concurrency);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let intake = Intake { config, keys, database, metrics, journal, stored, free };
        let routes = intake::routes(Arc::new(intake));
        let served = serve::serve(address, serve::Service { routes, metrics: registry }).await;
        stop.send_replace(true);
        // It ends in time, and its panic would be that of a bug, which has been told.
        let _ = dispatching.await;
        served.map_err(Error::from)
    })
}
