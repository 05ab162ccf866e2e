//! Exported disks and images, opened by programs of other people.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rave::digest::Digest;
use rave::disk;
use rave::tool::Tool;
use serde_json::Value;

use super::{Lab, built, dissect, good, measured, registry};

const ALL: &str = "raw,raw.zst,qcow2,vhd,vmdk,ova,gce,oci,containerdisk,uki";

/// What the names of their files end with.
const SUFFIXES: [&str; 10] =
    ["raw", "raw.zst", "qcow2", "vhd", "vmdk", "ova", "gce.tar.gz", "oci.tar", "containerdisk.tar", "efi"];

/// Bytes of a member of a tar archive, by the host's tar.
fn member(archive: &Path, name: &str) -> Vec<u8> {
    Tool::new("tar").arg("-xOf").arg(archive).arg(name).output().unwrap()
}

/// The one layer of an OCI image: its media type and the name of its blob.
fn layer(archive: &Path) -> (String, String) {
    let json = |name: &str| -> Value { serde_json::from_slice(&member(archive, name)).unwrap() };
    let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let manifest = json(&blob(&json("index.json")["manifests"][0]["digest"]));
    let layer = &manifest["layers"][0];
    let config = json(&blob(&manifest["config"]["digest"]));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    (layer["mediaType"].as_str().unwrap().to_owned(), blob(&layer["digest"]))
}

