//! `rave target`: what is done to deployed machines besides deploying.

use crate::cli;
use crate::deploy::target::{Engine, Machine};
use crate::deploy::units;

use super::deploy::way::Way;
use super::deploy::{chosen, cloud, kubevirt, read};
use super::{Context, Failure, Result, Status};

/// Runs one of the verbs.
pub fn run(verb: &cli::Target, context: &Context) -> Result<Status> {
    let machines = verb.machines();
    let target = read(context, &machines.target)?;
    if let Some(cluster) = &target.cluster {
        return kubevirt::verb(verb, context, &target, cluster);
    }
    if let Some(declared) = &target.cloud {
        return cloud::verbs::run(verb, context, &target, declared, &machines.machine);
    }
    let mut status = Status::Done;
    for machine in chosen(&target, &machines.machine)? {
        let way = Way::to(context, machine.host.as_ref())?;
        own(&way, &target.name, machine)?;
        let (service, timer) = (units::service(&machine.name), units::timer(&machine.name));
        let (always, never) = units::wanted(machine.engine == Engine::Podman);
        match verb {
            cli::Target::Start(_) => {
                way.program_output(&["systemctl", always, "--quiet", &service])?;
                way.program_output(&["systemctl", "start", &service])?;
                way.program_output(&["systemctl", "enable", "--quiet", "--now", &timer])?;
            }
            cli::Target::Stop(_) => {
                way.program_output(&["systemctl", "disable", "--quiet", "--now", &timer])?;
                way.program_output(&["systemctl", "stop", &service])?;
                way.program_output(&["systemctl", never, "--quiet", &service])?;
            }
            cli::Target::Restart(_) => drop(way.program_output(&["systemctl", "restart", &service])?),
            cli::Target::Check(_) => {
                let answer = way.run(&["host", "verify", machine.name.as_str()])?;
                match serde_json::from_slice::<Option<String>>(&answer)? {
                    None => context.ui.say(format!("{} is well", machine.name)),
                    Some(trouble) => {
                        context.ui.error(format!("{} is not well\n{trouble}", machine.name));
                        status = Status::Unwell;
                    }
                }
            }
            cli::Target::Logs { lines, .. } => {
                let lines = lines.to_string();
                let words = [
                    "journalctl",
                    "--no-pager",
                    "--quiet",
                    "--all",
                    "--output=short-iso",
                    "--lines",
                    &lines,
                    "--unit",
                    &service,
                ];
                context.ui.print_bytes(&way.program_output(&words)?);
            }
            cli::Target::Remove { purge, .. } => {
                let mut words = vec!["host", "remove", machine.name.as_str(), "--target", &target.name];
                words.extend(purge.then_some("--purge"));
                way.run(&words)?;
                context.ui.say(format!("{} is gone from {}", machine.name, machine.host_name()));
            }
        }
    }
    Ok(status)
}

/// Refuses to touch what is not there, or another target's.
fn own(way: &Way, target: &str, machine: &Machine) -> Result<()> {
    let facts = way.facts()?.unwrap_or_default();
    let absent = || {
        Failure::request(format!("{} is not deployed on {}", machine.name, machine.host_name()))
            .hint(format!("`rave deploy IMAGE --to {target}` deploys it"))
    };
    let found = facts.machines.get(&machine.name).ok_or_else(absent)?;
    if found.record.target == target {
        return Ok(());
    }
    let text =
        format!("machine {} on {} belongs to target `{}`", machine.name, machine.host_name(), found.record.target);
    Err(Failure::request(text))
}
