//! A host and its machines, as the rave on that host sees them: what is written down, brought, installed and taken back.

mod goods;
mod installed;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::record::{FORMAT, Facts, Health, MachineFacts, Order, Record, Refused, Release};
use super::{CONFIG, UNITS, units};
use crate::digest::Digest;
use crate::name::ImageName;
use crate::origin::chain;
use crate::{disk, qemu, tool};

pub use goods::Goods;

/// File of a machine's configuration: what is written down.
const RECORD: &str = "record.json";
/// Directory of a machine's configuration: what it is given as credentials.
const CREDENTIALS: &str = "credentials";
/// The same of the version before, while another one is tried.
const CREDENTIALS_BEFORE: &str = "credentials.before";
/// The controllers of control groups that this host has.
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";
/// The longest record or report that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// Why a host could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A program failed.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// Podman failed.
    #[error("podman: {0}")]
    Podman(String),
    /// A key could not be made.
    #[error(transparent)]
    Qemu(#[from] qemu::Error),
    /// A file of rave's own cannot be read.
    #[error("{} is not of this rave", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The name is taken.
    #[error("there is a machine {machine} already, of target `{target}`")]
    Taken {
        /// The machine.
        machine: ImageName,
        /// Whose it is.
        target: String,
    },
    /// Another rave is at work.
    #[error("another deployment of {0} is under way")]
    Busy(ImageName),
    /// There is no such machine.
    #[error("there is no machine {0} on this host")]
    Unknown(ImageName),
    /// What was brought is not what was said.
    #[error("the {what} that arrived is not {expected}")]
    Damaged {
        /// What.
        what: &'static str,
        /// The digest that it should have.
        expected: Digest,
    },
    /// Something failed, and so did taking back what was begun.
    #[error("{}; and what was begun stays: {}", chain(first), chain(second))]
    Stuck {
        /// What failed.
        first: Box<Error>,
        /// Why it was not taken back.
        second: Box<Error>,
    },
    /// Something was not brought.
    #[error("the host has no {what} {digest}")]
    Missing {
        /// What.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// There is nobody to go back to.
    #[error("there is no earlier version of {0}")]
    NoPrevious(ImageName),
}

/// Shorthand of this file.
pub type Result<T> = std::result::Result<T, Error>;

/// The service manager of a host.
pub trait Manager {
    /// Runs `systemctl` with these words; returns what it said, or why it failed.
    fn systemctl(&self, words: &[&str]) -> std::result::Result<String, String>;
    /// Runs `podman` with these words.
    fn podman(&self, words: &[&str]) -> std::result::Result<String, String>;
    /// The last lines that a unit has written.
    fn journal(&self, unit: &str) -> String;
    /// Encrypts a credential for this host (systemd-creds(1)).
    fn encrypt(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>>;
}

/// The host, below a directory that is `/` but for tests.
pub struct Host<'a> {
    root: &'a Path,
    manager: &'a dyn Manager,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Outcome {
    /// Whether the wanted version runs and is well.
    pub healthy: bool,
    /// Why not.
    pub reason: String,
    /// What runs instead, and whether that is well.
    pub instead: Option<(String, bool)>,
}

impl<'a> Host<'a> {
    /// The host whose files are below `root`.
    pub fn new(root: &'a Path, manager: &'a dyn Manager) -> Self {
        Self { root, manager }
    }

    /// What there is.
    pub fn facts(&self) -> Result<Facts> {
        let mut facts = Facts {
            format: FORMAT,
            tools: self.goods(Goods::Tools)?,
            images: self.goods(Goods::Image)?,
            controllers: Some(self.controllers()?),
            ..Facts::default()
        };
        for name in self.names()? {
            let Some(record) = self.record(&name)? else { continue };
            let is_as_recorded = |(unit, text): &(&String, &String)| {
                disk::read_to_string(self.file(unit)).is_ok_and(|found| found == **text)
            };
            let changed = record.current.units.iter().filter(|unit| !is_as_recorded(unit));
            let changed = changed.map(|(unit, _)| unit.clone()).collect();
            // It says so with a status that is not 0 when a unit is not active.
            let state = self.manager.systemctl(&["show", "--value", "--property=ActiveState", &units::service(&name)]);
            let state = state.unwrap_or_else(|_| "unknown".to_owned()).trim().to_owned();
            let health = self.health(&name)?;
            facts.machines.insert(name, MachineFacts { record, state, changed, health });
        }
        Ok(facts)
    }

    /// Has a machine run what is ordered, looks at it from outside, and goes back if it is not well. `identity` is what it
    /// opens its secrets with.
    pub fn apply(&self, order: &Order, identity: Option<&[u8]>) -> Result<Outcome> {
        let name = &order.machine;
        let directory = self.config(name);
        disk::create_private_dir(&directory)?;
        let lock = disk::Lock::try_exclusive(directory.join("lock"))?;
        let _lock = lock.ok_or_else(|| Error::Busy(name.clone()))?;
        let before = self.record(name)?;
        if let Some(taken) = before.as_ref().filter(|record| record.target != order.target) {
            return Err(Error::Taken { machine: name.clone(), target: taken.target.clone() });
        }
        for (goods, what, digest) in
            [(Goods::Tools, "tools", order.release.tools), (Goods::Image, "image", order.release.disk)]
        {
            if !self.goods(goods)?.contains(&digest) {
                return Err(Error::Missing { what, digest });
            }
        }
        let released: Vec<Release> =
            before.iter().flat_map(Record::releases).chain([&order.release]).cloned().collect();
        let previous = match &before {
            // What was never found well is nothing to go back to.
            Some(record) if record.confirmed && record.current != order.release => Some(record.current.clone()),
            Some(record) => record.previous.clone().filter(|previous| *previous != order.release),
            None => None,
        };
        let mut record = Record {
            format: FORMAT,
            target: order.target.clone(),
            current: order.release.clone(),
            previous,
            confirmed: false,
            failure: None,
        };
        self.write(name, &record)?;
        if let Err(error) = self.set_aside(name).and_then(|()| self.furnish(order, identity)) {
            return Err(self.give_up(name, before.as_ref(), error));
        }
        let trial = self.run(name, &record.current);
        let outcome = match trial {
            Ok(()) => {
                record.confirmed = true;
                Outcome { healthy: true, reason: String::new(), instead: None }
            }
            Err(reason) => self.go_back(name, &mut record, reason)?,
        };
        self.collect(&released)?;
        disk::remove_dir_all(directory.join(CREDENTIALS_BEFORE))?;
        if record.confirmed {
            self.write(name, &record)?;
            self.expect(&["enable", "--now", &units::timer(name)])?;
        }
        Ok(outcome)
    }

    /// Takes back what was begun for a machine that cannot be given what it needs: what runs has not been touched yet, and
    /// must find what it was given when it starts anew. Credentials come first, for a full disk lets them be renamed.
    fn give_up(&self, name: &ImageName, before: Option<&Record>, error: Error) -> Error {
        let restored = match before {
            Some(record) => self.bring_back(name).and_then(|()| self.write(name, record)),
            None => disk::remove_dir_all(self.config(name)).map_err(Error::from),
        };
        match restored {
            Ok(()) => error,
            Err(second) => Error::Stuck { first: Box::new(error), second: Box::new(second) },
        }
    }

    /// Has the previous version run again; without one, the machine is taken away, but for what it wrote.
    fn go_back(&self, name: &ImageName, record: &mut Record, reason: String) -> Result<Outcome> {
        let failed = record.current.clone();
        let Some(previous) = record.previous.take() else {
            self.uninstall(name, &failed)?;
            disk::remove_dir_all(self.config(name))?;
            return Ok(Outcome { healthy: false, reason, instead: None });
        };
        record.failure = Some(Refused { release: failed.title(), reason: reason.clone() });
        record.current = previous;
        self.write(name, record)?;
        self.bring_back(name)?;
        let again = self.run(name, &record.current);
        record.confirmed = again.is_ok();
        let instead = Some((record.current.title(), record.confirmed));
        let reason = match again {
            Ok(()) => reason,
            Err(more) => format!("{reason}\nand the version before it: {more}"),
        };
        Ok(Outcome { healthy: false, reason, instead })
    }

    /// Installs the units of a version, starts it and looks at it; why it is not well, if it is not.
    fn run(&self, name: &ImageName, release: &Release) -> std::result::Result<(), String> {
        let told = |error: Error| chain(&error);
        let (service, verify) = (units::service(name), units::verify(name));
        self.manage(&["stop", &units::timer(name), &units::health(name), &verify]).ok();
        self.install(name, release).map_err(told)?;
        self.manage(&["reset-failed", &service, &verify]).ok();
        if let Err(said) = self.manage(&["restart", &service]) {
            return Err(format!("it did not start: {said}\n{}", self.manager.journal(&service)));
        }
        let troubles = self.verify(name).map_err(told)?;
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("\n")) }
    }

    /// Looks at a machine from outside, all six stages; what is not well.
    fn verify(&self, name: &ImageName) -> Result<Vec<String>> {
        let verify = units::verify(name);
        disk::remove_file(self.report(name))?;
        let started = self.manage(&["start", &verify]);
        Ok(match (self.health(name)?, started) {
            (Some(health), Ok(_)) if health.healthy => Vec::new(),
            (Some(health), _) if !health.healthy && !health.troubles.is_empty() => health.troubles,
            (_, started) => {
                let said = started.err().unwrap_or_default();
                vec![format!("it could not be checked: {said}\n{}", self.manager.journal(&verify))]
            }
        })
    }

    /// Looks at a machine from outside, as after a deployment; what is not well, if something is not.
    pub fn look(&self, name: &ImageName) -> Result<Option<String>> {
        self.record(name)?.ok_or_else(|| Error::Unknown(name.clone()))?;
        let troubles = self.verify(name)?;
        Ok((!troubles.is_empty()).then(|| troubles.join("\n")))
    }

    /// Takes a machine away. What it wrote stays, unless `purge`.
    pub fn remove(&self, name: &ImageName, target: &str, purge: bool) -> Result<()> {
        let record = self.record(name)?.ok_or_else(|| Error::Unknown(name.clone()))?;
        if record.target != target {
            return Err(Error::Taken { machine: name.clone(), target: record.target });
        }
        self.uninstall(name, &record.current)?;
        disk::remove_dir_all(self.config(name))?;
        if purge {
            for directory in ["var/lib/private/rave-vm", "var/lib/rave-vm", "var/lib/rave-check"] {
                disk::remove_dir_all(self.root.join(directory).join(name.as_str()))?;
            }
            if record.current.container.is_some() {
                self.podman(&["volume", "rm", "--force", &units::container::name(name)])?;
            }
        }
        let released: Vec<Release> = record.releases().cloned().collect();
        self.collect(&released)
    }

    fn controllers(&self) -> Result<BTreeSet<String>> {
        match disk::read_to_string(self.at(CONTROLLERS)) {
            // So it is where all of them are in control groups of version 1.
            Err(error) if error.is_not_found() => Ok(BTreeSet::new()),
            text => Ok(text?.split_whitespace().map(str::to_owned).collect()),
        }
    }

    fn names(&self) -> Result<Vec<ImageName>> {
        let paths = listed(&self.at(CONFIG))?;
        Ok(paths.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
    }

    /// What is written down about a machine.
    pub fn record(&self, name: &ImageName) -> Result<Option<Record>> {
        let path = self.config(name).join(RECORD);
        if disk::exists(&path) { read_json(&path).map(Some) } else { Ok(None) }
    }

    fn write(&self, name: &ImageName, record: &Record) -> Result<()> {
        let path = self.config(name).join(RECORD);
        let bytes = serde_json::to_vec_pretty(record).map_err(|source| Error::Form { path: path.clone(), source })?;
        Ok(disk::write_atomic(path, &bytes, 0o600)?)
    }

    fn health(&self, name: &ImageName) -> Result<Option<Health>> {
        let path = self.report(name);
        if disk::exists(&path) { read_json(&path).map(Some) } else { Ok(None) }
    }

    fn report(&self, name: &ImageName) -> PathBuf {
        self.root.join("var/lib/rave-check").join(name.as_str()).join(units::REPORT)
    }

    fn config(&self, name: &ImageName) -> PathBuf {
        self.at(CONFIG).join(name.as_str())
    }

    /// The file of a unit.
    fn file(&self, unit: &str) -> PathBuf {
        self.at(&units::place(unit).to_string_lossy())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn manage(&self, words: &[&str]) -> std::result::Result<String, String> {
        self.manager.systemctl(words)
    }

    fn podman(&self, words: &[&str]) -> Result<()> {
        self.manager.podman(words).map(drop).map_err(Error::Podman)
    }

    fn expect(&self, words: &[&str]) -> Result<()> {
        let failed =
            |said| disk::Error { verb: "have systemd follow", path: UNITS.into(), source: std::io::Error::other(said) };
        self.manage(words).map(drop).map_err(|said: String| failed(said).into())
    }
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    match disk::list(directory) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        paths => Ok(paths?),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = disk::read_start(path, LIMIT)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Form { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
