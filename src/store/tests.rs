use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::tool::Tool;

pub(super) const STEP: Kind = Kind::step("step");
const BLOB: Kind = Kind::blob("blob");

/// Tells a re-executed test which store to work on.
const CHILD: &str = "RAVE_TEST_CHILD_STORE";

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn write(bytes: &'static [u8]) -> impl FnOnce(&Path) -> disk::Result<()> {
    move |path| disk::write_atomic(path, bytes, 0o600)
}

pub(super) fn tree(path: &Path) -> disk::Result<()> {
    disk::create_dir_all(path.join("bin"))?;
    disk::write_atomic(path.join("bin/tool"), b"#!/bin/sh\n", 0o755)?;
    disk::write_atomic(path.join("plain"), b"text", 0o644)?;
    disk::symlink("bin/tool", path.join("link"))
}

pub(super) fn names(directory: PathBuf) -> Vec<String> {
    disk::list(directory).unwrap().iter().map(|path| object::last_part(path)).collect()
}

fn mode(path: &Path) -> u32 {
    disk::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn what_was_put_is_found_read_only_and_never_made_again() {
    let (dir, store) = store();
    let path = store.put(STEP, digest("a"), write(b"content")).unwrap();
    assert_eq!((disk::read(&path).unwrap().as_slice(), mode(&path)), (&b"content"[..], 0o444));
    let again = store.put(STEP, digest("a"), |_| -> disk::Result<()> { panic!("made twice") }).unwrap();
    assert_eq!(again, path);
    assert_eq!(store.lookup(STEP, digest("a")).unwrap(), Some(path));
    assert_eq!(store.lookup(STEP, digest("b")).unwrap(), None);
    assert_eq!(store.lookup(BLOB, digest("a")).unwrap(), None, "kinds share nothing");
    assert_eq!(store.record(STEP, digest("a")).unwrap().unwrap().content, digest("content"));
    assert_eq!(mode(store.directory()), 0o700);
    assert!(names(dir.path().join("store/staging")).is_empty());
}

#[test]
fn a_directory_is_an_object_too() {
    let (_dir, store) = store();
    let path = store.put(STEP, digest("tree"), tree).unwrap();
    assert_eq!((mode(&path.join("bin/tool")), mode(&path.join("plain"))), (0o555, 0o444));
    assert_eq!(disk::read_link(path.join("link")).unwrap(), Path::new("bin/tool"));
    assert_eq!(store.verify(&Silent).unwrap().good.objects, 1);
}

#[test]
fn a_blob_must_have_the_content_that_names_it() {
    let (dir, store) = store();
    let error = store.put(BLOB, digest("right"), write(b"wrong")).unwrap_err();
    assert!(matches!(error, PutError::Store(Error::Mismatch { found, .. }) if found == digest("wrong")), "{error}");
    assert_eq!(store.lookup(BLOB, digest("right")).unwrap(), None);
    assert!(names(dir.path().join("store/staging")).is_empty());
    store.put(BLOB, digest("right"), write(b"right")).unwrap();
}

#[test]
fn failed_work_leaves_nothing_and_can_be_tried_again() {
    let (dir, store) = store();
    let fail = |path: &Path| {
        tree(path)?;
        disk::read("/nonexistent").map(|_| ())
    };
    let error = store.put(STEP, digest("a"), fail).unwrap_err();
    assert!(matches!(&error, PutError::Make(error) if error.is_not_found()), "{error}");
    let nothing = store.put(STEP, digest("a"), |_| Ok::<(), Infallible>(())).unwrap_err();
    assert!(matches!(nothing, PutError::Store(Error::NotMade { .. })), "{nothing}");
    let link = store.put(STEP, digest("a"), |path| disk::symlink("/etc/passwd", path)).unwrap_err();
    assert!(matches!(link, PutError::Store(Error::NotMade { .. })), "{link}");
    assert!(names(dir.path().join("store/staging")).is_empty());
    store.put(STEP, digest("a"), tree).unwrap();
}

#[test]
fn two_who_want_the_same_make_it_once() {
    let (dir, first) = store();
    let second = Store::open(dir.path().join("store")).unwrap();
    let (made, waiting) = (AtomicU32::new(0), std::sync::Barrier::new(2));
    let work = |store: &Store| {
        waiting.wait();
        store.put(STEP, digest("a"), |path| {
            made.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            tree(path)
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(&second).unwrap());
        assert_eq!(work(&first).unwrap(), other.join().unwrap());
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

/// Not a test of its own: what other tests run in a second process.
#[test]
fn child() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let store = Store::open(directory).unwrap();
    store.lookup(STEP, digest("used")).unwrap();
    let made = store.put(STEP, digest("child"), |path| {
        tree(path)?;
        println!("\nworking");
        std::io::stdout().flush().unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
        Ok::<(), disk::Error>(())
    });
    made.unwrap();
}

/// A second process in the middle of its work on the object `child`; it ends when its input does.
fn spawn_child(store: &Store) -> std::process::Child {
    let executable = std::env::current_exe().unwrap();
    let tool = Tool::new(executable).args(["store::tests::child", "--exact", "--nocapture"]);
    let mut command = tool.env(CHILD, store.directory()).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "working"), "the child never began");
    child
}

#[test]
fn a_killed_process_leaves_nothing_visible_and_is_swept_at_the_next_open() {
    let (dir, store) = store();
    let staging = dir.path().join("store/staging");
    let mut child = spawn_child(&store);
    let while_working = names(staging.clone());
    assert_eq!(while_working.len(), 2, "{while_working:?}");
    drop(Store::open(store.directory()).unwrap());
    assert_eq!(names(staging.clone()), while_working, "an open must not sweep what is being made");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.lookup(STEP, digest("child")).unwrap(), None);
    assert_eq!(names(staging.clone()).len(), 2);
    // Who cannot remove it says so; who knows how does it.
    let refuse = |path: &Path| disk::context("remove", path, Err(std::io::ErrorKind::PermissionDenied.into()));
    assert_eq!(Store::open_with(store.directory(), refuse).unwrap().unswept().len(), 1);
    let again = Store::open(store.directory()).unwrap();
    assert!(names(staging).is_empty());
    assert!(again.unswept().is_empty());
    again.put(STEP, digest("child"), tree).unwrap();
}

