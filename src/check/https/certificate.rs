//! The certificate that a site shows: who vouches for it, whether it is the machine's own, for whom it is and how long.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{site, sites, tls};
use crate::check::table::{Check, Finding, list};
use crate::check::{Target, Verdict};
use crate::probe::{Answer, Probe};
use crate::system::Https;

/// Seconds of a day, and the days before the end from which on a certificate warns and fails.
const DAY: i64 = 86_400;
const WARN: i64 = 30;
const FAIL: i64 = 7;

/// Against the authority that the project knows, if it does. Else, as with the key of an SSH host, what is shown outside is
/// held against what is inside: the authority that the owner of the machine's secrets has put beside its certificate, and
/// no other.
pub const CHAIN: Check = Check {
    id: "https.certificate.chain",
    about: "the certificate is signed by the machine's authority",
    unreachable: Verdict::Skipped,
    ask: |target| sites(target, |site| vec![tls(site), given(site), Probe::HostClock]),
    judge: judge_chain,
};

pub const CURRENT: Check = Check {
    id: "https.certificate.current",
    about: "the certificate shown is the one that the machine was given",
    unreachable: Verdict::Skipped,
    ask: |target| sites(target, |site| vec![tls(site), given(site)]),
    judge: judge_current,
};

pub const NAMES: Check = Check {
    id: "https.certificate.names",
    about: "the certificate is for each host of the site",
    unreachable: Verdict::Skipped,
    ask: |target| {
        let mut subjects = sites(target, |site| vec![tls(site)]);
        subjects.retain(|subject| target.expect.https.get(&subject.name).is_some_and(|site| !site.hosts.is_empty()));
        subjects
    },
    judge: judge_names,
};

pub const DATES: Check = Check {
    id: "https.certificate.dates",
    about: "the certificate is valid for more than a month",
    unreachable: Verdict::Skipped,
    ask: |target| sites(target, |site| vec![tls(site), Probe::HostClock]),
    judge: |_, _, answers| match answers {
        [Answer::Tls(report), Answer::Clock { unix_seconds, .. }] => judge_dates(&report.chain, *unix_seconds),
        [Answer::Silence { reason }, ..] => Finding::new(Verdict::Skipped, lasting(), reason),
        _ => Finding::misfit(),
    },
};

fn given(site: &Https) -> Probe {
    Probe::Certificate { path: site.certificate.clone() }
}

/// The certificates of an answer in DER, the server's own first.
fn chain(texts: &[String]) -> Option<Vec<CertificateDer<'static>>> {
    let read = |text: &String| BASE64_STANDARD.decode(text).ok().map(CertificateDer::from);
    texts.iter().map(read).collect::<Option<Vec<_>>>().filter(|chain| !chain.is_empty())
}

fn judge_chain(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let Some((site, _)) = site(target, subject) else { return Finding::misfit() };
    let known = target.outside.as_ref().and_then(|outside| outside.authorities.get(&site.certificate));
    let expected = match known {
        Some(_) => "a chain to the authority beside the project's certificate",
        None => "a chain to the authority beside the machine's certificate",
    };
    let (shown, given, now) = match answers {
        [Answer::Tls(report), Answer::Certificate { chain }, Answer::Clock { unix_seconds, .. }] => {
            (&report.chain, chain, *unix_seconds)
        }
        [Answer::Silence { reason }, ..] => return Finding::new(Verdict::Skipped, expected, reason),
        _ => return Finding::misfit(),
    };
    let beside = known.map_or(given.get(1..), |known| Some(known.as_slice())).filter(|beside| !beside.is_empty());
    let Some(beside) = beside else {
        return Finding::new(Verdict::Unhealthy, expected, "no authority stands beside it");
    };
    let (Some(shown), Some(authorities)) = (chain(shown), chain(beside)) else {
        return Finding::new(Verdict::Unhealthy, expected, "no certificate that can be read");
    };
    let observed = match verify(&shown, &authorities, now) {
        Ok(()) => return Finding::new(Verdict::Healthy, expected, format!("verified, {} certificates", shown.len())),
        Err(reason) => reason,
    };
    Finding::new(Verdict::Unhealthy, expected, observed)
}

