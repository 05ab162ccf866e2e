//! What packages brought, less what does not ship, plus what modules ask for: the root file system's final
//! content, as one deterministic tar stream. Pure but for reading the archive.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::PackageName;
use crate::system::{Baseline, System};
use crate::tree::{Content, Entry, Globs};

use super::archive::{Archive, Kind, Member, resolve_parent};
use super::baseline;
use super::error::Error;
use super::owned::Owned;

/// Where the state that packages ship in /var is kept, to be copied to an empty /var by systemd-tmpfiles.
pub const FACTORY: &str = "/usr/share/factory";

/// Directories that must exist as mount points and way marks, with their modes.
const MOUNT_POINTS: [(&str, u32); 7] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/etc", 0o755),
];

/// The set-user-id and set-group-id bits.
const SET_ID: u32 = 0o6000;

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bytes {
    /// A part of the packages' archive.
    Archive {
        /// Byte offset.
        offset: u64,
        /// Length.
        size: u64,
    },
    /// Memory.
    Inline(Vec<u8>),
    /// The running rave itself.
    Rave,
}

/// What one path finally is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Bytes),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(String),
}

/// One path of the finished root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Final {
    /// What it is.
    pub node: Node,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The option that put it there.
    pub option: Option<String>,
    /// The package that brought it.
    pub package: Option<PackageName>,
}

/// The finished root file system by absolute path.
pub type Finals = BTreeMap<String, Final>;

/// Puts everything together.
pub fn unite(archive: &Archive, owned: &Owned, system: &System) -> Result<Finals, Error> {
    let mut finals = shipped(archive, owned, system)?;
    let owners = Owners::read(archive)?;
    for (path, entry) in &system.tree {
        place(&mut finals, path.as_str(), entry, &owners)?;
    }
    insert(&mut finals, "/usr/bin/rave", Final::root(Node::File(Bytes::Rave), 0o755))?;
    let release = os_release(archive, system)?;
    insert(&mut finals, "/usr/lib/os-release", Final::root(Node::File(Bytes::Inline(release)), 0o644))?;
    for (path, mode) in MOUNT_POINTS {
        finals.entry(path.to_owned()).or_insert_with(|| Final::root(Node::Directory, mode));
    }
    empty(&mut finals, &["/dev", "/proc", "/run", "/sys", "/tmp", "/boot"]);
    let baseline = baseline::text(archive, owned, system, &finals)?;
    insert(&mut finals, Baseline::PATH, Final::root(Node::File(Bytes::Inline(baseline)), 0o644))?;
    factory(&mut finals);
    add_parents(&mut finals)?;
    Ok(finals)
}

/// `os-release` of the image, naming it and its version (os-release(5)).
pub fn os_release(archive: &Archive, system: &System) -> Result<Vec<u8>, Error> {
    let mut text = String::from_utf8_lossy(&archive.read("/usr/lib/os-release")?).into_owned();
    text.push_str(&format!("IMAGE_ID={}\nIMAGE_VERSION={}\n", system.name, system.version));
    Ok(text.into_bytes())
}

impl Final {
    fn root(node: Node, mode: u32) -> Self {
        Self { node, mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), option: None, package: None }
    }

    fn of(member: &Member, node: Node, package: Option<PackageName>) -> Self {
        let Member { mode, uid, gid, ref xattrs, .. } = *member;
        Self { node, mode, uid, gid, xattrs: xattrs.clone(), option: None, package }
    }
}

/// The archive's members that ship.
fn shipped(archive: &Archive, owned: &Owned, system: &System) -> Result<Finals, Error> {
    let excluded = Globs::new(&system.exclude);
    let build_only = owned.only(&system.build_only, archive)?;
    let started = owned.starts(&system.starts, archive);
    let owners = owned.owners();
    let mut finals = Finals::new();
    let mut bereft = BTreeSet::new();
    for (path, member) in &archive.members {
        let starts = started.get(path).is_some_and(|(unit, _)| !excluded.matches(unit));
        if (excluded.matches(path) && !starts) || build_only.contains(path) {
            bereft.insert(parent(path).to_owned());
            continue;
        }
        let node = match &member.kind {
            Kind::File { offset, size } => Node::File(Bytes::Archive { offset: *offset, size: *size }),
            Kind::Directory => Node::Directory,
            Kind::Symlink(target) => Node::Symlink(target.clone()),
            Kind::Hardlink(first) => match archive.members.get(first).map(|member| &member.kind) {
                Some(Kind::File { offset, size }) => Node::File(Bytes::Archive { offset: *offset, size: *size }),
                _ => return Err(Error::Root { what: format!("{path} is a second name of {first}, which is no file") }),
            },
        };
        let mut item = Final::of(member, node, owners.get(path.as_str()).and_then(|name| name.parse().ok()));
        if !system.set_id.iter().any(|kept| kept.as_str() == path) && item.node != Node::Directory {
            item.mode &= !SET_ID;
        }
        finals.insert(path.clone(), item);
    }
    remove_bereft(&mut finals, bereft);
    Ok(finals)
}

/// Directories that are empty only because what they held does not ship do not ship either.
fn remove_bereft(finals: &mut Finals, bereft: BTreeSet<String>) {
    for mut path in bereft.into_iter().rev() {
        while path != "/"
            && finals.get(&path).is_some_and(|f| f.node == Node::Directory)
            && children(finals, &path).next().is_none()
        {
            finals.remove(&path);
            path = parent(&path).to_owned();
        }
    }
}

