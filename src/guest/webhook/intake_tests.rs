use prometheus_client::registry::Registry;
use tower::ServiceExt as _;

use super::super::config::tests::EXAMPLE;
use super::super::database::{Keeper, Running};
use super::super::journal::tests::Said;
use super::*;
use crate::secrets::Secret;

/// GitHub's published example.
const SECRET: &str = "It's a Secret to Everybody";
const SIGNED: (&str, &str) =
    ("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");

struct World {
    intake: Arc<Intake>,
    registry: Registry,
    said: Said,
}

/// A dispatcher whose database does not answer: nothing listens in an empty directory.
fn world(body: usize) -> World {
    let folder = tempfile::tempdir().unwrap();
    let mut config: Config = serde_json::from_str(EXAMPLE).unwrap();
    config.database.socket = folder.path().to_owned();
    config.body = body;
    let (config, said, mut registry) = (Arc::new(config), Said::default(), Registry::default());
    let (metrics, journal) = (Metrics::new(&mut registry), Journal::new(said.clone()));
    let keeper = Keeper {
        config: Arc::clone(&config),
        running: Running::default(),
        metrics: metrics.clone(),
        journal: journal.clone(),
    };
    let keys = BTreeMap::from([("default".parse().unwrap(), vec![Key::parse(&Secret::from(SECRET)).unwrap()])]);
    let (free, stored) = (Semaphore::new(config.concurrency), Arc::new(Notify::new()));
    let intake = Arc::new(Intake { config, keys, database: keeper.start(), metrics, journal, stored, free });
    World { intake, registry, said }
}

impl World {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        let request = request.extension(ConnectInfo(peer)).body(body.into()).unwrap();
        routes(Arc::clone(&self.intake)).oneshot(request).await.unwrap()
    }

    async fn post(&self, headers: &[(&str, &str)], body: &str) -> u16 {
        self.ask("POST", "/webhook", headers, body.to_owned()).await.status().as_u16()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

#[tokio::test]
async fn only_signed_json_comes_as_far_as_the_database() {
    let world = world(1 << 20);
    assert_eq!(world.post(&[], "{}").await, 401);
    assert_eq!(world.post(&[SIGNED], "{}").await, 401);
    // The published body is no JSON.
    assert_eq!(world.post(&[SIGNED, ("x-github-delivery", "1")], "Hello, World!").await, 400);
    for method in ["GET", "PUT", "DELETE", "HEAD", "PATCH"] {
        let response = world.ask(method, "/webhook", &[SIGNED], "{}").await;
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
    assert_eq!(world.ask("POST", "/webhook/default", &[], "{}").await.status().as_u16(), 401);
    assert_eq!(world.ask("POST", "/webhook/other", &[], "{}").await.status().as_u16(), 404);
    assert_eq!(world.ask("GET", "/health", &[], "").await.status().as_u16(), 503);
}

#[tokio::test]
async fn a_large_body_is_refused_whatever_it_says_of_itself() {
    let world = world(100);
    assert_eq!(world.post(&[("content-length", "1")], &"x".repeat(101)).await, 413);
    assert_eq!(world.post(&[("content-length", "99999999999999999999")], &"x".repeat(101)).await, 413);
    assert_eq!(world.post(&[], &"x".repeat(DROPPED + 200)).await, 413);
    assert_eq!(world.post(&[], &"x".repeat(101)).await, 413);
    assert_eq!(world.post(&[], &"x".repeat(100)).await, 401);
}

#[tokio::test]
async fn without_a_database_nothing_is_accepted() {
    let world = world(1 << 20);
    let key = &world.intake.keys[&"default".parse().unwrap()];
    let (id, time) = ("msg_1", jiff::Timestamp::now().as_second().to_string());
    let signature = super::super::signature::tests::sign(&key[0], id, &time, "{}");
    let headers = [("webhook-id", id), ("webhook-timestamp", time.as_str()), ("webhook-signature", &signature)];
    let response = world.ask("POST", "/webhook", &headers, "{}").await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    // Nobody is shut out for what is not the sender's fault.
    assert!(!world.said.text().contains("rejected"), "{}", world.said.text());
    let metrics = world.metrics();
    let line = r#"webhook_events_total{source="default",type="other",result="unavailable"} 1"#;
    assert!(metrics.contains(line) && metrics.contains("webhook_database_up 0"), "{metrics}");
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_back() {
    let world = world(1 << 20);
    let all = world.intake.free.try_acquire_many(8).unwrap();
    let response = world.ask("POST", "/webhook", &[], "{}").await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    drop(all);
    assert_eq!(world.post(&[], "{}").await, 401);
}

#[tokio::test]
async fn the_journal_names_whom_nginx_saw_and_metrics_name_nothing_made_up() {
    let world = world(1 << 20);
    for (forwarded, seen) in [
        ("198.51.100.7", "198.51.100.7"),
        ("10.0.0.1, 198.51.100.8", "198.51.100.8"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("198.51.100.10: stale webhook: rejected 198.51.100.11", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        assert_eq!(world.post(&[("x-forwarded-for", forwarded)], "{}").await, 401);
        let text = world.said.text();
        let last = text.lines().rfind(|line| line.contains("rejected")).unwrap();
        assert_eq!(last, format!("webhook: rejected {seen}: unsigned"));
    }
    let _ = world.ask("POST", "/webhook/made-up", &[], "{}").await;
    let metrics = world.metrics();
    assert!(metrics.contains(r#"webhook_events_total{source="none",type="other",result="no-source"} 1"#), "{metrics}");
    assert!(
        metrics.contains(r#"webhook_events_total{source="default",type="other",result="unsigned"} 6"#),
        "{metrics}"
    );
    assert!(!metrics.contains("made-up"), "{metrics}");
}
