//! A test alert: Alertmanager gets one by which nothing is wrong, and what becomes of it is seen by its own count.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Machine, Trouble, services};
use crate::probe::{Alerted, Answer, HttpReply, HttpUrl, Place};

/// The name by which its configuration knows the alert.
const NAME: &str = "RaveTest";
/// After which the alert is over by itself.
const LIFE: SignedDuration = SignedDuration::from_secs(20);
/// How long all of it may take: under software emulation the first message goes out late.
const TIME: Duration = Duration::from_secs(25);
/// Between two looks at the count.
const PAUSE: Duration = Duration::from_millis(500);

/// Attempts at messages to webhooks, and those of them that have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    attempts: u64,
    failed: u64,
}

/// Gives Alertmanager the alert, and waits until so many messages are taken, or the time is over.
pub fn alert(machine: &Machine, place: &Place, messages: u16) -> Result<Answer, Trouble> {
    let end = Instant::now() + machine.within(TIME);
    let ask = |target: &str, json: Option<&str>| -> Result<HttpReply, String> {
        let url = HttpUrl { place: place.clone(), target: target.to_owned() };
        let left = end.saturating_duration_since(Instant::now()).max(PAUSE);
        let reply = services::fetch(machine, &url, json, left.min(services::TIME))?;
        if reply.status == 200 { Ok(reply) } else { Err(format!("{target}: status {}", reply.status)) }
    };
    let metrics = || ask("/metrics", None);
    let begin = match metrics() {
        Ok(reply) => count(&reply).ok_or_else(|| "Alertmanager does not count its messages".to_owned())?,
        Err(reason) => return Ok(Answer::Silence { reason }),
    };
    let now = Timestamp::now();
    let nonce = now.as_nanosecond().to_string();
    let over = now.checked_add(LIFE).map_err(|error| error.to_string())?;
    let document = json!([{
        "labels": { "alertname": NAME, "severity": "none", "nonce": nonce },
        "annotations": { "summary": "A test by rave check: nothing is wrong" },
        "endsAt": over.to_string(),
    }]);
    if let Err(reason) = ask("/api/v2/alerts", Some(&document.to_string())) {
        return Ok(Answer::Silence { reason });
    }
    let mut seen = None;
    loop {
        let count = match metrics() {
            Ok(reply) => count(&reply).ok_or_else(|| "Alertmanager counts its messages no more".to_owned())?,
            Err(reason) => return Ok(Answer::Silence { reason }),
        };
        let failed = count.failed.saturating_sub(begin.failed);
        let taken = count.attempts.saturating_sub(begin.attempts).saturating_sub(failed);
        // An attempt is counted a moment before it is known to have failed, so that one look is not enough.
        let is_settled = seen.replace(count) == Some(count) && taken >= u64::from(messages);
        if is_settled || Instant::now() >= end {
            return Ok(Answer::Alerted(Alerted { nonce, taken, failed }));
        }
        std::thread::sleep(PAUSE);
    }
}

fn count(reply: &HttpReply) -> Option<Count> {
    let sum = |name| sum(&reply.body, name);
    Some(Count {
        attempts: sum("alertmanager_notification_requests_total")?,
        failed: sum("alertmanager_notification_requests_failed_total")?,
    })
}

/// The sum of a counter over all webhooks, in Prometheus' text format. The line at which a long text was cut does not count.
fn sum(text: &str, name: &str) -> Option<u64> {
    let (whole, _) = text.rsplit_once('\n')?;
    let values = whole.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
        labels.split(',').any(|label| label == "integration=\"webhook\"").then_some(value)
    });
    // The format knows floating point only; this is the conversion that refuses what is no count.
    let count = |value: &str| Some(Duration::try_from_secs_f64(value.parse().ok()?).ok()?.as_secs());
    values.map(count).try_fold(None, |sum, value| Some(Some(sum.unwrap_or(0_u64).saturating_add(value?))))?
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
