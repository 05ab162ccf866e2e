//! From packages to a configured root file system, as one archive.
//!
//! Everything happens in a sandbox without network, in which rave itself (the worker) is root of 65536 ids: it
//! unpacks packages in parallel, runs maintainer scripts in a second sandbox whose root is the new system, cleans,
//! and archives. The archive is a function of the packages in their order, of users, groups, the commands that prepare
//! it, and the epoch.

mod accounts;
mod chroot;
mod clean;
mod database;
mod job;
mod order;
mod pack;
mod stand_ins;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use crate::event::{Amount, Report, Work};
use crate::sandbox::{Ids, Sandbox};
use crate::system::{Group, User};
use crate::tool::Tool;
use crate::{disk, tool};
pub use job::Summary;
use job::{ARCHIVE, Job, Line, Phase, ROOT, WORK, WORKER};

/// The end of the worker's standard error that is shown, in bytes.
const TAIL: u64 = 16 << 10;

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package's script failed.
    #[error("{package} fails in its {script}:\n{output}")]
    Script {
        /// Whose.
        package: String,
        /// Which: `preinst`, `configuration`.
        script: String,
        /// The end of what it printed.
        output: String,
        /// The root file system as the script left it, if it was to be kept; see [`shell`] and [`remove`].
        root: Option<PathBuf>,
    },
    /// There is no space left where the work was done.
    #[error("no space left for the root file system: {0}")]
    Full(String),
    /// The work itself failed.
    #[error("{0}")]
    Failed(String),
    /// The host's file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The sandbox could not be entered, or the worker ended early.
    #[error(transparent)]
    Tool(#[from] tool::Error),
}

/// What a root file system is made of.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Verified packages. Their order decides: by name, as in the lock.
    pub debs: &'a [PathBuf],
    /// Users that exist before any package is configured.
    pub users: &'a BTreeMap<String, User>,
    /// Groups that exist before any package is configured.
    pub groups: &'a BTreeMap<String, Group>,
    /// Commands that run in the configured system, by name and in its order.
    pub prepare: &'a BTreeMap<String, Vec<String>>,
    /// SOURCE_DATE_EPOCH: no file is younger, in seconds since 1970.
    pub epoch: i64,
    /// Processors that unpacking may use.
    pub workers: u32,
    /// Whether the root stays when a script fails.
    pub keep: bool,
    /// Another rave binary than the running one, for tests.
    pub executable: Option<&'a Path>,
}

/// Makes the root file system and writes it to `archive`, an uncompressed tar in pax format whose names are relative
/// and sorted depth first. Works in a new directory below `temporary`, which must be on the same file system
/// as `archive`; it is removed on every path but a script's failure with `keep`.
pub fn build(request: &Request<'_>, temporary: &Path, archive: &Path, report: &dyn Report) -> Result<Summary, Error> {
    let made = tempfile::Builder::new().prefix("rootfs-").tempdir_in(temporary);
    let work = disk::context("create a directory in", temporary, made)?.keep();
    // Setuid files and others' passwords lie in it for a while.
    disk::create_private_dir(&work)?;
    let result = run(request, &work, report).and_then(|summary| {
        disk::rename(work.join(ARCHIVE), archive)?;
        Ok(summary)
    });
    match result {
        Err(Error::Script { package, script, output, root: Some(root) }) if disk::exists(&root) => {
            Err(Error::Script { package, script, output, root: Some(root) })
        }
        result => {
            let removed = remove_with(&work, request.executable);
            result.and_then(|summary| removed.map(|()| summary))
        }
    }
}

/// Starts the worker and listens to it.
fn run(request: &Request<'_>, work: &Path, report: &dyn Report) -> Result<Summary, Error> {
    let (sandbox, debs) = bind_packages(sandbox(work, request.executable), request.debs)?;
    let job = Job {
        debs,
        users: request.users.clone(),
        groups: request.groups.clone(),
        prepare: request.prepare.clone(),
        epoch: request.epoch,
        keep: request.keep,
    };
    let job = serde_json::to_vec(&job).map_err(|error| Error::Failed(error.to_string()))?;
    let tool = sandbox.tool("/proc/self/exe").arg(WORKER).env("RAYON_NUM_THREADS", request.workers.max(1).to_string());
    let start = |source| tool::Error::Start { program: "rave".into(), source };
    let mut command = tool.command();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (heard, stderr) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A worker that cannot be told its job says so on standard error, or by its end.
            stdin.map(|mut stdin| io::Write::write_all(&mut stdin, &job))
        });
        let stderr = scope.spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                // All is read so that the worker never waits; the beginning has the cause.
                let _ = stderr.by_ref().take(TAIL).read_to_end(&mut text);
                let _ = io::copy(&mut stderr, &mut io::sink());
            }
            text
        });
        let heard = stdout.map(|stdout| listen(io::BufReader::new(stdout), report));
        (heard.flatten(), stderr.join().unwrap_or_default())
    });
    let status = child.wait().map_err(start)?;
    match heard {
        Some(Line::Finished(summary)) if status.success() => Ok(summary),
        Some(Line::Script { package, script, output }) => {
            let root = request.keep.then(|| work.join(ROOT));
            Err(Error::Script { package, script, output, root })
        }
        Some(Line::Full(message)) => Err(Error::Full(message)),
        Some(Line::Failed(message)) => Err(Error::Failed(message)),
        _ => Err(tool.failed(status, &stderr).into()),
    }
}

