//! What archives of Debian serve, what is in packages, and what images are made of.

use std::io::Write as _;
use std::path::PathBuf;

use pgp::composed::{ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, Password, Timestamp};
use rand::SeedableRng as _;
use rave::debian::deb::Deb;
use rave::debian::deb822::{self, Paragraph, Stanza};
use rave::debian::openpgp::Keyring;
use rave::debian::release::Release;
use rave::debian::{archive, index, local, lock, mirrors};
use rave::images::archive::Archive;
use rave::images::kmod::{Index, IndexFiles};
use rave::origin::Source;
use rave::tree::Globs;

use super::search::Parser;

const CONTROL: &str =
    "Package: demo\nVersion: 1:1.0-1\nArchitecture: all\nDepends: a (>= 1) | b, c:any\nDescription: demo\n more\n .\n";

const FIELDS: &[&str] = &[
    "Package: ",
    "Version: ",
    "Depends: ",
    "SHA256:\n ",
    "Filename: ",
    "Size: ",
    "\n\n",
    "\n .\n",
    " (>= 1:2~a)",
    "-----BEGIN PGP SIGNATURE-----\n",
];

const RELEASE: &str = "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 15 Nov 2025 10:00:00 UTC\n\
Valid-Until: Sat, 22 Nov 2025 10:00:00 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
No-Support-for-Architecture-all: Packages\nComponents: main\nSHA256:\n \
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n \
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 32 main/binary-amd64/Packages.xz\n";

