use std::io::Write as _;

use super::super::error::FetchError;
use super::super::index::IndexError;
use super::super::openpgp::SignatureError;
use super::super::test_archive::{DAY, MADE, Memory, Signer, release, stanza, xz};
use super::*;
use crate::event::Silent;

const DATE: &str = "Sat, 03 Jan 2026 00:00:00 UTC";
const INDEX: &str = "main/binary-amd64/Packages.xz";

fn now() -> Timestamp {
    Timestamp::from_second(i64::from(MADE + 3 * DAY)).unwrap()
}

/// A mirror of a Debian with its three suites, and a request to it.
struct Fixture {
    signer: Signer,
    keys: String,
    memory: Memory,
    archive: system::Archive,
    packages: BTreeSet<PackageName>,
    recommends: bool,
    previous: Option<Lock>,
    update: Update,
    project: tempfile::TempDir,
}

impl Fixture {
    /// The main suite holds `packages`, the others are empty.
    fn new(packages: &str, asked: &[&str]) -> Self {
        let signer = Signer::new(1);
        let archive = system::Archive {
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            mirrors: Vec::new(),
            extra: Vec::new(),
            debs: Vec::new(),
        };
        let mut fixture = Self {
            keys: signer.armored(),
            signer,
            memory: Memory::default(),
            archive,
            packages: asked.iter().map(|name| name.parse().unwrap()).collect(),
            recommends: false,
            previous: None,
            update: Update::None,
            project: tempfile::tempdir().unwrap(),
        };
        fixture.publish(&Base::Debian, "trixie", DATE, packages);
        fixture.publish(&Base::Debian, "trixie-updates", DATE, "");
        fixture.publish(&Base::DebianSecurity, "trixie-security", DATE, "");
        fixture
    }

    fn publish(&mut self, base: &Base, suite: &str, date: &str, packages: &str) {
        let packed = xz(packages);
        let files: [(&str, &[u8]); 2] = [(INDEX, &packed), ("main/binary-amd64/Packages", packages.as_bytes())];
        self.sign(base, suite, &release(suite, date, "", &files));
        self.memory.put(base, &format!("dists/{suite}/{INDEX}"), packed);
    }

    fn sign(&mut self, base: &Base, suite: &str, text: &str) {
        let signed = self.signer.sign(text, MADE + DAY);
        self.memory.put(base, &format!("dists/{suite}/InRelease"), signed);
    }

    fn resolve(&self) -> Result<Lock, Error> {
        let request = Request {
            archive: &self.archive,
            packages: &self.packages,
            recommends: self.recommends,
            previous: self.previous.as_ref(),
            update: &self.update,
            now: now(),
        };
        let trust = Trust { main: &self.keys, security: &self.keys };
        resolve_trusting(&trust, &request, self.project.path(), &self.memory, &Silent)
    }

    /// `name version` of each locked package.
    fn names(&self) -> Vec<String> {
        let lock = self.resolve().unwrap();
        lock.packages.iter().map(|p| format!("{} {}", p.name, p.version)).collect()
    }

    /// The error under the source's [`FetchError::Refused`].
    fn refusal(&self) -> Error {
        match self.resolve().unwrap_err() {
            Error::Fetch(FetchError::Refused { source, .. }) => *source,
            other => other,
        }
    }
}

fn world() -> String {
    [
        stanza("base", "1", "Essential: yes\nPre-Depends: libc (>= 2)"),
        stanza("libc", "2.1", ""),
        stanza("web", "1", "Depends: libc, mta | mail"),
        stanza("mta", "3", "Provides: mail"),
        stanza("other", "1", "Depends: mail"),
    ]
    .concat()
}

