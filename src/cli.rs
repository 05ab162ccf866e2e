//! What was typed: the command line as data. Nothing here acts.

mod authoring;
mod building;
mod checking;
mod deploying;
mod exporting;
pub mod fault;
mod guest;
mod provisioning;
mod rehearsing;
pub mod secrets;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::system::{Cloud, Mode};

pub use authoring::{Authoring, Diff, Eval, Explain, Fmt, Lint, New, Options, Schema, SchemaKind};
pub use building::{Build, DiskFormat, Lock, Variant};
pub use checking::{Check, Elsewhere, Reports, Times, Verify};
pub use deploying::{Deploy, Goods, Host as HostVerb, Machines, Ps, Target};
pub use exporting::{Export, ExportFormat, SectorSize};
pub use guest::{DeadLetters, Guest, Which};
pub use provisioning::{CloudInit, RenderUserData, SeedFiles, ValidateUserData, WriteSeed};
pub use rehearsing::{CloudFault, Rehearse};

/// Builds immutable, hardened virtual machine images from Debian packages, boots them and proves them healthy.
#[derive(Debug, Parser)]
#[command(
    name = "rave",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("RAVE_COMMIT"), ")"),
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "Examples:
  rave up                     lock, build, boot and check images/minimal.yaml
  rave build web              build images/web.yaml into result/
  rave run web --detach       boot it and leave it running
  rave check web              hold the running machine against its image
  rave options nginx          the options that have to do with nginx
  rave explain web /etc/motd  why a file is in an image

Exit status: 0 done and healthy, 1 the input or the machine is wrong, 2 rave could not do its job,
130 interrupted."
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Write one JSON document, or JSON lines for long work, to standard output
    #[arg(long, global = true, env = "RAVE_JSON", value_parser = clap::builder::FalseyValueParser::new(), display_order = 900)]
    pub json: bool,
    /// Say nothing but results, warnings and errors
    #[arg(long, short, global = true, env = "RAVE_QUIET", value_parser = clap::builder::FalseyValueParser::new(), conflicts_with = "verbose", display_order = 900)]
    pub quiet: bool,
    /// Say what is done in detail; twice for what programs are run
    #[arg(long, short, global = true, action = clap::ArgAction::Count, display_order = 900)]
    pub verbose: u8,
    /// Colour the output
    #[arg(long, global = true, env = "RAVE_COLOR", default_value = "auto", value_name = "WHEN", display_order = 900)]
    pub color: Color,
    /// Directory that holds images/ and modules/
    #[arg(long, global = true, env = "RAVE_PROJECT", default_value = ".", value_name = "DIR", display_order = 900)]
    pub project: PathBuf,
    /// Directory of the content-addressed store [default: $XDG_CACHE_HOME/rave]
    #[arg(long, global = true, env = "RAVE_STORE", value_name = "DIR", display_order = 900)]
    pub store: Option<PathBuf>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One verb each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lock, build, boot and check an image in one go
    Up(Up),
    /// Resolve the packages of an image to exact versions
    Lock(Lock),
    /// Build the disk image
    Build(Build),
    /// Write a built image in the formats that clouds, hypervisors and registries take
    Export(Export),
    /// Have an image run on the machines of a target, and go back if it is not well there
    Deploy(Deploy),
    /// Show what runs where, with version, mode, health and drift
    Ps(Ps),
    /// Start, stop and take away the machines of a target
    #[command(subcommand)]
    #[command(after_help = "Examples:
  rave target restart edge                shut all machines of targets/edge.yaml down and start them again
  rave target logs edge --machine edge-1  what the console of one has shown")]
    Target(Target),
    /// Boot an image or a disk in QEMU
    Run(Run),
    /// List, enter and end virtual machines
    #[command(subcommand)]
    #[command(after_help = "Examples:
  rave run web --detach       boot a machine and leave it running
  rave vm ssh web             enter one")]
    Vm(Vm),
    /// Hold a running machine against its image, in six stages
    Check(Box<Check>),
    /// Read an evidence bundle of `rave check` back: its signature, its digests, and its verdict
    Verify(Verify),
    /// Writing images and modules
    #[command(flatten)]
    Authoring(Authoring),
    /// Keep secrets in SOPS files, encrypted for age recipients
    #[command(subcommand)]
    #[command(after_help = "Examples:
  rave secrets init web                       identity, rules, and all that images/web.yaml needs
  rave secrets edit secrets/web.yaml          change them
  rave secrets check web                      hold them against what the image needs")]
    Secrets(secrets::Secrets),
    /// Write and validate what a cloud hands a machine at its start
    #[command(subcommand)]
    #[command(after_help = "Examples:
  rave cloud-init render web --hostname web-7 --ssh-key ~/.ssh/id_ed25519.pub > user-data
  rave cloud-init validate web user-data --cloud ec2
  rave cloud-init seed web --user-data user-data")]
    CloudInit(CloudInit),
    /// Look after the store
    #[command(subcommand)]
    #[command(after_help = "Examples:
  rave store du               what takes how much space
  rave store gc --days 7      remove what was not used for a week
  rave store verify           find damaged objects")]
    Store(Store),
    /// Print shell completions
    #[command(after_help = "Examples:
  rave completions bash > ~/.local/share/bash-completion/completions/rave
  rave completions fish > ~/.config/fish/completions/rave.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(after_help = "Examples:
  rave man | man -l -                   read rave(1)
  rave man ~/.local/share/man/man1      one page for each command")]
    Man {
        /// Where to; standard output gets rave(1) if left out
        dir: Option<PathBuf>,
    },
    /// What rave does inside a machine
    #[command(subcommand, hide = true)]
    Guest(Guest),
    /// What rave does on a host of deployed machines
    #[command(subcommand, hide = true)]
    Host(HostVerb),
}

