//! What rave and its worker in the sandbox say to each other: one JSON document in, JSON lines out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::system::{Group, User};

/// First argument of the worker.
pub const WORKER: &str = "__rootfs";
/// The directory that the worker may write to, as it sees it.
pub const WORK: &str = "/work";
/// The name of the root file system in the work directory.
pub const ROOT: &str = "root";
/// The name of the archive in the work directory.
pub const ARCHIVE: &str = "rootfs.tar";

/// What the worker shall do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Packages, by their paths inside the sandbox, in the order that decides.
    pub debs: Vec<String>,
    /// Users that exist before any package is configured.
    pub users: BTreeMap<String, User>,
    /// Groups that exist before any package is configured.
    pub groups: BTreeMap<String, Group>,
    /// Commands that run in the configured system, by name and in its order.
    pub prepare: BTreeMap<String, Vec<String>>,
    /// No file is younger, in seconds since 1970.
    pub epoch: i64,
    /// Whether the root stays when a script fails.
    pub keep: bool,
}

/// What the worker says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A part of the work began, with so many items.
    Phase(Phase, u64),
    /// So many items of the part are done.
    Done(u64),
    /// A script failed.
    Script {
        /// Whose.
        package: String,
        /// Which: `preinst`, `configuration`, `preparation`.
        script: String,
        /// The end of what it printed.
        output: String,
    },
    /// There is no space left: on what.
    Full(String),
    /// Something else failed.
    Failed(String),
    /// All is done.
    Finished(Summary),
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Files of packages are put down.
    Unpack,
    /// Maintainer scripts run.
    Configure,
    /// The result is cleaned and archived.
    Pack,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many packages are installed.
    pub packages: u64,
    /// How many files, directories and links there are.
    pub entries: u64,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Files with setuid or setgid bits that packages ship.
    pub privileged: Vec<String>,
}
