//! A private directory for what a command makes on its way.

use std::path::Path;

use tempfile::TempDir;

use crate::interrupt::{self, Registered};

use super::store;

/// It goes, with all that is in it, when this does or Ctrl-C ends the program.
pub struct Scratch {
    directory: TempDir,
    _undo: Registered,
}

impl Scratch {
    pub fn new(directory: TempDir) -> Self {
        let path = directory.path().to_owned();
        // Nobody is left to tell when the program is being interrupted.
        let undo = interrupt::on_interrupt(move || drop(store::remove(&path)));
        Self { directory, _undo: undo }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}
