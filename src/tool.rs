//! The one door through which programs are run: a cleared environment, the C locale, no standard input
//! unless given, and on failure a command line that can be pasted and the end of what the program said.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

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
}

/// A program with its arguments, about to be run.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    wrapper: Option<Wrapper>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
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
        }
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

    /// The command line, quoted so that it can be pasted into a shell.
    pub fn display(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The prepared command, for callers that need the running process: standard input closed, standard
    /// output and error inherited.
    pub fn command(&self) -> Command {
        let mut command = match &self.wrapper {
            None => Command::new(&self.program),
            Some(wrapper) => {
                let mut command = Command::new(&wrapper.program);
                command.args(&wrapper.arguments).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
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

    /// The error for a run that ended with `status`.
    pub fn failed(&self, status: ExitStatus, stderr: &[u8]) -> Error {
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
    fn a_failure_shows_the_command_and_the_end_of_stderr() {
        let error = Tool::new("sh").args(["-c", "echo it broke >&2; exit 3"]).output().unwrap_err().to_string();
        assert!(error.contains("it broke") && error.contains("sh -c 'echo it broke >&2; exit 3'"), "{error}");
        assert!(matches!(Tool::new("/nonexistent").output(), Err(Error::Start { .. })));
    }

    #[test]
    fn quoting_survives_a_shell() {
        for word in ["", "plain", "two words", "it's", "$HOME", "`x`", "\n"] {
            let output = Tool::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output().unwrap();
            assert_eq!(output, word.as_bytes());
        }
    }
}
