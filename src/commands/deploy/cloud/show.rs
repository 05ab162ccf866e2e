//! What a roll-out would do, and what became of it, for people and programs.

use serde_json::json;

use crate::deploy::cloud::plan::{Action, Outcome};
use crate::deploy::cloud::script::{self, Script};
use crate::deploy::cloud::step::Values;
use crate::deploy::cloud::{Declared, Release, Upload, Wanted, blocks};

use super::super::super::running::Bootable;
use super::super::super::{Context, Result, Status};
use super::super::rollout::Planned;

/// All calls, as a script.
pub fn script_of(
    context: &Context,
    declared: &Declared,
    wanted: &[Wanted<'_>],
    release: &Release,
    bootable: &Bootable,
) -> Result<Status> {
    let calls = declared.place.calls();
    let (file, blocks) = match calls.format() {
        Upload::Raw => (bootable.disk.display().to_string(), blocks::of(&bootable.disk)?),
        Upload::Gce => (format!("export/{}_{}.gce.tar.gz", release.image, release.version), Vec::new()),
        Upload::Vhd => (format!("export/{}_{}.vhd", release.image, release.version), Vec::new()),
    };
    let totals = if blocks.is_empty() { Values::new() } else { blocks::totals(&blocks) };
    context.ui.print(script::render(&Script {
        calls: calls.as_ref(),
        title: declared.place.title(),
        declared,
        machines: wanted,
        release,
        file: &file,
        blocks: &blocks,
        totals,
    }));
    Ok(Status::Done)
}

/// What would become of one machine.
pub fn planned(place: &str, wanted: &Wanted<'_>, action: Option<&Action>) -> Planned {
    let words = action.map(|action| match action {
        Action::Launch { from: None, to } => format!("launch an instance of {to}, check it"),
        Action::Launch { from: Some(from), to } => {
            format!("launch an instance of {to}, check it, remove that of {from}")
        }
        Action::Start => "start it, check it".to_owned(),
        Action::Check => "end the deployment that was cut short: check it".to_owned(),
        Action::Retire => "end the deployment that was cut short: remove what ran before".to_owned(),
    });
    Planned {
        machine: wanted.machine.name.to_string(),
        place: place.to_owned(),
        release: wanted.release.title(),
        actions: action.map(|action| json!(action)).into_iter().collect(),
        words: words.into_iter().collect(),
    }
}

/// For programs.
pub fn as_json(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Well(_) => json!({"healthy": true, "reason": "", "instead": null}),
        Outcome::Unwell { reason, instead, .. } => json!({"healthy": false, "reason": reason, "instead": instead}),
    }
}

/// For people.
pub fn tell(context: &Context, wanted: &Wanted<'_>, outcome: &Outcome) {
    let (machine, title) = (&wanted.machine.name, wanted.release.title());
    match outcome {
        Outcome::Well(_) => context.ui.say(format!("{machine}: {title} runs and is well")),
        Outcome::Unwell { reason, stays, instead } => {
            context.ui.error(format!("{machine}: {title} is not well\n{}", reason.trim_end()));
            context.ui.say(match (instead, stays) {
                (Some(instead), _) => format!("{machine}: {instead} goes on"),
                (None, true) => format!("{machine}: it was well once, and stays as it is"),
                (None, false) => format!("{machine}: it is removed, and there was no version before it"),
            });
        }
    }
}
