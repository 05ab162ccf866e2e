//! Stage 2: what the machine serves over HTTPS is what the image says, and shown to those who ask as they should.

mod attack;
mod certificate;
mod webhook;

use std::collections::BTreeSet;

pub use certificate::{certificate_dates, judge_dates};

use super::table::{Check, Finding, Subject, list};
use super::{Stage, Target, Verdict, module};
use crate::probe::{Answer, HttpReply, Probe, Request};
use crate::system::Https;

/// A host that no site has (RFC 6761, 6.4).
const UNKNOWN_HOST: &str = "rave-check.invalid";

/// How much of the body of an answer that should be another one is told, in characters.
const BODY: usize = 200;

/// The longest body of an error, in bytes: nginx' own has some 250.
const ERROR_PAGE: usize = 512;

/// The header whose values add up instead of replacing each other: an application may have a policy of its own beside
/// that of the server (CSP level 3, 8.1).
const CSP: &str = "content-security-policy";

/// Headers that let other sites in, pin keys, or tell which programs answer: none of them is sent unless it is configured.
const TELLING: [&str; 9] = [
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "public-key-pins",
    "via",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-powered-by",
    "x-runtime",
];

/// The checks of the stage. The burst comes last: it leaves nothing for others to ask.
pub static CHECKS: [Check; 23] = [
    Check {
        id: "https.tls.version",
        about: "a server answers and agrees on TLS 1.3",
        unreachable: Verdict::Unhealthy,
        ask: |target| sites(target, |site| vec![tls(site)]),
        judge: judge_version,
    },
    Check {
        id: "https.tls.older-refused",
        about: "TLS 1.2 and older are refused",
        unreachable: Verdict::Skipped,
        ask: |target| sites(target, |site| vec![Probe::TlsOlder { port: site.port, name: site.name().to_owned() }]),
        judge: judge_older,
    },
    Check {
        id: "https.http2",
        about: "HTTP/2 is agreed on",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let mut subjects = sites(target, |site| vec![tls(site)]);
            subjects.retain(|subject| target.expect.https.get(&subject.name).is_some_and(|site| site.http2));
            subjects
        },
        judge: judge_http2,
    },
    certificate::CHAIN,
    certificate::CURRENT,
    certificate::NAMES,
    certificate::DATES,
    Check {
        id: "https.page",
        about: "the page is answered with its status",
        unreachable: Verdict::Skipped,
        ask: ask_pages,
        judge: judge_page,
    },
    Check {
        id: "https.headers",
        about: "security headers are exactly those configured",
        unreachable: Verdict::Skipped,
        ask: |target| {
            let pages = |site: &Https| site.pages.keys().map(|path| get(site, path)).collect();
            let mut subjects = sites(target, pages);
            subjects.retain(|subject| !subject.probes.is_empty());
            subjects
        },
        judge: judge_headers,
    },
    Check {
        id: "https.plain-http",
        about: "without TLS nothing is served",
        unreachable: Verdict::Skipped,
        ask: |target| {
            sites(target, |site| {
                let plain = Probe::PlainHttp { port: site.port, name: site.name().to_owned() };
                let page = site.pages.contains_key("/").then(|| get(site, "/"));
                [plain].into_iter().chain(page).collect()
            })
        },
        judge: judge_plain,
    },
    Check {
        id: "https.unknown-host",
        about: "a host that no site has is not served",
        unreachable: Verdict::Skipped,
        ask: ask_unknown_host,
        judge: |_, _, answers| status(answers, 421, "a request for a host that no site has"),
    },
    attack::MALFORMED,
    attack::LARGE_HEADER,
    attack::SLOW,
    webhook::METHOD,
    webhook::UNSIGNED,
    webhook::FORGED,
    webhook::LARGE,
    webhook::SIGNED,
    webhook::REPEATED,
    webhook::STALE,
    module::check("https", |target| module::subjects(Stage::Https, target)),
    Check {
        id: "https.burst",
        about: "who asks too often is told to wait",
        unreachable: Verdict::Skipped,
        ask: ask_burst,
        judge: judge_burst,
    },
];

