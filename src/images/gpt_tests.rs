use super::*;
use crate::tool::{self, Tool};

const DISK: Uuid = Uuid::from_u128(0xd15c_0000_0000_8000_8000_0000_0000_0001);

fn partition(label: &str, number: u128, size: u64, content: &Path) -> Partition {
    Partition {
        kind: ROOT_X86_64,
        uuid: Uuid::from_u128(number),
        label: label.into(),
        size,
        attributes: READ_ONLY,
        content: content.to_owned(),
    }
}

struct Made {
    dir: tempfile::TempDir,
    result: Result<Vec<u64>, Error>,
}

impl Made {
    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }
}

/// A disk with partitions of these labels and sizes; each holds 5000 bytes of its number.
fn made(partitions: &[(&str, u64)]) -> Made {
    made_with(partitions, Sectors::Small)
}

fn made_with(partitions: &[(&str, u64)], sectors: Sectors) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let partitions: Vec<_> = (1..)
        .zip(partitions)
        .map(|(number, (label, size))| {
            let content = dir.path().join(number.to_string());
            disk::write_atomic(&content, &[number as u8; 5000], 0o644).unwrap();
            partition(label, number, *size, &content)
        })
        .collect();
    let result = write(&dir.path().join("disk"), DISK, &partitions, sectors);
    Made { dir, result }
}

#[test]
fn content_lies_where_the_table_says_and_bytes_are_the_same_twice() {
    let layout = [("one", 8192), ("two_1.0", 3 << 20)];
    let first = made(&layout);
    assert_eq!(first.result.as_ref().unwrap(), &[1 << 20, 2 << 20]);
    let bytes = disk::read(first.disk()).unwrap();
    assert_eq!(bytes.len(), 6 << 20);
    assert_eq!(disk::read(made(&layout).disk()).unwrap(), bytes);
    assert_eq!(bytes[1 << 20..(1 << 20) + 5000], [1; 5000]);
    assert_eq!(bytes[2 << 20..(2 << 20) + 5000], [2; 5000]);
    assert_eq!(bytes[510..512], [0x55, 0xaa]);

    let table = GPT::find_from(&mut io::Cursor::new(&bytes)).unwrap();
    assert_eq!(table.header.disk_guid, Uuid::swap_gpt(*DISK.as_bytes()));
    assert_eq!(table[2].partition_name.as_str(), "two_1.0");
    assert_eq!(table[2].attribute_bits, READ_ONLY);
    assert_eq!(table[2].size().unwrap(), (3 << 20) / 512);
    // The backup alone is enough.
    let mut damaged = bytes.clone();
    damaged[512..1024].fill(0);
    assert_eq!(GPT::find_from(&mut io::Cursor::new(&damaged)).unwrap()[1], table[1]);
}

#[test]
fn large_sectors_change_the_table_and_not_the_places() {
    let layout = [("one", 8192), ("two_1.0", 3 << 20)];
    let large = made_with(&layout, Sectors::Large);
    assert_eq!(large.result.as_ref().unwrap(), &[1 << 20, 2 << 20]);
    assert_eq!([&made(&layout), &large].map(|made| sector_size(&made.disk()).unwrap()), [512, 4096]);
    let bytes = disk::read(large.disk()).unwrap();
    let small = disk::read(made(&layout).disk()).unwrap();
    assert_eq!(&bytes[4096..4104], b"EFI PART");
    assert!(bytes[1 << 20..5 << 20] == small[1 << 20..5 << 20] && bytes.len() == small.len());
    let table = GPT::read_from(&mut io::Cursor::new(&bytes), 4096).unwrap();
    assert_eq!((table[2].starting_lba, table[2].size().unwrap()), ((2 << 20) / 4096, (3 << 20) / 4096));
    assert_eq!(table.header.backup_lba, bytes.len() as u64 / 4096 - 1);
    assert!(GPT::read_from(&mut io::Cursor::new(&bytes), 512).is_err());
}

#[test]
fn sgdisk_finds_no_problem_and_the_spelled_uuids() {
    let made = made(&[("esp", 1 << 20), ("root", 8192)]);
    made.result.as_ref().unwrap();
    let verdict = match Tool::new("sgdisk").arg("-v").arg(made.disk()).output() {
        Err(tool::Error::Start { .. }) => return,
        other => String::from_utf8(other.unwrap()).unwrap(),
    };
    assert!(verdict.contains("No problems found"), "{verdict}");
    let info = Tool::new("sgdisk").arg("-i2").arg(made.disk()).output().unwrap();
    let info = String::from_utf8(info).unwrap();
    assert!(info.contains("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"), "{info}");
    assert!(info.contains("00000000-0000-0000-0000-000000000002"), "{info}");
    let mut bytes = disk::read(made.disk()).unwrap();
    bytes[1024 + 40] ^= 1;
    disk::write_atomic(made.disk(), &bytes, 0o644).unwrap();
    let verdict = Tool::new("sgdisk").arg("-v").arg(made.disk()).output();
    assert!(!verdict.is_ok_and(|text| String::from_utf8_lossy(&text).contains("No problems found")));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(matches!(made(&[(&"é".repeat(37), 4096)]).result, Err(Error::Label(_))));
    made(&[(&"é".repeat(36), 8192)]).result.unwrap();
    for size in [0, 4095, 512, u64::MAX, u64::MAX - 4095, 1 << 63] {
        assert!(matches!(made(&[("x", size)]).result, Err(Error::Size { .. })), "{size}");
    }
    let error = made(&[("x", 4096)]).result.unwrap_err();
    assert_eq!(error.to_string(), "the content of partition x has 5000 bytes, 904 more than the partition");
    let many: Vec<_> = (0..129).map(|_| ("x", 8192)).collect();
    assert!(matches!(made(&many).result, Err(Error::Table(_))));
    let dir = tempfile::tempdir().unwrap();
    let twins = [partition("a", 1, 4096, Path::new("/dev/null")), partition("b", 1, 4096, Path::new("/dev/null"))];
    assert!(matches!(write(&dir.path().join("disk"), DISK, &twins, Sectors::Small), Err(Error::Table(_))));
}
