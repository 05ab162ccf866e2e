use super::*;
use proptest::prelude::*;
use qapi::{qga, qmp};
use tokio::sync::watch;

const LIMIT: usize = 4096;
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A link, the socket of its peer, and how many events came.
fn pair() -> (Link, UnixStream, watch::Receiver<usize>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (count, counted) = watch::channel(0);
    let link = Link::new(Peer::Agent, ours, LIMIT, move |_| count.send_modify(|count| *count += 1)).unwrap();
    (link, theirs, counted)
}

/// Reads one request of the link; returns its id.
async fn request(peer: &mut UnixStream) -> u64 {
    let mut line = Vec::new();
    while peer.read_u8().await.is_ok_and(|byte| {
        byte != b'\n' && {
            line.push(byte);
            true
        }
    }) {}
    let start = line.iter().position(|&byte| byte == b'{').unwrap();
    serde_json::from_slice::<Value>(&line[start..]).unwrap()["id"].as_u64().unwrap()
}

async fn reply(peer: &mut UnixStream, text: impl AsRef<[u8]>) {
    peer.write_all(text.as_ref()).await.unwrap();
}

fn reason(error: Error) -> LinkError {
    match error {
        Error::Link { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_find_their_calls_in_any_order_among_events() {
    run(async {
        let (link, mut peer, events) = pair();
        let script = async {
            let (first, second) = (request(&mut peer).await, request(&mut peer).await);
            reply(&mut peer, format!("{{\"return\": 2, \"id\": {second}}}\n{{\"event\": \"NEW_ONE\"}}\n")).await;
            reply(&mut peer, format!("{{\"return\": 1, \"id\": {first}}}\n")).await;
        };
        let call = || link.call(qga::guest_sync { id: 0 }, LONG);
        let (first, second, ()) = tokio::join!(call(), call(), script);
        assert_eq!((first.unwrap(), second.unwrap(), *events.borrow()), (1, 2, 1));
    });
}

#[test]
fn a_call_that_timed_out_leaves_nothing_and_its_late_answer_reaches_nobody() {
    run(async {
        let (link, mut peer, _) = pair();
        let error = link.call(qga::guest_sync { id: 0 }, SHORT).await.unwrap_err();
        assert!(matches!(reason(error), LinkError::Timeout(SHORT)));
        assert!(lock(&link.waiting).calls.is_empty());
        let script = async {
            let (late, current) = (request(&mut peer).await, request(&mut peer).await);
            reply(&mut peer, format!("{{\"return\": 7, \"id\": {late}}}\n{{\"return\": 8, \"id\": {current}}}\n"))
                .await;
        };
        let (answer, ()) = tokio::join!(link.call(qga::guest_sync { id: 0 }, LONG), script);
        assert_eq!(answer.unwrap(), 8);
    });
}

#[test]
fn garbage_before_the_delimiter_and_between_answers_is_dropped() {
    run(async {
        let (link, mut peer, _) = pair();
        let script = async {
            let id = request(&mut peer).await;
            let noise: Vec<u8> = (0..=255).cycle().take(3000).collect();
            reply(&mut peer, noise).await;
            reply(&mut peer, "\n{\"id\": \"x\"}\n[[[[\n{\"id\": -1}\n\nnull\n{\"return\": 1, \"id\": 99}\n{\"ret")
                .await;
            reply(&mut peer, [DELIMITER]).await;
            reply(&mut peer, format!("{{\"return\": 5, \"id\": {id}}}\n")).await;
        };
        let (answer, ()) = tokio::join!(link.call_delimited(qga::guest_sync_delimited { id: 5 }, LONG), script);
        assert_eq!(answer.unwrap(), 5);
    });
}

#[test]
fn an_oversized_answer_fails_the_call_and_the_line_lives_on() {
    run(async {
        let (link, mut peer, _) = pair();
        let script = async {
            request(&mut peer).await;
            reply(&mut peer, vec![b'x'; LIMIT * 3]).await;
        };
        let (answer, ()) = tokio::join!(link.call(qga::guest_ping {}, LONG), script);
        assert!(matches!(reason(answer.unwrap_err()), LinkError::TooLong(LIMIT)));
        let script = async {
            let id = request(&mut peer).await;
            reply(&mut peer, format!("\n{{\"return\": {{}}, \"id\": {id}}}\n")).await;
        };
        let (answer, ()) = tokio::join!(link.call(qga::guest_ping {}, LONG), script);
        answer.unwrap();
    });
}

#[test]
fn refusals_and_answers_of_the_wrong_form_are_told_apart() {
    run(async {
        let (link, mut peer, _) = pair();
        let mut ask = async |answer: &str| {
            let script = async {
                let id = request(&mut peer).await;
                reply(&mut peer, format!("{{{answer}\"id\": {id}}}\n")).await;
            };
            let (answer, ()) = tokio::join!(link.call(qga::guest_sync { id: 0 }, LONG), script);
            reason(answer.unwrap_err())
        };
        let refused = ask("\"error\": {\"class\": \"Odd\", \"desc\": \"no\\u001b[2J\\nway\"}, ").await;
        assert_eq!(refused.to_string(), "Odd: no[2Jway", "without control characters");
        assert!(matches!(ask("\"return\": \"text\", ").await, LinkError::Form(_)));
        assert!(matches!(ask("").await, LinkError::Sense(_)));
        let deep = format!("\"return\": {}{}, ", "[".repeat(1500), "]".repeat(1500));
        assert!(matches!(ask(&deep).await, LinkError::Form(_)));
    });
}

#[test]
fn a_peer_that_hangs_up_ends_calls_at_once() {
    run(async {
        let (link, peer, _) = pair();
        let script = async { drop(peer) };
        let (answer, ()) = tokio::join!(link.call(qmp::query_status {}, LONG), script);
        assert!(matches!(reason(answer.unwrap_err()), LinkError::Closed));
        assert!(link.is_closed());
        let again = link.call(qmp::query_status {}, LONG).await.unwrap_err();
        assert!(matches!(reason(again), LinkError::Closed));
    });
}

#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_time() {
    run(async {
        let (link, _peer, _) = pair();
        let big = qga::guest_file_open { path: "x".repeat(1 << 20), mode: None };
        for _ in 0..QUEUE + 4 {
            let error = link.call(&big, Duration::from_millis(5)).await.unwrap_err();
            assert!(matches!(reason(error), LinkError::Timeout(_)));
        }
        assert_eq!(link.outgoing.capacity(), 0, "the queue is full and stays so");
        assert!(lock(&link.waiting).calls.is_empty());
    });
}

#[test]
fn a_peer_that_never_stops_talking_does_not_hold_up_the_timers() {
    run(async {
        let (link, mut peer, _) = pair();
        let flood = tokio::spawn(async move { while peer.write_all(b"{\"event\": \"X\"}\n").await.is_ok() {} });
        let error = link.call(qmp::query_status {}, SHORT).await.unwrap_err();
        assert!(matches!(reason(error), LinkError::Timeout(SHORT)));
        flood.abort();
    });
}

#[test]
fn a_long_directory_is_no_obstacle_to_connecting() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        disk::create_dir_all(&deep).unwrap();
        let (_open, path) = short_path(&deep, "a.sock").unwrap();
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let (client, server) = tokio::join!(connect(&deep, "a.sock"), listener.accept());
        assert!(client.is_ok() && server.is_ok());
        assert!(matches!(connect(&deep, "none.sock").await, Err(Error::Disk(e)) if e.is_not_found()));
    });
}

proptest! {
    #[test]
    fn any_bytes_give_only_bounded_lines(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut frames = Frames::new(16);
        for byte in bytes {
            if let Some(Frame::Line(line)) = frames.push(byte) {
                prop_assert!(!line.is_empty() && line.len() <= 16);
                prop_assert!(!line.contains(&b'\n') && !line.contains(&DELIMITER));
            }
            prop_assert!(frames.line.len() <= 16);
        }
    }
}
