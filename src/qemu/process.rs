//! The process of a machine: made, recognised again by another rave, watched and ended.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::disk;
use crate::qemu::error::{Error, Result};

/// A process that no other can be taken for: process ids are used again, start times and boots are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
    /// The boot of the host that this is about.
    pub boot: String,
}

/// The id of the host's current boot.
pub fn boot_id() -> Result<String> {
    Ok(disk::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

impl Process {
    /// The process that has this id now; none if there is none, or if it has ended and was not yet reaped.
    pub fn of(pid: u32) -> Result<Option<Self>> {
        match disk::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(match parse_stat(&stat) {
                Some((state, start)) if state != 'Z' && state != 'X' => Some(Self { pid, start, boot: boot_id()? }),
                _ => None,
            }),
            Err(error) if error.is_not_found() => Ok(None),
            // The process ended while its file was being read.
            Err(error) if error.source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }

    /// A handle that stays with this very process; none if it has ended.
    pub fn handle(&self) -> Result<Option<Handle>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let fd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(Error::Process { verb: "watch", source: errno.into() }),
        };
        // Looked at after the handle exists, so that the answer is about the process that the handle holds.
        Ok(self.is_alive()?.then_some(Handle(fd)))
    }
}

/// Holds on to one process, whatever becomes of its id.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// Ends the process at once.
    pub fn kill(&self) -> Result<()> {
        match rustix::process::pidfd_send_signal(&self.0, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::Process { verb: "end", source: errno.into() }),
        }
    }

    /// Waits for the process to end; says whether it did within `limit`.
    pub async fn ended(&self, limit: Duration) -> Result<bool> {
        let started = Instant::now();
        loop {
            if self.has_ended()? {
                return Ok(true);
            }
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            // Looked at now and then: registering a descriptor with the event loop would need `unsafe`.
            tokio::time::sleep(left.min(Duration::from_millis(50))).await;
        }
    }

    fn has_ended(&self) -> Result<bool> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(Error::Process { verb: "watch", source: errno.into() }),
        }
    }
}

/// State and start time out of /proc/PID/stat. The name, in parentheses, may hold anything.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Starts a command in a session of its own, so that Ctrl-C in the terminal does not reach it. Unless
/// `detach`, the kernel ends it when the calling thread ends, whatever ends that: call from the main thread.
pub fn spawn(mut command: Command, detach: bool) -> Result<Guarded> {
    use std::os::unix::process::CommandExt as _;
    let parent = rustix::process::getpid();
    let prepare = move || {
        rustix::process::setsid()?;
        if !detach {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before that was arranged.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::Error::from(rustix::io::Errno::SRCH));
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes three system
    // calls directly, takes no lock and allocates nothing; its errors are plain numbers.
    unsafe {
        command.pre_exec(prepare);
    }
    let child = command.spawn().map_err(|source| Error::Process { verb: "start", source })?;
    Ok(Guarded { child, released: false })
}

/// A child that is ended and reaped when it is dropped, unless it was released.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    released: bool,
}

impl Guarded {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has; reaps it.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|source| Error::Process { verb: "watch", source })
    }

    /// Lets it live on when this is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.released {
            // One that has ended already is what is wanted.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;

    fn sleeper() -> Command {
        Tool::new("sleep").arg("1000").command()
    }

    #[test]
    fn a_process_is_recognised_watched_and_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut child = spawn(sleeper(), false).unwrap();
        let process = Process::of(child.id()).unwrap().unwrap();
        assert!(process.is_alive().unwrap());
        let handle = process.handle().unwrap().unwrap();
        runtime.block_on(async {
            assert!(!handle.ended(Duration::from_millis(10)).await.unwrap());
            handle.kill().unwrap();
            assert!(handle.ended(Duration::from_secs(60)).await.unwrap());
        });
        assert!(!process.is_alive().unwrap(), "not yet reaped");
        assert!(child.exited().unwrap().is_some());
        assert!(process.handle().unwrap().is_none());
        handle.kill().unwrap();
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let me = Process::of(std::process::id()).unwrap().unwrap();
        assert!(me.is_alive().unwrap());
        let earlier = Process { start: me.start + 1, ..me.clone() };
        let rebooted = Process { boot: "x".to_owned(), ..me };
        for other in [earlier, rebooted, Process { pid: u32::MAX, start: 0, boot: String::new() }] {
            assert!(!other.is_alive().unwrap() && other.handle().unwrap().is_none());
        }
    }

    #[test]
    fn it_ends_with_the_thread_that_started_it_unless_detached() {
        let start = |detach| std::thread::spawn(move || spawn(sleeper(), detach).unwrap()).join().unwrap();
        let (mut bound, mut detached) = (start(false), start(true));
        assert!(!bound.child.wait().unwrap().success());
        assert!(detached.exited().unwrap().is_none());
        let process = Process::of(detached.id()).unwrap().unwrap();
        detached.release();
        drop(detached);
        assert!(process.is_alive().unwrap());
        process.handle().unwrap().unwrap().kill().unwrap();
    }

    #[test]
    fn dropping_a_guarded_child_ends_and_reaps_it() {
        let child = spawn(sleeper(), false).unwrap();
        let id = child.id();
        drop(child);
        assert!(!disk::exists(format!("/proc/{id}")));
    }

    #[test]
    fn names_of_processes_cannot_confuse_the_parser() {
        let stat = "7 (a) Z 1 (x) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(stat), Some(('S', 4242)));
        for bad in ["", ")", "7 (a) ", "7 (a) S 1 2"] {
            assert_eq!(parse_stat(bad), None);
        }
    }
}
