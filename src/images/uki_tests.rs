use proptest::prelude::*;

use super::*;
use crate::disk;
use crate::tool::Tool;

/// A small PE32+ file: headers of `headers` bytes, one section `.text`, a symbol table behind it.
fn pe(headers: usize, extra: &[&str]) -> Vec<u8> {
    let mut image = vec![0; headers];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x40;
    image[0x40..0x44].copy_from_slice(b"PE\0\0");
    image[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
    image[0x46..0x48].copy_from_slice(&(1 + extra.len() as u16).to_le_bytes());
    image[0x4c..0x50].copy_from_slice(&0x600_u32.to_le_bytes()); // symbol table
    image[0x50..0x54].copy_from_slice(&2_u32.to_le_bytes()); // number of symbols
    image[0x54..0x56].copy_from_slice(&240_u16.to_le_bytes());
    image[0x56..0x58].copy_from_slice(&0x22e_u16.to_le_bytes());
    let optional = 0x58;
    image[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
    for (at, value) in [
        (16, 0x1000_u32), // entry point
        (20, 0x1000),
        (32, 4096),
        (36, 512),
        (56, 0x2000),
        (60, headers as u32),
        (108, 16),
        (144, 0x4242), // security directory
        (148, 8),
    ] {
        image[optional + at..optional + at + 4].copy_from_slice(&value.to_le_bytes());
    }
    image[optional + 68..optional + 70].copy_from_slice(&10_u16.to_le_bytes()); // an EFI application
    let table = optional + 240;
    let sections = std::iter::once(&".text").chain(extra).enumerate();
    for (index, name) in sections {
        let places = [0x20, 0x1000 * (index as u64 + 1), 512, headers as u64];
        put(&mut image, table + index * 40, &section_header(name, places, CODE).unwrap()).unwrap();
    }
    image.extend([0xc3; 512]);
    image.extend(b"symbols, and a string table");
    image
}

fn parts(linux: &[u8]) -> Parts<'_> {
    Parts { osrel: b"ID=test\n", cmdline: "quiet roothash=00", uname: "6.12", initrd: &[7; 5000], linux }
}

fn content<'a>(image: &'a [u8], name: &str) -> &'a [u8] {
    sections(image).unwrap().into_iter().find(|(n, _)| n == name).unwrap().1
}

#[test]
fn what_goes_in_comes_out_in_order_and_aligned() {
    let linux = pe(1024, &[]);
    let image = build(&pe(1024, &[]), &parts(&linux)).unwrap();
    let names: Vec<_> = sections(&image).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".text", ".sbat", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]);
    assert_eq!(content(&image, ".cmdline"), b"quiet roothash=00");
    assert_eq!(content(&image, ".initrd"), [7; 5000]);
    assert_eq!(&content(&image, ".linux")[..linux.len()], linux);
    let pe = Pe::parse(&image, "image").unwrap();
    for section in &pe.sections {
        assert_eq!((section.raw.start % 512, section.address % 4096), (0, 0), "{section:?}");
    }
    for pair in pe.sections.windows(2) {
        assert!(u64::from(pair[1].address) >= pair[0].memory_end(), "{pair:?}");
    }
    let last = pe.sections.last().unwrap();
    assert_eq!(last.memory, 0x2000, "the kernel gets the memory it asks for");
    assert_eq!(u64::from(pe.u32(pe::SIZE_OF_IMAGE).unwrap()), last.memory_end().next_multiple_of(4096));
    assert_eq!(image.len() % 512, 0);
}

#[test]
fn symbols_and_signature_of_the_stub_are_gone_and_the_checksum_holds() {
    let image = build(&pe(1024, &[]), &parts(&pe(1024, &[]))).unwrap();
    assert!(!image[..2048].windows(7).any(|window| window == b"symbols"));
    assert_eq!(image[0x4c..0x54], [0; 8]);
    assert_eq!(image[0x58 + 144..0x58 + 152], [0; 8]);
    let mut zeroed = image.clone();
    zeroed[0x58 + 64..0x58 + 68].fill(0);
    assert_eq!(image[0x58 + 64..0x58 + 68], checksum(&zeroed).to_le_bytes());
    assert_ne!(checksum(&zeroed), image.len() as u32);
}

#[test]
fn a_stub_without_room_or_with_parts_of_its_own_is_refused() {
    let linux = pe(1024, &[]);
    // 512 - 0x58 - 240 - 40 = 144 bytes: room for three of six.
    assert_eq!(build(&pe(512, &[]), &parts(&linux)), Err(Error::NoRoom { room: 3, wanted: 6 }));
    assert_eq!(build(&pe(1024, &[".linux"]), &parts(&linux)), Err(Error::Duplicate(".linux")));
    let with_sbat = build(&pe(1024, &[".sbat"]), &parts(&linux)).unwrap();
    assert_eq!(sections(&with_sbat).unwrap().iter().filter(|(name, _)| name == ".sbat").count(), 1);
    assert!(build(&pe(1024, &["/4"]), &parts(&linux)).is_err(), "a name in the dropped string table");
    assert!(matches!(build(&pe(1024, &[]), &parts(b"#!")), Err(Error::NotPe { file: "kernel", .. })));
}

#[test]
fn the_checksum_folds_carries_and_adds_the_length() {
    // Two words whose sum carries: 0xffff + 0x0002 -> 0x0002, plus the length.
    assert_eq!(checksum(&[0xff, 0xff, 0x02, 0x00]), 2 + 4);
    assert_eq!(checksum(&[0x01]), 1 + 1);
}

proptest! {
    #[test]
    fn hostile_files_never_panic(
        changes in prop::collection::vec((0_usize..0x300, any::<u8>()), 1..12),
        cut in 0_usize..2000,
        linux in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut stub = pe(1024, &[".data"]);
        for (at, byte) in changes {
            stub[at] = byte;
        }
        stub.truncate(cut.max(stub.len().min(cut * 3)));
        let good = pe(1024, &[]);
        if let Ok(image) = build(&stub, &parts(&good)) {
            prop_assert!(sections(&image).is_ok());
        }
        drop(build(&good, &parts(&linux)));
        drop(sections(&linux));
    }
}

#[test]
fn independent_readers_accept_an_image_made_of_the_hosts_stub() {
    let Ok(stub) = disk::read("/usr/lib/systemd/boot/efi/linuxx64.efi.stub") else { return };
    let image = build(&stub, &parts(&stub)).unwrap();
    assert_eq!(build(&stub, &parts(&stub)).unwrap(), image, "the same bytes twice");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.efi");
    disk::write_atomic(&path, &image, 0o644).unwrap();
    let Ok(listing) = Tool::new("objdump").arg("-h").arg(&path).output() else { return };
    let listing = String::from_utf8(listing).unwrap();
    for name in [".osrel", ".cmdline", ".uname", ".initrd", ".linux"] {
        assert_eq!(listing.matches(&format!(" {name} ")).count(), 1, "{listing}");
    }
}
