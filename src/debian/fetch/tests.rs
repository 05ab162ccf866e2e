use super::server::{Reply, Server, nobody};
use super::*;
use crate::debian::mirrors::Choice;

const STALL: Duration = Duration::from_millis(700);

/// Reads from these mirrors, without patience.
pub(super) fn fetcher(urls: &[&str]) -> Fetcher {
    let settings = Settings { connect: STALL, stall: STALL, connections: 8, proxies: false };
    let mirrors = Mirrors::new(&Choice { environment: Some(&urls.join(" ")), ..Choice::default() }).unwrap();
    Fetcher::new(mirrors, settings).unwrap()
}

pub(super) fn main_archive() -> ArchiveRef {
    ArchiveRef { name: "trixie".to_owned(), base: Base::Debian }
}

fn get(fetcher: &Fetcher, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    fetcher.get(&main_archive(), path, limit, &|_| Ok(()))
}

fn reason(error: &FetchError) -> String {
    why::chain(error)
}

#[test]
fn each_way_to_fail_is_named_and_the_next_mirror_is_asked() {
    let (bad, good) = (Server::start(), Server::start());
    good.on("x", &[Reply::File(b"data".to_vec())]);
    let data = || b"data".to_vec();
    let cases = [
        (vec![Reply::Status(404)], "x does not exist"),
        (vec![Reply::Status(503)], "HTTP status 503"),
        (vec![Reply::Page { labelled: true }], "sent a web page"),
        (vec![Reply::Page { labelled: false }], "sent a web page"),
        (vec![Reply::Truncated(data(), 3)], "stopped after 3 bytes of 4"),
        (vec![Reply::Silent], "gave no byte for 0.7 s"),
        (vec![Reply::Hang(data(), 2)], "gave no byte for 0.7 s"),
        (vec![Reply::File(vec![0; 41])], "larger than 40 bytes"),
        (vec![Reply::Endless(vec![0; 41])], "larger than 40 bytes"),
        (vec![Reply::Redirect(nobody())], "cannot be reached"),
    ];
    for (replies, expected) in cases {
        bad.on("x", &replies);
        let error = get(&fetcher(&[&bad.url]), "x", 40).unwrap_err();
        assert!(reason(&error).contains(expected), "{expected}: {}", reason(&error));
        assert!(reason(&error).contains(&bad.url), "{}", reason(&error));
        let before = good.asked().len();
        assert_eq!(get(&fetcher(&[&bad.url, &good.url]), "x", 40).unwrap(), b"data", "{expected}");
        assert_eq!(good.asked().len(), before + 1);
    }
}

#[test]
fn all_mirrors_and_their_faults_are_listed_without_passwords() {
    let (one, two) = (Server::start(), Server::start());
    one.on("dists/x", &[Reply::Page { labelled: true }]);
    let secret = one.url.replace("http://", "http://me:hunter2@");
    let nobody = nobody();
    let error = get(&fetcher(&[&secret, &two.url, &nobody]), "dists/x", 8).unwrap_err();
    let text = reason(&error);
    for part in [&*format!("{}/dists/x sent a web page", one.url), "HTTP status 404", "cannot be reached", &nobody] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(matches!(error, FetchError::Failed { .. }) && !text.contains("hunter2"), "{text}");
    let none = get(&fetcher(&[]), "x", 8).unwrap_err();
    assert!(reason(&none).contains("no mirror is configured"), "{}", reason(&none));
}

#[test]
fn absence_is_told_from_trouble() {
    let (one, two) = (Server::start(), Server::start());
    let error = get(&fetcher(&[&one.url, &two.url]), "x", 8).unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
    assert!([&one.url, &two.url].iter().all(|url| error.to_string().contains(url.as_str())), "{error}");
    two.on("x", &[Reply::Status(500)]);
    assert!(matches!(get(&fetcher(&[&one.url, &two.url]), "x", 8), Err(FetchError::Failed { .. })));
    assert_eq!(one.asked().len(), 2, "an answer that cannot change is not asked for again");
    two.on("x", &[Reply::File(vec![0; 9])]);
    assert!(matches!(get(&fetcher(&[&one.url, &two.url]), "x", 8), Err(FetchError::TooLarge { limit: 8, .. })));
}

