use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::check::{Stage, Verdict};
use crate::guest::health::{Kernel, Outcome, StageOutcome, Trouble};

const CONFIG: &str = r#"{"image":"<shop>","version":"1.2.3","mode":"safe","details":true,"postgresql":null,
    "health":null,"units":["a.service","b.service"],
    "links":[{"title":"Dash & boards","href":"/grafana/"},{"title":"no","href":"javascript:alert(1)"}]}"#;

fn versions() -> BTreeMap<String, String> {
    [("a.service".to_owned(), "1.2-3<deb>".to_owned())].into()
}

fn config(change: impl FnOnce(&mut Value)) -> Config {
    let mut value: Value = serde_json::from_str(CONFIG).unwrap();
    change(&mut value);
    Config::parse(value.to_string().as_bytes()).unwrap()
}

fn unit(name: &str, active: &str, sub: &str, description: &str) -> Unit {
    Unit { unit: name.into(), active: active.into(), sub: sub.into(), description: description.into() }
}

async fn ask(status: Status, path: &str) -> (u16, Value) {
    let routes = status.service().routes;
    let response = routes.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

/// A service that has just looked, and found this.
fn looked(config: Config, found: Found) -> Status {
    let mut status = Status::new(config, versions());
    *status.found.get_mut() = Some((Instant::now(), Arc::new(found)));
    status
}

fn found(units: Vec<Unit>) -> Found {
    Found { units: Ok(units), health: None }
}

#[test]
fn an_unknown_key_is_an_error_and_a_script_is_no_link() {
    assert!(Config::parse(CONFIG.replace("details", "detail").as_bytes()).is_err());
    assert_eq!(config(|_| ()).links.len(), 1);
}

#[tokio::test]
async fn without_a_database_it_is_ready_and_with_a_silent_one_it_is_not() {
    assert_eq!(
        ask(looked(config(|_| ()), found(vec![])), "/ready").await,
        (200, json!({ "ready": true, "checks": {} }))
    );
    let dir = tempfile::tempdir().unwrap();
    let there = |config: &mut Value| config["postgresql"] = json!({ "directory": dir.path(), "port": 5432 });
    let status = || looked(config(there), found(vec![]));
    let gone = json!({ "ready": false, "checks": { "postgresql": "cannot be reached" } });
    assert_eq!(ask(status(), "/ready").await, (503, gone));
    assert_eq!(ask(status(), "/live").await, (200, "alive\n".into()));
    let (code, told) = ask(status(), "/healthz").await;
    assert_eq!((code, &told["healthy"], &told["ready"]), (503, &json!(false), &json!(false)));
    // Somebody listens there and says nothing.
    let _listener = tokio::net::UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
    let late = json!({ "ready": false, "checks": { "postgresql": "does not answer in time" } });
    assert_eq!(ask(status(), "/ready").await, (503, late));
}

#[tokio::test]
async fn whatever_is_wrong_is_unhealthy() {
    let good = || found(vec![unit("a.service", "active", "running", "A"), unit("x.timer", "inactive", "dead", "X")]);
    let (code, told) = ask(looked(config(|_| ()), good()), "/healthz").await;
    assert_eq!((code, told), (200, json!({ "healthy": true, "ready": true, "checks": {}, "failed_units": [] })));
    let looked_at = |good| Some(health(good, Vec::new()));
    let wrong = [
        found(vec![unit("z.service", "failed", "failed", "Z")]),
        Found { units: Err("silent".into()), ..Found::default() },
        Found { health: looked_at(false), ..good() },
    ];
    for found in wrong {
        let (code, told) = ask(looked(config(|_| ()), found.clone()), "/healthz").await;
        assert_eq!((code, &told["healthy"]), (503, &json!(false)), "{found:?}");
    }
    let fine = Found { health: looked_at(true), ..good() };
    let (code, page) = ask(looked(config(|_| ()), fine.clone()), "/").await;
    assert!(code == 200 && page.as_str().unwrap().contains("nothing"), "{page}");
    assert_eq!(ask(looked(config(|_| ()), fine), "/healthz").await.0, 200);
}

/// A look of five seconds ago.
fn health(good: bool, troubles: Vec<Trouble>) -> Health {
    let stage = |stage, verdict, checks| StageOutcome { stage, verdict, checks };
    let outcome = Outcome {
        healthy: good,
        time: 1_800_000_000,
        ms: 2500,
        stages: vec![
            stage(Stage::Ssh, Verdict::NotApplicable, [0; 5]),
            stage(
                Stage::Services,
                if good { Verdict::Healthy } else { Verdict::Unhealthy },
                [u64::from(!good), 0, 0, 9, 1],
            ),
        ],
        troubles,
        wrong: u64::from(!good),
        failed: Vec::new(),
        certificates: Vec::new(),
        kernel: Kernel::default(),
    };
    let (age_seconds, troubles) = (Some(5), Some(outcome.wrong));
    Health { good, age_seconds, troubles, wrong: Vec::new(), outcome: Some(outcome) }
}

#[tokio::test]
async fn the_page_tells_versions_stages_and_troubles() {
    let trouble = Trouble {
        id: "services.unit.a.service".to_owned(),
        verdict: Verdict::Unhealthy,
        expected: "active".to_owned(),
        observed: "<i>inactive</i>".to_owned(),
    };
    let units = || vec![unit("a.service", "inactive", "dead", "A")];
    let unwell = Found { health: Some(health(false, vec![trouble])), ..found(units()) };
    let (_, page) = ask(looked(config(|_| ()), unwell), "/").await;
    let page = page.as_str().unwrap();
    for text in [
        "1.2-3&lt;deb&gt;",
        "asked from outside only",
        "1 unhealthy, 9 healthy, 1 left out",
        "services.unit.a.service",
        "&lt;i&gt;inactive&lt;&#x2f;i&gt;",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (_, page) =
        ask(looked(config(|_| ()), Found { health: Some(health(true, vec![])), ..found(units()) }), "/").await;
    let page = page.as_str().unwrap();
    assert!(page.contains("9 healthy, 1 left out") && !page.contains("Expected"), "{page}");
    // Before the first look, and where nobody looks.
    let unknown = Found { health: Some(Health { good: true, ..Health::default() }), ..found(units()) };
    assert!(ask(looked(config(|_| ()), unknown), "/").await.1.as_str().unwrap().contains("no report of a look"));
    assert!(!ask(looked(config(|_| ()), found(units())), "/").await.1.as_str().unwrap().contains("Checks"));
}

#[test]
fn versions_are_those_of_the_image_if_it_has_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("check.json");
    assert!(super::versions(&path).unwrap().is_empty());
    disk::write(&path, b"{}", 0o644).unwrap();
    assert!(matches!(super::versions(&path), Err(Error::Baseline(_))));
}

#[tokio::test]
async fn the_page_escapes_what_it_shows() {
    let units = vec![unit("a.service", "failed", "failed", "<script>alert(1)</script>")];
    let (code, page) = ask(looked(config(|_| ()), found(units)), "/").await;
    let page = page.as_str().unwrap();
    assert_eq!(code, 200);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>alert"), "{page}");
    assert!(page.contains("&lt;shop&gt; 1.2.3") && page.contains("Dash &amp; boards"), "{page}");
    assert!(page.contains("not loaded") && page.contains("Something is wrong"), "{page}");
    assert!(!page.contains("javascript:") && !page.contains(" style="), "{page}");
}

#[tokio::test]
async fn who_waits_for_a_first_question_is_well() {
    let asked = |socket| {
        let units = vec![unit("a.service", "inactive", "dead", "A"), unit("a.socket", socket, "listening", "S")];
        looked(config(|config| config["units"] = json!(["a.service"])), found(units))
    };
    for (socket, class) in [("active", "good"), ("inactive", "bad")] {
        let page = ask(asked(socket), "/").await.1.as_str().unwrap().to_owned();
        let row = page.split("inactive, dead").next().unwrap().rsplit("<tr").next().unwrap().to_owned();
        assert!(row.contains(class), "{socket}: {row}");
    }
}

#[tokio::test]
async fn without_details_strangers_learn_little() {
    let plain = || config(|config| config["details"] = json!(false));
    let units = || found(vec![unit("a.service", "failed", "failed", "A")]);
    let (_, page) = ask(looked(plain(), units()), "/").await;
    let page = page.as_str().unwrap();
    for word in ["a.service", "1.2.3", "shop", "safe", "Kernel", "failed"] {
        assert!(!page.contains(word), "{word}: {page}");
    }
    let (code, told) = ask(looked(plain(), units()), "/healthz").await;
    assert_eq!((code, told), (503, json!({ "healthy": false, "ready": true, "checks": {} })));
}
