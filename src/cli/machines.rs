//! The commands about machines that run, as they are typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::fault;
/// `rave vm`.
#[derive(Debug, Subcommand)]
pub enum Vm {
    /// Show the machines
    #[command(
        visible_alias = "ls",
        after_help = "Example:
  rave vm list --json         for scripts: an array of objects"
    )]
    List,
    /// Run a command, or a shell, as the user `agent`; its exit status is rave\'s
    #[command(after_help = "Examples:
  rave vm ssh web                            a shell
  rave vm ssh web -- systemctl --failed      a command")]
    Ssh {
        /// Name of the machine
        name: String,
        /// Command and arguments
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Attach to the serial console; Ctrl-] leaves
    #[command(after_help = "Example:
  rave vm console web         see a machine boot, or log in where SSH does not answer")]
    Console {
        /// Name of the machine
        name: String,
    },
    /// Print what the serial console has shown
    #[command(after_help = "Examples:
  rave vm logs web            what the console has shown until now
  rave vm logs web --follow   and what it shows next")]
    Logs {
        /// Name of the machine
        name: String,
        /// Go on printing as it grows
        #[arg(long, short)]
        follow: bool,
    },
    /// Print the journal, of a machine that was started with --debug also when it does not answer any more
    #[command(after_help = "Examples:
  rave vm journal web                          since its start
  rave vm journal web --follow --unit ssh.service
  rave vm journal web --priority err           errors and worse
  rave vm journal web --json                   all fields, an object a line

A machine for debugging (`rave run --debug`) hands its journal over as it is written; any other is asked by SSH.")]
    Journal {
        /// Name of the machine
        name: String,
        /// Go on printing as it grows
        #[arg(long, short)]
        follow: bool,
        /// Only what a unit says, or what is said about it
        #[arg(long, short)]
        unit: Option<String>,
        /// Only what is as urgent as this, or more so
        #[arg(long, short, default_value = "debug")]
        priority: Priority,
    },
    /// Write what is on the screen into a PNG file; for machines that were started with --debug
    #[command(after_help = "Example:
  rave vm screenshot web --output boot.png     how far firmware and kernel have come")]
    Screenshot {
        /// Name of the machine
        name: String,
        /// The file [default: NAME.png]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Attach the host's gdb to the machine's processors; for machines that were started with --debug
    #[command(after_help = "Examples:
  rave vm gdb web                              registers and memory; the machine waits meanwhile
  rave vm gdb web -- /usr/lib/debug/boot/vmlinux-6.12.1-cloud-amd64
                                               with the kernel's symbols, from Debian's package linux-image-...-dbg

The kernel of an image for debugging has its addresses where its symbols say.")]
    Gdb {
        /// Name of the machine
        name: String,
        /// More arguments for gdb
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Give a running machine new secrets
    #[command(after_help = "Example:
  rave vm secrets web push    what the project's files say now, without a reboot")]
    Secrets {
        /// Name of the machine
        name: String,
        /// What to do
        #[command(subcommand)]
        verb: VmSecrets,
    },
    /// Have something go wrong in a machine, to see what it does then
    #[command(after_help = "Examples:
  rave vm fault web network-loss --for 60     no link for a minute; Ctrl-C mends it sooner
  rave vm fault web stuck-unit nginx.service  until Ctrl-C
  rave vm fault web power-cut                 what was not flushed is lost

In another terminal `rave check web --watch` tells what is seen of it. A rave that is killed leaves the fault behind:
give it once more, with --for 0.")]
    Fault(fault::Fault),
    /// Shut the machine down, by force only if it does not obey
    #[command(after_help = "Examples:
  rave vm stop web            ask the machine to shut down, and wait
  rave vm stop web --grace 2  use force after two seconds")]
    Stop {
        /// Name of the machine
        name: String,
        /// Seconds until force is used
        #[arg(long, default_value_t = 30)]
        grace: u64,
    },
    /// Remove a stopped machine and what it wrote
    #[command(after_help = "Examples:
  rave vm rm web              forget a stopped machine
  rave vm rm web --force      stop it first")]
    Rm {
        /// Name of the machine
        name: String,
        /// Stop it first
        #[arg(long, short)]
        force: bool,
    },
}

/// How urgent entries of a journal are (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// The machine cannot be used.
    Emerg,
    /// Somebody has to act at once.
    Alert,
    /// Critical.
    Crit,
    /// Errors.
    Err,
    /// Warnings.
    Warning,
    /// Normal, but of note.
    Notice,
    /// What most say.
    Info,
    /// What only developers want to know.
    Debug,
}

/// `rave vm secrets`.
#[derive(Debug, Subcommand)]
pub enum VmSecrets {
    /// Encrypt the project's secrets for a machine and put them into its memory; units restart whose secrets changed
    #[command(after_help = "Examples:
  rave secrets edit secrets/web.yaml && rave vm secrets web push
                                 a new password, and a restart of whom it concerns
  rave vm secrets web push --json
                                 for scripts: what changed, which units restarted or reloaded

They are sealed as `rave build` does it, sent as ciphertext, and count until the machine stops; for good they are in
the next build. Interrupted at any time, the machine has all of the new secrets or all of the old ones.

Exit status: 0 done, 1 the secrets are wrong or a unit did not come back, 2 the machine could not be asked.")]
    Push {
        /// Image that the machine runs: a name in images/ or a path [default: the name in its manifest]
        #[arg(long)]
        image: Option<String>,
    },
}
