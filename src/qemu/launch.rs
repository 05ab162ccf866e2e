//! From a machine on paper to a running QEMU that answers.

use std::path::{Path, PathBuf};

use std::time::Duration;

use tokio::time::Instant;

use crate::disk;
use crate::event::{Event, Report};
use crate::qemu::args::{self, Boot, Decided, Paths, file};
use crate::qemu::console;
use crate::qemu::error::{Error, Result};
use crate::qemu::keys;
use crate::qemu::machine::{Accelerator, Firmware, Forward, Machine, Rehearsal};
use crate::qemu::ports;
use crate::qemu::process::{self, Guarded, Process};
use crate::qemu::program::{QemuProgram, View};
use crate::qemu::qcow2;
use crate::qemu::qmp::Qmp;
use crate::qemu::ssh;
use crate::qemu::state::Base;
use crate::qemu::wire::Wire;
use crate::tool::Tool;

/// How long QEMU may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a start is tried again with other ports, when others are quicker to take them.
const ATTEMPTS: u32 = 5;

/// A QEMU that answers.
#[derive(Debug)]
pub struct Launched {
    /// Our child.
    pub child: Guarded,
    /// The same, as others recognise it.
    pub process: Process,
    /// The connection that is ours alone.
    pub qmp: Qmp,
    /// What was decided on the way.
    pub decided: Decided,
    /// Who answers in its network, if that is rave.
    pub wire: Option<Wire>,
}

/// Fills a machine's private directory with all that QEMU opens; an overlay that is there is used again.
pub fn furnish(machine: &Machine, directory: &Path, base: &Base) -> Result<()> {
    disk::create_private_dir(directory)?;
    let overlay = directory.join(file::OVERLAY);
    if !disk::exists(&overlay) {
        qcow2::create(&overlay, &base.path, machine.disk_size.max(base.length))?;
    }
    let vars_copy = directory.join(file::VARS);
    if let Firmware::Uefi { vars, .. } = &machine.firmware
        && !disk::exists(&vars_copy)
    {
        disk::write_atomic(&vars_copy, &disk::read(vars)?, 0o600)?;
    }
    if let Some(Rehearsal { seed: Some(seed), .. }) = &machine.rehearsal {
        disk::write_atomic(directory.join(file::SEED), seed, 0o600)?;
    }
    let public = keys::ensure(directory, &format!("rave {}", machine.name))?;
    furnish_credentials(machine, &directory.join(file::CREDENTIALS), &public)
}

