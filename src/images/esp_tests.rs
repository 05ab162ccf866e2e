use std::path::PathBuf;

use super::*;
use crate::tool::{self, Tool};

const SIZE: u64 = 40 << 20;

fn made(files: &[EspFile<'_>], size: u64) -> (tempfile::TempDir, PathBuf, Result<(), Error>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("esp");
    let result = write(&path, size, Sectors::Small, 0x1234_abcd, files);
    (dir, path, result)
}

fn file<'a>(path: &'a str, content: &'a [u8]) -> EspFile<'a> {
    EspFile { path, content }
}

#[test]
fn bytes_are_the_same_twice_and_independent_readers_agree() {
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    let files = [file("EFI/BOOT/BOOTX64.EFI", b"boot"), file("EFI/Linux/minimal_1.0+3-0.efi", &big)];
    let (_dir, path, result) = made(&files, SIZE);
    result.unwrap();
    let bytes = disk::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, SIZE);
    let (_dir2, second, result) = made(&files, SIZE);
    result.unwrap();
    assert!(disk::read(second).unwrap() == bytes);
    assert_eq!(&bytes[82..90], b"FAT32   ");

    match Tool::new("fsck.vfat").args(["-n", "-v"]).arg(&path).output() {
        Err(tool::Error::Start { .. }) => return,
        Err(error) => {
            let said = Tool::new("sh").args(["-c", "fsck.vfat -n -v \"$0\"; true"]).arg(&path).output().unwrap();
            panic!("{error}: {}", String::from_utf8_lossy(&said));
        }
        Ok(_) => {}
    }
    let read = |name: &str| Tool::new("mcopy").arg("-i").arg(&path).args([name, "-"]).output();
    match read("::EFI/Linux/minimal_1.0+3-0.efi") {
        Err(tool::Error::Start { .. }) => return,
        other => assert!(other.unwrap() == big),
    }
    assert_eq!(read("::EFI/BOOT/BOOTX64.EFI").unwrap(), b"boot");
    assert!(read("::EFI/none").is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let big = vec![1; SIZE as usize];
    assert!(matches!(made(&[file("a", &big[..big.len() - 600_000])], SIZE).2, Err(Error::Full { .. })));
    assert!(matches!(made(&[file("a", &big), file("b", &big)], SIZE).2, Err(Error::Full { .. })));
    for size in [0, 4096, 33 << 20, SIZE + 512, u64::MAX] {
        assert!(matches!(made(&[], size).2, Err(Error::Size { .. })), "{size}");
    }
}

#[test]
fn sizes_at_the_borders_are_sound_for_fsck() {
    for size in [least(Sectors::Small), 272 << 20, (272 << 20) + 4096] {
        let (_dir, path, result) = made(&[file("EFI/a", b"")], size);
        result.unwrap();
        let geometry = Geometry::new(size, Sectors::Small).unwrap();
        assert!(geometry.clusters >= 65525, "{geometry:?}");
        if let Err(error @ tool::Error::Failed { .. }) = Tool::new("fsck.vfat").arg("-n").arg(&path).output() {
            panic!("{error}");
        }
    }
}

#[test]
fn hostile_paths_are_refused() {
    for path in ["", "/a", "a/", "a//b", "../a", "a/..", "a\\b", "a:b", "é", "a b", "a.", "a\0", &"a".repeat(256)] {
        assert!(matches!(made(&[file(path, b"")], SIZE).2, Err(Error::Path(_))), "{path:?}");
    }
}

#[test]
fn a_path_that_is_there_twice_is_refused() {
    for pair in [["a", "a"], ["a", "A"], ["a", "a/b"], ["a/b", "a"], ["a/b", "A/c"]] {
        let files = pair.map(|path| file(path, b"x"));
        assert!(matches!(made(&files, SIZE).2, Err(Error::Twice(_))), "{pair:?}");
    }
}

#[test]
fn many_long_names_fill_more_than_one_cluster() {
    let names: Vec<_> = (0..40).map(|n| format!("EFI/Linux/a-rather-long-name-{n}.efi")).collect();
    let files: Vec<_> = names.iter().map(|name| file(name, name.as_bytes())).collect();
    let (_dir, path, result) = made(&files, SIZE);
    result.unwrap();
    match Tool::new("fsck.vfat").arg("-n").arg(&path).output() {
        Err(tool::Error::Start { .. }) => return,
        other => drop(other.unwrap()),
    }
    match Tool::new("mcopy").arg("-i").arg(&path).args([&format!("::{}", names[39]), "-"]).output() {
        Err(tool::Error::Start { .. }) => {}
        other => assert_eq!(other.unwrap(), names[39].as_bytes()),
    }
}

#[test]
fn large_sectors_are_fat32_for_fsck_and_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("esp");
    let size = least(Sectors::Large);
    assert!(matches!(write(&path, size - 4096, Sectors::Large, 1, &[]), Err(Error::Size { .. })));
    for size in [size, 512 << 20] {
        write(&path, size, Sectors::Large, 1, &[file("EFI/BOOT/BOOTX64.EFI", b"boot"), file("b", &[7; 9000])]).unwrap();
        let geometry = Geometry::new(size, Sectors::Large).unwrap();
        assert!(geometry.clusters >= 65525, "{geometry:?}");
        let boot = disk::read_start(&path, 512).unwrap();
        assert_eq!((&boot[11..13], boot[13], &boot[510..]), (&[0, 16][..], 1, &[0x55, 0xaa][..]));
        match Tool::new("fsck.vfat").args(["-n", "-v"]).arg(&path).output() {
            Err(tool::Error::Start { .. }) => return,
            other => assert!(String::from_utf8_lossy(&other.unwrap()).contains("4096 bytes per logical sector")),
        }
        match Tool::new("mcopy").arg("-i").arg(&path).args(["::b", "-"]).output() {
            Err(tool::Error::Start { .. }) => {}
            other => assert_eq!(other.unwrap(), [7; 9000]),
        }
    }
}
