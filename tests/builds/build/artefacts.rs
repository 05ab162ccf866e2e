//! What programs of other people say of a disk and its parts.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rave::disk;

use super::built;

/// Changes one bit of a file.
fn flip(path: &Path, at: u64) {
    let file = disk::open_existing_rw(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn programs_of_other_people_accept_the_artefacts() {
    let lab = built();
    let manifest = lab.manifest();
    let work = tempfile::tempdir().unwrap();
    for (from, name) in
        [(lab.piece("root").join("root.erofs"), "root"), (lab.piece("verity").join("root.verity"), "tree")]
    {
        disk::copy(from, work.path().join(name)).unwrap();
        disk::set_mode(work.path().join(name), 0o644).unwrap();
    }
    for name in ["disk", "esp"] {
        disk::copy(lab.piece(name), work.path().join(name)).unwrap();
        disk::set_mode(work.path().join(name), 0o644).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| lab.judge(program, work.path()).args(arguments).output();
    let root_hash = manifest["root_hash"].as_str().unwrap();
    let verify = ["verify", "/in/root", "/in/tree", root_hash];
    run("/usr/sbin/veritysetup", &verify).unwrap();
    let erofs = || {
        let fsck = lab.judge("/usr/bin/fsck.erofs", work.path()).args(["-d3", "/in/root"]);
        let ended = fsck.bounded(Duration::from_secs(60), 4096).unwrap();
        // Its status is good also where the superblock is not.
        let said = String::from_utf8(ended.stderr).unwrap();
        (ended.status.unwrap().success() && said.contains("No errors found"), said)
    };
    let gpt = || {
        let said = String::from_utf8(run("/usr/sbin/sgdisk", &["-v", "/in/disk"]).unwrap()).unwrap();
        (said.contains("No problems found"), said)
    };
    for (is_sound, said) in [erofs(), gpt()] {
        assert!(is_sound, "{said}");
    }
    run("/usr/sbin/fsck.vfat", &["-n", "/in/esp"]).unwrap();
    let listing = String::from_utf8(run("/usr/bin/mdir", &["-b", "-i", "/in/esp", "::/EFI/Linux"]).unwrap()).unwrap();
    assert!(listing.contains("minimal_1.0.0+3-0.efi"), "{listing}");
    // Where `rave vm fault` changes a byte of it, which the kernel's start trips over.
    let esp = disk::read(work.path().join("esp")).unwrap();
    let uki = disk::read(lab.piece("uki")).unwrap();
    let at = serde_json::from_value::<rave::images::Manifest>(manifest.clone()).unwrap().inside_uki();
    let begin = memchr::memmem::find(&esp, &uki[..4096]).unwrap() as u64;
    assert!(begin < at && at < begin + uki.len() as u64, "{begin} {at}");

    // A root shell is in initrds for debugging, and not in this one.
    disk::copy(lab.piece("initrd"), work.path().join("initrd")).unwrap();
    let list = "/usr/bin/zstd -dcq /in/initrd | /usr/bin/cpio -t --quiet";
    let listing = String::from_utf8(run("/usr/bin/busybox", &["sh", "-c", list]).unwrap()).unwrap();
    let names: Vec<&str> = listing.lines().collect();
    assert!(names.contains(&"init") && !names.iter().any(|name| name.starts_with("bin")), "{names:?}");

    // The judges are awake: one changed bit is refused.
    flip(&work.path().join("root"), disk::metadata(work.path().join("root")).unwrap().len() / 2);
    run("/usr/sbin/veritysetup", &verify).unwrap_err();
    // In the superblock, in the first entry of the partition table, in one of the two FATs.
    for (name, at) in [("root", 1024 + 40), ("disk", 1024 + 16), ("esp", 32 * 512 + 12)] {
        flip(&work.path().join(name), at);
    }
    for (is_sound, said) in [erofs(), gpt()] {
        assert!(!is_sound, "{said}");
    }
    run("/usr/sbin/fsck.vfat", &["-n", "/in/esp"]).unwrap_err();
}

#[test]
fn the_qcow2_form_holds_the_same_disk() {
    let lab = built();
    lab.good(&["build", "minimal", "--format", "qcow2", "--output", "q"]);
    let work = tempfile::tempdir().unwrap();
    disk::copy(lab.path("project/q/disk.qcow2"), work.path().join("disk.qcow2")).unwrap();
    disk::copy(lab.piece("disk"), work.path().join("disk.raw")).unwrap();
    let run = |arguments: &[&str]| lab.judge("/usr/bin/qemu-img", work.path()).args(arguments).output();
    run(&["check", "/in/disk.qcow2"]).unwrap();
    run(&["compare", "-f", "qcow2", "-F", "raw", "/in/disk.qcow2", "/in/disk.raw"]).unwrap();

    // It is awake: a changed bit in the table of reference counts is refused.
    let path = work.path().join("disk.qcow2");
    disk::set_mode(&path, 0o644).unwrap();
    let header = disk::read_start(&path, 56).unwrap();
    flip(&path, u64::from_be_bytes(header[48..].try_into().unwrap()) + 7);
    run(&["check", "/in/disk.qcow2"]).unwrap_err();
}
