//! Carries steps out: what is there is found and not done again, what cannot be done is undone, and what was begun goes on
//! with the next command. What acts is behind [`Hands`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::act::{Error, Hands, Result};
use super::answer::{self, Bad, Instance, Uploaded};
use super::blocks::{self, Block};
use super::plan::{Action, Outcome, own, plan};
use super::step::{Body, Call, Slot, Step, Values, Wait};
use super::{Calls, Registered, Release, Removal, Upload, Verb, Wanted, script, tag, upload};
use crate::disk::{self, Lock};
use crate::name::ImageName;

/// What a provider has made is seen by all its servers after a while.
const SEEN: (usize, Duration) = (15, Duration::from_secs(2));
/// What tools say of things that are there, or are not.
const TAKEN: [&str; 3] = ["already exists", "AlreadyExists", "Duplicate"];
const ABSENT: [&str; 6] = ["not found", "NotFound", "notFound", "does not exist", "NotExist", "matched no objects"];
/// What AWS says of a snapshot that an image is made of.
const USED: &str = "InUse";

/// Carries out.
pub struct Runner<'a> {
    calls: &'a dyn Calls,
    pub(super) hands: &'a dyn Hands,
    pub(super) values: Values,
    /// That somebody works on the upload.
    held: Option<Lock>,
}

impl<'a> Runner<'a> {
    /// Begins with nothing known.
    pub fn new(calls: &'a dyn Calls, hands: &'a dyn Hands) -> Self {
        Self { calls, hands, values: Values::new(), held: None }
    }

    pub(super) fn ask(&self, call: &Call, values: &Values) -> Result<Vec<u8>> {
        let known = |slot: Slot| Error::Other(format!("{}: nothing is known of {slot:?}", script::line(call)).into());
        if self.hands.pause(Duration::ZERO) {
            return Err(Error::Interrupted);
        }
        self.hands.call(&call.argv(values).map_err(known)?).map_err(|error| match error {
            Error::Failed { call, said, .. } => {
                let remedies = self.calls.remedies();
                let remedy = remedies.iter().find(|(sign, _)| said.contains(sign)).map(|(_, remedy)| *remedy);
                Error::Failed { call, said, remedy }
            }
            other => other,
        })
    }

    fn read<T>(&self, call: &Call, read: impl Fn(&[u8]) -> std::result::Result<T, Bad>) -> Result<T> {
        let answer = self.ask(call, &self.values)?;
        read(&answer).map_err(|source| Error::Answer { call: script::line(call), source })
    }

    fn run(&self, calls: &[Call]) -> Result<()> {
        calls.iter().try_for_each(|call| self.ask(call, &self.values).map(drop))
    }

    /// All instances that rave has made there.
    pub fn instances(&self) -> Result<Vec<Instance>> {
        self.read(&self.calls.instances(), |answer| self.calls.read_instances(answer))
    }

    /// Whether the image is there.
    pub fn has_image(&self, release: &Release) -> Result<bool> {
        let find = self.calls.image(release).pop().and_then(|step| step.find);
        Ok(find.map(|find| self.read(&find, answer::word)).transpose()?.flatten().is_some())
    }

    /// Has the image made, as far as it is not; `file` makes what is uploaded.
    pub fn image(&mut self, release: &Release, file: &dyn Fn() -> Result<PathBuf>) -> Result<()> {
        let made = self.make(release, file);
        if let Some(held) = self.held.take() {
            held.remove()?;
        }
        made
    }

    fn make(&mut self, release: &Release, file: &dyn Fn() -> Result<PathBuf>) -> Result<()> {
        let steps = self.calls.image(release);
        let mut left = steps.as_slice();
        for (at, step) in steps.iter().enumerate().rev() {
            let Some(find) = &step.find else { continue };
            if let Some(found) = self.read(find, answer::word)? {
                self.values.extend(step.gives.map(|slot| (slot, found)));
                self.hands.say(&format!("done already: {}", step.title));
                self.finish(step)?;
                left = steps.get(at + 1..).unwrap_or_default();
                break;
            }
        }
        let uploads = left.iter().any(|step| self.needs_file(step));
        let mut all = Vec::new();
        if uploads {
            let path = file()?;
            if self.calls.format() == Upload::Raw {
                all = blocks::of(&path)?;
                self.values.extend(blocks::totals(&all));
            }
            self.values.insert(Slot::File, path.display().to_string());
        }
        left.iter().try_for_each(|step| self.step(step, &all))?;
        if let Some(note) = self.note().filter(|note| disk::exists(note)) {
            disk::remove_file(note)?;
        }
        self.calls.leftovers(release).iter().try_for_each(|removal| self.clear(removal))
    }

    /// Whether a step has to do with what is in the file.
    fn needs_file(&self, step: &Step) -> bool {
        match &step.body {
            Body::Blocks(_) => true,
            Body::Once(call) => {
                let of_file = [Slot::File, Slot::Count, Slot::Total];
                call.0
                    .iter()
                    .flat_map(|word| &word.0)
                    .any(|part| matches!(part, super::step::Part::Slot(slot) if of_file.contains(slot)))
            }
        }
    }

