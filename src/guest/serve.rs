//! The HTTP server behind rave's services in a machine: HTTP/1.1 (RFC 9112) on one address of the loopback interface,
//! with limits on what a client can hold on to, metrics in the Prometheus text format at `/metrics` for who asks without a
//! proxy, and an orderly end at SIGTERM.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// Connections that are answered at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// How long a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(15);
/// How long one request may take from head to answer.
const REQUEST: Duration = Duration::from_secs(30);
/// How long requests under way have when the service is stopped.
const END: Duration = Duration::from_secs(10);

/// Why a service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no event loop, or no way to learn of signals.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The service manager cannot be told.
    #[error("cannot tell systemd that the service is ready")]
    Notify(#[source] io::Error),
}

/// A service: what it answers, and what it measures.
#[derive(Debug)]
pub struct Service {
    /// Its routes. `/metrics` is added.
    pub routes: Router,
    /// Its own metrics. Those of requests are added.
    pub metrics: Registry,
}

/// Runs `work` on an event loop with one thread, until it ends.
pub fn run<E: From<Error>>(work: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(work)
}

/// Serves until SIGTERM; requests under way then have ten seconds. Handlers find the peer's address as
/// [`ConnectInfo<SocketAddr>`]. Where systemd listens (`StandardInput=socket`), its socket is taken instead of `address`.
pub async fn serve(address: SocketAddr, service: Service) -> Result<(), Error> {
    let listener = listen(address).await.map_err(|source| Error::Listen(address, source))?;
    let mut stop = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).map_err(Error::Notify)?;
    let routes = with_metrics(service);
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async { (Arc::clone(&free).acquire_owned().await, listener.accept().await) };
        // The signal counts even while all connections are taken.
        let (permit, accepted) = tokio::select! {
            _ = stop.recv() => break,
            next = next => next,
        };
        let Ok((stream, peer)) = accepted else {
            // Such as too many open files: it passes when a connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
        let routes = routes.clone().map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off concerns nobody else.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Who does not end in time is cut off.
    let _ = tokio::time::timeout(END, graceful.shutdown()).await;
    Ok(())
}

/// The socket that standard input is, if it is one that listens, and else one of our own.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let input = rustix::stdio::stdin();
    if !rustix::net::sockopt::socket_acceptconn(input).unwrap_or(false) {
        return TcpListener::bind(address).await;
    }
    let listener = std::net::TcpListener::from(input.try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Clone)]
struct Measured {
    requests: Family<Labels, Counter>,
    seconds: Family<Vec<(&'static str, String)>, Histogram>,
    active: Gauge,
    all: Arc<Registry>,
}

fn with_metrics(Service { routes, mut metrics }: Service) -> Router {
    let requests = Family::default();
    let histogram = || Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]);
    let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
    let active = Gauge::default();
    metrics.register("http_requests", "Requests that were answered", requests.clone());
    metrics.register("http_request_duration_seconds", "Time from a request's head to its answer", seconds.clone());
    metrics.register("http_requests_active", "Requests under way", active.clone());
    let measured = Measured { requests, seconds, active, all: Arc::new(metrics) };
    let told = get(tell).with_state(measured.clone());
    routes.route("/metrics", told).layer(from_fn_with_state(measured, measure))
}

async fn measure(State(measured): State<Measured>, request: Request, next: Next) -> Response {
    /// Counts down even if the client breaks off.
    struct Active(Gauge);
    impl Drop for Active {
        fn drop(&mut self) {
            self.0.dec();
        }
    }
    let begin = Instant::now();
    measured.active.inc();
    let active = Active(measured.active.clone());
    // Routes and methods are few; paths and words that a client makes up are not.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST") => known,
        _ => "other",
    }
    .to_owned();
    let late = || (axum::http::StatusCode::SERVICE_UNAVAILABLE, "this takes too long\n").into_response();
    let response = tokio::time::timeout(REQUEST, next.run(request)).await.unwrap_or_else(|_| late());
    drop(active);
    measured.seconds.get_or_create(&vec![("route", route.clone())]).observe(begin.elapsed().as_secs_f64());
    measured.requests.get_or_create(&Labels { route, method, status: response.status().as_u16() }).inc();
    response
}

async fn tell(State(measured): State<Measured>, headers: HeaderMap) -> Response {
    // Who comes through a proxy is not of this machine.
    if headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded") {
        return axum::http::StatusCode::NOT_FOUND.into_response();
    }
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &measured.all) {
        Ok(()) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;

    async fn ask(routes: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn requests_are_counted_by_route_and_not_by_what_clients_make_up() {
        let routes = Router::new().route("/known/{name}", get(async || "yes"));
        let routes = with_metrics(Service { routes, metrics: Registry::default() });
        assert_eq!(ask(&routes, "/known/a").await, (200, "yes".to_owned()));
        assert_eq!(ask(&routes, "/known/b").await.0, 200);
        assert_eq!(ask(&routes, "/made-up").await.0, 404);
        let (status, text) = ask(&routes, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains(r#"http_requests_total{route="/known/{name}",method="GET",status="200"} 2"#), "{text}");
        assert!(text.contains(r#"http_requests_total{route="none",method="GET",status="404"} 1"#), "{text}");
        assert!(text.contains(r#"http_request_duration_seconds_count{route="/known/{name}"} 2"#), "{text}");
        assert!(text.contains("http_requests_active 1"), "{text}");
        assert!(!text.contains("made-up"), "{text}");
        let outside = Request::get("/metrics").header("X-Forwarded-For", "192.0.2.1").body(Body::empty()).unwrap();
        assert_eq!(routes.oneshot(outside).await.unwrap().status(), 404);
    }
}
