//! Content-addressed storage: what was once fetched or computed, under the digest that names it.
//!
//! ```text
//! STORE/                        0700
//!   version                     the layout below, by name; written first
//!   lock                        a share is held while an object is looked up, the whole while gc chooses
//!   objects/KIND/DIGEST/        one object, appearing and disappearing whole by one rename
//!     content                   what was put: a file (0444 or 0555) or a directory
//!     record                    digest and size of the content; its mtime is the time of last use
//!   staging/KIND-DIGEST/        an object in the making, or on its way out, of the same shape
//!   staging/KIND-DIGEST.lock    held by who works on it; free means abandoned, and swept at the next open
//!   partial/KIND-DIGEST         the begun download of a file, kept for later runs
//!   users/ANY                   digests that a live process uses; locked by it, so that its death frees them
//!   pins/NAME                   digests that are kept until unpinned, one per line
//!   damaged/KIND-DIGEST/        objects that `verify` took out of service, until the next gc
//! ```
//!
//! A step's digest is that of its inputs, so the same work is done once: a second process that wants it
//! waits for the first and finds the result. Every lock is a `flock`, which dies with its process.

mod error;
mod gc;
mod lease;
mod object;
mod record;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use error::{Error, PutError};
pub use gc::{Freed, Keep, Usage};
pub use object::Kind;
pub use record::Record;
pub use verify::{Damage, Verified};

use crate::digest::Digest;
use crate::disk::{self, Lock};
use crate::event::{Event, Report, Silent};
use lease::Lease;
use object::{By, Layout, Name};
use record::Seal;

/// Below this many free bytes, a step that failed is taken to have failed for lack of space.
const NEARLY_FULL: u64 = 64 * 1024;

/// An open store. Objects that it hands out stay until it is dropped, whatever gc runs meanwhile.
pub struct Store {
    layout: Layout,
    lease: Mutex<Lease>,
    report: Arc<dyn Report>,
    remove: Remove,
    unswept: Vec<disk::Error>,
}

/// Removes a directory with all that is in it.
pub type Remove = fn(&Path) -> disk::Result<()>;

