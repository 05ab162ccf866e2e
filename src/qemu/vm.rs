//! A machine that runs: waited for, asked, stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk;
use crate::event::{Event, Report, Work};
use crate::qemu::accel;
use crate::qemu::agent::{Agent, Output};
use crate::qemu::args::file;
use crate::qemu::console;
use crate::qemu::engine::Engine;
use crate::qemu::error::{Error, Result};
use crate::qemu::launch;
use crate::qemu::machine::{Accelerator, Choice, Machine};
use crate::qemu::process::{Guarded, Handle};
use crate::qemu::program::QemuProgram;
use crate::qemu::qmp::Qmp;
use crate::qemu::ready::Waiting;
use crate::qemu::ssh;
use crate::qemu::state::State;
use crate::qemu::wire::Wire;
use crate::tool::Tool;

pub use crate::qemu::ready::Ready;

/// A KVM that shows nothing on the console for this long has stalled; a sound one takes a second or two.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the agent may take to come into step, once the machine is ready.
const STEP: Duration = Duration::from_secs(20);
/// How long a process may take to disappear once it was killed.
const KILLED: Duration = Duration::from_secs(30);

/// A machine that runs. One that this rave started without `detach` is ended, and its files are removed, when
/// this is dropped.
#[derive(Debug)]
pub struct Vm {
    engine: Engine,
    directory: PathBuf,
    state: State,
    qmp: Qmp,
    owner: Option<Owner>,
    /// How much of the console log is history: a panic in there was survived.
    history: u64,
}

/// What only the rave has that started a machine.
#[derive(Debug)]
pub(super) struct Owner {
    /// What was asked for, to start it again.
    pub machine: Machine,
    /// How QEMU is run.
    pub program: QemuProgram,
    /// The directory of all machines.
    pub root: PathBuf,
    /// The process.
    pub child: Guarded,
    /// Who answers in its network, if that is rave.
    pub wire: Option<Wire>,
}

/// How long each way of stopping a machine may take before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After the agent was asked to power off; zero: it is not asked.
    pub agent: Duration,
    /// After the power button was pressed; zero: it is not.
    pub button: Duration,
    /// After QEMU was told to quit.
    pub quit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let each = Duration::from_secs(30);
        Self { agent: each, button: each, quit: each }
    }
}

impl Patience {
    /// For a machine that is not up, so that nothing in it would obey, and that leaves nothing to lose.
    pub fn none() -> Self {
        Self { agent: Duration::ZERO, button: Duration::ZERO, ..Self::default() }
    }
}

/// What made a machine stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopped {
    /// It had ended already.
    Already,
    /// The guest powered off when its agent was asked.
    Agent,
    /// The guest powered off at the power button.
    Button,
    /// QEMU ended when told; the guest had no say, as in a power cut.
    Quit,
    /// The process was killed.
    Killed,
}

impl Vm {
    pub(super) fn new(
        engine: Engine,
        directory: PathBuf,
        state: State,
        qmp: Qmp,
        owner: Option<Owner>,
    ) -> Result<Self> {
        let history = if owner.is_some() { 0 } else { console::length(&directory)? };
        Ok(Self { engine, directory, state, qmp, owner, history })
    }

    /// What is written down about it: name, accelerator, ports, notes.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its private directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What its QEMU is told something by.
    pub(super) fn line(&self) -> (&Engine, &Qmp) {
        (&self.engine, &self.qmp)
    }

    /// The private key that its user's authorized key belongs to, in OpenSSH's format.
    pub fn private_key(&self) -> PathBuf {
        ssh::private_key(&self.directory)
    }

    /// The last lines of its serial console, cleaned of escape sequences.
    pub fn console_tail(&self) -> Result<String> {
        console::tail(&console::log(&self.directory))
    }

