//! `rave vm`: the machines that run, and those that ran.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::cli;
use crate::disk;
use crate::name::ImageName;
use crate::qemu::console;
use crate::qemu::machines::Known;
use crate::qemu::state::Condition;
use crate::qemu::vm::Patience;
use crate::ui::Tone;

use super::running::{self, machines};
use super::{Context, Failure, Result, Status, fault, looking, push, run, store};

/// Runs one of the verbs.
pub fn run(verb: &cli::Vm, context: &Context) -> Result<Status> {
    match verb {
        cli::Vm::List => list(context),
        cli::Vm::Ssh { name, command } => ssh(context, &parse(name)?, command),
        cli::Vm::Console { name } => attach(context, &parse(name)?),
        cli::Vm::Logs { name, follow } => logs(context, &parse(name)?, *follow),
        cli::Vm::Journal { name, follow, unit, priority } => {
            looking::journal(context, &parse(name)?, *follow, unit.clone(), *priority)
        }
        cli::Vm::Screenshot { name, output } => looking::screenshot(context, &parse(name)?, output.as_deref()),
        cli::Vm::Gdb { name, arguments } => looking::gdb(context, &parse(name)?, arguments),
        cli::Vm::Secrets { name, verb: cli::VmSecrets::Push { image } } => {
            push::run(&parse(name)?, image.as_deref(), context)
        }
        cli::Vm::Fault(wanted) => fault::run(wanted, &parse(&wanted.name)?, context),
        cli::Vm::Stop { name, grace } => stop(context, &parse(name)?, *grace),
        cli::Vm::Rm { name, force } => remove(context, &parse(name)?, *force),
    }
}

fn parse(name: &str) -> Result<ImageName> {
    name.parse().map_err(|e: crate::name::BadName| Failure::request(e.to_string()))
}

fn list(context: &Context) -> Result<Status> {
    let known = machines(context).list()?;
    if context.ui.is_json() {
        let machines: Vec<_> = known
            .iter()
            .map(|known| {
                let state = &known.state;
                json!({
                    "name": state.name,
                    "condition": word(known.condition),
                    "accelerator": state.accelerator.to_string(),
                    "ssh": state.host_port(22),
                    "https": state.host_port(3002),
                    "persist": state.persist,
                })
            })
            .collect();
        context.ui.print_json(&machines);
        return Ok(Status::Done);
    }
    let row = |known: &Known| {
        let port = |guest| known.state.host_port(guest).map_or("-".to_owned(), |port| port.to_string());
        let tone = match known.condition {
            Condition::Running => Tone::Good,
            Condition::Stopped => Tone::Dim,
            Condition::Dead => Tone::Bad,
        };
        vec![
            (known.state.name.to_string(), Tone::Plain),
            (word(known.condition).to_owned(), tone),
            (known.state.accelerator.to_string(), Tone::Plain),
            (port(22), Tone::Plain),
            (port(3002), Tone::Plain),
        ]
    };
    context.ui.table(&["NAME", "STATE", "ACCEL", "SSH", "HTTPS"], &known.iter().map(row).collect::<Vec<_>>());
    Ok(Status::Done)
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Running => "running",
        Condition::Stopped => "stopped",
        Condition::Dead => "dead",
    }
}

/// Logs in; the status of the remote command is rave's.
fn ssh(context: &Context, name: &ImageName, command: &[String]) -> Result<Status> {
    let tool = running::login(context, name)?;
    let term = context.environment.term.clone().unwrap_or_else(|| "dumb".into());
    let quoted: Vec<String> = command.iter().map(|word| crate::tool::quote(word)).collect();
    let mut process = tool.env("TERM", term).args(quoted).command();
    let status = disk::context("run", "ssh", process.stdin(Stdio::inherit()).status())?;
    match status.code() {
        Some(0) => Ok(Status::Done),
        Some(255) => Err(Failure::error("ssh could not reach the machine")),
        other => Ok(other.and_then(|code| u8::try_from(code).ok()).map_or(Status::Unwell, Status::Remote)),
    }
}

fn attach(context: &Context, name: &ImageName) -> Result<Status> {
    let known = machines(context).find(name)?;
    context.ui.say(format!("the console of {name}; Ctrl-] leaves"));
    let stdin = std::io::stdin();
    let left = console::attach(&known.directory, name, stdin.as_fd(), &mut std::io::stdout().lock())?;
    context.ui.say(if left { "\r\nleft the console" } else { "\r\nthe machine ended" });
    Ok(Status::Done)
}

fn logs(context: &Context, name: &ImageName, follow: bool) -> Result<Status> {
    let known = machines(context).find(name)?;
    if !follow {
        context.ui.print_bytes(&disk::read(console::log(&known.directory))?);
        return Ok(Status::Done);
    }
    let running = || Ok(machines(context).find(name)?.condition == Condition::Running);
    console::follow(&console::log(&known.directory), &running, &mut |bytes: &[u8]| {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    })?;
    Ok(Status::Done)
}

fn stop(context: &Context, name: &ImageName, grace: u64) -> Result<Status> {
    let _left = crate::interrupt::leave_to_machine();
    let mut vm = machines(context).attach(name)?;
    let grace = Duration::from_secs(grace);
    vm.stop(Patience { agent: grace, button: grace, ..Patience::default() }, context.ui.as_ref())?;
    Ok(Status::Done)
}

fn remove(context: &Context, name: &ImageName, force: bool) -> Result<Status> {
    machines(context).remove(name, force)?;
    store::open(context)?.unpin(&run::pin(name))?;
    Ok(Status::Done)
}