/// An appliance is taken for the machine that it is, with its firmware, and one that is damaged or not whole is refused.
fn imported(lab: &Lab, folder: &Path) {
    let import = |name: &str| {
        let tool = lab.judge("/usr/bin/virt-v2v", folder).args(["-i", "ova", &format!("/in/{name}"), "--print-source"]);
        tool.output().map(|told| String::from_utf8(told).unwrap())
    };
    let manifest = lab.manifest();
    let machine = &manifest["machine"];
    let told = import("minimal_1.0.0.ova").unwrap();
    for part in [
        "source name: minimal_1.0.0\n".to_owned(),
        format!("memory: {} (bytes)\n", machine["memory"].as_u64().unwrap() << 20),
        format!("nr vCPUs: {}\n", machine["vcpus"]),
        "firmware: uefi\n".to_owned(),
        "disks:\n\t0 [".to_owned(),
        "Bridge \"network\" [vmxnet3]\n".to_owned(),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }

    let names = ["ovf", "mf", "vmdk"].map(|suffix| format!("minimal_1.0.0.{suffix}"));
    let [description, digests, disk_name] = names.each_ref().map(String::as_str);
    let members = names.each_ref().map(|name| member(&folder.join("minimal_1.0.0.ova"), name));
    let replaced = |bytes: &[u8], from: &str, to: &str| {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    };
    let other_firmware = replaced(&members[0], "vmw:value=\"efi\"", "vmw:value=\"bios\"");
    let [digest, other] = [members[2].as_slice(), b""].map(|bytes| Digest::of(bytes).to_string());
    let other_digest = replaced(&members[1], &digest, &other);
    let mut rotten = members[2].clone();
    rotten[1 << 20] ^= 1;
    let mismatch = |name: &str| format!("checksum of disk {name} does not match manifest");
    for (changed, bytes, said) in [
        (description, Some(other_firmware), mismatch(description)),
        (digests, Some(other_digest), mismatch(disk_name)),
        (disk_name, Some(rotten), mismatch(disk_name)),
        (disk_name, None, "was not found in the OVA archive".to_owned()),
    ] {
        let mut archive = tar::Builder::new(disk::create(folder.join("broken.ova")).unwrap());
        for (name, content) in names.iter().zip(&members) {
            let content = if name == changed { bytes.as_ref() } else { Some(content) };
            let Some(content) = content else { continue };
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        archive.into_inner().unwrap();
        let refused = import("broken.ova").unwrap_err().to_string();
        assert!(refused.contains(&said), "{said}: {refused}");
    }
}

#[test]
fn exported_forms_hold_what_was_built_for_programs_of_other_people() {
    let lab = built();
    let (output, memory) = measured(&mut lab.command(&["export", "minimal", "--format", ALL, "--output", "forms"]));
    assert!(output.status.success(), "{output:?}");
    println!("{} MiB", memory >> 20);
    // With less nobody would have looked; the image does not fit into it.
    assert!((10 << 20..256 << 20).contains(&memory), "{memory}");
    let folder = lab.path("project/forms");
    let file = |suffix: &str| folder.join(format!("minimal_1.0.0.{suffix}"));
    let record = |path: PathBuf| -> Value {
        serde_json::from_slice(&disk::read(format!("{}.json", path.display())).unwrap()).unwrap()
    };
    assert_eq!(disk::list(&folder).unwrap().len(), 20, "ten files, each with its record, and nothing else");
    let raw = record(file("raw"));
    assert_eq!(raw["sha256"], lab.manifest()["disk"]["sha256"]);
    // As the guide verifies them.
    let records: Vec<Value> = SUFFIXES.iter().map(|suffix| record(file(suffix))).collect();
    let line = |record: &Value| {
        let [sha256, name] = ["sha256", "file"].map(|key| record[key].as_str().unwrap());
        format!("{sha256}  {}\n", folder.join(name).display())
    };
    let lines: String = records.iter().map(line).collect();
    let told = Tool::new("sha256sum").args(["--check", "--strict"]).output_with_input(lines.as_bytes()).unwrap();
    let fine: String = SUFFIXES.iter().map(|suffix| format!("{}: OK\n", file(suffix).display())).collect();
    assert_eq!(String::from_utf8(told).unwrap(), fine);

    // Disks.
    let run = |arguments: &[&str]| lab.judge("/usr/bin/qemu-img", &folder).args(arguments).output();
    let compare = |format: &str, suffix: &str| {
        let name = format!("/in/minimal_1.0.0.{suffix}");
        run(&["compare", "-f", format, "-F", "raw", &name, "/in/minimal_1.0.0.raw"])
    };
    for (format, suffix) in [("qcow2", "qcow2"), ("vpc", "vhd"), ("vmdk", "vmdk")] {
        compare(format, suffix).unwrap();
        let info = run(&["info", "-f", format, "--output=json", &format!("/in/minimal_1.0.0.{suffix}")]).unwrap();
        let info: Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(info["virtual-size"], lab.manifest()["disk_size"], "{suffix}: a machine starts from it as it is");
        let own = &info["format-specific"]["data"];
        match format {
            "qcow2" => assert_eq!(own["compression-type"], "zstd"),
            "vmdk" => {
                let is_compressed = &own["extents"][0]["compressed"];
                assert_eq!((&own["create-type"], is_compressed), (&"streamOptimized".into(), &true.into()), "{info:#}");
            }
            _ => {}
        }
    }
    let check = |format: &str| -> Value {
        let name = format!("/in/minimal_1.0.0.{format}");
        serde_json::from_slice(&run(&["check", "-f", format, "--output=json", &name]).unwrap()).unwrap()
    };
    let (qcow2, vmdk) = (check("qcow2"), check("vmdk"));
    assert!(qcow2["check-errors"] == 0 && vmdk["check-errors"] == 0, "{qcow2:#} {vmdk:#}");
    // What is packed already stays as it is.
    let [compressed, all] = ["compressed-clusters", "allocated-clusters"].map(|key| qcow2[key].as_u64().unwrap());
    assert!(compressed > all / 2, "{qcow2:#}");
    Tool::new("tar").arg("-xzSf").arg(file("gce.tar.gz")).arg("-C").arg(&folder).output().unwrap();
    run(&["compare", "-f", "raw", "-F", "raw", "/in/disk.raw", "/in/minimal_1.0.0.raw"]).unwrap();
    assert_eq!(disk::metadata(folder.join("disk.raw")).unwrap().len() % (1 << 30), 0);
    let unpack = "/usr/bin/zstd -dcq /in/minimal_1.0.0.raw.zst | /usr/bin/busybox sha256sum";
    let digest = lab.judge("/usr/bin/busybox", &folder).args(["sh", "-c", unpack]).output().unwrap();
    assert_eq!(raw["sha256"].as_str().unwrap().as_bytes(), &digest[..64]);

    // Archives with a disk in them.
    let names = String::from_utf8(Tool::new("tar").arg("-tf").arg(file("ova")).output().unwrap()).unwrap();
    assert_eq!(names, "minimal_1.0.0.ovf\nminimal_1.0.0.mf\nminimal_1.0.0.vmdk\n");
    assert!(member(&file("ova"), "minimal_1.0.0.vmdk") == disk::read(file("vmdk")).unwrap());
    imported(lab, &folder);
    let (media, name) = layer(&file("containerdisk.tar"));
    let inner = folder.join("layer.tar");
    disk::write_atomic(&inner, &member(&file("containerdisk.tar"), &name), 0o644).unwrap();
    let listing = Tool::new("tar").args(["--numeric-owner", "-tvf"]).arg(&inner).output().unwrap();
    let listing = String::from_utf8(listing).unwrap();
    assert!(media.ends_with("v1.tar") && listing.lines().all(|line| line.contains("107/107")), "{media} {listing}");
    assert!(member(&inner, "disk/minimal_1.0.0.qcow2") == disk::read(file("qcow2")).unwrap());

    // Files.
    let (media, _) = layer(&file("oci.tar"));
    assert!(media.ends_with("v1.tar+zstd"), "{media}");
    let unpacked = folder.join("unpacked");
    let skopeo = Tool::of_user("skopeo", &registry::environment(lab, "unpacker", &[]));
    let from = format!("oci-archive:{}", file("oci.tar").display());
    let to = format!("dir:{}", unpacked.display());
    skopeo.args(["copy", "--dest-decompress", &from, &to]).output().unwrap();
    let json = |name: &str| -> Value { serde_json::from_slice(&disk::read(unpacked.join(name)).unwrap()).unwrap() };
    let hex = |digest: &Value| digest.as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let described = json("manifest.json");
    let archive = hex(&described["layers"][0]["digest"]);
    assert_eq!(hex(&json(&hex(&described["config"]["digest"]))["rootfs"]["diff_ids"][0]), archive);
    let listing =
        Tool::new("tar").args(["--quoting-style=literal", "-tf"]).arg(unpacked.join(archive)).output().unwrap();
    let path = |line: &str| format!("/{}", line.trim_start_matches("./").trim_end_matches('/'));
    let paths: BTreeSet<String> = String::from_utf8(listing).unwrap().lines().map(path).collect();
    let manifest = lab.manifest();
    let expected: BTreeSet<String> = manifest["files"].as_object().unwrap().keys().cloned().collect();
    assert!(paths == expected, "{:?}", paths.symmetric_difference(&expected).take(9).collect::<Vec<_>>());

    // The unified kernel image.
    let listing = lab.judge("/usr/bin/objdump", &folder).args(["-h", "/in/minimal_1.0.0.efi"]).output().unwrap();
    let listing = String::from_utf8(listing).unwrap();
    let size = |name: &str| {
        let mut lines = listing.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
        let line = lines.find(|words| words.first() == Some(&name)).unwrap_or_else(|| panic!("{name}: {listing}"));
        u64::from_str_radix(line[1], 16).unwrap()
    };
    assert_eq!(size(".initrd"), manifest["initrd"]["size"]);
    assert_eq!(size(".cmdline"), manifest["cmdline"].as_str().unwrap().len() as u64);
    assert!([".linux", ".osrel"].into_iter().all(|name| size(name) > 0), "{listing}");

    // The judges are awake: one changed byte is found.
    let vhd = disk::open_existing_rw(file("vhd")).unwrap();
    vhd.write_all_at(b"x", (1 << 20) + 3).unwrap();
    compare("vpc", "vhd").unwrap_err();

    // The same bytes again, however many threads make them.
    let mut again = lab.command(&["export", "minimal", "--format", ALL, "--output", "again"]);
    again.env("RAYON_NUM_THREADS", "1");
    good(again);
    let names = |folder: &Path| -> BTreeSet<OsString> {
        let all = disk::list(folder).unwrap().into_iter().map(|path| path.file_name().unwrap().to_owned());
        all.filter(|name| name.to_string_lossy().ends_with(".json")).collect()
    };
    let once_more = lab.path("project/again");
    assert_eq!(names(&once_more), names(&folder));
    for name in names(&once_more) {
        let [one, other] = [&folder, &once_more].map(|folder| disk::read_to_string(folder.join(&name)).unwrap());
        assert_eq!(one, other);
    }
    disk::remove_dir_all(&once_more).unwrap();

    // And whatever else is asked for; what rave export wrote is replaced, and nothing else.
    let before = record(file("gce.tar.gz"));
    lab.good(&["export", "minimal", "--format", "gce", "--output", "forms"]);
    assert_eq!(record(file("gce.tar.gz")), before);
    disk::remove_file(format!("{}.json", file("vhd").display())).unwrap();
    let output = lab.command(&["export", "minimal", "-f", "vhd", "-f", "raw", "--output", "forms"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("minimal_1.0.0.vhd is in the way"), "{told}");
}

#[test]
fn a_damaged_disk_is_not_exported_and_what_a_killed_export_left_goes() {
    let lab = built();
    let kept = lab.path("kept");
    disk::create_dir_all(&kept).unwrap();
    for name in ["disk.raw", "manifest.json", "uki.efi"] {
        disk::copy(lab.path("project/result").join(name), kept.join(name)).unwrap();
        disk::set_mode(kept.join(name), 0o644).unwrap();
    }
    let disk_path = kept.join("disk.raw");
    let export = |format: &str| {
        let mut command = lab.command(&["export"]);
        command.arg(&disk_path).args(["--format", format]).arg("--output").arg(kept.join("out"));
        command
    };
    good(export("qcow2"));
    println!("what a killed export has left goes, and only one at a time writes to a directory");
    let dead = kept.join("out/.rave-export-dead");
    disk::create_dir_all(dead.join("half")).unwrap();
    let one = disk::Lock::existing(kept.join("out")).unwrap();
    let output = export("qcow2").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("another rave export is writing"), "{told}");
    assert!(disk::exists(&dead));
    drop(one);
    let file = disk::open_existing_rw(&disk_path).unwrap();
    file.write_all_at(b"rot", (1 << 20) + 3).unwrap();
    let output = export("vmdk,raw").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("disk.raw is damaged"), "{told}");
    let left = disk::list(kept.join("out")).unwrap();
    assert_eq!(left.len(), 2, "only what was there is left: {left:?}");
}

