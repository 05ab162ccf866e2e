//! The packages of a lock, into the store.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::transfer::Wanted;
use super::{Attempts, Fetcher};
use crate::debian::{Base, Lock, LockedPackage, Place};
use crate::digest::Digest;
use crate::disk;
use crate::event::{Amount, Report, Work};
use crate::store::{self, Kind, PutError, Store};

/// Packages in the store, by the SHA-256 of the `.deb`.
pub const DEB: Kind = Kind::blob("deb");

/// Progress is told whenever this many bytes more have arrived.
const STRIDE: u64 = 256 * 1024;

/// Why the packages of a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Packages are on no mirror any more. Locking again finds what replaced them.
    #[error("no mirror has {} any more", names(.0))]
    Gone(Vec<Gone>),
    /// A package could not be fetched.
    #[error("cannot fetch {package}")]
    Failed {
        /// Name and version.
        package: String,
        /// What each mirror did wrong.
        source: Attempts,
    },
    /// A `.deb` of the project's own cannot be read.
    #[error("cannot use the package {path}")]
    Local {
        /// Its path as the image names it.
        path: String,
        /// What the file system said.
        source: disk::Error,
    },
    /// A `.deb` of the project's own is not the one that was locked.
    #[error("the package {path} has changed since it was locked")]
    Changed {
        /// Its path as the image names it.
        path: String,
    },
    /// The lock names an archive that it does not describe.
    #[error("the lock names the archive {0:?} but does not describe it")]
    UnknownArchive(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system refused what fetching needs.
    #[error("cannot start to fetch")]
    Start(#[source] io::Error),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Gone(_) => {
                Some("lock again with `rave lock --update`, or name a mirror that has them in RAVE_MIRROR")
            }
            Self::Failed { .. } => Some("try again, or name another mirror in RAVE_MIRROR; what has arrived is kept"),
            Self::Changed { .. } => Some("lock again with `rave lock`"),
            Self::Store(error) => error.hint(),
            Self::Local { .. } | Self::UnknownArchive(_) | Self::Start(_) => None,
        }
    }
}

/// A package that no mirror has.
#[derive(Debug)]
pub struct Gone {
    /// Name and version.
    pub package: String,
    /// What each mirror said.
    pub attempts: Attempts,
}

fn names(gone: &[Gone]) -> String {
    gone.iter().map(|gone| gone.package.as_str()).collect::<Vec<_>>().join(", ")
}

/// Why one package was not made; the error that [`Store::put`] carries through.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Disk(disk::Error),
    #[error(transparent)]
    Mirrors(Attempts),
}

/// One package to fetch.
struct Job<'a> {
    package: &'a LockedPackage,
    base: &'a Base,
    path: &'a str,
}

/// Name and version, for people.
struct Label<'a>(&'a LockedPackage);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.name, self.0.version)
    }
}

/// What the workers share.
struct Shared<'a> {
    store: &'a Store,
    work: Work<'a>,
    done: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    paths: BTreeMap<Digest, PathBuf>,
    gone: Vec<Gone>,
    error: Option<Error>,
}

impl Fetcher {
    /// Brings all packages of a lock into the store; returns where each `.deb` is, by its SHA-256.
    ///
    /// What the store has is not asked for. Downloads that were interrupted are resumed, now or in a later
    /// run. `project` is the directory to which the `.deb` files of the project's own are relative.
    ///
    /// # Errors
    /// [`Error::Gone`] lists all packages that no mirror has, after all others were fetched.
    pub fn fetch_packages(
        &self,
        lock: &Lock,
        project: &Path,
        store: &Store,
        report: &dyn Report,
    ) -> Result<BTreeMap<Digest, PathBuf>, Error> {
        let mut paths = BTreeMap::new();
        let mut jobs = Vec::new();
        for package in &lock.packages {
            if let Some(path) = store.lookup(DEB, package.sha256)? {
                paths.insert(package.sha256, path);
                continue;
            }
            match &package.place {
                Place::File(path) => {
                    paths.insert(package.sha256, take(store, project, path, package.sha256)?);
                }
                Place::Archive { archive, path } => {
                    let known = lock.archive(archive).ok_or_else(|| Error::UnknownArchive(archive.clone()))?;
                    jobs.push(Job { package, base: &known.archive.base, path });
                }
            }
        }
        if !jobs.is_empty() {
            paths.extend(self.fetch_all(jobs, store, report)?);
        }
        Ok(paths)
    }

