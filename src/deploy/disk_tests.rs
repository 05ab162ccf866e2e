use super::*;
use crate::images::fixture;
use crate::images::gpt::{Partition, READ_ONLY};
use crate::images::layout::Sectors;
use crate::images::manifest;

const MIB: u64 = 1 << 20;

/// An image of this version: its root file system, hash tree and EFI system partition are full of its number.
fn image(directory: &Path, version: u8, size: u64) -> (PathBuf, Manifest) {
    let root_hash = Digest::of(&[version]);
    let (data, tree) = Uuid::of_root_hash(&root_hash);
    let parts = [
        ("esp", gpt::ESP, Uuid::from_u128(7), MIB),
        ("r", gpt::ROOT_X86_64, data, size),
        ("t", gpt::ROOT_X86_64_VERITY, tree, MIB),
    ];
    let mut manifest = Manifest { root_hash, disk_size: 16 * MIB, partitions: Vec::new(), ..fixture::manifest() };
    let made: Vec<Partition> = parts
        .into_iter()
        .map(|(label, kind, uuid, size)| {
            let content = directory.join(format!("{label}-{version}"));
            disk::write(&content, &vec![version; usize::try_from(size).unwrap()], 0o600).unwrap();
            let blob = manifest::Blob { sha256: Digest::of(b""), size };
            let label = format!("{label}_{version}");
            let (name, kind_name, id) = (label.clone(), kind.to_string(), uuid.to_string());
            manifest.partitions.push(manifest::Partition {
                label: name,
                kind: kind_name,
                uuid: id,
                size,
                content: blob,
            });
            Partition { kind, uuid, label, size, attributes: READ_ONLY, content }
        })
        .collect();
    let path = directory.join(format!("{version}.raw"));
    gpt::write(&path, Uuid::from_u128(9), &made, Sectors::Small).unwrap();
    manifest.disk.sha256 = disk::digest(&path).unwrap().0;
    (path, manifest)
}

/// The same version with another EFI system partition, full of `byte`.
fn with_esp(directory: &Path, (image, manifest): &(PathBuf, Manifest), byte: u8) -> (PathBuf, Manifest) {
    let path = directory.join(format!("esp-{byte}.raw"));
    disk::copy(image, &path).unwrap();
    let table = read_table(&path).unwrap();
    let esp = table.iter().find(|(_, entry)| entry.partition_type_guid == guid(gpt::ESP)).unwrap().1;
    let start = range(&table, esp).start;
    disk::open_existing_rw(&path).unwrap().write_all_at(&vec![byte; usize::try_from(MIB).unwrap()], start).unwrap();
    let mut manifest = manifest.clone();
    manifest.disk.sha256 = disk::digest(&path).unwrap().0;
    (path, manifest)
}

/// What systemd-repart does at the first boot: the second slot, then /var with something in it.
fn first_boot(path: &Path) {
    let mut file = disk::open_existing_rw(path).unwrap();
    let mut table = GPT::find_from(&mut file).unwrap();
    table.header.update_from(&mut file, 512).unwrap();
    for (label, kind, size) in
        [("_empty", gpt::ROOT_X86_64, 2), ("_empty", gpt::ROOT_X86_64_VERITY, 1), ("var", Uuid::from_u128(5), 1)]
    {
        let number = table.iter().find(|(_, entry)| entry.is_unused()).unwrap().0;
        let sectors = size * MIB / 512;
        let starting_lba = table.find_first_place(sectors).unwrap();
        table[number] = GPTPartitionEntry {
            partition_type_guid: guid(kind),
            unique_partition_guid: guid(Uuid::from_u128(u128::from(number) << 64)),
            starting_lba,
            ending_lba: starting_lba + sectors - 1,
            attribute_bits: 0,
            partition_name: label.into(),
        };
    }
    table.write_into(&mut file).unwrap();
    let start = find(path, "var").start;
    file.write_all_at(b"precious", start).unwrap();
}

fn find(path: &Path, label: &str) -> std::ops::Range<u64> {
    let table = read_table(path).unwrap();
    let found =
        table.iter().find(|(_, entry)| entry.partition_name.as_str() == label).map(|(_, entry)| range(&table, entry));
    found.unwrap_or_else(|| panic!("no partition {label}"))
}

