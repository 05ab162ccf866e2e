//! Finished files go to their places: all of them or, after an error, none that is new.

use std::path::{Path, PathBuf};

use crate::disk;
use crate::export::{Exported, Record};
use crate::images::Manifest;
use crate::interrupt;

use super::super::{Result, failure};

/// What was done to one file's place, and what was there.
struct Place {
    to: PathBuf,
    record: Option<Vec<u8>>,
    is_replaced: bool,
    is_moved: bool,
}

/// Moves the files to their places, each with its record. After an error what is new goes again; what was there has its
/// own record beside it, whether it had been replaced by then or not.
pub fn publish(made: &[Exported], manifest: &Manifest, output: &Path) -> Result<Vec<Record>> {
    // What takes long may be interrupted, what follows is done in a moment.
    made.iter().try_for_each(|exported| disk::sync(&exported.path))?;
    let _whole = interrupt::leave_to_machine();
    let mut places = Vec::new();
    move_all(made, manifest, output, &mut places).map_err(|why| match undo(&places) {
        Ok(()) => why,
        Err(error) => why.hint(format!("what is new there has to be removed by hand: {}", failure::chain(&error))),
    })
}

fn move_all(made: &[Exported], manifest: &Manifest, output: &Path, places: &mut Vec<Place>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for exported in made {
        let record = Record::new(exported, manifest);
        let to = output.join(&record.file);
        let before = Record::path(&to);
        let before = disk::exists(&before).then(|| disk::read(&before)).transpose()?;
        let mut place = Place { is_replaced: disk::exists(&to), to, record: before, is_moved: false };
        let moved = move_one(exported, &record, &place.to);
        place.is_moved = moved.is_ok();
        places.push(place);
        moved?;
        records.push(record);
    }
    disk::sync(output)?;
    Ok(records)
}

/// The record goes first: a file without one could not be replaced if the machine stopped in between.
fn move_one(exported: &Exported, record: &Record, to: &Path) -> Result<()> {
    disk::write_atomic(Record::path(to), &record.to_json()?, 0o644)?;
    Ok(disk::rename(&exported.path, to)?)
}

/// Takes away what is new, and gives what is not the record that belongs to it.
fn undo(places: &[Place]) -> disk::Result<()> {
    let back = |place: &Place| {
        if place.is_moved {
            disk::remove_file(&place.to)?;
        }
        let beside = Record::path(&place.to);
        match &place.record {
            Some(record) => disk::write_atomic(&beside, record, 0o644),
            None => disk::remove_file(&beside),
        }
    };
    let new = places.iter().rev().filter(|place| !(place.is_moved && place.is_replaced));
    // All of them, also after one that cannot be; the first error is told.
    new.map(back).fold(Ok(()), disk::Result::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::export::Format;
    use crate::images::fixture::manifest;
    use crate::images::manifest::Blob;

    fn made(from: &Path, format: Format, name: &str, content: &str) -> Exported {
        let path = from.join(name);
        disk::write_atomic(&path, content.as_bytes(), 0o644).unwrap();
        let blob = Blob { sha256: Digest::of(content.as_bytes()), size: content.len() as u64 };
        Exported { format, path, blob, disk_size: None, sector_size: 512 }
    }

    #[test]
    fn after_an_error_nothing_new_is_there_and_what_was_there_has_its_own_record() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let all = |content: &str| {
            [(Format::Raw, "a.raw"), (Format::Uki, "b.efi"), (Format::Vhd, "c.vhd")]
                .map(|(format, name)| made(from.path(), format, name, content))
        };
        let publish = |made: &[Exported]| publish(made, &manifest(), to.path());
        let digest = |name: &str| {
            let json = disk::read(to.path().join(format!("{name}.json"))).unwrap();
            serde_json::from_slice::<Record>(&json).unwrap().sha256
        };
        let has = |name: &str, content: &str| {
            disk::read(to.path().join(name)).unwrap() == content.as_bytes()
                && digest(name) == Digest::of(content.as_bytes())
        };

        // A directory cannot be replaced by a file.
        let stands = to.path().join("c.vhd");
        disk::create_dir_all(stands.join("in the way")).unwrap();
        assert!(publish(&all("1")).is_err());
        assert_eq!(disk::list(to.path()).unwrap(), std::slice::from_ref(&stands));

        assert_eq!(publish(&all("1")[..1]).unwrap().len(), 1);
        assert!(publish(&all("2")).is_err());
        assert!(has("a.raw", "2") && disk::list(to.path()).unwrap().len() == 3, "what was replaced stays whole");

        disk::remove_dir_all(&stands).unwrap();
        assert_eq!(publish(&all("3")).unwrap().len(), 3);
        disk::remove_file(to.path().join("b.efi")).unwrap();
        disk::create_dir_all(to.path().join("b.efi/in the way")).unwrap();
        assert!(publish(&all("4")[1..]).is_err());
        assert!(digest("b.efi") == Digest::of(b"3") && has("c.vhd", "3"), "the old record is back");
    }
}
