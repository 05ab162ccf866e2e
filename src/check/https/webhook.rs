//! Where a site takes signed events in.

use super::{site, status};
use crate::check::table::{Check, Finding, Subject, list};
use crate::check::{Target, Verdict};
use crate::probe::{Answer, Delivered, Probe, Request, SigningScheme};
use crate::system::{Https, Webhook};

pub const METHOD: Check = Check {
    id: "https.webhook.method",
    about: "events are not taken in by GET",
    unreachable: Verdict::Skipped,
    ask: |target| subjects(target, |site, path, _| Some(request(site, Request::get(site.name(), path)))),
    judge: |_, _, answers| status(answers, 405, "GET"),
};

pub const UNSIGNED: Check = Check {
    id: "https.webhook.unsigned",
    about: "an event without a signature is refused",
    unreachable: Verdict::Skipped,
    ask: |target| subjects(target, |site, path, _| Some(request(site, Request::post(site.name(), path)))),
    judge: |_, _, answers| status(answers, 401, "POST without a signature"),
};

/// By each scheme that counts; see [`Probe::Forge`].
pub const FORGED: Check = Check {
    id: "https.webhook.forged",
    about: "an event with a wrong signature is refused",
    unreachable: Verdict::Skipped,
    ask: |target| {
        subjects(target, |site, path, webhook| {
            (!webhook.schemes.is_empty()).then(|| Probe::Forge {
                port: site.port,
                name: site.name().to_owned(),
                path: path.to_owned(),
                schemes: webhook.schemes.clone(),
            })
        })
    },
    judge: judge_forged,
};

pub const LARGE: Check = Check {
    id: "https.webhook.large",
    about: "an event that is too large is refused",
    unreachable: Verdict::Skipped,
    ask: |target| {
        subjects(target, |site, path, webhook| {
            let post = Request { blanks: webhook.body.saturating_add(1), ..Request::post(site.name(), path) };
            Some(request(site, post))
        })
    },
    judge: |target, subject, answers| {
        let body = webhook(target, subject).map_or(0, |webhook| webhook.body);
        status(answers, 413, &format!("POST of more than {body} bytes"))
    },
};

/// An event that only who holds the secret can sign, from inside the machine; see [`Probe::Deliver`].
pub const SIGNED: Check = Check {
    id: "https.webhook.signed",
    about: "an event with the right signature is accepted",
    unreachable: Verdict::Skipped,
    ask: |target| subjects(target, deliver),
    judge: |_, _, answers| judge(answers, 202, "a signed event", |delivered| Some(delivered.new)),
};

pub const REPEATED: Check = Check {
    id: "https.webhook.repeated",
    about: "a delivery that is repeated counts once",
    unreachable: Verdict::Skipped,
    ask: |target| subjects(target, deliver),
    // 202 would say that it was taken for a new one.
    judge: |_, _, answers| judge(answers, 200, "the same delivery again", |delivered| Some(delivered.again)),
};

pub const STALE: Check = Check {
    id: "https.webhook.stale",
    about: "an event that was signed long ago is refused",
    unreachable: Verdict::Skipped,
    ask: |target| {
        subjects(target, |site, path, webhook| {
            deliver(site, path, webhook).filter(|_| webhook.scheme == Some(SigningScheme::Standard))
        })
    },
    judge: |_, _, answers| judge(answers, 401, "an event signed two days ago", |delivered| delivered.stale),
};

fn subjects(target: &Target, probe: impl Fn(&Https, &str, &Webhook) -> Option<Probe>) -> Vec<Subject> {
    let (probe, mut subjects) = (&probe, Vec::new());
    for (name, site) in &target.expect.https {
        let asked = site.webhooks.iter().filter_map(|(path, webhook)| Some((path, probe(site, path, webhook)?)));
        subjects.extend(asked.map(|(path, probe)| Subject::of(format!("{name}{path}"), &site.option, probe)));
    }
    subjects
}

fn webhook<'a>(target: &'a Target, subject: &'a str) -> Option<&'a Webhook> {
    let (site, path) = site(target, subject)?;
    site.webhooks.get(path)
}

fn request(site: &Https, request: Request) -> Probe {
    Probe::Https { port: site.port, request }
}

fn deliver(site: &Https, path: &str, webhook: &Webhook) -> Option<Probe> {
    Some(Probe::Deliver {
        port: site.port,
        name: site.name().to_owned(),
        path: path.to_owned(),
        secret: webhook.secret.clone(),
        scheme: webhook.scheme?,
    })
}

fn judge_forged(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let Some(webhook) = webhook(target, subject) else { return Finding::misfit() };
    let expected = format!("{} with a wrong signature: status 401", list(webhook.schemes.iter().map(|s| s.name())));
    match answers {
        [Answer::Forged { statuses }] => {
            let refused = webhook.schemes.iter().all(|scheme| statuses.get(scheme) == Some(&401));
            let told = statuses.iter().map(|(scheme, status)| format!("{scheme}: status {status}"));
            Finding::hold(refused, expected, list(told))
        }
        [Answer::Silence { reason }] => Finding::new(Verdict::Unhealthy, expected, reason),
        _ => Finding::misfit(),
    }
}

fn judge(answers: &[&Answer], wanted: u16, what: &str, read: fn(&Delivered) -> Option<u16>) -> Finding {
    let expected = format!("{what}: status {wanted}");
    match answers {
        [Answer::Delivered(delivered)] => match read(delivered) {
            Some(status) => Finding::hold(status == wanted, expected, format!("status {status}")),
            None => Finding::new(Verdict::Skipped, expected, "none was sent"),
        },
        [Answer::Silence { reason }] => Finding::new(Verdict::Unhealthy, expected, reason),
        _ => Finding::misfit(),
    }
}
