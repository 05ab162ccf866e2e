//! The file system of a sandbox. All that comes from the host is opened as detached mounts first, so that
//! no mount made on the way can hide a source.

use std::fs::{self, DirBuilder, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind_recursive,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::error::{Error, Result, step};
use super::{Root, Sandbox, inner, sys};

/// Where the new root is put together; hidden from then on, and every host has it.
const STAGE: &str = "/tmp";
/// Devices that are the host's own.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Links that /dev has by custom.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// What /proc holds of the kernel itself: root of the host stays its master, in whichever namespace.
const KERNEL: [&str; 7] = ["acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger"];
/// What a program on the host's network reads of the host's, where the root has the mount points.
const NETWORK_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// A part of the host, to be attached at a path relative to the new root.
struct Part {
    mount: OwnedFd,
    inside: PathBuf,
    directory: bool,
}

/// Builds the file system and makes it this process' root.
pub fn build(spec: &Sandbox) -> Result<()> {
    // The first thing that needs the new namespace's privileges: security modules refuse it here.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| Error::namespaces(error.into()))?;
    let root = RootPlan::of(&spec.root)?;
    let binds = spec.binds.iter().map(|b| Part::open(&b.host, &b.inside, !b.writable)).collect::<Result<Vec<_>>>()?;
    let devices = DEVICES.iter().map(Path::new).filter(|path| path.exists());
    let devices = devices.map(|path| Part::open(path, path, false)).collect::<Result<Vec<_>>>()?;
    let network = network_files(spec)?;

    let sealed = root.stage()?;
    step("enter", STAGE, std::env::set_current_dir(STAGE))?;
    for path in &spec.tmpfs {
        let mode = if path == "/tmp" { "mode=1777" } else { "mode=0755" };
        let path = relative(Path::new(path))?;
        make_directory(&path)?;
        mount_new("tmpfs", &path, MountFlags::NOSUID | MountFlags::NODEV, mode)?;
    }
    mount_proc()?;
    make_dev(&devices, inner::has_groups(spec.ids))?;
    for part in binds {
        part.attach_at_new_point()?;
    }
    for part in network.into_iter().filter(|part| part.inside.is_file()) {
        part.attach()?;
    }
    if sealed {
        step(
            "seal",
            "/",
            mount_remount(".", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, ""),
        )?;
    }
    step("change", "the root directory", rustix::process::pivot_root(".", "."))?;
    step("leave", "the host's root directory", unmount(".", UnmountFlags::DETACH))?;
    step("enter", "/", std::env::set_current_dir("/"))
}

impl Part {
    /// Takes a copy of the mounts at `host`, to be attached at `inside`.
    fn open(host: &Path, inside: &Path, read_only: bool) -> Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mount = step("bind", host, open_tree(CWD, host, flags))?;
        step("restrict", host, sys::restrict(mount.as_fd(), read_only))?;
        let directory = step("examine", host, rustix::fs::fstat(&mount))?;
        let directory = rustix::fs::FileType::from_raw_mode(directory.st_mode).is_dir();
        Ok(Self { mount, inside: relative(inside)?, directory })
    }

    fn attach_at_new_point(&self) -> Result<()> {
        if self.directory {
            make_directory(&self.inside)?
        } else {
            make_file(&self.inside)?
        }
        self.attach()
    }

    fn attach(&self) -> Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        step("mount", &self.inside, move_mount(&self.mount, "", CWD, &self.inside, flags))
    }
}

/// What the new root is made of.
enum RootPlan {
    /// A directory in memory with these parts of the host, and these links.
    Assembled(Vec<Part>, Vec<(PathBuf, PathBuf)>),
    /// A directory of the host.
    Whole(Part),
}

impl RootPlan {
    fn of(root: &Root) -> Result<Self> {
        match root {
            Root::Empty => Ok(Self::Assembled(Vec::new(), Vec::new())),
            Root::Writable(path) => Ok(Self::Whole(Part::open(path, Path::new("/"), false)?)),
            Root::ReadOnly(path) => Self::assembled(path),
        }
    }

    fn assembled(root: &Path) -> Result<Self> {
        let (mut parts, mut links) = (Vec::new(), Vec::new());
        for entry in step("list", root, fs::read_dir(root))? {
            let entry = step("list", root, entry)?;
            let (path, name) = (entry.path(), PathBuf::from(entry.file_name()));
            let kind = step("examine", &path, entry.file_type())?;
            if kind.is_symlink() {
                links.push((step("read", &path, fs::read_link(&path))?, name));
            } else if !["dev", "proc", "tmp"].iter().any(|own| name == Path::new(own)) {
                parts.push(Part::open(&path, &Path::new("/").join(&name), true)?);
            }
        }
        Ok(Self::Assembled(parts, links))
    }