    fn fetch_all(
        &self,
        mut jobs: Vec<Job>,
        store: &Store,
        report: &dyn Report,
    ) -> Result<BTreeMap<Digest, PathBuf>, Error> {
        // Popped from the end: the largest first, so that no long transfer is left over at the end.
        jobs.sort_by_key(|job| job.package.size);
        let count = jobs.len();
        let total = jobs.iter().fold(0u64, |sum, job| sum.saturating_add(job.package.size));
        let work = Work::start(report, "fetch", "packages", Some(Amount::Bytes(total)));
        let shared =
            Shared { store, work, done: AtomicU64::new(0), stop: AtomicBool::new(false), outcome: Mutex::default() };
        let queue = Mutex::new(jobs);
        std::thread::scope(|scope| {
            for _ in 0..self.settings.connections.clamp(1, count) {
                scope.spawn(|| {
                    while !shared.stop.load(Ordering::Relaxed) {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some(job) = job else { break };
                        self.fetch_one(&job, &shared);
                    }
                });
            }
        });
        let mut outcome = shared.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = outcome.error {
            return Err(error);
        }
        if !outcome.gone.is_empty() {
            outcome.gone.sort_by(|a, b| a.package.cmp(&b.package));
            return Err(Error::Gone(outcome.gone));
        }
        shared.work.finish(format!("{count} packages, {:.1} MB", total as f64 / 1e6));
        Ok(outcome.paths)
    }

    fn fetch_one(&self, job: &Job, shared: &Shared) {
        let (package, label) = (job.package, Label(job.package).to_string());
        let part = shared.work.part("fetch", label.as_str(), Some(Amount::Bytes(package.size)));
        let result = shared.store.put(DEB, package.sha256, |staging| self.bring(job, shared, &part, staging));
        let mut outcome = shared.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(path) => {
                part.finish("");
                outcome.paths.insert(package.sha256, path);
                return;
            }
            Err(PutError::Make(Missed::Mirrors(attempts))) if attempts.is_gone() => {
                outcome.gone.push(Gone { package: label, attempts });
                return;
            }
            // The first error is the cause of the others, which were told to stop.
            Err(_) if outcome.error.is_some() => {}
            Err(PutError::Make(Missed::Mirrors(source))) => {
                outcome.error = Some(Error::Failed { package: label, source });
            }
            Err(PutError::Make(Missed::Disk(error))) => outcome.error = Some(store::Error::from(error).into()),
            Err(PutError::Store(error)) => {
                if matches!(error, store::Error::Full { .. }) {
                    // Better none than half of each; what cannot be removed now is gc's.
                    drop(disk::remove_file(shared.store.partial(DEB, package.sha256)));
                }
                outcome.error = Some(error.into());
            }
        }
        shared.stop.store(true, Ordering::Relaxed);
    }

    /// Downloads one package to where begun downloads are kept, then moves it to `staging`.
    fn bring(&self, job: &Job, shared: &Shared, part: &Work, staging: &Path) -> Result<(), Missed> {
        let partial = shared.store.partial(DEB, job.package.sha256);
        let meter = Meter { shared, part, told: AtomicU64::new(0) };
        let progress = |here| meter.advance(here);
        let wanted = Wanted { size: job.package.size, sha256: job.package.sha256, progress: &progress };
        let result = self.ask_all(job.base, job.path, |url| self.download(url, &partial, &wanted));
        result.map_err(|attempts| attempts.disk().map_or_else(Missed::Mirrors, Missed::Disk))?;
        meter.tell(job.package.size);
        disk::rename(partial, staging).map_err(Missed::Disk)
    }
}

/// Counts one package's bytes into the whole.
struct Meter<'a> {
    shared: &'a Shared<'a>,
    part: &'a Work<'a>,
    told: AtomicU64,
}

impl Meter<'_> {
    /// Takes note of how much of the package is here, which may be less than before; says whether to go on.
    fn advance(&self, here: u64) -> bool {
        if here.abs_diff(self.told.load(Ordering::Relaxed)) >= STRIDE {
            self.tell(here);
        }
        !self.shared.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, here: u64) {
        // Wrapping: after a restart the difference is negative.
        let change = here.wrapping_sub(self.told.swap(here, Ordering::Relaxed));
        let done = self.shared.done.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        self.part.progress(here);
        self.shared.work.progress(done);
    }
}

/// Copies a `.deb` of the project's own into the store.
fn take(store: &Store, project: &Path, path: &str, sha256: Digest) -> Result<PathBuf, Error> {
    let result = store.put(DEB, sha256, |staging| disk::copy(project.join(path), staging).map(drop));
    result.map_err(|error| match error {
        PutError::Make(source) => Error::Local { path: path.to_owned(), source },
        PutError::Store(store::Error::Mismatch { .. }) => Error::Changed { path: path.to_owned() },
        PutError::Store(error) => error.into(),
    })
}

#[cfg(test)]
#[path = "packages_tests.rs"]
mod tests;
