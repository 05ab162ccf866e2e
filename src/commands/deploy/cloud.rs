//! `rave deploy` to a cloud: the image, the provider's own tool, and the looks from outside.

mod show;
pub mod status;
mod tools;
pub mod verbs;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::cli;
use crate::cloud::{limits, validate};
use crate::deploy::Target;
use crate::deploy::cloud::act::Error;
use crate::deploy::cloud::plan::{Action, Outcome, plan};
use crate::deploy::cloud::run::Runner;
use crate::deploy::cloud::{Calls, Declared, Machine, Place, Release, Wanted};
use crate::disk;
use crate::interrupt;
use crate::system::Cloud;

use super::super::building::Manner;
use super::super::{Context, Failure, Result, Status, build, cloud_init, failure, locking};
use super::rollout;

pub use tools::Tools;

/// What an age identity begins with.
const IDENTITY: &str = "AGE-SECRET-KEY-";
/// No user-data is larger, in bytes.
const LARGEST: u64 = 4 << 20;

/// One machine, and what is sent with it.
pub struct Ready<'a> {
    machine: &'a Machine,
    config: String,
    path: PathBuf,
    user_data: Vec<u8>,
}

/// Deploys, or shows what that would do.
pub fn run(arguments: &cli::Deploy, context: &Context, target: &Target, declared: &Declared) -> Result<Status> {
    let machines = chosen(target, declared, &arguments.machine)?;
    expect_key(context, target, declared)?;
    let cloud = cloud_of(&declared.place);
    let ready: Vec<Ready<'_>> =
        machines.into_iter().map(|machine| ready(context, machine, cloud)).collect::<Result<_>>()?;
    let calls = declared.place.calls();
    if !arguments.dry_run {
        installed(context, calls.as_ref())?;
    }
    let variant = &arguments.variant;
    let asked = locking::evaluate(context, &arguments.image, &variant.set, variant.mode)?;
    for ready in &ready {
        cloud_init::expect(context, &asked, cloud, &[&ready.path], None)?;
    }
    let prepared = build::prepare(context, asked, Manner::default())?;
    let built = super::wanted(context, prepared, target.kind)?;
    let manifest = &built.manifest;
    if manifest.expect.ssh.is_none() {
        return Err(rollout::no_ssh(&arguments.image));
    }
    let release = Release {
        image: manifest.image.clone(),
        version: manifest.version.clone(),
        mode: manifest.mode,
        disk: manifest.disk.sha256,
        disk_size: manifest.disk_size,
    };
    let machines_wanted: Vec<Wanted<'_>> = ready
        .iter()
        .map(|ready| Wanted { target: &target.name, machine: ready.machine, release: &release, config: &ready.config })
        .collect();
    if arguments.dry_run {
        return show::script_of(context, declared, &machines_wanted, &release, &built.bootable);
    }
    let _left = interrupt::leave_to_machine();
    let tools = Tools::new(context, target, declared, Some(manifest))?;
    let mut runner = Runner::new(calls.as_ref(), &tools);
    let all = runner.instances().map_err(failed)?;
    let actions: Vec<Option<Action>> = machines_wanted.iter().map(|wanted| plan(wanted, &all)).collect();
    let launches = actions.iter().any(|action| matches!(action, Some(Action::Launch { .. })));
    if arguments.plan {
        let place = declared.place.title();
        if launches && !runner.has_image(&release).map_err(failed)? {
            context.ui.say(format!("image {} has to be uploaded and registered in {place}", release.name()));
        }
        let planned = machines_wanted.iter().zip(&actions);
        let planned: Vec<_> = planned.map(|(wanted, action)| show::planned(&place, wanted, action.as_ref())).collect();
        return Ok(rollout::show(context, &planned, arguments.exit_code));
    }
    if launches {
        let file = || tools.file(calls.format(), &built.bootable, manifest);
        runner.image(&release, &file).map_err(failed)?;
    }
    let mut before = BTreeSet::new();
    let tasks: Vec<(&Wanted<'_>, &Ready<'_>)> = machines_wanted.iter().zip(&ready).collect();
    let (told, is_well) = rollout::each(
        context,
        &tasks,
        |task| &task.1.machine.name,
        |(wanted, own)| {
            let outcome = runner.machine(wanted, &all, &tools.files(declared, own)?).map_err(failed)?;
            show::tell(context, wanted, &outcome);
            let outcome_told = show::as_json(&outcome);
            let is_well = match outcome {
                Outcome::Well(replaced) => {
                    before.extend(replaced);
                    true
                }
                Outcome::Unwell { .. } => false,
            };
            let told = json!({"machine": wanted.machine.name, "release": release.title(), "outcome": outcome_told});
            Ok((told, is_well))
        },
    )?;
    if actions.iter().any(Option::is_some) {
        runner.tidy(&release, &before, !is_well).map_err(failed)?;
    }
    Ok(rollout::end(context, &target.name, &told, is_well))
}

