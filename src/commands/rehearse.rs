//! `rave run --cloud`: a machine finds itself in a cloud, as far as QEMU and rave have one, and is checked.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::check::{CheckReport, Report, Stage, StageReport, Verdict};
use crate::cli::{self, CloudFault};
use crate::cloud::metadata::{Fault, Instance, Metadata, Reply, azure, openstack};
use crate::cloud::status::{Finding, Grade, Status as Outcome};
use crate::cloud::{iso, limits, seed};
use crate::disk;
use crate::event::Work;
use crate::images::Manifest;
use crate::qemu::machine::{Machine, Rehearsal};
use crate::qemu::peer;
use crate::qemu::provider::Provider;
use crate::qemu::vm::Vm;
use crate::qemu::wire::{Answering, Said, Service};
use crate::system::Cloud;

use super::{Context, Failure, Result, Status, check, running};

/// The most user-data on a seed, in bytes.
const LARGEST: usize = 1 << 20;
/// Whose operators have a word of their own for a machine. The others have nothing of the kind.
const VENDORS: [Cloud; 3] = [Cloud::NoCloud, Cloud::OpenStack, Cloud::ConfigDrive];
/// The longest public key, in bytes.
const KEY: u64 = 16 * 1024;
/// How long cloud-init may take to say how it is, once it has come to its end.
const ASK: Duration = Duration::from_secs(300);

/// What is played to a machine.
pub struct Play {
    cloud: Cloud,
    provider: Provider,
    instance: Option<String>,
    user_data: Zeroizing<Vec<u8>>,
    vendor_data: Option<Vec<u8>>,
    network_config: Option<Vec<u8>>,
    public_keys: Vec<String>,
    fault: Option<Fault>,
}

/// Reads what was asked for; nothing if that is no cloud.
pub fn prepare(wanted: &cli::Rehearse) -> Result<Option<Play>> {
    let Some(cloud) = wanted.cloud else { return Ok(None) };
    let provider = Provider::of(cloud)?;
    let user_data = match &wanted.user_data {
        Some(path) => user_data(path, cloud)?,
        None => Zeroizing::default(),
    };
    let public_keys = wanted.cloud_key.as_deref().map(public_key).transpose()?.into_iter().collect();
    let fault = wanted.cloud_fault.map(|fault| match fault {
        CloudFault::Hang => Fault::Hang,
        CloudFault::Error => Fault::Error,
        CloudFault::Lie => Fault::Lie,
    });
    if fault.is_some() && provider.network.is_none() {
        return Err(Failure::request(format!("{cloud} has no service that could fail")));
    }
    let more = |path: &Option<PathBuf>, what: &str, clouds: &[Cloud]| {
        path.as_deref().map(|path| more(path, what, cloud, clouds)).transpose()
    };
    let vendor_data = more(&wanted.vendor_data, "vendor-data", &VENDORS)?;
    let network_config = more(&wanted.network_config, "a network configuration", &[Cloud::NoCloud])?;
    let instance = wanted.cloud_instance.clone();
    Ok(Some(Play { cloud, provider, instance, user_data, vendor_data, network_config, public_keys, fault }))
}

/// Reads what only these `clouds` hand over besides user-data.
fn more(path: &Path, what: &str, cloud: Cloud, clouds: &[Cloud]) -> Result<Vec<u8>> {
    if !clouds.contains(&cloud) {
        let names: Vec<&str> = clouds.iter().map(|cloud| cloud.name()).collect();
        return Err(Failure::request(format!("{cloud} is not given {what} here, as {} is", names.join(" or "))));
    }
    Ok(user_data(path, cloud)?.to_vec())
}

/// Reads user-data, as much as the cloud takes.
fn user_data(path: &Path, cloud: Cloud) -> Result<Zeroizing<Vec<u8>>> {
    let most = limits::largest(cloud).unwrap_or(LARGEST);
    let bytes = Zeroizing::new(disk::read_start(path, most as u64 + 1)?);
    if bytes.len() > most {
        let error = format!("{}: {cloud} takes {most} bytes of user-data at most", path.display());
        return Err(Failure::request(error).hint("let it fetch the rest from elsewhere, or put that into the image"));
    }
    Ok(bytes)
}

fn public_key(path: &Path) -> Result<String> {
    let bytes = disk::read_start(path, KEY)?;
    let text = String::from_utf8_lossy(&bytes);
    match ssh_key::PublicKey::from_openssh(text.trim()).map(|key| key.to_openssh()) {
        Ok(Ok(line)) => Ok(line),
        _ => Err(Failure::request(format!("{} is no public key of OpenSSH", path.display()))
            .hint("the file with .pub at the end of its name is meant")),
    }
}

impl Play {
    /// Refuses an image that takes no notice of this cloud.
    pub fn expect(&self, manifest: &Manifest) -> Result<()> {
        let value = |name: &str| {
            let option = manifest.options.iter().find(|(option, _)| option.as_str() == name);
            option.map(|(_, option)| &option.value)
        };
        let image = &manifest.image;
        if value("cloud.enable").and_then(serde_json::Value::as_bool) != Some(true) {
            return Err(Failure::request(format!("image {image} has no cloud-init"))
                .hint("set `cloud.enable: true` in the image, and build it again"));
        }
        let sources = value("cloud.datasources").and_then(serde_json::Value::as_array);
        // Of OpenStack's two it is the one that is rehearsed.
        let has = |name: &serde_json::Value| name.as_str().is_some_and(|n| n.eq_ignore_ascii_case(self.cloud.name()));
        if !sources.is_some_and(|list| list.iter().any(has)) {
            return Err(Failure::request(format!("image {image} does not look for the datasource of {}", self.cloud))
                .hint("add it to `cloud.datasources` in the image, and build it again"));
        }
        Ok(())
    }