/// One subject for each site.
fn sites(target: &Target, probes: impl Fn(&Https) -> Vec<Probe>) -> Vec<Subject> {
    let subject = |(name, site): (&String, &Https)| Subject {
        name: name.clone(),
        option: Some(site.option.clone()),
        probes: probes(site),
    };
    target.expect.https.iter().map(subject).collect()
}

/// The site of a subject, and what follows its name: a path.
fn site<'a>(target: &'a Target, subject: &'a str) -> Option<(&'a Https, &'a str)> {
    let (name, path) = subject.split_at(subject.find('/').unwrap_or(subject.len()));
    Some((target.expect.https.get(name)?, path))
}

fn tls(site: &Https) -> Probe {
    Probe::Tls { port: site.port, name: site.name().to_owned() }
}

fn get(site: &Https, path: &str) -> Probe {
    Probe::Https { port: site.port, request: Request::get(site.name(), path) }
}

fn judge_version(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    match answers {
        [Answer::Tls(report)] => Finding::hold(report.version == "TLSv1_3", "TLSv1_3", &report.version)
            .because(format!("{}, {}", report.cipher, report.group)),
        [Answer::Silence { reason }] => Finding::new(Verdict::Unhealthy, "TLSv1_3", reason),
        _ => Finding::misfit(),
    }
}

/// TLS 1.1 and 1.0 need no offer of their own: a server that has one of them answers a client of TLS 1.2 with it, or finds no
/// cipher in common, and says that the version is the trouble only where all of its own are newer (RFC 5246, E.1).
fn judge_older(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let [Answer::TlsRefusal { refused, said }] = answers else { return Finding::misfit() };
    Finding::hold(*refused, "a client of TLS 1.2 or older is refused because of its version", said)
}

/// By ALPN (RFC 9113, 3.2).
fn judge_http2(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    match answers {
        [Answer::Tls(report)] => {
            let observed = if report.protocol.is_empty() { "no protocol" } else { report.protocol.as_str() };
            Finding::hold(report.protocol == "h2", "h2", observed).because("ALPN")
        }
        [Answer::Silence { reason }] => Finding::new(Verdict::Skipped, "h2", reason),
        _ => Finding::misfit(),
    }
}

fn ask_pages(target: &Target) -> Vec<Subject> {
    let pages = target.expect.https.iter().flat_map(|(name, site)| {
        site.pages.keys().map(move |path| Subject::of(format!("{name}{path}"), &site.option, get(site, path)))
    });
    pages.collect()
}

fn judge_page(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let wanted = site(target, subject).and_then(|(site, path)| site.pages.get(path));
    let Some(wanted) = wanted else { return Finding::misfit() };
    status(answers, *wanted, "GET")
}

/// Whether the answer has that status.
fn status(answers: &[&Answer], wanted: u16, what: &str) -> Finding {
    let expected = format!("{what}: status {wanted}");
    match answers {
        [Answer::Http(reply)] => {
            let body: String = reply.body.chars().take(BODY).collect();
            let evidence = if reply.status == wanted { String::new() } else { body };
            Finding::hold(reply.status == wanted, expected, format!("status {}", reply.status)).because(evidence)
        }
        [Answer::Silence { reason }] => Finding::new(Verdict::Unhealthy, expected, reason),
        _ => Finding::misfit(),
    }
}

fn judge_headers(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let Some((site, _)) = site(target, subject) else { return Finding::misfit() };
    let expected = format!(
        "{} headers of each page as configured, and none that tell more",
        site.headers.len() + usize::from(!site.csp.is_empty())
    );
    let mut wrong = Vec::new();
    for (path, answer) in site.pages.keys().zip(answers) {
        let reply = match answer {
            Answer::Http(reply) => reply,
            Answer::Silence { reason } => return Finding::new(Verdict::Skipped, expected, reason),
            _ => return Finding::misfit(),
        };
        wrong.extend(differences(site, reply).into_iter().map(|difference| format!("{path}: {difference}")));
    }
    Finding::hold(wrong.is_empty(), expected, if wrong.is_empty() { "as configured".to_owned() } else { list(&wrong) })
        .because(format!("{} pages", answers.len()))
}

