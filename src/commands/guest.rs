//! `rave guest`: what rave does inside a machine.

use std::time::{Duration, SystemTime};

use crate::cli;
use crate::guest::secrets::{self, From, Report};
use crate::guest::{answer, health, secrets::units::Act};
use crate::ui::Ui;

use super::{Environment, Failure, Result, Status};

/// Runs one of the verbs.
pub fn run(verb: &cli::Guest, environment: &Environment, ui: &Ui) -> Result<Status> {
    match verb {
        cli::Guest::Answer => answer::serve(std::io::stdin().lock(), std::io::stdout().lock()).map_err(Failure::error)?,
        cli::Guest::Wait { service, timeout } => {
            let service = service.parse().map_err(Failure::request)?;
            answer::wait(&service, Duration::from_secs(*timeout)).map_err(Failure::error)?;
        }
        cli::Guest::Health { certificates, metrics } => {
            let health = health::look(certificates, metrics, SystemTime::now()).map_err(Failure::error)?;
            let troubles = health.troubles();
            troubles.iter().for_each(|trouble| ui.warn(trouble));
            if !troubles.is_empty() {
                return Ok(Status::Unwell);
            }
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
    }
    Ok(Status::Done)
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
