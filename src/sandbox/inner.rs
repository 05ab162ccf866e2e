//! Process 1 of a sandbox: makes the world that the program sees, starts it, and reaps.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, WaitOptions};

use super::error::{Result, step};
use super::{Ids, SELF, Sandbox, mounts, rights, sys};

/// The name that every sandbox's host has.
const HOST_NAME: &[u8] = b"localhost";
/// Exit code when the program could not be started, as in a shell.
const NOT_STARTED: u8 = 127;

/// Runs to the end of the program.
#[expect(
    clippy::disallowed_methods,
    reason = "the program gets the environment and the descriptors that crate::tool has given the helper"
)]
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let (spec, program, arguments) = Sandbox::parse(arguments)?;
    step("follow", "the helper", rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    step("become", "an ordinary process", sys::default_personality())?;
    step("name", "the host", rustix::system::sethostname(HOST_NAME))?;
    mounts::build(&spec)?;
    step("enter", &spec.directory, std::env::set_current_dir(&spec.directory))?;
    step("give up", "new privileges", rustix::thread::set_no_new_privs(true))?;
    if program != SELF {
        rights::reduce()?;
    }
    if !spec.sync {
        step("filter", "system calls", sys::ignore_sync())?;
    }
    sys::default_signals();
    if program.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    match Command::new(program).args(arguments).spawn() {
        Ok(child) => Ok(ExitCode::from(reap(child.id())?)),
        Err(error) => {
            super::error::print(&super::Error::Step { verb: "run", path: program.into(), source: error });
            Ok(ExitCode::from(NOT_STARTED))
        }
    }
}

/// Waits for children, adopted ones too, until the program itself has ended; returns its exit code.
fn reap(program: u32) -> Result<u8> {
    loop {
        let ended = match rustix::process::wait(WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => step("wait for", "the program", other)?,
        };
        if let Some((pid, status)) = ended
            && u32::try_from(pid.as_raw_pid()) == Ok(program)
        {
            let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
    }
}

/// Whether groups other than root's exist inside.
pub fn has_groups(ids: Ids) -> bool {
    ids != Ids::Single
}