#[test]
fn a_closure_is_locked_with_everything_that_identifies_it() {
    let fixture = Fixture::new(&world(), &["web"]);
    let lock = fixture.resolve().unwrap();
    assert_eq!(fixture.names(), ["base 1", "libc 2.1", "mta 3", "web 1"]);
    let libc = &lock.packages[1];
    assert_eq!((libc.size, libc.sha256), (7, Digest::of(b"libc 2.1")));
    let place = Place::Archive { archive: "trixie".into(), path: "pool/main/libc_2.1_amd64.deb".into() };
    assert_eq!(libc.place, place);
    let archive = &lock.archives[0];
    assert_eq!(archive.date.to_string(), "2026-01-03T00:00:00Z");
    assert_eq!(archive.inrelease, Digest::of(&fixture.memory.files["debian/dists/trixie/InRelease"]));
    assert_eq!(archive.signed_by.len(), 1);
    let names: Vec<_> = lock.archives.iter().map(|a| (a.archive.name.as_str(), &a.archive.base)).collect();
    assert_eq!(
        names,
        [("trixie", &Base::Debian), ("trixie-updates", &Base::Debian), ("trixie-security", &Base::DebianSecurity)]
    );
    assert_eq!(lock, fixture.resolve().unwrap(), "the same answer every time");
    let needed: Vec<_> = lock.needed_by.iter().map(|(name, by)| format!("{name} for {by}")).collect();
    assert_eq!(needed, ["libc for base", "mta for web"]);
}

#[test]
fn the_newest_version_wins_and_its_archive_is_kept() {
    let mut fixture = Fixture::new(&world(), &["libc"]);
    fixture.publish(&Base::DebianSecurity, "trixie-security", DATE, &stanza("libc", "2.1+deb13u1", ""));
    fixture.publish(&Base::Debian, "trixie-updates", DATE, &stanza("libc", "2.1~rc1", ""));
    let lock = fixture.resolve().unwrap();
    assert_eq!(lock.packages[1].version, "2.1+deb13u1");
    assert!(matches!(&lock.packages[1].place, Place::Archive { archive, .. } if archive == "trixie-security"));
}

#[test]
fn untrusted_signatures_are_refused() {
    let wrong_key = |fixture: &mut Fixture| fixture.keys = Signer::new(2).armored();
    let edit = |edit: fn(&str) -> String| {
        move |fixture: &mut Fixture| {
            let file = fixture.memory.files.get_mut("debian/dists/trixie/InRelease").unwrap();
            *file = edit(std::str::from_utf8(file).unwrap()).into_bytes();
        }
    };
    let unsigned = edit(|_| release("trixie", DATE, "", &[]));
    let tampered = edit(|text| text.replace("Origin: Test", "Origin: Evil"));
    let prefixed = edit(|text| format!("SHA256:\n{text}"));
    let suffixed = edit(|text| format!("{text}SHA256:\n"));
    let html = edit(|_| "<html><body>404</body></html>".to_owned());
    let cut = edit(|text| text[..text.len() - 40].to_owned());
    type Spoil<'a> = &'a dyn Fn(&mut Fixture);
    let cases: [(&str, Spoil); 7] = [
        ("wrong key", &wrong_key),
        ("no signature", &unsigned),
        ("tampered", &tampered),
        ("text before", &prefixed),
        ("text after", &suffixed),
        ("html", &html),
        ("cut off", &cut),
    ];
    for (case, spoil) in cases {
        let mut fixture = Fixture::new(&world(), &["web"]);
        fixture.resolve().unwrap();
        spoil(&mut fixture);
        let error = fixture.refusal();
        assert!(matches!(error, Error::Signature { .. }), "{case}: {error}");
        assert!(!error.is_input());
        let asked = fixture.memory.asked.lock().unwrap();
        let last_index = asked.iter().rposition(|url| url.ends_with("trixie/main/binary-amd64/Packages.xz"));
        let last_release = asked.iter().rposition(|url| url.ends_with("trixie/InRelease"));
        assert!(last_index < last_release, "{case}: nothing is read behind a signature that is not trusted");
    }
}

#[test]
fn a_key_of_one_archive_is_not_trusted_for_another() {
    let fixture = Fixture::new(&world(), &["web"]);
    let request = Request {
        archive: &fixture.archive,
        packages: &fixture.packages,
        recommends: false,
        previous: None,
        update: &Update::None,
        now: now(),
    };
    let trust = Trust { main: &fixture.keys, security: &Signer::new(2).armored() };
    let error = resolve_trusting(&trust, &request, fixture.project.path(), &fixture.memory, &Silent).unwrap_err();
    let Error::Fetch(FetchError::Refused { source, .. }) = error else { panic!("{error}") };
    assert!(
        matches!(&*source, Error::Signature { archive, source: SignatureError::Untrusted(_) } if archive == "trixie-security")
    );
    let error = resolve(&request, fixture.project.path(), &fixture.memory, &Silent).unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::Refused { .. })), "Debian's keys did not sign it");
}