    /// Waits until the guest is ready, at most for `limit`. Fails early, with the end of the console, if the
    /// guest panics, reboots in a loop or ends. A machine whose accelerator was left to rave and that KVM
    /// fails is started once more under software emulation; the limit then begins anew.
    pub fn wait_ready(&mut self, until: Ready, limit: Duration, report: &dyn Report) -> Result<()> {
        match self.wait_once(until, limit, report) {
            Err(Error::Stopped { status, console, .. }) if self.may_fall_back(&status) => {
                let end = console.lines().next_back().unwrap_or("no output");
                report.event(Event::Note(format!("the machine stopped under KVM with {status} ({end})")));
                self.fall_back(&status, report)?;
                self.wait_once(until, limit, report)
            }
            result => result,
        }
    }

    fn wait_once(&mut self, until: Ready, limit: Duration, report: &dyn Report) -> Result<()> {
        let silence = self.may_fall_back("internal-error").then_some(SILENCE);
        let waiting = Waiting { name: &self.state.name, directory: &self.directory, silence, skip: self.history };
        self.engine.run(waiting.wait(&mut self.qmp, until, limit, report))?;
        self.history = console::length(&self.directory)?;
        Ok(())
    }

    fn may_fall_back(&self, status: &str) -> bool {
        let chosen_by_rave = self.owner.as_ref().is_some_and(|owner| owner.machine.accelerator == Choice::Auto);
        let accelerator_failed = accel::is_failure(status) || status == crate::qemu::ready::SILENT;
        chosen_by_rave && accelerator_failed && self.state.accelerator == Accelerator::Kvm
    }

    fn fall_back(&mut self, reason: &str, report: &dyn Report) -> Result<()> {
        let Some(owner) = &mut self.owner else { return Ok(()) };
        accel::gave_up(&owner.program, &owner.root, reason, report)?;
        let process = self.state.process.as_ref();
        if let Some(handle) = process.map(|process| process.handle()).transpose()?.flatten() {
            self.engine.finish(end(&handle))?;
        }
        owner.child.exited()?;
        if !owner.machine.persist {
            disk::remove_file(self.directory.join(file::OVERLAY))?;
        }
        launch::furnish(&owner.machine, &self.directory, &self.state.base)?;
        let launch = launch::launch(&owner.machine, &owner.program, &self.directory, Accelerator::Tcg, report);
        let mut launched = self.engine.run(launch)?;
        if owner.machine.detach {
            launched.child.release();
        }
        (owner.child, owner.wire, self.qmp) = (launched.child, launched.wire, launched.qmp);
        self.state.process = Some(launched.process);
        self.state.accelerator = Accelerator::Tcg;
        self.state.forwards = launched.decided.forwards;
        self.state.save(&self.directory)
    }

    /// Runs a program in the guest by absolute path, as root, through the agent.
    pub fn exec(&self, path: &str, arguments: &[&str], input: &[u8], limit: Duration) -> Result<Output> {
        self.engine.run(async { self.agent().await?.exec(path, arguments, input, limit).await })
    }

    /// Reads a file of the guest, of at most `limit` bytes, through the agent.
    pub fn read_file(&self, path: &str, limit: usize, time: Duration) -> Result<Vec<u8>> {
        self.engine.run(async { self.agent().await?.read_file(path, limit, time).await })
    }

    pub(super) async fn agent(&self) -> Result<Agent> {
        let busy = || Error::Busy { name: self.state.name.clone(), what: "the agent" };
        let agent = Agent::connect(&self.directory).await?.ok_or_else(busy)?;
        agent.ping(STEP).await?;
        Ok(agent)
    }

    /// Reads the guest's public host key through the agent and makes it the one that [`Vm::ssh`] accepts. Returns
    /// it on one line: algorithm and key.
    pub fn trust_host_key(&self, path: &str) -> Result<String> {
        let reported = self.read_file(path, 16 * 1024, STEP)?;
        ssh::trust(&self.directory, self.state.name.as_str(), &reported)
    }

    /// `ssh`, the program without arguments, made to log in as `user`; none if no host port leads to the guest's port 22. The remote command,
    /// if any, is added as arguments. Call [`Vm::trust_host_key`] once before.
    pub fn ssh(&self, ssh: Tool, user: &str) -> Option<Tool> {
        let port = self.state.host_port(22)?;
        Some(ssh::client(ssh, &self.directory, self.state.name.as_str(), port, user))
    }