/// `rave up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave up                     the minimal image, in SAFE mode
  rave up web --keep          leave the machine running; `rave vm ssh web` enters it
  rave up --mode full-pipe    more memory and processors

The lock is made if there is none, and made anew, loudly, if locked packages are gone from every mirror.")]
pub struct Up {
    /// Image: a name in images/ or a path
    #[arg(default_value = "minimal")]
    pub image: String,
    /// Resource mode, instead of the image's own
    #[arg(long, short)]
    pub mode: Option<Mode>,
    /// Leave the machine running
    #[arg(long)]
    pub keep: bool,
    /// What to run the machine on
    #[command(flatten)]
    pub host: Host,
}

/// So that help and completions name the modes.
impl ValueEnum for Mode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Safe, Self::FullPipe]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.to_string()))
    }
}

/// The same for clouds.
impl ValueEnum for Cloud {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// `rave run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave run web                 boot; Ctrl-C stops the machine
  rave run web --detach        boot, wait until it is up, and return
  rave run disk.raw --direct   skip the firmware: kernel and initrd straight from the disk's UKI
  rave run web --debug --detach && rave vm console web
                               a root shell on the console; `rave vm journal|screenshot|gdb` look at the rest
  rave run web --debug --break stop in the initrd, with a shell there; `exit` goes on
  rave run web --cloud ec2 --user-data web.yaml
                               rehearse a start at a provider: its hardware and its metadata service,
                               then the six stages; exit with 0 if all is healthy, 1 if not

The built disk is never written to. Without --persist, what the machine writes is gone when it stops. With --debug the
image is built once more with `debug.enable`, which makes it another one: what runs in production has no shell. A disk is
run as it was built.")]
pub struct Run {
    /// Image (a name in images/ or a path to YAML) or a disk (a path to .raw)
    pub target: String,
    /// Name of the machine [default: the image's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Return once the machine is up, and leave it running
    #[arg(long, short)]
    pub detach: bool,
    /// Keep what the machine writes for its next run
    #[arg(long)]
    pub persist: bool,
    /// Boot the kernel directly instead of by firmware and boot loader
    #[arg(long)]
    pub direct: bool,
    /// Build the image with `debug.enable`, and give the machine a screen, a port for its journal and a debugger's stub
    #[arg(long)]
    pub debug: bool,
    /// Stop in the initrd before the root file system takes over
    #[arg(long = "break", requires = "debug", conflicts_with_all = ["detach", "cloud"])]
    pub stop: bool,
    /// Resource mode, instead of the image's own
    #[arg(long, short)]
    pub mode: Option<Mode>,
    /// The cloud that it shall find itself in
    #[command(flatten)]
    pub rehearse: Rehearse,
    /// What to run the machine on
    #[command(flatten)]
    pub host: Host,
}

/// What a machine runs on.
#[derive(Debug, Clone, Args)]
pub struct Host {
    /// Accelerator; auto takes KVM where it works
    #[arg(long, default_value = "auto", env = "RAVE_ACCEL")]
    pub accel: Accel,
    /// QEMU to use instead of the one in the tools tree
    #[arg(long, value_name = "PATH", env = "RAVE_QEMU")]
    pub qemu: Option<PathBuf>,
    /// age identity that the machine opens its secrets with; it is passed as a credential
    #[arg(long, value_name = "FILE", env = "RAVE_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// How long the machine may take to come up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// Accelerators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it works, else TCG.
    Auto,
    /// Hardware virtualization; fails where it does not work.
    Kvm,
    /// Software emulation.
    Tcg,
}

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

/// `rave store`.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Remove what no result and no running command needs
    #[command(after_help = "Examples:
  rave store gc               keep only what results and running machines need
  rave store gc --days 7      keep what was used in the last week, too")]
    Gc {
        /// Keep what was used within this many days
        #[arg(long, default_value_t = 0)]
        days: u64,
    },
    /// Show how much space is used, and by what
    #[command(after_help = "Example:
  rave store du --json        objects and bytes by kind")]
    Du,
    /// Hash everything again and set aside what is damaged
    #[command(after_help = "Example:
  rave store verify           exit status 1 if anything was damaged; the next build makes it anew")]
    Verify,
}
