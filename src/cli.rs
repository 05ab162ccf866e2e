//! What was typed: the command line as data. Nothing here acts.

mod authoring;
mod building;
mod checking;
mod deploying;
mod exporting;
pub mod fault;
mod guest;
mod machines;
mod provisioning;
mod rehearsing;
mod running;
pub mod secrets;

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
pub use machines::{Priority, Vm, VmSecrets};
pub use provisioning::{CloudInit, RenderUserData, SeedFiles, ValidateUserData, WriteSeed};
pub use rehearsing::{CloudFault, Rehearse};
pub use running::{Accel, Host, Run, Up};

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
