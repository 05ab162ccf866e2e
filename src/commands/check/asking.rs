//! Puts probes to a machine: what is asked inside goes there in one go, and what a user sees is tried meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::check::Stage;
use crate::images::Manifest;
use crate::interrupt;
use crate::probe::{Answered, Probe, Side};
use crate::qemu::agent::Exit;
use crate::qemu::outside::{Outside, Patience, brute};
use crate::qemu::peer::{Peer, Plug};
use crate::qemu::vm::Vm;

use super::super::failure::chain;
use super::super::{Failure, Result, running};
use super::limits::Limits;
use super::remote::Remote;

/// A machine, and what it is held against.
pub struct Subject<'a> {
    /// Its name for people.
    pub name: String,
    /// The way in.
    pub inside: Inside<'a>,
    /// Its image.
    pub manifest: Manifest,
}

/// Who scans a machine, or why nobody can.
pub type Peered = std::result::Result<Peer, String>;

/// The way by which programs are run in a machine as root.
pub enum Inside<'a> {
    /// The guest agent of a machine that rave runs.
    Agent(&'a Vm),
    /// SSH, into a machine that it does not run.
    Ssh(&'a Remote),
}

impl Subject<'_> {
    /// Who logs in, if somebody was named: whom the machine must let in.
    pub fn user(&self) -> Option<&str> {
        match &self.inside {
            Inside::Agent(_) => None,
            Inside::Ssh(remote) => Some(remote.user()),
        }
    }

    /// Host and port of its SSH server.
    pub fn ssh(&self) -> Option<(String, u16)> {
        match &self.inside {
            Inside::Agent(vm) => Some(("127.0.0.1".to_owned(), vm.state().host_port(22)?)),
            Inside::Ssh(remote) => Some(remote.ssh()),
        }
    }

    /// Host and port at which a port of the machine that serves HTTPS is reached.
    pub fn site(&self, port: u16) -> Option<(String, u16)> {
        match &self.inside {
            Inside::Agent(vm) => Some(("127.0.0.1".to_owned(), vm.state().host_port(port)?)),
            Inside::Ssh(remote) => Some(remote.site(port)),
        }
    }

    /// The host at which all of its ports are reached, if there is one.
    pub fn direct(&self) -> Option<String> {
        match &self.inside {
            Inside::Agent(_) => None,
            Inside::Ssh(remote) => Some(remote.ssh().0),
        }
    }

    /// Takes a place beside the machine in its network, if a probe needs one and rave runs the machine. The place is given
    /// up when the first value is dropped.
    pub fn beside(&self, probes: &[Vec<Probe>]) -> (Option<Plug<'_>>, Option<Peered>) {
        let Inside::Agent(vm) = &self.inside else { return (None, None) };
        if !probes.iter().flatten().any(is_scan) {
            return (None, None);
        }
        match vm.plug() {
            Ok((plug, peer)) => (Some(plug), Some(Ok(peer))),
            Err(error) => (None, Some(Err(chain(&error)))),
        }
    }

    /// The machine as its users see it, until the deadline.
    ///
    /// `peer` is who scans it.
    pub fn outside(&self, limits: Limits, until: Instant, peer: Option<Peered>) -> Result<Outside> {
        let patience = Patience { whole: limits.each, ..Patience::default() };
        let sites = self.manifest.expect.https.values().map(|site| site.port);
        let outside = match &self.inside {
            Inside::Ssh(remote) => remote.outside(patience, sites.collect())?,
            Inside::Agent(vm) => {
                let (host, port) = self.ssh().ok_or_else(|| Failure::error("the machine has no SSH port"))?;
                let ssh = running::ssh(&running::tools_of(vm)?, vm.directory(), false);
                let ports = sites.filter_map(|port| Some((port, vm.state().host_port(port)?))).collect();
                let outside = Outside::new(&host, port, &vm.private_key(), ssh, patience)?.reached(ports, None);
                outside.strange(brute::address())
            }
        };
        let outside = if let Some(peer) = peer { outside.beside(peer) } else { outside };
        Ok(outside.until(until))
    }
}

