use super::*;
use std::net::TcpListener;

/// Runs `ask` against a server that says `words` and then closes, or waits for the client to leave.
fn against(words: &[u8], wait: bool) -> Result<SshOffer, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let words = words.to_owned();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The client may leave before it has heard everything.
        let _ = stream.write_all(&words);
        if wait {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let patience = if wait { Duration::from_millis(300) } else { Duration::from_secs(30) };
    let result = ask("127.0.0.1", port, Instant::now() + patience);
    server.join().unwrap();
    result
}

fn list(names: &str) -> Vec<u8> {
    [&u32::try_from(names.len()).unwrap().to_be_bytes(), names.as_bytes()].concat()
}

fn packed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1 + 4).unwrap().to_be_bytes();
    [&length, &[4][..], payload, &[0; 4]].concat()
}

fn kexinit(lists: &[&str]) -> Vec<u8> {
    let mut payload = vec![KEXINIT];
    payload.extend([7; 16]);
    payload.extend(lists.iter().flat_map(|names| list(names)));
    payload.extend([0; 5]);
    payload
}

fn whole() -> Vec<u8> {
    kexinit(&["curve25519-sha256,ext-info-s", "ssh-ed25519", "a", "b,c", "d", "", "none", "none", "", ""])
}

fn greeting(then: &[u8]) -> Vec<u8> {
    [b"SSH-2.0-OpenSSH_10.0 Debian\r\n", then].concat()
}

#[test]
fn an_offer_is_read() {
    let offer = against(&greeting(&packed(&whole())), true).unwrap();
    assert_eq!(offer.identification, "SSH-2.0-OpenSSH_10.0 Debian");
    assert_eq!((offer.kex.len(), offer.host_keys), (2, vec!["ssh-ed25519".to_owned()]));
    assert_eq!((offer.ciphers_in, offer.ciphers_out), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!((offer.macs_in, offer.macs_out), (vec!["d".to_owned()], Vec::<String>::new()));
}

#[test]
fn what_may_come_before_an_offer_is_passed_over() {
    let ignore = packed(&[IGNORE, 0, 0, 0, 0]);
    let words = [b"Welcome\r\nSSH-2.0-x\r\n", &ignore[..], &packed(&whole())].concat();
    assert_eq!(against(&words, true).unwrap().identification, "SSH-2.0-x");
}

#[test]
fn others_than_ssh_servers_are_told_apart() {
    for (words, first) in [
        (&b"Not allowed at this time\r\n"[..], "Not allowed at this time"),
        (b"Exceeded MaxStartups\r\n", "Exceeded MaxStartups"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"\xff\x1b[31m\n", "??[31m"),
        (b"SSH-2.0-without an end", "SSH-2.0-without an end"),
        (b"", ""),
    ] {
        match against(words, false) {
            Err(Error::NotSsh { said, .. }) => assert_eq!(said, first),
            other => panic!("{first}: {other:?}"),
        }
    }
}

#[test]
fn floods_end() {
    assert!(matches!(against(&vec![b'x'; 1 << 20], false), Err(Error::NotSsh { said, .. }) if said.len() == LINE + 1));
    assert!(against(&b"line\n".repeat(100_000), false).is_err());
    let many = greeting(&packed(&[IGNORE]).repeat(1000));
    assert!(matches!(against(&many, false), Err(Error::Protocol { .. } | Error::Connection { .. })));
}

#[test]
fn silence_ends() {
    for words in [&b""[..], b"SSH-2.0-x", &greeting(b""), &greeting(&packed(&whole())[..40])] {
        match against(words, true) {
            Err(Error::Connection { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::TimedOut),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn broken_packets_are_refused() {
    let long = kexinit(&[&"x".repeat(NAME + 1)]);
    let mut overlong = whole();
    overlong[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
    for payload in [
        &[][..],
        &[KEXINIT],
        &[DISCONNECT, 0],
        &[99],
        &whole()[..30],
        &long,
        &overlong,
        &kexinit(&["a,,b"]),
        &kexinit(&["a b"]),
        &kexinit(&["é"]),
    ] {
        assert!(matches!(against(&greeting(&packed(payload)), true), Err(Error::Protocol { .. })), "{payload:?}");
    }
    for head in [[0xff, 0xff, 0xff, 0xff, 0], [0, 0, 0x88, 0xb9, 0], [0, 0, 0, 4, 4], [0, 0, 0, 0, 0]] {
        assert!(matches!(against(&greeting(&head), true), Err(Error::Protocol { .. })), "{head:?}");
    }
}

#[test]
fn a_port_where_nobody_listens_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    match ask("127.0.0.1", port, Instant::now() + Duration::from_secs(30)) {
        Err(Error::Connection { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
}

proptest::proptest! {
    #[test]
    fn no_payload_makes_the_parser_panic(payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = parse(&payload);
        let _ = parse(&[&whole()[..17], &payload].concat());
    }
}
