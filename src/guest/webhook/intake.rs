//! The HTTP side: takes events in. An event is accepted when it has reached the disk, and not before.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::{Notify, Semaphore};

use super::config::{Config, Name};
use super::database::{Database, Error};
use super::event::{self, Event};
use super::journal::Journal;
use super::metrics::Metrics;
use super::rejection::Rejection;
use super::route;
use super::signature::{Clock, Key};
use super::statements::{self, Stored};
use crate::origin::chain;

/// How long a request waits until others have made room; it has not been read yet and holds no memory.
const WAIT: Duration = Duration::from_secs(1);
/// How long a body may take.
const BODY: Duration = Duration::from_secs(15);
/// Bytes beyond the limit that are read all the same.
const DROPPED: usize = 8 << 20;
/// The source behind the path without a name.
const DEFAULT: &str = "default";

/// What requests are answered with.
#[derive(Debug)]
pub struct Intake {
    /// The configuration.
    pub config: Arc<Config>,
    /// The keys of each source.
    pub keys: BTreeMap<Name, Vec<Key>>,
    /// The database.
    pub database: Database,
    /// What is measured.
    pub metrics: Metrics,
    /// Whom to tell.
    pub journal: Journal,
    /// Is notified when an event has been stored.
    pub stored: Arc<Notify>,
    /// Requests that may be read now.
    pub free: Semaphore,
}

/// The routes: `/webhook` and `/webhook/NAME` by POST, and `/health`.
pub fn routes(intake: Arc<Intake>) -> Router {
    // So that the rate of each outcome is known from its first time on.
    for name in intake.config.sources.keys() {
        for result in
            ["accepted", "known", "unsigned", "forged", "stale", "malformed", "large", "busy", "full", "unavailable"]
        {
            intake.metrics.events(name.as_str(), None, result);
        }
    }
    Router::new()
        .route("/webhook", post(async |State(intake), request| answer(intake, DEFAULT, request).await))
        .route(
            "/webhook/{name}",
            post(async |State(intake), Path(name): Path<String>, request| answer(intake, &name, request).await),
        )
        .route("/health", get(health))
        .with_state(intake)
}

/// Whether events can be stored.
async fn health(State(intake): State<Arc<Intake>>) -> Response {
    let asked = async { statements::count(&*intake.database.now()?).await };
    match asked.await {
        Ok((open, dead)) => format!("database up, {open} deliveries open, {dead} dead letters\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", chain(&error))).into_response(),
    }
}

async fn answer(intake: Arc<Intake>, source: &str, request: Request) -> Response {
    let address = address(&request);
    let result = take(&intake, source, request).await;
    let known = intake.config.sources.keys().any(|name| name.as_str() == source);
    let source = if known { source } else { "none" };
    match result {
        Ok((event, stored)) => {
            let (status, label) = match stored {
                true => (StatusCode::ACCEPTED, "accepted"),
                false => (StatusCode::OK, "known"),
            };
            let kind = route::pattern(&intake.config.handlers, &event.kind);
            intake.metrics.events(source, kind, label).inc();
            (status, format!("{label}\n")).into_response()
        }
        Err(why) => {
            intake.metrics.events(source, None, why.label()).inc();
            if let Some(address) = address.filter(|_| why.is_of_sender()) {
                intake.journal.rejected(address, why);
            }
            why.into_response()
        }
    }
}

/// Who sent a request: whom nginx names, if it was passed on from this machine; else the peer.
fn address(request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let peer = peer.ip().to_canonical();
    if !peer.is_loopback() {
        return Some(peer);
    }
    // What stands last is what the nearest proxy has seen; anything before it may be made up.
    let named = request.headers().get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let last = named.and_then(|text| text.rsplit(',').next()).and_then(|text| text.trim().parse::<IpAddr>().ok());
    Some(last.map_or(peer, |address| address.to_canonical()))
}

/// Takes a request in; whether the event is new.
async fn take(intake: &Intake, name: &str, request: Request) -> Result<(Event, bool), Rejection> {
    let config = &intake.config;
    let (name, source) = config.sources.iter().find(|(key, _)| key.as_str() == name).ok_or(Rejection::NoSource)?;
    let keys = intake.keys.get(name).ok_or(Rejection::NoSource)?;
    let permit = tokio::time::timeout(WAIT, intake.free.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return Err(Rejection::Busy) };
    let (head, content) = request.into_parts();
    let body = body(content, head.headers.get(CONTENT_LENGTH), config.body).await?;
    let clock = Clock { now: jiff::Timestamp::now().as_second(), window: config.window.into() };
    let event = event::read(&head.headers, &body, &source.schemes, keys, clock)?;
    let handlers = route::handlers(&config.handlers, name.as_str(), &event.kind);
    let store = async {
        let client = intake.database.now()?;
        statements::store(&client, name.as_str(), &event, &body, &handlers, config.queue).await
    };
    match store.await {
        Ok(Stored::New) => {
            intake.stored.notify_one();
            Ok((event, true))
        }
        Ok(Stored::Known) => Ok((event, false)),
        Ok(Stored::Full) => Err(Rejection::Full),
        Err(Error::Absent) => Err(Rejection::Unavailable),
        Err(error) => {
            intake.journal.say(format_args!("cannot store an event: {}", chain(&error)));
            Err(Rejection::Unavailable)
        }
    }
}

/// The whole body, if it is not too large and does not take too long. What is too much is read and dropped, as far as it
/// is not far too much: who is cut off while writing does not get to see the answer.
async fn body(body: Body, length: Option<&HeaderValue>, limit: usize) -> Result<Vec<u8>, Rejection> {
    let said = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    let read = async {
        let mut body = body;
        let (mut total, mut bytes) = (0_usize, Vec::with_capacity(said.unwrap_or(0).min(limit)));
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|_| Rejection::Malformed("the body ends early"))?;
            let Some(data) = frame.data_ref() else { continue };
            total = total.saturating_add(data.len());
            if total <= limit {
                bytes.extend_from_slice(data);
            } else if total > limit.saturating_add(DROPPED) {
                break;
            }
        }
        if total > limit { Err(Rejection::Large) } else { Ok(bytes) }
    };
    tokio::time::timeout(BODY, read).await.unwrap_or(Err(Rejection::Slow))
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
