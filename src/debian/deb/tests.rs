use super::*;

const CONTROL: &str = "Package: demo\nVersion: 1\nArchitecture: all\nDescription: demo\n more\n";

fn header(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // Written raw, because the library refuses the names that are tested.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(size);
    header.set_cksum();
    header
}

#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, header: &tar::Header, bytes: &[u8]) -> Self {
        self.0.extend(header.as_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.add(&header(name.as_bytes(), tar::EntryType::Regular, bytes.len() as u64), bytes)
    }

    fn dir(self, name: &str) -> Self {
        self.add(&header(name.as_bytes(), tar::EntryType::Directory, 0), b"")
    }

    fn link(self, kind: tar::EntryType, name: &str, target: &[u8]) -> Self {
        let mut header = header(name.as_bytes(), kind, 0);
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        self.add(&header, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, body) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
        bytes.extend(*body);
        if body.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn control() -> Vec<u8> {
    Tar::default().file("./control", CONTROL.as_bytes()).file("./postinst", b"#!/bin/sh\n").end()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut out).unwrap();
    out
}

/// All entries with their contents, or the whole story of the error.
fn unpack(package: &[u8]) -> std::result::Result<Vec<(Entry, Vec<u8>)>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), package).unwrap();
    let mut entries = Vec::new();
    let mut walk = || {
        Deb::open(file.path())?.unpack::<Error>(|entry, reader| {
            let mut bytes = Vec::new();
            // The archive's own fault is told by `unpack`.
            let _ = reader.read_to_end(&mut bytes);
            entries.push((entry.clone(), bytes));
            Ok(())
        })
    };
    match walk() {
        Ok(()) => Ok(entries),
        Err(error) => Err(error.problem.to_string()),
    }
}

fn with_data(data: Tar) -> std::result::Result<Vec<(Entry, Vec<u8>)>, String> {
    unpack(&ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), ("data.tar", &data.end())]))
}

#[test]
fn every_compression_is_read() {
    let data = Tar::default().dir("./").dir("./usr/").file("./usr/a", b"hello").link(
        tar::EntryType::Link,
        "./usr/b",
        b"./usr/a",
    );
    let data = data.link(tar::EntryType::Symlink, "./usr/c", b"/anywhere").end();
    let gz = |bytes: &[u8]| {
        let mut out = Vec::new();
        flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
        out
    };
    let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let packages = [
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), ("data.tar", &data)]),
        ar(&[("debian-binary/", b"2.0\n"), ("control.tar.gz/", &gz(&control())), ("data.tar.gz/", &gz(&data))]),
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", &xz(&control())),
            ("_x", b"1"),
            ("data.tar.xz", &xz(&data)),
        ]),
        ar(&[("debian-binary", b"2.0\n"), ("control.tar.zst", &zst(&control())), ("data.tar.zst", &zst(&data))]),
    ];
    for package in packages {
        let entries = unpack(&package).unwrap();
        let kinds: Vec<_> = entries.iter().map(|(e, _)| (e.path.to_str().unwrap(), e.kind.clone())).collect();
        let expected = [
            ("", Kind::Directory),
            ("usr", Kind::Directory),
            ("usr/a", Kind::File(5)),
            ("usr/b", Kind::HardLink("usr/a".into())),
            ("usr/c", Kind::Symlink("/anywhere".into())),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(entries[2].1, b"hello");
    }
}

