//! What runs in a cloud, for `rave ps`.

use serde_json::{Value, json};

use crate::deploy::Target;
use crate::deploy::cloud::answer::Instance;
use crate::deploy::cloud::declared::short;
use crate::deploy::cloud::run::Runner;
use crate::deploy::cloud::{Declared, gib, tag};
use crate::deploy::record::Health;
use crate::disk;
use crate::images::Manifest;
use crate::name::ImageName;
use crate::store::Store;
use crate::ui::Tone;

use super::super::super::{Context, Failure, Result, failure, ps};
use super::super::looks;
use super::{Tools, failed, installed};

/// One machine that is declared, or an instance that no machine of the target is.
pub struct Line {
    /// For programs.
    pub json: Value,
    /// For people: target, machine, place, image, mode, health, drift.
    pub cells: Vec<(String, Tone)>,
    /// Why nothing is known.
    pub trouble: Option<String>,
    /// Whether it is as it should be.
    pub is_well: bool,
}

/// The machines of a target.
pub fn lines(context: &Context, store: &Store, target: &Target, declared: &Declared) -> Result<Vec<Line>> {
    let calls = declared.place.calls();
    let asked = installed(context, calls.as_ref()).and_then(|()| {
        let tools = Tools::new(context, target, declared, None)?;
        Runner::new(calls.as_ref(), &tools).instances().map_err(failed)
    });
    let all = match asked {
        Ok(all) => all,
        Err(Failure::Interrupted) => return Err(Failure::Interrupted),
        Err(error) => {
            let reason = match error {
                Failure::Error { error, .. } => failure::chain(error.as_ref()),
                Failure::Request { message, .. } => message,
                other => format!("{other:?}"),
            };
            let line = |name| line(context, target, declared, name, Err(&reason), Vec::new());
            return Ok(declared.machines.iter().map(|machine| line(machine.name.as_str())).collect());
        }
    };
    let of_target = |instance: &&Instance| instance.tag(tag::TARGET) == target.name;
    let mut lines = Vec::new();
    for machine in &declared.machines {
        let own: Vec<&Instance> = all
            .iter()
            .filter(of_target)
            .filter(|instance| instance.tag(tag::MACHINE) == machine.name.as_str())
            .collect();
        // What was found well is what serves; another one is on its way.
        let shown = own.iter().find(|instance| instance.is_well()).or(own.first()).copied();
        let mut drift = Vec::new();
        if let Some(instance) = shown {
            if let Some(newer) = newer(context, store, instance)? {
                drift.push(newer);
            }
            let user_data = disk::read(context.project.join(&machine.user_data));
            if user_data.is_ok_and(|bytes| machine.config(&bytes) != instance.tag(tag::CONFIG)) {
                drift.push("declared otherwise".to_owned());
            }
            if own.len() > 1 || !instance.is_well() {
                drift.push("a deployment that has not come to its end".to_owned());
            }
        } else {
            drift.push("not deployed".to_owned());
        }
        lines.push(line(context, target, declared, machine.name.as_str(), Ok(shown), drift));
    }
    let is_declared =
        |instance: &&Instance| declared.machines.iter().any(|m| m.name.as_str() == instance.tag(tag::MACHINE));
    for left in all.iter().filter(of_target).filter(|instance| !is_declared(instance)) {
        lines.push(line(
            context,
            target,
            declared,
            left.tag(tag::MACHINE),
            Ok(Some(left)),
            vec!["no longer declared".to_owned()],
        ));
    }
    Ok(lines)
}

/// Another build of the image than the one that runs, if it is the newest here.
fn newer(context: &Context, store: &Store, instance: &Instance) -> Result<Option<String>> {
    let Ok(image) = instance.tag(tag::IMAGE).parse::<ImageName>() else { return Ok(None) };
    let disk = instance.tag(tag::DISK);
    let is_other = |newest: &Manifest| {
        short(&newest.disk.sha256.to_string(), disk.len()) != disk
            || gib(newest.disk_size).to_string() != instance.tag(tag::SIZE)
    };
    Ok(ps::newest(context, store, &image)?.filter(is_other).map(|newest| ps::built(&newest)))
}

/// What a cloud and the last look from here say of an instance. Nobody looks by himself, so the last look may be long ago.
fn of_instance(instance: &Instance, look: Option<&Health>) -> (String, Tone) {
    match look {
        _ if !instance.runs => (instance.state.clone(), Tone::Bad),
        Some(look) if !look.healthy => {
            (format!("runs, unhealthy: {}{}", look.troubles.len(), ps::ago(look)), Tone::Bad)
        }
        Some(look) => (format!("runs, healthy{}", ps::ago(look)), Tone::Good),
        None if instance.is_well() => ("runs, was well when deployed".to_owned(), Tone::Good),
        None => ("runs, not checked".to_owned(), Tone::Warn),
    }
}

fn line(
    context: &Context,
    target: &Target,
    declared: &Declared,
    machine: &str,
    found: std::result::Result<Option<&Instance>, &String>,
    drift: Vec<String>,
) -> Line {
    let place = declared.place.title();
    let instance = found.ok().flatten();
    let name = machine.parse::<ImageName>().ok();
    let look = instance.zip(name).and_then(|(instance, name)| looks::last(context, &target.name, &name, &instance.id));
    let (health, tone) = match found {
        Err(_) => ("the cloud does not answer".to_owned(), Tone::Bad),
        Ok(None) => ("absent".to_owned(), Tone::Dim),
        Ok(Some(instance)) => of_instance(instance, look.as_ref()),
    };
    let deployed = instance.map(|instance| {
        json!({
            "image": instance.tag(tag::IMAGE),
            "version": instance.tag(tag::VERSION),
            "mode": instance.tag(tag::MODE),
            "disk": instance.tag(tag::DISK),
            "instance": instance.id,
            "addresses": [&instance.public, &instance.private],
            "state": instance.state,
            "confirmed": instance.is_well(),
            "health": look,
        })
    });
    let json = json!({
        "target": target.name,
        "machine": machine,
        "host": place,
        "reachable": found.is_ok(),
        "error": found.err(),
        "deployed": deployed,
        "drift": drift,
    });
    let text = |text: Option<String>| (text.unwrap_or_else(|| "-".to_owned()), Tone::Plain);
    let (told, is_as_declared) = (drift.join("; "), drift.is_empty());
    let cells = vec![
        (target.name.clone(), Tone::Plain),
        (machine.to_owned(), Tone::Plain),
        (place, Tone::Dim),
        text(instance.map(Instance::title)),
        text(instance.map(|instance| instance.tag(tag::MODE).to_owned())),
        (health, tone),
        if is_as_declared { ("none".to_owned(), Tone::Dim) } else { (told, Tone::Warn) },
    ];
    let trouble = found.err().map(|error| format!("{machine}: {error}"));
    Line { json, cells, trouble, is_well: is_as_declared && tone == Tone::Good }
}
