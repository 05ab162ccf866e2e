//! A site as it should be, and the ways in which what is heard of it over HTTPS breaks.

use std::collections::BTreeMap;

use super::certificates::{AUTHORITY, OTHER_NAME, SERVER, STRANGER};
use super::pairs::Pair;
use super::world::{World, healthy, option, target};
use super::{check, found, verdicts};
use crate::check::Verdict::{Healthy, Skipped, Unhealthy, Warning};
use crate::check::Wanted;
use crate::probe::*;
use crate::system::{Https, Webhook};

const CSP: &str = "default-src 'self'; frame-ancestors 'none'";

/// The file of a certificate that no site shows.
pub const MAIL: &str = "/etc/ssl/mail.pem";

/// When all certificates begin, when the authority's and the server's end, and a day, in seconds.
const BEGIN: i64 = 1_793_491_200;
const LAST: i64 = 2_109_110_400;
const END: i64 = 1_811_808_000;
const DAY: i64 = 86_400;

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

pub fn sites() -> BTreeMap<String, Https> {
    let webhook = Webhook {
        secret: "webhook-secret".to_owned(),
        schemes: [Scheme::Github, Scheme::Standard].into(),
        scheme: Some(SigningScheme::Standard),
        body: 1 << 20,
    };
    let site = Https {
        port: 3002,
        hosts: ["web.example", "127.0.0.1", "*.web.example"].map(str::to_owned).into(),
        certificate: "/run/secrets/tls-certificate-web".parse().unwrap(),
        headers: texts([("x-frame-options", "DENY"), ("server", "nginx"), ("x-powered-by", "")]),
        csp: CSP.to_owned(),
        http2: true,
        pages: [("/".to_owned(), 200), ("/ready".to_owned(), 200), ("/metrics".to_owned(), 404)].into(),
        rate: Some(Rate { requests: 100, burst: 50 }),
        webhooks: [("/webhook".to_owned(), webhook)].into(),
        option: option("services.nginx.enable"),
    };
    [("web".to_owned(), site)].into()
}

/// The answer of a healthy machine to a probe about its site.
pub fn answer(probe: &Probe) -> Option<Answer> {
    let chain = [SERVER, AUTHORITY].map(str::to_owned).to_vec();
    Some(match probe {
        Probe::Tls { .. } => Answer::Tls(TlsReport {
            version: "TLSv1_3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            group: "X25519".to_owned(),
            protocol: "h2".to_owned(),
            chain,
        }),
        Probe::TlsOlder { .. } => Answer::TlsRefusal { refused: true, said: "TLS alert ProtocolVersion".to_owned() },
        Probe::PlainHttp { .. } => {
            Answer::Http(HttpReply { status: 400, body: "<html>400 no</html>".to_owned(), ..HttpReply::default() })
        }
        Probe::Https { request, .. } => Answer::Http(reply(request)),
        Probe::Slow { .. } => Answer::Held { ms: 10_040, ended: true },
        Probe::Burst { .. } => Answer::Burst(Burst { served: 43, ms: 900, limited: true }),
        Probe::Certificate { path } if path.as_str() == MAIL => {
            Answer::Certificate { chain: vec![AUTHORITY.to_owned()] }
        }
        Probe::Certificate { .. } => Answer::Certificate { chain },
        Probe::Deliver { .. } => Answer::Delivered(Delivered { new: 202, again: 200, stale: Some(401) }),
        Probe::Forge { schemes, .. } => {
            Answer::Forged { statuses: schemes.iter().map(|scheme| (*scheme, 401)).collect() }
        }
        _ => return None,
    })
}

