//! Sizes, labels and identities of the partitions: pure functions of the content and of the image's options.

use crate::digest::{Canonical, Digest};
use crate::system::System;
use crate::uuid::Uuid;

use super::error::Error;
use super::esp;
use super::gpt;
use super::manifest::{Blob, Partition};
use super::verity;

const MIB: u64 = 1 << 20;

/// The size of a disk's logical sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sectors {
    /// 512 bytes, as almost all disks have.
    #[default]
    Small,
    /// 4096 bytes.
    Large,
}

impl Sectors {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => 512,
            Self::Large => 4096,
        }
    }
}

/// Size in bytes of the EFI system partition: what the image asks for, or as much as FAT32 needs with large sectors.
pub fn esp_size(system: &System, sectors: Sectors) -> u64 {
    let asked = system.disk.esp_size.next_multiple_of(MIB);
    match sectors {
        Sectors::Small => asked,
        Sectors::Large => asked.max(esp::least(sectors)),
    }
}

/// The partitions of the shipped disk: the EFI system partition and slot A.
pub fn partitions(
    system: &System,
    esp: Blob,
    root: Blob,
    tree: Blob,
    root_hash: &Digest,
) -> Result<Vec<Partition>, Error> {
    let slot =
        system.disk.slot_size.unwrap_or_else(|| (root.size * 2).next_multiple_of(64 * MIB)).next_multiple_of(MIB);
    let tree_slot = verity::hash_size(slot).next_multiple_of(MIB);
    let (root_uuid, tree_uuid) = Uuid::of_root_hash(root_hash);
    let label = format!("{}_{}", system.name, system.version);
    let esp_uuid = Uuid::from_digest(&identity("esp", &esp.sha256));
    let partition = |label: String, kind: Uuid, uuid: Uuid, size: u64, content: Blob| Partition {
        label,
        kind: kind.to_string(),
        uuid: uuid.to_string(),
        size,
        content,
    };
    let partitions = vec![
        partition("esp".to_owned(), gpt::ESP, esp_uuid, esp_size(system, Sectors::Small), esp),
        partition(label.clone(), gpt::ROOT_X86_64, root_uuid, slot, root),
        partition(format!("{label}_verity"), gpt::ROOT_X86_64_VERITY, tree_uuid, tree_slot, tree),
    ];
    for (partition, what) in partitions.iter().zip(["EFI system partition", "root file system", "hash tree"]) {
        if partition.content.size > partition.size {
            return Err(Error::TooSmall { what, needed: partition.content.size, available: partition.size });
        }
    }
    Ok(partitions)
}

/// A digest for one purpose, from the digest of what it identifies.
pub fn identity(purpose: &str, of: &Digest) -> Digest {
    Canonical::new("rave identity").field(purpose).field(of.as_bytes()).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::fixture;

    #[test]
    fn slots_leave_room_for_the_next_version_and_the_tree_covers_the_slot() {
        let blob = |size| Blob { sha256: Digest::of(b"x"), size };
        let system = fixture::system();
        let hash = Digest::of(b"root");
        let made = partitions(&system, blob(64 * MIB), blob(70 * MIB), blob(MIB), &hash).unwrap();
        assert_eq!(made.iter().map(|p| p.size / MIB).collect::<Vec<_>>(), [64, 192, 2]);
        assert_eq!(made.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(), ["esp", "test_1", "test_1_verity"]);
        assert_eq!(made[1].uuid.replace('-', ""), hash.to_string()[..32]);
        assert_eq!(made[2].uuid.replace('-', ""), hash.to_string()[32..]);
    }

    #[test]
    fn content_that_does_not_fit_is_an_error() {
        let blob = |size| Blob { sha256: Digest::of(b"x"), size };
        let mut system = fixture::system();
        system.disk.slot_size = Some(64 * MIB);
        let error = partitions(&system, blob(1), blob(65 * MIB), blob(1), &Digest::of(b"")).unwrap_err();
        assert!(matches!(error, Error::TooSmall { what: "root file system", .. }), "{error}");
    }
}
