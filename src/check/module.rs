//! Probes that modules contribute to the stages.

use std::collections::BTreeMap;

use super::table::{Check, Finding, Subject, list};
use super::{Stage, Target, Verdict};
use crate::probe::{Alerted, Answer, Ended, HttpReply, HttpUrl, JsonPath, Probe};
use crate::quantity;
use crate::system::{ModuleProbe, Query};

/// What each of them proves.
const ABOUT: &str = "a module's own probe passes";

/// How much of an output serves as evidence, in bytes.
const EVIDENCE: usize = 400;

/// The checks of the stage monitoring.
pub static MONITORING: [Check; 1] = [check("monitoring", |target| subjects(Stage::Monitoring, target))];

/// The modules' part of a stage; the id of each is that of the stage, a dot, and the module's.
pub const fn check(stage: &'static str, ask: fn(&Target) -> Vec<Subject>) -> Check {
    Check { id: stage, about: ABOUT, unreachable: Verdict::Skipped, ask, judge }
}

/// The probes that modules contribute to a stage. One for a stage that does not exist is asked with the
/// services: it must not get lost.
pub fn subjects(stage: Stage, target: &Target) -> Vec<Subject> {
    let of_stage = |probe: &&ModuleProbe| probe.stage.parse().unwrap_or(Stage::Services) == stage;
    let subject = |probe: &ModuleProbe| Subject {
        name: probe.id.clone(),
        option: Some(probe.option.clone()),
        probes: if probe.inapplicable.is_some() { Vec::new() } else { vec![ask(&probe.query)] },
    };
    target.expect.probes.iter().filter(of_stage).map(subject).collect()
}

fn ask(query: &Query) -> Probe {
    match query {
        Query::Command { command, .. } => Probe::Run { command: command.clone() },
        Query::Http { url, .. } | Query::HttpJson { url, .. } => Probe::Http { url: url.clone() },
        Query::Alert { place, messages } => Probe::Alert { place: place.clone(), messages: *messages },
        Query::Connect { place, send, contains } => {
            Probe::Connect { place: place.clone(), send: send.clone(), listen: contains.is_some() }
        }
    }
}

fn judge(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let probe = target.expect.probes.iter().find(|probe| probe.id == subject);
    if let Some(reason) = probe.and_then(|probe| probe.inapplicable.as_ref()) {
        return Finding::new(Verdict::NotApplicable, ABOUT, reason);
    }
    let (Some(probe), [answer]) = (probe, answers) else { return Finding::misfit() };
    match (&probe.query, answer) {
        (Query::Command { command, contains }, Answer::Run(ended)) => {
            judge_command(&command.join(" "), contains.as_deref(), ended)
        }
        (Query::Http { url, status, headers, contains }, Answer::Http(reply)) => {
            judge_http(url, *status, headers, contains.as_deref(), reply)
        }
        (Query::HttpJson { url, at, equals }, Answer::Http(reply)) => judge_json(url, at, equals, reply),
        (Query::Alert { messages, .. }, Answer::Alerted(told)) => judge_alert(*messages, told),
        (Query::Connect { place, contains, .. }, Answer::Connected { said }) => match contains {
            None => Finding::new(Verdict::Healthy, format!("{place} accepts connections"), "accepted"),
            Some(text) => {
                let expected = format!("{place} says {text:?}");
                Finding::hold(said.contains(text), expected, format!("it says {:?}", start(said)))
            }
        },
        (Query::Http { url, .. } | Query::HttpJson { url, .. }, Answer::Silence { reason }) => {
            Finding::new(Verdict::Unhealthy, format!("{url} answers"), reason)
        }
        (Query::Alert { place, .. }, Answer::Silence { reason }) => {
            Finding::new(Verdict::Unhealthy, format!("{place} takes a test alert"), reason)
        }
        (Query::Connect { place, .. }, Answer::Silence { reason }) => {
            Finding::new(Verdict::Unhealthy, format!("{place} accepts connections"), reason)
        }
        _ => Finding::misfit(),
    }
}

