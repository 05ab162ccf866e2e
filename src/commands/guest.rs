//! `rave guest`: what rave does inside a machine.

use std::time::{Duration, SystemTime};

use crate::cli;
use crate::guest::health::Trouble;
use crate::guest::secrets::{self, From, Report};
use crate::guest::webhook::config::Config;
use crate::guest::webhook::handle::handle;
use crate::guest::webhook::letters::{self, Decision};
use crate::guest::webhook::{self, Letter};
use crate::guest::{answer, dashboards, health, secrets::units::Act, status};
use crate::ui::{Tone, Ui};

use super::{Environment, Failure, Result, Status};

/// Runs one of the verbs.
pub fn run(verb: &cli::Guest, environment: &Environment, ui: &Ui) -> Result<Status> {
    match verb {
        cli::Guest::Answer { limit } => {
            let limit = limit.map(Duration::from_secs);
            answer::serve(std::io::stdin().lock(), std::io::stdout().lock(), limit).map_err(Failure::error)?
        }
        cli::Guest::Wait { service, timeout } => {
            let service = service.parse().map_err(Failure::request)?;
            answer::wait(&service, Duration::from_secs(*timeout)).map_err(Failure::error)?;
        }
        cli::Guest::Health { baseline, skip, metrics, report, last } => {
            let settings = health::Settings {
                baseline: baseline.clone(),
                skip: skip.clone(),
                metrics: metrics.clone(),
                report: report.clone(),
            };
            let outcome = match report {
                Some(report) if *last => health::last(report),
                _ => health::look(&settings, SystemTime::now()),
            };
            let outcome = outcome.map_err(Failure::error)?;
            for Trouble { id, verdict, expected, observed } in &outcome.troubles {
                ui.warn(format_args!("{id} is {verdict}: expected {expected}, observed {observed}"));
            }
            if !outcome.healthy {
                return Ok(Status::Unwell);
            }
        }
        cli::Guest::Dashboards { listen, prefix, boards, prometheus } => {
            let (listen, prometheus) = (*listen, *prometheus);
            let settings = dashboards::Settings { listen, prefix: prefix.clone(), boards: boards.clone(), prometheus };
            dashboards::run(settings).map_err(Failure::error)?;
        }
        cli::Guest::Status { listen, config, baseline } => {
            let settings = status::Settings { listen: *listen, config: config.clone(), baseline: baseline.clone() };
            status::run(settings).map_err(Failure::error)?;
        }
        cli::Guest::Secrets { stdin } => {
            let from = if *stdin { From::Sent(std::io::stdin().lock()) } else { From::Machine };
            let report = secrets::run(from, environment.credentials.as_deref()).map_err(Failure::error)?;
            if ui.is_json() {
                ui.print_json(&report);
            } else {
                ui.print(summary(&report));
            }
        }
        cli::Guest::Webhook { config } => {
            webhook::run(config, environment.credentials.as_deref(), std::io::stdout()).map_err(Failure::error)?;
        }
        cli::Guest::WebhookHandle { command } => {
            handle(std::io::stdin(), command, environment.credentials.as_deref()).map_err(Failure::error)?;
        }
        cli::Guest::DeadLetters { config, verb } => {
            let config = Config::read(config).map_err(Failure::error)?;
            match verb {
                None => show(&letters::list(&config).map_err(Failure::error)?, ui),
                Some(cli::DeadLetters::Retry(which)) => decide(&config, Decision::Retry, which, ui)?,
                Some(cli::DeadLetters::Drop(which)) => decide(&config, Decision::Drop, which, ui)?,
            }
        }
    }
    Ok(Status::Done)
}

/// Dead letters as a table, or as an array of objects.
fn show(letters: &[Letter], ui: &Ui) {
    if ui.is_json() {
        return ui.print_json(&letters);
    }
    if letters.is_empty() {
        return ui.print("no dead letters");
    }
    let row = |letter: &Letter| {
        let Letter { id, source, delivery, kind, handler, attempts, error, since } = letter;
        let cells = [&id.to_string(), since, source, kind, delivery, handler, &attempts.to_string(), error];
        // Senders wrote some of it.
        cells.map(|text| (text.replace(char::is_control, " "), Tone::Plain)).to_vec()
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    ui.table(&["ID", "SINCE", "SOURCE", "TYPE", "DELIVERY", "HANDLER", "ATTEMPTS", "WHY"], &rows);
}

/// Tries dead letters again, or forgets them.
fn decide(config: &Config, decision: Decision, which: &cli::Which, ui: &Ui) -> Result<()> {
    let ids = if which.all { None } else { Some(&*which.ids) };
    let done = letters::act(config, decision, ids).map_err(Failure::error)?;
    let gone: Vec<String> = which.ids.iter().filter(|id| !done.contains(id)).map(i64::to_string).collect();
    if ui.is_json() {
        ui.print_json(&done);
    } else {
        let what = if decision == Decision::Retry { "tried again" } else { "forgotten" };
        ui.print(format_args!("{what}: {} of the dead letters", done.len()));
    }
    if gone.is_empty() {
        return Ok(());
    }
    Err(Failure::request(format!("no dead letters have the numbers {}", gone.join(", ")))
        .hint("`rave guest dead-letters` shows those that there are"))
}

/// What changed, on one line for the journal.
fn summary(report: &Report) -> String {
    let names: Vec<&str> = report.changed.iter().map(|changed| changed.name.as_str()).collect();
    let units = report.units.iter().filter_map(|done| Some((done.unit.as_str(), done.act?)));
    let units: Vec<String> = units.map(|(unit, act)| format!("{unit} {}", past(act))).collect();
    let changed = if names.is_empty() { "nothing changed".to_owned() } else { format!("new: {}", names.join(", ")) };
    let units = if units.is_empty() { String::new() } else { format!("; {}", units.join(", ")) };
    format!("generation {} of {} secrets, {changed}{units}", report.generation, report.files)
}

/// What was done, as a word.
pub fn past(act: Act) -> &'static str {
    match act {
        Act::Restart => "restarted",
        Act::Reload => "reloaded",
    }
}