#[test]
fn expired_wrong_and_rolled_back_suites_are_refused() {
    let fixture = |text: &str| {
        let mut fixture = Fixture::new(&world(), &["web"]);
        let packed = fixture.memory.files[&format!("debian/dists/trixie/{INDEX}")].clone();
        let text = text.replace("INDEX", &format!("SHA256:\n {} {} {INDEX}\n", Digest::of(&packed), packed.len()));
        fixture.sign(&Base::Debian, "trixie", &text);
        fixture
    };
    let good = "Codename: trixie\nDate: Sat, 03 Jan 2026 00:00:00 UTC\nINDEX";
    assert!(fixture(good).resolve().is_ok());
    let refusal = |text: &str| match fixture(text).refusal() {
        Error::Release { archive, source } if archive == "trixie" => source,
        other => panic!("{other}"),
    };
    let expired =
        "Codename: trixie\nDate: Fri, 02 Jan 2026 00:00:00 UTC\nValid-Until: Sat, 03 Jan 2026 00:00:00 UTC\nINDEX";
    assert_eq!(refusal(expired).to_string(), "it was valid until 2026-01-03T00:00:00Z");
    let future = good.replace("03 Jan", "10 Jan");
    assert!(matches!(refusal(&future), ReleaseError::Future(_)));
    let other = good.replace("trixie", "bookworm");
    assert!(matches!(refusal(&other), ReleaseError::WrongSuite { .. }));
    assert!(matches!(refusal("Codename: trixie\nINDEX"), ReleaseError::Malformed(_)));

    let mut again = fixture(good);
    again.previous = Some(again.resolve().unwrap());
    assert!(again.resolve().is_ok(), "the same date is no rollback");
    again.publish(&Base::Debian, "trixie", "Fri, 02 Jan 2026 23:59:59 UTC", &world());
    assert!(matches!(again.refusal(), Error::Release { source: ReleaseError::Rollback { .. }, .. }));
    assert!(again.refusal().hint().is_some());
    again.previous.as_mut().unwrap().archives[0].suite = "forky".to_owned();
    assert!(again.resolve().is_ok(), "another suite's date does not count");
}

/// Lists `listed` in the Release file and serves `served`.
fn with_index(path: &str, listed: &[u8], served: &[u8], more: &[(&str, &[u8])], extra: &str) -> Fixture {
    let mut fixture = Fixture::new(&world(), &["web"]);
    let mut files = vec![(path, listed)];
    files.extend(more);
    fixture.sign(&Base::Debian, "trixie", &release("trixie", DATE, extra, &files));
    fixture.memory.files.remove(&format!("debian/dists/trixie/{INDEX}"));
    fixture.memory.put(&Base::Debian, &format!("dists/trixie/{path}"), served);
    fixture
}

#[test]
fn an_index_must_be_the_one_that_was_signed() {
    let good = xz(&world());
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let refusal =
        |listed: &[u8], served: &[u8], more: &[(&str, &[u8])]| match with_index(INDEX, listed, served, more, "")
            .refusal()
        {
            Error::Index { archive, path, source } => {
                assert_eq!((archive.as_str(), path.as_str()), ("trixie", INDEX));
                source
            }
            other => panic!("{other}"),
        };
    assert!(matches!(refusal(&good, &flipped, &[]), IndexError::Digest { .. }));
    assert!(matches!(refusal(&good, &good[..good.len() - 1], &[]), IndexError::Size { .. }));
    assert!(matches!(refusal(&good[..good.len() - 9], &good[..good.len() - 9], &[]), IndexError::Unpack(_)));
    assert!(matches!(refusal(b"not xz", b"not xz", &[]), IndexError::Unpack(_)));
    let plain = "main/binary-amd64/Packages";
    assert!(matches!(refusal(&good, &good, &[(plain, b"shorter")]), IndexError::Size { .. }), "unpacks to too much");
    let longer = world() + "\n";
    assert!(matches!(refusal(&good, &good, &[(plain, longer.as_bytes())]), IndexError::Size { .. }));
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(b"Package: \xff\n").unwrap();
    let not_text = encoder.finish().unwrap();
    assert!(matches!(refusal(&not_text, &not_text, &[]), IndexError::NotText));
    let large = with_index(INDEX, &good, &[&good[..], b"more"].concat(), &[], "").resolve().unwrap_err();
    assert!(matches!(large, Error::Fetch(FetchError::TooLarge { limit, .. }) if limit == good.len() as u64));
}