/// The first byte of the EFI system partition, and of each slot by its label.
fn seen(path: &Path) -> (u8, Vec<(String, u8)>) {
    let file = disk::open(path).unwrap();
    let first = |at: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0]
    };
    let table = read_table(path).unwrap();
    let slots = table.iter().filter(|(_, entry)| entry.partition_type_guid == guid(gpt::ROOT_X86_64));
    let slots = slots.map(|(_, entry)| (entry.partition_name.as_str().to_owned(), first(range(&table, entry).start)));
    let mut var = [0; 8];
    if let Some((_, entry)) = table.iter().find(|(_, entry)| entry.partition_name.as_str() == "var") {
        file.read_exact_at(&mut var, range(&table, entry).start).unwrap();
        assert_eq!(&var, b"precious");
    }
    let esp = table.iter().find(|(_, entry)| entry.partition_type_guid == guid(gpt::ESP)).unwrap().1;
    (first(range(&table, esp).start), slots.collect())
}

fn slots(list: &[(&str, u8)]) -> Vec<(String, u8)> {
    list.iter().map(|(label, byte)| ((*label).to_owned(), *byte)).collect()
}

#[test]
fn versions_take_turns_and_var_outlives_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let images: Vec<_> = [1, 2, 3].map(|version| image(dir.path(), version, 2 * MIB)).into();
    let boot = |version: usize| prepare(&path, &images[version - 1].0, &images[version - 1].1).unwrap();
    assert_eq!((boot(1), boot(1)), (Done::Made, Done::Nothing));
    assert_eq!(disk::metadata(&path).unwrap().len(), 16 * MIB);
    // Nothing was ever there to lose, so another version begins anew.
    assert_eq!((boot(2), boot(1)), (Done::Made, Done::Made));
    first_boot(&path);
    assert_eq!(boot(2), Done::Written);
    assert_eq!(seen(&path), (2, slots(&[("r_1", 1), ("r_2", 2)])));
    assert_eq!(boot(1), Done::Switched);
    assert_eq!(seen(&path), (1, slots(&[("r_1", 1), ("r_2", 2)])));
    assert_eq!((boot(2), boot(3)), (Done::Switched, Done::Written));
    assert_eq!(seen(&path), (3, slots(&[("r_3", 3), ("r_2", 2)])));
}

#[test]
fn a_version_with_the_same_root_and_another_esp_boots_that_esp() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let one = image(dir.path(), 1, 2 * MIB);
    let other = with_esp(dir.path(), &one, 77);
    let boot = |(image, manifest): &(PathBuf, Manifest)| prepare(&path, image, manifest).unwrap();
    assert_eq!(boot(&one), Done::Made);
    first_boot(&path);
    assert_eq!((boot(&other), boot(&other)), (Done::Switched, Done::Nothing));
    assert_eq!(seen(&path), (77, slots(&[("r_1", 1), ("_empty", 0)])));
    assert_eq!((boot(&one), seen(&path).0), (Done::Switched, 1));
    // The note of a rave that wrote down the root hash only says nothing about the EFI system partition.
    let root = one.1.root_hash;
    disk::write(Note::path(&path), format!(r#"{{"boots":"{root}","before":null}}"#).as_bytes(), 0o600).unwrap();
    assert_eq!((boot(&other), seen(&path).0), (Done::Switched, 77));
    // Cut short between the two, with the version in use still to be kept.
    Note { boots: None, image: None, before: Some(root) }.write(&path).unwrap();
    assert_eq!(boot(&image(dir.path(), 2, 2 * MIB)), Done::Written);
    assert_eq!(seen(&path), (2, slots(&[("r_1", 1), ("r_2", 2)])));
}

#[test]
fn what_was_cut_short_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let (one, two) = (image(dir.path(), 1, 2 * MIB), image(dir.path(), 2, 2 * MIB));
    prepare(&path, &one.0, &one.1).unwrap();
    first_boot(&path);
    // A power cut while the EFI system partition was written: the note names no version.
    prepare(&path, &two.0, &two.1).unwrap();
    let esp = read_table(&path)
        .unwrap()
        .iter()
        .find(|(_, e)| e.partition_type_guid == guid(gpt::ESP))
        .unwrap()
        .1
        .starting_lba
        * 512;
    disk::open_existing_rw(&path).unwrap().write_all_at(&[99; 512], esp).unwrap();
    Note { boots: None, image: None, before: Some(one.1.root_hash) }.write(&path).unwrap();
    assert_eq!(prepare(&path, &two.0, &two.1).unwrap(), Done::Switched);
    assert_eq!(seen(&path).0, 2);
    // The same, and the version before it is wanted again.
    Note { boots: None, image: None, before: Some(one.1.root_hash) }.write(&path).unwrap();
    assert_eq!(prepare(&path, &one.0, &one.1).unwrap(), Done::Switched);
    assert_eq!(seen(&path), (1, slots(&[("r_1", 1), ("r_2", 2)])));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let (one, large) = (image(dir.path(), 1, 2 * MIB), image(dir.path(), 2, 3 * MIB));
    prepare(&path, &one.0, &one.1).unwrap();
    first_boot(&path);
    let before = disk::digest(&path).unwrap();
    let error = prepare(&path, &large.0, &large.1).unwrap_err().to_string();
    assert!(error.contains("its root file system has 3 MiB, a slot has 2 MiB"), "{error}");
    assert_eq!((disk::digest(&path).unwrap(), seen(&path).0), (before, 1));
    assert_eq!(prepare(&path, &one.0, &one.1).unwrap(), Done::Nothing);
}

