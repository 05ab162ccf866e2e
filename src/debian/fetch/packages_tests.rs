use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::server::{Asked, Reply, Server, nobody};
use super::super::tests::{fetcher, main_archive};
use super::super::{Attempts, Why, why};
use super::*;
use crate::debian::mirrors::Mirror;
use crate::debian::{Lock, LockedArchive, LockedPackage, Place};
use crate::digest::Digest;
use crate::disk;
use crate::event::{Amount, Event, Report, Silent, Task};
use crate::store::{self, Keep, Store};

/// Packages to fetch, a store, and what was reported.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    lock: Lock,
    events: Arc<Events>,
}

#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl Report for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Bench {
    fn new(packages: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let archive = LockedArchive {
            archive: main_archive(),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            date: "2026-11-02T08:15:30Z".parse().unwrap(),
            inrelease: Digest::of(b""),
            signed_by: Vec::new(),
            key: None,
        };
        let package = |(name, bytes): &(&str, &[u8])| LockedPackage {
            name: name.parse().unwrap(),
            version: "1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
            place: Place::Archive { archive: "trixie".to_owned(), path: format!("pool/{name}.deb") },
        };
        let packages = packages.iter().map(package).collect();
        let lock = Lock {
            archives: vec![archive],
            requested: Default::default(),
            recommends: false,
            packages,
            needed_by: Default::default(),
        };
        Self { dir, store, lock, events: Arc::default() }
    }

    fn fetch(&self, urls: &[&str]) -> Result<BTreeMap<Digest, std::path::PathBuf>, Error> {
        fetcher(urls).fetch_packages(&self.lock, self.dir.path(), &self.store, &*self.events)
    }

    fn partial(&self, bytes: &[u8]) -> std::path::PathBuf {
        self.store.partial(DEB, Digest::of(bytes))
    }

    fn has(&self, bytes: &[u8]) -> bool {
        self.store.lookup(DEB, Digest::of(bytes)).unwrap().is_some()
    }

    fn failure(&self, urls: &[&str]) -> String {
        let error = self.fetch(urls).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error:?}");
        why::chain(&error)
    }
}

fn asked(path: &str, from: Option<usize>) -> Asked {
    Asked { path: path.to_owned(), from }
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + seed * 13 + n / 251) as u8).collect()
}

#[test]
fn many_packages_arrive_once_and_are_counted() {
    let server = Server::start();
    let files: Vec<(String, Vec<u8>)> = (0..60).map(|n| (format!("package{n}"), bytes(n * 3000, n))).collect();
    let named: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let bench = Bench::new(&named);
    for (name, bytes) in &named {
        server.on(&format!("pool/{name}.deb"), &[Reply::File(bytes.to_vec())]);
    }
    let paths = bench.fetch(&[&server.url]).unwrap();
    for (name, bytes) in &named {
        assert_eq!(disk::read(&paths[&Digest::of(bytes)]).unwrap(), *bytes, "{name}");
    }
    assert_eq!(server.asked().len(), 60);
    assert!(disk::list(bench.dir.path().join("store/partial")).unwrap().is_empty());
    check_events(&bench.events.0.lock().unwrap(), named.iter().map(|(_, bytes)| bytes.len() as u64).sum());
    assert_eq!(bench.fetch(&[]).unwrap(), paths, "what is there needs no mirror");
}

fn check_events(events: &[Event], total: u64) {
    let parent = events.iter().find_map(|event| match event {
        Event::Started { task, parent: None, total, .. } => Some((*task, *total)),
        _ => None,
    });
    let (whole, announced) = parent.unwrap();
    assert_eq!(announced, Some(Amount::Bytes(total)));
    let parts = |event: &&Event| matches!(event, Event::Started { parent: Some(parent), .. } if *parent == whole);
    assert_eq!(events.iter().filter(parts).count(), 60);
    let most = |wanted: Task| {
        events.iter().filter_map(move |event| match event {
            Event::Progress { task, done } if *task == wanted => Some(*done),
            _ => None,
        })
    };
    assert_eq!(most(whole).max(), Some(total));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Finished { .. })).count(), 61);
    assert!(!events.iter().any(|event| matches!(event, Event::Failed { .. })));
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let (data, server) = (bytes(5000, 1), Server::start());
    let bench = Bench::new(&[("one", &data)]);
    server.on("pool/one.deb", &[Reply::Truncated(data.clone(), 2000), Reply::File(data.clone())]);
    bench.fetch(&[&server.url]).unwrap();
    assert_eq!(server.asked(), [asked("pool/one.deb", None), asked("pool/one.deb", Some(2000))]);
}

