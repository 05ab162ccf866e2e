//! `rave host`: what the rave on a host does for deployments, and in the units of deployed machines.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::check::Report;
use crate::cli;
use crate::deploy::host::{self, Goods, Host, Manager};
use crate::deploy::record::{Health, Order};
use crate::deploy::{disk as machine_disk, units};
use crate::digest::Digest;
use crate::disk;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu::args::file;
use crate::qemu::{hosted, keys};
use crate::tool::Tool;

use super::{Context, Failure, Result, Status, build, check};

/// The longest order that is read, in bytes.
const ORDER: u64 = 16 << 20;
/// How long a guest may take to shut down, within what its unit allows.
const POWER_OFF: Duration = Duration::from_secs(100);
/// The template of UEFI variables in the tree of tools.
const VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// How many lines of a journal tell why something failed.
const LINES: &str = "15";

/// Runs one of the verbs.
pub fn run(verb: &cli::HostVerb, context: &Context) -> Result<Status> {
    let host = Host::new(Path::new("/"), &Systemd);
    match verb {
        cli::HostVerb::Facts => context.ui.print_json(&host.facts().map_err(failed)?),
        cli::HostVerb::Receive { goods, digest } => {
            let goods = match goods {
                cli::Goods::Tools => Goods::Tools,
                cli::Goods::Image => Goods::Image,
            };
            let digest: Digest = digest.parse().map_err(|_| Failure::request(format!("{digest} is no digest")))?;
            let rave = disk::canonical("/proc/self/exe")?;
            host.receive(goods, &digest, std::io::stdin().lock(), &rave).map_err(failed)?;
        }
        cli::HostVerb::Apply => {
            // Whoever asked may go away: what was begun comes to its end.
            let _left = interrupt::leave_to_machine();
            let mut text = Zeroizing::new(Vec::new());
            disk::context("read", "standard input", std::io::stdin().lock().take(ORDER).read_to_end(&mut text))?;
            // The order is one line; what follows is the identity.
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let (order, rest) = text.split_at(end);
            let order: Order = serde_json::from_slice(order)?;
            let identity = rest.get(1..).filter(|identity| !identity.is_empty());
            context.ui.print_json(&host.apply(&order, identity).map_err(failed)?);
        }
        cli::HostVerb::Verify { machine } => {
            let trouble = host.look(&parse(machine)?).map_err(failed)?;
            context.ui.print_json(&trouble);
        }
        cli::HostVerb::Remove { machine, target, purge } => {
            host.remove(&parse(machine)?, target, *purge).map_err(failed)?;
        }
        cli::HostVerb::Disk { machine } => prepare(context, &parse(machine)?)?,
        cli::HostVerb::Await { machine, container } => await_start(&parse(machine)?, container.as_deref())?,
        cli::HostVerb::PowerOff { machine } => {
            if !hosted::power_off(&units::directory(&parse(machine)?), POWER_OFF)? {
                context.ui.warn("the guest did not shut down in time");
            }
        }
        cli::HostVerb::Look { machine, ssh, https, full, container } => {
            let seldom = units::SELDOM.iter().filter(|_| !full);
            let skip: Vec<&str> = seldom.chain(crate::check::APART.iter().filter(|_| *container)).copied().collect();
            return look(context, &parse(machine)?, ssh, https.clone(), &skip);
        }
    }
    Ok(Status::Done)
}

fn parse(name: &str) -> Result<ImageName> {
    name.parse().map_err(|e: crate::name::BadName| Failure::request(e.to_string()))
}

fn failed(error: host::Error) -> Failure {
    match error {
        host::Error::Taken { .. } | host::Error::Unknown(_) | host::Error::Busy(_) => {
            Failure::request(error.to_string())
        }
        error => Failure::error(error),
    }
}

/// What a unit's sandbox shows of the image.
fn image(name: &str) -> std::path::PathBuf {
    Path::new(units::IMAGE).join(name)
}

fn prepare(context: &Context, machine: &ImageName) -> Result<()> {
    let own = units::directory(machine);
    let manifest = build::read_manifest(&image("manifest.json"))?;
    let done = machine_disk::prepare(&own.join(units::DISK), &image("disk.raw"), &manifest).map_err(Failure::error)?;
    let vars = own.join(file::VARS);
    if !disk::exists(&vars) {
        disk::write_atomic(&vars, &disk::read(VARS)?, 0o600)?;
    }
    let title = format!("{} {}", manifest.image, manifest.version);
    context.ui.say(match done {
        machine_disk::Done::Nothing => format!("the disk boots {title}"),
        machine_disk::Done::Made => format!("made a disk that boots {title}"),
        machine_disk::Done::Written => format!("wrote {title} into the free slot"),
        machine_disk::Done::Switched => format!("the disk boots {title} from what was there"),
    });
    Ok(())
}

