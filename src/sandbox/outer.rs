//! The helper outside the process namespace: enters namespaces, starts init, waits for it or for rave's end.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use rustix::thread::UnshareFlags;

use super::error::{Error, Result, step};
use super::{INNER, Ids, MAPPER, SELF, Sandbox, ids, sys};

/// Runs the helper to the end of the program in the sandbox.
#[expect(
    clippy::disallowed_methods,
    reason = "rave itself, with the environment that crate::tool has given the helper"
)]
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let (spec, ..) = Sandbox::parse(arguments)?;
    let caller = if spec.outlives { None } else { Some(caller(spec.parent)?) };
    if !spec.terminal {
        // Refused to the leader of a process group, which is what the call is for.
        let _ = rustix::process::setsid();
    }
    enter_user_namespace(spec.ids)?;
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !spec.network {
        flags |= UnshareFlags::NEWNET;
    }
    sys::unshare(flags).map_err(Error::namespaces)?;
    let mut init = step("start", SELF, Command::new(SELF).arg(INNER).args(arguments).spawn())?;
    let status = wait(&mut init, caller)?;
    Ok(code(status))
}

/// A handle that tells when the caller ends; an error if it has ended already.
fn caller(expected: u32) -> Result<OwnedFd> {
    const GONE: Error = Error::Gone("the process that asked for the sandbox is gone");
    let parent = getppid().filter(|pid| u32::try_from(pid.as_raw_pid()) == Ok(expected)).ok_or(GONE)?;
    let handle = step("watch", "the calling process", pidfd_open(parent, PidfdFlags::empty()))?;
    // The number could have been given to another process before the handle was taken, but not while it is ours.
    if getppid() == Some(parent) { Ok(handle) } else { Err(GONE) }
}

#[expect(
    clippy::disallowed_methods,
    reason = "rave itself, with the environment that crate::tool has given the helper"
)]
fn enter_user_namespace(ids: Ids) -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match ids {
        Ids::Keep => Ok(()),
        Ids::Single => {
            sys::unshare(UnshareFlags::NEWUSER).map_err(Error::namespaces)?;
            ids::map_single(uid, gid)
        }
        Ids::Range => {
            let pid = std::process::id().to_string();
            let mapper = Command::new(SELF).arg(MAPPER).arg(pid).stdin(Stdio::piped()).spawn();
            let mut mapper = step("start", SELF, mapper)?;
            let entered = sys::unshare(UnshareFlags::NEWUSER);
            if entered.is_err() {
                // Without a namespace there is nothing to map.
                step("end", "the mapper of ids", mapper.kill())?;
            }
            drop(mapper.stdin.take());
            let status = step("wait for", "the mapper of ids", mapper.wait())?;
            entered.map_err(Error::namespaces)?;
            if !status.success() {
                return Err(Error::Gone("ids could not be mapped"));
            }
            become_root()
        }
    }
}

/// Takes the ids of root inside, and drops the groups of the calling user.
fn become_root() -> Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    // The helper has one thread, so the thread's ids are the process'.
    step("drop", "supplementary groups", set_thread_groups(&[]))?;
    step("become", "group 0", set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT))?;
    step("become", "user 0", set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
}

/// Waits for init; if the caller ends first, ends init and with it everything inside.
fn wait(init: &mut Child, caller: Option<OwnedFd>) -> Result<ExitStatus> {
    if let Some(caller) = caller {
        let pid = i32::try_from(init.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(Error::Gone("process 1 of the sandbox has no number"))?;
        let child = step("watch", "process 1 of the sandbox", pidfd_open(pid, PidfdFlags::empty()))?;
        let mut ends = [PollFd::new(&child, PollFlags::IN), PollFd::from_borrowed_fd(caller.as_fd(), PollFlags::IN)];
        loop {
            match poll(&mut ends, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return step("wait for", "the sandbox", Err(io::Error::from(error))),
            }
        }
        if ends[0].revents().is_empty() {
            step("end", "the sandbox", init.kill())?;
        }
    }
    step("wait for", "the sandbox", init.wait())
}

/// The exit code that stands for a status: that of a shell.
fn code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    ExitCode::from(u8::try_from(number).unwrap_or(255))
}
