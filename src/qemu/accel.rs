//! Which accelerator works here. A /dev/kvm that can be opened proves little: nested and paravirtual hosts
//! have KVM that stops a stock kernel, or the firmware, with an internal error. So it is tried, once per boot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::digest::Digest;
use crate::disk;
use crate::event::{Event, Report};
use crate::qemu::args::{self, Boot, Paths, file};
use crate::qemu::console;
use crate::qemu::error::{Error, Result};
use crate::qemu::machine::{Accelerator, Choice, Firmware};
use crate::qemu::process::{self, boot_id};
use crate::qemu::program::{QemuProgram, View};
use crate::qemu::qmp::Qmp;

const DEVICE: &str = "/dev/kvm";
/// Within this time a sound KVM shows the first sign of life many times over.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found out in one boot of the host, by QEMU program.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    boot: String,
    found: BTreeMap<Digest, Found>,
}

/// An accelerator, and why it is not KVM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    accelerator: Accelerator,
    reason: String,
}

/// Decides what runs a guest, and says so if it is not what one would hope for. `root` is the directory of all
/// machines, where findings are remembered.
pub async fn choose(
    choice: Choice,
    program: &QemuProgram,
    firmware: &Firmware,
    root: &Path,
    report: &dyn Report,
) -> Result<Accelerator> {
    if choice == Choice::Tcg {
        return Ok(Accelerator::Tcg);
    }
    let unusable = unusable(Path::new(DEVICE));
    match (choice, unusable) {
        (Choice::Kvm, Some(reason)) => Err(Error::NoKvm(reason)),
        (Choice::Kvm, None) => Ok(Accelerator::Kvm),
        (_, Some(reason)) => Ok(say(report, Found { accelerator: Accelerator::Tcg, reason })),
        (_, None) => {
            let boot = boot_id()?;
            if let Some(found) = recall(root, &boot, program) {
                return Ok(say(report, found));
            }
            let found = match try_kvm(program, firmware, root).await? {
                None => Found { accelerator: Accelerator::Kvm, reason: String::new() },
                Some(reason) => Found { accelerator: Accelerator::Tcg, reason },
            };
            remember(root, &boot, program, found.clone())?;
            Ok(say(report, found))
        }
    }
}

/// Remembers that KVM failed a real machine, and says so.
pub fn gave_up(program: &QemuProgram, root: &Path, reason: &str, report: &dyn Report) -> Result<()> {
    let found = Found { accelerator: Accelerator::Tcg, reason: reason.to_owned() };
    remember(root, &boot_id()?, program, found.clone())?;
    say(report, found);
    Ok(())
}

fn say(report: &dyn Report, found: Found) -> Accelerator {
    if found.accelerator == Accelerator::Tcg {
        report.event(Event::Note(format!("KVM cannot be used ({}): software emulation instead", found.reason)));
    }
    found.accelerator
}

/// Why the device cannot be used; nothing if it can be opened.
fn unusable(device: &Path) -> Option<String> {
    disk::open_existing_rw(device).err().map(|error| format!("{error}: {}", error.source))
}

fn memory_file(root: &Path) -> PathBuf {
    root.join("accelerator.json")
}

/// What is remembered of this boot. A file that cannot be read or understood counts as none: it is a cache.
fn load(root: &Path, boot: &str) -> Memory {
    let memory = disk::read(memory_file(root)).ok().and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok());
    memory.filter(|memory| memory.boot == boot).unwrap_or_default()
}

fn recall(root: &Path, boot: &str, program: &QemuProgram) -> Option<Found> {
    load(root, boot).found.remove(&program.identity())
}

fn remember(root: &Path, boot: &str, program: &QemuProgram, found: Found) -> Result<()> {
    let path = memory_file(root);
    let mut memory = load(root, boot);
    memory.boot = boot.to_owned();
    memory.found.insert(program.identity(), found);
    let bytes = serde_json::to_vec(&memory).map_err(|source| Error::State { path: path.clone(), source })?;
    Ok(disk::write_atomic(path, &bytes, 0o600)?)
}

/// Exit statuses of a sandbox or a shell that could not start QEMU, which say nothing about KVM.
const NOT_STARTED: [i32; 3] = [125, 126, 127];

