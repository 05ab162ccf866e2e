//! The commands that have images run elsewhere, as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Variant;

/// `rave deploy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave deploy web --to edge            build images/web.yaml, bring it to the machines of targets/edge.yaml
  rave deploy web --to edge --plan     what would change
  rave deploy web --to edge --dry-run  what would be run, and the units or manifests that would be written
  rave deploy web --to edge --machine edge-1
                                       one machine of several

One machine after the other gets the new version, is started and checked in six stages from its host. If it is not well,
the version before it runs again there, and the machines that follow are left alone. What is in /var stays. Interrupted
at any time, give the command again: it goes on where it was.

Exit status: 0 all machines run it and are well, 1 one is not or the target is wrong, 2 rave could not deploy; --plan ends
with 0, and with --exit-code with 1 if something would change.")]
pub struct Deploy {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Target: a name in targets/
    #[arg(long, value_name = "TARGET")]
    pub to: String,
    /// Only these machines of the target
    #[arg(long, value_name = "NAME")]
    pub machine: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Show what would be run, and change nothing
    #[arg(long, conflicts_with = "plan")]
    pub dry_run: bool,
    /// End with 1 if --plan finds that something would change
    #[arg(long, requires = "plan")]
    pub exit_code: bool,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
}

/// `rave ps`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave ps                     all machines of all targets
  rave ps edge --json         those of targets/edge.yaml, for scripts
  rave ps --exit-code         exit with 1 if one is not well, or is not what is declared

Drift is where a machine differs from what its target and the newest build here say, or its units from what was
written. A host that does not answer is shown as such.")]
pub struct Ps {
    /// Only this target
    pub target: Option<String>,
    /// End with 1 if a machine is not well or not as declared
    #[arg(long)]
    pub exit_code: bool,
}

/// `rave target`.
#[derive(Debug, Subcommand)]
pub enum Target {
    /// Start the machines of a target
    #[command(after_help = "Example:
  rave target start edge                  now, and whenever their hosts start")]
    Start(Machines),
    /// Shut them down; the next start of their host does not start them
    #[command(after_help = "Example:
  rave target stop edge --machine edge-1  one of them")]
    Stop(Machines),
    /// Shut them down and start them again
    #[command(after_help = "Example:
  rave target restart edge                one after the other")]
    Restart(Machines),
    /// Look at them from outside, as after a deployment
    #[command(after_help = "Example:
  rave target check edge                  exit status 1 if one is not well")]
    Check(Machines),
    /// Print what their consoles have shown and what was done to them
    #[command(after_help = "Example:
  rave target logs edge --machine edge-1 --lines 200")]
    Logs {
        /// Which
        #[command(flatten)]
        machines: Machines,
        /// How many lines of each machine
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
    },
    /// Take them away; what is in /var stays on the host for the next deployment
    #[command(after_help = "Examples:
  rave target remove edge                    the disks stay
  rave target remove edge --machine edge-2 --purge
                                             with all that the machine has written")]
    Remove {
        /// Which
        #[command(flatten)]
        machines: Machines,
        /// Remove what they have written, too
        #[arg(long)]
        purge: bool,
    },
}

impl Target {
    /// Of which machines.
    pub fn machines(&self) -> &Machines {
        let (Self::Start(machines)
        | Self::Stop(machines)
        | Self::Restart(machines)
        | Self::Check(machines)
        | Self::Logs { machines, .. }
        | Self::Remove { machines, .. }) = self;
        machines
    }
}

/// Machines of a target.
#[derive(Debug, Args)]
pub struct Machines {
    /// Target: a name in targets/
    pub target: String,
    /// Only these machines of it
    #[arg(long, value_name = "NAME")]
    pub machine: Vec<String>,
}

/// `rave host`: what the rave on a host does for deployments and in their units.
#[derive(Debug, Subcommand)]
pub enum Host {
    /// Tell what the host has, as JSON
    Facts,
    /// Take in a stream
    Receive {
        /// What it is
        goods: Goods,
        /// The digest that it is kept by
        digest: String,
    },
    /// Do what the order on standard input says; the outcome is JSON
    Apply,
    /// Look at a machine, as after a deployment
    Verify {
        /// The machine
        machine: String,
    },
    /// Take a machine away
    Remove {
        /// The machine
        machine: String,
        /// Whose it is
        #[arg(long)]
        target: String,
        /// With what it has written
        #[arg(long)]
        purge: bool,
    },
    /// Have the machine's disk boot its image (ExecStartPre)
    Disk {
        /// The machine
        machine: String,
    },
    /// Wait until the machine is up (ExecStartPost)
    Await {
        /// The machine
        machine: String,
        /// It is a container: where its image is
        #[arg(long, value_name = "DIRECTORY")]
        container: Option<PathBuf>,
    },
    /// Have the machine shut down (ExecStop)
    PowerOff {
        /// The machine
        machine: String,
    },
    /// Look at the machine from outside
    Look {
        /// The machine
        machine: String,
        /// Where its SSH is reached
        #[arg(long, value_name = "HOST:PORT")]
        ssh: String,
        /// Where its site is reached
        #[arg(long, value_name = "URL")]
        https: Option<String>,
        /// Also ask what is not asked every few minutes
        #[arg(long)]
        full: bool,
        /// It is a container: do not ask what only a machine of its own has
        #[arg(long)]
        container: bool,
    },
}

/// What is brought to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Goods {
    /// Programs.
    Tools,
    /// An image.
    Image,
}
