//! `rave vm journal`, `screenshot` and `gdb`: looks into a machine.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cli::Priority;
use crate::disk;
use crate::name::ImageName;
use crate::qemu::args::file;
use crate::qemu::console;
use crate::qemu::debugger;
use crate::qemu::journal::{Reader, Wanted};
use crate::qemu::state::Condition;
use crate::tool::Tool;

use super::running::{self, machines};
use super::{Context, Failure, Result, Status};

/// What a machine that lacks one of the ways in needs.
const HINT: &str = "`rave run IMAGE --debug` starts one that can be looked into";

/// Prints the journal.
pub fn journal(
    context: &Context,
    name: &ImageName,
    follow: bool,
    unit: Option<String>,
    priority: Priority,
) -> Result<Status> {
    let known = machines(context).find(name)?;
    let mut reader = Reader::new(Wanted { unit, priority: priority as u8 });
    let mut out = std::io::stdout().lock();
    let mut sink = |bytes: &[u8]| {
        for entry in reader.take(bytes) {
            if context.ui.is_json() {
                serde_json::to_writer(&mut out, entry.fields())?;
                writeln!(out)?;
            } else {
                writeln!(out, "{entry}")?;
            }
        }
        out.flush()
    };
    let handed = known.directory.join(file::JOURNAL);
    if disk::exists(&handed) {
        let running = || Ok(follow && machines(context).find(name)?.condition == Condition::Running);
        console::follow(&handed, running, sink)?;
        return Ok(Status::Done);
    }
    if known.condition != Condition::Running {
        return Err(Failure::request(format!("machine {name} has left no journal and does not run")).hint(HINT));
    }
    let mut command = vec!["sudo", "journalctl", "--boot", "--no-tail", "--output=json"];
    command.extend(follow.then_some("--follow"));
    let mut ssh = running::login(context, name)?.args(command).command();
    let mut child = disk::context("run", "ssh", ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn())?;
    let mut told = child.stdout.take().ok_or_else(|| Failure::error("ssh has no output"))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = disk::context("read", "the journal", told.read(&mut buffer))?;
        if length == 0 {
            break;
        }
        match sink(buffer.get(..length).unwrap_or_default()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => disk::context("write", "standard output", written)?,
        }
    }
    drop(told);
    match disk::context("run", "ssh", child.wait())?.success() {
        true => Ok(Status::Done),
        false => Err(Failure::error(format!("machine {name} did not tell its journal"))),
    }
}

/// Writes what is on the screen into a file.
pub fn screenshot(context: &Context, name: &ImageName, output: Option<&Path>) -> Result<Status> {
    let vm = machines(context).attach_for_fault(name)?;
    let picture = vm.screenshot().map_err(|error| Failure::from(error).hint(HINT))?;
    let path = output.map_or_else(|| PathBuf::from(format!("{name}.png")), Path::to_owned);
    disk::write_atomic(&path, &picture, 0o644)?;
    context.ui.print(path.display());
    Ok(Status::Done)
}

/// Becomes the debugger.
pub fn gdb(context: &Context, name: &ImageName, arguments: &[OsString]) -> Result<Status> {
    let known = machines(context).find(name)?;
    let socket = known.directory.join(file::GDB);
    if !disk::exists(&socket) {
        return Err(Failure::request(format!("machine {name} has no stub for a debugger")).hint(HINT));
    }
    let (path, _open) = debugger::socket(&known.directory)?;
    let target = format!("target remote {}", path.display());
    let gdb = Tool::of_user("gdb", &context.environment.identities.environment);
    let gdb = gdb.args(["-q", "-ex", target.as_str()]).args(arguments);
    let error = gdb.command().stdin(Stdio::inherit()).exec();
    match error.kind() {
        ErrorKind::NotFound => Err(Failure::error("there is no gdb on this host")
            .hint(format!("install it; or in a debugger that is elsewhere: target remote {}", socket.display()))),
        _ => Err(Failure::error(disk::Error { verb: "run", path: "gdb".into(), source: error })),
    }
}
