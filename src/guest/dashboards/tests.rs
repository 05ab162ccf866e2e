use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt as _;

use super::*;

const BOARD: &str = r#"{"title":"<b>Shop</b>","time":{"from":"now-6h"},"panels":[
    {"id":1,"type":"timeseries","title":"Orders","fieldConfig":{"defaults":{"unit":"reqps"}},
     "targets":[{"expr":"orders","legendFormat":"{{shop}}"}]},
    {"id":2,"type":"stat","title":"Shops","fieldConfig":{"defaults":{"unit":"short"}},"targets":[{"expr":"bad"}]}]}"#;

/// A stand-in for Prometheus that counts what it is asked.
async fn prometheus(asked: Arc<AtomicUsize>) -> SocketAddr {
    let range = get(async move |RawQuery(query): RawQuery| {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let query = query.unwrap_or_default();
        let number = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
        let series = r#"{"metric":{"shop":"<script>"},"values":[[START,"1.5"]]}"#.replace("START", &number("start="));
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#)
    });
    let refuse = get(async || {
        (StatusCode::BAD_REQUEST, r#"{"status":"error","errorType":"bad_data","error":"unknown function <i>"}"#)
    });
    let routes = Router::new().route("/api/v1/query_range", range).route("/api/v1/query", refuse);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn console(prometheus: SocketAddr) -> Router {
    let boards = vec![board::parse("shop", BOARD.as_bytes()).unwrap()];
    Console::new(boards, Prometheus::new(prometheus).unwrap()).service("/grafana/").routes
}

async fn ask(routes: &Router, path: &str) -> (StatusCode, Value) {
    let response = routes.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

#[tokio::test]
async fn boards_and_panels_are_told_without_their_expressions() {
    let routes = console("127.0.0.1:1".parse().unwrap());
    let (_, boards) = ask(&routes, "/grafana/api/boards").await;
    assert_eq!(
        boards,
        json!({ "boards": [{ "name": "shop", "title": "<b>Shop</b>" }], "ranges": ["1h", "6h", "24h", "7d"] })
    );
    let (_, board) = ask(&routes, "/grafana/api/boards/shop").await;
    assert_eq!((&board["range"], &board["panels"][1]["kind"]), (&json!("6h"), &json!("stat")));
    assert!(!board.to_string().contains("orders"));
    let (status, page) = ask(&routes, "/grafana/").await;
    assert_eq!(status, StatusCode::OK);
    let page = page.as_str().unwrap().to_owned();
    for asset in ASSETS.iter().map(|asset| asset.name).filter(|name| page.contains(*name)) {
        assert_eq!(ask(&routes, &format!("/grafana/assets/{asset}")).await.0, StatusCode::OK);
    }
    assert!(page.contains("assets/console.js") && !page.contains("http"), "{page}");
    assert_eq!(ask(&routes, "/grafana").await.0, StatusCode::PERMANENT_REDIRECT);
}

#[tokio::test]
async fn one_question_answers_many_and_labels_are_data() {
    let asked = Arc::new(AtomicUsize::new(0));
    let routes = console(prometheus(Arc::clone(&asked)).await);
    let path = "/grafana/api/boards/shop/panels/1?range=1h";
    let (a, b, c) = tokio::join!(ask(&routes, path), ask(&routes, path), ask(&routes, path));
    assert_eq!((&a, &a), (&b, &c));
    let (status, panel) = a;
    assert_eq!((status, &panel["step"], &panel["omitted"]), (StatusCode::OK, &json!(15), &json!(0)));
    assert_eq!(panel["lines"][0]["name"], "<script>");
    assert_eq!((&panel["lines"][0]["values"][0], &panel["lines"][0]["values"][1]), (&json!(1.5), &Value::Null));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    ask(&routes, "/grafana/api/boards/shop/panels/1").await;
    assert_eq!(asked.load(Ordering::SeqCst), 2, "another range is another question");
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let routes = console(prometheus(Arc::default()).await);
    let (status, told) = ask(&routes, "/grafana/api/boards/shop/panels/2").await;
    assert_eq!((status, told), (StatusCode::BAD_GATEWAY, json!({ "error": "Prometheus says: unknown function <i>" })));
    for (path, expected) in [
        ("shop/panels/1?range=9y", 400),
        ("shop/panels/1?range=", 400),
        ("shop/panels/3", 404),
        ("shop/panels/x", 400),
        ("none/panels/1", 404),
        ("none", 404),
    ] {
        assert_eq!(ask(&routes, &format!("/grafana/api/boards/{path}")).await.0.as_u16(), expected, "{path}");
    }
    let alone = console("127.0.0.1:1".parse().unwrap());
    let (status, told) = ask(&alone, "/grafana/api/boards/shop/panels/1").await;
    assert_eq!((status, told), (StatusCode::BAD_GATEWAY, json!({ "error": "Prometheus cannot be reached" })));
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let boards = vec![board::parse("shop", BOARD.as_bytes()).unwrap()];
    let console = Console::new(boards, Prometheus::new("127.0.0.1:1".parse().unwrap()).unwrap());
    for id in 0..100 {
        console.keep((0, id, RANGES[0]), Bytes::from(vec![0; KEPT / 10]));
        let kept = console.kept.lock().unwrap();
        assert!(kept.values().map(|(_, answer)| answer.len()).sum::<usize>() <= KEPT);
        assert!(kept.contains_key(&(0, id, RANGES[0])));
    }
}

#[test]
fn a_prefix_is_a_path() {
    let settings = |prefix: &str| Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        prefix: prefix.to_owned(),
        boards: PathBuf::from("/nonexistent"),
        prometheus: "127.0.0.1:1".parse().unwrap(),
    };
    for bad in ["", "grafana/", "/grafana", "//", "/{x}/", "/a b/"] {
        assert!(matches!(run(settings(bad)), Err(Error::Prefix(_))), "{bad}");
    }
    assert!(matches!(run(settings("/grafana/")), Err(Error::Boards(_))));
}