    fn step(&mut self, step: &Step, all: &[Block]) -> Result<()> {
        self.hands.say(&step.title);
        let done = match &step.body {
            Body::Once(call) => self.ask(call, &self.values).and_then(|answer| {
                let Some(slot) = step.told() else { return Ok(()) };
                let bad = |source| Error::Answer { call: script::line(call), source };
                let told = answer::word(&answer).map_err(bad)?;
                self.values.insert(slot, told.ok_or_else(|| bad(Bad("nothing".to_owned())))?);
                Ok(())
            }),
            Body::Blocks(call) => self.hold().and_then(|()| self.blocks(call, all)),
        };
        match done {
            Err(Error::Failed { said, call, remedy }) => {
                if !TAKEN.iter().any(|sign| said.contains(sign)) {
                    self.undo(step);
                }
                Err(Error::Failed { said, call, remedy })
            }
            Err(error) => Err(error),
            Ok(()) => self.finish(step),
        }
    }

    /// Has others of this host know that this upload is no abandoned one, until it has become an image.
    fn hold(&mut self) -> Result<()> {
        if let Some(note) = self.note() {
            disk::create_dir_all(self.hands.notes())?;
            self.held = Some(Lock::exclusive(upload::lock(&note))?);
        }
        Ok(())
    }

    /// Waits until the provider has come to an end with a step; undoes it if that is a bad one.
    fn finish(&self, step: &Step) -> Result<()> {
        let waited = self.wait(step);
        if let Err(Error::State { .. }) = &waited {
            self.undo(step);
        }
        waited
    }

    /// Waits until the provider has come to an end with a step.
    fn wait(&self, step: &Step) -> Result<()> {
        let Some(Wait { call, good, bad, every, most }) = &step.wait else { return Ok(()) };
        let (mut waited, title) = (Duration::ZERO, step.title.clone());
        loop {
            let state = self.read(call, answer::word)?.unwrap_or_else(|| "nothing".to_owned());
            if good.contains(&state.as_str()) {
                return Ok(());
            }
            if bad.contains(&state.as_str()) {
                return Err(Error::State { title, state });
            }
            if waited >= *most {
                return Err(Error::Slow { title, state, time: *most });
            }
            if self.hands.pause(*every) {
                return Err(Error::Interrupted);
            }
            waited += *every;
        }
    }

    /// Undoes what may be there of a step. What the provider does not let go is told.
    fn undo(&self, step: &Step) {
        if step.gives == Some(Slot::Snapshot)
            && let Some(note) = self.note().filter(|note| disk::exists(note))
            && let Err(error) = disk::remove_file(note)
        {
            self.hands.say(&error.to_string());
        }
        for call in &step.undo {
            let Ok(argv) = call.argv(&self.values) else { continue };
            match self.hands.call(&argv) {
                Err(Error::Failed { said, .. }) if ABSENT.iter().any(|sign| said.contains(sign)) => {}
                Err(error) => self.hands.say(&format!("left behind, remove it by `{}`: {error}", script::line(call))),
                Ok(_) => {}
            }
        }
    }

    /// Removes what is left.
    fn clear(&self, removal: &Removal) -> Result<()> {
        self.read(&removal.find, answer::words)?.into_iter().try_for_each(|found| self.clear_found(removal, found))
    }

    fn clear_found(&self, removal: &Removal, found: String) -> Result<()> {
        let mut values = self.values.clone();
        values.insert(Slot::Found, found);
        self.ask(&removal.call, &values).map(drop)
    }

    /// Removes what was uploaded of an image in other versions and never became one, with the notes on it. Where others may
    /// upload as well, what this host has begun.
    fn clear_uploads(&self, release: &Release) -> Result<()> {
        let (image, own) = (&release.image, release.name());
        let removal = self.calls.uploads(image);
        let uploads = self.read(&removal.find, |answer| self.calls.read_uploads(answer, image))?;
        for Uploaded { found, is_anybodys, .. } in uploads.into_iter().filter(|upload| upload.name != own) {
            let note = self.hands.notes().join(&found);
            let is_noted = disk::exists(&note);
            // Another deployment from here may be at it.
            let held = if is_noted { Lock::try_exclusive(upload::lock(&note))? } else { None };
            if is_noted && held.is_none() || is_anybodys && !is_noted {
                continue;
            }
            match self.clear_found(&removal, found.clone()) {
                // It did become one, and only its note was left; or it went with its image.
                Err(Error::Failed { said, .. }) if is_over(&said) => {}
                cleared => {
                    cleared?;
                    self.hands.say(&format!("{found} is gone: it never became an image"));
                }
            }
            if let Some(held) = held {
                disk::remove_file(note)?;
                held.remove()?;
            }
        }
        Ok(())
    }

