//! Generations of secrets: each a directory that is written whole before a link is turned to it, so that nobody ever
//! sees half of one.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Place};
use crate::disk;
use crate::disk::dir::Dir;
use crate::secrets::Secret;

/// Anybody may pass through to a file that is theirs; only root may list.
const DIRECTORY: u32 = 0o751;

/// One file of a generation.
#[derive(Debug)]
pub struct File {
    /// Folder and name below the generation; no folder for secrets.
    pub folder: &'static str,
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Secret,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// How a file differs from that of the generation before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Its bytes do, or it is new.
    pub content: bool,
    /// Its owner, group or mode does.
    pub access: bool,
}

impl Change {
    /// Whether there is any difference.
    pub fn any(self) -> bool {
        self.content || self.access
    }
}

impl File {
    fn below(&self, generation: &Path) -> PathBuf {
        generation.join(self.folder).join(&self.name)
    }

    /// Holds the file against a generation.
    pub fn change(&self, generation: &Path) -> Result<Change, Error> {
        let path = self.below(generation);
        let found = match disk::metadata(&path) {
            Err(error) if error.is_not_found() => return Ok(Change { content: true, access: true }),
            found => found?,
        };
        let old = Secret::new(disk::read(&path)?);
        let access = (found.uid(), found.gid(), found.mode() & 0o7777) != (self.uid, self.gid, self.mode);
        Ok(Change { content: old != self.bytes, access })
    }
}

/// The generation that the link leads to.
pub fn current(place: &Place) -> Result<Option<PathBuf>, Error> {
    let target = match disk::read_link(&place.link) {
        Err(error) if error.is_not_found() => return Ok(None),
        target => target?,
    };
    let generation = target.file_name().map(|name| place.storage.join(name));
    Ok(generation.filter(|generation| disk::exists(generation)))
}

/// The number of a generation.
pub fn number(generation: &Path) -> Option<u64> {
    generation.file_name()?.to_str()?.parse().ok()
}

/// How many files a generation has.
pub fn count(generation: &Path) -> Result<usize, Error> {
    let mut files = 0;
    for path in disk::list(generation)? {
        files += if disk::metadata(&path)?.is_dir() { disk::list(&path)?.len() } else { 1 };
    }
    Ok(files)
}

/// Writes a new generation, turns the link to it and removes all others. Returns its number.
pub fn write<'a>(place: &Place, files: impl IntoIterator<Item = &'a File>) -> Result<u64, Error> {
    let number = numbers(place)?.into_iter().map(|(number, _)| number).max().unwrap_or(0) + 1;
    let name = number.to_string();
    let path = place.storage.join(&name);
    if let Err(error) = fill(place, OsStr::new(&name), files) {
        // What there is of it is of no use; the next run would remove it too.
        let _ = disk::remove_dir_all(&path);
        return Err(error);
    }
    disk::replace_symlink(place.target().join(&name), &place.link)?;
    for (_, old) in numbers(place)?.into_iter().filter(|(other, _)| *other != number) {
        disk::remove_dir_all(old)?;
    }
    Ok(number)
}

fn fill<'a>(place: &Place, name: &OsStr, files: impl IntoIterator<Item = &'a File>) -> Result<(), Error> {
    let storage = Dir::open(&place.storage)?;
    storage.make_dir(name)?;
    storage.set_mode(name, DIRECTORY)?;
    // By path, as nobody but root can put a link here: openat2(2) is refused to whom RestrictSUIDSGID= watches.
    let generation = Dir::open(place.storage.join(name))?;
    for file in files {
        if !file.folder.is_empty() && generation.make_dir(OsStr::new(file.folder))? {
            generation.set_mode(OsStr::new(file.folder), DIRECTORY)?;
        }
        let (folder, name) = (Dir::open(generation.path().join(file.folder))?, OsStr::new(&file.name));
        let mut new = folder.create_new(name)?;
        disk::context("write", folder.path().join(name), new.write_all(file.bytes.expose()))?;
        // Root gives it away last: nobody else may change it before it is complete.
        folder.set_mode(name, file.mode)?;
        folder.set_owner(name, file.uid, file.gid)?;
    }
    Ok(())
}

/// All generations, also those that were never finished.
fn numbers(place: &Place) -> Result<Vec<(u64, PathBuf)>, Error> {
    let numbered = |path: PathBuf| Some((number(&path)?, path));
    Ok(disk::list(&place.storage)?.into_iter().filter_map(numbered).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &str, mode: u32) -> File {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        File { folder: "", name: name.to_owned(), bytes: bytes.into(), uid, gid, mode }
    }

    #[test]
    fn a_generation_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::below(dir.path());
        disk::create_dir_all(&place.storage).unwrap();
        assert_eq!(current(&place).unwrap(), None);
        let rendered = File { folder: "rendered", ..file("conf", "x=hunter2", 0o440) };
        assert_eq!(write(&place, &[file("db", "hunter2", 0o400), rendered]).unwrap(), 1);
        let mode = |path: &str| disk::metadata(place.link.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode(""), mode("db"), mode("rendered"), mode("rendered/conf")), (0o751, 0o400, 0o751, 0o440));
        // The link leads to the same place for whoever sees the machine below another directory.
        assert!(disk::read_link(&place.link).unwrap().is_relative());
        let first = current(&place).unwrap().unwrap();
        assert_eq!(count(&first).unwrap(), 2);
        let change = |bytes: &str, mode: u32| file("db", bytes, mode).change(&first).unwrap();
        assert_eq!(change("hunter2", 0o400), Change::default());
        assert_eq!(change("hunter3", 0o400), Change { content: true, access: false });
        assert_eq!(change("hunter2", 0o440), Change { content: false, access: true });
        assert!(file("new", "", 0o400).change(&first).unwrap().any());

        // What a run that was cut off has left.
        disk::create_dir_all(place.storage.join("7")).unwrap();
        assert_eq!(write(&place, &[file("db", "hunter3", 0o400)]).unwrap(), 8);
        assert_eq!(disk::read(place.link.join("db")).unwrap(), b"hunter3");
        assert_eq!(disk::list(&place.storage).unwrap(), [place.storage.join("8")]);
    }

    #[test]
    fn a_generation_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::below(dir.path());
        disk::create_dir_all(&place.storage).unwrap();
        write(&place, &[file("db", "old", 0o400)]).unwrap();
        let twice = [file("db", "new", 0o400), file("db", "new", 0o400)];
        assert!(matches!(write(&place, &twice), Err(Error::Disk(_))));
        assert_eq!(disk::read(place.link.join("db")).unwrap(), b"old");
        assert_eq!(disk::list(&place.storage).unwrap(), [place.storage.join("1")]);
    }
}
