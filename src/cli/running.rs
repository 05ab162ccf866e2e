//! The commands that run machines, as they are typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::civil::DateTime;

use super::Rehearse;
use crate::system::Mode;

/// `rave up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave up                     the project's only image, else the minimal one, in the mode that it names
  rave up web --keep          leave the machine running; `rave vm ssh web` enters it
  rave up --mode full-pipe    more memory and processors

The lock is made if there is none, and made anew, loudly, if locked packages are gone from every mirror.")]
pub struct Up {
    /// Image: a name in images/ or a path [default: the only one of the project, or `minimal`]
    pub image: Option<String>,
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
    /// What the hardware clock of the machine says as it starts, in UTC [default: what the host's does]
    #[arg(long, value_name = "TIME", value_parser = clock)]
    pub rtc: Option<DateTime>,
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

/// A time that a hardware clock can tell: it has two digits for the year.
fn clock(text: &str) -> Result<DateTime, String> {
    // An offset would be passed over.
    let is_utc = text.split_once(['T', 't', ' ']).is_none_or(|(_, time)| !time.contains(['+', '-']));
    let time = text.parse::<DateTime>().ok().filter(|time| is_utc && (1980..2080).contains(&time.year()));
    time.ok_or_else(|| "expected a time from 1980 to 2079, such as 2001-09-09T01:46:40 or 2033-05-18".to_owned())
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