    /// Mounts the root at the stage; whether it is to be made read-only in the end.
    fn stage(self) -> Result<bool> {
        match self {
            Self::Whole(part) => {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                step("mount", STAGE, move_mount(&part.mount, "", CWD, STAGE, flags))?;
                Ok(false)
            }
            Self::Assembled(parts, links) => {
                mount_new("tmpfs", Path::new(STAGE), MountFlags::NOSUID | MountFlags::NODEV, "mode=0755")?;
                step("enter", STAGE, std::env::set_current_dir(STAGE))?;
                for part in parts {
                    part.attach_at_new_point()?;
                }
                for (target, name) in links {
                    step("link", &name, symlink(target, &name))?;
                }
                Ok(true)
            }
        }
    }
}

fn network_files(spec: &Sandbox) -> Result<Vec<Part>> {
    let files = NETWORK_FILES.iter().map(Path::new).filter(|path| spec.network && path.exists());
    files.map(|path| Part::open(path, path, true)).collect()
}

/// The part of an absolute path after the slash; `.` for the root.
fn relative(path: &Path) -> Result<PathBuf> {
    let mut components = path.components();
    let normal = components.next() == Some(Component::RootDir)
        && components.clone().all(|part| matches!(part, Component::Normal(_)));
    if !normal {
        return Err(Error::Spec(format!("{} is not an absolute, plain path", path.display())));
    }
    let rest = components.as_path();
    Ok(if rest.as_os_str().is_empty() { PathBuf::from(".") } else { rest.to_owned() })
}

/// Refuses a mount point that links of the new root lead out of it: until the root is changed, they end on the host.
fn contained(path: &Path) -> Result<()> {
    for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        match openat2(CWD, part, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH) {
            Err(Errno::NOENT) => {}
            result => drop(step("make the mount point", path, result)?),
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<()> {
    contained(path)?;
    step("make the mount point", path, DirBuilder::new().recursive(true).mode(0o755).create(path))
}

fn make_file(path: &Path) -> Result<()> {
    contained(path)?;
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    step("make the mount point", path, File::create(path)).map(drop)
}

fn mount_new(kind: &str, at: &Path, flags: MountFlags, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).unwrap_or_default();
    step("mount", at, mount(kind, at, kind, flags, Some(options.as_c_str())))
}

/// A /proc of the new process namespace. Where a container hides parts of its own, the kernel refuses a new one,
/// and the container's has to do.
fn mount_proc() -> Result<()> {
    make_directory(Path::new("proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("proc", "proc", "proc", flags, None) {
        Err(Errno::PERM) => step("mount", "/proc", mount_bind_recursive("/proc", "proc"))?,
        result => step("mount", "/proc", result)?,
    }
    for path in KERNEL.map(|name| Path::new("proc").join(name)).iter().filter(|path| path.exists()) {
        Part::open(path, &Path::new("/").join(path), true)?.attach()?;
    }
    Ok(())
}

/// The smallest /dev that programs get along with.
fn make_dev(devices: &[Part], groups: bool) -> Result<()> {
    let dev = Path::new("dev");
    make_directory(dev)?;
    mount_new("tmpfs", dev, MountFlags::NOSUID | MountFlags::NOEXEC, "mode=0755")?;
    for part in devices {
        part.attach_at_new_point()?;
    }
    let (pts, shm) = (dev.join("pts"), dev.join("shm"));
    make_directory(&pts)?;
    // Terminals belong to the group tty, 5 in Debian, where that group exists.
    let options = if groups { "newinstance,ptmxmode=0666,mode=0620,gid=5" } else { "newinstance,ptmxmode=0666" };
    mount_new("devpts", &pts, MountFlags::NOSUID | MountFlags::NOEXEC, options)?;
    make_directory(&shm)?;
    step("protect", &shm, fs::set_permissions(&shm, fs::Permissions::from_mode(0o1777)))?;
    for (name, target) in LINKS {
        let path = dev.join(name);
        step("link", &path, symlink(target, &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_are_absolute_and_plain() {
        assert_eq!(relative(Path::new("/a/b")).unwrap(), Path::new("a/b"));
        assert_eq!(relative(Path::new("/")).unwrap(), Path::new("."));
        for bad in ["", "a", "../a", "/a/../b", "/.."] {
            assert!(relative(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
