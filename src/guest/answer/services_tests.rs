use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;

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