fn reply(request: &Request) -> HttpReply {
    let status = match request {
        Request { headers, .. } if headers.contains_key("host") => 421,
        Request { headers, path, .. }
            if path.contains('\0')
                || ["transfer-encoding", "x-rave-check"].iter().any(|name| headers.contains_key(*name)) =>
        {
            400
        }
        Request { blanks, .. } if *blanks > 1 << 20 => 413,
        Request { method, .. } if method == "POST" => 401,
        Request { path, .. } => {
            [("/webhook", 405), ("/metrics", 404)].into_iter().find(|(p, _)| p == path).map_or(200, |(_, s)| s)
        }
    };
    let csp = format!("default-src 'none', {CSP}");
    let headers = texts([("x-frame-options", "DENY"), ("server", "nginx"), ("content-security-policy", &csp)]);
    HttpReply { status, headers, body: format!("{status} of {}", request.path), truncated: false }
}

/// Changes the answer without TLS.
fn plain(world: &mut World, change: fn(&mut HttpReply)) {
    for (probe, answer) in world {
        if let (Probe::PlainHttp { .. }, Answer::Http(reply)) = (probe, answer) {
            change(reply);
        }
    }
}

/// Changes the answer to the one request that `is` it.
fn asked(world: &mut World, is: fn(&Request) -> bool, change: fn(&mut HttpReply)) {
    let found = world.iter_mut().filter_map(|(probe, answer)| match (probe, answer) {
        (Probe::Https { request, .. }, Answer::Http(reply)) if is(request) => Some(reply),
        _ => None,
    });
    let mut found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1);
    found.iter_mut().for_each(|reply| change(reply));
}

fn heard(world: &mut World, mut change: impl FnMut(&mut Answer)) {
    world.values_mut().for_each(&mut change);
}

fn protocol(world: &mut World, to: &str) {
    heard(world, |answer| {
        if let Answer::Tls(report) = answer {
            report.protocol = to.to_owned();
        }
    });
}

/// The server shows a certificate, and was given it.
fn certified(world: &mut World, certificate: &str) {
    heard(world, |answer| {
        if let Answer::Tls(TlsReport { chain, .. }) | Answer::Certificate { chain } = answer {
            chain[0] = certificate.to_owned();
        }
    });
}

/// The time, where rave runs and in the machine.
fn time(world: &mut World, now: i64) {
    heard(world, |answer| {
        if let Answer::Clock { unix_seconds, .. } = answer {
            *unix_seconds = now;
        }
    });
}

fn delivered(world: &mut World, change: fn(&mut Delivered)) {
    heard(world, |answer| {
        if let Answer::Delivered(delivered) = answer {
            change(delivered);
        }
    });
}

/// What is forged by a scheme is answered with that status, or was not sent.
fn forged(world: &mut World, scheme: Scheme, status: Option<u16>) {
    heard(world, |answer| {
        if let Answer::Forged { statuses } = answer {
            statuses.retain(|other, _| *other != scheme);
            statuses.extend(status.map(|status| (scheme, status)));
        }
    });
}

/// The server is still there when the client gives up, in its header or in the body that it has posted.
fn held(world: &mut World, body: bool, after: u32) {
    for (probe, answer) in world {
        if let (Probe::Slow { post, .. }, Answer::Held { ms, ended }) = (probe, answer)
            && post.is_some() == body
        {
            (*ms, *ended) = (after, false);
        }
    }
}

fn burst(world: &mut World, to: Burst) {
    heard(world, |answer| {
        if let Answer::Burst(burst) = answer {
            *burst = to;
        }
    });
}

/// What is known of the certificate that no site shows.
fn mail(world: &mut World, answer: Answer) {
    assert!(world.insert(Probe::Certificate { path: MAIL.parse().unwrap() }, answer).is_some());
}

fn ready(request: &Request) -> bool {
    request.path == "/ready"
}

