use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::*;
use crate::client::fixture;
use crate::disk;
use crate::qemu::outside::Patience;
use crate::secrets::generate;
use crate::tool::Tool;

const NAME: &str = "web.example";

/// A site's certificate and configuration; `other` has it prove another key than that of its certificate.
fn config(versions: &[&'static SupportedProtocolVersion], other: bool) -> Arc<ServerConfig> {
    let now = SystemTime::now();
    let (authority, key) = (generate::authority("test", now).unwrap(), generate::tls_key().unwrap());
    let chain = generate::server_certificate(&[NAME.to_owned()], &key, &authority, now).unwrap();
    let proved = if other { generate::tls_key().unwrap() } else { key };
    fixture::config(&chain, proved.expose_text().unwrap(), NAME, versions)
}

/// A machine whose port 3002 is at `port`, and which has that much time.
fn outside(port: u16, time: Duration) -> Outside {
    let dir = disk::temp_dir().unwrap();
    let patience = Patience { offer: time, login: time, attempts: 1, ..Patience::default() };
    let outside = Outside::new("127.0.0.1", 1, dir.path(), Tool::new("ssh"), patience).unwrap();
    outside.reached(BTreeMap::from([(3002, port)]), None)
}

fn only(port: u16, probe: Probe) -> Answer {
    within(Duration::from_secs(30), port, probe)
}

fn within(time: Duration, port: u16, probe: Probe) -> Answer {
    outside(port, time).answer(&[probe]).remove(0).answer
}

fn tls() -> Probe {
    Probe::Tls { port: 3002, name: NAME.to_owned() }
}

fn older() -> Probe {
    Probe::TlsOlder { port: 3002, name: NAME.to_owned() }
}

fn plain() -> Probe {
    Probe::PlainHttp { port: 3002, name: NAME.to_owned() }
}

fn page(request: Request) -> Probe {
    Probe::Https { port: 3002, request }
}

fn burst(requests: u32, burst: u32) -> Probe {
    Probe::Burst {
        port: 3002,
        name: NAME.to_owned(),
        paths: ["/live".to_owned()].into(),
        limit: Rate { requests, burst },
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn what_is_agreed_on_is_told_and_older_versions_are_tried() {
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 2, |_| ok(""));
    let Answer::Tls(report) = only(port, tls()) else { panic!() };
    assert_eq!((report.version.as_str(), report.chain.len()), ("TLSv1_3", 2), "{report:?}");
    let refused = only(port, older());
    assert!(
        matches!(&refused, Answer::TlsRefusal { refused: true, said } if said.contains("ProtocolVersion")),
        "{refused:?}"
    );
    serving.join().unwrap();

    let (port, serving) = fixture::serve(config(&[&TLS12, &TLS13], false), 1, |_| ok(""));
    let accepted = only(port, older());
    assert!(
        matches!(&accepted, Answer::TlsRefusal { refused: false, said } if said.contains("TLSv1_2")),
        "{accepted:?}"
    );
    serving.join().unwrap();
}

/// What servers of TLS 1.1 and 1.0 say to a client of TLS 1.2: that they speak their own, or that no cipher is left.
#[test]
fn a_server_that_speaks_what_is_older_still_does_not_refuse_the_version() {
    for hello in [
        b"\x16\x03\x02\0\x2a\x02\0\0\x26\x03\x02an arbitrary number of 32 bytes!\0\0\x2f\0",
        b"\x16\x03\x01\0\x2a\x02\0\0\x26\x03\x01an arbitrary number of 32 bytes!\0\0\x2f\0",
    ] {
        let answer = only(raw(hello, 1), older());
        assert!(matches!(answer, Answer::TlsRefusal { refused: false, .. }), "{answer:?}");
    }
    let answer = only(raw(b"\x15\x03\x01\0\x02\x02\x28", 1), older());
    assert!(
        matches!(&answer, Answer::TlsRefusal { refused: false, said } if said.contains("HandshakeFailure")),
        "{answer:?}"
    );
}

#[test]
fn what_is_spoken_on_top_is_what_the_server_takes_of_what_is_offered() {
    for (taken, told) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1"), (&[], "")] {
        let mut config = (*config(&[&TLS13], false)).clone();
        config.alpn_protocols = taken.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (port, serving) = fixture::serve(Arc::new(config), 2, |_| ok("hello"));
        let Answer::Tls(report) = only(port, tls()) else { panic!() };
        assert_eq!(report.protocol, told);
        // Whoever asks for a page offers nothing, and is answered in HTTP/1.1.
        assert!(matches!(only(port, page(Request::get(NAME, "/"))), Answer::Http(HttpReply { status: 200, .. })));
        serving.join().unwrap();
    }
}

#[test]
fn a_server_that_does_not_hold_its_key_is_none() {
    let (port, serving) = fixture::serve(config(&[&TLS13], true), 2, |_| ok(""));
    let answer = only(port, tls());
    assert!(matches!(&answer, Answer::Silence { reason } if reason.contains("BadSignature")), "{answer:?}");
    assert!(matches!(only(port, page(Request::get(NAME, "/"))), Answer::Unreachable { .. }));
    assert_eq!(serving.join().unwrap(), [""; 0]);
}

#[test]
fn requests_are_sent_as_they_are_given() {
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 3, |request| match request.len() {
        ..1000 => ok("hello"),
        _ => "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let Answer::Http(reply) = only(port, page(Request::get(NAME, "/a?b"))) else { panic!() };
    assert_eq!((reply.status, reply.body.as_str(), reply.headers["server"].as_str()), (200, "hello", "nginx"));
    only(port, page(Request::get(NAME, "/").with([("host", "other.example")])));
    let large = Request { body: "{}".to_owned(), blanks: 70_000, ..Request::post(NAME, "/webhook") };
    assert!(matches!(only(port, page(large)), Answer::Http(HttpReply { status: 413, .. })));
    let heard = serving.join().unwrap();
    assert!(
        heard[0].starts_with("GET /a?b HTTP/1.1\r\nhost: web.example\r\n") && heard[0].ends_with("\r\n\r\n"),
        "{heard:?}"
    );
    assert_eq!(heard[1].matches("host:").count(), 1);
    assert!(heard[1].contains("\r\nhost: other.example\r\n"));
    assert!(
        heard[2].contains("content-length: 70002\r\n")
            && heard[2].ends_with(&format!("\r\n\r\n{{}}{}", " ".repeat(70_000)))
    );
}

#[test]
fn who_is_told_to_wait_waits_and_asks_again() {
    let mut times = 0;
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 2, move |_| {
        times += 1;
        if times == 1 { "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n".to_owned() } else { ok("") }
    });
    assert!(matches!(only(port, page(Request::get(NAME, "/"))), Answer::Http(HttpReply { status: 200, .. })));
    assert_eq!(serving.join().unwrap().len(), 2);
}

#[test]
fn a_burst_goes_on_until_it_is_limited_or_there_can_be_no_limit() {
    let mut served = 0;
    let limited = move |_: &str| {
        served += 1;
        let status = if served > 4 { "429 Too Many" } else { "404 Not Found" };
        // Every second answer ends the connection.
        let close = if served % 2 == 0 { "Connection: close\r\n" } else { "" };
        format!("HTTP/1.1 {status}\r\n{close}Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
    };
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 3, limited);
    let Answer::Burst(told) = only(port, burst(60, 10)) else { panic!() };
    assert_eq!((told.served, told.limited), (4, true));
    serving.join().unwrap();

    let (port, serving) = fixture::serve(config(&[&TLS13], false), 1, |_| ok("x"));
    let Answer::Burst(told) = only(port, burst(60, 10)) else { panic!() };
    assert!(!told.limited && told.served > Rate { requests: 60, burst: 10 }.most(told.ms), "{told:?}");
    assert_eq!(serving.join().unwrap().len() as u64, told.served);
}

#[test]
fn a_burst_asks_for_the_page_that_comes_quickest() {
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 1, |request| {
        if !request.starts_with("GET /b") {
            std::thread::sleep(Duration::from_millis(30));
        }
        ok("")
    });
    let paths = ["/a", "/b", "/c"].map(str::to_owned).into();
    only(port, Probe::Burst { port: 3002, name: NAME.to_owned(), paths, limit: Rate { requests: 1, burst: 5 } });
    let heard = serving.join().unwrap();
    let asked: Vec<&str> = heard.iter().filter_map(|request| request.split(' ').nth(1)).collect();
    assert_eq!(asked, ["/a", "/b", "/c", "/b", "/b", "/b", "/b", "/b"]);
}