#[test]
fn what_the_reader_refuses_is_sought_elsewhere() {
    let (old, new) = (Server::start(), Server::start());
    old.on("x", &[Reply::File(b"old".to_vec())]);
    new.on("x", &[Reply::File(b"new".to_vec())]);
    let refuse = || FetchError::NotFound { urls: vec!["inner".to_owned()] }.into();
    let accept = |bytes: &[u8]| if bytes == b"new" { Ok(()) } else { Err(refuse()) };
    let both = fetcher(&[&old.url, &new.url]);
    assert_eq!(both.get(&main_archive(), "x", 8, &accept).unwrap(), b"new");
    let error = fetcher(&[&old.url, &nobody()]).get(&main_archive(), "x", 8, &accept).unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
}

#[test]
fn slow_is_not_hanging_and_passing_trouble_is_waited_out() {
    let server = Server::start();
    server.on("slow", &[Reply::Slow(b"slowly".to_vec(), STALL / 5)]);
    assert_eq!(get(&fetcher(&[&server.url]), "slow", 8).unwrap(), b"slowly", "longer in all than the limit");
    server.on("busy", &[Reply::Status(503), Reply::File(b"data".to_vec())]);
    assert_eq!(get(&fetcher(&[&server.url]), "busy", 8).unwrap(), b"data");
    server.on("away", &[Reply::Redirect(format!("{}/slow", server.url))]);
    assert_eq!(get(&fetcher(&[&server.url]), "away", 8).unwrap(), b"slowly");
}

#[test]
fn a_mirror_that_keeps_silent_is_left_alone() {
    let (silent, good) = (Server::start(), Server::start());
    let fetcher = fetcher(&[&silent.url, &good.url]);
    for n in 0..6 {
        silent.on(&n.to_string(), &[Reply::Silent]);
        good.on(&n.to_string(), &[Reply::File(b"data".to_vec())]);
        assert_eq!(get(&fetcher, &n.to_string(), 8).unwrap(), b"data");
    }
    assert_eq!(silent.asked().len(), PATIENCE as usize);
}

#[test]
fn paths_are_encoded() {
    let server = Server::start();
    server.on("pool/a%3Fb%23c/libstdc++6_1%253a2~x.deb", &[Reply::File(b"data".to_vec())]);
    assert_eq!(get(&fetcher(&[&server.url]), "pool/a?b#c/libstdc++6_1%3a2~x.deb", 8).unwrap(), b"data");
}

/// Tells the re-executed test that it is the child.
const CHILD: &str = "RAVE_TEST_WITHOUT_CERTIFICATES";

#[test]
fn a_host_without_certificates_can_still_use_plain_http() {
    if std::env::var_os(CHILD).is_none() {
        let name = "debian::fetch::tests::a_host_without_certificates_can_still_use_plain_http";
        let tool = crate::tool::Tool::new(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]);
        let tool = tool.env(CHILD, "1").env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        let output = String::from_utf8(tool.output().unwrap()).unwrap();
        assert!(output.contains("1 passed") && output.contains("child was here"), "{output}");
        return;
    }
    let server = Server::start();
    server.on("x", &[Reply::File(b"data".to_vec())]);
    assert_eq!(get(&fetcher(&[&server.url]), "x", 8).unwrap(), b"data");
    let tls = server.url.replace("http://", "https://");
    let text = reason(&get(&fetcher(&[&tls]), "x", 8).unwrap_err());
    assert!(text.contains("no CA certificates"), "{text}");
    println!("child was here");
}
