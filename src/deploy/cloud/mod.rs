//! Machines in clouds: from what a target declares to the calls of the provider's own command line tools that make it so.
//!
//! ```text
//! targets/shop.yaml ─ Declared ─┐
//! a built image ───── Release ──┼─ Calls (aws, gcp, azure) ─ Step, ... ─ run: find, do, wait, undo ─ six stages ─ keep or remove
//! ```
//!
//! Everything but [`run`], what is behind it and [`blocks`] is pure. What is there is found by names made of the digest and
//! the size of the image's disk, and by tags; nothing about a deployment is kept elsewhere, so that everybody who may deploy
//! sees the same.

pub mod act;
pub mod answer;
pub mod blocks;
pub mod declared;
pub mod plan;
pub mod run;

pub mod script;
pub mod step;

mod aws;
mod azure;
mod gcp;
mod upload;

use crate::digest::{Canonical, Digest};
use crate::name::{ImageName, Version};
use crate::system::Mode;

use answer::{Bad, Instance, Uploaded};
use declared::short;
pub use declared::{Declared, Machine, Place, Provider};
use step::{Call, Step};

/// What the tools find in their environment. Nobody is there to page or to answer, and an upload of `gcloud` that is cut short
/// leaves none of its parts in the bucket.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("AWS_PAGER", ""),
    ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1"),
    ("CLOUDSDK_STORAGE_PARALLEL_COMPOSITE_UPLOAD_ENABLED", "false"),
];
/// Names of what is made begin so, and those of tags.
const PREFIX: &str = "rave-";
/// How many hexadecimal digits of a disk's digest are in a name, and in a tag: the longest label of GCP has 63 letters.
const IN_NAME: usize = 16;
const IN_TAG: usize = 32;

/// What shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The image.
    pub image: ImageName,
    /// Its version.
    pub version: Version,
    /// Its resource mode.
    pub mode: Mode,
    /// Digest of its disk.
    pub disk: Digest,
    /// How large the disk should be where it runs, in bytes.
    pub disk_size: u64,
}

impl Release {
    /// Image, version and mode, for people.
    pub fn title(&self) -> String {
        format!("{} {} ({}, disk {})", self.image, self.version, self.mode, self.disk.short())
    }

    /// The name of the image in the cloud. The size is in it, for no cloud makes of an image a disk that is smaller.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}-{}-{}g", self.image, short(&self.disk.to_string(), IN_NAME), self.gib())
    }

    /// The digest of the disk as tags have it.
    pub fn tag(&self) -> String {
        short(&self.disk.to_string(), IN_TAG)
    }

    /// The least number of GiB that hold the disk.
    pub fn gib(&self) -> u64 {
        gib(self.disk_size)
    }

    /// What an image is tagged with.
    fn tags(&self) -> Vec<(&'static str, String)> {
        vec![
            (tag::IMAGE, self.image.to_string()),
            (tag::VERSION, self.version.to_string()),
            (tag::MODE, self.mode.to_string()),
            (tag::DISK, self.tag()),
            (tag::SIZE, self.gib().to_string()),
        ]
    }
}

/// The least number of GiB that hold so many bytes.
pub fn gib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 30).max(1)
}

/// Keys of tags.
pub mod tag {
    /// The target.
    pub const TARGET: &str = "rave-target";
    /// The machine.
    pub const MACHINE: &str = "rave-machine";
    /// The image.
    pub const IMAGE: &str = "rave-image";
    /// Its version.
    pub const VERSION: &str = "rave-version";
    /// Its mode.
    pub const MODE: &str = "rave-mode";
    /// The beginning of the digest of its disk.
    pub const DISK: &str = "rave-disk";
    /// How large the disk is where it runs, in GiB.
    pub const SIZE: &str = "rave-size";
    /// Digest of what is declared of the machine.
    pub const CONFIG: &str = "rave-config";
    /// Whether the six stages have found it well.
    pub const STATE: &str = "rave-state";
    /// They have not yet.
    pub const NEW: &str = "new";
    /// They have.
    pub const WELL: &str = "well";
}

/// A machine that shall be there.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The target.
    pub target: &'a str,
    /// What is declared of it.
    pub machine: &'a Machine,
    /// What it shall run.
    pub release: &'a Release,
    /// [`Machine::config`].
    pub config: &'a str,
}