#[test]
fn large_sectors_are_for_disks_that_can_have_them() {
    let lab = built();
    let output = lab.command(&["export", "minimal", "-f", "vhd", "--sector-size", "4096"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("raw, raw.zst, qcow2, containerdisk"), "{told}");
    lab.good(&["export", "minimal", "-f", "raw,qcow2", "--sector-size", "4096", "--output", "large"]);
    let folder = lab.path("project/large");
    let both = ["/in/minimal_1.0.0.4k.qcow2", "/in/minimal_1.0.0.4k.raw"];
    let compare = lab.judge("/usr/bin/qemu-img", &folder).args(["compare", "-f", "qcow2", "-F", "raw"]).args(both);
    compare.output().unwrap();
    let (raw, esp) = (folder.join("minimal_1.0.0.4k.raw"), folder.join("esp"));
    let table = disk::read_start(&raw, 4104).unwrap();
    assert_eq!(&table[4096..], b"EFI PART");
    let copy = Tool::new("dd").arg(format!("if={}", raw.display())).arg(format!("of={}", esp.display()));
    copy.args(["bs=1M", "skip=1", "count=260", "conv=sparse"]).output().unwrap();
    let root_hash = lab.manifest()["root_hash"].as_str().unwrap().to_owned();
    dissect::validate(lab, &folder, "minimal_1.0.0.4k.raw", &root_hash).unwrap();
    lab.judge("/usr/sbin/fsck.vfat", &folder).args(["-n", "/in/esp"]).output().unwrap();
    let listing = lab.judge("/usr/bin/mdir", &folder).args(["-b", "-i", "/in/esp", "::/EFI/Linux"]).output().unwrap();
    assert!(String::from_utf8(listing).unwrap().contains("minimal_1.0.0+3-0.efi"));
}