#[test]
fn the_next_maker_takes_over_from_a_killed_one_without_an_open() {
    let (dir, store) = store();
    let mut child = spawn_child(&store);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.put(STEP, digest("child"), write(b"mine")).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(disk::read(waiter.join().unwrap()).unwrap(), b"mine");
    });
    assert!(names(dir.path().join("store/staging")).is_empty());
}

#[test]
fn gc_spares_what_another_process_uses_or_makes() {
    let (dir, store) = store();
    // A store that is closed uses nothing any more.
    let other = Store::open(store.directory()).unwrap();
    other.put(STEP, digest("used"), tree).unwrap();
    other.put(STEP, digest("unused"), tree).unwrap();
    drop(other);
    let mut child = spawn_child(&store);
    assert_eq!(store.gc(Keep::Nothing, SystemTime::now()).unwrap().total().objects, 1);
    assert!(dir.path().join(format!("store/objects/step/{}", digest("used"))).exists());
    assert!(!dir.path().join(format!("store/objects/step/{}", digest("unused"))).exists());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "the child's own object must have survived too");
    assert_eq!(store.gc(Keep::Nothing, SystemTime::now()).unwrap().total().objects, 2, "its death frees them");
    assert!(names(dir.path().join("store/users")).is_empty());
}

#[test]
fn gc_spares_what_this_process_uses_and_pins_hold() {
    let (dir, store) = store();
    let open = || Store::open(dir.path().join("store")).unwrap();
    open().put(STEP, digest("pinned"), tree).unwrap();
    let used = store.put(STEP, digest("used"), tree).unwrap();
    store.pin("result", &[digest("pinned")]).unwrap();
    assert_eq!(store.pins().unwrap(), BTreeMap::from([("result".to_owned(), [digest("pinned")].into())]));
    assert_eq!(store.gc(Keep::Nothing, SystemTime::now()).unwrap().total(), Usage::default());
    assert!(used.exists());
    drop(store);
    assert_eq!(open().gc(Keep::Nothing, SystemTime::now()).unwrap().total().objects, 1);
    open().unpin("result").unwrap();
    open().unpin("result").unwrap();
    let freed = open().gc(Keep::Nothing, SystemTime::now()).unwrap();
    assert!(freed.kinds["step"].bytes > 0 && freed.failures.is_empty());
    assert!(open().du().unwrap().is_empty());
}