fn verify(shown: &[CertificateDer<'_>], authorities: &[CertificateDer<'_>], now: i64) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone().into_owned()).map_err(|error| error.to_string())?;
    }
    let (leaf, rest) = shown.split_first().ok_or("none is shown")?;
    let parsed = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
    // Whether it has ended is another question.
    let (begin, end) = validity(leaf).ok_or("its dates cannot be read")?;
    let then = u64::try_from(now.max(begin).min(end)).map_err(|_| "it ends before 1970")?;
    let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
    let algorithms = ring::default_provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, rest, then, algorithms.all)
        .map_err(|error| error.to_string())
}

/// When a certificate begins and ends, in seconds since 1970.
fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let validity = Certificate::from_der(der).ok()?.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    Some((seconds(validity.not_before)?, seconds(validity.not_after)?))
}

fn judge_current(_: &Target, _: &str, answers: &[&Answer]) -> Finding {
    let expected = "the certificate that the machine was given";
    match answers {
        [Answer::Tls(report), Answer::Certificate { chain }] => {
            let same = report.chain.first().is_some_and(|shown| chain.first() == Some(shown));
            Finding::hold(same, expected, if same { "the same" } else { "another one" })
        }
        [Answer::Silence { reason }, ..] => Finding::new(Verdict::Skipped, expected, reason),
        _ => Finding::misfit(),
    }
}

fn judge_names(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let Some((site, _)) = site(target, subject) else { return Finding::misfit() };
    let expected = format!("a certificate for {}", list(&site.hosts));
    let report = match answers {
        [Answer::Tls(report)] => report,
        [Answer::Silence { reason }] => return Finding::new(Verdict::Skipped, expected, reason),
        _ => return Finding::misfit(),
    };
    let chain = chain(&report.chain).unwrap_or_default();
    let Some(leaf) = chain.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok()) else {
        return Finding::new(Verdict::Unhealthy, expected, "no certificate that can be read");
    };
    let is_for = |host: &str| {
        // One for all names below a domain is for a name below it.
        let host = host.strip_prefix("*.").map_or_else(|| host.to_owned(), |rest| format!("rave-check.{rest}"));
        ServerName::try_from(host).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok())
    };
    let strangers: Vec<&String> = site.hosts.iter().filter(|host| !is_for(host)).collect();
    let observed =
        if strangers.is_empty() { "it is for all of them".to_owned() } else { format!("not for {}", list(&strangers)) };
    Finding::hold(strangers.is_empty(), expected, observed)
}

fn lasting() -> String {
    format!("valid now and for {WARN} days")
}

/// From when until when all certificates of a chain are valid, in seconds since 1970; nothing if there is none, or one that
/// cannot be read.
pub fn certificate_dates(texts: &[String]) -> Option<(i64, i64)> {
    let dates: Vec<(i64, i64)> = chain(texts)?.iter().map(|der| validity(der)).collect::<Option<_>>()?;
    Some((dates.iter().map(|(begin, _)| *begin).max()?, dates.iter().map(|(_, end)| *end).min()?))
}

/// What to think of the dates of a chain at `now`, in seconds since 1970.
pub fn judge_dates(texts: &[String], now: i64) -> Finding {
    let Some((begin, end)) = certificate_dates(texts) else {
        return Finding::new(Verdict::Unhealthy, lasting(), "no dates that can be read");
    };
    let days = end.saturating_sub(now).div_euclid(DAY);
    let verdict = match days {
        _ if begin > now || days < FAIL => Verdict::Unhealthy,
        ..WARN => Verdict::Warning,
        _ => Verdict::Healthy,
    };
    let observed = match days {
        _ if begin > now => "not valid yet".to_owned(),
        ..0 => "it has ended".to_owned(),
        _ => format!("{days} days are left"),
    };
    Finding::new(verdict, lasting(), observed)
}
