//! `rave target` for machines in a cloud.

use std::collections::BTreeSet;

use crate::cli;
use crate::deploy::Target;
use crate::deploy::cloud::act::Hands as _;
use crate::deploy::cloud::answer::Instance;
use crate::deploy::cloud::declared::short;
use crate::deploy::cloud::run::Runner;
use crate::deploy::cloud::{Declared, Machine, Verb, tag};
use crate::images::Manifest;
use crate::interrupt;
use crate::name::ImageName;

use super::super::super::generations::Generations;
use super::super::super::{Context, Failure, Result, Status, project, store};
use super::super::looks;
use super::{Tools, chosen, failed, installed};

/// Runs one of the verbs.
pub fn run(
    verb: &cli::Target,
    context: &Context,
    target: &Target,
    declared: &Declared,
    names: &[String],
) -> Result<Status> {
    let machines = chosen(target, declared, names)?;
    if matches!(verb, cli::Target::Remove { purge: false, .. }) {
        return Err(Failure::request("an instance of a cloud goes with all that it has written")
            .hint("give --purge if that may go; `rave target stop` keeps it"));
    }
    let calls = declared.place.calls();
    installed(context, calls.as_ref())?;
    let _left = interrupt::leave_to_machine();
    let tools = Tools::new(context, target, declared, None)?;
    let runner = Runner::new(calls.as_ref(), &tools);
    let all = runner.instances().map_err(failed)?;
    let mut status = Status::Done;
    for machine in machines {
        let own: Vec<&Instance> = all
            .iter()
            .filter(|found| found.tag(tag::TARGET) == target.name)
            .filter(|found| found.tag(tag::MACHINE) == machine.name.as_str())
            .collect();
        let Some(first) = own.iter().find(|instance| instance.is_well()).or(own.first()) else {
            return Err(Failure::request(format!("{} is not deployed in {}", machine.name, declared.place.title()))
                .hint(format!("`rave deploy IMAGE --to {}` deploys it", target.name)));
        };
        match verb {
            cli::Target::Start(_) => runner.verb(Verb::Start, &first.id).map_err(failed)?,
            cli::Target::Stop(_) => runner.verb(Verb::Stop, &first.id).map_err(failed)?,
            cli::Target::Restart(_) => runner.verb(Verb::Restart, &first.id).map_err(failed)?,
            cli::Target::Check(_) => {
                if let Some(trouble) = look(context, target, declared, machine, first)? {
                    context.ui.error(format!("{} is not well\n{trouble}", machine.name));
                    status = Status::Unwell;
                } else {
                    context.ui.say(format!("{} is well", machine.name));
                }
            }
            cli::Target::Logs { lines, .. } => {
                let shown = runner.console(&first.id).map_err(failed)?;
                let text = String::from_utf8_lossy(&shown);
                let all: Vec<&str> = text.lines().collect();
                let from = all.len().saturating_sub(usize::try_from(*lines).unwrap_or(usize::MAX));
                context.ui.print_bytes(all.get(from..).unwrap_or_default().join("\n").as_bytes());
                context.ui.print_bytes(b"\n");
            }
            cli::Target::Remove { .. } => {
                for instance in own {
                    runner.remove(&instance.id).map_err(failed)?;
                    forget(&runner, instance)?;
                }
                looks::forget(context, &target.name, &machine.name);
                context.ui.say(format!("{} is gone from {}", machine.name, declared.place.title()));
            }
        }
    }
    Ok(status)
}

/// Removes the image that an instance ran, if no other one does.
fn forget(runner: &Runner<'_>, instance: &Instance) -> Result<()> {
    let Ok(image) = instance.tag(tag::IMAGE).parse::<ImageName>() else { return Ok(()) };
    let disk = instance.tag(tag::DISK);
    let is_its = |name: &str| name.rsplit('-').next().is_some_and(|digest| disk.starts_with(digest));
    runner.clear_images(&image, &BTreeSet::new(), &is_its).map_err(failed)
}

/// Holds an instance against the image that it runs, which must be among those that were built here.
fn look(
    context: &Context,
    target: &Target,
    declared: &Declared,
    machine: &Machine,
    instance: &Instance,
) -> Result<Option<String>> {
    let manifest = built(context, instance.tag(tag::IMAGE), instance.tag(tag::DISK))?.ok_or_else(|| {
        Failure::request(format!("{}: what it runs, {}, was not built here", machine.name, instance.title()))
            .hint("`rave check --ssh USER@ADDRESS --manifest FILE` holds it against the manifest of that build")
    })?;
    Tools::new(context, target, declared, Some(&manifest))?.look(machine, instance).map_err(failed)
}

/// The manifest of the build with that disk.
fn built(context: &Context, image: &str, disk: &str) -> Result<Option<Manifest>> {
    let (Ok(name), Ok((_, named))) = (image.parse::<ImageName>(), project::read(&context.project, image)) else {
        return Ok(None);
    };
    let store = store::open(context)?;
    let builds = Generations::of(&store, &named, &name);
    for back in 0..builds.count()? {
        let manifest = builds.back(back)?;
        if let Some(manifest) = manifest.filter(|built| short(&built.disk.sha256.to_string(), disk.len()) == disk) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}
