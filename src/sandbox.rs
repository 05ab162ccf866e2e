//! Namespaces, id maps and mounts: where other people's code runs.
//!
//! A [`Sandbox`] becomes a [`Tool`] that starts rave itself with a hidden first argument. That helper, still
//! single-threaded, enters new namespaces, builds the file system that the program shall see, and starts it:
//!
//! ```text
//! rave ── helper (`__sandbox`: id maps, namespaces; waits) ── init (`__sandbox-init`: mounts, pid 1) ── program
//! ```
//!
//! The helper ends the program when rave dies, and the kernel ends everything in the sandbox when init ends.
//! No file of the host is visible but what was bound; the host name, umask, personality and signals are always the
//! same.

mod error;
mod ids;
mod inner;
mod mounts;
mod outer;
mod raw;
mod rights;
mod sys;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::tool::Tool;
pub use error::Error;

/// First argument of the helper: enters the namespaces.
const OUTER: &str = "__sandbox";
/// First argument of process 1 of the sandbox: mounts, starts, reaps.
const INNER: &str = "__sandbox-init";
/// First argument of the process that maps ids from outside.
const MAPPER: &str = "__sandbox-map";
/// Exit code when the sandbox could not be entered.
const FAILED: u8 = 125;
/// The path of the running program, inside and outside.
const SELF: &str = "/proc/self/exe";

/// Which user and group ids exist inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ids {
    /// Only root, who is the calling user outside. Needs no privilege.
    Single,
    /// 0 to 65535. For root outside they are the same ids; for others 0 is the calling user, the rest come
    /// from /etc/subuid and /etc/subgid by way of newuidmap and newgidmap.
    Range,
    /// Those of the caller, who must already be root in a sandbox: no further user namespace.
    Keep,
}

/// What the program sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Root {
    /// An empty directory, to be filled by binds.
    Empty,
    /// What is in this directory, read-only; mount points can be made beside it.
    ReadOnly(#[serde(with = "raw")] PathBuf),
    /// This directory itself.
    Writable(#[serde(with = "raw")] PathBuf),
}

/// A file or directory of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bind {
    #[serde(with = "raw")]
    host: PathBuf,
    #[serde(with = "raw")]
    inside: PathBuf,
    writable: bool,
}

/// A description of a sandbox; see the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    root: Root,
    binds: Vec<Bind>,
    tmpfs: Vec<String>,
    ids: Ids,
    network: bool,
    #[serde(with = "raw")]
    directory: PathBuf,
    outlives: bool,
    terminal: bool,
    sync: bool,
    /// The process that must live for the sandbox to go on.
    parent: u32,
    #[serde(skip)]
    executable: Option<PathBuf>,
}

impl Sandbox {
    fn with_root(root: Root) -> Self {
        Self {
            root,
            binds: Vec::new(),
            tmpfs: vec!["/tmp".to_owned()],
            ids: Ids::Single,
            network: false,
            directory: PathBuf::from("/"),
            outlives: false,
            terminal: false,
            sync: true,
            parent: 0,
            executable: None,
        }
    }

    /// A sandbox that sees the content of `root`, read-only, with a /proc, /dev and /tmp of its own. Its ids are
    /// [`Ids::Single`], there is no network, and the working directory is `/`.
    pub fn new(root: &Path) -> Self {
        Self::with_root(Root::ReadOnly(root.to_owned()))
    }

    /// A sandbox that sees nothing but what is bound into it.
    pub fn empty() -> Self {
        Self::with_root(Root::Empty)
    }

    /// A sandbox whose root is the directory `root` itself and can be written to.
    pub fn writable(root: &Path) -> Self {
        Self::with_root(Root::Writable(root.to_owned()))
    }

    /// Makes a file, directory or device of the host visible at the absolute path `inside`. Missing mount points
    /// are made, except below a directory that is read-only. Later binds cover earlier ones.
    #[must_use]
    pub fn bind(mut self, host: impl AsRef<Path>, inside: impl AsRef<Path>, writable: bool) -> Self {
        self.binds.push(Bind { host: host.as_ref().to_owned(), inside: inside.as_ref().to_owned(), writable });
        self
    }

    /// Makes an empty directory in memory at the absolute path `inside`; /tmp always is one.
    #[must_use]
    pub fn tmpfs(mut self, inside: &str) -> Self {
        self.tmpfs.push(inside.to_owned());
        self
    }

