//! What Prometheus is asked (its HTTP API, `query` and `query_range`), and how much of its answers is believed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// Questions at once: as many as Prometheus answers in SAFE mode. More wait.
const AT_ONCE: usize = 2;
/// How long a question waits for its turn, and for its answer.
const TURN: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);
/// After which time Prometheus itself gives up, in its notation: before we do, so that it says why.
const LIMIT: &str = "8s";
/// The longest answer that is read, in bytes.
const BYTES: usize = 4 << 20;
/// Letters of an error that are shown.
const REASON: usize = 300;

/// A stretch of time and how finely it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// First point, in seconds since 1970.
    pub start: u64,
    /// Seconds between two points.
    pub step: u64,
    /// Number of points; one means an instant.
    #[serde(skip)]
    pub count: usize,
}

impl Window {
    /// The newest value alone.
    pub fn instant() -> Self {
        Self { start: now(), step: 1, count: 1 }
    }

    /// The points of a range until now, both of it in seconds. They lie on multiples of the step, so that a picture
    /// that is drawn again moves by whole points.
    pub fn until_now(seconds: u64, step: u64) -> Self {
        Self::until(now(), seconds, step)
    }

    fn until(end: u64, seconds: u64, step: u64) -> Self {
        let step = step.max(1);
        let steps = seconds / step;
        let start = (end / step).saturating_sub(steps).saturating_mul(step);
        Self { start, step, count: usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1) }
    }

    /// The last point.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.step.saturating_mul(self.count.saturating_sub(1) as u64))
    }

    /// Which point a time of Prometheus is.
    fn index(&self, time: f64) -> Option<usize> {
        let at = ((time - self.start as f64) / self.step as f64).round();
        // A negative or huge number saturates, NaN is 0; neither is a point then.
        let index = at as usize;
        (at >= 0.0 && index < self.count).then_some(index)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Values of one time series at the points of a window; none where it has no value or one that is no number.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
    /// As many as the window has points.
    pub values: Vec<Option<f64>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or the connection broke.
    #[error("Prometheus cannot be reached")]
    Unreachable,
    /// It takes too long.
    #[error("Prometheus did not answer within {} seconds", ANSWER.as_secs())]
    Late,
    /// Too many others ask.
    #[error("too many questions wait for Prometheus")]
    Busy,
    /// The answer is longer than what is read.
    #[error("the answer of Prometheus is longer than {} MiB", BYTES >> 20)]
    Long,
    /// Prometheus says what is wrong.
    #[error("Prometheus says: {0}")]
    Refused(String),
    /// This is not Prometheus.
    #[error("the answer is not one of Prometheus")]
    Strange,
}

/// A Prometheus on this machine.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    base: Url,
    turns: Semaphore,
}

impl Prometheus {
    /// Prepares to ask; nothing is connected to. The error says why there is no HTTP client.
    pub fn new(address: SocketAddr) -> Result<Self, String> {
        // Fails where the program has installed one already, which then is as good. No connection uses it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .connect_timeout(Duration::from_secs(2))
            .pool_max_idle_per_host(AT_ONCE)
            .build()
            .map_err(|error| error.to_string())?;
        let base = Url::parse(&format!("http://{address}/api/v1/")).map_err(|error| error.to_string())?;
        Ok(Self { client, base, turns: Semaphore::new(AT_ONCE) })
    }

    /// The lines of an expression in a window: at most `most`, and how many there were.
    pub async fn ask(&self, expr: &str, window: &Window, most: usize) -> Result<(Vec<Line>, usize), Error> {
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        let body = tokio::time::timeout(ANSWER, self.get(self.address(expr, window)?)).await;
        parse(&body.map_err(|_| Error::Late)??, window, most)
    }

    fn address(&self, expr: &str, window: &Window) -> Result<Url, Error> {
        let verb = if window.count == 1 { "query" } else { "query_range" };
        let mut url = self.base.join(verb).map_err(|_| Error::Unreachable)?;
        let mut query = url.query_pairs_mut();
        query.append_pair("query", expr).append_pair("timeout", LIMIT);
        match window.count {
            1 => query.append_pair("time", &window.start.to_string()),
            _ => query
                .append_pair("start", &window.start.to_string())
                .append_pair("end", &window.end().to_string())
                .append_pair("step", &window.step.to_string()),
        };
        drop(query);
        Ok(url)
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, Error> {
        let mut response = self.client.get(url).send().await.map_err(|_| Error::Unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Error::Unreachable)? {
            if body.len().saturating_add(chunk.len()) > BYTES {
                return Err(Error::Long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Reply {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Matrix(Vec<Series>),
    Vector(Vec<Sample>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// The lines of an answer.
pub fn parse(body: &[u8], window: &Window, most: usize) -> Result<(Vec<Line>, usize), Error> {
    let data = match serde_json::from_slice(body).map_err(|_| Error::Strange)? {
        Reply::Success { data } => data,
        Reply::Error { error } => {
            let plain = error.chars().filter(|c| !c.is_control()).take(REASON).collect();
            return Err(Error::Refused(plain));
        }
    };
    let single = |metric, value| Series { metric, values: vec![value] };
    let series: Vec<Series> = match data {
        Data::Matrix(series) => series,
        Data::Vector(samples) => samples.into_iter().map(|sample| single(sample.metric, sample.value)).collect(),
        Data::Scalar(value) => vec![single(BTreeMap::new(), value)],
    };
    let all = series.len();
    let line = |series: Series| {
        let mut values = vec![None; window.count];
        for (time, value) in series.values {
            let place = window.index(time).and_then(|index| values.get_mut(index));
            if let (Some(place), Ok(value)) = (place, value.parse::<f64>()) {
                *place = value.is_finite().then_some(value);
            }
        }
        Line { labels: series.metric, values }
    };
    Ok((series.into_iter().take(most).map(line).collect(), all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { start: 100, step: 10, count: 4 };

    fn lines(body: &str) -> Result<Vec<Line>, Error> {
        parse(body.as_bytes(), &WINDOW, 10).map(|(lines, _)| lines)
    }

    fn matrix(values: &str) -> String {
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"a":"b"}},"values":[{values}]}}]}}}}"#
        )
    }