#[test]
fn a_decompression_bomb_is_cut_short() {
    let zeros = vec![0; 64 << 20];
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(&zeros).unwrap();
    let bomb = encoder.finish().unwrap();
    let fixture = with_index(INDEX, &bomb, &bomb, &[("main/binary-amd64/Packages", b"0123456789")], "");
    let Error::Index { source: IndexError::Size { found, wanted }, .. } = fixture.refusal() else { panic!() };
    assert_eq!((found, wanted), (11, 10), "reading stops one byte past the size that was signed");
}

#[test]
fn other_packings_and_paths_by_hash_work() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(world().as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert!(with_index("main/binary-amd64/Packages.gz", &gzip, &gzip, &[], "").resolve().is_ok());
    let plain = world();
    assert!(with_index("main/binary-amd64/Packages", plain.as_bytes(), plain.as_bytes(), &[], "").resolve().is_ok());

    let packed = xz(&world());
    let mut fixture = with_index(INDEX, &packed, b"", &[], "Acquire-By-Hash: yes\n");
    assert!(fixture.resolve().is_err());
    let by_hash = format!("dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Digest::of(&packed));
    fixture.memory.put(&Base::Debian, &by_hash, packed);
    assert!(fixture.resolve().is_ok());
}

#[test]
fn a_separate_index_for_all_architectures_is_read_too() {
    let own = xz(&world());
    let all = xz(&stanza("doc", "1", "").replace("Architecture: amd64", "Architecture: all"));
    let all_path = "main/binary-all/Packages.xz";
    let mut fixture = with_index(INDEX, &own, &own, &[(all_path, &all)], "Architectures: all amd64\n");
    fixture.memory.put(&Base::Debian, &format!("dists/trixie/{all_path}"), all.clone());
    fixture.packages.insert("doc".parse().unwrap());
    let lock = fixture.resolve().unwrap();
    assert!(lock.packages.iter().any(|p| p.name.as_str() == "doc" && p.architecture == "all"));
}

#[test]
fn a_component_that_the_suite_lacks_is_the_users_mistake() {
    let mut fixture = Fixture::new(&world(), &["web"]);
    fixture.archive.components.push("mian".to_owned());
    let error = fixture.resolve().unwrap_err();
    assert!(error.is_input() && matches!(error, Error::Component { .. }), "{error}");
    for bad in ["../main", "", "a b", "/etc"] {
        fixture.archive.components = vec![bad.to_owned()];
        assert!(matches!(fixture.resolve().unwrap_err(), Error::BadName(name) if name == bad));
    }
}

#[test]
fn malformed_packages_are_refused_with_their_archive() {
    let cases = [
        stanza("web", "1", "Version: 2"),
        "Package: web\nVersion: 1\n".to_owned(),
        "garbage\n".to_owned(),
        stanza("web", "1 1", ""),
        stanza("web", "1", "Depends: a ("),
        stanza("web", "1", "Depends: libc\nDepends: libc"),
        stanza("web", "1", "").replace("Filename: pool/", "Filename: ../"),
        stanza("web", "1", "").replace("Filename: pool/", "Filename: http://evil/"),
        stanza("web", "1", "").replace("Size: 7", "Size: seven"),
        stanza("web", "1", "").replace("SHA256: ", "SHA256: x"),
        stanza("web", "1", "").replace("SHA256: ", "MD5sum: "),
    ];
    for case in cases {
        let error = Fixture::new(&case, &["web"]).resolve().unwrap_err();
        assert!(matches!(&error, Error::Package { archive, .. } if archive == "trixie"), "{case}: {error}");
    }
    let elsewhere = world() + &stanza("unused", "1", "Depends: a (");
    assert!(Fixture::new(&elsewhere, &["web"]).resolve().is_ok(), "what is not reached is not read");
}

#[path = "resolve_request_tests.rs"]
mod request;