/// A server without TLS that says `words` and then waits for the client to leave.
fn raw(words: &'static [u8], connections: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may leave before it has heard everything.
            let _ = stream.write_all(words);
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        }
    });
    port
}

#[test]
fn content_without_tls_is_told_and_is_no_tls() {
    let port = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 3);
    assert!(matches!(only(port, plain()), Answer::Http(HttpReply { status: 200, .. })));
    assert!(matches!(only(port, tls()), Answer::Silence { .. }));
    assert!(matches!(only(port, older()), Answer::TlsRefusal { refused: false, .. }));
}

/// A client that goes on for so many seconds, with a header or with a body that it posts.
fn slow(post: Option<&str>, seconds: u16) -> Probe {
    Probe::Slow { port: 3002, name: NAME.to_owned(), post: post.map(str::to_owned), seconds }
}

#[test]
fn a_slow_client_tells_how_long_it_was_put_up_with() {
    // One after the other, whoever comes first.
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 3, |_| String::new());
    let answers = outside(port, Duration::from_secs(30)).answer(&[slow(None, 2), slow(Some("/webhook"), 2), tls()]);
    for answered in &answers[..2] {
        assert!(matches!(answered.answer, Answer::Held { ms: 2000.., ended: false }), "{answers:?}");
    }
    assert!(matches!(answers[2].answer, Answer::Tls(_)), "{answers:?}");
    assert_eq!(serving.join().unwrap(), Vec::<String>::new());

    // Whoever is not given the time has not seen an end.
    let (port, serving) = fixture::serve(config(&[&TLS13], false), 1, |_| String::new());
    let answer = within(Duration::from_secs(2), port, slow(Some("/webhook"), 20));
    assert!(matches!(answer, Answer::Held { ms: ..10_000, ended: false }), "{answer:?}");
    serving.join().unwrap();

    for post in [None, Some("/webhook")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = config(&[&TLS13], false);
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = rustls::ServerConnection::new(config).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut stream).unwrap();
            }
        });
        assert!(matches!(only(port, slow(post, 20)), Answer::Held { ms: ..10_000, ended: true }));
        serving.join().unwrap();
    }
}

