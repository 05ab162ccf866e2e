//! A machine as the modules describe it: the result of evaluating an image, and the input of planning one.
//! Plain data, ordered, without host paths, clocks or option types.

mod baseline;
mod cloud;
mod expect;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{GuestPath, ImageName, OptionPath, PackageName, Version};
use crate::tree::Tree;

pub use baseline::Baseline;
pub use cloud::Cloud;
pub use expect::{Bans, Expect, ExpectedSecret, Https, ModuleProbe, Query, Ssh, SuiteAllowance, Webhook};

/// Everything that an image shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// The image's name.
    pub name: ImageName,
    /// The image's version.
    pub version: Version,
    /// Resource mode.
    pub mode: Mode,
    /// Where packages come from.
    pub archive: Archive,
    /// Packages asked for; the lock adds what they need.
    pub packages: BTreeSet<PackageName>,
    /// Whether the lock follows Recommends too.
    pub recommends: bool,
    /// Packages needed to configure others whose files do not ship (`dpkg`, `perl-base` ...).
    pub build_only: BTreeSet<PackageName>,
    /// Packages that start their own units as Debian has it, with the option that asked for each. Others start none.
    pub starts: BTreeMap<PackageName, OptionPath>,
    /// Paths of packages that do not ship. `*` matches within one part, `**` any number of parts.
    pub exclude: Vec<String>,
    /// Programs that keep their set-user-id and set-group-id bits; all others lose them.
    pub set_id: BTreeSet<GuestPath>,
    /// What runs when the packages are configured, by name and in its order: a program's path and its arguments.
    pub prepare: BTreeMap<String, Vec<String>>,
    /// What holds configuration against the program that reads it, by name.
    pub validate: BTreeMap<String, Validation>,
    /// Users, with static ids, made before any package is configured.
    pub users: BTreeMap<String, User>,
    /// Groups, with static ids.
    pub groups: BTreeMap<String, Group>,
    /// Files that modules add, replace or take away.
    pub tree: Tree,
    /// Kernel command line, without `roothash=`.
    pub cmdline: Vec<String>,
    /// Kernel modules that the initrd loads, besides those the root device needs.
    pub initrd_modules: BTreeSet<String>,
    /// Whether the initrd has a shell.
    pub debug: bool,
    /// Secrets that the machine needs, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Certificates that the machine shows, by name.
    pub certificates: BTreeMap<String, Certificate>,
    /// Files that may hold a private key or password hash which is no secret: patterns of paths, each with the reason.
    pub key_allow: Vec<(String, String)>,
    /// How the disk is laid out and packed.
    pub disk: Disk,
    /// The virtual machine that the mode asks for.
    pub machine: Machine,
    /// Directories that outlive a version: made at boot, and what a backup takes.
    pub state: BTreeMap<GuestPath, State>,
    /// What `rave check` holds against the running machine.
    pub expect: Expect,
    /// Every option's final value and where it came from, for the manifest and for people.
    pub options: BTreeMap<OptionPath, OptionValue>,
}

/// A program that says whether files of the image are what it can read, and whose complaint ends the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// The program's path and its arguments.
    pub command: Vec<String>,
    /// The files, by patterns as in [`System::exclude`]. As long as they and the packages stay, so does the answer.
    pub files: Vec<String>,
}

/// Resource mode (SAFE or FULL_PIPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Small limits; builds use one job.
    #[default]
    Safe,
    /// Larger limits; builds use all cores.
    FullPipe,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safe => "safe",
            Self::FullPipe => "full-pipe",
        })
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "safe" => Ok(Self::Safe),
            "full-pipe" => Ok(Self::FullPipe),
            _ => Err(format!("{text:?} is not a mode: safe or full-pipe")),
        }
    }
}

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Debian suite by code name; its updates and security suites are always included.
    pub suite: String,
    /// Components, such as `main`.
    pub components: Vec<String>,
    /// Base addresses that serve `dists/` and `pool/` of Debian itself, tried in order.
    pub mirrors: Vec<String>,
    /// Archives besides Debian's.
    pub extra: Vec<ExtraArchive>,
    /// `.deb` files on disk, relative to the image file's directory.
    pub debs: Vec<String>,
}

