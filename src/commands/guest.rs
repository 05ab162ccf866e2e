//! `rave guest`: what rave does inside a machine.

use std::time::Duration;

use crate::cli;
use crate::guest::secrets::{self, From, Report};
use crate::guest::{answer, dashboards, secrets::units::Act, status};
use crate::ui::Ui;

use super::{Environment, Failure, Result};

/// Runs one of the verbs.
pub fn run(verb: &cli::Guest, environment: &Environment, ui: &Ui) -> Result<()> {
    match verb {
        cli::Guest::Answer => answer::serve(std::io::stdin().lock(), std::io::stdout().lock()).map_err(Failure::error),
        cli::Guest::Wait { service, timeout } => {
            let service = service.parse().map_err(Failure::request)?;
            answer::wait(&service, Duration::from_secs(*timeout)).map_err(Failure::error)
        }
        cli::Guest::Dashboards { listen, prefix, boards, prometheus } => {
            let (listen, prometheus) = (*listen, *prometheus);
            let settings = dashboards::Settings { listen, prefix: prefix.clone(), boards: boards.clone(), prometheus };
            dashboards::run(settings).map_err(Failure::error)
        }
        cli::Guest::Status { listen, config } => {
            let certificates = environment.credentials.clone();
            let settings = status::Settings { listen: *listen, config: config.clone(), certificates };
            status::run(settings).map_err(Failure::error)
        }
        cli::Guest::Secrets { stdin } => {
            let from = if *stdin { From::Sent(std::io::stdin().lock()) } else { From::Machine };
            let report = secrets::run(from, environment.credentials.as_deref()).map_err(Failure::error)?;
            if ui.is_json() {
                ui.print_json(&report);
            } else {
                ui.print(summary(&report));
            }
            Ok(())
        }
    }
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
