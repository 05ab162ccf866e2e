use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;

fn read(text: &str) -> Result<HttpReply, String> {
    reply(text.as_bytes())
}

#[test]
fn responses_of_every_framing_are_read() {
    let long = "x".repeat(BODY as usize + 9);
    for (text, status, body, truncated) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokrest", 200, "ok", false),
        ("HTTP/1.1 503 Not Ready\r\n\r\nno\n", 503, "no\n", false),
        ("HTTP/1.0 200 \n\nok", 200, "ok", false),
        ("HTTP/1.1 204 No Content\r\n\r\nok", 204, "", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n1\r\n!\r\n0\r\n\r\n", 200, "ok!", false),
        (&format!("HTTP/1.1 200 OK\r\n\r\n{long}"), 200, &long[..BODY as usize], true),
        (&format!("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{long}"), 200, &long[..BODY as usize], true),
        (
            &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFF\r\n{long}"),
            200,
            &long[..BODY as usize],
            true,
        ),
    ] {
        let reply = read(text).unwrap_or_else(|error| panic!("{error}: {:.80}", text));
        assert_eq!((reply.status, reply.body.as_str(), reply.truncated), (status, body, truncated));
    }
    let reply = read("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2 \r\n\r\n").unwrap();
    assert_eq!(reply.headers, BTreeMap::from([("x-a".to_owned(), "1, 2".to_owned())]));
}

#[test]
fn lies_are_no_answers() {
    for (text, reason) in [
        ("", "ends early"),
        ("SSH-2.0-OpenSSH\r\n", "not a status line"),
        ("HTTP/1.1 99 x\r\n\r\n", "not a status line"),
        ("HTTP/2 200\r\n\r\n", "not a status line"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "ends early"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "not asked for"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "length of a chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "longer than it says"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", "length of a chunk"),
        ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "not a header"),
        (&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD as usize)), "too long"),
        ("HTTP/1.1 200 OK\r\nX", "ends early"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(reason), "{error}: {:.80}", text);
    }
}

fn machine(root: &Path) -> Machine {
    Machine { proc: "/proc".into(), sys: "/sys".into(), root: root.into(), limit: None }
}

/// Serves one connection: waits for a request that ends with `until`, and says `say`.
fn serve(mut stream: impl Read + Write, until: &str, say: &str) {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(until.as_bytes()) && stream.read(&mut byte).unwrap() == 1 {
        heard.push(byte[0]);
    }
    stream.write_all(say.as_bytes()).unwrap();
}

#[test]
fn services_are_asked_over_tcp_and_unix_sockets() {
    let root = tempfile::tempdir().unwrap();
    let machine = machine(root.path());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(root.path().join("s")).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        serve(tcp.accept().unwrap().0, "\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nready");
        serve(unix.accept().unwrap().0, "\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n");
        serve(unix.accept().unwrap().0, "PING\r\n", "+PONG\r\n");
        serve(tcp.accept().unwrap().0, "", "220 hello\r\n");
        drop(tcp);
    });
    let fetch = |url: &str| http(&machine, &url.parse().unwrap());
    let Answer::Http(reply) = fetch(&format!("http://127.0.0.1:{port}/x")) else { panic!() };
    assert_eq!((reply.status, reply.body.as_str()), (200, "ready"));
    assert!(matches!(fetch("http://unix:/s:/x"), Answer::Http(HttpReply { status: 404, .. })));
    let said = |place: &str, send| connect(&machine, &place.parse().unwrap(), send, true);
    assert_eq!(said("/s", Some("PING\r\n")), Answer::Connected { said: "+PONG\r\n".to_owned() });
    let place = format!("127.0.0.1:{port}");
    assert_eq!(said(&place, None), Answer::Connected { said: "220 hello\r\n".to_owned() });
    let ready = |service: String| answers(&machine, &service.parse().unwrap());
    server.join().unwrap();
    assert_eq!(ready(format!("http://127.0.0.1:{port}/")).unwrap_err(), "Connection refused (os error 111)");
    assert!(matches!(said(&place, None), Answer::Silence { reason } if reason.contains("refused")));
    assert!(matches!(said("/none", None), Answer::Silence { reason } if reason.contains("No such file")));
}
