//! All machines of a user: one directory each, and what may be done with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk;
use crate::event::Report;
use crate::name::ImageName;
use crate::qemu::accel;
use crate::qemu::args::file;
use crate::qemu::engine::Engine;
use crate::qemu::error::{Error, Result};
use crate::qemu::launch;
use crate::qemu::machine::{Accelerator, Choice, Firmware, Machine};
use crate::qemu::program::QemuProgram;
use crate::qemu::qmp::Qmp;
use crate::qemu::state::{self, Base, Condition, State};
use crate::qemu::vm::{Owner, Vm};

/// How long a process may take to disappear once it was killed.
const KILLED: Duration = Duration::from_secs(30);

/// The directory that holds a directory for each machine, such as `$XDG_STATE_HOME/rave/vms`.
#[derive(Debug, Clone)]
pub struct Machines {
    root: PathBuf,
}

/// A machine and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What is written down about it.
    pub state: State,
    /// What it is doing.
    pub condition: Condition,
    /// Its private directory.
    pub directory: PathBuf,
}

impl Machines {
    /// Takes the directory of all machines; it is made when the first machine is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All machines, by name. A directory without a state, as an interrupted start leaves it, is none.
    pub fn list(&self) -> Result<Vec<Known>> {
        let paths = match disk::list(&self.root) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            paths => paths?,
        };
        let names = paths.iter().filter_map(|path| path.file_name()?.to_str()?.parse::<ImageName>().ok());
        names.filter_map(|name| self.look_up(&name).transpose()).collect()
    }

    /// The machine of this name.
    pub fn find(&self, name: &ImageName) -> Result<Known> {
        self.look_up(name)?.ok_or_else(|| Error::NoSuchMachine(name.clone()))
    }

    fn look_up(&self, name: &ImageName) -> Result<Option<Known>> {
        let directory = self.directory(name);
        let Some(state) = State::load(&directory)? else { return Ok(None) };
        Ok(Some(Known { condition: state.condition()?, state, directory }))
    }

    /// Starts a machine; returns once QEMU answers, while the guest boots. `notes` are kept with its state. Call
    /// it from the main thread: unless detached, the machine ends when the calling thread does.
    pub fn start(
        &self,
        mut machine: Machine,
        notes: BTreeMap<String, String>,
        program: QemuProgram,
        report: &dyn Report,
    ) -> Result<Vm> {
        machine.check()?;
        disk::create_private_dir(&self.root)?;
        let _lock = self.lock(&machine.name)?;
        let base = Base::of(&machine.disk)?;
        self.make_room(&machine, &base)?;
        let directory = self.directory(&machine.name);
        let engine = Engine::new()?;
        let firmware = &machine.firmware;
        let chosen = engine.run(accel::choose(machine.accelerator, &program, firmware, &self.root, report))?;
        let mut unfinished =
            Unfinished { directory: Some(directory.clone()), keep: State::load(&directory)?.is_some() };
        launch::furnish(&machine, &directory, &base)?;
        if let Firmware::Direct { kernel, initrd, .. } = &mut machine.firmware {
            // Where they come from may be gone by the time that the machine is started anew.
            for (path, name) in [(kernel, file::KERNEL), (initrd, file::INITRD)] {
                disk::copy(&*path, directory.join(name))?;
                *path = directory.join(name);
            }
        }
        let first = engine.run(launch::launch(&machine, &program, &directory, chosen, report));
        let mut launched = match first {
            Err(Error::Refused { log, .. }) if chosen == Accelerator::Kvm && machine.accelerator == Choice::Auto => {
                let reason = format!("QEMU ended at once: {}", log.lines().next_back().unwrap_or_default());
                accel::gave_up(&program, &self.root, &reason, report)?;
                launch::furnish(&machine, &directory, &base)?;
                engine.run(launch::launch(&machine, &program, &directory, Accelerator::Tcg, report))?
            }
            launched => launched?,
        };
        let state = State {
            name: machine.name.clone(),
            process: Some(launched.process.clone()),
            accelerator: launched.decided.accelerator,
            forwards: launched.decided.forwards.clone(),
            base,
            persist: machine.persist,
            detach: machine.detach,
            notes,
        };
        state.save(&directory)?;
        if machine.detach {
            launched.child.release();
        }
        unfinished.directory = None;
        let owner = Owner { machine, program, root: self.root.clone(), child: launched.child, wire: launched.wire };
        Vm::new(engine, directory, state, launched.qmp, Some(owner))
    }

    /// Takes hold of a machine that runs, whoever started it. Dropping the result changes nothing.
    pub fn attach(&self, name: &ImageName) -> Result<Vm> {
        self.attach_at(name, file::CONTROL)
    }

    /// The same to bring a fault about, beside others who have taken hold of it.
    pub fn attach_for_fault(&self, name: &ImageName) -> Result<Vm> {
        self.attach_at(name, file::FAULT)
    }

    /// The same to look at its health, beside others who have taken hold of it.
    pub fn attach_for_check(&self, name: &ImageName) -> Result<Vm> {
        self.attach_at(name, file::CHECK)
    }

    fn attach_at(&self, name: &ImageName, socket: &str) -> Result<Vm> {
        let known = self.find(name)?;
        if known.condition != Condition::Running {
            return Err(Error::NotRunning(name.clone()));
        }
        let engine = Engine::new()?;
        let qmp = engine.run(Qmp::connect(&known.directory, socket))?;
        Vm::new(engine, known.directory, known.state, qmp, None)
    }

    /// Removes a machine with its disk, logs and keys. One that runs is refused, or with `force` ended at once.
    pub fn remove(&self, name: &ImageName, force: bool) -> Result<()> {
        let _lock = self.lock(name)?;
        let known = self.find(name)?;
        if known.condition == Condition::Running {
            if !force {
                return Err(Error::Running(name.clone()));
            }
            if let Some(handle) = known.state.process.as_ref().map(|process| process.handle()).transpose()?.flatten() {
                handle.kill()?;
                if !Engine::new()?.run(handle.ended(KILLED))? {
                    return Err(Error::Running(name.clone()));
                }
            }
        }
        Ok(disk::remove_dir_all(known.directory)?)
    }

    /// Clears what an earlier machine of the same name left, unless it is to be kept.
    fn make_room(&self, machine: &Machine, base: &Base) -> Result<()> {
        let name = &machine.name;
        let Some(known) = self.look_up(name)? else {
            return Ok(disk::remove_dir_all(self.directory(name))?);
        };
        match known.condition {
            Condition::Running => Err(Error::Running(name.clone())),
            _ if !known.state.persist => Ok(disk::remove_dir_all(known.directory)?),
            _ if !machine.persist => Err(Error::Keeps(name.clone())),
            _ if known.state.base != *base => {
                Err(Error::OtherImage { name: name.clone(), base: known.state.base.path.clone() })
            }
            _ => Ok(()),
        }
    }

    fn directory(&self, name: &ImageName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn lock(&self, name: &ImageName) -> Result<disk::Lock> {
        if !disk::exists(&self.root) {
            return Err(Error::NoSuchMachine(name.clone()));
        }
        let lock = state::lock(&self.root, name)?;
        lock.ok_or_else(|| Error::Busy { name: name.clone(), what: "the directory" })
    }
}

/// Removes the directory of a start that fails, unless it holds something to keep.
struct Unfinished {
    directory: Option<PathBuf>,
    keep: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let remains: &Path = &directory.join(file::CREDENTIALS);
            // The error that ended the start is the one to tell.
            disk::remove_dir_all(if self.keep { remains } else { directory }).ok();
        }
    }
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
