//! `rave guest webhook-handle`: runs in the unit of a handler, one process for each delivery. It reads the event from the
//! socket, gives the body to a command, and answers with the exit status.

use std::io::{self, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use super::wire::{self, Head};
use crate::tool::Tool;

/// The status of a command that cannot be run, as shells have it.
const NOT_RUN: u8 = 127;

/// Why a delivery was not handled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket does not give a whole event.
    #[error("cannot read an event from standard input, which must be a socket")]
    Event(#[source] io::Error),
    /// The command cannot be run.
    #[error("cannot run {0}")]
    Run(String, #[source] io::Error),
    /// The command ended with a failure.
    #[error("{0} failed ({1})")]
    Failed(String, ExitStatus),
    /// The dispatcher does not listen any more.
    #[error("cannot answer the dispatcher")]
    Answer(#[source] io::Error),
}

/// Handles the event that comes from `socket`: runs `command`, or does nothing if it is empty, for a unit that has been
/// started before this one. Of the environment the command gets `credentials` and what is known of the event.
pub fn handle(socket: impl AsFd, command: &[String], credentials: Option<&Path>) -> Result<(), Error> {
    let socket = socket.as_fd().try_clone_to_owned().map(UnixStream::from).map_err(Error::Event)?;
    let (head, body) = wire::read(BufReader::new(&socket)).map_err(Error::Event)?;
    let ran = match command {
        [] => Ok(ExitStatus::default()),
        [program, arguments @ ..] => {
            run(program, arguments, credentials, &head, &body).map_err(|error| Error::Run(program.clone(), error))
        }
    };
    let status = ran.as_ref().map_or(NOT_RUN, |status| code(*status));
    let answered = (&socket).write_all(format!("{status}\n").as_bytes()).and_then(|()| socket.shutdown(Shutdown::Both));
    let status = ran?;
    if !status.success() {
        return Err(Error::Failed(command.first().cloned().unwrap_or_default(), status));
    }
    answered.map_err(Error::Answer)
}

/// Runs a command with the body on its standard input; its output goes where that of this process goes.
fn run(
    program: &str,
    arguments: &[String],
    credentials: Option<&Path>,
    head: &Head,
    body: &[u8],
) -> io::Result<ExitStatus> {
    let tool = Tool::new(program)
        .args(arguments)
        .env("RAVE_WEBHOOK_SOURCE", &head.source)
        .env("RAVE_WEBHOOK_DELIVERY", &head.delivery)
        .env("RAVE_WEBHOOK_TYPE", &head.kind)
        .env("RAVE_WEBHOOK_RECEIVED", &head.received)
        .env("RAVE_WEBHOOK_ATTEMPT", head.attempt.to_string());
    let tool = match credentials {
        Some(directory) => tool.env("CREDENTIALS_DIRECTORY", directory),
        None => tool,
    };
    let mut child = tool.command().stdin(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            // A command that stops reading has seen enough.
            scope.spawn(move || drop(stdin.write_all(body)));
        }
        child.wait()
    })
}

/// An exit status as shells write it: that of a signal is 128 and its number.
fn code(status: ExitStatus) -> u8 {
    let signal = || status.signal().map_or(i32::from(u8::MAX), |signal| 128 + signal);
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What a command answers to a body.
    fn ask(command: &[&str], body: &[u8], cut: usize) -> (String, Result<(), Error>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let head = Head {
            source: "default".into(),
            delivery: "a b".into(),
            kind: "push".into(),
            received: "2026-11-28T04:00:00Z".into(),
            attempt: 2,
            length: body.len() as u64,
        };
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        std::thread::scope(|scope| {
            let handled = scope.spawn(move || handle(theirs, &command, Some(Path::new("/run/credentials/x"))));
            let mut ours = ours;
            ours.write_all(&wire::head(&head).unwrap()).unwrap();
            ours.write_all(&body[..body.len() - cut]).unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            ours.read_to_string(&mut answer).unwrap();
            (answer, handled.join().unwrap())
        })
    }

    #[test]
    fn the_command_gets_the_body_and_what_is_known_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("cd {}; cat > body; env | sort > env", folder.path().display());
        let body: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let (answer, handled) = ask(&["sh", "-c", &script], &body, 0);
        handled.unwrap();
        assert_eq!(answer, "0\n");
        assert_eq!(std::fs::read(folder.path().join("body")).unwrap(), body);
        let environment = std::fs::read_to_string(folder.path().join("env")).unwrap();
        for line in ["SOURCE=default", "DELIVERY=a b", "TYPE=push", "RECEIVED=2026-11-28T04:00:00Z", "ATTEMPT=2"] {
            assert!(environment.contains(&format!("RAVE_WEBHOOK_{line}\n")), "{environment}");
        }
        assert!(environment.contains("CREDENTIALS_DIRECTORY=/run/credentials/x\n") && !environment.contains("HOME="));
    }

    #[test]
    fn the_answer_is_the_exit_status() {
        assert!(matches!(ask(&["sh", "-c", "exit 3"], b"{}", 0), (answer, Err(Error::Failed(..))) if answer == "3\n"));
        assert!(matches!(ask(&["sh", "-c", "kill -9 $$"], b"{}", 0), (answer, Err(_)) if answer == "137\n"));
        assert!(matches!(ask(&["/nonexistent"], b"{}", 0), (answer, Err(Error::Run(..))) if answer == "127\n"));
        // A command need not read.
        assert!(matches!(ask(&["true"], &[b'x'; 1 << 20], 0), (answer, Ok(())) if answer == "0\n"));
        assert!(matches!(ask(&[], b"{}", 0), (answer, Ok(())) if answer == "0\n"));
    }

    #[test]
    fn a_cut_body_reaches_no_command() {
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran");
        let (answer, handled) = ask(&["touch", ran.to_str().unwrap()], b"{\"a\": 1}", 1);
        assert!(matches!(handled, Err(Error::Event(_))) && answer.is_empty() && !ran.exists());
    }
}