    /// Brings a machine to what is wanted, as [`plan`] says of all instances. The image has to be there for what is launched.
    pub fn machine(&mut self, wanted: &Wanted<'_>, all: &[Instance], files: &[(Slot, PathBuf)]) -> Result<Outcome> {
        let Some(action) = plan(wanted, all) else { return Ok(Outcome::Well(BTreeSet::new())) };
        let title = wanted.machine.name.to_string();
        match action {
            Action::Launch { .. } => {
                self.values.extend(files.iter().map(|(slot, path)| (*slot, path.display().to_string())));
                let steps = self.calls.launch(wanted);
                steps.iter().try_for_each(|step| self.step(step, &[]))?;
            }
            Action::Start | Action::Check => {
                if let (Some(current), _) = own(wanted, all) {
                    if action == Action::Start {
                        self.verb(Verb::Start, &current.id)?;
                    }
                    self.resume(wanted, &current.id)?;
                }
            }
            Action::Retire => {}
        }
        let (instance, others) = self.seen(wanted)?;
        if action != Action::Retire {
            self.hands.say(&format!("{title}: {} runs; checking it", instance.id));
            if let Some(reason) = self.hands.look(wanted.machine, &instance)? {
                let stays = instance.is_well();
                if !stays {
                    self.remove(&instance.id)?;
                }
                let other = others.iter().find(|other| other.runs).or(others.first());
                let instead = other.map(|other| match other.runs {
                    true => other.title(),
                    false => format!("{} ({})", other.title(), other.state),
                });
                return Ok(Outcome::Unwell { reason, stays, instead });
            }
            self.verb(Verb::Mark, &instance.id)?;
        }
        for other in &others {
            self.hands.say(&format!("{title}: {} goes ({})", other.id, other.title()));
            self.remove(&other.id)?;
        }
        Ok(Outcome::Well(others.iter().map(|other| other.tag(tag::DISK).to_owned()).collect()))
    }

    /// Goes on with a launch that was cut short: the instance is there, and maybe no more than that.
    fn resume(&mut self, wanted: &Wanted<'_>, id: &str) -> Result<()> {
        self.values.insert(Slot::Instance, id.to_owned());
        let steps = self.calls.launch(wanted);
        let Some((launch, rest)) = steps.split_first() else { return Ok(()) };
        self.wait(launch)?;
        rest.iter().try_for_each(|step| self.step(step, &[]))
    }

    /// The instance of a machine that should be there, and others of it.
    fn seen(&self, wanted: &Wanted<'_>) -> Result<(Instance, Vec<Instance>)> {
        for _ in 0..SEEN.0 {
            let all = self.instances()?;
            let (current, others) = own(wanted, &all);
            if let Some(current) = current {
                return Ok((current.clone(), others.into_iter().cloned().collect()));
            }
            if self.hands.pause(SEEN.1) {
                return Err(Error::Interrupted);
            }
        }
        Err(Error::State { title: format!("launch {}", wanted.machine.name), state: "nothing".to_owned() })
    }

    /// After a roll-out: of the images in other versions those go that no instance runs and that did not run before, on
    /// `before`, and what never became an image. After one that failed, the image that nothing runs goes.
    pub fn tidy(&self, release: &Release, before: &BTreeSet<String>, failed: bool) -> Result<()> {
        let (is_new, own) = (before.iter().any(|disk| *disk != release.tag()), release.name());
        if failed {
            return self.clear_images(&release.image, before, &|name| name == own);
        }
        if is_new {
            self.clear_images(&release.image, before, &|name| name != own)?;
        }
        self.clear_uploads(release)
    }

    /// Removes images of `image` that `goes` says, but for those of disks that instances run or that are in `keep`.
    pub fn clear_images(&self, image: &ImageName, keep: &BTreeSet<String>, goes: &dyn Fn(&str) -> bool) -> Result<()> {
        let instances = self.instances()?;
        let is_run = |image: &Registered, instance: &Instance| {
            let is_as_large = image.gib.as_deref().is_none_or(|gib| instance.tag(tag::SIZE) == gib);
            instance.tag(tag::DISK).starts_with(&image.disk) && is_as_large
        };
        let is_used = |image: &Registered| {
            keep.iter().any(|disk| disk.starts_with(&image.disk))
                || instances.iter().any(|instance| is_run(image, instance))
        };
        let images = self.read(&self.calls.images(image), |answer| answer::images(answer, image.as_str()))?;
        for image in images.iter().filter(|image| !is_used(image) && goes(&image.name)) {
            self.hands.say(&format!("image {} goes: nothing runs it", image.name));
            let (calls, removals) = self.calls.remove_image(image);
            self.run(&calls)?;
            removals.iter().try_for_each(|removal| self.clear(removal))?;
        }
        Ok(())
    }

    /// Does something to an instance.
    pub fn verb(&self, verb: Verb, id: &str) -> Result<()> {
        self.run(&self.calls.instance(verb, id))
    }

    /// Removes an instance.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.run(&self.calls.remove(id))
    }

    /// What the console of an instance has shown.
    pub fn console(&self, id: &str) -> Result<Vec<u8>> {
        self.ask(&self.calls.console(id), &self.values)
    }
}

/// Whether a provider keeps what was uploaded because an image is made of it, or has it no more.
fn is_over(said: &str) -> bool {
    said.contains(USED) || ABSENT.iter().any(|sign| said.contains(sign))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
