//! The status page of a machine, and the endpoints by which others learn whether it lives, is ready and is healthy.
//!
//! | path | answer |
//! | --- | --- |
//! | `/` | a page for people |
//! | `/live` | 200 while the process lives |
//! | `/ready` | 200 or 503, with what is not ready: the database is really asked |
//! | `/healthz` | 200 or 503: ready, no failed unit, and the last look at the machine's health found nothing |

mod config;
mod database;
mod health;
mod page;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::Mutex;

use super::serve::{self, Service};
use super::web;
use crate::disk;
use config::Config;
use database::Database;
use health::Health;
use units::Unit;

/// How long what was found out about the machine counts.
const FRESH: Duration = Duration::from_secs(5);

/// What the service is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// File that says what the machine is and what is looked at.
    pub config: PathBuf,
    /// File of the image that knows the versions of what its units run. Where there is none, none are shown.
    pub baseline: PathBuf,
}

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The configuration is not what it should be.
    #[error("{} is not the configuration of the status page", .0.display())]
    Config(PathBuf, #[source] serde_json::Error),
    /// What the image knows of itself cannot be read.
    #[error(transparent)]
    Baseline(#[from] crate::guest::health::Error),
    /// It cannot serve.
    #[error(transparent)]
    Serve(#[from] serve::Error),
}

/// Reads the configuration and serves until SIGTERM.
pub fn run(settings: Settings) -> Result<(), Error> {
    let Settings { listen, config: path, baseline } = settings;
    let (config, versions) = (Config::read(&path)?, versions(&baseline)?);
    serve::run(async { Ok(serve::serve(listen, Status::new(config, versions).service()).await?) })
}

/// Versions by unit.
fn versions(baseline: &Path) -> Result<BTreeMap<String, String>, Error> {
    match crate::guest::health::baseline(baseline) {
        Ok(baseline) => Ok(baseline.versions),
        Err(crate::guest::health::Error::Disk(error)) if error.is_not_found() => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

struct Status {
    config: Config,
    /// Versions of what units run.
    versions: BTreeMap<String, String>,
    database: Option<Database>,
    /// What was found out last. Whoever asks while it is found out waits.
    found: Mutex<Option<(Instant, Arc<Found>)>>,
    /// Since when it serves. Not the machine: a container's clock is that of its host, which is older.
    begun: Instant,
}

/// What the machine says about itself.
#[derive(Debug, Clone)]
struct Found {
    units: Result<Vec<Unit>, String>,
    health: Option<Health>,
}

/// Whether the machine can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Ready {
    ready: bool,
    checks: BTreeMap<&'static str, &'static str>,
}

/// The summary of all.
#[derive(Debug, Serialize)]
struct Summary {
    healthy: bool,
    #[serde(flatten)]
    ready: Ready,
    #[serde(flatten)]
    details: Option<Details>,
}

/// What is told only where details are.
#[derive(Debug, Serialize)]
struct Details {
    /// None if the service manager does not tell.
    failed_units: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

impl Status {
    fn new(config: Config, versions: BTreeMap<String, String>) -> Self {
        let database = config.postgresql.clone().map(Database::new);
        Self { config, versions, database, found: Mutex::default(), begun: Instant::now() }
    }

    fn service(self) -> Service {
        let routes = Router::new()
            .route("/", get(front))
            .route("/live", get(async || "alive\n"))
            .route("/ready", get(ready))
            .route("/healthz", get(healthz));
        let routes = web::with_assets(routes, "/assets/", &[web::BASE, web::THEME, web::ICON, page::STYLE]);
        Service { routes: web::secured(routes.with_state(Arc::new(self))), metrics: Registry::default() }
    }

    async fn ready(&self) -> Ready {
        let mut checks = BTreeMap::new();
        if let Some(database) = &self.database {
            checks.insert("postgresql", database.check().await.map_or_else(database::Trouble::text, |()| "ok"));
        }
        Ready { ready: checks.values().all(|said| *said == "ok"), checks }
    }

    async fn found(&self) -> Arc<Found> {
        let mut kept = self.found.lock().await;
        if let Some((_, found)) = kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Arc::clone(found);
        }
        let (health, waited) = (self.config.health.clone(), self.begun.elapsed());
        let look = move || Found { units: units::all(), health: health.map(|health| Health::read(&health, waited)) };
        let found = tokio::task::spawn_blocking(look).await;
        let failed = |error: tokio::task::JoinError| Found { units: Err(error.to_string()), health: None };
        let found = Arc::new(found.unwrap_or_else(failed));
        *kept = Some((Instant::now(), Arc::clone(&found)));
        found
    }

    async fn summary(&self) -> Summary {
        let (ready, found) = (self.ready().await, self.found().await);
        let names =
            |units: &Vec<Unit>| units.iter().filter(|unit| unit.has_failed()).map(|unit| unit.unit.clone()).collect();
        let failed_units: Option<Vec<String>> = found.units.as_ref().ok().map(names);
        let healthy = ready.ready
            && failed_units.as_ref().is_some_and(Vec::is_empty)
            && found.health.as_ref().is_none_or(|health| health.good);
        let details = Details { failed_units, health: found.health.clone() };
        Summary { healthy, ready, details: self.config.details.then_some(details) }
    }
}

impl Default for Found {
    fn default() -> Self {
        Self { units: Ok(Vec::new()), health: None }
    }
}

/// 200 or 503 with a JSON object.
fn told(good: bool, what: &impl Serialize) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_vec(what) {
        Ok(bytes) => (status, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    let ready = status.ready().await;
    told(ready.ready, &ready)
}

async fn healthz(State(status): State<Arc<Status>>) -> Response {
    let summary = status.summary().await;
    told(summary.healthy, &summary)
}

async fn front(State(status): State<Arc<Status>>) -> Response {
    let summary = status.summary().await;
    match page::render(&status.config, &status.versions, &summary, &*status.found().await, &page::Machine::now()) {
        Ok(text) => Html(text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
