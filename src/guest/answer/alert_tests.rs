use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

fn metrics(attempts: &str, failed: &str) -> String {
    let name = "alertmanager_notification_requests";
    format!(
        "# TYPE {name}_failed_total counter\n{name}_failed_total{{integration=\"email\"}} 7\n\
         {name}_failed_total{{integration=\"webhook\"}} {failed}\n{name}_total{{integration=\"email\"}} 70\n\
         {name}_total{{integration=\"webhook\"}} {attempts}\ngo_info{{version=\"go1.24\"}} 1\n"
    )
}

/// Answers requests in this order, each with a status and a body, and then leaves, or when a visitor asks nothing; gives
/// what was asked.
fn serve(answers: Vec<(u16, String)>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for (status, body) in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap() == 0 {
                    return heard;
                }
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut sent = String::new();
            stream.by_ref().take(length.map_or(0, |length| length.parse().unwrap())).read_to_string(&mut sent).unwrap();
            let reply = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
            heard.push(head + &sent);
        }
        heard
    });
    (address, serving)
}

fn ask(limit: Duration, answers: Vec<(u16, String)>) -> (Result<Answer, Trouble>, Vec<String>) {
    let (address, serving) = serve(answers);
    let root = tempfile::tempdir().unwrap();
    let machine = Machine { proc: "/proc".into(), sys: "/sys".into(), root: root.path().into(), limit: Some(limit) };
    let answer = alert(&machine, &Place::Tcp(address), 1);
    drop(TcpStream::connect(address));
    (answer, serving.join().unwrap())
}

fn ok(attempts: &str, failed: &str) -> (u16, String) {
    (200, metrics(attempts, failed))
}

#[test]
fn an_alert_is_posted_and_its_messages_are_counted() {
    let posted = || (200, String::new());
    let answers = vec![ok("10", "2"), posted(), ok("10", "2"), ok("1.1e+01", "2"), ok("11", "2")];
    let (answer, heard) = ask(TIME, answers);
    let Answer::Alerted(Alerted { nonce, taken: 1, failed: 0 }) = answer.unwrap() else { panic!() };
    assert!(heard[1].starts_with("POST /api/v2/alerts HTTP/1.1\r\n"), "{heard:?}");
    assert!(heard[1].contains("\r\nContent-Type: application/json\r\n"), "{heard:?}");
    let (_, document) = heard[1].split_once("\r\n\r\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let labels = json!({ "alertname": "RaveTest", "severity": "none", "nonce": nonce });
    assert_eq!((document.as_array().unwrap().len(), &document[0]["labels"]), (1, &labels));
    let over: Timestamp = document[0]["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(over > Timestamp::now() && over < Timestamp::now() + LIFE, "{over}");
    assert!([0, 2, 3, 4].iter().all(|at| heard[*at].starts_with("GET /metrics ")), "{heard:?}");
    // What looked like a message that was taken had failed by the next look, and was then repeated.
    let answers = vec![ok("0", "0"), posted(), ok("1", "0"), ok("1", "1"), ok("2", "1"), ok("2", "1")];
    let (answer, _) = ask(TIME, answers);
    assert!(matches!(answer.unwrap(), Answer::Alerted(Alerted { taken: 1, failed: 1, .. })));
}

#[test]
fn what_is_not_told_in_time_is_not_taken() {
    let short = Duration::from_millis(300);
    for (attempts, failed) in [("0", 0), ("3", 3)] {
        let counted = || ok(attempts, attempts);
        let (answer, _) = ask(short, vec![ok("0", "0"), (200, String::new()), counted(), counted()]);
        let told = answer.unwrap();
        assert!(matches!(&told, Answer::Alerted(told) if (told.taken, told.failed) == (0, failed)), "{told:?}");
    }
}

#[test]
fn who_refuses_or_does_not_count_has_told_nobody() {
    let (answer, _) = ask(TIME, vec![ok("0", "0"), (400, "bad".to_owned())]);
    assert_eq!(answer.unwrap(), Answer::Silence { reason: "/api/v2/alerts: status 400".to_owned() });
    let (answer, _) = ask(TIME, vec![(503, String::new())]);
    assert_eq!(answer.unwrap(), Answer::Silence { reason: "/metrics: status 503".to_owned() });
    let (answer, _) = ask(TIME, vec![(200, "go_info 1\n".to_owned())]);
    assert!(answer.unwrap_err().to_string().contains("does not count"));
    // Nobody listens any more once the metrics were told.
    let (answer, _) = ask(TIME, vec![ok("0", "0")]);
    assert!(matches!(answer.unwrap(), Answer::Silence { .. }));
}

#[test]
fn only_whole_counts_of_webhooks_are_added_up() {
    let of = |text: &str| sum(text, "m");
    assert_eq!(
        of("m{integration=\"webhook\",receiver=\"a\"} 2\nm{receiver=\"b\",integration=\"webhook\"} 3\n"),
        Some(5)
    );
    assert_eq!(of("m{integration=\"webhook\"} 2\nm{integration=\"webhook\"} 3"), Some(2));
    for none in ["", "m 1\n", "mm{integration=\"webhook\"} 1\n", "m{integration=\"webhooks\"} 1\n"] {
        assert_eq!(of(none), None, "{none}");
    }
    for no_count in ["-1", "NaN", "+Inf", "1e300", "", "x"] {
        assert_eq!(of(&format!("m{{integration=\"webhook\"}} {no_count}\n")), None, "{no_count}");
    }
}

proptest::proptest! {
    #[test]
    fn no_metrics_make_it_fail(at in 0_usize..60, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20)) {
        let good = b"m{integration=\"webhook\"} 2\nm{integration=\"webhook\"} 3\n";
        let (before, after) = good.split_at(at.min(good.len()));
        let damaged = [before, &bytes, after].concat();
        let _ = sum(&String::from_utf8_lossy(&damaged), "m");
    }
}