pub const PAIRS: &[Pair] = &[
    ("https.tls.version.web", Unhealthy, |world| {
        heard(world, |answer| {
            if let Answer::Tls(report) = answer {
                report.version = "TLSv1_2".to_owned();
            }
        });
    }),
    ("https.tls.older-refused.web", Unhealthy, |world| {
        heard(world, |answer| {
            if let Answer::TlsRefusal { refused, .. } = answer {
                *refused = false;
            }
        });
    }),
    ("https.http2.web", Unhealthy, |world| protocol(world, "http/1.1")),
    ("https.http2.web", Unhealthy, |world| protocol(world, "")),
    ("https.certificate.chain.web", Unhealthy, |world| certified(world, STRANGER)),
    ("https.certificate.chain.web", Unhealthy, |world| {
        // Nothing that the certificate could be held against.
        heard(world, |answer| {
            if let Answer::Certificate { chain } = answer {
                chain.truncate(1);
            }
        });
    }),
    ("https.certificate.chain.web", Unhealthy, |world| {
        heard(world, |answer| {
            if let Answer::Certificate { chain } = answer
                && let Some(authority) = chain.get_mut(1)
            {
                *authority = "no base64".to_owned();
            }
        });
    }),
    ("https.certificate.current.web", Unhealthy, |world| {
        heard(world, |answer| {
            if let Answer::Certificate { chain } = answer {
                chain[0] = STRANGER.to_owned();
            }
        });
    }),
    ("https.certificate.names.web", Unhealthy, |world| certified(world, OTHER_NAME)),
    ("https.certificate.dates.web", Warning, |world| time(world, END - 30 * DAY + 1)),
    ("https.certificate.dates.web", Unhealthy, |world| time(world, END - 7 * DAY + 1)),
    ("https.certificate.dates.web", Unhealthy, |world| time(world, END + 1)),
    ("services.certificate./etc/ssl/mail.pem", Unhealthy, |world| {
        mail(world, Answer::Certificate { chain: vec!["no base64".to_owned()] });
    }),
    ("services.certificate./etc/ssl/mail.pem", Skipped, |world| mail(world, Answer::unavailable("no such file"))),
    ("https.page.web/", Unhealthy, |world| {
        asked(world, |r| *r == Request::get("web.example", "/"), |r| r.status = 502)
    }),
    ("https.page.web/ready", Unhealthy, |world| asked(world, ready, |r| r.status = 503)),
    ("https.page.web/metrics", Unhealthy, |world| asked(world, |r| r.path == "/metrics", |r| r.status = 200)),
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| drop(r.headers.remove("x-frame-options")));
    }),
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| drop(r.headers.insert("x-frame-options".to_owned(), "DENY, DENY".to_owned())));
    }),
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| drop(r.headers.insert("x-powered-by".to_owned(), "PHP".to_owned())));
    }),
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| {
            drop(r.headers.insert("content-security-policy".to_owned(), "default-src *".to_owned()))
        });
    }),
    // Nobody has said what it should be.
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| drop(r.headers.insert("access-control-allow-origin".to_owned(), "*".to_owned())));
    }),
    ("https.headers.web", Unhealthy, |world| {
        asked(world, ready, |r| drop(r.headers.insert("via".to_owned(), "1.1 proxy".to_owned())));
    }),
    ("https.plain-http.web", Unhealthy, |world| plain(world, |r| r.status = 200)),
    ("https.plain-http.web", Unhealthy, |world| plain(world, |r| r.body = "200 of /".to_owned())),
    ("https.plain-http.web", Unhealthy, |world| plain(world, |r| r.body = "x".repeat(513))),
    ("https.plain-http.web", Unhealthy, |world| plain(world, |r| r.truncated = true)),
    ("https.unknown-host.web", Unhealthy, |world| {
        asked(world, |r| r.headers.contains_key("host"), |r| r.status = 200);
    }),
    ("https.malformed.web", Unhealthy, |world| {
        asked(world, |r| r.headers.contains_key("transfer-encoding"), |r| r.status = 200);
    }),
    ("https.malformed.web", Unhealthy, |world| asked(world, |r| r.path == "/\0", |r| r.status = 500)),
    ("https.large-header.web", Unhealthy, |world| {
        asked(world, |r| r.headers.contains_key("x-rave-check"), |r| r.status = 200);
    }),
    ("https.slow.web", Unhealthy, |world| held(world, false, 20_002)),
    ("https.slow.web", Skipped, |world| held(world, false, 12_000)),
    ("https.slow.web/webhook", Unhealthy, |world| held(world, true, 20_002)),
    ("https.webhook.method.web/webhook", Unhealthy, |world| {
        asked(world, |r| r.method == "GET" && r.path == "/webhook", |r| r.status = 200);
    }),
    ("https.webhook.unsigned.web/webhook", Unhealthy, |world| {
        asked(world, |r| *r == Request::post("web.example", "/webhook"), |r| r.status = 202);
    }),
    ("https.webhook.forged.web/webhook", Unhealthy, |world| forged(world, Scheme::Github, Some(202))),
    ("https.webhook.forged.web/webhook", Unhealthy, |world| forged(world, Scheme::Standard, Some(202))),
    ("https.webhook.forged.web/webhook", Unhealthy, |world| forged(world, Scheme::Standard, None)),
    ("https.webhook.large.web/webhook", Unhealthy, |world| asked(world, |r| r.blanks > 0, |r| r.status = 401)),
    ("https.webhook.signed.web/webhook", Unhealthy, |world| delivered(world, |d| d.new = 503)),
    ("https.webhook.repeated.web/webhook", Unhealthy, |world| delivered(world, |d| d.again = 202)),
    ("https.webhook.stale.web/webhook", Unhealthy, |world| delivered(world, |d| d.stale = Some(202))),
    ("https.webhook.stale.web/webhook", Skipped, |world| delivered(world, |d| d.stale = None)),
    ("https.burst.web", Unhealthy, |world| burst(world, Burst { served: 60, ms: 900, limited: false })),
    ("https.burst.web", Unhealthy, |world| burst(world, Burst { served: 600, ms: 900, limited: true })),
    ("https.burst.web", Skipped, |world| burst(world, Burst { served: 40, ms: 20_000, limited: false })),
];

