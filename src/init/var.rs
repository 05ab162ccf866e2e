//! /var, the one file system that is written to: a partition of the disk that the root file system is on. It is there
//! before systemd starts, so that nobody waits for udev, device units and jobs.
//!
//! The programs that make, check and grow it are those of the verified root file system, which must be the root already.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use rave_init::disk;

use crate::log::{Log, chain};
use crate::root;
use crate::switch::PATH;

const TARGET: &str = "/var";
/// An error in the file system that shows later stops the machine: what follows it would be lost.
const OPTIONS: &std::ffi::CStr = c"errors=panic";
/// Tells systemd-journald that /var is there: it writes to it from the first message on, and nothing has to be copied.
const FLUSHED: &str = "/run/systemd/journal/flushed";
/// What udev does with the partitions of the machine's disk.
const RULE: &str = "/run/udev/rules.d/59-rave.rules";
/// Bytes behind the partition, or behind its file system, from which on that grows. Less is what alignment leaves.
const WORTH: u64 = 4 << 20;
/// As much of what a failed program says.
const SAID: usize = 500;

/// Why there is no /var.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or its table.
    #[error(transparent)]
    Root(#[from] root::Error),
    /// A program of the root file system could not be started.
    #[error(transparent)]
    Start(#[from] disk::Error),
    /// A program of the root file system failed.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// Its path.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// The partition was not made.
    #[error("{0} has no partition for /var, and none was made")]
    Missing(String),
    /// A directory does not get its mode.
    #[error("cannot change the mode of {0}")]
    Mode(&'static str, #[source] Errno),
    /// The kernel refuses it.
    #[error("cannot mount {0} at {TARGET}")]
    Mount(String, #[source] Errno),
}

/// Mounts /var of the disk: makes the partition where there is none, and else checks its file system, for one with errors
/// must not be written to and does not grow. Then it grows with the disk; if it does not, the machine has the room that it
/// had. `execution` says whether programs may run from there.
pub fn mount(disk: &str, execution: MountFlags, log: &mut Log) -> Result<(), Error> {
    let before = root::var(disk)?;
    let whole = root::node(disk);
    let arguments = ["--dry-run=no".as_ref(), "--no-pager".as_ref(), whole.as_path()];
    let repart = || run("/usr/bin/systemd-repart", &arguments, 0);
    let made = || root::var(disk)?.ok_or_else(|| Error::Missing(disk.to_owned()));
    let new = before.is_none();
    let var = match before {
        None => {
            run("/usr/sbin/modprobe", &["loop".as_ref()], 0)?;
            repart()?;
            made()?
        }
        Some(var) if var.behind >= WORTH => {
            told(repart(), log);
            made()?
        }
        Some(var) => var,
    };
    let node = root::node(&var.name);
    if !new {
        // fsck(8): 1 for errors that were corrected, 2 if what is mounted should not be, which this is not.
        run("/usr/sbin/e2fsck", &["-p".as_ref(), &node], 3)?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME | execution;
    rustix::mount::mount(&node, TARGET, c"ext4", flags, OPTIONS)
        .map_err(|error| Error::Mount(node.display().to_string(), error))?;
    if new {
        log.information(&format!("made {TARGET} on {}", var.name));
    } else if var.size.saturating_sub(size(&node)?) >= WORTH {
        told(run("/usr/lib/systemd/systemd-growfs", &[TARGET.as_ref()], 0), log);
    }
    prepare(disk)
}

/// A failure that is no reason not to start.
fn told(result: Result<(), Error>, log: &mut Log) {
    if let Err(error) = result {
        log.warning(&format!("{TARGET} does not grow with the disk: {}", chain(&error)));
    }
}

/// Has systemd and udev know what is there.
fn prepare(disk: &str) -> Result<(), Error> {
    for directory in ["/run/systemd", "/run/systemd/journal", "/run/udev", "/run/udev/rules.d"] {
        disk::create_directory(directory)?;
    }
    disk::create_file(FLUSHED, "")?;
    disk::create_file(RULE, &rule(disk))?;
    // Whoever has a private one starts before tmpfiles has made all directories.
    if !disk::exists("/var/tmp") {
        disk::create_directory("/var/tmp")?;
        rustix::fs::chmod("/var/tmp", Mode::from(0o1777)).map_err(|error| Error::Mode("/var/tmp", error))?;
    }
    Ok(())
}

/// The machine's own partitions are known by their labels. The usual rules would probe each of them and make ten links, and
/// systemd a unit for each link.
fn rule(disk: &str) -> String {
    format!(
        "SUBSYSTEM==\"block\", ENV{{DEVTYPE}}==\"partition\", KERNELS==\"{disk}\", ENV{{PARTNAME}}==\"?*\", \
         ENV{{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}}=\"1\", SYMLINK+=\"disk/by-partlabel/$env{{PARTNAME}}\"\n"
    )
}

/// Bytes that a file system takes, as its superblock says (Linux, Documentation/filesystems/ext4/super.rst).
fn size(device: &Path) -> Result<u64, disk::Error> {
    let mut superblock = [0; 1024];
    disk::context("read", device, disk::open(device)?.read_exact_at(&mut superblock, 1024))?;
    Ok(taken(&superblock))
}

fn taken(superblock: &[u8; 1024]) -> u64 {
    let field =
        |at: usize| superblock[at..at + 4].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let blocks = field(0x150) << 32 | field(0x4);
    blocks.saturating_mul(1024 << field(0x18).min(6))
}

/// Runs a program; it must end with a status that has no other bits than `allowed`.
#[expect(clippy::disallowed_methods, reason = "programs of the verified root file system")]
fn run(program: &'static str, arguments: &[&Path], allowed: i32) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C").env("SYSTEMD_LOG_TARGET", "console");
    let output = disk::context("run", program, command.stdin(Stdio::null()).output())?;
    if output.status.code().is_some_and(|code| code & !allowed == 0) {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID)..]).trim().to_owned();
    Err(Error::Failed { program, status: output.status.to_string(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_says_how_large_its_file_system_is() {
        let mut superblock = [0; 1024];
        superblock[0x4..0x8].copy_from_slice(&879_611_u32.to_le_bytes());
        superblock[0x18] = 2;
        assert_eq!(taken(&superblock), 879_611 * 4096);
        superblock[0x150] = 1;
        assert_eq!(taken(&superblock), ((1 << 32) + 879_611) * 4096);
        assert_eq!(taken(&[0xff; 1024]), u64::MAX);
    }

    #[test]
    fn the_rule_is_about_one_disk() {
        let text = rule("nvme0n1");
        assert!(text.contains(r#"KERNELS=="nvme0n1", ENV{PARTNAME}=="?*", ENV{UDEV_"#), "{text}");
        assert!(
            text.ends_with("SYMLINK+=\"disk/by-partlabel/$env{PARTNAME}\"\n") && text.lines().count() == 1,
            "{text}"
        );
    }

    #[test]
    fn what_a_program_says_and_how_it_ends_is_told() {
        let shell = |script: &str, allowed| run("/bin/sh", &["-c".as_ref(), script.as_ref()], allowed);
        shell("exit 0", 0).unwrap();
        shell("exit 3", 3).unwrap();
        shell("exit 1", 0).unwrap_err();
        shell("exit 4", 3).unwrap_err();
        shell("kill -9 $$", 3).unwrap_err();
        let error = shell("echo out; echo why >&2; exit 8", 3).unwrap_err().to_string();
        assert_eq!(error, "/bin/sh failed (exit status: 8): out\nwhy");
        let long = shell("yes é | head -c 100000; exit 1", 0).unwrap_err().to_string();
        assert!(long.len() < SAID * 2, "{}", long.len());
        run("/nonexistent", &[], 0).unwrap_err();
    }
}
