//! A reader that notices decompression bombs.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::Problem;

/// How much larger than its compressed form content may be. Debian's packages reach about 100.
const RATIO: u64 = 500;
/// What is let through in any case, so that tiny archives of zeros pass.
const SLACK: u64 = 16 << 20;

/// Passes bytes on until there are too many.
pub struct Limited<R> {
    inner: R,
    part: &'static str,
    size: u64,
    limit: u64,
    left: u64,
    exceeded: bool,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Limited<R> {
    /// Bounds what comes from `size` compressed bytes by their number and by `limit`.
    pub fn new(inner: R, part: &'static str, size: u64, limit: u64) -> Self {
        let limit = size.saturating_mul(RATIO).saturating_add(SLACK).min(limit);
        Self { inner, part, size, limit, left: limit, exceeded: false, allowance: Rc::new(Cell::new(u64::MAX)) }
    }

    /// How many more bytes may be read, whoever holds the reader; without bound at first.
    pub fn allowance(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.allowance)
    }

    /// The reason of a failed read.
    pub fn problem(&self, source: io::Error) -> Problem {
        if self.exceeded {
            Problem::Bomb { part: self.part, limit: self.limit, size: self.size }
        } else {
            Problem::Damaged { part: self.part, source }
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.allowance.get().checked_sub(read as u64) {
            Some(left) => self.allowance.set(left),
            None => return Err(io::Error::other("what describes a member is too long")),
        }
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => {
                self.exceeded = true;
                Err(io::Error::other("too much content"))
            }
        }
    }
}