/// Writes down the host key of a machine that has started; `container`: where the image is, if it is one.
fn await_start(machine: &ImageName, container: Option<&Path>) -> Result<()> {
    let manifest = container.map_or_else(|| image("manifest.json"), |directory| directory.join("manifest.json"));
    let ssh = build::read_manifest(&manifest)?.expect.ssh;
    let file = ssh.ok_or_else(|| Failure::request("the image has no SSH"))?.host_key_file;
    let key = match container {
        Some(_) => {
            let words = ["exec", &units::container::name(machine), "cat", file.as_str()];
            keys::host_key(Systemd.podman(&words).map_err(Failure::error)?.as_bytes())?
        }
        None => hosted::host_key(&units::directory(machine), file.as_str())?,
    };
    let path = Path::new("/run/rave").join(machine.as_str()).join(units::HOST_KEY);
    Ok(disk::write_atomic(path, key.as_bytes(), 0o644)?)
}

/// Asks a machine what `rave check` asks, and writes down what came of it.
fn look(context: &Context, machine: &ImageName, ssh: &str, https: Option<String>, skip: &[&str]) -> Result<Status> {
    let asked = ask(context, machine, ssh, https, skip);
    if let Some(health) = health(&asked, jiff::Timestamp::now().as_second()) {
        // Why it could not be asked is said at the end.
        for trouble in health.troubles.iter().filter(|_| asked.is_ok()) {
            context.ui.warn(trouble);
        }
        let place = Path::new("/var/lib/rave-check").join(machine.as_str()).join(units::REPORT);
        let written = disk::write_atomic(place, &serde_json::to_vec(&health)?, 0o600);
        // Why the machine could not be asked matters more than that this could not be written down.
        match written {
            Err(error) if asked.is_err() => context.ui.warn(error),
            written => written?,
        }
    }
    check::end(&asked?, false)
}

fn ask(context: &Context, machine: &ImageName, ssh: &str, https: Option<String>, skip: &[&str]) -> Result<Report> {
    let manifest = build::read_manifest(&image("manifest.json"))?;
    let user = manifest.expect.ssh.as_ref().map(|ssh| ssh.user.clone());
    let user = user.ok_or_else(|| Failure::request("the image has no SSH"))?;
    let directory = context.environment.credentials.as_deref();
    let key = directory.ok_or_else(|| Failure::request("there is no CREDENTIALS_DIRECTORY"))?.join(units::KEY);
    let host_key = disk::read_to_string(Path::new("/run/rave").join(machine.as_str()).join(units::HOST_KEY))?;
    let way = cli::Elsewhere { ssh: None, manifest: None, https, host_key: Some(host_key), ssh_key: Some(key) };
    check::over_ssh(context, manifest, &format!("{user}@{ssh}"), &way, skip)
}

/// What is written down of a machine that was asked. One that could not be is not well; who ended the look knows nothing.
fn health(asked: &Result<Report>, time: i64) -> Option<Health> {
    let troubles = match asked {
        Ok(report) => check::troubles(report),
        Err(Failure::Interrupted) => return None,
        Err(failure) => vec![format!("it could not be checked: {}", failure.reason())],
    };
    Some(Health { healthy: troubles.is_empty(), time, troubles })
}

/// systemd and podman, by their own programs.
struct Systemd;

/// What a program said, or why it failed.
fn told(tool: Tool) -> std::result::Result<String, String> {
    let why = |error: crate::tool::Error| match error {
        crate::tool::Error::Failed { stderr, .. } => stderr,
        error => super::failure::chain(&error),
    };
    tool.output().map(|output| String::from_utf8_lossy(&output).into_owned()).map_err(why)
}

impl Manager for Systemd {
    fn systemctl(&self, words: &[&str]) -> std::result::Result<String, String> {
        told(Tool::new("systemctl").args(["--no-ask-password"]).args(words))
    }

    fn podman(&self, words: &[&str]) -> std::result::Result<String, String> {
        told(Tool::new("podman").args(words))
    }

    fn journal(&self, unit: &str) -> String {
        let text = |tool: Tool| tool.output().map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        let last = text(Tool::new("systemctl").args(["show", "--value", "--property=InvocationID", unit]));
        let words = ["--no-pager", "--quiet", "--output=cat", "--all", "--lines", LINES];
        // What the unit said this time, not what it said before.
        let said =
            last.and_then(|id| text(Tool::new("journalctl").args(words).arg(format!("_SYSTEMD_INVOCATION_ID={id}"))));
        said.unwrap_or_else(|error| super::failure::chain(&error))
    }

    fn encrypt(&self, name: &str, plain: &[u8]) -> host::Result<Vec<u8>> {
        let tool = Tool::new("systemd-creds").args(["encrypt", &format!("--name={name}"), "-", "-"]);
        Ok(tool.output_with_input(plain)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_could_not_be_asked_is_not_well() {
        let of = |asked: Result<Report>| health(&asked, 7);
        let unwell = |trouble: &str| Some(Health { healthy: false, time: 7, troubles: vec![trouble.to_owned()] });
        assert_eq!(
            of(Err(Failure::error("Connection refused"))),
            unwell("it could not be checked: Connection refused")
        );
        assert_eq!(of(Ok(Report::new(Vec::new()))), unwell("nothing was checked"));
        assert_eq!(of(Err(Failure::Interrupted)), None);
    }
}
