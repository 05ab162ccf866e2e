//! What systemd makes of a disk: whose partitions these are, and that the root hash of the manifest opens them.

use std::path::Path;

use rave::disk;
use rave::tool::{self, Tool};
use serde_json::{Value, json};

use super::{Lab, built};

/// A root with its hash tree, an EFI system partition, and nothing besides (systemd.image-policy(7)).
const POLICY: &str = "root=verity:esp=unprotected:=absent";

/// Holds a disk of `folder` against [`POLICY`], as any user can.
pub fn validate(lab: &Lab, folder: &Path, name: &str, root_hash: &str) -> Result<(), tool::Error> {
    validate_by(lab, folder, name, root_hash, POLICY)
}

fn validate_by(lab: &Lab, folder: &Path, name: &str, root_hash: &str, policy: &str) -> Result<(), tool::Error> {
    let options = [format!("--root-hash={root_hash}"), format!("--image-policy={policy}"), format!("/in/{name}")];
    lab.judge("/usr/bin/systemd-dissect", folder).arg("--validate").args(options).output().map(drop)
}

/// What it lists, from a loop device.
fn list(lab: &Lab, raw: &Path, root_hash: &str) -> Result<Value, tool::Error> {
    let tree = lab.piece("tools");
    let libraries = format!("{0}:{0}/systemd", tree.join("usr/lib/x86_64-linux-gnu").display());
    let alone = ["--mount", "sh", "-euc", "mount -t tmpfs tmpfs /run; exec \"$@\"", "sh"];
    let program = Tool::new("unshare").args(alone).arg(tree.join("lib64/ld-linux-x86-64.so.2"));
    let program = program.arg("--library-path").arg(libraries).arg(tree.join("usr/bin/systemd-dissect"));
    let said = program.arg("--json=short").arg(format!("--root-hash={root_hash}")).arg(raw).output()?;
    Ok(serde_json::from_slice(&said).unwrap())
}

#[test]
fn systemd_finds_the_partitions_that_the_root_hash_belongs_to() {
    let lab = built();
    let manifest = lab.manifest();
    let root_hash = manifest["root_hash"].as_str().unwrap();
    let another: String = root_hash.chars().rev().collect();
    let refused = "No root partition for specified root hash found";
    let work = tempfile::tempdir().unwrap();
    let raw = work.path().join("disk");
    disk::copy(lab.piece("disk"), &raw).unwrap();

    validate(lab, work.path(), "disk", root_hash).unwrap();
    let error = validate(lab, work.path(), "disk", &another).unwrap_err().to_string();
    assert!(error.contains(refused), "{error}");
    // It holds to what it is told: there is an EFI system partition, and nobody has signed the root hash.
    for policy in ["root=verity:=absent", "root=signed:esp=unprotected:=absent"] {
        let error = validate_by(lab, work.path(), "disk", root_hash, policy).unwrap_err().to_string();
        assert!(error.contains("does not match image policy"), "{policy}: {error}");
    }

    if !rustix::process::geteuid().is_root() {
        // Loop devices are root's.
        return;
    }
    let listed = list(lab, &raw, root_hash).unwrap();
    let keys = ["designator", "partition_label", "partition_uuid", "fstype", "verity"];
    let found: Vec<_> = listed["mounts"].as_array().unwrap().iter().map(|one| keys.map(|key| &one[key])).collect();
    let uuid = |half: &str| {
        let parts = [&half[..8], &half[8..12], &half[12..16], &half[16..20], &half[20..]];
        parts.join("-")
    };
    let expected = json!([
        ["root", "minimal_1.0.0", uuid(&root_hash[..32]), "erofs", "yes"],
        ["esp", "esp", manifest["partitions"][0]["uuid"], "vfat", null],
        ["root-verity", "minimal_1.0.0_verity", uuid(&root_hash[32..]), "DM_verity_hash", null],
    ]);
    assert_eq!(json!(found), expected, "{listed:#}");
    assert!(listed["architecture"] == "x86-64" && listed["useBootableUefi"] == true, "{listed:#}");
    let error = list(lab, &raw, &another).unwrap_err().to_string();
    assert!(error.contains(refused), "{error}");
}
