//! The first process of the initrd: it loads kernel modules, opens the verified root file system, mounts /var and hands
//! over to the root's init. What it cannot do it says, and then it restarts the machine: boot counting takes it to
//! the other version. It opens a shell in images for debugging only; see [`shell`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::system::{RebootCommand, finit_module, reboot};

use rave_init::{BREAK, HIDE, MODULES, NOEXEC, disk};

use crate::log::{Log, chain};
use crate::{ahead, cmdline, root, shell, switch, var};

const CMDLINE: &str = "/proc/cmdline";

/// Why there is no boot.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot mount {0}")]
    Mount(&'static str, #[source] Errno),
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Cmdline(#[from] cmdline::Error),
    #[error("cannot open the root file system{}", after(.modules))]
    Root {
        #[source]
        source: root::Error,
        modules: Vec<String>,
    },
    #[error(transparent)]
    Switch(#[from] switch::Error),
    #[error("cannot make /var ready")]
    Var(#[source] var::Error),
}

/// Boots the machine. To be called as process 1 of the initrd only; it does not return.
pub fn run() -> ! {
    let mut log = Log::default();
    let Err(error) = boot(&mut log);
    let delay =
        disk::read_to_string(CMDLINE).map_or(Some(Duration::from_secs(10)), |line| cmdline::reboot_delay(&line));
    let next = match delay {
        Some(delay) => format!("the machine restarts in {} s", delay.as_secs()),
        None => "the machine waits, as panic=0 says".into(),
    };
    log.failure(&format!("cannot boot: {}", chain(&error)));
    // Afterwards the root is the image's, and what it has at this path is no sign that it is for debugging.
    if !matches!(error, Error::Var(_) | Error::Switch(switch::Error::Init(_))) {
        shell::open("a root shell before the restart", &mut log);
    }
    log.failure(&next);
    sleep(delay.unwrap_or(Duration::MAX));
    // Were this refused, the end of process 1 makes the kernel panic, which restarts as panic= says.
    let _ = reboot(RebootCommand::Restart);
    std::process::exit(1)
}

fn boot(log: &mut Log) -> Result<Infallible, Error> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let devices = MountFlags::NOSUID | MountFlags::STRICTATIME;
    // The options of /dev and /run are systemd's, which takes what it finds; of /dev/shm it would leave out that nothing runs
    // from there.
    mount("proc", "/proc", c"proc", quiet, None).map_err(|error| Error::Mount("/proc", error))?;
    mount("sysfs", "/sys", c"sysfs", quiet, None).map_err(|error| Error::Mount("/sys", error))?;
    mount("devtmpfs", "/dev", c"devtmpfs", devices, c"mode=0755").map_err(|error| Error::Mount("/dev", error))?;
    let runtime = devices | MountFlags::NODEV;
    mount("tmpfs", "/run", c"tmpfs", runtime, c"mode=0755,size=20%,nr_inodes=800k")
        .map_err(|error| Error::Mount("/run", error))?;
    mkdir("/dev/shm", Mode::from(0o755))
        .and_then(|()| mount("tmpfs", "/dev/shm", c"tmpfs", quiet | MountFlags::STRICTATIME, c"mode=1777"))
        .map_err(|error| Error::Mount("/dev/shm", error))?;
    *log = Log::open()?;
    let line = disk::read_to_string(CMDLINE)?;
    if cmdline::has(&line, HIDE) {
        mount_remount("/proc", quiet, c"hidepid=invisible").map_err(|error| Error::Mount("/proc", error))?;
    }
    let execution = if cmdline::has(&line, NOEXEC) { MountFlags::NOEXEC } else { MountFlags::empty() };
    if !execution.is_empty() {
        mount_remount("/run", runtime | execution, c"").map_err(|error| Error::Mount("/run", error))?;
    }
    let hash = cmdline::root_hash(&line)?;
    let failed = load_modules(log)?;
    let opened = root::open(&hash, log).map_err(|source| Error::Root { source, modules: failed })?;
    if cmdline::has(&line, BREAK) {
        shell::open(&format!("a root shell before {} becomes the root file system", opened.device.display()), log);
    }
    switch::to(&opened.device)?;
    ahead::read();
    var::mount(&opened.disk, execution, log).map_err(Error::Var)?;
    Ok(switch::init()?)
}

/// Loads all modules of the list; returns those that failed, each with the reason. A module for hardware that
/// is not there may fail; if it matters the root file system is not found.
fn load_modules(log: &mut Log) -> Result<Vec<String>, Error> {
    let list = disk::read_to_string(MODULES)?;
    let mut failed = BTreeMap::new();
    for (path, needs) in modules(&list) {
        // The kernel would say of each symbol that it does not know it.
        if let Some(missing) = needs.iter().find(|need| failed.contains_key(*need)) {
            failed.insert(path, format!("without {missing}"));
            continue;
        }
        match finit_module(disk::open(path)?, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => drop(failed.insert(path, error.to_string())),
        }
    }
    let failed: Vec<String> = failed.iter().map(|(path, reason)| format!("{path} ({reason})")).collect();
    if !failed.is_empty() {
        log.information(&format!("kernel modules not loaded: {}", failed.join(", ")));
    }
    Ok(failed)
}

/// The modules of the list, each with those that it needs.
fn modules(list: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    list.lines().filter(|line| line.trim_start().starts_with('/')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.collect()))
    })
}

fn after(modules: &[String]) -> String {
    if modules.is_empty() { String::new() } else { format!(" (kernel modules not loaded: {})", modules.join(", ")) }
}

#[cfg(test)]
mod tests {
    use rave_init::digest::Digest;

    use super::*;

    #[test]
    fn the_list_of_modules_is_read_leniently() {
        let list = "/lib/a.ko\n\n  /lib/b.ko /lib/a.ko \r\n# remark\n\0\nrelative.ko";
        let expected = [("/lib/a.ko", vec![]), ("/lib/b.ko", vec!["/lib/a.ko"])];
        assert_eq!(modules(list).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_missing_root_names_the_modules_that_failed() {
        let source = root::Error::NotFound { hash: Digest::from_bytes([7; 32]), seen: "vda: it is empty".into() };
        let error = Error::Root { source, modules: vec!["/lib/virtio_blk.ko (ENOEXEC)".into()] };
        let text = chain(&error);
        assert!(text.contains("(kernel modules not loaded: /lib/virtio_blk.ko (ENOEXEC)): no disk has"), "{text}");
        assert!(text.ends_with("vda: it is empty"), "{text}");
    }
}