#[test]
fn pinned_paths_hold_the_objects_they_lead_into() {
    let (dir, store) = store();
    let made = store.put(STEP, digest("pinned"), tree).unwrap();
    store.put(STEP, digest("other"), tree).unwrap();
    let (link, gone) = (dir.path().join("disk.raw"), dir.path().join("gone"));
    disk::symlink(made.join("plain"), &link).unwrap();
    store.pin_paths("vm-web", &[&link, dir.path(), &gone]).unwrap();
    assert_eq!(store.pins().unwrap()["vm-web"], [digest("pinned")].into());
    drop(store);
    let store = Store::open(dir.path().join("store")).unwrap();
    assert_eq!(store.gc(Keep::Nothing, SystemTime::now()).unwrap().total().objects, 1);
    assert!(link.exists());
}

#[test]
fn a_damaged_pin_stops_gc_instead_of_losing_what_it_kept() {
    let (dir, store) = store();
    store.put(STEP, digest("a"), tree).unwrap();
    disk::write_atomic(dir.path().join("store/pins/result"), b"not a digest\n", 0o600).unwrap();
    let error = store.gc(Keep::Nothing, SystemTime::now()).unwrap_err();
    assert!(matches!(error, Error::Pin { .. }) && error.hint().is_some(), "{error}");
    for name in ["", ".hidden", "..", "a/b", "-x", "a b", &"x".repeat(201)] {
        assert!(matches!(store.pin(name, &[]), Err(Error::PinName(_))), "{name}");
    }
}

#[test]
fn gc_can_spare_the_recent_and_fit_a_size() {
    let (dir, writer) = store();
    let now = SystemTime::now();
    for (name, days) in [("old", 9), ("middle", 5), ("new", 1)] {
        writer.put(STEP, digest(name), write(b"content")).unwrap();
        let record = dir.path().join(format!("store/objects/step/{}/record", digest(name)));
        disk::open(&record).unwrap().set_modified(now - Duration::from_secs(days * 86_400)).unwrap();
    }
    disk::write_atomic(writer.partial(BLOB, digest("begun")), b"half", 0o600).unwrap();
    drop(writer);
    let open = || Store::open(dir.path().join("store")).unwrap();
    let one = open().du().unwrap()["step"].bytes / 3;
    let kept = || {
        let all = ["old", "middle", "new"];
        all.into_iter().filter(|name| dir.path().join(format!("store/objects/step/{}", digest(name))).exists())
    };
    open().gc(Keep::Recent(Duration::from_secs(7 * 86_400)), now).unwrap();
    assert_eq!(kept().collect::<Vec<_>>(), ["middle", "new"]);
    let partial = open().du().unwrap()["partial"].bytes;
    open().gc(Keep::Bytes(one + partial), now).unwrap();
    assert_eq!(kept().collect::<Vec<_>>(), ["new"]);
    let freed = open().gc(Keep::Nothing, now).unwrap();
    assert_eq!(freed.kinds["partial"].objects, 1);
    assert!(names(dir.path().join("store/partial")).is_empty());
}

#[test]
fn verify_finds_a_flipped_byte_and_the_object_is_made_anew() {
    let (dir, store) = store();
    let flipped = store.put(STEP, digest("flipped"), tree).unwrap();
    let file = store.put(BLOB, digest("text"), write(b"text")).unwrap();
    let added = store.put(STEP, digest("added"), tree).unwrap();
    let runs = store.put(STEP, digest("runs"), tree).unwrap();
    let lost = store.put(STEP, digest("lost"), tree).unwrap();
    store.put(STEP, digest("good"), tree).unwrap();
    assert_eq!(store.verify(&Silent).unwrap().good.objects, 6);
    disk::write_atomic(flipped.join("plain"), b"tezt", 0o444).unwrap();
    disk::write_atomic(&file, b"tExt", 0o444).unwrap();
    disk::write_atomic(added.join("bin/new"), b"", 0o444).unwrap();
    disk::set_mode(runs.join("plain"), 0o555).unwrap();
    disk::write_atomic(lost.with_file_name("record"), b"{", 0o600).unwrap();
    let verified = store.verify(&Silent).unwrap();
    assert_eq!((verified.good.objects, verified.damaged.len()), (1, 5), "{verified:?}");
    assert!(verified.damaged.iter().any(|damage| damage.reason == "its content changed"));
    assert!(verified.damaged.iter().all(|damage| disk::exists(&damage.moved_to)));
    assert_eq!(store.lookup(STEP, digest("flipped")).unwrap(), None);
    store.put(STEP, digest("flipped"), tree).unwrap();
    assert_eq!(store.verify(&Silent).unwrap().damaged, []);
    assert_eq!(store.gc(Keep::Nothing, SystemTime::now()).unwrap().kinds["damaged"].objects, 5);
    assert!(names(dir.path().join("store/staging")).is_empty());
}