    #[test]
    fn points_lie_on_multiples_of_the_step() {
        let window = Window::until(1_000_007, 3600, 15);
        assert_eq!((window.start % 15, window.count), (0, 241));
        assert!(window.end() <= 1_000_007 && window.end() > 1_000_007 - 15);
        assert_eq!(Window::until(5, 3600, 15), Window { start: 0, step: 15, count: 241 });
        assert_eq!(Window::until(5, u64::MAX, 0).start, 0);
    }

    #[test]
    fn values_find_their_points_and_gaps_stay_gaps() {
        let found = lines(&matrix(r#"[100,"1"],[110.4,"2.5"],[130,"NaN"]"#)).unwrap();
        assert_eq!(found[0].values, [Some(1.0), Some(2.5), None, None]);
        assert_eq!(found[0].labels["a"], "b");
        // Times that are no points, twice the same, and values that are no numbers.
        let found = lines(&matrix(r#"[-1e308,"1"],[99,"1"],[99,"2"],[1e308,"3"],[140,"4"],[120,"+Inf"],[110,"x"]"#));
        assert_eq!(found.unwrap()[0].values, [Some(2.0), None, None, None]);
    }

    #[test]
    fn other_kinds_of_results_are_single_values() {
        let instant = Window { start: 100, step: 1, count: 1 };
        let vector =
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[100,"7"]}]}}"#;
        assert_eq!(parse(vector.as_bytes(), &instant, 10).unwrap().0[0].values, [Some(7.0)]);
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[100,"8"]}}"#;
        assert_eq!(parse(scalar.as_bytes(), &instant, 10).unwrap().0[0].values, [Some(8.0)]);
    }

    #[test]
    fn more_lines_than_wanted_are_counted_only() {
        let one = r#"{"metric":{},"values":[]}"#;
        let body = matrix("").replace(r#"{"metric":{"a":"b"},"values":[]}"#, &[one; 25].join(","));
        let (found, all) = parse(body.as_bytes(), &WINDOW, 10).unwrap();
        assert_eq!((found.len(), all), (10, 25));
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        let refused = lines(r#"{"status":"error","errorType":"bad_data","error":"parse error\n\u001b[31m"}"#);
        assert_eq!(refused, Err(Error::Refused("parse error[31m".to_owned())));
        let long = format!(r#"{{"status":"error","error":"{}"}}"#, "x".repeat(10_000));
        assert!(matches!(lines(&long), Err(Error::Refused(text)) if text.len() == REASON));
        for strange in ["", "<html>", "{}", "null", r#"{"status":"success"}"#, &matrix(r#"[1]"#), &"[".repeat(100_000)]
        {
            assert_eq!(lines(strange), Err(Error::Strange), "{strange:.40}");
        }
    }

    #[test]
    fn an_expression_cannot_leave_its_parameter() {
        let prometheus = Prometheus::new("127.0.0.1:1".parse().unwrap()).unwrap();
        let url = prometheus.address("a&timeout=9h#x y\n{b=\"+\"}", &WINDOW).unwrap();
        assert_eq!(url.path(), "/api/v1/query_range");
        let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let expected = [
            ("query", "a&timeout=9h#x y\n{b=\"+\"}"),
            ("timeout", LIMIT),
            ("start", "100"),
            ("end", "130"),
            ("step", "10"),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(url.fragment(), None);
    }

    /// What a server sends that says one thing and keeps the connection as it likes.
    async fn ask_server(answer: &'static [u8], repeat: usize) -> Result<(Vec<Line>, usize), Error> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prometheus = Prometheus::new(listener.local_addr().unwrap()).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 8192]).await);
            for _ in 0..repeat {
                if stream.write_all(answer).await.is_err() {
                    break;
                }
            }
        });
        let result = prometheus.ask("up", &WINDOW, 10).await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn a_hostile_server_is_cut_off() {
        let endless = b"HTTP/1.1 200 OK\r\n\r\n                                                                       ";
        assert_eq!(ask_server(endless, 200_000).await, Err(Error::Long));
        assert_eq!(
            ask_server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 1).await,
            Err(Error::Strange)
        );
        assert_eq!(ask_server(b"nonsense\r\n\r\n", 1).await, Err(Error::Unreachable));
        assert_eq!(ask_server(b"", 1).await, Err(Error::Unreachable));
        let closed = Prometheus::new("127.0.0.1:1".parse().unwrap()).unwrap();
        assert_eq!(closed.ask("up", &WINDOW, 10).await, Err(Error::Unreachable));
    }

    proptest! {
        #[test]
        fn anything_is_lines_or_an_error(at: prop::sample::Index, byte: u8, time: f64, value: f64) {
            let good = matrix(&format!(r#"[{},"{value}"]"#, if time.is_finite() { time } else { 0.0 }));
            let found = lines(&good).unwrap();
            prop_assert_eq!(found[0].values.len(), 4);
            let mut damaged = good.into_bytes();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            drop(parse(&damaged, &WINDOW, 10));
        }
    }
}
