use super::*;

/// A `.deb` with nothing but a control file.
pub fn deb(control: &str) -> Vec<u8> {
    deb_of("control.tar", &tar_of("./control", control.as_bytes()))
}

fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

fn deb_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), (name, content), ("data.tar", b"")] {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len()).bytes());
        out.extend(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn read_bytes(bytes: &[u8]) -> Result<LocalDeb, DebError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    disk::write_atomic(file.path(), bytes, 0o600).unwrap();
    read(file.path())
}

#[test]
fn the_control_file_is_found_in_every_packing() {
    let plain = tar_of("control", b"Package: a\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    io::Write::write_all(&mut xz, &plain).unwrap();
    for (name, content) in [
        ("control.tar", plain.clone()),
        ("control.tar.gz", gzip.finish().unwrap()),
        ("control.tar.xz/", xz.finish().unwrap()),
        ("control.tar.zst", zstd::encode_all(&plain[..], 1).unwrap()),
    ] {
        let bytes = deb_of(name, &content);
        let deb = read_bytes(&bytes).unwrap();
        assert_eq!(deb.control, "Package: a\n", "{name}");
        assert_eq!((deb.size, deb.sha256), (bytes.len() as u64, Digest::of(&bytes)));
    }
}

#[test]
fn hostile_files_are_refused() {
    let good = deb("Package: a\n");
    let replaced = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let cases = [
        ("empty", Vec::new()),
        ("not ar", b"PK\x03\x04 something else".to_vec()),
        ("cut off", good[..200].to_vec()),
        ("format 3", replaced(68, b"3")),
        ("huge member", replaced(72 + 48, b"9999999999")),
        ("negative size", replaced(72 + 48, b"-1        ")),
        ("bad header end", replaced(72 + 58, b"xx")),
        ("not ascii", replaced(72, b"\xff")),
        ("unknown packing", deb_of("control.tar.lz", b"x")),
        ("no control.tar", deb_of("data.tar", b"x")),
        ("no control file", deb_of("control.tar", &tar_of("./md5sums", b"x"))),
        ("not utf-8", deb_of("control.tar", &tar_of("./control", b"\xff"))),
        ("too long", deb_of("control.tar", &tar_of("./control", &vec![b'a'; (STANZA_LIMIT + 1) as usize]))),
        ("garbage packed", deb_of("control.tar.xz", b"garbage")),
    ];
    for (case, bytes) in cases {
        assert!(read_bytes(&bytes).is_err(), "{case}");
    }
    let mut bomb = liblzma::write::XzEncoder::new(Vec::new(), 1);
    io::Write::write_all(&mut bomb, &tar_of("./a", &vec![0; 2 * CONTROL_LIMIT as usize])).unwrap();
    assert!(read_bytes(&deb_of("control.tar.xz", &bomb.finish().unwrap())).is_err());
}
