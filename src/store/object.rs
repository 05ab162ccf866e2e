//! Names of objects, and the paths that follow from them.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::digest::Digest;
use crate::disk::{self, Lock};

/// Content of the version marker.
const VERSION: &str = "rave store 1\n";

/// A kind of object, named by the room that makes it. Kinds share nothing: the same digest may name an
/// object of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    name: &'static str,
    by: By,
}

/// What an object's digest is the digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// Of all that its content follows from.
    Inputs,
    /// Of its content.
    Content,
}

impl Kind {
    /// Objects whose digest is that of the inputs they were made from.
    ///
    /// # Panics
    /// At compile time, when assigned to a constant: a name has lower-case ASCII letters, and digits after the first.
    pub const fn step(name: &'static str) -> Self {
        Self::new(name, By::Inputs)
    }

    /// Files whose digest is their own SHA-256; the store refuses any other content.
    ///
    /// # Panics
    /// As [`Kind::step`].
    pub const fn blob(name: &'static str) -> Self {
        Self::new(name, By::Content)
    }

    const fn new(name: &'static str, by: By) -> Self {
        assert!(is_kind(name), "a kind is named by lower-case letters and digits");
        Self { name, by }
    }

    /// The name, which is also that of a directory.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn by(&self) -> By {
        self.by
    }
}

/// Kind and digest of one object, as found on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub kind: String,
    pub digest: Digest,
}

impl Name {
    pub fn new(kind: Kind, digest: Digest) -> Self {
        Self { kind: kind.name.to_owned(), digest }
    }

    /// The name in one word, for files.
    fn flat(&self) -> String {
        format!("{}-{}", self.kind, self.digest)
    }

    /// What [`Name::flat`] was made from; nothing for other words.
    pub fn parse(flat: &str) -> Option<Self> {
        let (kind, digest) = flat.split_once('-')?;
        is_kind(kind).then_some(Self { kind: kind.to_owned(), digest: digest.parse().ok()? })
    }
}

const fn is_kind(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_lowercase() && (at == 0 || !bytes[at].is_ascii_digit()) {
            return false;
        }
        at += 1;
    }
    at > 0
}

/// For people: kind and the first digits.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.digest.short())
    }
}

/// The directory that holds one object and its record, in place or in the making.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn parent(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    pub fn content(&self) -> PathBuf {
        self.0.join("content")
    }

    pub fn record(&self) -> PathBuf {
        self.0.join("record")
    }

    /// Whether both parts are there; they come together, but may not stay together.
    pub fn is_whole(&self) -> bool {
        disk::exists(self.record()) && disk::exists(self.content())
    }

    /// Waits until the content is on the disk. One call for a whole tree: one for each of its files would
    /// wait for the disk as many times.
    pub fn flush(&self) -> disk::Result<()> {
        let content = self.content();
        if disk::metadata(&content)?.is_file() { disk::sync(content) } else { disk::sync_file_system(self.path()) }
    }
}

/// The paths of a store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes or checks the directories.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let this = Self { root: root.to_owned() };
        if !disk::exists(root) {
            disk::create_private_dir(root)?;
        }
        // Through a link to it, too.
        this.check_owner()?;
        this.check_version()?;
        for directory in ["objects", "staging", "partial", "users", "pins", "damaged"] {
            disk::create_dir_all(root.join(directory))?;
        }
        Ok(this)
    }

    fn check_owner(&self) -> Result<(), Error> {
        let found = disk::context("examine", &self.root, disk::open(&self.root)?.metadata())?;
        let me = rustix::process::geteuid().as_raw();
        let foreign = found.uid() != me && found.uid() != 0 && me != 0;
        if foreign || found.mode() & 0o002 != 0 {
            return Err(Error::Exposed(self.root.clone()));
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), Error> {
        let marker = self.root.join("version");
        match disk::read_to_string(&marker) {
            Ok(found) if found == VERSION => Ok(()),
            Ok(found) => Err(Error::Version {
                path: self.root.clone(),
                found: found.trim().chars().take(40).collect(),
                known: VERSION.trim_ascii(),
            }),
            Err(error) if error.is_not_found() => {
                // Temporary names are those of a marker whose writer was killed.
                let temporary =
                    |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".rave-"));
                let strangers = disk::list(&self.root)?.into_iter().filter(|path| !temporary(path));
                // Another process may have begun the same store a moment ago.
                if strangers.count() > 0 && !disk::exists(&marker) {
                    return Err(Error::NotAStore(self.root.clone()));
                }
                Ok(disk::write_atomic(&marker, VERSION.as_bytes(), 0o644)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn users(&self) -> PathBuf {
        self.root.join("users")
    }

    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub fn home(&self, name: &Name) -> Home {
        Home(self.root.join("objects").join(&name.kind).join(name.digest.to_string()))
    }

    pub fn staging(&self, name: &Name) -> Home {
        Home(self.root.join("staging").join(name.flat()))
    }

    /// The lock of who works on an object.
    pub fn turn(&self, name: &Name) -> PathBuf {
        self.root.join("staging").join(format!("{}.lock", name.flat()))
    }

    pub fn partial(&self, name: &Name) -> PathBuf {
        self.root.join("partial").join(name.flat())
    }

    pub fn damaged(&self, name: &Name) -> Home {
        Home(self.root.join("damaged").join(name.flat()))
    }

    /// All objects in place, sorted.
    pub fn objects(&self) -> Result<Vec<Name>, Error> {
        let mut names = Vec::new();
        for directory in disk::list(self.root.join("objects"))? {
            let kind = last_part(&directory);
            if !is_kind(&kind) {
                continue;
            }
            let digests = disk::list(&directory)?;
            let digests = digests.iter().filter_map(|path| last_part(path).parse().ok());
            names.extend(digests.map(|digest| Name { kind: kind.clone(), digest }));
        }
        Ok(names)
    }

    /// All begun downloads.
    pub fn partials(&self) -> Result<Vec<Name>, Error> {
        Ok(self.flat_names("partial")?.into_iter().collect())
    }

    fn flat_names(&self, directory: &str) -> Result<std::collections::BTreeSet<Name>, Error> {
        let paths = disk::list(self.root.join(directory))?;
        let name = |path: &PathBuf| {
            let part = last_part(path);
            Name::parse(part.strip_suffix(".lock").unwrap_or(&part))
        };
        Ok(paths.iter().filter_map(name).collect())
    }

    /// Removes the staging of objects that nobody works on any more; returns what could not be removed.
    pub fn sweep(&self, remove: super::Remove) -> Result<Vec<disk::Error>, Error> {
        let mut failures = Vec::new();
        for name in self.flat_names("staging")? {
            let Some(turn) = Lock::try_exclusive(self.turn(&name))? else { continue };
            match remove(self.staging(&name).path()) {
                Ok(()) => turn.remove()?,
                Err(error) => failures.push(error),
            }
        }
        Ok(failures)
    }
}

/// The last part of a path; names that are not UTF-8 are nobody's.
pub(super) fn last_part(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}