#[test]
fn what_arrived_is_kept_for_the_next_run() {
    let (data, server) = (bytes(5000, 1), Server::start());
    let bench = Bench::new(&[("one", &data)]);
    server.on("pool/one.deb", &[Reply::Hang(data.clone(), 2000)]);
    let text = bench.failure(&[&server.url]);
    assert!(text.starts_with("cannot fetch one 1.0-1: ") && text.contains("gave no byte"), "{text}");
    assert_eq!(disk::read(bench.partial(&data)).unwrap().len(), 2000);
    assert!(!bench.has(&data));
    server.on("pool/one.deb", &[Reply::File(data.clone())]);
    bench.fetch(&[&server.url]).unwrap();
    assert_eq!(server.asked().last(), Some(&asked("pool/one.deb", Some(2000))));
    assert!(bench.has(&data) && !disk::exists(bench.partial(&data)));
}

#[test]
fn a_whole_partial_file_needs_no_mirror() {
    let data = bytes(5000, 1);
    let bench = Bench::new(&[("one", &data)]);
    disk::write_atomic(bench.partial(&data), &data, 0o600).unwrap();
    bench.fetch(&[&nobody()]).unwrap();
    assert!(bench.has(&data));
}

#[test]
fn resuming_survives_servers_that_do_it_wrong_and_files_that_are_not_the_begin() {
    let data = bytes(5000, 1);
    let wrong_begin = bytes(2000, 9);
    let cases: [(&[u8], Reply, usize); 6] = [
        (&data[..2000], Reply::Whole(data.clone()), 1),
        (&data[..2000], Reply::WrongPart(data.clone()), 2),
        (&wrong_begin, Reply::File(data.clone()), 2),
        (&bytes(5000, 9), Reply::File(data.clone()), 1),
        (&bytes(6000, 9), Reply::File(data.clone()), 1),
        (b"", Reply::Endless(data.clone()), 1),
    ];
    for (begin, reply, questions) in cases {
        let (bench, server) = (Bench::new(&[("one", &data)]), Server::start());
        disk::write_atomic(bench.partial(&data), begin, 0o600).unwrap();
        let replies =
            if matches!(reply, Reply::WrongPart(_)) { vec![reply, Reply::File(data.clone())] } else { vec![reply] };
        server.on("pool/one.deb", &replies);
        let paths = bench.fetch(&[&server.url]).unwrap();
        assert_eq!(disk::read(&paths[&Digest::of(&data)]).unwrap(), data);
        assert_eq!(server.asked().len(), questions, "{:?}", server.asked());
    }
}

#[test]
fn other_bytes_than_the_locked_ones_are_never_stored() {
    let data = bytes(5000, 1);
    let mut forged = data.clone();
    forged[4000] ^= 1;
    let long = bytes(6000, 1);
    let cases = [
        (Reply::File(forged.clone()), "has a file with the SHA-256"),
        (Reply::File(bytes(4000, 1)), "has a file of 4000 bytes instead of 5000"),
        (Reply::File(long.clone()), "has a file of 6000 bytes instead of 5000"),
        (Reply::Endless(long), "sent more than 5000 bytes"),
        (Reply::Endless(bytes(4000, 1)), "stopped after 4000 bytes of 5000"),
        (Reply::Page { labelled: true }, "sent a web page"),
        (Reply::Page { labelled: false }, "has a file of 31 bytes instead of 5000"),
    ];
    let good = Server::start();
    good.on("pool/one.deb", &[Reply::File(data.clone())]);
    for (reply, expected) in cases {
        let (bench, bad) = (Bench::new(&[("one", &data)]), Server::start());
        bad.on("pool/one.deb", &[reply]);
        let text = bench.failure(&[&bad.url]);
        assert!(text.contains(expected), "{expected} in {text}");
        assert!(!bench.has(&data), "{expected}");
        assert!(bench.events.0.lock().unwrap().iter().any(|event| matches!(event, Event::Failed { .. })));
        bench.fetch(&[&bad.url, &good.url]).unwrap();
        assert!(bench.has(&data), "{expected}");
    }
}

#[test]
fn all_packages_that_are_gone_are_listed_and_the_others_fetched() {
    let (server, data) = (Server::start(), [bytes(100, 1), bytes(200, 2), bytes(300, 3)]);
    let bench = Bench::new(&[("zz", &data[0]), ("here", &data[1]), ("aa", &data[2])]);
    server.on("pool/here.deb", &[Reply::File(data[1].clone())]);
    let error = bench.fetch(&[&server.url]).unwrap_err();
    assert_eq!(error.to_string(), "no mirror has aa 1.0-1, zz 1.0-1 any more");
    assert!(error.hint().is_some());
    assert!(bench.has(&data[1]));
}

