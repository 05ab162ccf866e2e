//! The manifest: all that is known of a built image, as JSON beside the disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{GuestPath, ImageName, OptionPath, PackageName, Version};
use crate::system::{Expect, Machine, Mode, OptionValue, State};

use super::archive::resolve_parent;
use super::contents::Searched;
use super::erofs::FileRecord;
use super::union::FACTORY;

/// A built image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// The image's name.
    pub image: ImageName,
    /// The image's version.
    pub version: Version,
    /// Resource mode.
    pub mode: Mode,
    /// Version of the rave that built it.
    pub rave: String,
    /// The time of every file, in seconds since 1970: when the newest archive in the lock was signed.
    pub epoch: u64,
    /// dm-verity root hash of the root file system.
    pub root_hash: Digest,
    /// Kernel release.
    pub kernel: String,
    /// Kernel command line, root hash included.
    pub cmdline: String,
    /// The disk as a whole.
    pub disk: Blob,
    /// The unified kernel image.
    pub uki: Blob,
    /// Its initial RAM disk.
    pub initrd: Blob,
    /// Partitions in order.
    pub partitions: Vec<Partition>,
    /// Packages that ship, with their versions.
    pub packages: BTreeMap<PackageName, String>,
    /// Final option values.
    pub options: BTreeMap<OptionPath, OptionValue>,
    /// The machine that the image asks for.
    pub machine: Machine,
    /// Size in bytes that the disk should have where the machine runs.
    pub disk_size: u64,
    /// Directories that outlive a version, and whether a backup takes them.
    pub state: BTreeMap<GuestPath, State>,
    /// What the running machine is held against.
    pub expect: Expect,
    /// The search of all the above for private keys and password hashes.
    #[serde(default)]
    pub leaks: Searched,
    /// Files of the root file system.
    pub files: BTreeMap<String, FileRecord>,
}

/// A piece of data by length and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// GPT label.
    pub label: String,
    /// GPT type, a UUID.
    pub kind: String,
    /// Partition UUID.
    pub uuid: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of what is in it, without the free space behind.
    pub content: Blob,
}

/// What the root step found out, kept beside its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// The EROFS image.
    pub image: Blob,
    /// Files in it.
    pub files: BTreeMap<String, FileRecord>,
    /// Units that packages start by themselves and that must be active, with the option that asked for each package.
    pub units: BTreeMap<String, OptionPath>,
}

/// What the verity step found out, kept beside its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerityRecord {
    /// dm-verity root hash.
    pub root_hash: Digest,
    /// The hash tree with its superblock.
    pub tree: Blob,
}

impl Manifest {
    /// A file by its path in the machine, through links in its directories and in the copy of what packages ship in
    /// /var, with its path in the root file system.
    pub fn file(&self, path: &str) -> Option<(String, &FileRecord)> {
        let real = resolve_parent(path, |path| self.files.get(path)?.link.as_deref())?;
        [real.clone(), format!("{FACTORY}{real}")].into_iter().find_map(|path| {
            let record = self.files.get(&path)?;
            Some((path, record))
        })
    }

    /// Where in the EFI system partition something of the unified kernel image is, in bytes: all else there is smaller than
    /// that, and comes before.
    pub fn inside_uki(&self) -> u64 {
        self.uki.size / 4 * 3
    }

    /// The manifest as JSON text.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::images::fixture::manifest;

    #[test]
    fn a_file_is_found_by_its_path_in_the_machine() {
        let mut manifest = manifest();
        let file = manifest.files["/a"].clone();
        for path in ["/usr/bin/sh", "/usr/share/factory/var/lib/state"] {
            manifest.files.insert(path.to_owned(), file.clone());
        }
        let bin = super::FileRecord { link: Some("usr/bin".to_owned()), ..file };
        manifest.files.insert("/bin".to_owned(), bin);
        for (path, found) in [
            ("/usr/bin/sh", Some("/usr/bin/sh")),
            ("/bin/sh", Some("/usr/bin/sh")),
            ("/bin", Some("/bin")),
            ("/var/lib/state", Some("/usr/share/factory/var/lib/state")),
            ("/usr/bin/none", None),
            ("sh", None),
            ("/", None),
        ] {
            assert_eq!(manifest.file(path).map(|(path, _)| path).as_deref(), found, "{path}");
        }
    }
}
