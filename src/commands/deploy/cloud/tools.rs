//! What acts: the provider's own tool with the user's environment, and ssh.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli;
use crate::deploy::Target;
use crate::deploy::cloud::act::{Error, Hands, Result as Done};
use crate::deploy::cloud::run::Runner;
use crate::deploy::cloud::step::Slot;
use crate::deploy::cloud::{Declared, ENVIRONMENT, Machine, Upload, answer};
use crate::disk;
use crate::export::{self, Format, Job};
use crate::images::Manifest;
use crate::images::layout::Sectors;
use crate::interrupt;
use crate::tool::{self, Tool};

use super::super::super::running::Bootable;
use super::super::super::scratch::Scratch;
use super::super::super::{Context, Failure, Result, check, failure};
use super::super::looks;
use super::Ready;

/// How long one call may take: an upload is one.
const CALL: Duration = Duration::from_secs(6 * 3600);
/// How long a new machine may take until it lets somebody in, once its console has shown its host key.
const ANSWERS: Duration = Duration::from_secs(180);
/// How much of what a tool says of its failure is shown, in bytes.
const SAID: usize = 4096;
/// How names of private directories begin: user-data and whole disks are in them.
const SCRATCH: &str = ".rave-cloud-";
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// What acts: the provider's tool with the user's environment, and ssh.
pub struct Tools<'a> {
    context: &'a Context,
    target: &'a Target,
    declared: &'a Declared,
    /// What machines are held against, if that is asked for.
    manifest: Option<&'a Manifest>,
    scratch: Scratch,
    notes: PathBuf,
}

impl<'a> Tools<'a> {
    /// With a private directory, which goes when this does; one that a killed program has left goes now.
    pub fn new(
        context: &'a Context,
        target: &'a Target,
        declared: &'a Declared,
        manifest: Option<&'a Manifest>,
    ) -> Result<Self> {
        disk::create_dir_all(&context.state)?;
        let scratch = Scratch::tidy(&context.state, SCRATCH)?;
        let notes = context.state.join("uploads");
        Ok(Self { context, target, declared, manifest, scratch, notes })
    }

    /// The file that is uploaded.
    pub fn file(&self, format: Upload, bootable: &Bootable, manifest: &Manifest) -> Done<PathBuf> {
        let format = match format {
            Upload::Raw => return Ok(bootable.disk.clone()),
            Upload::Gce => Format::Gce,
            Upload::Vhd => Format::Vhd,
        };
        let job = Job {
            disk: &bootable.disk,
            manifest,
            uki: &bootable.uki,
            root: None,
            seed: None,
            formats: &BTreeSet::from([format]),
            sectors: Sectors::Small,
            into: self.scratch.path(),
            report: self.context.ui.as_ref(),
        };
        let other = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let pool = rayon::ThreadPoolBuilder::new().build().map_err(|error| other(error.into()))?;
        let made = pool.install(|| export::run(&job)).map_err(|error| other(error.into()))?;
        made.into_iter().next().map(|made| made.path).ok_or_else(|| other("nothing was exported".into()))
    }

    /// What goes with a machine, in files of its own.
    pub fn files(&self, declared: &Declared, ready: &Ready<'_>) -> Result<Vec<(Slot, PathBuf)>> {
        let path = self.scratch.path().join(format!("{}.user-data", ready.machine.name));
        disk::write(&path, &ready.user_data, 0o600)?;
        let public = self.context.project.join(format!("{}.pub", declared.ssh_key));
        Ok(vec![(Slot::UserData, path), (Slot::PublicKey, public)])
    }