impl Store {
    /// Opens the store at `directory`, made if missing, and sweeps what killed processes left behind.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::Version`] and [`Error::Exposed`] when the directory must not be used.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(directory, |path| disk::remove_dir_all(path))
    }

    /// The same, where work that is left behind may have files that only `remove` can take away.
    ///
    /// # Errors
    /// As those of [`Store::open`].
    pub fn open_with(directory: impl AsRef<Path>, remove: Remove) -> Result<Self, Error> {
        let layout = Layout::open(directory.as_ref())?;
        let unswept = layout.sweep(remove)?;
        let lease = Mutex::new(Lease::new(layout.users()));
        Ok(Self { layout, lease, report: Arc::new(Silent), remove, unswept })
    }

    /// Notes to the user, such as why a command waits, go to `report`.
    #[must_use]
    pub fn noting(mut self, report: Arc<dyn Report>) -> Self {
        self.report = report;
        self
    }

    /// The store's directory.
    pub fn directory(&self) -> &Path {
        self.layout.root()
    }

    /// What abandoned work could not be removed when the store was opened. It does no harm but take space.
    pub fn unswept(&self) -> &[disk::Error] {
        &self.unswept
    }

    /// The content of an object, a file or a directory, if the store has it. It must not be changed.
    pub fn lookup(&self, kind: Kind, digest: Digest) -> Result<Option<PathBuf>, Error> {
        let _no_gc = Lock::shared(self.layout.lock())?;
        let home = self.layout.home(&Name::new(kind, digest));
        if !home.is_whole() {
            return Ok(None);
        }
        self.hold(digest)?;
        disk::touch(home.record())?;
        Ok(Some(home.content()))
    }

    /// What is known of an object: its content's digest and its size.
    pub fn record(&self, kind: Kind, digest: Digest) -> Result<Option<Record>, Error> {
        match disk::read(self.layout.home(&Name::new(kind, digest)).record()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of an object, made now if the store does not have it.
    ///
    /// `make` gets a path at which nothing is yet, and leaves a file or a directory there, owned by the
    /// caller. While it works, others who want the same object wait; asking for that object within `make`
    /// would wait forever. Whatever happens, the object appears whole or not at all.
    ///
    /// # Errors
    /// [`PutError::Make`] is what `make` said; a lack of space is always [`Error::Full`].
    pub fn put<E>(
        &self,
        kind: Kind,
        digest: Digest,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, PutError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        if let Some(path) = self.lookup(kind, digest)? {
            return Ok(path);
        }
        let name = Name::new(kind, digest);
        let turn = self.wait_for(kind, &name)?;
        let result = match self.lookup(kind, digest)? {
            Some(path) => Ok(path),
            None => self.make(kind, digest, &name, make),
        };
        let removed = turn.remove();
        let path = result?;
        removed.map_err(Error::from)?;
        Ok(path)
    }

    /// Where a begun download of an object is kept from run to run. Only who is making that object in
    /// [`Store::put`] may touch it.
    pub fn partial(&self, kind: Kind, digest: Digest) -> PathBuf {
        self.layout.partial(&Name::new(kind, digest))
    }

    /// Waits until nobody else works on an object.
    fn wait_for(&self, kind: Kind, name: &Name) -> Result<Lock, Error> {
        let path = self.layout.turn(name);
        if let Some(lock) = Lock::try_exclusive(&path)? {
            return Ok(lock);
        }
        // Files that are fetched come by the hundred; nobody wants a line for each.
        if kind.by() == By::Inputs {
            self.report.event(Event::Note(format!("waiting for another process that is making {name}")));
        }
        Ok(Lock::exclusive(&path)?)
    }

    fn make<E>(
        &self,
        kind: Kind,
        digest: Digest,
        name: &Name,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, PutError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let staging = self.layout.staging(name);
        let result = self.stage(&staging, digest).map_err(PutError::from).and_then(|()| {
            make(&staging.content()).map_err(|error| self.blame(&staging.content(), error))?;
            Ok(self.publish(kind, digest, name, &staging)?)
        });
        if result.is_err() {
            // What is left after a failure here is swept at the next open; the first error tells more.
            drop((self.remove)(staging.path()));
        }
        result
    }

    /// Makes an empty staging directory, and protects the object to be from gc.
    fn stage(&self, staging: &object::Home, digest: Digest) -> Result<(), Error> {
        (self.remove)(staging.path())?;
        disk::create_private_dir(staging.path())?;
        let _no_gc = Lock::shared(self.layout.lock())?;
        self.hold(digest)
    }

    /// Tells a lack of space from other failures of the work: the tools that fail for it do not always say so.
    fn blame<E>(&self, path: &Path, error: E) -> PutError<E>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let full = error::is_full(&error) || disk::free_bytes(self.layout.root()).is_ok_and(|free| free < NEARLY_FULL);
        if full {
            PutError::Store(Error::Full { path: path.to_owned(), source: Box::new(error) })
        } else {
            PutError::Make(error)
        }
    }

    /// Records what was made, waits until it is on the disk, and moves it into place.
    fn publish(&self, kind: Kind, digest: Digest, name: &Name, staging: &object::Home) -> Result<PathBuf, Error> {
        let content = staging.content();
        if !disk::exists(&content) {
            return Err(Error::NotMade { kind: kind.name(), digest });
        }
        let record = std::thread::scope(|scope| {
            let flushed = scope.spawn(|| staging.flush());
            let record = Record::of(&content, Seal::Yes);
            flushed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            record
        })?;
        let record = record.ok_or(Error::NotMade { kind: kind.name(), digest })?;
        if kind.by() == By::Content && record.content != digest {
            return Err(Error::Mismatch { expected: digest, found: record.content });
        }
        disk::write_atomic(staging.record(), &serde_json::to_vec(&record)?, 0o600)?;
        let home = self.layout.home(name);
        disk::create_dir_all(home.parent())?;
        disk::remove_dir_all(home.path())?;
        disk::rename(staging.path(), home.path())?;
        Ok(home.content())
    }

    /// Keeps gc from an object for as long as this store is open. The caller holds a share of the lock.
    fn hold(&self, digest: Digest) -> Result<(), Error> {
        Ok(self.lease.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hold(digest)?)
    }
}

#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod tests;
