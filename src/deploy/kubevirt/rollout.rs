//! Has a machine of a cluster run another version: told, started anew, looked at, and back if it is not well.

use std::time::Duration;

use serde_json::Value;

use super::found::{Found, Progress, progress};
use super::manifests::{annotated, disk_of, name_of, title, to_yaml};
use crate::deploy::host::Outcome;

/// How long a machine may take until it is ready, the pull of its image included, and how often it is looked at.
const START: Duration = Duration::from_secs(1800);
const LOOK: Duration = Duration::from_secs(2);
/// How long its instance may take to end.
const END: &str = "--timeout=300s";
/// Who rave is among those that write fields of an object.
const MANAGER: &str = "--field-manager=rave";

/// Why a machine was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster, or kubectl, refused.
    #[error("{0}")]
    Refused(String),
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
}

/// Shorthand of this file.
pub type Result<T> = std::result::Result<T, Error>;

/// The cluster.
pub trait Api {
    /// Runs kubectl with these words; returns what it printed.
    fn kubectl(&self, words: &[&str], input: &[u8]) -> Result<Vec<u8>>;
    /// Looks at a machine from outside, all six stages, and holds it against the build that it is told to run; what is
    /// not well.
    fn look(&self, machine: &Value) -> Result<Vec<String>>;
    /// Waits; whether the user has ended it meanwhile.
    fn pause(&self, time: Duration) -> bool;
    /// Says what is waited for.
    fn tell(&self, text: &str);
}

/// A roll-out to machines of one cluster.
pub struct Rollout<'a> {
    /// The cluster.
    pub api: &'a dyn Api,
}

impl Rollout<'_> {
    /// Has the cluster take objects as they are, and forget what rave has told it of them before.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let text = to_yaml(objects).map_err(|error| Error::Refused(error.to_string()))?;
        let words = ["apply", "--server-side", "--force-conflicts", MANAGER, "--filename", "-"];
        self.api.kubectl(&words, text.as_bytes()).map(drop)
    }

    /// Before machines are told anything, the cluster takes the Secret that they start with. The first that there are start
    /// behind what they have in common: where that is refused, no identity is left behind. Where some are there already,
    /// `others`, what they have in common is for [`Rollout::settle`].
    pub fn prepare(&self, shared: &[Value], secret: &Value, others: bool) -> Result<()> {
        if !others {
            self.apply(shared)?;
        }
        self.apply(std::slice::from_ref(secret))
    }

    /// Once all machines are well, the cluster takes what they have in common, if it is not that of this version yet. A
    /// version that was not well has changed nothing of it.
    pub fn settle(&self, shared: &[Value], others: bool) -> Result<()> {
        if others { self.apply(shared) } else { Ok(()) }
    }

    /// Has a machine run `wanted`, looks at it, and goes back if it is not well.
    ///
    /// # Errors
    /// The cluster does not do what it is told, or the user has ended it: the machine is as it was left then, and is not
    /// said to be well.
    pub fn perform(&self, wanted: &Value, found: Option<&Found>) -> Result<Outcome> {
        let back = found.and_then(|found| found.way_back(wanted));
        let Err(reason) = self.trial(wanted, back)? else {
            return Ok(Outcome { healthy: true, reason: String::new(), instead: None });
        };
        let Some(previous) = back else {
            self.remove(name_of(wanted))?;
            return Ok(Outcome { healthy: false, reason, instead: None });
        };
        Ok(match self.trial(previous, None)? {
            Ok(()) => Outcome { healthy: false, reason, instead: Some((title(previous), true)) },
            Err(more) => Outcome {
                healthy: false,
                reason: format!("{reason}\nand the version before it: {more}"),
                instead: Some((title(previous), false)),
            },
        })
    }

    /// Starts a machine with what it is told and looks at it; why it is not well, if it is not.
    fn trial(&self, machine: &Value, previous: Option<&Value>) -> Result<std::result::Result<(), String>> {
        self.apply(&[annotated(machine, previous, false)])?;
        self.restart(name_of(machine))?;
        if let Err(reason) = self.await_ready(machine)? {
            return Ok(Err(reason));
        }
        let troubles = self.api.look(machine)?;
        if !troubles.is_empty() {
            return Ok(Err(troubles.join("\n")));
        }
        self.apply(&[annotated(machine, previous, true)])?;
        Ok(Ok(()))
    }

    /// Ends the instance of a machine; as long as the machine is to run, KubeVirt makes another one of what it is told.
    pub fn restart(&self, machine: &str) -> Result<()> {
        let words = ["delete", "virtualmachineinstance", machine, "--ignore-not-found", "--wait", END];
        self.api.kubectl(&words, b"").map(drop)
    }

    /// Has a machine run, or not.
    pub fn switch(&self, machine: &str, on: bool) -> Result<()> {
        let strategy = if on { "Always" } else { "Halted" };
        let patch = format!(r#"{{"spec":{{"runStrategy":"{strategy}"}}}}"#);
        let words = ["patch", "virtualmachine", machine, "--type=merge", MANAGER, "--patch", &patch];
        self.api.kubectl(&words, b"").map(drop)
    }

    /// Takes a machine away.
    pub fn remove(&self, machine: &str) -> Result<()> {
        self.api.kubectl(&["delete", "virtualmachine", machine, "--ignore-not-found", "--wait", END], b"").map(drop)
    }

    fn await_ready(&self, machine: &Value) -> Result<std::result::Result<(), String>> {
        let disk = disk_of(&machine["spec"]["template"]["spec"]).unwrap_or_default();
        let words = ["get", "virtualmachineinstance", name_of(machine), "--ignore-not-found", "--output=json"];
        let (mut told, mut waited) = (String::new(), Duration::ZERO);
        loop {
            let answer = self.api.kubectl(&words, b"")?;
            let odd = |error: serde_json::Error| Error::Refused(format!("kubectl does not answer in JSON: {error}"));
            let reason = match progress(&answer, disk).map_err(odd)? {
                Progress::Ready => return Ok(Ok(())),
                Progress::Waiting(reason) => reason,
            };
            if reason != told {
                self.api.tell(&format!("waiting for {}: {reason}", name_of(machine)));
                told = reason;
            }
            if waited >= START {
                return Ok(Err(format!("it was not ready within {} minutes: {told}", START.as_secs() / 60)));
            }
            waited += LOOK;
            if self.api.pause(LOOK) {
                return Err(Error::Interrupted);
            }
        }
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
