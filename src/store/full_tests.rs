//! A full disk, as real as the host allows.

use std::io::Write as _;
use std::time::SystemTime;

use super::tests::{STEP, digest, names, store, tree};
use super::*;

#[test]
fn work_that_finds_the_disk_full_says_so_and_leaves_nothing() {
    let (dir, store) = store();
    let fill = |path: &Path| {
        tree(path)?;
        let mut full = disk::open_rw("/dev/full")?;
        disk::context("write", path.join("plain"), full.write_all(&[0; 4096]))
    };
    let error = store.put(STEP, digest("a"), fill).unwrap_err();
    assert!(matches!(&error, PutError::Store(e @ Error::Full { .. }) if e.hint().is_some()), "{error:?}");
    assert!(names(dir.path().join("store/staging")).is_empty());
}

/// A file system of one megabyte, gone when dropped.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn mount() -> rustix::io::Result<Self> {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("rave-test", dir.path(), "tmpfs", flags, Some(c"size=1m,mode=700"))?;
        Ok(Self(dir))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_file_system_is_told_survived_and_can_be_collected() {
    let tiny = match Tiny::mount() {
        Ok(tiny) => tiny,
        // The same promise is held against /dev/full above.
        Err(error) => return eprintln!("no file system can be mounted here ({error}): not tried on a real one"),
    };
    let open = || Store::open(tiny.0.path().join("store")).unwrap();
    open().put(STEP, digest("small"), tree).unwrap();
    let before = open().du().unwrap();
    let fill = |path: &Path| disk::write_atomic(path, &[1; 2 << 20], 0o644);
    let error = open().put(STEP, digest("large"), fill).unwrap_err();
    assert!(matches!(error, PutError::Store(Error::Full { .. })), "{error:?}");
    // A tool that does not say why it failed.
    let store = open();
    let silent = |path: &Path| {
        drop(fill(path));
        let mut file = disk::create(path)?;
        drop(file.write_all(&[1; 2 << 20]));
        disk::read("/nonexistent").map(|_| ())
    };
    let error = store.put(STEP, digest("large"), silent).unwrap_err();
    assert!(matches!(error, PutError::Store(Error::Full { .. })), "{error:?}");
    assert_eq!(store.du().unwrap(), before, "nothing is left");
    assert_eq!(names(tiny.0.path().join("store/staging")), Vec::<String>::new());
    drop(store);

    let mut rest = disk::create(tiny.0.path().join("rest")).unwrap();
    while rest.write(&[1; 512]).is_ok_and(|n| n > 0) {}
    assert_eq!(disk::free_bytes(tiny.0.path()).unwrap(), 0);
    assert!(matches!(open().put(STEP, digest("b"), tree), Err(PutError::Store(Error::Full { .. }))));
    assert_eq!(open().gc(Keep::Nothing, SystemTime::now()).unwrap().kinds["step"].objects, 1);
}