    /// The host key of a machine, from its console, which the provider shows to nobody else.
    fn host_key(&self, instance: &answer::Instance) -> Done<Option<String>> {
        let (calls, most) = (self.declared.place.calls(), self.declared.boot);
        let mut waited = Duration::ZERO;
        loop {
            // The console of a machine that has just begun is not there yet.
            let shown = match Runner::new(calls.as_ref(), self).console(&instance.id) {
                Err(Error::Failed { .. }) if waited < most => Vec::new(),
                shown => shown?,
            };
            if let Some(key) = answer::host_key(&shown) {
                return Ok(Some(key));
            }
            if waited >= most {
                return Ok(None);
            }
            if self.pause(PAUSE) {
                return Err(Error::Interrupted);
            }
            waited += PAUSE;
        }
    }
}

impl Hands for Tools<'_> {
    fn call(&self, argv: &[String]) -> Done<Vec<u8>> {
        let (program, words) = argv.split_first().ok_or_else(|| Error::Missing(String::new()))?;
        let tool = Tool::of_user(program, &self.context.environment.identities.environment);
        let tool = ENVIRONMENT.into_iter().fold(tool, |tool, (name, value)| tool.env(name, value)).args(words);
        let ended = tool.bounded(CALL, answer::LONGEST + 1).map_err(|error| match error {
            tool::Error::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::Missing(program.clone())
            }
            error => Error::Other(error.into()),
        })?;
        let call = argv.iter().map(|word| tool::quote(word)).collect::<Vec<_>>().join(" ");
        let end = ended.stderr.get(ended.stderr.len().saturating_sub(SAID)..).unwrap_or_default();
        let said = String::from_utf8_lossy(end).trim().to_owned();
        match ended.status {
            Some(status) if status.success() => Ok(ended.stdout),
            _ if interrupt::heard() => Err(Error::Interrupted),
            None => Err(Error::Failed { call, said: "it did not come to an end".to_owned(), remedy: None }),
            Some(_) => Err(Error::Failed { call, said, remedy: None }),
        }
    }

    fn look(&self, machine: &Machine, instance: &answer::Instance) -> Done<Option<String>> {
        let trouble = self.found(machine, instance)?;
        let troubles = trouble.iter().flat_map(|trouble| trouble.lines()).map(str::to_owned).collect();
        looks::keep(self.context, &self.target.name, &machine.name, &instance.id, troubles);
        Ok(trouble)
    }

    fn pause(&self, time: Duration) -> bool {
        interrupt::pause(time)
    }

    fn say(&self, text: &str) {
        self.context.ui.say(text);
    }

    fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    fn notes(&self) -> &Path {
        &self.notes
    }
}

impl Tools<'_> {
    /// What a look at a machine finds.
    fn found(&self, machine: &Machine, instance: &answer::Instance) -> Done<Option<String>> {
        let address = if machine.is_public { &instance.public } else { &instance.private };
        let Some(address) = address else { return Ok(Some("the machine has no address".to_owned())) };
        let Some(manifest) = self.manifest else {
            return Err(Error::Other("there is nothing to hold it against".into()));
        };
        let Some(host_key) = self.host_key(instance)? else {
            return Ok(Some(format!(
                "its console has shown no host key within {} s: it did not come to the end of its start, or needs longer \
                 (`boot` in the target)",
                self.declared.boot.as_secs()
            )));
        };
        let key = Some(self.context.project.join(&self.declared.ssh_key));
        let way = cli::Elsewhere { ssh: None, manifest: None, https: None, host_key: Some(host_key), ssh_key: key };
        let place = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        let mut waited = Duration::ZERO;
        loop {
            let told = match check::over_ssh(self.context, manifest.clone(), &place, &way, &[]) {
                Ok(report) => return Ok(Some(check::troubles(&report).join("\n")).filter(|told| !told.is_empty())),
                Err(Failure::Interrupted) => return Err(Error::Interrupted),
                Err(Failure::Error { error, .. }) => failure::chain(error.as_ref()),
                Err(Failure::Request { message, .. }) => message,
                Err(other) => format!("{other:?}"),
            };
            if waited >= ANSWERS {
                return Ok(Some(told));
            }
            if self.pause(PAUSE) {
                return Err(Error::Interrupted);
            }
            waited += PAUSE;
        }
    }
}