/// An archive besides Debian's, trusted through its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraArchive {
    /// Short name, unique among the archives of an image.
    pub name: String,
    /// Base address.
    pub url: String,
    /// Suite, as in `dists/SUITE`.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// Armored OpenPGP certificates that may sign it.
    pub key: String,
}

/// A user with a static id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group, by name.
    pub group: String,
    /// Further groups.
    pub groups: BTreeSet<String>,
    /// Full name or purpose.
    pub description: String,
    /// Home directory.
    pub home: GuestPath,
    /// Login shell.
    pub shell: GuestPath,
}

/// A group with a static id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Group id.
    pub gid: u32,
}

/// A secret that units read from /run/secrets. The image holds it encrypted, if at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What it is.
    pub kind: SecretKind,
    /// Owning user, by name or number.
    pub owner: String,
    /// Owning group, by name or number.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Units that need it.
    pub units: BTreeSet<String>,
    /// What happens to these units when it changes.
    pub on_change: OnChange,
    /// What it is for.
    pub description: String,
    /// The option that asked for it.
    pub option: OptionPath,
}

/// What a secret is, and so how one can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// Words or characters that a person may have to type.
    Password,
    /// Random characters that no person types.
    Token,
    /// The private key of a certificate, in PEM.
    TlsKey,
    /// A certificate with the chain that leads to its authority, in PEM.
    TlsCertificate,
    /// A private key of OpenSSH.
    SshKey,
    /// Text that only its owner can give.
    Text,
    /// Bytes that only their owner can give.
    Binary,
}

/// A part of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text that stays as it is.
    Text(&'a str),
    /// The name of a secret whose value comes here.
    Secret(&'a str),
}

/// How a placeholder begins; it ends with `>`.
const PLACEHOLDER: &str = "<rave:secret:";

/// What stands in the image where a secret comes in the machine.
pub fn placeholder(secret: &str) -> String {
    format!("{PLACEHOLDER}{secret}>")
}

/// A text and its placeholders, in order.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once(PLACEHOLDER) {
        let Some((name, next)) = after.split_once('>') else { break };
        parts.extend([Part::Text(before), Part::Secret(name)]);
        rest = next;
    }
    parts.push(Part::Text(rest));
    parts
}

/// What happens to the units of a secret that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// They restart.
    Restart,
    /// They reload.
    Reload,
    /// Nothing.
    None,
}

/// A certificate that the machine shows to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Names that it is for.
    pub hosts: BTreeSet<String>,
    /// The secret that holds its key.
    pub key: String,
    /// The option that asked for it.
    pub option: OptionPath,
}

/// A directory below /var that a service keeps its state in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Owning user.
    pub owner: String,
    /// Owning group.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether a backup takes it: what can be made anew is left out.
    pub backup: bool,
}

/// How the disk is laid out and packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Compression of the root file system.
    pub compression: Compression,
    /// Size of the EFI system partition in bytes.
    pub esp_size: u64,
    /// Size of each root slot in bytes; nothing: twice the content, rounded up.
    pub slot_size: Option<u64>,
    /// Size that the disk has when a machine starts from it, in bytes.
    pub size: u64,
}

/// Compression of the root file system, as `mkfs.erofs -z` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compression {
    /// `none`, `lz4`, `lz4hc` or `zstd`.
    pub algorithm: String,
    /// Level, where the algorithm has levels.
    pub level: Option<u32>,
    /// Largest physical cluster in bytes.
    pub cluster: u32,
}

/// The virtual machine an image is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Memory in MiB.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
}

/// One option's final value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionValue {
    /// The canonical value.
    pub value: serde_json::Value,
    /// Where it was set, `file:line:column`, or where its default stands. Never hashed.
    pub origin: String,
}