#[test]
fn half_an_object_is_none_and_is_replaced() {
    let (_dir, store) = store();
    let path = store.put(STEP, digest("a"), tree).unwrap();
    disk::remove_dir_all(&path).unwrap();
    assert_eq!(store.lookup(STEP, digest("a")).unwrap(), None);
    assert_eq!(store.put(STEP, digest("a"), write(b"new")).unwrap(), path);
}

#[test]
fn only_stores_of_this_layout_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/store");
    drop(Store::open(&path).unwrap());
    drop(Store::open(&path).unwrap());
    disk::write_atomic(path.join("version"), b"rave store 99\n", 0o644).unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Version { found, .. }) if found == "rave store 99"));

    disk::write_atomic(dir.path().join("letter"), b"", 0o644).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::NotAStore(_))));
    assert_eq!(names(dir.path().to_owned()), ["deep", "letter"], "nothing is made in it");

    let killed = dir.path().join("killed");
    disk::create_dir_all(&killed).unwrap();
    disk::write_atomic(killed.join(".rave-x1"), b"", 0o600).unwrap();
    drop(Store::open(&killed).unwrap());

    disk::set_mode(&killed, 0o777).unwrap();
    assert!(matches!(Store::open(&killed), Err(Error::Exposed(_))));
}

#[test]
fn permissions_of_single_files_do_not_depend_on_the_umask() {
    let (_dir, store) = store();
    for (name, before, after) in [("a", 0o600, 0o444), ("b", 0o666, 0o444), ("c", 0o700, 0o555)] {
        let make = |path: &Path| disk::write_atomic(path, b"", before);
        let path = store.put(STEP, digest(name), make).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, after);
    }
}

#[test]
fn what_is_handed_out_stays_while_others_collect() {
    let (dir, collector) = store();
    let open = || Store::open(dir.path().join("store")).unwrap();
    let finished = AtomicU32::new(0);
    let work = || {
        for round in 0..100 {
            let store = open();
            let path = store.put(STEP, digest(&format!("{}", round % 3)), tree).unwrap();
            assert_eq!(disk::read(path.join("plain")).unwrap(), b"text");
            assert_eq!(disk::read(path.join("bin/tool")).unwrap(), b"#!/bin/sh\n");
        }
        finished.fetch_add(1, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let mut freed = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            freed += collector.gc(Keep::Nothing, SystemTime::now()).unwrap().total().objects;
        }
        assert!(freed > 0, "nothing was ever collected");
    });
    assert_eq!(finished.load(Ordering::SeqCst), 2);
    drop(open());
    assert!(names(dir.path().join("store/staging")).is_empty() && names(dir.path().join("store/users")).is_empty());
}

#[test]
fn gc_and_lookups_wait_for_each_other() {
    let (_dir, store) = store();
    store.put(STEP, digest("a"), tree).unwrap();
    let waits = |lock: Lock, work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let worker = scope.spawn(work);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!worker.is_finished());
            drop(lock);
        });
    };
    waits(Lock::shared(store.layout.lock()).unwrap(), &|| drop(store.gc(Keep::Nothing, SystemTime::now()).unwrap()));
    waits(Lock::exclusive(store.layout.lock()).unwrap(), &|| {
        assert!(store.lookup(STEP, digest("a")).unwrap().is_some())
    });
    waits(Lock::exclusive(store.layout.lock()).unwrap(), &|| store.pin("a", &[]).unwrap());
}
