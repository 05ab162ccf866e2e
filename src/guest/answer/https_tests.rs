use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::SystemTime;

use rustls::version::TLS13;

use super::*;
use crate::client::fixture;
use crate::secrets::generate;

/// A machine with the secret `hook`.
fn hooked() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/secrets")).unwrap();
    std::fs::write(root.path().join("run/secrets/hook"), "a secret of some length\n").unwrap();
    root
}

/// Serves web.example with these statuses, one after the other; see [`fixture::serve`].
fn serve(connections: usize, statuses: &[u16]) -> (u16, JoinHandle<Vec<String>>) {
    let now = SystemTime::now();
    let (authority, key) = (generate::authority("test", now).unwrap(), generate::tls_key().unwrap());
    let chain = generate::server_certificate(&["web.example".to_owned()], &key, &authority, now).unwrap();
    let config = fixture::config(&chain, key.expose_text().unwrap(), "web.example", &[&TLS13]);
    let mut statuses = VecDeque::from(statuses.to_vec());
    fixture::serve(config, connections, move |_| {
        format!("HTTP/1.1 {} x\r\nContent-Length: 2\r\n\r\nno", statuses.pop_front().unwrap())
    })
}

fn machine(root: &std::path::Path) -> Machine {
    Machine { proc: "/proc".into(), sys: "/sys".into(), root: root.into(), limit: None }
}

#[test]
fn events_are_signed_and_delivered_twice_and_once_stale() {
    let root = hooked();
    for (scheme, stale) in [(SigningScheme::Standard, Some(401)), (SigningScheme::Github, None)] {
        let (port, serving) = serve(1, &[202, 200, 401]);
        let request = Request::post("web.example", "/webhook");
        let answer = deliver(&machine(root.path()), port, &request, "hook", scheme).unwrap();
        assert_eq!(answer, Answer::Delivered(Delivered { new: 202, again: 200, stale }));
        let heard = serving.join().unwrap();
        assert_eq!((heard.len(), &heard[0]), (2 + usize::from(stale.is_some()), &heard[1]));
        assert!(heard[0].starts_with("POST /webhook HTTP/1.1\r\nhost: web.example\r\n"), "{heard:?}");
        assert!(
            heard
                .iter()
                .all(|request| request.contains("rave-check-") && request.ends_with("{\"type\":\"rave.check\"}"))
        );
        assert!(heard.iter().all(|request| !request.contains("a secret of")));
    }
    let request = Request::post("web.example", "/webhook");
    let missing = deliver(&machine(root.path()), 1, &request, "none", SigningScheme::Github);
    assert!(missing.unwrap_err().to_string().contains("none"));
    let closed = deliver(&machine(root.path()), 1, &request, "hook", SigningScheme::Github).unwrap();
    assert!(matches!(closed, Answer::Silence { reason } if reason.contains("refused")));
    for name in ["../passwd", "a/../../b", ""] {
        assert!(deliver(&machine(root.path()), 1, &request, name, SigningScheme::Github).is_err(), "{name}");
    }
}

#[test]
fn events_are_forged_by_each_scheme_alone_and_now() {
    let root = tempfile::tempdir().unwrap();
    let (port, serving) = serve(1, &[401, 202]);
    let request = Request::post("web.example", "/webhook");
    let schemes = [Scheme::Gitlab, Scheme::Standard].into();
    let answer = forged(&machine(root.path()), port, &request, &schemes).unwrap();
    assert_eq!(answer, Answer::Forged { statuses: [(Scheme::Gitlab, 401), (Scheme::Standard, 202)].into() });
    let heard = serving.join().unwrap();
    let of = |header: &str| heard.iter().map(|request| request.contains(header)).collect::<Vec<_>>();
    assert_eq!((of("x-gitlab-token: "), of("webhook-signature: v1,")), (vec![true, false], vec![false, true]));
    assert_eq!(of("x-hub-signature-256"), [false, false]);
    let time = heard[1].lines().find_map(|line| line.strip_prefix("webhook-timestamp: ")).unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(time.parse().unwrap());
    assert!(then.elapsed().unwrap() < Duration::from_secs(60), "{time}");
    let closed = forged(&machine(root.path()), 1, &request, &schemes).unwrap();
    assert!(matches!(closed, Answer::Silence { reason } if reason.contains("refused")));
}

#[test]
fn who_is_told_to_wait_waits_and_asks_again_as_long_as_there_is_time() {
    let root = hooked();
    let request = Request::post("web.example", "/webhook");
    let schemes: BTreeSet<Scheme> = [Scheme::Gitlab, Scheme::Standard].into();

    let (port, serving) = serve(2, &[401, 429, 401]);
    let answer = forged(&machine(root.path()), port, &request, &schemes).unwrap();
    assert_eq!(answer, Answer::Forged { statuses: [(Scheme::Gitlab, 401), (Scheme::Standard, 401)].into() });
    let heard = serving.join().unwrap();
    assert!(heard.len() == 3 && heard[0] != heard[1] && heard[1] == heard[2], "{heard:?}");

    let (port, serving) = serve(2, &[429, 202, 200]);
    let answer = deliver(&machine(root.path()), port, &request, "hook", SigningScheme::Github).unwrap();
    assert_eq!(answer, Answer::Delivered(Delivered { new: 202, again: 200, stale: None }));
    assert_eq!(serving.join().unwrap().len(), 3);

    let (port, serving) = serve(1, &[429]);
    let hasty = Machine { limit: Some(2 * WAIT), ..machine(root.path()) };
    let answer = forged(&hasty, port, &request, &[Scheme::Gitlab].into()).unwrap();
    assert_eq!(answer, Answer::Forged { statuses: [(Scheme::Gitlab, 429)].into() });
    assert_eq!(serving.join().unwrap().len(), 1);
}

#[test]
fn certificates_are_told_and_keys_are_not() {
    let root = tempfile::tempdir().unwrap();
    let authority = generate::authority("test", SystemTime::now()).unwrap();
    let told = |text: &str| {
        std::fs::write(root.path().join("c.pem"), text).unwrap();
        certificate(&machine(root.path()), &"/c.pem".parse().unwrap())
    };
    let both = format!("{}{}", authority.key.expose_text().unwrap(), authority.certificate.repeat(30));
    let Answer::Certificate { chain } = told(&both).unwrap() else { panic!() };
    assert_eq!(chain.len(), CHAIN);
    let line = authority.certificate.lines().nth(1).unwrap();
    assert!(chain[0].starts_with(line), "{chain:?}");
    for none in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        assert!(told(none).is_err(), "{none}");
    }
}
