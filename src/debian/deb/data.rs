//! The content of a package, member by member.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::limit::Limited;
use super::{MEMBERS, Problem};

/// The longest path of a member, in bytes.
const PATH_LIMIT: usize = 4000;
/// The most parts of a path: each is looked up for each member. Debian's deepest paths have some 20.
const DEPTH_LIMIT: usize = 128;
/// The longest part of a path, in bytes.
const NAME_LIMIT: usize = 255;
/// The longest description of one member, in bytes: header, long names and extensions, which are held in memory.
const DESCRIPTION_LIMIT: u64 = 1 << 20;
/// The largest sum of all paths, in bytes, which are held in memory; Debian's largest packages have some 10 MB.
const PATHS_LIMIT: usize = 64 << 20;
/// Ids above are not the archive's to give (Debian Policy, 9.2.2).
const ID_LIMIT: u64 = 65535;

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, relative to the root: normal, without `.` and `..`. Empty for the root itself.
    pub path: PathBuf,
    /// What.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Last change, in seconds since 1970.
    pub mtime: i64,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file of this many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link with its target, which may lie anywhere.
    Symlink(PathBuf),
    /// Another name for a file that came earlier in the same archive.
    HardLink(PathBuf),
}

impl Entry {
    /// Whether running it gives its owner's or group's rights.
    pub fn is_privileged(&self) -> bool {
        matches!(self.kind, Kind::File(_)) && self.mode & 0o6000 != 0
    }
}

/// An error of the archive, or of the visitor.
pub enum Stop<E> {
    Archive(Problem),
    Visitor(E),
}

impl<E> Stop<E> {
    pub fn or(self, of_archive: impl FnOnce(Problem) -> E) -> E {
        match self {
            Self::Archive(problem) => of_archive(problem),
            Self::Visitor(error) => error,
        }
    }
}

impl<E> From<Problem> for Stop<E> {
    fn from(problem: Problem) -> Self {
        Self::Archive(problem)
    }
}

/// What a path was seen to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    File,
    Directory,
    Symlink,
}

/// What was seen of an archive so far.
#[derive(Debug, Default)]
struct Seen {
    paths: BTreeMap<PathBuf, Was>,
    /// Sum of the paths' lengths.
    bytes: usize,
}

/// Gives every member to `visit`, having checked it.
pub fn walk<R: Read, E>(
    reader: &mut Limited<R>,
    mut visit: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), Stop<E>> {
    let allowance = reader.allowance();
    let mut archive = tar::Archive::new(&mut *reader);
    let mut seen = Seen::default();
    let mut walk = || -> io::Result<Result<(), Stop<E>>> {
        allowance.set(DESCRIPTION_LIMIT);
        for member in archive.entries()? {
            let mut member = member?;
            allowance.set(u64::MAX);
            let entry = match checked(&member, &mut seen) {
                Ok(entry) => entry,
                Err(problem) => return Ok(Err(problem.into())),
            };
            let mut tap = Tap { inner: &mut member, failed: None };
            let visited = visit(&entry, &mut tap);
            // A failure to read comes back as the visitor's own error; the archive's fault goes first.
            if let Some(error) = tap.failed {
                return Err(error);
            }
            if let Err(error) = visited {
                return Ok(Err(Stop::Visitor(error)));
            }
            // What the visitor left is no description.
            drain(&mut member)?;
            allowance.set(DESCRIPTION_LIMIT);
        }
        allowance.set(u64::MAX);
        Ok(Ok(()))
    };
    let walked = walk();
    // What follows the archive's end holds the checksum of the compression.
    let walked = walked.and_then(|result| if result.is_ok() { drain(reader).map(|()| result) } else { Ok(result) });
    walked.unwrap_or_else(|error| Err(reader.problem(error).into()))
}

fn drain(reader: &mut impl Read) -> io::Result<()> {
    io::copy(reader, &mut io::sink()).map(drop)
}

