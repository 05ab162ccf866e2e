//! The dashboards console: pages that draw what Prometheus on this machine has measured.
//!
//! Browsers never send PromQL. They name a panel of a board, and the console asks Prometheus for that panel's
//! expressions. Boards are the files that Grafana could read too.
//!
//! ```text
//! browser ── panel, range ──▶ console ── expression, window ──▶ Prometheus
//!         ◀── lines ────────         ◀── series ─────────────
//! ```

mod board;
mod legend;
mod query;
mod range;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::Mutex as Turn;

use super::serve::{self, Service};
use super::web::{self, Asset};
use board::{Board, Panel};
use query::Prometheus;
use range::{RANGES, Range};

/// Lines that a panel shows; more are counted.
const LINES: usize = 40;
/// What is kept of answers, in bytes.
const KEPT: usize = 8 << 20;

const PAGE: Asset = Asset { name: "index.html", content: include_str!("dashboards/assets/index.html") };
const ASSETS: [Asset; 10] = [
    web::BASE,
    web::THEME,
    web::ICON,
    Asset { name: "console.css", content: include_str!("dashboards/assets/console.css") },
    Asset { name: "console.js", content: include_str!("dashboards/assets/console.js") },
    Asset { name: "panel.js", content: include_str!("dashboards/assets/panel.js") },
    Asset { name: "chart.js", content: include_str!("dashboards/assets/chart.js") },
    Asset { name: "units.js", content: include_str!("dashboards/assets/units.js") },
    Asset { name: "uplot.css", content: include_str!("dashboards/assets/uplot.css") },
    Asset { name: "uplot.js", content: include_str!("dashboards/assets/uplot.js") },
];

/// What the console is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What all its paths begin with; begins and ends with a slash.
    pub prefix: String,
    /// Directory of the boards.
    pub boards: PathBuf,
    /// Where Prometheus listens.
    pub prometheus: SocketAddr,
}

/// Why the console ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The boards cannot be read.
    #[error(transparent)]
    Boards(#[from] board::Error),
    /// The prefix is no path.
    #[error("`{0}` is not a prefix: it begins and ends with / and holds letters, digits, / - _ and . between")]
    Prefix(String),
    /// There is no HTTP client.
    #[error("cannot prepare to ask Prometheus: {0}")]
    Client(String),
    /// It cannot serve.
    #[error(transparent)]
    Serve(#[from] serve::Error),
}

/// Reads the boards and serves the console until SIGTERM.
pub fn run(settings: Settings) -> Result<(), Error> {
    let Settings { listen, prefix, boards, prometheus } = settings;
    let good = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if !prefix.starts_with('/') || !prefix.ends_with('/') || !prefix.chars().all(good) || prefix.contains("//") {
        return Err(Error::Prefix(prefix));
    }
    let boards = board::read(&boards)?;
    serve::run(async {
        let prometheus = Prometheus::new(prometheus).map_err(Error::Client)?;
        Ok(serve::serve(listen, Console::new(boards, prometheus).service(&prefix)).await?)
    })
}

/// A panel's place: number of the board, id of the panel, and range.
type Key = (usize, u32, Range);

struct Console {
    boards: Vec<Board>,
    prometheus: Prometheus,
    /// Whoever asks for a panel while another does waits for that answer.
    turns: BTreeMap<(usize, u32), Turn<()>>,
    kept: Mutex<BTreeMap<Key, (Instant, Bytes)>>,
    questions: Family<Vec<(&'static str, &'static str)>, Counter>,
}

/// What went wrong, as JSON for the page.
struct Trouble(StatusCode, String);

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        (self.0, json(&json!({ "error": self.1 }))).into_response()
    }
}