    /// Chooses the user and group ids.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Whether the program shares the host's network. If so, /etc/resolv.conf and /etc/hosts are the host's,
    /// where the root has such files.
    #[must_use]
    pub fn network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// The working directory, inside.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = directory.as_ref().to_owned();
        self
    }

    /// Whether the program goes on when the process that called [`Sandbox::tool`] dies.
    #[must_use]
    pub fn outlives_caller(mut self, outlives: bool) -> Self {
        self.outlives = outlives;
        self
    }

    /// Whether the program keeps the caller's terminal, as a shell for a person needs. Otherwise it is in a
    /// session of its own, where Ctrl-C does not reach it.
    #[must_use]
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Whether `fsync` and its relatives wait for the disk. Without, they succeed at once: for work that is
    /// thrown away when the machine crashes.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Uses another rave binary than the running one, for tests, whose own binary has no helper.
    #[must_use]
    pub fn executable(mut self, rave: impl Into<PathBuf>) -> Self {
        self.executable = Some(rave.into());
        self
    }

    /// The program at path `program` inside the sandbox, to be given arguments and environment. Its exit code
    /// is passed on; death by signal N is 128 + N; 125: the sandbox could not be entered, and standard error says
    /// why; 127: the program could not be started. Start it from the process that calls this. The program
    /// `/proc/self/exe` is rave itself, and the only one that may mount and enter a further sandbox.
    pub fn tool(&self, program: impl AsRef<OsStr>) -> Tool {
        let spec = Self { parent: std::process::id(), ..self.clone() };
        // Only a path could fail to serialise, and `raw` writes any.
        let spec = serde_json::to_string(&spec).unwrap_or_default();
        let executable = self.executable.clone().unwrap_or_else(|| PathBuf::from(SELF));
        Tool::wrapped(executable, [OsStr::new(OUTER), OsStr::new(&spec)], program.as_ref())
    }

    /// Whether such a sandbox can be entered on this host, found out by entering one; the error says what is
    /// missing and how to get it.
    pub fn probe(&self) -> Result<(), Error> {
        let run = self.tool("").output();
        run.map(drop).map_err(Error::from_run)
    }
}

/// Runs the helper if this process was started to be one; to be called first thing in `main`, before any thread.
pub fn main_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let result = match stage.to_str()? {
        OUTER => outer::run(&arguments),
        INNER => inner::run(&arguments),
        MAPPER => ids::map_from_outside(&arguments),
        _ => return None,
    };
    Some(result.unwrap_or_else(|error| {
        error::print(&error);
        ExitCode::from(FAILED)
    }))
}

impl Sandbox {
    /// Reads what [`Sandbox::tool`] wrote: the description, and the program with its arguments.
    fn parse(arguments: &[OsString]) -> Result<(Self, &OsStr, &[OsString]), Error> {
        let [spec, program, arguments @ ..] = arguments else {
            return Err(Error::Spec("too few arguments".into()));
        };
        let text = spec.to_str().ok_or_else(|| Error::Spec("not UTF-8".into()))?;
        let spec = serde_json::from_str(text).map_err(|e| Error::Spec(e.to_string()))?;
        Ok((spec, program, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_the_command_line() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = Path::new(OsStr::from_bytes(b"/odd \xff name"));
        let sandbox =
            Sandbox::new(Path::new("/tools")).bind(odd, "/in", true).ids(Ids::Range).network(true).sync(false);
        let text = serde_json::to_string(&sandbox).unwrap();
        let arguments = [OsString::from(text), "prog".into(), "-x".into()];
        let (read, program, rest) = Sandbox::parse(&arguments).unwrap();
        assert_eq!((read, program, rest), (sandbox, OsStr::new("prog"), &arguments[2..]));
        for bad in [&[][..], &["{}".into()], &["{}".into(), "prog".into()], &["nonsense".into(), "prog".into()]] {
            assert!(matches!(Sandbox::parse(bad), Err(Error::Spec(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_tool_shows_the_program_and_not_the_description() {
        let tool = Sandbox::new(Path::new("/tools")).tool("/usr/bin/mkfs.erofs").arg("-x");
        assert_eq!(tool.display(), "/usr/bin/mkfs.erofs -x");
    }
}
