//! `rave lock` and `rave build`, as they are typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::system::Mode;

/// `rave lock`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave lock web                       lock what images/web.yaml asks for, keeping what is locked
  rave lock web --update              move everything to the newest versions
  rave lock web --update nginx        move nginx and what it needs
  rave lock web --check               exit with 1 if the lock does not fit the image

Mirrors are tried in this order: RAVE_MIRROR, the image's archive.mirrors, Debian mirrors among the
host's apt sources, the snapshot archive.")]
pub struct Lock {
    /// Image: a name in images/ or a path
    pub image: String,
    /// Move these packages to the newest versions; all of them if none is named
    #[arg(long, num_args = 0.., value_name = "PACKAGE")]
    pub update: Option<Vec<String>>,
    /// Change nothing; exit with 1 if the lock is missing or does not fit the image
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
}

/// `rave build`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rave build web                              result/disk.raw and result/manifest.json
  rave build web --plan                       the steps, and which are in the store already
  rave build web --check                      build once more and compare
  rave build web --format qcow2 --output out
  rave build web --set system.hostname=web-7")]
pub struct Build {
    /// Image: a name in images/ or a path
    pub image: String,
    /// What is other than the image says
    #[command(flatten)]
    pub variant: Variant,
    /// Print the steps and what is cached, and stop
    #[arg(long)]
    pub plan: bool,
    /// Build everything once more, in an empty store, and name the first file that differs
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
    /// Format of the disk
    #[arg(long, default_value = "raw")]
    pub format: DiskFormat,
    /// Directory of links to the result
    #[arg(long, short, default_value = "result", value_name = "DIR")]
    pub output: PathBuf,
    /// If a maintainer script fails, open a shell in the root file system as it was then
    #[arg(long)]
    pub shell: bool,
}

/// What shall be other than an image says.
#[derive(Debug, Args)]
pub struct Variant {
    /// Resource mode, instead of the image's own
    #[arg(long, short)]
    pub mode: Option<Mode>,
    /// Set an option, above whatever the image says
    #[arg(long, value_name = "OPTION=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

/// `OPTION=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((option, value)) if !option.is_empty() => Ok((option.to_owned(), value.to_owned())),
        _ => Err("expected OPTION=VALUE, such as system.hostname=web-7".to_owned()),
    }
}

/// Disk image formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiskFormat {
    /// Sparse, byte for byte the disk.
    Raw,
    /// QEMU's own, compressed.
    Qcow2,
}
