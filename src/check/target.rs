//! What a machine is held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{GuestPath, ImageName, Version};
use crate::probe::Suite;
use crate::system::{Baseline, Expect, Machine, Mode};

/// The machine as its image describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The image.
    pub image: ImageName,
    /// Its version.
    pub version: Version,
    /// Resource mode.
    pub mode: Mode,
    /// Kernel command line of the image, without `roothash=`.
    pub cmdline: Vec<String>,
    /// What the modules expect.
    pub expect: Expect,
    /// How far back the journal counts, in seconds; nothing: the whole boot.
    pub journal: Option<u64>,
    /// The outside suites that shall judge the machine.
    #[serde(default)]
    pub suites: Vec<Suite>,
    /// What only somebody else can know of a machine; nothing where it looks at itself.
    pub outside: Option<Outside>,
}

/// What a machine cannot know to be true of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Memory and processors that the machine was given.
    pub machine: Machine,
    /// Root hash of the dm-verity tree.
    pub root_hash: Digest,
    /// The authorities behind the certificates of its sites, DER in base64, by the file of each certificate. Of others it is
    /// not known.
    #[serde(default)]
    pub authorities: BTreeMap<GuestPath, Vec<String>>,
}

impl Target {
    /// A machine that looks at itself, and at its journal of the last `journal` seconds.
    pub fn of_itself(baseline: &Baseline, journal: u64) -> Self {
        Self {
            image: baseline.image.clone(),
            version: baseline.version.clone(),
            mode: baseline.mode,
            cmdline: baseline.cmdline.clone(),
            expect: baseline.expect.clone(),
            journal: Some(journal),
            suites: Vec::new(),
            outside: None,
        }
    }
}