impl From<query::Error> for Trouble {
    fn from(error: query::Error) -> Self {
        let status = match error {
            query::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            query::Error::Late => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self(status, error.to_string())
    }
}

fn json(value: &Value) -> Response {
    typed(value.to_string().into())
}

fn typed(text: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

impl Console {
    fn new(boards: Vec<Board>, prometheus: Prometheus) -> Self {
        let places = boards.iter().enumerate();
        let places = places.flat_map(|(index, board)| board.panels.iter().map(move |panel| (index, panel.id)));
        let turns = places.map(|place| (place, Turn::new(()))).collect();
        Self { boards, prometheus, turns, kept: Mutex::default(), questions: Family::default() }
    }

    fn service(self, prefix: &str) -> Service {
        let mut metrics = Registry::default();
        let text = "Panels that browsers asked for, by where the answer came from";
        metrics.register("dashboards_panels", text, self.questions.clone());
        let routes = Router::new()
            .route(prefix, web::page(PAGE))
            .route(&format!("{prefix}api/boards"), get(boards))
            .route(&format!("{prefix}api/boards/{{board}}"), get(board))
            .route(&format!("{prefix}api/boards/{{board}}/panels/{{panel}}"), get(panel));
        let mut routes = web::with_assets(routes, &format!("{prefix}assets/"), &ASSETS).with_state(Arc::new(self));
        // Addresses without the last slash are what people type.
        let bare = prefix.trim_end_matches('/');
        if !bare.is_empty() {
            let to = prefix.to_owned();
            routes = routes.route(bare, get(async move || (StatusCode::PERMANENT_REDIRECT, [(LOCATION, to)])));
        }
        Service { routes: web::secured(routes), metrics }
    }

    fn find(&self, name: &str) -> Result<(usize, &Board), Trouble> {
        let found = self.boards.iter().enumerate().find(|(_, board)| board.name == name);
        found.ok_or_else(|| Trouble(StatusCode::NOT_FOUND, "there is no such dashboard".to_owned()))
    }

    fn count(&self, from: &'static str) {
        self.questions.get_or_create(&vec![("from", from)]).inc();
    }

    /// What is known about a panel, if that is fresh.
    fn recall(&self, key: Key, fresh: Duration) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key).filter(|(at, _)| at.elapsed() < fresh).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: Key, answer: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&key);
        let used: usize = kept.values().map(|(_, answer)| answer.len()).sum();
        if used.saturating_add(answer.len()) > KEPT {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), answer));
    }

    async fn answer(&self, board: usize, panel: &Panel, range: Range) -> Result<Bytes, Trouble> {
        let key = (board, panel.id, range);
        let fresh = Duration::from_secs(range.fresh(panel.kind));
        let _turn = match self.turns.get(&(board, panel.id)) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if let Some(answer) = self.recall(key, fresh) {
            self.count("memory");
            return Ok(answer);
        }
        let asked = self.ask(panel, range).await;
        self.count(if asked.is_ok() { "prometheus" } else { "nowhere" });
        let answer = Bytes::from(asked?.to_string());
        self.keep(key, answer.clone());
        Ok(answer)
    }

    async fn ask(&self, panel: &Panel, range: Range) -> Result<Value, query::Error> {
        let window = range.window(panel.kind);
        let (mut lines, mut omitted) = (Vec::new(), 0);
        for target in &panel.targets {
            let (found, all) = self.prometheus.ask(&target.expr, &window, LINES.saturating_sub(lines.len())).await?;
            omitted += all.saturating_sub(found.len());
            let named = |line: query::Line| json!({ "name": legend::name(&target.legend_format, &line.labels), "values": line.values });
            lines.extend(found.into_iter().map(named));
        }
        // In an order of their own, so that lines keep their colours.
        lines.sort_by(|a: &Value, b| a["name"].as_str().cmp(&b["name"].as_str()));
        Ok(json!({ "start": window.start, "step": window.step, "lines": lines, "omitted": omitted }))
    }
}

async fn boards(State(console): State<Arc<Console>>) -> Response {
    let boards = console.boards.iter().map(|board| json!({ "name": board.name, "title": board.title }));
    json(&json!({ "boards": boards.collect::<Value>(), "ranges": RANGES.map(|range| range.name) }))
}

async fn board(State(console): State<Arc<Console>>, Path(name): Path<String>) -> Result<Response, Trouble> {
    let (_, board) = console.find(&name)?;
    let panel = |panel: &Panel| json!({ "id": panel.id, "title": panel.title, "unit": panel.unit, "kind": panel.kind });
    let panels: Value = board.panels.iter().map(panel).collect();
    let range = Range::of(board.seconds).name;
    Ok(json(&json!({ "name": board.name, "title": board.title, "range": range, "panels": panels })))
}

async fn panel(
    State(console): State<Arc<Console>>,
    Path((name, id)): Path<(String, u32)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let (index, board) = console.find(&name)?;
    let missing = || Trouble(StatusCode::NOT_FOUND, "there is no such panel".to_owned());
    let panel = board.panels.iter().find(|panel| panel.id == id).ok_or_else(missing)?;
    let asked = query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("range=")));
    let unknown = || {
        let known = RANGES.map(|range| range.name).join(", ");
        Trouble(StatusCode::BAD_REQUEST, format!("the ranges are {known}"))
    };
    let range = match asked {
        None => Range::of(board.seconds),
        Some(name) => Range::named(name).ok_or_else(unknown)?,
    };
    console.answer(index, panel, range).await.map(typed)
}

#[cfg(test)]
#[path = "dashboards/tests.rs"]
mod tests;