/// Starts the shortest machine and waits for a sign of life from the firmware or kernel. Returns why KVM is
/// no good, or nothing.
async fn try_kvm(program: &QemuProgram, firmware: &Firmware, root: &Path) -> Result<Option<String>> {
    let (host, name) = match firmware {
        Firmware::Uefi { code, .. } => (code, "code.fd"),
        Firmware::Direct { kernel, .. } => (kernel, "kernel"),
    };
    // A file that is missing says nothing about KVM, so it is found before anything is tried.
    let host = disk::canonical(host)?;
    let inside = program.file(&host, name);
    let boot = match firmware {
        Firmware::Uefi { .. } => Boot::Uefi(inside.clone()),
        Firmware::Direct { .. } => Boot::Direct(inside.clone(), PathBuf::new(), String::new()),
    };
    let directory = disk::temp_dir_in(root)?;
    let directory = directory.path();
    let paths =
        Paths { directory: program.directory(), disk: PathBuf::new(), boot: boot.clone(), credentials: Vec::new() };
    let views = vec![
        View { host, inside, writable: false },
        View { host: DEVICE.into(), inside: DEVICE.into(), writable: true },
    ];
    let mut command = program.tool(directory, views, false).args(args::probe(&paths)).command();
    let log = directory.join(file::QEMU_LOG);
    command.stdout(Stdio::null()).stderr(disk::create(&log)?);
    let mut child = process::spawn(command, false)?;
    let deadline = Instant::now() + PATIENCE;
    let mut qmp = None;
    while Instant::now() < deadline {
        if is_sign_of_life(&boot, &disk::tail(console::log(directory), 64 * 1024)?) {
            return Ok(None);
        }
        if let Some(status) = child.exited()? {
            if status.code().is_some_and(|code| NOT_STARTED.contains(&code)) {
                let stderr = console::tail(&log)?;
                return Err(program.tool(directory, Vec::new(), false).failed(status, stderr.as_bytes()).into());
            }
            return Ok(Some(format!("QEMU ended with {status}: {}", last_line(&console::tail(&log)?))));
        }
        if qmp.is_none() {
            // The socket appears a moment after the process.
            qmp = Qmp::connect(directory, file::QMP).await.ok();
        }
        if let Some(qmp) = &qmp
            && let Ok(status) = qmp.status().await
            && is_failure(status)
        {
            return Ok(Some(format!("QEMU reports {status}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Some(format!("no sign of life within {} s", PATIENCE.as_secs())))
}

/// Whether a run state means that the accelerator failed the guest.
pub fn is_failure(status: &str) -> bool {
    status == "internal-error"
}

/// Firmware that prints has run through most of itself; a kernel that says its version has unpacked itself.
fn is_sign_of_life(boot: &Boot, console: &[u8]) -> bool {
    match boot {
        Boot::Uefi(_) => !console.is_empty(),
        Boot::Direct(..) => console.windows(13).any(|window| window == b"Linux version"),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;

    fn run<T>(operation: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(operation)
    }

    fn uefi() -> Firmware {
        Firmware::Uefi { code: "/dev/null".into(), vars: "/dev/null".into() }
    }

    /// A program that runs a shell script in the directory of the probe.
    fn script(text: &'static str) -> QemuProgram {
        QemuProgram::sandbox(Path::new(text), move |views, _| {
            Tool::new("sh").args(["-c", text, "sh"]).current_dir(&views[0].host)
        })
    }

    #[test]
    fn a_missing_or_forbidden_device_is_a_reason() {
        let reason = unusable(Path::new("/nonexistent/kvm")).unwrap();
        assert!(reason.contains("/nonexistent/kvm") && reason.contains("No such file"), "{reason}");
        assert_eq!(unusable(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_qemu_that_dies_is_a_reason_with_its_last_words() {
        let root = tempfile::tempdir().unwrap();
        let program = script("echo failed to set MSR >&2; exit 3");
        let reason = run(try_kvm(&program, &uefi(), root.path())).unwrap().unwrap();
        assert!(reason.contains("exit status: 3") && reason.ends_with("failed to set MSR"), "{reason}");
        assert!(disk::list(root.path()).unwrap().is_empty(), "nothing is left over");
    }

    #[test]
    fn a_sign_of_life_is_proof_and_the_machine_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let program = script("echo BdsDxe > console.log; exec sleep 1000");
        assert_eq!(run(try_kvm(&program, &uefi(), root.path())).unwrap(), None);
        assert!(disk::list(root.path()).unwrap().is_empty(), "nothing is left over");
        let kernel = Boot::Direct(PathBuf::new(), PathBuf::new(), String::new());
        assert!(!is_sign_of_life(&kernel, b"KVM: entry failed"));
        assert!(is_sign_of_life(&kernel, b"[    0.000000] Linux version 6.12\n"));
    }

    #[test]
    fn missing_firmware_says_nothing_about_kvm() {
        let root = tempfile::tempdir().unwrap();
        let firmware = Firmware::Uefi { code: "/nonexistent/code.fd".into(), vars: "/dev/null".into() };
        let result = run(try_kvm(&script("exit 1"), &firmware, root.path()));
        assert!(matches!(result, Err(Error::Disk(error)) if error.is_not_found()));
    }

    #[test]
    fn findings_are_kept_per_program_and_forgotten_with_the_boot() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (script("one"), script("two"));
        let found = |reason: &str| Found { accelerator: Accelerator::Tcg, reason: reason.to_owned() };
        remember(root.path(), "boot 1", &one, found("a")).unwrap();
        remember(root.path(), "boot 1", &two, found("b")).unwrap();
        assert_eq!(recall(root.path(), "boot 1", &one), Some(found("a")));
        assert_eq!(recall(root.path(), "boot 1", &two), Some(found("b")));
        assert_eq!(recall(root.path(), "boot 2", &one), None);
        disk::write_atomic(memory_file(root.path()), b"garbage", 0o600).unwrap();
        assert_eq!(recall(root.path(), "boot 1", &one), None);
    }

    #[test]
    fn emulation_that_was_asked_for_needs_no_trial() {
        let root = tempfile::tempdir().unwrap();
        let chosen = run(choose(Choice::Tcg, &script("exit 1"), &uefi(), root.path(), &crate::event::Silent)).unwrap();
        assert_eq!(chosen, Accelerator::Tcg);
        assert!(disk::list(root.path()).unwrap().is_empty());
    }
}
