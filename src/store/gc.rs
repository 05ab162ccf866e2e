//! Pins, and taking away what nothing holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::object::{Name, last_part};
use super::record::Record;
use super::{Error, Store, lease};
use crate::digest::Digest;
use crate::disk::{self, Lock};

/// What gc leaves although nothing holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// What was used within this time.
    Recent(Duration),
    /// As many bytes as this in the whole store; what was not used for the longest time goes first.
    Bytes(u64),
}

/// Objects and the disk space they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many.
    pub objects: u64,
    /// Disk space in bytes.
    pub bytes: u64,
}

impl Usage {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects = self.objects.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What gc did.
#[derive(Debug, Default)]
pub struct Freed {
    /// What was removed, by kind; begun downloads and damaged objects have kinds of their own.
    pub kinds: BTreeMap<String, Usage>,
    /// What could not be removed; it is out of service, and tried again when the store is next opened.
    pub failures: Vec<disk::Error>,
}

impl Freed {
    /// The sum over all kinds.
    pub fn total(&self) -> Usage {
        sum(&self.kinds)
    }
}

/// Something that gc may remove.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    what: What,
    name: Name,
    bytes: u64,
    used: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Object,
    Partial,
}

impl Store {
    /// Keeps objects until [`Store::unpin`], whatever their kinds; replaces an earlier pin of that name.
    pub fn pin(&self, name: &str, digests: &[Digest]) -> Result<(), Error> {
        let path = self.pin_path(name)?;
        let lines: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
        let _no_gc = Lock::shared(self.layout.lock())?;
        Ok(disk::write_atomic(path, lines.as_bytes(), 0o600)?)
    }

    /// Keeps the objects that paths lead into, through links, until [`Store::unpin`]. A path that leads elsewhere is
    /// its owner's to keep.
    pub fn pin_paths(&self, name: &str, paths: &[&Path]) -> Result<(), Error> {
        let digests: Vec<Digest> =
            paths.iter().filter_map(|path| self.object_at(path).transpose()).collect::<Result<_, _>>()?;
        self.pin(name, &digests)
    }

    /// The object that a path leads into; none outside of the store.
    fn object_at(&self, path: &Path) -> Result<Option<Digest>, Error> {
        let objects = disk::canonical(self.layout.root().join("objects"))?;
        let path = match disk::canonical(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            path => path?,
        };
        let inside = path.strip_prefix(&objects).ok().and_then(|inside| inside.iter().nth(1));
        Ok(inside.and_then(|digest| digest.to_str()?.parse().ok()))
    }

    /// Ends a pin; one that does not exist is fine.
    pub fn unpin(&self, name: &str) -> Result<(), Error> {
        Ok(disk::remove_file(self.pin_path(name)?)?)
    }

    /// All pins and what they keep.
    ///
    /// # Errors
    /// [`Error::Pin`] for a file that was changed by something else: guessing could lose what it kept.
    pub fn pins(&self) -> Result<BTreeMap<String, BTreeSet<Digest>>, Error> {
        let mut pins = BTreeMap::new();
        for path in disk::list(self.layout.pins())? {
            let name = last_part(&path);
            if name.starts_with('.') {
                continue; // being written
            }
            let text = disk::read_to_string(&path)?;
            let digests = text.lines().map(str::parse).collect::<Result<_, _>>();
            pins.insert(name, digests.map_err(|source| Error::Pin { path, source })?);
        }
        Ok(pins)
    }