/// Remembers that reading the archive failed, so that it is not taken for a failure to write.
struct Tap<'a, R> {
    inner: &'a mut R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Tap<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let (kind, text) = (error.kind(), error.to_string());
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            io::Error::new(kind, text)
        })
    }
}

fn checked<R: Read>(member: &tar::Entry<'_, R>, seen: &mut Seen) -> Result<Entry, Problem> {
    let header = member.header();
    let raw = member.path_bytes();
    let refuse = |reason| Problem::Name { name: String::from_utf8_lossy(&raw).into_owned(), reason };
    let path = normal(&raw).map_err(refuse)?;
    let link = || member.link_name_bytes().filter(|target| !target.is_empty());
    let (kind, kind_seen) = match header.entry_type() {
        tar::EntryType::Regular => (Kind::File(member.size()), Was::File),
        tar::EntryType::Directory => (Kind::Directory, Was::Directory),
        tar::EntryType::Symlink => {
            let target = link().ok_or_else(|| refuse("is a link without a target"))?;
            if target.len() > PATH_LIMIT || target.iter().any(|b| matches!(b, 0 | b'\n')) {
                return Err(refuse("is a link whose target is too long or has NUL or a line break"));
            }
            (Kind::Symlink(OsStr::from_bytes(&target).into()), Was::Symlink)
        }
        tar::EntryType::Link => {
            let target = link().ok_or_else(|| refuse("is a link without a target"))?;
            let target = normal(&target).ok().filter(|target| seen.paths.get(target) == Some(&Was::File));
            let target = target.ok_or_else(|| refuse("is a hard link to something that is not an earlier file"))?;
            (Kind::HardLink(target), Was::File)
        }
        tar::EntryType::Block | tar::EntryType::Char => return Err(refuse("is a device")),
        tar::EntryType::Fifo => return Err(refuse("is a named pipe")),
        _ => return Err(refuse("is neither a file nor a directory nor a link")),
    };
    for ancestor in path.ancestors().skip(1) {
        match seen.paths.get(ancestor) {
            Some(Was::Symlink) => return Err(refuse("lies behind a symbolic link of the same package")),
            Some(Was::File) => return Err(refuse("lies below a file")),
            Some(Was::Directory) | None => {}
        }
    }
    if path.as_os_str().is_empty() && kind != Kind::Directory {
        return Err(refuse("is the root, but not a directory"));
    }
    seen.bytes = seen.bytes.saturating_add(path.as_os_str().len());
    if seen.paths.len() == MEMBERS || seen.bytes > PATHS_LIMIT {
        return Err(refuse("is one too many"));
    }
    if seen.paths.insert(path.clone(), kind_seen).is_some() {
        return Err(refuse("is there twice"));
    }
    let id = |id: io::Result<u64>| id.ok().filter(|id| *id <= ID_LIMIT).and_then(|id| u32::try_from(id).ok());
    Ok(Entry {
        path,
        kind,
        mode: header.mode().map_err(|_| refuse("has no valid mode"))? & 0o7777,
        uid: id(header.uid()).ok_or_else(|| refuse("has no valid owner"))?,
        gid: id(header.gid()).ok_or_else(|| refuse("has no valid group"))?,
        mtime: header.mtime().ok().and_then(|t| i64::try_from(t).ok()).ok_or_else(|| refuse("has no valid time"))?,
    })
}

/// The path as it will be used, or what is wrong with it. `./` in front and `/` at the end are customary.
fn normal(raw: &[u8]) -> Result<PathBuf, &'static str> {
    if raw.iter().any(|b| matches!(b, 0 | b'\n')) {
        return Err("has NUL or a line break in its name");
    }
    if raw.len() > PATH_LIMIT {
        return Err("has too long a name");
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(raw)).components() {
        match component {
            Component::Normal(part) if part.len() > NAME_LIMIT => return Err("has too long a name"),
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("has .. in its name"),
            Component::RootDir | Component::Prefix(_) => return Err("has an absolute name"),
        }
    }
    if path.components().count() > DEPTH_LIMIT {
        return Err("is nested too deeply");
    }
    Ok(path)
}