#[test]
fn silence_and_closed_ports_end_in_time() {
    let begin = Instant::now();
    let port = raw(b"", 4);
    for probe in [tls(), older(), page(Request::get(NAME, "/")), burst(1, 1)] {
        assert!(matches!(within(Duration::from_secs(1), port, probe), Answer::Unreachable { .. }));
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for probe in [tls(), older(), plain(), page(Request::get(NAME, "/")), burst(1, 1)] {
        assert!(matches!(only(port, probe), Answer::Unreachable { .. }));
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    // A port that is reached nowhere says nothing of the machine.
    let elsewhere = Probe::Tls { port: 443, name: NAME.to_owned() };
    assert!(matches!(only(port, elsewhere), Answer::Unavailable { .. }));
}

#[test]
fn floods_and_nonsense_end() {
    for (say, ends) in [
        ("HTTP/1.1 200 OK\r\n".to_owned() + &"X-Y: z\r\n".repeat(100_000), true),
        ("nonsense\r\n\r\n".to_owned(), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned() + &"x".repeat(1 << 20), false),
    ] {
        let (port, serving) = fixture::serve(config(&[&TLS13], false), 1, move |_| say.clone());
        match only(port, page(Request::get(NAME, "/"))) {
            Answer::Silence { .. } => assert!(ends),
            Answer::Http(reply) => assert!(!ends && reply.truncated && reply.body.len() <= 64 << 10),
            other => panic!("{other:?}"),
        }
        serving.join().unwrap();
    }
    static FLOOD: [u8; 1 << 20] = [0x16; 1 << 20];
    assert!(matches!(only(raw(&FLOOD, 1), tls()), Answer::Silence { .. } | Answer::Unreachable { .. }));
}
