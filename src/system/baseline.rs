//! What an image says of itself to those who look at it from inside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Expect, Mode};
use crate::name::{ImageName, Version};

/// What a machine holds itself against: a file of its image, which is a part of what the root hash covers. So it has
/// neither that hash nor what a machine is given from outside, its memory and processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
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
    /// Of each unit that must be active, the version of the package whose program it runs.
    pub versions: BTreeMap<String, String>,
}

impl Baseline {
    /// Where the file is in a machine.
    pub const PATH: &'static str = "/usr/lib/rave/check.json";
}