fn tar(members: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(bytes.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, name, *bytes).unwrap();
        } else {
            builder.append_link(&mut header, name, link).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn data() -> Vec<u8> {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let long = format!("./usr/{}", "long/".repeat(40));
    tar(&[
        ("./", Directory, "", b""),
        ("./usr/", Directory, "", b""),
        ("./usr/a", Regular, "", b"hello"),
        ("./usr/b", Link, "./usr/a", b""),
        ("./usr/c", Symlink, "../usr/a", b""),
        (&long, Directory, "", b""),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A package whose parts have this suffix and form.
fn deb(suffix: &str, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let control = tar(&[
        ("./control", tar::EntryType::Regular, "", CONTROL.as_bytes()),
        ("./postinst", tar::EntryType::Regular, "", b"#!/bin/sh\n"),
    ]);
    let mut bytes = b"!<arch>\n".to_vec();
    let parts = [
        ("debian-binary".to_owned(), b"2.0\n".to_vec()),
        (format!("control.tar{suffix}"), pack(&control)),
        (format!("data.tar{suffix}"), pack(&data())),
    ];
    for (name, body) in parts {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
        bytes.extend(&body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// A file on memory, for readers that take a path.
fn on_memory(name: &str) -> PathBuf {
    let folder =
        if std::path::Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    folder.join(format!("rave-fuzz-{}-{name}", std::process::id()))
}

/// Gives a parser of files what a parser of bytes gets.
fn file(
    name: &'static str,
    rounds: u64,
    seeds: Vec<Vec<u8>>,
    parse: impl Fn(&std::path::Path) + Send + Sync + 'static,
) -> Parser {
    let path = on_memory(name);
    Parser::new(name, rounds, seeds, move |bytes| {
        std::fs::write(&path, bytes).unwrap();
        parse(&path);
        std::fs::remove_file(&path).unwrap();
    })
}

/// When the test key is made and when it signs, in seconds since 1970. The library signs the key itself as of today.
const MADE: u32 = 1_767_225_600;
const SIGNED: u32 = 4_000_000_000;

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::from(SIGNED) + 60).unwrap()
}

/// A key, armored, and an InRelease file that it signed.
fn signed() -> (String, String) {
    let mut builder = SecretKeyParamsBuilder::default();
    builder.key_type(KeyType::Ed25519Legacy).can_sign(true).can_certify(true);
    builder.created_at(Timestamp::from_secs(MADE)).primary_user_id("Test".to_owned());
    let key = builder.build().unwrap().generate(rand::rngs::StdRng::seed_from_u64(1)).unwrap();
    let signer = &key.primary_key;
    let mut config = SignatureConfig::v4(SignatureType::Text, signer.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(SIGNED))).unwrap(),
        Subpacket::regular(SubpacketData::IssuerFingerprint(signer.fingerprint())).unwrap(),
    ];
    let message = CleartextSignedMessage::new(RELEASE, config, signer, &Password::empty()).unwrap();
    let armored = |text: pgp::errors::Result<String>| text.unwrap();
    let public = armored(key.to_public_key().to_armored_string(ArmorOptions::default()));
    (public, armored(message.to_armored_string(ArmorOptions::default())))
}

fn debs() -> Vec<Vec<u8>> {
    vec![
        deb("", <[u8]>::to_vec),
        deb(".gz", gzip),
        deb(".xz", xz),
        deb(".zst", |bytes| zstd::encode_all(bytes, 1).unwrap()),
    ]
}

/// Real locks with few packages.
fn locks() -> [String; 2] {
    ["images/minimal.lock", "images/tools.lock"].map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lock = lock::Lock::parse(&Source::new(path, text)).unwrap();
        lock.packages.truncate(8);
        lock.to_yaml()
    })
}

const SOURCES: [&str; 2] = [
    "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian trixie main\n",
    "Types: deb\nURIs: http://a.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n",
];

const MODULES: &str = "kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko
kernel/b.ko.xz: kernel/a.ko.xz
alias crypto-x a
softdep a pre: b c post: d
";

pub fn parsers() -> Vec<Parser> {
    let keyrings = ["trixie-automatic", "trixie-stable"];
    let keyrings = keyrings.map(|name| std::fs::read(format!("src/debian/keyrings/{name}.asc")).unwrap());
    let (key, in_release) = signed();
    let keyring = Keyring::parse(&key).unwrap();
    let members = vec![data(), tar(&[("./x", tar::EntryType::Regular, "", b"x")])];
    vec![
        Parser::text("control", 3000, [CONTROL, RELEASE], |text| {
            let _ = Stanza::parse(text).map(|stanza| (stanza.words("Depends"), stanza.is_yes("Essential")));
            deb822::stanzas(text).for_each(|stanza| deb822::fields(stanza).for_each(drop));
            if let Ok(paragraph) = Paragraph::parse(text.as_bytes().to_vec()) {
                paragraph.fields().for_each(drop);
            }
        })
        .words(FIELDS),
        Parser::text("release", 3000, [RELEASE], |text| {
            if let Ok(release) = Release::parse(text) {
                let _ = release.check("trixie", "2025-11-16T00:00:00Z".parse().unwrap(), None);
                let _ = index::listed(&release, "main");
            }
        })
        .words(FIELDS),
        Parser::text("keyring", 200, keyrings, |text| drop(Keyring::parse(text))),
        Parser::new("in-release", 400, [in_release], move |bytes| drop(keyring.verify(bytes, now()))).words(FIELDS),
        Parser::text("lock", 150, locks(), |text| {
            if let Ok(lock) = lock::Lock::parse(&Source::new("x.lock", text)) {
                let again = lock.to_yaml();
                assert_eq!(lock::Lock::parse(&Source::new("x.lock", again)).as_ref(), Ok(&lock));
            }
        }),
        Parser::text("sources-list", 3000, SOURCES, |text| {
            let mut host = mirrors::Host::default();
            host.add_list(text);
            host.add_stanzas(text);
        })
        .words(FIELDS),
        Parser::text("archive-names", 5000, ["pool/main/a/a_1%3a1.deb", "http://a.example/debian"], |text| {
            let _ = (archive::is_safe_path(text), archive::is_safe_name(text));
        }),
        file("deb", 500, debs(), |path| {
            let _ = local::read(path);
            if let Ok(deb) = Deb::open(path) {
                let _ = deb.unpack::<rave::debian::deb::Error>(|_, reader| {
                    let _ = std::io::copy(reader, &mut std::io::sink());
                    Ok(())
                });
            }
        })
        .words(&["control.tar     ", "data.tar.gz     ", "`\n", "!<arch>\n"]),
        file("rootfs-tar", 800, members, |path| {
            let Ok(archive) = Archive::open(path) else { return };
            let names: Vec<String> = archive.below("/").map(str::to_owned).collect();
            for name in names {
                let _ = archive.read(&name);
            }
        }),
        Parser::text("kernel-modules", 2000, [MODULES], |text| {
            let index = Index::parse(&IndexFiles { dep: text, builtin: text, alias: text, softdep: text });
            let _ = index.order(&["a", "crypto-x"], &["d"]);
        }),
        Parser::text(
            "globs",
            3000,
            ["/usr/**/lib*.so.*\n/usr/share/a/b/c/d/libx.so.1", "**/**/**/**/a*b*c*d"],
            |text| {
                let (pattern, path) = text.split_once('\n').unwrap_or((text, text));
                let _ = Globs::new([pattern]).matches(path);
            },
        )
        .words(&["**/", "*", "**", "?"]),
    ]
}

#[test]
fn what_is_damaged_was_whole() {
    let (key, in_release) = signed();
    let verified = Keyring::parse(&key).unwrap().verify(in_release.as_bytes(), now()).unwrap();
    assert!(index::listed(&Release::parse(&verified.text).unwrap(), "main").is_ok());
    for bytes in debs() {
        let path = on_memory("whole");
        std::fs::write(&path, bytes).unwrap();
        let mut names = Vec::new();
        let deb = Deb::open(&path).unwrap();
        deb.unpack::<rave::debian::deb::Error>(|entry, _| {
            names.push(format!("{entry:?}"));
            Ok(())
        })
        .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(names.len() >= 5, "{names:?}");
    }
    for text in locks() {
        assert_eq!(lock::Lock::parse(&Source::new("x.lock", text)).map(|_| ()), Ok(()));
    }
}