/// Renders what the worker says as events; returns its last word.
fn listen(lines: impl io::BufRead, report: &dyn Report) -> Option<Line> {
    let mut phase: Option<(Work<'_>, u64)> = None;
    let end = |phase: &mut Option<(Work<'_>, u64)>| {
        if let Some((work, total)) = phase.take() {
            work.finish(if total > 0 { format!("{total} packages") } else { String::new() });
        }
    };
    for line in lines.lines() {
        match serde_json::from_str(&line.ok()?).ok()? {
            Line::Phase(next, total) => {
                end(&mut phase);
                let verb = match next {
                    Phase::Unpack => "unpack",
                    Phase::Configure => "configure",
                    Phase::Pack => "pack",
                };
                let amount = (total > 0).then_some(Amount::Items(total));
                phase = Some((Work::start(report, verb, "root file system", amount), total));
            }
            Line::Done(done) => {
                if let Some((work, _)) = &phase {
                    work.progress(done);
                }
            }
            Line::Finished(summary) => {
                end(&mut phase);
                return Some(Line::Finished(summary));
            }
            last => return Some(last),
        }
    }
    None
}

/// The sandbox of the worker.
fn sandbox(work: &Path, executable: Option<&Path>) -> Sandbox {
    let sandbox = Sandbox::empty().ids(Ids::Range).bind(work, WORK, true).sync(false);
    match executable {
        Some(path) => sandbox.executable(path),
        None => sandbox,
    }
}

/// Binds the directories that hold packages, read-only; returns the packages' paths inside.
fn bind_packages(mut sandbox: Sandbox, debs: &[PathBuf]) -> Result<(Sandbox, Vec<String>), Error> {
    let mut directories: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut inside = Vec::new();
    for deb in debs {
        let deb = disk::canonical(deb)?;
        let directory = deb.parent().unwrap_or(Path::new("/")).to_owned();
        let name = deb.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::Failed(format!("the name of {} is not UTF-8", deb.display())))?;
        let next = format!("/debs/{}", directories.len());
        let place = directories.entry(directory.clone()).or_insert_with(|| {
            sandbox = sandbox.clone().bind(&directory, &next, false);
            next
        });
        inside.push(format!("{place}/{name}"));
    }
    Ok((sandbox, inside))
}

/// A shell in a root file system that a failed build has left; standard input is to be connected by the caller.
pub fn shell(root: &Path) -> Tool {
    let sandbox = Sandbox::writable(root).ids(Ids::Range).tmpfs("/run").terminal(true);
    chroot::tool(&sandbox, "/bin/sh", 0).arg("-i").env("TERM", "xterm")
}

/// Removes a directory in which sandboxes have worked: files in it may belong to subordinate ids, which the calling
/// user cannot touch from outside.
pub fn remove(directory: &Path) -> Result<(), Error> {
    remove_with(directory, None)
}

fn remove_with(directory: &Path, executable: Option<&Path>) -> Result<(), Error> {
    match disk::remove_dir_all(directory) {
        Err(error) if error.is_denied() => {}
        result => return Ok(result?),
    }
    let directory = disk::canonical(directory)?;
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(Error::Failed(format!("{} cannot be removed", directory.display())));
    };
    sandbox(parent, executable).tool("/proc/self/exe").args([WORKER, "remove"]).arg(name).output()?;
    Ok(())
}

/// Runs the worker if this process was started to be it; to be called early in `main`.
pub fn main_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let arguments: Vec<OsString> = (arguments.next()? == WORKER).then(|| arguments.collect())?;
    Some(worker::main(&arguments))
}