#[test]
fn certificates_are_judged_by_when_they_begin_and_end() {
    let at = |id: &str, now: i64| {
        let change = |answer: &mut Answer| {
            if let Answer::Clock { unix_seconds, .. } = answer {
                *unix_seconds = now;
            }
        };
        let found = found(id, change);
        (found.verdict, found.observed)
    };
    let both = [("https.certificate.dates.web", END), ("services.certificate./etc/ssl/mail.pem", LAST)];
    for (id, end) in both {
        for (now, verdict, observed) in [
            (i64::MIN, Unhealthy, "not valid yet"),
            (BEGIN - 1, Unhealthy, "not valid yet"),
            (end - 30 * DAY, Healthy, "30 days are left"),
            (end - 30 * DAY + 1, Warning, "29 days are left"),
            (end - 7 * DAY, Warning, "7 days are left"),
            (end - 7 * DAY + 1, Unhealthy, "6 days are left"),
            (end + 1, Unhealthy, "it has ended"),
        ] {
            assert_eq!(at(id, now), (verdict, observed.to_owned()), "{id} {now}");
        }
        assert_eq!(at(id, BEGIN).0, Healthy, "{id}");
    }
}

/// A machine that lies gives the authority of a stranger beside its certificate.
#[test]
fn what_a_project_knows_counts_more_than_what_a_machine_says() {
    let of = |authority: &str, given: &[&str]| {
        let mut target = target();
        let known = [(sites()["web"].certificate.clone(), vec![authority.to_owned()])];
        target.outside.as_mut().unwrap().authorities = known.into();
        let mut world = healthy(&target);
        heard(&mut world, |answer| {
            if let Answer::Certificate { chain } = answer {
                *chain = given.iter().map(|text| (*text).to_owned()).collect();
            }
        });
        let report = check(&target, &Wanted::default(), &world);
        verdicts(&report)["https.certificate.chain.web"]
    };
    assert_eq!(of(AUTHORITY, &[SERVER, AUTHORITY]), Healthy);
    assert_eq!(of(AUTHORITY, &[SERVER]), Healthy);
    // What the machine gives would do, and is not what the project has.
    assert_eq!(of(OTHER_NAME, &[SERVER, AUTHORITY]), Unhealthy);
    assert_eq!(of("no base64", &[SERVER, AUTHORITY]), Unhealthy);
}
