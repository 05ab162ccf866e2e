//! What has to be made for an image, as a pure function of what goes in. A step's digest names its output
//! before it exists, so whatever the store holds under it need not be made again.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{Canonical, Digest};
use crate::name::PackageName;
use crate::system::System;
use crate::tree::Content;

/// Changes whenever the steps make other bytes from the same inputs.
const FORMAT: &str = "rave image 1";

/// The pieces of an image, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    /// Programs that make images and run machines.
    Tools,
    /// Packages, unpacked and configured.
    Rootfs,
    /// The read-only root file system.
    Root,
    /// Its dm-verity hash tree.
    Verity,
    /// The initial RAM disk.
    Initrd,
    /// The unified kernel image.
    Uki,
    /// The EFI system partition.
    Esp,
    /// The partitioned disk.
    Disk,
    /// What is known of the image.
    Manifest,
    /// The disk in QEMU's format.
    Qcow2,
}

impl Piece {
    /// All pieces, each after what it needs.
    pub const ALL: [Self; 10] = [
        Self::Tools,
        Self::Rootfs,
        Self::Root,
        Self::Verity,
        Self::Initrd,
        Self::Uki,
        Self::Esp,
        Self::Disk,
        Self::Manifest,
        Self::Qcow2,
    ];

    /// The word for it, in the store and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Rootfs => "rootfs",
            Self::Root => "root",
            Self::Verity => "verity",
            Self::Initrd => "initrd",
            Self::Uki => "uki",
            Self::Esp => "esp",
            Self::Disk => "disk",
            Self::Manifest => "manifest",
            Self::Qcow2 => "qcow2",
        }
    }

    /// What has to be there before it can be made.
    pub const fn needs(self) -> &'static [Self] {
        match self {
            Self::Tools | Self::Rootfs => &[],
            Self::Root => &[Self::Tools, Self::Rootfs],
            Self::Verity => &[Self::Root],
            Self::Initrd => &[Self::Rootfs],
            Self::Uki => &[Self::Initrd, Self::Verity],
            Self::Esp => &[Self::Uki, Self::Rootfs],
            Self::Disk => &[Self::Esp, Self::Root, Self::Verity],
            Self::Manifest => &[Self::Disk],
            Self::Qcow2 => &[Self::Disk, Self::Tools],
        }
    }
}

/// What other rooms and the caller bring in.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Digest of the tools tree.
    pub tools: Digest,
    /// Digest of the configured packages.
    pub rootfs: Digest,
    /// Digest of the rave binary, which becomes the guest agent and brings init.
    pub rave: Digest,
    /// Packages that ship, with their versions.
    pub packages: BTreeMap<PackageName, String>,
    /// The time that every file gets, in seconds since 1970.
    pub epoch: u64,
}

/// One piece and the digest of all that goes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which piece.
    pub piece: Piece,
    /// Digest of its inputs.
    pub digest: Digest,
    /// The pieces it is made from.
    pub needs: &'static [Piece],
}

/// All steps, each after what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The digest of a piece; None if it is not a part of this plan.
    pub fn digest(&self, piece: Piece) -> Option<Digest> {
        self.steps.iter().find(|step| step.piece == piece).map(|step| step.digest)
    }
}

/// Plans an image; `qcow2` adds that format.
pub fn plan(system: &System, inputs: &Inputs, qcow2: bool) -> Result<Plan, serde_json::Error> {
    let mut steps: Vec<Step> = vec![];
    for piece in Piece::ALL {
        if piece == Piece::Qcow2 && !qcow2 {
            continue;
        }
        let digest = match piece {
            Piece::Tools => inputs.tools,
            Piece::Rootfs => inputs.rootfs,
            _ => {
                let mut hash = Canonical::new(FORMAT);
                hash.field(piece.name());
                for step in steps.iter().filter(|step| piece.needs().contains(&step.piece)) {
                    hash.field(step.piece.name()).field(step.digest.as_bytes());
                }
                own_inputs(piece, system, inputs, &mut hash)?;
                hash.finish()
            }
        };
        steps.push(Step { piece, digest, needs: piece.needs() });
    }
    Ok(Plan { steps })
}