/// Applies one entry of the modules' tree.
fn place(finals: &mut Finals, path: &str, entry: &Entry, owners: &Owners) -> Result<(), Error> {
    let error = |why: String| Error::Place { path: path.to_owned(), why };
    let option = entry.option.as_ref().map(ToString::to_string);
    let node = match &entry.content {
        Content::File(bytes) => Node::File(Bytes::Inline(bytes.clone())),
        Content::Directory => Node::Directory,
        Content::Symlink(target) => Node::Symlink(target.clone()),
        Content::Absent => {
            let path = real_path(finals, path).ok_or_else(|| error("its directory is a loop of links".into()))?;
            remove_below(finals, &path);
            finals.remove(&path);
            return Ok(());
        }
    };
    let uid = owners.user(&entry.owner).ok_or_else(|| error(format!("there is no user {:?}", entry.owner)))?;
    let gid = owners.group(&entry.group).ok_or_else(|| error(format!("there is no group {:?}", entry.group)))?;
    insert(finals, path, Final { node, mode: entry.mode, uid, gid, xattrs: BTreeMap::new(), option, package: None })
}

/// Puts a node at a path, through links in its parents, replacing what was there.
fn insert(finals: &mut Finals, path: &str, item: Final) -> Result<(), Error> {
    let error = |why: &str| Error::Place { path: path.to_owned(), why: why.to_owned() };
    let real = real_path(finals, path).ok_or_else(|| error("its directory is a loop of links"))?;
    if item.node != Node::Directory {
        remove_below(finals, &real);
    }
    finals.insert(real, item);
    Ok(())
}

/// Every directory above a path must be there and be a directory.
fn add_parents(finals: &mut Finals) -> Result<(), Error> {
    let mut missing = BTreeSet::new();
    for path in finals.keys() {
        let mut above = parent(path);
        loop {
            match finals.get(above) {
                Some(item) if item.node == Node::Directory => break,
                Some(_) => {
                    return Err(Error::Place { path: path.clone(), why: format!("{above} is not a directory") });
                }
                None if !missing.insert(above.to_owned()) || above == "/" => break,
                None => above = parent(above),
            }
        }
    }
    finals.extend(missing.into_iter().map(|path| (path, Final::root(Node::Directory, 0o755))));
    Ok(())
}

/// Moves the content of /var to the factory copy and has systemd-tmpfiles(8) make it on an empty /var.
/// Every path gets a line of its own, so that a later version adds what an older one did not have.
fn factory(finals: &mut Finals) {
    let paths: Vec<String> = children(finals, "/var").map(str::to_owned).collect();
    let mut lines = String::from("# What packages ship in /var; made by rave.\n");
    for path in paths {
        let Some(item) = finals.remove(&path) else { continue };
        let name = escape(&path);
        match &item.node {
            Node::Directory => {
                lines.push_str(&format!("d {name} {:04o} {} {} -\n", item.mode, item.uid, item.gid));
                continue;
            }
            Node::Symlink(target) => {
                lines.push_str(&format!("L {name} - - - - {}\n", target.replace('%', "%%")));
                continue;
            }
            Node::File(_) => lines.push_str(&format!("C {name} - - - - {FACTORY}{name}\n")),
        }
        finals.insert(format!("{FACTORY}{path}"), item);
    }
    let item = Final::root(Node::File(Bytes::Inline(lines.into_bytes())), 0o644);
    finals.insert("/usr/lib/tmpfiles.d/00-rave-var.conf".to_owned(), item);
}

/// A path as tmpfiles.d(5) reads it back.
fn escape(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        match c {
            '%' => text.push_str("%%"),
            ' ' => text.push_str("\\x20"),
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\'' => text.push_str("\\'"),
            c => text.push(c),
        }
    }
    text
}

fn empty(finals: &mut Finals, paths: &[&str]) {
    paths.iter().for_each(|path| remove_below(finals, path));
}

fn remove_below(finals: &mut Finals, path: &str) {
    let below: Vec<String> = children(finals, path).map(str::to_owned).collect();
    for path in below {
        finals.remove(&path);
    }
}

fn children<'a>(finals: &'a Finals, path: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let start = prefix.clone();
    finals.range(start..).map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(&prefix))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// The path with links in its directories followed; the last part is left as it is.
fn real_path(finals: &Finals, path: &str) -> Option<String> {
    resolve_parent(path, |path| link(finals, path))
}

/// Where a path points, if it is a link.
pub(super) fn link<'a>(finals: &'a Finals, path: &str) -> Option<&'a str> {
    match &finals.get(path)?.node {
        Node::Symlink(target) => Some(target),
        _ => None,
    }
}

/// Users and groups of the image by name.
struct Owners {
    users: BTreeMap<String, u64>,
    groups: BTreeMap<String, u64>,
}

impl Owners {
    fn read(archive: &Archive) -> Result<Self, Error> {
        Ok(Self { users: ids(&archive.read("/etc/passwd")?), groups: ids(&archive.read("/etc/group")?) })
    }

    fn user(&self, name: &str) -> Option<u64> {
        name.parse().ok().or_else(|| self.users.get(name).copied())
    }

    fn group(&self, name: &str) -> Option<u64> {
        name.parse().ok().or_else(|| self.groups.get(name).copied())
    }
}

/// Names and ids of a file in the form of passwd(5) or group(5).
fn ids(text: &[u8]) -> BTreeMap<String, u64> {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
#[path = "union_tests.rs"]
mod tests;