#[test]
fn names_that_escape_are_refused() {
    let cases: Vec<(Tar, &str)> = vec![
        (Tar::default().file("../x", b""), "has .. in its name"),
        (Tar::default().file("./usr/../../x", b""), "has .. in its name"),
        (Tar::default().file("/etc/x", b""), "has an absolute name"),
        (Tar::default().file("a\nb", b""), "line break in its name"),
        (
            Tar::default()
                .file(&format!("a/{}", "x".repeat(98)), b"")
                .link(tar::EntryType::Symlink, "l", b"/etc")
                .file("l/x", b""),
            "lies behind a symbolic link",
        ),
        (Tar::default().file("f", b"").file("f/x", b""), "lies below a file"),
        (Tar::default().file("x", b"").file("./x", b""), "is there twice"),
        (Tar::default().dir("x").dir("x/"), "is there twice"),
        (Tar::default().link(tar::EntryType::Link, "x", b"etc/passwd"), "not an earlier file"),
        (Tar::default().link(tar::EntryType::Link, "x", b"../etc/passwd"), "not an earlier file"),
        (Tar::default().dir("d").link(tar::EntryType::Link, "x", b"d"), "not an earlier file"),
        (
            Tar::default().link(tar::EntryType::Symlink, "s", b"/etc/passwd").link(tar::EntryType::Link, "x", b"s"),
            "not an earlier file",
        ),
        (Tar::default().link(tar::EntryType::Symlink, "x", b""), "link without a target"),
        (Tar::default().link(tar::EntryType::Symlink, "x", b"a\nb"), "line break"),
        (Tar::default().link(tar::EntryType::Block, "x", b""), "is a device"),
        (Tar::default().link(tar::EntryType::Char, "x", b""), "is a device"),
        (Tar::default().link(tar::EntryType::Fifo, "x", b""), "is a named pipe"),
        (Tar::default().link(tar::EntryType::Continuous, "x", b""), "is neither a file"),
        (Tar::default().file("./", b""), "is the root"),
    ];
    for (data, reason) in cases {
        let error = with_data(data).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn long_names_with_nul_or_too_long_are_refused() {
    let long = |name: &[u8]| {
        let tar = Tar::default().add(&header(b"././@LongLink", tar::EntryType::GNULongName, name.len() as u64), name);
        with_data(tar.file("x", b""))
    };
    assert!(long(b"a\0b\0").unwrap_err().contains("NUL"));
    assert!(long(&[&b"x".repeat(300)[..], b"\0"].concat()).unwrap_err().contains("too long a name"));
    assert!(long(&[&b"x/".repeat(2500)[..], b"\0"].concat()).unwrap_err().contains("too long a name"));
    assert!(long(&[&b"x/".repeat(128)[..], b"y\0"].concat()).unwrap_err().contains("nested too deeply"));
    assert_eq!(long(&[&b"x/".repeat(127)[..], b"y\0"].concat()).unwrap().len(), 1);
}

#[test]
fn names_and_extensions_do_not_fill_the_memory() {
    let endless = |kind| {
        let bytes = vec![b'a'; 3 << 20];
        let tar = Tar::default().add(&header(b"././@LongLink", kind, bytes.len() as u64), &bytes);
        with_data(tar.file("x", b"")).unwrap_err()
    };
    use tar::EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
    for kind in [GNULongName, GNULongLink, XHeader] {
        assert!(endless(kind).contains("data.tar cannot be read"), "{kind:?}: {}", endless(kind));
    }
    assert!(endless(XGlobalHeader).contains("neither a file"));
    let name = |number: usize| format!("{}{number}", format!("{}/", "d".repeat(250)).repeat(15)).into_bytes();
    let mut tar = Tar::default();
    for number in 0..19_000 {
        let name = name(number);
        tar = tar.add(&header(b"././@LongLink", tar::EntryType::GNULongName, name.len() as u64), &name).file("x", b"");
    }
    assert!(with_data(tar).unwrap_err().contains("is one too many"));
}

#[test]
fn a_visitor_may_leave_what_it_does_not_want() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = Tar::default().file("large", &vec![0; 3 << 20]).file("next", b"").end();
    let package = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), ("data.tar", &data)]);
    std::fs::write(file.path(), package).unwrap();
    let mut paths = Vec::new();
    let visit = |entry: &Entry, _: &mut dyn Read| {
        paths.push(entry.path.clone());
        Ok::<(), Error>(())
    };
    Deb::open(file.path()).unwrap().unpack(visit).unwrap();
    assert_eq!(paths, [Path::new("large"), Path::new("next")]);
}

#[test]
fn setuid_is_kept_and_reported() {
    let mut head = header(b"su", tar::EntryType::Regular, 0);
    head.set_mode(0o4755);
    head.set_cksum();
    let entries = with_data(Tar::default().add(&head, b"").file("plain", b"")).unwrap();
    assert!(entries[0].0.is_privileged() && entries[0].0.mode == 0o4755 && !entries[1].0.is_privileged());
    head.set_uid(70_000);
    head.set_cksum();
    assert!(with_data(Tar::default().add(&head, b"")).unwrap_err().contains("no valid owner"));
}

