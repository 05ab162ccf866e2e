//! What can go wrong with virtual machines.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::name::ImageName;
use crate::{disk, tool};

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with virtual machines. Console and log excerpts are cleaned of control characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user interrupted (SIGINT) or the system asked rave to end (SIGTERM).
    #[error("interrupted")]
    Interrupted,
    /// The asynchronous runtime could not be made.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A program could not be run.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// A machine profile is not one.
    #[error("{name} is not a machine profile")]
    Profile {
        /// The profile's file name.
        name: String,
        /// Why.
        source: serde_yaml::Error,
    },
    /// A machine that cannot be started as described.
    #[error("machine {name} cannot be started: {what}")]
    Machine {
        /// The machine.
        name: ImageName,
        /// What is wrong.
        what: String,
    },
    /// No machine of that name.
    #[error("there is no machine {0}")]
    NoSuchMachine(ImageName),
    /// A machine of that name runs.
    #[error("machine {0} is running")]
    Running(ImageName),
    /// A machine of that name does not run.
    #[error("machine {0} is not running")]
    NotRunning(ImageName),
    /// The overlay of a persistent machine belongs to another image.
    #[error("machine {name} keeps the state of another image, {}", base.display())]
    OtherImage {
        /// The machine.
        name: ImageName,
        /// The image that its overlay was made for.
        base: PathBuf,
    },
    /// A persistent machine of that name would lose its state.
    #[error("machine {0} keeps its state: run it with --persist, or remove it first")]
    Keeps(ImageName),
    /// The state file of a machine cannot be understood.
    #[error("{} is not the state of a machine", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A process could not be made, watched or ended.
    #[error("cannot {verb} QEMU")]
    Process {
        /// What was tried.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// KVM was asked for and cannot be had.
    #[error("KVM cannot be used: {0}")]
    NoKvm(String),
    /// No host port is free from the one that was asked for on.
    #[error("no port from {0} on is free")]
    NoPort(u16),
    /// QEMU ended before it could be talked to.
    #[error("QEMU ended at once ({status}): {log}\ncommand: {command}")]
    Refused {
        /// How it ended.
        status: String,
        /// The end of what it said.
        log: String,
        /// The command line, quoted for a shell.
        command: String,
    },
    /// QEMU ended while its guest was expected to run.
    #[error("machine {name} ended while waiting for {awaited} ({why})\n{console}")]
    Ended {
        /// The machine.
        name: ImageName,
        /// What it was waited for.
        awaited: &'static str,
        /// How or why it ended.
        why: String,
        /// The end of its console.
        console: String,
    },
    /// The guest did not become ready in time.
    #[error("machine {name} did not become ready in {} s, waiting for {awaited}\n{console}", waited.as_secs())]
    NotReady {
        /// The machine.
        name: ImageName,
        /// How long it was waited for.
        waited: Duration,
        /// What it was waited for.
        awaited: &'static str,
        /// The end of its console.
        console: String,
    },
    /// The guest's kernel or firmware gave up.
    #[error("the {who} of machine {name} panicked\n{console}")]
    Panicked {
        /// `kernel` or `firmware`.
        who: &'static str,
        /// The machine.
        name: ImageName,
        /// The end of its console.
        console: String,
    },
    /// The guest resets again and again.
    #[error("machine {name} reboots in a loop, {resets} times so far\n{console}")]
    RebootLoop {
        /// The machine.
        name: ImageName,
        /// How often it reset.
        resets: u32,
        /// The end of its console.
        console: String,
    },
    /// QEMU stopped the guest because the accelerator failed (`internal-error`, `io-error`).
    #[error("QEMU stopped machine {name} with {status}\n{console}")]
    Stopped {
        /// The machine.
        name: ImageName,
        /// QEMU's run state.
        status: String,
        /// The end of its console.
        console: String,
    },
    /// Somebody else is attached already.
    #[error("{what} of machine {name} is in use by another rave")]
    Busy {
        /// The machine.
        name: ImageName,
        /// The channel.
        what: &'static str,
    },
    /// A conversation with QEMU or with the guest's agent failed.
    #[error("{peer} failed at {command}")]
    Link {
        /// Who was talked to.
        peer: Peer,
        /// The command in question.
        command: &'static str,
        /// Why.
        source: LinkError,
    },
    /// The guest has more to say than is accepted.
    #[error("the guest answered {what} with more than {limit} bytes")]
    TooMuch {
        /// The request.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The guest reports a host key that is none.
    #[error("the guest reports no valid SSH host key")]
    HostKey(#[source] ssh_key::Error),
    /// No random numbers could be had.
    #[error("the system gives no random numbers")]
    Random(#[source] io::Error),
    /// An SSH key could not be written in OpenSSH's format.
    #[error("cannot write an SSH key")]
    Key(#[source] ssh_key::Error),
    /// A disk too large for an overlay.
    #[error("an overlay of {0} bytes is too large")]
    TooLarge(u64),
    /// The sockets of a peer in the machine's network could not be set up.
    #[error("cannot take part in the machine's network")]
    Peer(#[source] io::Error),
    /// A fault could not be brought about or ended.
    #[error("the fault was refused: {0}")]
    Fault(String),
    /// The terminal or the console socket refused.
    #[error("cannot attach to the console")]
    Console(#[source] io::Error),
}

/// Who speaks at the other end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// QEMU itself (QMP).
    Qemu,
    /// The agent inside the guest (QGA).
    Agent,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::Agent => "the guest agent",
        })
    }
}

/// Why a conversation over a line failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// No answer came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The peer sent a line longer than is accepted.
    #[error("an answer longer than {0} bytes")]
    TooLong(usize),
    /// The peer refused the command.
    #[error("{class}: {description}")]
    Refused {
        /// QAPI error class.
        class: String,
        /// What the peer says.
        description: String,
    },
    /// The answer does not have the form that the command calls for.
    #[error("an answer of the wrong form")]
    Form(#[source] serde_json::Error),
    /// The answer has the right form and makes no sense.
    #[error("a senseless answer: {0}")]
    Sense(&'static str),
}
