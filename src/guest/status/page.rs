//! The page for people. It needs no JavaScript.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use serde_json::{Value, json};

use super::config::Config;
use super::units::Unit;
use super::{Found, Summary};
use crate::check::{Stage, Verdict};
use crate::guest::health::{StageOutcome, Trouble};
use crate::guest::web::Asset;

/// How the page looks.
pub const STYLE: Asset = Asset { name: "status.css", content: include_str!("assets/status.css") };
const TEMPLATE: &str = include_str!("assets/status.html");

/// What the kernel says.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Host name.
    pub name: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Time since it was started.
    pub uptime: String,
}

impl Machine {
    /// This machine, at this moment.
    pub fn now() -> Self {
        let uname = rustix::system::uname();
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            uptime: words(Duration::from_secs(u64::try_from(boot.tv_sec).unwrap_or(0))),
        }
    }
}

/// A line of the table of services.
#[derive(Serialize)]
struct Row<'a> {
    title: &'a str,
    unit: &'a str,
    version: &'a str,
    state: String,
    class: &'static str,
}

/// The page. Every value in it is escaped by the rules of HTML.
pub fn render(
    config: &Config,
    versions: &BTreeMap<String, String>,
    summary: &Summary,
    found: &Found,
    machine: &Machine,
) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let rows = found.units.as_ref().map(|units| rows(&config.units, versions, units));
    let outcome = found.health.as_ref().and_then(|health| health.outcome.as_ref());
    let values = json!({
        "healthy": summary.healthy,
        "ready": summary.ready.ready,
        "checks": summary.ready.checks.iter().collect::<Vec<_>>(),
        "details": config.details,
        "config": { "image": config.image, "version": config.version, "mode": config.mode },
        "rave": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "links": config.links,
        "rows": rows.as_ref().ok(),
        "trouble": rows.as_ref().err(),
        "age": found.health.as_ref().and_then(|health| health.age_seconds).map(|age| words(Duration::from_secs(age))),
        "looked": found.health.is_some(),
        "wrong": outcome.map(|outcome| outcome.wrong),
        "stages": outcome.map(|outcome| outcome.stages.iter().map(stage).collect::<Vec<_>>()),
        "troubles": outcome.map(|outcome| outcome.troubles.iter().map(trouble).collect::<Vec<_>>()),
    });
    environment.render_str(TEMPLATE, minijinja::Value::from(minijinja::value::Serde(values)))
}

/// A line of the table of stages.
fn stage(outcome: &StageOutcome) -> Value {
    let [unhealthy, skipped, warning, healthy, left_out] = outcome.checks;
    let counts = [(unhealthy, "unhealthy"), (skipped, "skipped"), (warning, "warning"), (healthy, "healthy")];
    let counts = counts.into_iter().chain([(left_out, "left out")]).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let outside = matches!(outcome.stage, Stage::Ssh | Stage::Https);
    let checks = if outside { "asked from outside only, by `rave check`".to_owned() } else { counts.join(", ") };
    json!({ "name": outcome.stage, "verdict": outcome.verdict, "class": class(outcome.verdict), "checks": checks })
}

fn trouble(Trouble { id, verdict, expected, observed }: &Trouble) -> Value {
    json!({ "id": id, "class": class(*verdict), "expected": expected, "observed": observed })
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotApplicable => "quiet",
        Verdict::Healthy => "good",
        Verdict::Warning => "warn",
        Verdict::Skipped | Verdict::Unhealthy => "bad",
    }
}

fn rows<'a>(wanted: &'a [String], versions: &'a BTreeMap<String, String>, units: &'a [Unit]) -> Vec<Row<'a>> {
    let version = |name: &str| versions.get(name).map_or("", String::as_str);
    // A service that its socket starts, for whoever asks first.
    let listens = |service: &str| {
        let socket = service.strip_suffix(".service").map(|stem| format!("{stem}.socket"));
        units.iter().any(|unit| Some(&unit.unit) == socket.as_ref() && unit.active == "active")
    };
    let row = |name: &'a String| match units.iter().find(|unit| unit.unit == *name) {
        Some(unit) => Row {
            title: &unit.description,
            unit: name,
            version: version(name),
            state: if unit.active == unit.sub { unit.active.clone() } else { format!("{}, {}", unit.active, unit.sub) },
            class: match unit.active.as_str() {
                "active" => "good",
                "activating" | "reloading" | "deactivating" => "warn",
                "inactive" if listens(name) => "good",
                _ => "bad",
            },
        },
        None => Row { title: name, unit: name, version: version(name), state: "not loaded".to_owned(), class: "bad" },
    };
    let mut rows: Vec<Row<'_>> = wanted.iter().map(row).collect();
    rows.sort_by_key(|row| row.title.to_lowercase());
    rows
}

/// A time in its two largest units.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_720, "1 h 2 min"), (90_000, "1 d 1 h")] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }
}
