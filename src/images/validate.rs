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
use crate::tree::Globs;

use super::archive::{self, Archive};
use super::error::Error;
use super::union::{self, Bytes, Final, Finals, Node};

/// Where programs may write: memory that is gone afterwards.
const WRITABLE: [&str; 2] = ["/run", "/var"];
/// Nobody needs kernel modules to read a configuration, and they are a third of all files.
const LEFT_OUT: &str = "/usr/lib/modules/";
/// How long a program may take.
const TIME: Duration = Duration::from_secs(60);
/// Where a program is that does not ship.
const ASIDE: &str = "/run/program";
/// How a sandbox ends that could not be entered, or in which the program could not be started.
const UNASKED: [i32; 2] = [125, 127];
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
        let plain = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
        self.said.lines().try_for_each(|line| write!(f, "\n  {}", plain(line)))
    }
}

/// The files that are validated.
fn files<'a>(validation: &Validation, finals: &'a Finals) -> impl Iterator<Item = (&'a String, &'a Final)> {
    let files = Globs::new(&validation.files);
    finals.iter().filter(move |(path, _)| files.matches(path))
}

/// Digest of all that the answer follows from; `rootfs` is that of the packages.
pub fn digest(validation: &Validation, rootfs: Digest, finals: &Finals) -> Result<Digest, Error> {
    let mut hash = Canonical::new("rave validate 1");
    hash.field(rootfs.as_bytes()).json(validation).map_err(|error| Error::format("validation", error))?;
    for (path, item) in files(validation, finals) {
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
/// package, to `aside`.
///
/// # Errors
/// The program is nowhere, or could not be started.
pub fn ask(
    (name, validation): (&str, &Validation),
    finals: &Finals,
    archive: &Archive,
    tree: &Path,
    aside: &Path,
) -> Result<Option<Refusal>, Error> {
    let Some((program, arguments)) = validation.command.split_first() else { return Ok(None) };
    let sandbox = WRITABLE.into_iter().fold(Sandbox::new(tree).ids(Ids::Range).sync(false), Sandbox::tmpfs);
    let tool = if ships(program, finals) {
        sandbox.tool(program)
    } else {
        disk::write(aside, &archive.read(program)?, 0o755)?;
        sandbox.bind(aside, ASIDE, false).tool(ASIDE)
    };
    let tool = tool.args(arguments).env("HOME", "/root").env("TZ", "UTC");
    let ended = tool.bounded(TIME, SAID)?;
    let mut said = String::from_utf8_lossy(&[ended.stdout, ended.stderr.clone()].concat()).trim().to_owned();
    match ended.status {
        Some(status) if status.success() => return Ok(None),
        // It was not asked at all.
        Some(status) if status.code().is_some_and(|code| UNASKED.contains(&code)) => {
            return Err(tool.failed(status, &ended.stderr).into());
        }
        Some(_) => {}
        None => said.push_str(&format!("\nit has not come to an end in {} s", TIME.as_secs())),
    }
    let options = files(validation, finals).filter_map(|(_, item)| item.option.clone()).collect();
    Ok(Some(Refusal { name: name.to_owned(), said, options }))
}

/// Whether a file is there, through the links of the image alone.
fn ships(path: &str, finals: &Finals) -> bool {
    archive::resolve(path, |path| union::link(finals, path))
        .and_then(|path| finals.get(&path))
        .is_some_and(|item| matches!(item.node, Node::File(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node: Node) -> Final {
        Final { node, mode: 0o755, uid: 0, gid: 0, xattrs: Default::default(), option: None, package: None }
    }

    fn finals() -> Finals {
        let link = |target: &str| node(Node::Symlink(target.to_owned()));
        let file = || node(Node::File(Bytes::Inline(b"x".to_vec())));
        [
            ("/etc/passwd", file()),
            ("/usr/bin/program", file()),
            ("/usr/bin/away", link("/home/user/program")),
            ("/usr/bin/up", link("../../../../../../etc/passwd")),
            ("/sbin", link("usr/bin")),
            ("/usr/bin", node(Node::Directory)),
        ]
        .map(|(path, item)| (path.to_owned(), item))
        .into()
    }

    #[test]
    fn a_program_is_looked_for_in_the_image_and_nowhere_else() {
        let finals = finals();
        for there in ["/usr/bin/program", "/sbin/program", "/usr/bin/up", "/usr/../../../usr/bin/program"] {
            assert!(ships(there, &finals), "{there}");
        }
        for not in ["/usr/bin/away", "/usr/bin", "/bin/sh", "/"] {
            assert!(!ships(not, &finals), "{not}");
        }
    }

    #[test]
    fn an_answer_is_known_by_packages_command_and_files() {
        let rootfs = Digest::of(b"packages");
        let asked = Validation { command: vec!["/a".into()], files: vec!["/etc/**".into()] };
        let known = digest(&asked, rootfs, &finals()).unwrap();
        let mut other = finals();
        other.insert("/usr/bin/more".into(), node(Node::Directory));
        assert_eq!(digest(&asked, rootfs, &other).unwrap(), known, "nobody asked about it");
        other.insert("/etc/passwd".into(), node(Node::File(Bytes::Inline(b"y".to_vec()))));
        assert_ne!(digest(&asked, rootfs, &other).unwrap(), known);
        assert_ne!(digest(&asked, Digest::of(b"others"), &finals()).unwrap(), known);
        let command = Validation { command: vec!["/b".into()], ..asked };
        assert_ne!(digest(&command, rootfs, &finals()).unwrap(), known);
    }

    #[test]
    fn what_a_program_says_does_not_reach_the_terminal_as_it_is() {
        let said = "line 1: \u{1b}[2Jbad\nline 2".to_owned();
        let refusal = Refusal { name: "a".into(), said, options: ["a.b".to_owned(), "c".to_owned()].into() };
        assert_eq!(
            refusal.to_string(),
            "a refuses its configuration, which follows from a.b, c\n  line 1: [2Jbad\n  line 2"
        );
    }
}