/// The machines that were asked for; all, if none was named.
pub fn chosen<'a>(target: &Target, declared: &'a Declared, names: &[String]) -> Result<Vec<&'a Machine>> {
    rollout::chosen(&target.name, &declared.machines, |machine| &machine.name, names)
}

/// The cloud as user-data knows it.
const fn cloud_of(place: &Place) -> Cloud {
    match place {
        Place::Aws { .. } => Cloud::Ec2,
        Place::Gcp { .. } => Cloud::Gce,
        Place::Azure { .. } => Cloud::Azure,
    }
}

/// Refuses a key for checks that is not there. One provider wants its public half, too.
fn expect_key(context: &Context, target: &Target, declared: &Declared) -> Result<()> {
    let key = &declared.ssh_key;
    let public = matches!(declared.place, Place::Azure { .. }).then(|| format!("{key}.pub"));
    match [Some(key.clone()), public].into_iter().flatten().find(|name| !disk::exists(context.project.join(name))) {
        None => Ok(()),
        Some(name) => Err(Failure::request(format!("targets/{}.yaml: ssh-key: there is no file {name}", target.name))
            .hint(format!("`ssh-keygen -t ed25519 -N '' -f {key}` makes it; keep it out of version control"))),
    }
}

/// Reads the user-data of a machine, and refuses what whatever runs in the machine could read.
fn ready<'a>(context: &Context, machine: &'a Machine, cloud: Cloud) -> Result<Ready<'a>> {
    let path = context.project.join(&machine.user_data);
    let wrong = |text: String| Failure::request(format!("{}: user-data: {text}", machine.origin));
    let user_data = disk::read_start(&path, LARGEST).map_err(|error| {
        wrong(failure::chain(&error)).hint("`rave cloud-init render IMAGE --ssh-key KEY.pub --output FILE` writes one")
    })?;
    let text = validate::unpacked(&user_data)
        .map_err(|error| wrong(format!("this is no whole gzip file: {error}")).hint("pack it anew"))?;
    if matches!(text, Cow::Owned(_)) && cloud != Cloud::Ec2 {
        return Err(wrong("it is packed by gzip, which this cloud's tool cannot send".to_owned())
            .hint("have the machine fetch what is large"));
    }
    if memchr::memmem::find(&text, IDENTITY.as_bytes()).is_some() {
        return Err(wrong("there is an age identity in plain text".to_owned())
            .hint("whatever runs in the machine can ask for user-data: `rave cloud-init render --identity-url`"));
    }
    let most = limits::largest(cloud).unwrap_or(usize::MAX);
    if user_data.len() > most {
        return Err(wrong(format!("it has {} bytes, and this cloud takes {most}", user_data.len()))
            .hint("have the machine fetch what is large"));
    }
    Ok(Ready { machine, config: machine.config(&user_data), path, user_data })
}

/// Refuses what could not be done for want of the provider's tool.
pub fn installed(context: &Context, calls: &dyn Calls) -> Result<()> {
    let environment = &context.environment.identities.environment;
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| disk::exists(folder.join(calls.tool())));
    if is_there { Ok(()) } else { Err(failed(Error::Missing(calls.tool().to_owned()))) }
}

/// What an error of the run means for the command.
pub fn failed(error: Error) -> Failure {
    match error {
        Error::Interrupted => Failure::Interrupted,
        Error::Missing(tool) => Failure::request(format!("{tool} is not installed"))
            .hint("it is the provider's own command line tool; the PATH of this shell is searched"),
        Error::Failed { ref remedy, .. } => {
            let remedy = *remedy;
            let failure = Failure::error(error.to_string());
            match remedy {
                Some(remedy) => failure.hint(remedy),
                None => failure,
            }
        }
        Error::State { .. } | Error::Slow { .. } => {
            Failure::error(error).hint("the same command goes on where this one was")
        }
        other => Failure::error(other),
    }
}