/// An attempt that fails is repeated by Alertmanager.
fn judge_alert(messages: u16, told: &Alerted) -> Finding {
    let expected = format!("messages of a test alert that the receiver takes: {messages}");
    let verdict = match (told.taken >= u64::from(messages), told.failed) {
        (true, 0) => Verdict::Healthy,
        (true, _) => Verdict::Warning,
        (false, _) => Verdict::Unhealthy,
    };
    let observed = format!("{} taken, {} attempts failed", told.taken, told.failed);
    Finding::new(verdict, expected, observed).because(format!("nonce {}", told.nonce))
}

fn judge_command(command: &str, contains: Option<&str>, ended: &Ended) -> Finding {
    let evidence = format!("{} {}", start(&ended.stdout), start(&ended.stderr)).trim().to_owned();
    if ended.code != Some(0) {
        let observed = format!("exit status {}", code(ended));
        return Finding::new(Verdict::Unhealthy, format!("`{command}` succeeds"), observed).because(evidence);
    }
    match contains {
        None => Finding::new(Verdict::Healthy, format!("`{command}` succeeds"), "exit status 0").because(evidence),
        Some(text) => {
            let found = ended.stdout.contains(text);
            let observed = if found { "printed" } else { "not printed" };
            Finding::hold(found, format!("`{command}` prints {text:?}"), observed).because(evidence)
        }
    }
}

fn judge_http(
    url: &HttpUrl,
    status: u16,
    headers: &BTreeMap<String, String>,
    contains: Option<&str>,
    reply: &HttpReply,
) -> Finding {
    let mut expected = vec![format!("status {status}")];
    let mut observed = vec![format!("status {}", reply.status)];
    let mut holds = reply.status == status;
    for (name, value) in headers {
        let found = reply.headers.get(name).map_or("", String::as_str);
        let told = |value: &str| if value.is_empty() { format!("no {name}") } else { format!("{name}: {value}") };
        holds &= found == value;
        expected.push(told(value));
        observed.push(told(found));
    }
    if let Some(text) = contains {
        let found = reply.body.contains(text);
        holds &= found;
        expected.push(format!("{text:?}"));
        observed.push(if found { "the text" } else { "another text" }.to_owned());
    }
    let mut finding = Finding::hold(holds, format!("{url} gives {}", list(expected)), list(observed));
    if reply.truncated && contains.is_some_and(|text| !reply.body.contains(text)) {
        // The text may stand in what was not read.
        finding.verdict = Verdict::Skipped;
    }
    finding.because(start(&reply.body))
}

fn judge_json(url: &HttpUrl, at: &JsonPath, equals: &str, reply: &HttpReply) -> Finding {
    let expected = format!("{at} of {url} is {equals}");
    if reply.status != 200 {
        let observed = format!("status {}", reply.status);
        return Finding::new(Verdict::Unhealthy, expected, observed).because(start(&reply.body));
    }
    if reply.truncated {
        return Finding::new(
            Verdict::Skipped,
            expected,
            format!("the answer is longer than {} bytes", reply.body.len()),
        );
    }
    let document: serde_json::Value = match serde_json::from_str(&reply.body) {
        Ok(document) => document,
        Err(error) => return Finding::new(Verdict::Unhealthy, expected, format!("no JSON: {error}")),
    };
    let Some(value) = at.find(&document) else {
        return Finding::new(Verdict::Unhealthy, expected, "there is no such value").because(start(&reply.body));
    };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Finding::hold(same(equals, &value), expected, start(&value))
}

/// Whether two texts are one value: the same text, or the same duration or size in two spellings.
fn same(expected: &str, observed: &str) -> bool {
    let equal =
        |read: fn(&str) -> Option<u64>| matches!((read(expected), read(observed)), (Some(a), Some(b)) if a == b);
    expected == observed || equal(quantity::milliseconds) || equal(quantity::bytes)
}

/// An exit status for people.
pub fn code(ended: &Ended) -> String {
    ended.code.map_or_else(|| "none (killed, or too slow)".to_owned(), |code| code.to_string())
}

fn start(text: &str) -> &str {
    let mut end = text.len().min(EVIDENCE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim()
}