#[test]
fn a_silent_last_resort_does_not_hide_that_packages_are_gone() {
    let (server, data) = (Server::start(), bytes(100, 1));
    let mirror = |url: &str, last_resort| Mirror { url: url.to_owned(), last_resort };
    let gone = |mirrors: &[(Mirror, Why)]| {
        let mut attempts = Attempts::default();
        mirrors.iter().for_each(|(mirror, why)| {
            let why = if let Why::Status(status) = why { Why::Status(*status) } else { Why::Skipped };
            attempts.push(mirror, "x", why);
        });
        attempts.is_gone()
    };
    let (usual, snapshot) = (mirror(&server.url, false), mirror("http://127.0.0.1:1", true));
    let cases = [
        (vec![(usual.clone(), Why::Status(404)), (snapshot.clone(), Why::Skipped)], true),
        (vec![(usual.clone(), Why::Status(410)), (snapshot.clone(), Why::Status(404))], true),
        (vec![(usual.clone(), Why::Skipped), (snapshot.clone(), Why::Status(404))], false),
        (vec![(usual.clone(), Why::Status(404)), (usual, Why::Skipped)], false),
        (vec![(snapshot.clone(), Why::Status(404))], true),
        (vec![(snapshot, Why::Skipped)], false),
        (vec![], false),
    ];
    for (attempts, expected) in cases {
        assert_eq!(gone(&attempts), expected, "{attempts:?}");
    }
    let bench = Bench::new(&[("one", &data)]);
    assert!(matches!(bench.fetch(&[&server.url, &nobody()]), Err(Error::Failed { .. })));
}

#[test]
fn the_first_failure_stops_the_others_and_keeps_what_they_have() {
    let (server, data) = (Server::start(), [bytes(3_000_000, 1), bytes(100, 2)]);
    let bench = Bench::new(&[("large", &data[0]), ("broken", &data[1])]);
    server.on("pool/large.deb", &[Reply::Slow(data[0].clone(), Duration::from_millis(5))]);
    server.on("pool/broken.deb", &[Reply::Page { labelled: true }]);
    assert!(bench.failure(&[&server.url]).contains("broken 1.0-1"));
    let begun = disk::read(bench.partial(&data[0])).unwrap_or_default();
    assert!(data[0].starts_with(&begun) && begun.len() < data[0].len());
}

#[test]
fn packages_of_the_project_are_taken_if_they_are_the_locked_ones() {
    let data = bytes(100, 1);
    let mut bench = Bench::new(&[("one", &data)]);
    bench.lock.packages[0].place = Place::File("debs/one.deb".to_owned());
    assert!(matches!(bench.fetch(&[]), Err(Error::Local { .. })));
    disk::create_dir_all(bench.dir.path().join("debs")).unwrap();
    disk::write_atomic(bench.dir.path().join("debs/one.deb"), b"another", 0o644).unwrap();
    assert!(matches!(bench.fetch(&[]), Err(Error::Changed { path }) if path == "debs/one.deb"));
    disk::write_atomic(bench.dir.path().join("debs/one.deb"), &data, 0o644).unwrap();
    bench.fetch(&[]).unwrap();
    assert!(bench.has(&data));
    bench.lock.packages[0].place = Place::Archive { archive: "other".to_owned(), path: "x".to_owned() };
    bench.lock.packages[0].sha256 = Digest::of(b"x");
    assert!(matches!(bench.fetch(&[]), Err(Error::UnknownArchive(name)) if name == "other"));
}

#[test]
fn two_processes_fetch_a_package_once() {
    let (server, data) = (Server::start(), bytes(100, 1));
    let bench = Bench::new(&[("one", &data)]);
    server.on("pool/one.deb", &[Reply::Slow(data.clone(), Duration::from_millis(2))]);
    let other = Store::open(bench.dir.path().join("store")).unwrap();
    std::thread::scope(|scope| {
        let url = server.url.as_str();
        let second =
            scope.spawn(|| fetcher(&[url]).fetch_packages(&bench.lock, Path::new(""), &other, &Silent).unwrap());
        assert_eq!(bench.fetch(&[url]).unwrap(), second.join().unwrap());
    });
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_full_disk_is_told_and_nothing_half_stays() {
    let dir = tempfile::tempdir().unwrap();
    let none = rustix::mount::MountFlags::empty();
    if let Err(error) = rustix::mount::mount("rave-test", dir.path(), "tmpfs", none, Some(c"size=1m,mode=700")) {
        // How the store tells a full disk is also tested against /dev/full.
        return eprintln!("no file system can be mounted here ({error}): not tried");
    }
    let (server, data) = (Server::start(), bytes(3_000_000, 1));
    let mut bench = Bench::new(&[("one", &data)]);
    bench.store = Store::open(dir.path().join("store")).unwrap();
    server.on("pool/one.deb", &[Reply::File(data.clone())]);
    let error = bench.fetch(&[&server.url]).unwrap_err();
    let left = disk::list(dir.path().join("store/partial")).unwrap();
    drop(bench);
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(matches!(error, Error::Store(store::Error::Full { .. })) && error.hint().is_some(), "{error:?}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn begun_downloads_are_collected_with_the_rest() {
    let data = bytes(100, 1);
    let bench = Bench::new(&[("one", &data)]);
    disk::write_atomic(bench.partial(&data), &data[..50], 0o600).unwrap();
    bench.store.gc(Keep::Nothing, std::time::SystemTime::now()).unwrap();
    assert!(!disk::exists(bench.partial(&data)));
}