    /// Ends the network of our own that a machine has. It goes on in one that leads nowhere, but forwarded ports lead
    /// into it.
    pub fn end_rehearsal(&mut self) -> Result<()> {
        let Some(wire) = self.owner.as_mut().and_then(|owner| owner.wire.take()) else { return Ok(()) };
        self.engine.finish(wire.take_away(&self.qmp))
    }

    /// Waits until the machine ends by itself; returns QEMU's reason, such as `guest-shutdown`, if it is known.
    pub fn wait_end(&mut self) -> Result<Option<String>> {
        if let Some(handle) = self.handle()? {
            self.engine.run(async {
                while !handle.ended(Duration::from_secs(3600)).await? {}
                Ok(())
            })?;
        }
        self.tidy()?;
        Ok(self.qmp.seen().shutdown)
    }

    /// Stops the machine: by the agent, the power button, QEMU, and at last by force.
    pub fn stop(&mut self, patience: Patience, report: &dyn Report) -> Result<Stopped> {
        let work = Work::start(report, "stop", self.state.name.as_str(), None);
        let how = match self.handle()? {
            Some(handle) => self.engine.run(self.end_by(&handle, patience, &work))?,
            None => Stopped::Already,
        };
        self.tidy()?;
        work.finish(match how {
            Stopped::Already => "had ended already",
            Stopped::Agent | Stopped::Button => "shut down",
            Stopped::Quit => "QEMU quit without the guest's consent",
            Stopped::Killed => "killed",
        });
        Ok(how)
    }

    /// Ends the machine as a power cut does: what the guest has not flushed is lost.
    pub fn cut(&mut self) -> Result<()> {
        if let Some(handle) = self.handle()? {
            self.engine.run(end(&handle))?;
        }
        self.tidy()
    }

    async fn end_by(&self, handle: &Handle, patience: Patience, work: &Work<'_>) -> Result<Stopped> {
        // A way that fails is followed by the next, more forceful one: its error decides nothing.
        let can_act = self.qmp.status().await.is_ok_and(|status| status == "running");
        if can_act
            && !patience.agent.is_zero()
            && let Ok(agent) = self.agent().await
        {
            let part = work.part("await", "power-off by the agent", None);
            let asked = agent.shutdown().await.is_ok();
            if asked && handle.ended(patience.agent).await? {
                part.finish("obeyed");
                return Ok(Stopped::Agent);
            }
        }
        if can_act && !patience.button.is_zero() && self.qmp.power_button().await.is_ok() {
            let part = work.part("await", "power-off by the power button", None);
            if handle.ended(patience.button).await? {
                part.finish("obeyed");
                return Ok(Stopped::Button);
            }
        }
        // QEMU may be gone before it answers.
        self.qmp.quit().await.ok();
        if handle.ended(patience.quit).await? {
            return Ok(Stopped::Quit);
        }
        end(handle).await?;
        Ok(Stopped::Killed)
    }

    fn handle(&self) -> Result<Option<Handle>> {
        match &self.state.process {
            Some(process) => process.handle(),
            None => Ok(None),
        }
    }

    /// Once the process has ended: reaps it and takes away what is no longer needed.
    fn tidy(&mut self) -> Result<()> {
        if let Some(owner) = &mut self.owner {
            owner.child.exited()?;
        }
        // Files of somebody else's machine that leaves nothing are for its owner, who is about to remove them.
        if self.owner.is_some() || self.state.detach || self.state.persist {
            self.state.tidy_if_current(&self.directory)?;
        }
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take()
            && !self.state.detach
        {
            drop(owner);
            // There is nobody to tell; what is left is found and cleared by the next start.
            self.state.tidy_if_current(&self.directory).ok();
        }
    }
}

/// Kills a process and waits until it is gone.
async fn end(handle: &Handle) -> Result<()> {
    handle.kill()?;
    match handle.ended(KILLED).await? {
        true => Ok(()),
        false => Err(Error::Process { verb: "end", source: std::io::ErrorKind::TimedOut.into() }),
    }
}
