//! What a machine is held against.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ImageName, Version};
use crate::system::{Expect, Machine, Mode};

/// The machine as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The image.
    pub image: ImageName,
    /// Its version.
    pub version: Version,
    /// Resource mode.
    pub mode: Mode,
    /// Memory and processors that the machine was given.
    pub machine: Machine,
    /// Kernel command line of the image, without `roothash=`.
    pub cmdline: Vec<String>,
    /// Root hash of the dm-verity tree.
    pub root_hash: Digest,
    /// What the modules expect.
    pub expect: Expect,
}
