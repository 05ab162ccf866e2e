//! Programs of the image read their configuration before a machine boots with it: `validate` of modules.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use rayon::prelude::*;

use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::sandbox::{Ids, Sandbox};
use crate::system::Validation;

use super::archive::Archive;
use super::error::Error;
use super::glob::Globs;
use super::union::{Bytes, Finals, Node};

/// Where programs may write: memory that is gone afterwards.
const WRITABLE: [&str; 2] = ["/run", "/var"];
/// Nobody needs kernel modules to read a configuration, and they are a third of all files.
const LEFT_OUT: &str = "/usr/lib/modules/";
/// How long a program may take.
const TIME: Duration = Duration::from_secs(60);
/// How much of what it says is kept, in bytes.
const SAID: usize = 16 << 10;

/// A program cannot read its files.
#[derive(Debug)]
pub struct Refusal {
    /// What is validated.
    pub name: String,
    /// What the program said.
    pub said: String,
    /// The options that its files follow from.
    pub options: BTreeSet<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refuses its configuration", self.name)?;
        if !self.options.is_empty() {
            let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
            write!(f, ", which follows from {}", options.join(", "))?;
        }
        self.said.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Digest of all that the answer follows from; `rootfs` is that of the packages.
pub fn digest(validation: &Validation, rootfs: Digest, finals: &Finals) -> Result<Digest, Error> {
    let mut hash = Canonical::new("rave validate 1");
    hash.field(rootfs.as_bytes()).json(validation).map_err(|error| Error::format("validation", error))?;
    let files = Globs::new(&validation.files);
    for (path, item) in finals.iter().filter(|(path, _)| files.matches(path)) {
        hash.field(path).field(item.mode.to_le_bytes()).field(item.uid.to_le_bytes()).field(item.gid.to_le_bytes());
        match &item.node {
            Node::File(Bytes::Inline(bytes)) => hash.field("file").field(bytes),
            Node::File(Bytes::Archive { .. } | Bytes::Rave) => hash.field("packaged"),
            Node::Directory => hash.field("directory"),
            Node::Symlink(target) => hash.field("link").field(target),
        };
    }
    Ok(hash.finish())
}

/// Writes the file system to a directory that is there, as far as programs need it; all files are the caller's own.
pub fn lay_out(finals: &Finals, archive: &Archive, to: &Path) -> Result<(), Error> {
    let mut files = Vec::new();
    // Directories come before what is in them.
    for (path, item) in finals.iter().filter(|(path, _)| !path.starts_with(LEFT_OUT)) {
        let place = to.join(path.trim_start_matches('/'));
        match &item.node {
            Node::Directory => disk::create_dir_all(place)?,
            Node::Symlink(target) => disk::symlink(target, place)?,
            Node::File(bytes) => files.push((place, bytes, item.mode & 0o777)),
        }
    }
    files.into_par_iter().try_for_each(|(place, bytes, mode)| match bytes {
        Bytes::Inline(bytes) => Ok(disk::write(place, bytes, mode)?),
        Bytes::Archive { offset, size } => copy(archive, *offset, *size, &place, mode),
        Bytes::Rave => Ok(()),
    })
}

fn copy(archive: &Archive, offset: u64, size: u64, to: &Path, mode: u32) -> Result<(), Error> {
    let mut file = disk::create(to)?;
    disk::context("write", to, io::copy(&mut archive.slice(offset, size), &mut file))?;
    Ok(disk::set_mode(to, mode)?)
}

/// Asks the program, in the file system at `tree`; a refusal if it complains. One that does not ship is taken from its
/// package.
pub fn ask(
    name: &str,
    validation: &Validation,
    finals: &Finals,
    archive: &Archive,
    tree: &Path,
) -> Result<Option<Refusal>, Error> {
    let Some((program, arguments)) = validation.command.split_first() else { return Ok(None) };
    let place = tree.join(program.trim_start_matches('/'));
    if !disk::exists(&place) {
        disk::write(&place, &archive.read(program)?, 0o755)?;
    }
    let sandbox = Sandbox::new(tree).ids(Ids::Range).sync(false);
    let sandbox = WRITABLE.into_iter().fold(sandbox, Sandbox::tmpfs);
    let ended = sandbox.tool(program).args(arguments).env("HOME", "/root").env("TZ", "UTC").bounded(TIME, SAID)?;
    if ended.status.is_some_and(|status| status.success()) {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).trim().to_owned();
    let files = Globs::new(&validation.files);
    let matched = finals.iter().filter(|(path, _)| files.matches(path));
    let options = matched.filter_map(|(_, item)| item.option.clone()).collect();
    Ok(Some(Refusal { name: name.to_owned(), said, options }))
}
