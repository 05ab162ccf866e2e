//! The store, looked after through the program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rave::digest::Digest;
use rave::store::{Kind, Store};

use super::mirror::{Mirror, Reply};
use super::world::{World, package, ran, text};

/// Puts a file of ten bytes into the world's store.
fn filled() -> (World, PathBuf) {
    let world = World::new();
    let store = Store::open(world.path("cache/rave")).unwrap();
    let path = store.put(Kind::step("test"), Digest::of(b"x"), |to| std::fs::write(to, "ten bytes.")).unwrap();
    drop(store);
    (world, path)
}

#[test]
fn an_empty_store_is_told_as_such() {
    let world = World::new();
    assert_eq!(world.run(&["store", "du"]).clean(), "KIND  OBJECTS  SIZE\n");
    assert_eq!(world.run(&["store", "du", "--json"]).json(), serde_json::json!({}));
    assert_eq!(world.run(&["store", "gc", "--json"]).json(), serde_json::json!({"objects": 0, "bytes": 0}));
    let mode = std::fs::metadata(world.path("cache/rave")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others can look into the store");
}

#[test]
fn what_is_kept_is_counted_and_collected() {
    let (world, path) = filled();
    let usage = world.run(&["store", "du", "--json"]).json();
    assert_eq!(usage["test"]["objects"], 1);
    assert!(usage["test"]["bytes"].as_u64() >= Some(10), "{usage}");
    let ran = world.run(&["store", "du"]);
    assert!(ran.clean().lines().any(|line| line.starts_with("test  1        ")), "{}", ran.stdout);
    // It was made a moment ago.
    assert_eq!(world.run(&["store", "gc", "--days", "1", "--json"]).json()["objects"], 0);
    assert!(path.exists());
    assert_eq!(world.run(&["store", "gc", "--json"]).json()["objects"], 1);
    assert!(!path.exists());
    assert_eq!(world.run(&["store", "du", "--json"]).json(), serde_json::json!({}));
}

#[test]
fn damage_is_found_told_and_set_aside() {
    let (world, path) = filled();
    let result = |ran: &super::world::Ran| ran.json_lines().pop().unwrap();
    let ran = world.run(&["store", "verify", "--json"]);
    assert_eq!((ran.status, result(&ran)["good"].as_u64()), (0, Some(1)));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&path, "TEN bytes.").unwrap();
    let ran = world.run(&["store", "verify", "--json"]);
    assert_eq!(ran.status, 1);
    let found = result(&ran);
    assert_eq!(found["damaged"][0]["kind"], "test");
    assert_eq!(found["damaged"][0]["digest"], Digest::of(b"x").to_string());
    assert!(ran.stderr.contains("error: test ") && ran.stderr.contains("moved to "), "{}", ran.stderr);
    assert!(!path.exists());
    let ran = world.run(&["store", "verify"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "0 good, 0 damaged\n"));
}

#[test]
fn a_directory_that_is_no_store_is_left_alone() {
    let world = World::new();
    world.write("home/photos/cat.jpg", "meow");
    let store = world.path("home/photos");
    let before = world.files();
    for arguments in [["store", "gc"], ["store", "verify"], ["store", "du"]] {
        let ran = ran(world.rave().args(["--store", text(&store)]).args(arguments));
        ran.refused(2, &["photos is neither empty nor a store", "hint: choose another place with --store"]);
    }
    assert_eq!(world.files(), before);
    std::fs::write(world.path("home/file"), "").unwrap();
    let ran = ran(world.rave().env("RAVE_STORE", world.path("home/file")).args(["store", "du"]));
    ran.refused(2, &["error: ", "home/file"]);
}

#[test]
fn a_store_that_others_can_change_is_refused() {
    let (world, _) = filled();
    let store = world.path("cache/rave");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777)).unwrap();
    world.run(&["store", "du"]).refused(2, &["other users can change the store", "hint: own the directory"]);
}

/// A file system of one megabyte, gone when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("rave-test", &at, "tmpfs", flags, Some(c"size=1m,mode=700")).ok()?;
        Some(Self(at))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn no_space_left_is_told_with_a_remedy_and_survived() {
    let world = World::new();
    let bytes = vec![7; 3 << 20];
    world.lock("minimal", &[package("aaa-test", &bytes)]);
    let mirror = Mirror::new(move |path| match path.contains("aaa-test") {
        true => Reply::File(bytes.clone()),
        false => {
            // Else this error could come first.
            std::thread::sleep(std::time::Duration::from_secs(1));
            Reply::Status(404)
        }
    });
    let Some(tiny) = Tiny::mount(world.path("tiny")) else {
        // Without the right to mount, the device that is always full must do. It is no directory, which is another
        // error; the lack of space itself is tested in the room of the store.
        let ran = ran(world.rave().env("RAVE_STORE", "/dev/full").args(["store", "du"]));
        return ran.refused(2, &["error: ", "/dev/full"]);
    };
    let store = tiny.0.join("store");
    let run = |arguments: &[&str]| {
        let mut command = world.rave();
        ran(mirror.serve(&mut command).env("RAVE_STORE", &store).args(arguments))
    };
    run(&["build", "minimal"])
        .refused(2, &["no space left on the file system that holds ", "tiny/store", "hint: ", "rave store gc"]);
    // What is there can still be looked at and removed.
    assert_eq!(run(&["store", "du"]).status, 0);
    assert_eq!(run(&["store", "verify"]).status, 0);
    assert_eq!(run(&["store", "gc"]).status, 0);
    let left = rustix::fs::statvfs(&tiny.0).unwrap();
    assert!(left.f_bfree * left.f_bsize > 900 << 10, "the begun download still takes the space");
}
