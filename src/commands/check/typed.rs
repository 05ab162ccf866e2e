//! The command itself: what a user wants checked, and where.

use std::time::Duration;

use crate::check::{Stage, Wanted};
use crate::cli;
use crate::evidence::SigningKey;
use crate::images::Manifest;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu::state::Condition;

use super::super::building::Manner;
use super::super::running::{self, Wish, machines};
use super::super::secrets::signing;
use super::super::{Context, Failure, Result, Status, build, locking, run as run_command, store};
use super::asking::{Inside, Subject};
use super::remote::{self, Remote};
use super::suites::Programs;
use super::watch::{self, Round};
use super::{await_start, files, subject, target};

/// Checks a machine that runs, or boots an image for it.
pub fn run(arguments: &cli::Check, context: &Context) -> Result<Status> {
    let wanted = wanted(arguments)?;
    files::expect(&arguments.reports, &wanted)?;
    let suites = Programs::parse(&arguments.suite, &wanted)?;
    let round = Round { context, arguments, wanted, suites };
    let _left = interrupt::leave_to_machine();
    if let Some(place) = &arguments.elsewhere.ssh {
        return round.elsewhere(place);
    }
    let name = arguments.target.as_deref().unwrap_or_default();
    let running = name.parse::<ImageName>().ok().and_then(|name| machines(context).find(&name).ok());
    match running {
        Some(known) if known.condition == Condition::Running => {
            let vm = machines(context).attach_for_check(&known.state.name)?;
            let subject = subject(&vm)?;
            round.expect(&subject.manifest)?;
            let key = round.key()?;
            await_start(context, &subject, round.wait());
            watch::rounds(&round, &subject, key.as_ref())
        }
        _ => round.booted(name),
    }
}

impl Round<'_> {
    /// What signs the evidence, if some is wanted: made before the machine is asked, so that no work is lost.
    fn key(&self) -> Result<Option<SigningKey>> {
        self.arguments.reports.bundle.as_ref().map(|_| signing::key(self.context)).transpose()
    }

    /// Refuses what names no check of an image.
    fn expect(&self, manifest: &Manifest) -> Result<()> {
        match self.wanted.unknown(&target(manifest, self.suites.suites())).first() {
            Some(unknown) => Err(Failure::request(format!("there is no check `{unknown}`"))),
            None => Ok(()),
        }
    }

    /// Checks a machine that rave does not run.
    fn elsewhere(&self, place: &str) -> Result<Status> {
        let manifest = remote::manifest(self.arguments, self.context)?;
        self.expect(&manifest)?;
        let remote = Remote::new(place, &manifest, &self.arguments.elsewhere, self.context)?.scanned(&manifest);
        remote.greet()?;
        let key = self.key()?;
        let subject = Subject { name: remote.name(), inside: Inside::Ssh(&remote), manifest };
        await_start(self.context, &subject, self.wait());
        watch::rounds(self, &subject, key.as_ref())
    }

    /// Boots an image for the check.
    fn booted(&self, image: &str) -> Result<Status> {
        let (context, host) = (self.context, &self.arguments.host);
        running::expect(host)?;
        let asked = locking::evaluate(context, image, &[], None)?;
        let prepared = build::prepare(context, asked, Manner::default())?;
        let (store, key) = (store::open(context)?, self.key()?);
        let bootable = run_command::of_image(context, &store, &prepared)?;
        self.expect(&build::read_manifest(&bootable.manifest)?)?;
        let wish =
            Wish { name: None, host, direct: false, persist: false, detach: false, debug: None, rtc: None, play: None };
        let mut vm = running::start(context, &bootable, &wish)?;
        running::wait(context, &mut vm, host)?;
        let result = subject(&vm).and_then(|subject| watch::rounds(self, &subject, key.as_ref()));
        running::stop(context, &mut vm)?;
        result
    }

    /// How long a machine may take to come to the end of its start.
    fn wait(&self) -> Duration {
        Duration::from_secs(self.arguments.times.wait)
    }
}

fn wanted(arguments: &cli::Check) -> Result<Wanted> {
    let parse = |text: &String| text.parse::<Stage>().map_err(|e| Failure::request(e.to_string()));
    let stages = arguments.stage.iter().map(parse).collect::<Result<_>>()?;
    Ok(Wanted { stages, only: arguments.only.clone(), skip: arguments.skip.clone(), ..Wanted::default() })
}