    /// Makes a machine one of the provider's; `user` is who administers it.
    pub fn set(&self, machine: &mut Machine, user: Option<&str>) -> Result<()> {
        let (provider, instance) = (self.provider.clone(), self.instance.clone());
        machine.rehearsal = Some(Rehearsal { provider, instance, seed: None, service: None });
        let instance = Instance {
            cloud: self.cloud,
            uuid: machine.uuid(),
            name: machine.name.to_string(),
            user: user.unwrap_or("agent").to_owned(),
            public_keys: self.public_keys.clone(),
            user_data: self.user_data.to_vec(),
            // Text, for OpenStack has it in JSON; a seed takes any bytes.
            vendor_data: self.vendor_data.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            mac: peer::CARD.0,
            address: peer::LEASED,
        };
        if let Some(rehearsal) = &mut machine.rehearsal {
            if self.provider.seed {
                rehearsal.seed = Some(self.disk_of(&instance)?);
            }
            if self.provider.network.is_some() {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| Failure::error(std::io::Error::from(error)))?;
                rehearsal.service = Some(Answering(Arc::new(Played(Metadata::new(instance, key, self.fault)))));
            }
        }
        Ok(())
    }

    /// Waits for the machine, has cloud-init say what came of it, and checks all; then ends what is played, and the
    /// machine, unless that is to outlive this command.
    pub fn run(&self, context: &Context, vm: &mut Vm, host: &cli::Host) -> Result<Status> {
        running::wait(context, vm, host).map_err(|failure| match failure {
            failure @ Failure::Error { .. } if self.provider.network.is_some() => failure.hint(
                "cloud-init asks a metadata service that does not answer for minutes: `rave vm logs` and --timeout",
            ),
            failure => failure,
        })?;
        let keep = vm.state().detach;
        let checked = self.check(context, vm);
        if !keep || checked.is_err() {
            running::stop(context, vm)?;
        } else {
            vm.end_rehearsal()?;
        }
        let report = checked?;
        check::show(context, &report);
        if keep {
            let name = &vm.state().name;
            let addresses = running::addresses(vm);
            context.ui.say(format!("{name} goes on: {addresses}; `rave vm ssh {name}` enters it"));
            if self.provider.network.is_some() {
                context
                    .ui
                    .say("the provider's services have ended, and its network leads nowhere: it is not one to restart");
            }
        }
        check::end(&report, false)
    }

    /// What is on the disk that a provider gives its machine.
    fn disk_of(&self, instance: &Instance) -> Result<Vec<u8>> {
        if instance.cloud == Cloud::Azure {
            let environment = azure::provisioning(instance);
            return iso::image("rd_rdfe_stable", &[("ovf-env.xml", &environment)]).map_err(Failure::error);
        }
        if instance.cloud == Cloud::ConfigDrive {
            let files = openstack::drive(instance);
            let files: Vec<(&str, &[u8])> =
                files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
            return iso::image(openstack::LABEL, &files).map_err(Failure::error);
        }
        let mut meta_data = seed::meta_data(&instance.uuid, Some(&instance.name)).map_err(Failure::error)?;
        let keys = serde_json::to_string(&instance.public_keys)?;
        meta_data.extend(format!("public-keys: {keys}\n").bytes());
        let user_data = instance.user_data.clone();
        let (vendor_data, network_config) = (self.vendor_data.clone(), self.network_config.clone());
        seed::image(&seed::Seed { meta_data, user_data, vendor_data, network_config }).map_err(Failure::error)
    }

    fn check(&self, context: &Context, vm: &Vm) -> Result<Report> {
        let begin = Instant::now();
        let work = Work::start(context.ui.as_ref(), "await", "cloud-init", None);
        let command = ["status", "--wait", "--format", "json"];
        let output = vm.exec("/usr/bin/cloud-init", &command, b"", ASK)?;
        let outcome = Outcome::parse(&String::from_utf8_lossy(&output.stdout));
        let outcome = outcome.ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            Failure::error(format!("cloud-init does not say how it is: {}", said.chars().take(500).collect::<String>()))
        })?;
        work.finish(outcome.status.clone());
        let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mine = outcome.judge(self.cloud).map(|finding| reported(finding, ms));
        let report = check::of_vm(context, vm)?;
        Ok(with(report, mine.into()))
    }
}

/// Adds checks to the stage of services.
fn with(report: Report, mine: Vec<CheckReport>) -> Report {
    let stages = report.stages.into_iter().map(|stage| match stage.stage {
        Stage::Services => StageReport::new(Stage::Services, [stage.checks, mine.clone()].concat()),
        _ => stage,
    });
    Report::new(stages.collect())
}

fn reported(finding: Finding, ms: u64) -> CheckReport {
    let verdict = match finding.grade {
        Grade::Good => Verdict::Healthy,
        Grade::Doubtful => Verdict::Warning,
        Grade::Bad => Verdict::Unhealthy,
    };
    // A machine's words end on somebody's terminal.
    let harmless = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    CheckReport {
        id: format!("services.rehearsal.{}", finding.id),
        verdict,
        expected: finding.expected,
        observed: harmless(finding.observed),
        option: None,
        evidence: harmless(finding.evidence),
        ms,
    }
}

/// A provider's services on the machine's wire.
struct Played(Metadata);

impl Service for Played {
    fn answer(&self, at: SocketAddrV4, received: &[u8], now: Duration) -> Said {
        match self.0.reply(*at.ip(), received, now) {
            Reply::More => Said::More,
            Reply::Response(bytes) => Said::Answer(bytes),
            Reply::Nothing => Said::Nothing,
        }
    }
}
