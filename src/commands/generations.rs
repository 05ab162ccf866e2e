//! Generations: the builds of an image, newest first. The store keeps all pieces of the newest one, and of those before
//! it the manifests, so that they can be compared.

use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::images::Manifest;
use crate::images::assemble::kind;
use crate::images::plan::Piece;
use crate::name::ImageName;
use crate::store::Store;

use super::project::Named;
use super::{Failure, Result};

/// How many manifests of an image are kept.
const KEPT: usize = 10;

/// The builds of one image that a store knows.
pub struct Generations<'a> {
    store: &'a Store,
    /// The pin of the newest build; those of the manifests add `.` and a number that grows.
    pin: String,
}

impl<'a> Generations<'a> {
    /// Those of the image of this name with this lock.
    pub fn of(store: &'a Store, named: &Named, image: &ImageName) -> Self {
        let place = Canonical::new("rave pin").field(named.lock().to_string_lossy().as_bytes()).finish();
        Self { store, pin: format!("{image}-{}", place.short()) }
    }

    /// Makes a build the newest: its pieces, the manifest among them.
    pub fn add(&self, pieces: &[Digest], manifest: Option<Digest>) -> Result<()> {
        self.store.pin(&self.pin, pieces)?;
        let mut all = self.all()?;
        let Some(manifest) = manifest.filter(|new| all.last().is_none_or(|(_, last)| last != new)) else {
            return Ok(());
        };
        let number = all.last().map_or(1, |(number, _)| number.saturating_add(1));
        self.store.pin(&self.numbered(number), &[manifest])?;
        all.truncate(all.len().saturating_sub(KEPT - 1));
        for (number, _) in all {
            self.store.unpin(&self.numbered(number))?;
        }
        Ok(())
    }

    /// The manifest of the newest build, if the store has it.
    pub fn newest(&self) -> Result<Option<Manifest>> {
        for digest in self.store.pins()?.remove(&self.pin).into_iter().flatten() {
            if let Some(text) = self.manifest(digest)? {
                // A build by another rave may have a manifest of another form.
                return Ok(serde_json::from_slice(&text).ok());
            }
        }
        Ok(None)
    }

    /// How many builds are known.
    pub fn count(&self) -> Result<usize> {
        Ok(self.all()?.len())
    }

    /// The manifest of the build that was the newest `back` builds ago.
    pub fn back(&self, back: usize) -> Result<Option<Manifest>> {
        let all = self.all()?;
        let Some((_, digest)) = all.iter().rev().nth(back) else { return Ok(None) };
        let Some(text) = self.manifest(*digest)? else { return Ok(None) };
        let other = |error| Failure::request(format!("that build is by another rave: {error}"));
        serde_json::from_slice(&text).map(Some).map_err(other)
    }

    fn manifest(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let found = self.store.lookup(kind(Piece::Manifest), digest)?;
        Ok(found.map(disk::read).transpose()?)
    }

    fn numbered(&self, number: u64) -> String {
        format!("{}.{number}", self.pin)
    }

    /// Number and manifest of each build, oldest first.
    fn all(&self) -> Result<Vec<(u64, Digest)>> {
        let number = |name: &str| name.strip_prefix(self.pin.as_str())?.strip_prefix('.')?.parse().ok();
        let pins = self.store.pins()?;
        let mut all: Vec<(u64, Digest)> =
            pins.iter().filter_map(|(name, digests)| Some((number(name)?, *digests.first()?))).collect();
        all.sort_unstable();
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_builds_are_known_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let named = |name: &str| Named { name: name.into(), directory: "/images".into(), typed: name.into() };
        let image = "web".parse().unwrap();
        let (web, other) = (named("web"), named("other"));
        let generations = Generations::of(&store, &web, &image);
        let manifest = |number: u8| Digest::of(&[number]);
        assert_eq!(generations.all().unwrap(), []);
        for number in [1, 2, 2, 1] {
            generations.add(&[manifest(number), Digest::of(b"disk")], Some(manifest(number))).unwrap();
        }
        assert_eq!(generations.all().unwrap(), [(1, manifest(1)), (2, manifest(2)), (3, manifest(1))]);
        for number in 3..20 {
            generations.add(&[manifest(number)], Some(manifest(number))).unwrap();
        }
        let all = generations.all().unwrap();
        assert_eq!((all.len(), all[0], all[KEPT - 1]), (KEPT, (11, manifest(10)), (20, manifest(19))));
        assert_eq!(Generations::of(&store, &other, &image).count().unwrap(), 0);
    }
}
