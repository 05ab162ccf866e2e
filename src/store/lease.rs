//! Which objects a live process uses.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::disk::{self, Lock};

/// The list of what one open store handed out, in a file that is locked for as long as it counts.
#[derive(Debug)]
pub(super) struct Lease {
    directory: PathBuf,
    held: BTreeSet<Digest>,
    file: Option<Lock>,
}

impl Lease {
    /// An empty lease; its file is made when the first object is held.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, held: BTreeSet::new(), file: None }
    }

    /// Adds one object, which gc then keeps.
    pub fn hold(&mut self, digest: Digest) -> disk::Result<()> {
        if self.held.contains(&digest) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Lock::exclusive(disk::unique_name(&self.directory)?)?),
        };
        // A line break on both sides: what a full disk cut off before must not spoil this line.
        file.append(format!("\n{digest}\n").as_bytes())?;
        self.held.insert(digest);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // A file that stays is unlocked from now on, and the next gc removes it.
            drop(file.remove());
        }
    }
}

/// What all live processes use. Files of the dead are removed.
///
/// The caller holds the store's lock whole, so that nobody adds to a list meanwhile.
pub(super) fn in_use(directory: &std::path::Path) -> disk::Result<BTreeSet<Digest>> {
    let mut digests = BTreeSet::new();
    for path in disk::list(directory)? {
        match Lock::try_exclusive(&path)? {
            Some(dead) => dead.remove()?,
            None => digests.extend(lines(&path)?),
        }
    }
    Ok(digests)
}

/// The digests of a live list; it may vanish, when its process ends.
fn lines(path: &std::path::Path) -> disk::Result<Vec<Digest>> {
    match disk::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let mut lease = Lease::new(dir.path().to_owned());
        lease.hold(one).unwrap();
        lease.file.as_mut().unwrap().append(b"0123abc").unwrap();
        lease.hold(two).unwrap();
        assert_eq!(in_use(dir.path()).unwrap(), BTreeSet::from([one, two]));
        drop(lease);
        assert_eq!(in_use(dir.path()).unwrap(), BTreeSet::new());
    }
}
