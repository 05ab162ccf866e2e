//! The one door through which programs are run: a cleared environment, the C locale, no standard input
//! unless given, and on failure a command line that can be pasted and the end of what the program said.
//! The user's own programs get the user's environment instead, and nothing of them is shown but the name.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How much of a failed program's standard error is shown, in bytes.
const TAIL: usize = 4096;

/// A program that failed, or could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with a failure.
    #[error("{program} failed ({status}): {stderr}\ncommand: {command}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
        /// The command line, quoted for a shell.
        command: String,
    },
    /// A program of the user's own ended with a failure.
    #[error("{program} failed ({status})")]
    User {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// A program with its arguments, about to be run.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    wrapper: Option<Wrapper>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    is_of_user: bool,
}

/// A program that starts another one: its own path, and its arguments before the other's name.
#[derive(Debug, Clone)]
struct Wrapper {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Tool {
    /// A program by path, or by name to be looked up in the standard directories.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            wrapper: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            is_of_user: false,
        }
    }

    /// A program of the user's own, such as an editor: its environment is `environment` and no more. People write
    /// secrets into such command lines, and the programs say some of them: errors and logs have the name only.
    pub fn of_user(program: impl AsRef<OsStr>, environment: &[(OsString, OsString)]) -> Self {
        Self { environment: environment.to_vec(), is_of_user: true, ..Self::new(program) }
    }

    /// A program that `wrapper` starts: it is given its own `arguments`, then `program` and what follows. Failures
    /// are told as the program's.
    pub fn wrapped<S: AsRef<OsStr>>(
        wrapper: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
        program: impl AsRef<OsStr>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let wrapper = Wrapper { program: wrapper.as_ref().to_owned(), arguments };
        Self { wrapper: Some(wrapper), ..Self::new(program) }
    }

    /// Adds one argument. Never a secret: every user of the machine can read argument lists.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets one environment variable; none is inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The command line, quoted so that it can be pasted into a shell; of a user's program, its name.
    pub fn display(&self) -> String {
        if self.is_of_user {
            return self.name();
        }
        std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The prepared command, for callers that need the running process: standard input closed, standard
    /// output and error inherited.
    #[expect(clippy::disallowed_methods, reason = "this is where programs are run")]
    pub fn command(&self) -> Command {
        tracing::debug!(command = %self.display(), "run");
        let mut command = match &self.wrapper {
            None => Command::new(&self.program),
            Some(wrapper) => {
                let mut command = Command::new(&wrapper.program);
                command.args(&wrapper.arguments).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).env_clear().stdin(Stdio::null());
        if !self.is_of_user {
            command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Runs to the end; returns standard output.
    pub fn output(&self) -> Result<Vec<u8>, Error> {
        self.output_with_input(b"")
    }

    /// Runs to the end with `input` on standard input; returns standard output.
    pub fn output_with_input(&self, input: &[u8]) -> Result<Vec<u8>, Error> {
        let start = |source| Error::Start { program: self.name(), source };
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(start)?;
        let stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            if let Some(mut stdin) = stdin {
                // A program that stops reading says so by its exit status.
                scope.spawn(move || drop(stdin.write_all(input)));
            }
            child.wait_with_output()
        })
        .map_err(start)?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failed(output.status, &output.stderr)) }
    }

    /// Runs for at most `time`, and not beyond a signal that the command has to mind
    /// ([`leave_to_machine`](crate::interrupt::leave_to_machine)), then kills the program and what it started; keeps the first `bytes` of each
    /// output and drops the rest. However the program ends, that is an answer and not an error.
    pub fn bounded(&self, time: Duration, bytes: usize) -> Result<Bounded, Error> {
        self.bounded_with_input(b"", time, bytes)
    }

    /// The same with `input` on standard input.
    pub fn bounded_with_input(&self, input: &[u8], time: Duration, bytes: usize) -> Result<Bounded, Error> {
        let start = |source| Error::Start { program: self.name(), source };
        let mut command = self.command();
        // A group of its own, so that all of it can be killed.
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(start)?;
        let stdin = child.stdin.take();
        let ended = std::thread::scope(|scope| {
            if let Some(mut stdin) = stdin {
                // A program that stops reading says so by its exit status.
                scope.spawn(move || drop(stdin.write_all(input)));
            }
            let ended = follow(&mut child, Instant::now() + time, bytes);
            kill_group(&child);
            ended
        });
        let status = child.wait().map_err(start)?;
        let (stdout, stderr, in_time) = ended.map_err(start)?;
        Ok(Bounded { status: in_time.then_some(status), stdout, stderr })
    }

    /// The error for a run that ended with `status`.
    pub fn failed(&self, status: ExitStatus, stderr: &[u8]) -> Error {
        if self.is_of_user {
            return Error::User { program: self.name(), status };
        }
        let tail = &stderr[stderr.len().saturating_sub(TAIL)..];
        Error::Failed {
            program: self.name(),
            status,
            stderr: String::from_utf8_lossy(tail).trim().to_owned(),
            command: self.display(),
        }
    }

    fn name(&self) -> String {
        let path = std::path::Path::new(&self.program);
        path.file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }
}

