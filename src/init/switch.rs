//! From the initramfs to the root file system, as switch_root(8) does it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};

/// Where the root file system is mounted first.
const TARGET: &str = "/sysroot";
const INIT: &str = "/sbin/init";
/// Where programs of the root file system find others.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Directories nest no deeper in an initramfs of ours.
const DEEPEST: u32 = 32;

/// Why the root file system did not take over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system could not be mounted.
    #[error("cannot mount the root file system {0} as EROFS")]
    Mount(String, #[source] Errno),
    /// It lacks a directory, or the kernel refuses.
    #[error("cannot move {0} into the root file system")]
    Move(&'static str, #[source] Errno),
    /// The step that makes it the root.
    #[error("cannot make it the root file system")]
    Root(#[source] Errno),
    /// Its init cannot be started.
    #[error("cannot start {INIT} of the root file system")]
    Init(#[source] io::Error),
}

/// Mounts the EROFS on `device` read-only and makes it the root.
pub fn to(device: &Path) -> Result<(), Error> {
    mount(device, TARGET, c"erofs", MountFlags::RDONLY, None)
        .map_err(|error| Error::Mount(device.display().to_string(), error))?;
    let moved =
        [("/dev", "/sysroot/dev"), ("/proc", "/sysroot/proc"), ("/run", "/sysroot/run"), ("/sys", "/sysroot/sys")];
    for (from, target) in moved {
        mount_move(from, target).map_err(|error| Error::Move(from, error))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).map_err(Error::Root)?;
    rustix::process::chdir(TARGET).map_err(Error::Root)?;
    mount_move(".", "/").map_err(Error::Root)?;
    rustix::process::chroot(".").map_err(Error::Root)?;
    rustix::process::chdir("/").map_err(Error::Root)?;
    let device = fstat(&old).map_err(Error::Root)?.st_dev;
    // What stays is memory lost, not a boot lost.
    let _ = empty(old, device, 0);
    Ok(())
}

/// Becomes the init of the root file system, with an environment that does not depend on the command line.
#[expect(clippy::disallowed_methods, reason = "the only program that init becomes")]
pub fn init() -> Result<Infallible, Error> {
    let mut command = Command::new(INIT);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("TERM", "linux");
    Err(Error::Init(command.exec()))
}

/// Removes what is in a directory, without leaving its file system.
fn empty(directory: OwnedFd, device: u64, depth: u32) -> rustix::io::Result<()> {
    if depth > DEEPEST {
        return Err(Errno::LOOP);
    }
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            unlinkat(&directory, name, AtFlags::empty())?;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = openat(directory.as_fd(), name, flags, Mode::empty())?;
        if fstat(&below)?.st_dev == device {
            empty(below, device, depth + 1)?;
            match unlinkat(&directory, name, AtFlags::REMOVEDIR) {
                // A mount point, such as the new root's, cannot go.
                Err(Errno::BUSY) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rave_init::disk;

    use super::*;

    #[test]
    fn a_directory_is_emptied_through_links_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), b"x").unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::create_dir_all(inside.path().join("a/b/c")).unwrap();
        fs::write(inside.path().join("a/b/file"), b"x").unwrap();
        disk::symlink(outside.path(), inside.path().join("a/link")).unwrap();
        let open = || OwnedFd::from(disk::open(inside.path()).unwrap());
        empty(open(), fstat(open()).unwrap().st_dev + 1, DEEPEST + 1).unwrap_err();
        empty(open(), fstat(open()).unwrap().st_dev, 0).unwrap();
        assert!(disk::list(inside.path()).unwrap().is_empty());
        assert!(disk::exists(outside.path().join("kept")));
    }
}