impl Wanted<'_> {
    /// The name of its instance.
    pub fn instance(&self) -> String {
        let mut digest = Canonical::new("rave cloud instance 1");
        digest.field(self.target).field(self.machine.name.as_str()).field(self.release.tag()).field(self.config);
        digest.field(self.release.gib().to_string());
        format!("{PREFIX}{}-{}", self.machine.name, short(&digest.finish().to_string(), 12))
    }

    /// What it is tagged with until it was found well.
    fn tags(&self) -> Vec<(&'static str, String)> {
        let own = [
            (tag::TARGET, self.target.to_owned()),
            (tag::MACHINE, self.machine.name.to_string()),
            (tag::CONFIG, self.config.to_owned()),
            (tag::STATE, tag::NEW.to_owned()),
        ];
        own.into_iter().chain(self.release.tags()).collect()
    }
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What the provider calls it.
    pub id: String,
    /// Its name; see [`Release::name`].
    pub name: String,
    /// The beginning of the digest of its disk, as its name has it.
    pub disk: String,
    /// How many GiB it has; names by an older rave do not say it.
    pub gib: Option<String>,
}

/// Something to be removed if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its answer has a line for each that is there.
    pub find: Call,
    /// What is removed, for each line.
    pub call: Call,
}

/// What is done to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It runs.
    Start,
    /// It is shut down, and stays.
    Stop,
    /// It is shut down and runs again.
    Restart,
    /// It was found well.
    Mark,
}

/// The calls of a provider's command line tool.
pub trait Calls: Sync {
    /// The tool.
    fn tool(&self) -> &'static str;
    /// The format that is uploaded, as [`crate::deploy`]'s user exports it.
    fn format(&self) -> Upload;
    /// From the exported file to an image that instances are made of.
    fn image(&self, release: &Release) -> Vec<Step>;
    /// What the way to the image leaves behind.
    fn leftovers(&self, release: &Release) -> Vec<Removal>;
    /// What was uploaded of `image` in any version and is there yet.
    fn uploads(&self, image: &ImageName) -> Removal;
    /// Reads the answer.
    ///
    /// # Errors
    /// What is no such answer.
    fn read_uploads(&self, answer: &[u8], image: &ImageName) -> Result<Vec<Uploaded>, Bad>;
    /// Makes an instance. It is running when the steps are done.
    fn launch(&self, wanted: &Wanted<'_>) -> Vec<Step>;
    /// All instances that rave has made, of any target.
    fn instances(&self) -> Call;
    /// Reads the answer.
    ///
    /// # Errors
    /// What is no such answer.
    fn read_instances(&self, answer: &[u8]) -> Result<Vec<Instance>, Bad>;
    /// Does that to an instance.
    fn instance(&self, verb: Verb, id: &str) -> Vec<Call>;
    /// Removes an instance with its disk.
    fn remove(&self, id: &str) -> Vec<Call>;
    /// Prints the console of an instance.
    fn console(&self, id: &str) -> Call;
    /// All images in all versions that rave has made of `image`; see [`answer::images`].
    fn images(&self, image: &ImageName) -> Call;
    /// Removes an image, and what it is made of.
    fn remove_image(&self, image: &Registered) -> (Vec<Call>, Vec<Removal>);
    /// What to do about what the tool said.
    fn remedies(&self) -> &'static [(&'static str, &'static str)];
}

/// What a provider takes an image as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// The disk itself, in blocks.
    Raw,
    /// A compressed tar archive.
    Gce,
    /// A fixed VHD.
    Vhd,
}

impl Place {
    /// The calls for it.
    pub fn calls(&self) -> Box<dyn Calls> {
        match self.clone() {
            Self::Aws { region, profile, endpoint } => Box::new(aws::Aws { region, profile, endpoint }),
            Self::Gcp { project, zone, bucket } => Box::new(gcp::Gcp { project, zone, bucket }),
            Self::Azure { subscription, resource_group, location, storage_account, container } => {
                Box::new(azure::Azure { subscription, resource_group, location, storage_account, container })
            }
        }
    }

    /// The place, for people.
    pub fn title(&self) -> String {
        match self {
            Self::Aws { region, .. } => format!("aws {region}"),
            Self::Gcp { project, zone, .. } => format!("gcp {project}/{zone}"),
            Self::Azure { resource_group, location, .. } => format!("azure {resource_group}/{location}"),
        }
    }
}

#[cfg(test)]
mod tests;