#[test]
fn bad_archives_are_told_apart() {
    let control = control();
    let data = Tar::default().file("a", &[7; 3000]).end();
    let good = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]);
    let broken_xz = {
        let mut bytes = xz(&data);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        bytes
    };
    let cut_xz = &xz(&data)[..60];
    let swap = |bytes: &[u8], from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let many: Vec<(&str, &[u8])> =
        std::iter::once(("debian-binary", &b"2.0\n"[..])).chain([("_x", &b""[..]); 20]).collect();
    let version = ("debian-binary", &b"2.0\n"[..]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "does not begin with"),
        (b"PK\x03\x04 not ar".to_vec(), "does not begin with"),
        (good[..30].to_vec(), "header is cut off"),
        (good[..good.len() - 600].to_vec(), "member is cut off"),
        (swap(&good, "`\n", "xx"), "does not end as it must"),
        (swap(&good, "4         `", "-1        `"), "size is not a number"),
        (ar(&many), "too many members"),
        (ar(&[]), "has no debian-binary"),
        (ar(&[("control.tar", &control), version]), "no debian-binary in front"),
        (
            ar(&[("debian-binary", b"3.0\n"), ("control.tar", &control), ("data.tar", &data)]),
            "format \"3.0\" is not supported",
        ),
        (ar(&[version, version, ("control.tar", &control), ("data.tar", &data)]), "debian-binary twice"),
        (
            ar(&[version, ("other", b""), ("control.tar", &control), ("data.tar", &data)]),
            "member \"other\" is not supported",
        ),
        (ar(&[version, ("data.tar", &data)]), "has no control.tar"),
        (ar(&[version, ("control.tar", &control)]), "has no data.tar"),
        (ar(&[version, ("control.tar", &control), ("data.tar", &data), ("data.tar", &data)]), "data.tar twice"),
        (ar(&[version, ("control.tar", &control), ("data.tar.lz4", &data)]), "data.tar.lz4 is not supported"),
        (ar(&[version, ("control.tar", &control), ("data.tar.xz", &broken_xz)]), "data.tar cannot be read"),
        (ar(&[version, ("control.tar", &control), ("data.tar.xz", cut_xz)]), "data.tar cannot be read"),
        (ar(&[version, ("control.tar", &control), ("data.tar", &data[..1024])]), "data.tar cannot be read"),
        (ar(&[version, ("control.tar", &Tar::default().end()), ("data.tar", &data)]), "no control file"),
    ];
    for (package, reason) in cases {
        let error = unpack(&package).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn bombs_are_stopped_before_they_go_off() {
    let zeros = vec![0; 80 << 20];
    let data = xz(&Tar::default().file("zeros", &zeros).end());
    let package = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control()), ("data.tar.xz", &data)]);
    let error = unpack(&package).unwrap_err();
    assert!(error.contains("decompression bomb"), "{error}");
    let control = xz(&Tar::default().file("./control", CONTROL.as_bytes()).file("./zeros", &zeros).end());
    let error =
        unpack(&ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &control), ("data.tar", b"")])).unwrap_err();
    assert!(error.contains("control.tar unpacks to more than"), "{error}");
}

#[test]
fn control_files_are_checked() {
    let with = |control: Tar| {
        let data = Tar::default().end();
        unpack(&ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control.end()), ("data.tar", &data)])).unwrap_err()
    };
    let text = |text: &str| with(Tar::default().file("./control", text.as_bytes()));
    assert!(text("Package: a\nVersion: 1\n").contains("Architecture is missing"));
    assert!(text("Package: a/b\nVersion: 1\nArchitecture: all\n").contains("is not one word"));
    assert!(text("nothing\n").contains("\"nothing\" is not a field"));
    assert!(text(" x\n").contains("is not a field"));
    assert!(text("Package: a\nPackage: b\n").contains("package stands twice"));
    assert!(text("Pack age: a\n").contains("is not a field"));
    assert!(with(Tar::default().file("./control", b"\xff")).contains("not text"));
    assert!(with(Tar::default().file("./control", CONTROL.as_bytes()).file("control", b"")).contains("twice"));
    assert!(with(Tar::default().file("../evil", b"")).contains("cannot be a control file"));
    assert!(with(Tar::default().link(tar::EntryType::Symlink, "./control", b"/etc/passwd")).contains("neither a file"));
    let paragraph = Paragraph::parse(CONTROL.as_bytes().to_vec()).unwrap();
    assert_eq!((paragraph.get("package"), paragraph.get("Description")), (Some("demo"), Some("demo\n more")));
}
