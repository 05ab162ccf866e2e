//! Blocks of a disk, several at once; those that are written are noted, so that an upload goes on where it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::act::{Error, Result};
use super::blocks::{self, Block};
use super::run::Runner;
use super::step::{Call, Slot};
use crate::disk;

/// How many blocks are on their way at once.
const AT_ONCE: usize = 8;
/// So many blocks are forgotten at most if rave is killed.
const NOTED: usize = 32;

/// The lock of whoever works on an upload, beside the note on it.
pub fn lock(note: &Path) -> PathBuf {
    note.with_extension("lock")
}

impl Runner<'_> {
    /// Where it is noted which blocks of a snapshot are written.
    pub(super) fn note(&self) -> Option<PathBuf> {
        self.values.get(&Slot::Snapshot).map(|id| self.hands.notes().join(id))
    }

    pub(super) fn blocks(&self, call: &Call, all: &[Block]) -> Result<()> {
        let Some(note) = self.note() else { return Ok(()) };
        let known = match disk::read_to_string(&note) {
            Err(error) if error.is_not_found() => String::new(),
            text => text?,
        };
        let written: BTreeSet<u64> = known.lines().filter_map(|line| line.parse().ok()).collect();
        let left: Vec<&Block> = all.iter().filter(|block| !written.contains(&block.index)).collect();
        if !written.is_empty() {
            self.hands.say(&format!("{} of {} blocks are there already", all.len() - left.len(), all.len()));
        }
        let (next, written) = (AtomicUsize::new(0), Mutex::new((written, None::<Error>)));
        let file = self.values.get(&Slot::File).map(PathBuf::from).unwrap_or_default();
        let lock = || written.lock().unwrap_or_else(PoisonError::into_inner);
        let save = |written: &BTreeSet<u64>| -> Result<()> {
            let lines: String = written.iter().map(|index| format!("{index}\n")).collect();
            Ok(disk::write_atomic(&note, lines.as_bytes(), 0o600)?)
        };
        let work = || -> Result<()> {
            while let Some(block) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
                if lock().1.is_some() {
                    break;
                }
                self.block(call, &file, block)?;
                let mut state = lock();
                state.0.insert(block.index);
                if state.0.len().is_multiple_of(NOTED) {
                    save(&state.0)?;
                    self.hands.say(&format!("{} of {} blocks", state.0.len(), all.len()));
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(left.len()) {
                scope.spawn(|| {
                    if let Err(error) = work() {
                        lock().1.get_or_insert(error);
                    }
                });
            }
        });
        let (written, failed) = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        save(&written)?;
        failed.map_or(Ok(()), Err)
    }

    fn block(&self, call: &Call, file: &Path, block: &Block) -> Result<()> {
        let path = self.hands.scratch().join(format!("block-{}", block.index));
        disk::write(&path, &blocks::read(file, block.index)?, 0o600)?;
        let mut values = self.values.clone();
        values.extend([
            (Slot::Block, path.display().to_string()),
            (Slot::Index, block.index.to_string()),
            (Slot::Checksum, block.checksum()),
        ]);
        let put = self.ask(call, &values);
        disk::remove_file(&path)?;
        put.map(drop)
    }
}