#[test]
fn what_a_guest_has_made_of_its_table_harms_no_host() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let (one, two) = (image(dir.path(), 1, 2 * MIB), image(dir.path(), 2, 2 * MIB));
    prepare(&path, &one.0, &one.1).unwrap();
    first_boot(&path);
    let whole = disk::read(&path).unwrap();
    // A slot far behind the end, which would fill the host's disk.
    let mut file = disk::open_existing_rw(&path).unwrap();
    let mut table = GPT::find_from(&mut file).unwrap();
    table.header.last_usable_lba = 1 << 40;
    let far = table.iter().find(|(_, entry)| entry.partition_name.as_str() == "_empty").unwrap().0;
    (table[far].starting_lba, table[far].ending_lba) = (1 << 39, (1 << 39) + 9999);
    let entries: Vec<GPTPartitionEntry> = table.iter().map(|(_, entry)| entry.clone()).collect();
    table.header.write_into(&mut file, 512, &entries).unwrap();
    let error = prepare(&path, &two.0, &two.1).unwrap_err().to_string();
    assert!(error.contains("lies outside the disk"), "{error}");
    // More entries than any table has.
    let mut many = whole.clone();
    many[512 + 80..512 + 84].copy_from_slice(&u32::MAX.to_le_bytes());
    disk::write(&path, &many, 0o600).unwrap();
    assert!(matches!(prepare(&path, &two.0, &two.1), Err(Error::Table { .. })));
    // Entries of another size, with checksums that fit: gptman would end the program.
    let mut wide = whole.clone();
    wide[512 + 84..512 + 88].copy_from_slice(&256_u32.to_le_bytes());
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
    };
    let entries = crc(&wide[1024..1024 + 128 * 256]);
    wide[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    wide[512 + 16..512 + 20].fill(0);
    let header = crc(&wide[512..512 + 92]);
    wide[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
    disk::write(&path, &wide, 0o600).unwrap();
    let error = prepare(&path, &two.0, &two.1).unwrap_err().to_string();
    assert!(error.contains("unusual form"), "{error}");
    assert_eq!(prepare(&path, &one.0, &one.1).unwrap(), Done::Nothing);
}

#[test]
fn a_disk_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let one = image(dir.path(), 1, 2 * MIB);
    disk::write(&path, b"not a disk", 0o600).unwrap();
    assert!(matches!(prepare(&path, &one.0, &one.1), Err(Error::Table { .. })));
    assert_eq!(disk::read(&path).unwrap(), b"not a disk");
    disk::write(Note::path(&path), b"not a note", 0o600).unwrap();
    assert!(matches!(prepare(&path, &one.0, &one.1), Err(Error::Note { .. })));
}
