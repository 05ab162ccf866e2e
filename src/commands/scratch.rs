//! A private directory for what a command makes on its way.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::disk::{self, Lock};
use crate::interrupt::{self, Registered};

use super::store;

/// It goes, with all that is in it, when this does or Ctrl-C ends the program.
pub struct Scratch {
    directory: TempDir,
    _undo: Registered,
    /// Where others look for what was left: this one is not.
    _alive: Option<Lock>,
}

impl Scratch {
    pub fn new(directory: TempDir) -> Self {
        let path = directory.path().to_owned();
        // Nobody is left to tell when the program is being interrupted.
        let undo = interrupt::on_interrupt(move || drop(store::remove(&path)));
        Self { directory, _undo: undo, _alive: None }
    }

    /// One in `parent` whose name begins with `prefix`. Those that killed programs have left there go.
    pub fn tidy(parent: &Path, prefix: &str) -> disk::Result<Self> {
        // Between its making and its lock, a directory looks as if it was left.
        let _one = Lock::existing(parent)?;
        let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        for path in disk::list(parent)?.into_iter().filter(is_ours) {
            match Lock::try_existing(&path) {
                Ok(Some(_dead)) => disk::remove_dir_all(&path)?,
                // Another program is at work in it, or has just ended; or it is another user's, who has to look after it.
                Ok(None) => {}
                Err(error) if error.is_not_found() || error.is_denied() => {}
                Err(error) => return Err(error),
            }
        }
        let directory = disk::temp_dir_named(parent, prefix)?;
        let alive = Lock::existing(directory.path())?;
        Ok(Self { _alive: Some(alive), ..Self::new(directory) })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_program_has_left_goes_and_what_a_living_one_has_stays() {
        let parent = tempfile::tempdir().unwrap();
        let (dead, other) = (parent.path().join(".rave-x-dead"), parent.path().join("uploads"));
        for path in [&dead, &other] {
            disk::create_dir_all(path).unwrap();
            disk::write(path.join("user-data"), b"secret", 0o400).unwrap();
        }
        let first = Scratch::tidy(parent.path(), ".rave-x-").unwrap();
        assert!(!disk::exists(&dead) && disk::exists(&other) && disk::exists(first.path()));
        let second = Scratch::tidy(parent.path(), ".rave-x-").unwrap();
        assert!(disk::exists(first.path()) && first.path() != second.path());
        let path = first.path().to_owned();
        drop(first);
        assert!(!disk::exists(&path) && disk::exists(second.path()));
    }
}