    fn pin_path(&self, name: &str) -> Result<std::path::PathBuf, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.len() > 200 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            return Err(Error::PinName(name.to_owned()));
        }
        Ok(self.layout.pins().join(name))
    }

    /// Removes what no pin holds, no live process uses and `keep` does not spare. `now` is the current time.
    pub fn gc(&self, keep: Keep, now: SystemTime) -> Result<Freed, Error> {
        let mut freed = Freed::default();
        let whole = Lock::exclusive(self.layout.lock())?;
        let mut held = lease::in_use(&self.layout.users())?;
        held.extend(self.pins()?.into_values().flatten());
        for candidate in choose(self.candidates()?, &held, keep, now) {
            if self.demote(&candidate)? {
                let kind = match candidate.what {
                    What::Object => candidate.name.kind,
                    What::Partial => "partial".to_owned(),
                };
                freed.kinds.entry(kind).or_default().add(candidate.bytes);
            }
        }
        drop(whole);
        self.discard_damaged(&mut freed)?;
        freed.failures.extend(self.layout.sweep(self.remove)?);
        Ok(freed)
    }

    /// Disk space by kind; what is unfinished, begun or damaged has kinds of its own.
    pub fn du(&self) -> Result<BTreeMap<String, Usage>, Error> {
        let mut kinds: BTreeMap<String, Usage> = BTreeMap::new();
        for candidate in self.candidates()? {
            let kind = match candidate.what {
                What::Object => candidate.name.kind,
                What::Partial => "partial".to_owned(),
            };
            kinds.entry(kind).or_default().add(candidate.bytes);
        }
        for kind in ["staging", "damaged"] {
            for path in disk::list(self.layout.root().join(kind))? {
                if path.extension().is_none_or(|extension| extension != "lock") {
                    kinds.entry(kind.to_owned()).or_default().add(weigh(&path)?);
                }
            }
        }
        Ok(kinds)
    }

    fn candidates(&self) -> Result<Vec<Candidate>, Error> {
        let mut all = Vec::new();
        for name in self.layout.objects()? {
            let home = self.layout.home(&name);
            let path = home.record();
            // An object that lost its record is older than any other.
            let used = modified(&path)?.unwrap_or(SystemTime::UNIX_EPOCH);
            let record = disk::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let bytes = match record {
                Some(record) => record.bytes,
                None => weigh(home.path())?,
            };
            all.push(Candidate { what: What::Object, name, bytes, used });
        }
        for name in self.layout.partials()? {
            let path = self.layout.partial(&name);
            let Some(used) = modified(&path)? else { continue };
            all.push(Candidate { what: What::Partial, bytes: weigh(&path)?, name, used });
        }
        Ok(all)
    }

    /// Moves an object out of service, to where it is swept; nothing happens to one that somebody works on.
    fn demote(&self, candidate: &Candidate) -> Result<bool, Error> {
        let name = &candidate.name;
        let Some(turn) = Lock::try_exclusive(self.layout.turn(name))? else { return Ok(false) };
        match candidate.what {
            What::Object => {
                let staging = self.layout.staging(name);
                disk::remove_dir_all(staging.path())?;
                disk::rename(self.layout.home(name).path(), staging.path())?;
            }
            What::Partial => {
                disk::remove_file(self.layout.partial(name))?;
                turn.remove()?;
            }
        }
        Ok(true)
    }

    fn discard_damaged(&self, freed: &mut Freed) -> Result<(), Error> {
        for path in disk::list(self.layout.root().join("damaged"))? {
            let bytes = weigh(&path)?;
            match disk::remove_dir_all(&path) {
                Ok(()) => freed.kinds.entry("damaged".to_owned()).or_default().add(bytes),
                Err(error) => freed.failures.push(error),
            }
        }
        Ok(())
    }
}

/// Which candidates go, those unused for the longest time first.
fn choose(mut all: Vec<Candidate>, held: &BTreeSet<Digest>, keep: Keep, now: SystemTime) -> Vec<Candidate> {
    all.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
    let mut total = all.iter().fold(0u64, |sum, candidate| sum.saturating_add(candidate.bytes));
    all.retain(|candidate| {
        if held.contains(&candidate.name.digest) {
            return false;
        }
        let goes = match keep {
            Keep::Nothing => true,
            // A time of use in the future is that of a clock that was set back: used just now.
            Keep::Recent(time) => now.duration_since(candidate.used).is_ok_and(|age| age > time),
            Keep::Bytes(limit) => total > limit,
        };
        if goes {
            total = total.saturating_sub(candidate.bytes);
        }
        goes
    });
    all
}

fn modified(path: &std::path::Path) -> Result<Option<SystemTime>, Error> {
    match disk::metadata(path) {
        Ok(found) => Ok(Some(disk::context("examine", path, found.modified())?)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Disk space of a file or a tree, in bytes.
fn weigh(path: &std::path::Path) -> Result<u64, Error> {
    use std::os::unix::fs::MetadataExt as _;
    let found = match disk::metadata(path) {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = found.blocks().saturating_mul(512);
    if found.is_dir() {
        for path in disk::list(path)? {
            bytes = bytes.saturating_add(weigh(&path)?);
        }
    }
    Ok(bytes)
}

/// The sum over all kinds.
fn sum(kinds: &BTreeMap<String, Usage>) -> Usage {
    kinds.values().fold(Usage::default(), |sum, usage| Usage {
        objects: sum.objects.saturating_add(usage.objects),
        bytes: sum.bytes.saturating_add(usage.bytes),
    })
}
