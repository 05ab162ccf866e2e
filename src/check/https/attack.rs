//! Clients that no browser is: what they send is refused, and who takes too long is left.

use super::sites;
use crate::check::table::{Check, Finding, Subject};
use crate::check::{Target, Verdict};
use crate::probe::{Answer, Probe, Request};
use crate::system::Https;

/// How long a client may keep a request open that it does not finish, in seconds.
pub const PATIENCE: u16 = 20;

/// Length of a header that no browser sends, in bytes.
const HEADER: usize = 64 << 10;

pub const MALFORMED: Check = Check {
    id: "https.malformed",
    about: "requests that two servers would understand in two ways are refused",
    unreachable: Verdict::Skipped,
    ask: |target| sites(target, |site| malformed(site).into_iter().map(|request| sent(site, request)).collect()),
    judge: |_, _, answers| refused(answers, "no status but 4xx, or an end"),
};

pub const LARGE_HEADER: Check = Check {
    id: "https.large-header",
    about: "a header that is too large is refused",
    unreachable: Verdict::Skipped,
    ask: |target| {
        let large = |site: &Https| Request::get(site.name(), "/").with([("x-rave-check", "x".repeat(HEADER))]);
        sites(target, |site| vec![sent(site, large(site))])
    },
    judge: |_, _, answers| refused(answers, "64 KiB: no status but 4xx, or an end"),
};

pub const SLOW: Check = Check {
    id: "https.slow",
    about: "a client that does not finish its request is left",
    unreachable: Verdict::Skipped,
    ask: ask_slow,
    judge: judge_slow,
};

fn sent(site: &Https, request: Request) -> Probe {
    Probe::Https { port: site.port, request }
}

/// Two lengths of one body (RFC 9112, 6.1), and a target that ends early for whoever is written in C.
fn malformed(site: &Https) -> [Request; 2] {
    let request = |path| Request::get(site.name(), path);
    [request("/").with([("content-length", "4"), ("transfer-encoding", "chunked")]), request("/\0")]
}

fn refused(answers: &[&Answer], expected: &str) -> Finding {
    let mut said = Vec::new();
    let mut all = true;
    for answer in answers {
        match answer {
            Answer::Http(reply) => {
                all &= (400..500).contains(&reply.status);
                said.push(format!("status {}", reply.status));
            }
            Answer::Silence { reason } => said.push(reason.clone()),
            _ => return Finding::misfit(),
        }
    }
    Finding::hold(all, expected, said.join("; "))
}

/// Of each site a header, and a body where events are taken in: elsewhere a server may not even wait for it.
fn ask_slow(target: &Target) -> Vec<Subject> {
    let slow =
        |site: &Https, post| Probe::Slow { port: site.port, name: site.name().to_owned(), post, seconds: PATIENCE };
    let mut subjects = sites(target, |site| vec![slow(site, None)]);
    subjects.extend(target.expect.https.iter().map(|(name, site)| {
        let path = site.webhooks.keys().next().map_or("/", String::as_str);
        Subject::of(format!("{name}{path}"), &site.option, slow(site, Some(path.to_owned())))
    }));
    subjects
}

fn judge_slow(_: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let part = if subject.contains('/') { "body" } else { "header" };
    let expected = format!("a {part} that goes on: an end within {PATIENCE} s");
    match answers {
        [Answer::Held { ms, ended: true }] => {
            Finding::new(Verdict::Healthy, expected, format!("ended after {:.1} s", f64::from(*ms) / 1000.0))
        }
        [Answer::Held { ms, ended: false }] => {
            // Whoever was not given the time has seen nothing.
            let whole = *ms >= u32::from(PATIENCE) * 1000;
            let verdict = if whole { Verdict::Unhealthy } else { Verdict::Skipped };
            Finding::new(verdict, expected, format!("still open after {} s", ms / 1000))
        }
        [Answer::Silence { reason }] => Finding::new(Verdict::Skipped, expected, reason),
        _ => Finding::misfit(),
    }
}