/// One file per SMBIOS string (systemd.system-credentials(7)); QEMU reads them when it starts.
fn furnish_credentials(machine: &Machine, directory: &Path, public_key: &str) -> Result<()> {
    disk::create_private_dir(directory)?;
    let ssh = machine.ssh_credential.as_ref().map(|name| (name.as_str(), public_key.as_bytes()));
    let given = machine.credentials.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    for (name, value) in given.chain(ssh) {
        disk::write_atomic(directory.join(name), ssh::smbios(name, value).as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Starts QEMU for a furnished directory and waits until it answers. Ports that others take meanwhile and a
/// QEMU that cannot confine itself are worked around.
pub async fn launch(
    machine: &Machine,
    program: &QemuProgram,
    directory: &Path,
    accelerator: Accelerator,
    report: &dyn Report,
) -> Result<Launched> {
    let mut wanted = machine.forwards.clone();
    let mut confined = true;
    let mut attempt = 1;
    loop {
        let forwards = ports::choose(&wanted, ports::is_free)?;
        let next = forwards.iter().map(|f| Forward { host: f.host.saturating_add(1), ..*f }).collect();
        let decided = Decided { accelerator, forwards, confined };
        match start(machine, program, directory, decided).await {
            Err(Error::Refused { log, .. }) if attempt < ATTEMPTS && log.contains("host forwarding rule") => {
                wanted = next;
            }
            Err(Error::Refused { log, .. }) if confined && log.contains("sandbox support is not enabled") => {
                report.event(Event::Warning("this QEMU cannot confine its own system calls".to_owned()));
                confined = false;
            }
            Err(error) => return Err(error),
            Ok(launched) => {
                let moved = ports::moved(&machine.forwards, &launched.decided.forwards);
                moved.into_iter().for_each(|note| report.event(Event::Note(note)));
                // QEMU has read them, and an identity shall not lie on disk for as long as the machine runs.
                disk::remove_dir_all(directory.join(file::CREDENTIALS))?;
                return Ok(launched);
            }
        }
        attempt += 1;
    }
}

async fn start(machine: &Machine, program: &QemuProgram, directory: &Path, decided: Decided) -> Result<Launched> {
    let (paths, views) = paths(machine, program, directory, decided.accelerator)?;
    let tool = program.tool(directory, views, machine.detach).args(args::arguments(machine, &decided, &paths));
    let log = directory.join(file::QEMU_LOG);
    let output = disk::create(&log)?;
    disk::set_mode(&log, 0o600)?;
    let mut command = tool.command();
    command.stdout(disk::context("share", &log, output.try_clone())?).stderr(output);
    // A log of an earlier run would be taken for what this guest says.
    for stale in file::OF_A_RUN {
        disk::remove_file(directory.join(stale))?;
    }
    let mut child = process::spawn(command, machine.detach)?;
    let qmp = answer(&mut child, directory, &tool).await?;
    // QEMU has read them; plaintext need not lie about any longer.
    disk::remove_dir_all(directory.join(file::CREDENTIALS))?;
    let wire = lay(machine, &qmp, directory).await?;
    match Process::of(child.id())? {
        Some(process) => Ok(Launched { child, process, qmp, decided, wire }),
        None => Err(refused("it ended".to_owned(), directory, &tool)?),
    }
}

/// Lays the wire of a machine that has a network of our own, and lets it run.
async fn lay(machine: &Machine, qmp: &Qmp, directory: &Path) -> Result<Option<Wire>> {
    let Some(Rehearsal { provider, service: Some(service), .. }) = &machine.rehearsal else { return Ok(None) };
    let Some(network) = &provider.network else { return Ok(None) };
    let wire = Wire::lay(qmp, directory, network, service).await?;
    qmp.call(qapi::qmp::cont {}).await?;
    Ok(Some(wire))
}

/// Waits until QEMU answers or has ended.
async fn answer(child: &mut Guarded, directory: &Path, tool: &Tool) -> Result<Qmp> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match Qmp::connect(directory, file::QMP).await {
            Ok(qmp) => return Ok(qmp),
            Err(error) => error,
        };
        if let Some(status) = child.exited()? {
            return Err(refused(status.to_string(), directory, tool)?);
        }
        if Instant::now() >= deadline {
            return Err(error);
        }
        // The socket appears a moment after the process.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn refused(status: String, directory: &Path, tool: &Tool) -> Result<Error> {
    let log = console::tail(&directory.join(file::QEMU_LOG))?;
    Ok(Error::Refused { status, log, command: tool.display() })
}

/// Where QEMU sees the files, and what it must be shown.
fn paths(
    machine: &Machine,
    program: &QemuProgram,
    directory: &Path,
    accelerator: Accelerator,
) -> Result<(Paths, Vec<View>)> {
    let mut views = Vec::new();
    let mut show = |host: &Path, name: &str| -> Result<PathBuf> {
        let host = disk::canonical(host)?;
        let inside = program.file(&host, name);
        views.push(View { host, inside: inside.clone(), writable: false });
        Ok(inside)
    };
    let disk_inside = show(&machine.disk, "disk.raw")?;
    let boot = match &machine.firmware {
        Firmware::Uefi { code, .. } => Boot::Uefi(show(code, "code.fd")?),
        Firmware::Direct { kernel, initrd, cmdline } => {
            Boot::Direct(show(kernel, "kernel")?, show(initrd, "initrd")?, cmdline.clone())
        }
    };
    if accelerator == Accelerator::Kvm {
        views.push(View { host: "/dev/kvm".into(), inside: "/dev/kvm".into(), writable: true });
    }
    let names = disk::list(directory.join(file::CREDENTIALS))?;
    let credentials = names.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    Ok((Paths { directory: program.directory(), disk: disk_inside, boot, credentials }, views))
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