/// How a program ended that was run with bounds.
#[derive(Debug, Clone)]
pub struct Bounded {
    /// How it ended; none if it had to be killed because its time was over.
    pub status: Option<ExitStatus>,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

/// Reads both outputs until the program has ended or the time is over. What the program left running may hold
/// the pipes open for ever, so their end is not waited for once it has ended itself.
fn follow(child: &mut Child, deadline: Instant, bytes: usize) -> io::Result<(Vec<u8>, Vec<u8>, bool)> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let ended = has_ended(child)?;
        let wait = if ended { Duration::ZERO } else { Duration::from_millis(20) };
        wait_readable(&[stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)], wait)?;
        let more = take(&mut stdout, &mut out, bytes)? | take(&mut stderr, &mut err, bytes)?;
        if ended && !more {
            return Ok((out, err, true));
        }
        if Instant::now() >= deadline || crate::interrupt::heard() {
            return Ok((out, err, ended));
        }
    }
}

/// Whether the program has ended. It stays a zombie, so that its group keeps its number until it is killed.
fn has_ended(child: &Child) -> io::Result<bool> {
    let Some(pid) = pid(child) else { return Ok(true) };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), look)?.is_some())
}

fn wait_readable(pipes: &[Option<std::os::fd::BorrowedFd<'_>>], wait: Duration) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> =
        pipes.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut polled, Some(&wait)) {
        Err(e) if e != rustix::io::Errno::INTR => Err(e.into()),
        _ if polled.is_empty() => {
            std::thread::sleep(Duration::from_millis(10));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads once from a pipe if that does not block; whether there may be more.
fn take(pipe: &mut Option<impl Read + AsFd>, kept: &mut Vec<u8>, bytes: usize) -> io::Result<bool> {
    let Some(open) = pipe else { return Ok(false) };
    let ready = {
        let mut polled = [PollFd::new(open, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) > 0
    };
    if !ready {
        return Ok(false);
    }
    let mut buffer = [0; 16 * 1024];
    let count = open.read(&mut buffer)?;
    if count == 0 {
        *pipe = None;
    }
    let room = bytes.saturating_sub(kept.len());
    kept.extend(buffer.iter().take(count.min(room)));
    Ok(count > 0)
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn kill_group(child: &Child) {
    if let Some(pid) = pid(child) {
        // Fails if nobody of the group is left, which is what is wanted.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Quotes one word for a POSIX shell, leaving plain words as they are.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_clean_and_input_arrives() {
        let output = Tool::new("sh").args(["-c", "cat; env"]).env("ONLY", "1").output_with_input(b"in\n").unwrap();
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("in\n"));
        assert!(text.contains("ONLY=1\n") && text.contains("LC_ALL=C\n") && !text.contains("HOME="), "{text}");
    }

    #[test]
    fn a_users_program_gets_that_environment_only_and_is_not_quoted() {
        let environment = [("PATH", "/usr/bin:/bin"), ("ONLY", "1")].map(|(name, value)| (name.into(), value.into()));
        let output = Tool::of_user("env", &environment).output().unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), "ONLY=1\nPATH=/usr/bin:/bin\n");
        let tool = Tool::of_user("/bin/sh", &environment).args(["-c", "echo hunter2 >&2; exit 3"]);
        assert_eq!(tool.output().unwrap_err().to_string(), "sh failed (exit status: 3)");
        assert_eq!(tool.display(), "sh");
    }

    #[test]
    fn a_failure_shows_the_command_and_the_end_of_stderr() {
        let error = Tool::new("sh").args(["-c", "echo it broke >&2; exit 3"]).output().unwrap_err().to_string();
        assert!(error.contains("it broke") && error.contains("sh -c 'echo it broke >&2; exit 3'"), "{error}");
        assert!(matches!(Tool::new("/nonexistent").output(), Err(Error::Start { .. })));
    }

    #[test]
    fn bounds_hold() {
        let sh = |script: &str| Tool::new("sh").args(["-c", script]);
        let minute = Duration::from_secs(60);
        let ended = sh("echo out; echo err >&2; exit 3").bounded(minute, 100).unwrap();
        assert_eq!(
            (ended.status.unwrap().code(), &ended.stdout[..], &ended.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        let ended = sh("head -c 300000 /dev/zero").bounded(minute, 10).unwrap();
        assert_eq!((ended.status.unwrap().code(), ended.stdout.len()), (Some(0), 10));
        let ended = sh("echo early; sleep 1000").bounded(Duration::from_millis(300), 100).unwrap();
        assert_eq!((ended.status, &ended.stdout[..]), (None, &b"early\n"[..]));
        // What stays behind with the pipe open is not waited for.
        let ended = sh("sleep 1000 & exec >&- 2>&-; exit 0").bounded(minute, 100).unwrap();
        assert_eq!(ended.status.unwrap().code(), Some(0));
        let input = vec![b'x'; 300_000];
        let ended = sh("wc -c").bounded_with_input(&input, minute, 100).unwrap();
        assert_eq!(ended.stdout, b"300000\n");
        let ended = sh("sleep 1000").bounded_with_input(&input, Duration::from_millis(300), 100).unwrap();
        assert_eq!(ended.status, None);
        let ended = sh("exec >&- 2>&-; sleep 1000").bounded(Duration::from_millis(300), 100).unwrap();
        assert_eq!(ended.status, None);
    }

    #[test]
    fn quoting_survives_a_shell() {
        for word in ["", "plain", "two words", "it's", "$HOME", "`x`", "\n"] {
            let output = Tool::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output().unwrap();
            assert_eq!(output, word.as_bytes());
        }
    }
}