impl Inside<'_> {
    /// Runs a program by absolute path; returns its standard output, or why there is none.
    pub fn run(&self, command: &[&str], input: &[u8], limit: Duration) -> std::result::Result<Vec<u8>, String> {
        let Some((program, arguments)) = command.split_first() else { return Err("there is no command".to_owned()) };
        let vm = match self {
            Self::Agent(vm) => vm,
            Self::Ssh(remote) => return remote.run(command, input, limit),
        };
        let output = vm.exec(program, arguments, input, limit).map_err(|error| chain(&error))?;
        if output.exit == Exit::Code(0) {
            return Ok(output.stdout);
        }
        Err(format!("{program} failed in the machine: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Who is told of answers whenever there are more.
pub type Told<'a> = dyn Fn(&BTreeMap<Probe, Answered>) + 'a;

/// The answers to all probes of a check, as they come.
pub struct Asking<'a> {
    inside: &'a Inside<'a>,
    outside: &'a Outside,
    until: Instant,
    each: Option<Duration>,
    /// What is to be asked inside and was not yet.
    questions: Vec<Probe>,
    seen: Receiver<Vec<(Probe, Answered)>>,
    known: BTreeMap<Probe, Answered>,
    answered: BTreeSet<Stage>,
    told: &'a Told<'a>,
}

impl<'a> Asking<'a> {
    /// Begins to ask outside, stage by stage. Equal probes of different stages are asked once. All ends at `until`, and
    /// each answer inside takes `each` at most. `told` sees the answers so far.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        inside: &'a Inside<'a>,
        outside: &'a Outside,
        lots: [Vec<Probe>; 6],
        until: Instant,
        each: Option<Duration>,
        told: &'a Told<'a>,
    ) -> Self
    where
        'a: 'scope,
    {
        let (tell, seen) = mpsc::channel();
        let questions = lots.iter().flatten().filter(|probe| !is_tried(probe)).cloned().collect::<BTreeSet<_>>();
        let mut tried = BTreeSet::new();
        scope.spawn(move || {
            for lot in lots {
                let new = |probe: &Probe| is_tried(probe) && tried.insert(probe.clone());
                let probes: Vec<Probe> = lot.into_iter().filter(new).collect();
                if probes.is_empty() {
                    continue;
                }
                let answers = outside.answer(&probes);
                // Nobody listens any more if the check was ended.
                if interrupt::heard() || tell.send(probes.into_iter().zip(answers).collect()).is_err() {
                    return;
                }
            }
        });
        let questions = questions.into_iter().collect();
        Self { inside, outside, until, each, questions, seen, known: BTreeMap::new(), answered: BTreeSet::new(), told }
    }

    /// The answers to a stage's probes, in order. A stage that has had its answers is asked anew.
    pub fn answer(&mut self, stage: Stage, probes: &[Probe]) -> Vec<Answered> {
        if !self.answered.insert(stage) {
            self.afresh(probes);
        }
        let questions = std::mem::take(&mut self.questions);
        self.ask(questions);
        while probes.iter().any(|probe| is_tried(probe) && !self.known.contains_key(probe)) {
            match self.seen.recv() {
                Ok(answers) => self.learn(answers),
                Err(_) => break,
            }
        }
        let silence = || Answered::unavailable("no answer");
        probes.iter().map(|probe| self.known.get(probe).cloned().unwrap_or_else(silence)).collect()
    }

    fn learn(&mut self, answers: impl IntoIterator<Item = (Probe, Answered)>) {
        self.known.extend(answers);
        (self.told)(&self.known);
    }

    fn afresh(&mut self, probes: &[Probe]) {
        let (tried, questions): (Vec<Probe>, Vec<Probe>) = probes.iter().cloned().partition(is_tried);
        if !tried.is_empty() {
            let answers = self.outside.answer(&tried);
            self.learn(tried.into_iter().zip(answers));
        }
        self.questions = questions;
    }

    /// Asks inside; what only this host knows of the same moment is answered with it.
    fn ask(&mut self, questions: Vec<Probe>) {
        let (here, mut there): (Vec<Probe>, Vec<Probe>) =
            questions.into_iter().partition(|probe| probe.side() == Side::Outside);
        // The two clocks are compared, so they are read as close to each other as can be; and how busy the machine is is
        // read before the other questions make it so.
        there.sort_by_key(|probe| !matches!(probe, Probe::Clock | Probe::Resources));
        let answers = self.outside.answer(&here);
        self.learn(here.into_iter().zip(answers));
        if there.is_empty() {
            return;
        }
        let answers = inside(self.inside, &there, self.until.saturating_duration_since(Instant::now()), self.each);
        self.learn(there.into_iter().zip(answers));
    }
}

/// Whether a probe needs a place beside the machine.
fn is_scan(probe: &Probe) -> bool {
    matches!(probe, Probe::TcpPorts { .. } | Probe::UdpPorts { .. })
}

/// Whether a probe is tried from outside, beside what is asked inside.
fn is_tried(probe: &Probe) -> bool {
    probe.side() == Side::Outside && *probe != Probe::HostClock
}

/// Has rave answer inside the machine, all probes in one go.
pub fn inside(inside: &Inside<'_>, probes: &[Probe], limit: Duration, each: Option<Duration>) -> Vec<Answered> {
    let ask = || -> std::result::Result<Vec<Answered>, String> {
        if limit.is_zero() {
            return Err("the deadline has passed".to_owned());
        }
        let input = serde_json::to_vec(probes).map_err(|e| e.to_string())?;
        let seconds = each.map(|each| each.as_secs().max(1).to_string());
        let mut command = vec!["/usr/bin/rave", "guest", "answer"];
        if let Some(seconds) = &seconds {
            command.extend(["--limit", seconds]);
        }
        let begin = Instant::now();
        let late =
            |reason| if begin.elapsed() >= limit { format!("the deadline has passed: {reason}") } else { reason };
        let output = inside.run(&command, &input, limit).map_err(late)?;
        serde_json::from_slice(&output).map_err(|e| format!("the machine gave no answers: {e}"))
    };
    ask().unwrap_or_else(|reason| probes.iter().map(|_| Answered::unavailable(&reason)).collect())
}
