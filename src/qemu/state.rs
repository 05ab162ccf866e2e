//! What is written down about a machine, so that any rave can find it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::name::ImageName;
use crate::qemu::args::file;
use crate::qemu::error::{Error, Result};
use crate::qemu::keys;
use crate::qemu::machine::{Accelerator, Forward};
use crate::qemu::process::Process;

/// The file in a machine's directory.
const FILE: &str = "vm.json";

/// A machine as written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Its name.
    pub name: ImageName,
    /// Its process; none: it was stopped.
    pub process: Option<Process>,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Host ports that lead into the guest.
    pub forwards: Vec<Forward>,
    /// The image it was started from.
    pub base: Base,
    /// Whether its overlay is kept.
    pub persist: bool,
    /// Whether it outlives the rave that started it.
    pub detach: bool,
    /// What the starter wants to find again, such as the path of the image's manifest.
    pub notes: BTreeMap<String, String>,
}

/// An image, recognisable: an overlay is worthless on any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Absolute path without links.
    pub path: PathBuf,
    /// Length in bytes.
    pub length: u64,
    /// Time of the last change, nanoseconds since the epoch.
    pub modified: i128,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its process runs.
    Running,
    /// It was stopped properly.
    Stopped,
    /// Its process ended without anybody taking care.
    Dead,
}

impl Base {
    /// The image at `path`.
    pub fn of(path: &Path) -> Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let path = disk::canonical(path)?;
        let metadata = disk::metadata(&path)?;
        let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Ok(Self { length: metadata.len(), modified, path })
    }
}

impl State {
    /// What is written down in a machine's directory; none if nothing is.
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        match disk::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(state) => Ok(Some(state)),
                Err(source) => Err(Error::State { path, source }),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it down.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let bytes = serde_json::to_vec_pretty(self).map_err(|source| Error::State { path: path.clone(), source })?;
        Ok(disk::write_atomic(path, &bytes, 0o600)?)
    }

    /// What the machine is doing right now.
    pub fn condition(&self) -> Result<Condition> {
        Ok(match &self.process {
            None => Condition::Stopped,
            Some(process) if process.is_alive()? => Condition::Running,
            Some(_) => Condition::Dead,
        })
    }

    /// The host port that leads to a port of the guest.
    pub fn host_port(&self, guest: u16) -> Option<u16> {
        self.forwards.iter().find(|forward| forward.guest == guest).map(|forward| forward.host)
    }

    /// Tidies up after this very machine. If another of the same name is being started or removed, or has taken
    /// its place, nothing is done.
    pub fn tidy_if_current(&self, directory: &Path) -> Result<()> {
        let parent = directory.parent().unwrap_or(directory);
        let Some(_lock) = lock(parent, &self.name)? else { return Ok(()) };
        match Self::load(directory)? {
            Some(current) if current.process == self.process => current.tidy(directory),
            _ => Ok(()),
        }
    }

    /// Takes away what a machine that has ended no longer needs. A persistent one keeps its disk, variables and
    /// key; a detached one its logs; any other leaves nothing.
    pub fn tidy(mut self, directory: &Path) -> Result<()> {
        if !self.persist && !self.detach {
            return Ok(disk::remove_dir_all(directory)?);
        }
        for name in [
            file::QMP,
            file::CONTROL,
            file::FAULT,
            file::CHECK,
            file::AGENT,
            file::CONSOLE,
            file::GDB,
            file::SEED,
            file::KERNEL,
            file::INITRD,
            "agent.lock",
            "console.lock",
        ] {
            disk::remove_file(directory.join(name))?;
        }
        disk::remove_dir_all(directory.join(file::CREDENTIALS))?;
        if !self.persist {
            for name in [file::OVERLAY, file::VARS, keys::PRIVATE, "known_hosts"] {
                disk::remove_file(directory.join(name))?;
            }
        }
        self.process = None;
        self.save(directory)
    }
}

/// Locks the machine of this name in the directory of all machines; none: somebody else holds the lock. The file
/// is not in the machine's own directory, which is removed while the lock is held.
pub fn lock(root: &Path, name: &ImageName) -> Result<Option<disk::Lock>> {
    let path = root.join(format!(".{name}.lock"));
    // A program that any thread is just starting holds a copy of a lock that was released, until it is executed.
    for _ in 0..50 {
        if let Some(lock) = disk::Lock::try_exclusive(&path)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(disk::Lock::try_exclusive(&path)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn state(persist: bool, detach: bool) -> State {
        State {
            name: "web".parse().unwrap(),
            process: None,
            accelerator: Accelerator::Tcg,
            forwards: vec![Forward { host: 2222, guest: 22 }],
            base: Base { path: "/images/web.raw".into(), length: 1, modified: -1 },
            persist,
            detach,
            notes: BTreeMap::from([("manifest".to_owned(), "/m.json".to_owned())]),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), None);
        let written = State { process: Process::of(std::process::id()).unwrap(), ..state(true, false) };
        written.save(dir.path()).unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), Some(written));
        for bad in ["", "{}", "[", "{\"name\": \"../../etc\"}"] {
            disk::write_atomic(dir.path().join(FILE), bad.as_bytes(), 0o600).unwrap();
            assert!(matches!(State::load(dir.path()), Err(Error::State { .. })), "{bad}");
        }
    }

    #[test]
    fn running_stopped_and_dead_are_told_apart() {
        let me = Process::of(std::process::id()).unwrap().unwrap();
        let with = |process| State { process, ..state(false, true) }.condition().unwrap();
        assert_eq!(with(None), Condition::Stopped);
        assert_eq!(with(Some(me.clone())), Condition::Running);
        assert_eq!(with(Some(Process { start: me.start + 1, ..me })), Condition::Dead);
    }

    #[test]
    fn what_is_left_depends_on_the_kind_of_machine() {
        let left = |persist, detach| {
            let dir = tempfile::tempdir().unwrap();
            let machine = dir.path().join("web");
            disk::create_private_dir(machine.join(file::CREDENTIALS)).unwrap();
            for name in [file::OVERLAY, file::VARS, file::QMP, file::AGENT, file::CONSOLE_LOG, keys::PRIVATE] {
                disk::write_atomic(machine.join(name), b"", 0o600).unwrap();
            }
            state(persist, detach).tidy(&machine).unwrap();
            let names = disk::list(&machine).unwrap_or_default();
            names.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(false, false), "");
        assert_eq!(left(false, true), "console.log vm.json");
        assert_eq!(left(true, false), "console.log id_ed25519 overlay.qcow2 vars.fd vm.json");
    }

    #[test]
    fn an_image_that_changed_is_another_base() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("b"));
        disk::write_atomic(&path, b"one", 0o644).unwrap();
        disk::symlink(&path, &link).unwrap();
        let before = Base::of(&path).unwrap();
        assert_eq!(Base::of(&link).unwrap(), before);
        disk::write_atomic(&path, b"other", 0o644).unwrap();
        assert_ne!(Base::of(&path).unwrap(), before);
    }
}