fn differences(site: &Https, reply: &HttpReply) -> Vec<String> {
    let found = |name: &str| reply.headers.get(name).map_or("", String::as_str);
    let told = |name: &str| match found(name) {
        "" => format!("no {name}"),
        value => format!("{name}: {value}"),
    };
    let other = site.headers.iter().filter(|(name, value)| found(name) != value.as_str());
    let mut wrong: Vec<String> = other.map(|(name, _)| told(name)).collect();
    let surplus =
        TELLING.into_iter().filter(|name| !site.headers.contains_key(*name) && reply.headers.contains_key(*name));
    wrong.extend(surplus.map(told));
    // Policies have no commas in them (CSP level 3, 2.2.1).
    if !site.csp.is_empty() && !found(CSP).split(',').any(|policy| policy.trim() == site.csp) {
        wrong.push(told(CSP));
    }
    wrong
}

/// An error may be told, in few words; what the site shows is content, whatever the status.
fn judge_plain(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let expected = "no answer without TLS, or a short error";
    match answers {
        [Answer::Http(reply), page @ ..] => {
            let is_page = |answer: &&Answer| matches!(answer, Answer::Http(page) if page.body == reply.body);
            let shown = !reply.body.is_empty() && page.iter().any(is_page);
            let short = !reply.truncated && reply.body.len() <= ERROR_PAGE;
            let observed = match shown {
                true => format!("status {} with the page of the site", reply.status),
                false => format!("status {}, {} bytes", reply.status, reply.body.len()),
            };
            Finding::hold((400..500).contains(&reply.status) && short && !shown, expected, observed)
        }
        [Answer::Silence { reason }, ..] => Finding::new(Verdict::Healthy, expected, reason),
        _ => Finding::misfit(),
    }
}

/// A site without names takes all that no other one of its port has.
fn ask_unknown_host(target: &Target) -> Vec<Subject> {
    let unknown = |site: &Https| {
        let request = Request::get(site.name(), "/").with([("host", UNKNOWN_HOST)]);
        vec![Probe::Https { port: site.port, request }]
    };
    let mut subjects = sites(target, unknown);
    let all = &target.expect.https;
    let is_taken = |port: u16| all.values().any(|site| site.port == port && site.hosts.is_empty());
    subjects.retain(|subject| all.get(&subject.name).is_some_and(|site| !is_taken(site.port)));
    subjects
}

fn ask_burst(target: &Target) -> Vec<Subject> {
    let subjects = target.expect.https.iter().filter_map(|(name, site)| {
        // Errors may be answered before anybody counts.
        let served = site.pages.iter().filter(|(_, status)| **status < 400);
        let paths: BTreeSet<String> = served.map(|(path, _)| path.clone()).collect();
        if paths.is_empty() {
            return None;
        }
        let probe = Probe::Burst { port: site.port, name: site.name().to_owned(), paths, limit: site.rate? };
        Some(Subject::of(name, &site.option, probe))
    });
    subjects.collect()
}

fn judge_burst(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let limit = site(target, subject).and_then(|(site, _)| site.rate);
    let Some(limit) = limit else { return Finding::misfit() };
    let expected = format!("429 after {} requests at once and {} a minute", limit.burst, limit.requests);
    match answers {
        [Answer::Burst(burst)] => {
            let observed = format!("{} requests let through in {} ms", burst.served, burst.ms);
            let verdict = match (burst.limited, burst.served > limit.most(burst.ms)) {
                (_, true) => Verdict::Unhealthy,
                (true, false) => Verdict::Healthy,
                // It takes a faster machine to come to the limit.
                (false, false) => Verdict::Skipped,
            };
            Finding::new(verdict, expected, observed)
        }
        [Answer::Silence { reason }] => Finding::new(Verdict::Unhealthy, expected, reason),
        _ => Finding::misfit(),
    }
}
