//! What is written down on a host about its machines, and what a host tells of itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ImageName, Version};
use crate::system::Mode;

/// Version of the form of [`Record`] and [`Facts`].
pub const FORMAT: u32 = 1;

/// One version of a machine, with all that makes it run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// The image.
    pub image: ImageName,
    /// Its version.
    pub version: Version,
    /// Its resource mode.
    pub mode: Mode,
    /// dm-verity root hash of its root file system.
    pub root_hash: Digest,
    /// Digest of its disk, or of its archive if it is a container, by which the host keeps it.
    pub disk: Digest,
    /// What podman knows its image by, if it is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Digest of the programs that run it, by which the host keeps them.
    pub tools: Digest,
    /// Its units by name.
    pub units: BTreeMap<String, String>,
}

impl Release {
    /// Image, version and the beginning of the root hash, for people.
    pub fn title(&self) -> String {
        format!("{} {} ({}, root hash {})", self.image, self.version, self.mode, self.root_hash.short())
    }
}

/// What a host has written down about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// Version of this form.
    pub format: u32,
    /// The target that it belongs to.
    pub target: String,
    /// What runs, or is about to.
    pub current: Release,
    /// What ran before and was well, to go back to.
    pub previous: Option<Release>,
    /// Whether the six stages have found the current version well. If not, its deployment has not come to its end.
    pub confirmed: bool,
    /// What became of the last version that was not found well.
    pub failure: Option<Refused>,
}

impl Record {
    /// The versions whose images and programs the host keeps.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// A version that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Refused {
    /// Image, version and root hash.
    pub release: String,
    /// What was wrong.
    pub reason: String,
}

/// What is asked of a host: a machine, with all that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Order {
    /// Version of this form.
    pub format: u32,
    /// The target.
    pub target: String,
    /// The machine.
    pub machine: ImageName,
    /// What shall run.
    pub release: Release,
    /// The user of the image who may log in with the machine's key, if there is one.
    pub user: Option<String>,
    /// Public keys of people who may log in as that user.
    pub authorized_keys: Vec<String>,
}

/// What a host tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Version of this form.
    pub format: u32,
    /// Tools that it has.
    pub tools: BTreeSet<Digest>,
    /// Disks that it has.
    pub images: BTreeSet<Digest>,
    /// Controllers of its control groups, in version 2 (cgroups(7)); none: it was not asked.
    #[serde(default)]
    pub controllers: Option<BTreeSet<String>>,
    /// Its machines.
    pub machines: BTreeMap<ImageName, MachineFacts>,
}

/// What a host tells of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineFacts {
    /// What is written down.
    pub record: Record,
    /// The state of its unit, as `systemctl is-active` says it.
    pub state: String,
    /// Units that are not as the record has them.
    pub changed: Vec<String>,
    /// Its last look from outside; none: there was none since its start.
    pub health: Option<Health>,
}

/// The outcome of a look from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Health {
    /// Whether all that was asked is well.
    pub healthy: bool,
    /// When, in seconds since 1970.
    pub time: i64,
    /// The checks that do not pass.
    pub troubles: Vec<String>,
}