/// What a piece takes from the system itself, besides the pieces it needs.
fn own_inputs(piece: Piece, system: &System, inputs: &Inputs, hash: &mut Canonical) -> Result<(), serde_json::Error> {
    match piece {
        Piece::Root => {
            hash.field(inputs.rave.as_bytes()).field(inputs.epoch.to_le_bytes());
            hash.json(&(&system.name, &system.version, &system.exclude, &system.build_only, &system.set_id))?;
            hash.json(&system.starts)?;
            hash.json(&system.validate)?;
            hash.json(&system.disk.compression)?;
            // What the machine holds itself against.
            hash.json(&(system.mode, &system.cmdline, &system.expect))?;
            for (path, entry) in &system.tree {
                hash.field(path.as_str()).field(entry.mode.to_le_bytes()).field(&entry.owner).field(&entry.group);
                match &entry.content {
                    Content::File(bytes) => hash.field("file").field(bytes),
                    Content::Directory => hash.field("directory"),
                    Content::Symlink(target) => hash.field("symlink").field(target),
                    Content::Absent => hash.field("absent"),
                };
            }
        }
        Piece::Initrd => {
            hash.field(inputs.rave.as_bytes()).json(&system.initrd_modules)?;
            // Its shell is a tool.
            hash.json(&system.debug.then_some(inputs.tools))?;
        }
        Piece::Uki => {
            hash.json(&(&system.name, &system.version, &system.cmdline))?;
        }
        Piece::Esp => {
            hash.json(&(&system.name, &system.version, system.disk.esp_size))?;
        }
        Piece::Disk => {
            hash.json(&(&system.name, &system.version, system.disk.slot_size))?;
        }
        Piece::Manifest => {
            hash.json(&(system.mode, &system.machine, system.disk.size, &system.expect, &system.options))?;
            hash.json(&system.state)?;
            hash.json(&(&inputs.packages, &system.key_allow))?;
            for (path, entry) in &system.tree {
                hash.field(path.as_str()).json(&entry.option)?;
            }
        }
        Piece::Tools | Piece::Rootfs | Piece::Verity | Piece::Qcow2 => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::fixture;
    use crate::tree::Entry;

    fn inputs() -> Inputs {
        let digest = |text: &str| Digest::of(text.as_bytes());
        Inputs { tools: digest("t"), rootfs: digest("r"), rave: digest("v"), packages: BTreeMap::new(), epoch: 1 }
    }

    /// The pieces that a change makes anew.
    fn changed(change: impl FnOnce(&mut System, &mut Inputs)) -> Vec<&'static str> {
        let (mut system, mut inputs) = (fixture::system(), inputs());
        let before = plan(&system, &inputs, true).unwrap();
        change(&mut system, &mut inputs);
        let after = plan(&system, &inputs, true).unwrap();
        before
            .steps
            .iter()
            .zip(&after.steps)
            .filter(|(a, b)| a.digest != b.digest)
            .map(|(a, _)| a.piece.name())
            .collect()
    }

    #[test]
    fn a_change_makes_anew_just_what_depends_on_it() {
        assert_eq!(changed(|_, _| {}), [""; 0]);
        let etc_motd = "/etc/motd".parse().unwrap();
        let disk = ["esp", "disk", "manifest", "qcow2"];
        let with = |pieces: &[&'static str]| [pieces, &disk].concat();
        let file = changed(|system, _| drop(system.tree.insert(etc_motd, Entry::file("x", 0o644))));
        assert_eq!(file, with(&["root", "verity", "uki"]));
        // The machine holds its command line against what its root file system says.
        let root = with(&["root", "verity", "uki"]);
        assert_eq!(changed(|system, _| system.cmdline.push("quiet".into())), root);
        assert_eq!(changed(|system, _| system.expect.stages.extend(["monitoring".into()])), root);
        assert_eq!(changed(|system, _| system.disk.esp_size += 1), disk);
        assert_eq!(changed(|system, _| system.initrd_modules.extend(["nvme".into()])), with(&["initrd", "uki"]));
        let rave = changed(|_, inputs| inputs.rave = Digest::of(b"w"));
        assert_eq!(changed(|system, _| system.debug = true), with(&["initrd", "uki"]));
        assert_eq!(rave, with(&["root", "verity", "initrd", "uki"]));
        assert_eq!(changed(|system, _| system.machine.memory += 1), ["manifest"], "the machine is not in the image");
    }

    #[test]
    fn who_asked_for_a_file_does_not_change_it() {
        let path: crate::name::GuestPath = "/etc/motd".parse().unwrap();
        let digest = |option: Option<&str>| {
            let mut system = fixture::system();
            let option = option.map(|name| name.parse().unwrap());
            system.tree.insert(path.clone(), Entry { option, ..Entry::file("x", 0o644) });
            plan(&system, &inputs(), false).unwrap().digest(Piece::Disk)
        };
        assert_eq!(digest(None), digest(Some("a.b")));
    }

    #[test]
    fn every_step_comes_after_what_it_needs() {
        let plan = plan(&fixture::system(), &inputs(), true).unwrap();
        for (at, step) in plan.steps.iter().enumerate() {
            for need in step.needs {
                assert!(
                    plan.steps[..at].iter().any(|earlier| earlier.piece == *need),
                    "{need:?} before {:?}",
                    step.piece
                );
            }
        }
    }
}
