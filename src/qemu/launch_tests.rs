use super::*;
use crate::event::Silent;
use crate::qemu::machine::tests::machine;
use std::os::unix::fs::PermissionsExt as _;

fn run<T>(operation: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(operation)
}

/// A machine whose files exist, and the directory that holds all of it.
fn real() -> (Machine, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["disk.raw", "code.fd", "template.fd"] {
        disk::write_atomic(dir.path().join(name), name.as_bytes(), 0o644).unwrap();
    }
    let at = |name: &str| dir.path().join(name);
    let firmware = Firmware::Uefi { code: at("code.fd"), vars: at("template.fd") };
    (Machine { disk: at("disk.raw"), firmware, ..machine() }, dir)
}

fn furnished() -> (Machine, tempfile::TempDir, PathBuf) {
    let (machine, dir) = real();
    let private = dir.path().join("vm");
    furnish(&machine, &private, &Base::of(&machine.disk).unwrap()).unwrap();
    (machine, dir, private)
}

#[test]
fn everything_in_the_directory_is_for_its_owner_only() {
    let (_, _dir, private) = furnished();
    let mode = |path: &Path| disk::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&private), 0o700);
    for name in ["overlay.qcow2", "vars.fd", "id_ed25519", "credentials/rave.identity"] {
        assert_eq!(mode(&private.join(name)), 0o600, "{name}");
    }
    let credential = disk::read_to_string(private.join("credentials/rave.identity")).unwrap();
    assert_eq!(credential, "io.systemd.credential.binary:rave.identity=QUdFLVNFQ1JFVC1LRVktMQ==");
    let ssh = disk::read_to_string(private.join("credentials/ssh.authorized_keys.agent")).unwrap();
    assert!(ssh.starts_with("io.systemd.credential.binary:ssh.authorized_keys.agent=c3NoLWVkMjU1MTkg"), "{ssh}");
}

#[test]
fn state_that_is_there_is_kept() {
    let (machine, _dir, private) = furnished();
    for name in [file::OVERLAY, file::VARS] {
        disk::write_atomic(private.join(name), b"mine", 0o600).unwrap();
    }
    furnish(&machine, &private, &Base::of(&machine.disk).unwrap()).unwrap();
    for name in [file::OVERLAY, file::VARS] {
        assert_eq!(disk::read(private.join(name)).unwrap(), b"mine");
    }
}

/// Launches with a shell script in QEMU's place.
fn launch_script(text: &'static str) -> (Result<Launched>, tempfile::TempDir) {
    let (machine, dir, private) = furnished();
    let program = QemuProgram::sandbox(Path::new("x"), move |views, _| {
        Tool::new("sh").args(["-c", text, "sh"]).current_dir(&views[0].host)
    });
    (run(launch(&machine, &program, &private, Accelerator::Tcg, &Silent)), dir)
}

#[test]
fn a_qemu_that_refuses_shows_what_it_said_and_how_it_was_called() {
    let (result, _dir) = launch_script("echo Could not open firmware >&2; exit 1");
    let error = result.unwrap_err().to_string();
    for part in ["exit status: 1", "Could not open firmware", "-name web,process=rave-web"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn ports_taken_meanwhile_and_missing_confinement_are_tried_differently() {
    // Each run leaves its arguments; the third one ends it.
    let (result, dir) = launch_script(
        "n=$(ls | grep -c args-); echo \"$@\" > args-$n
         case $n in
         0) echo 'Could not set up host forwarding rule' >&2;;
         1) echo 'sandbox support is not enabled in this QEMU binary' >&2;;
         *) echo done >&2;;
         esac; exit 1",
    );
    assert!(matches!(result, Err(Error::Refused { log, .. }) if log == "done"));
    let arguments = |n: u32| disk::read_to_string(dir.path().join(format!("vm/args-{n}"))).unwrap();
    let port = |n: u32| {
        let text = arguments(n);
        let at = text.split_once("hostfwd=tcp:127.0.0.1:").unwrap().1;
        at.split_once('-').unwrap().0.parse::<u16>().unwrap()
    };
    assert!(port(1) > port(0));
    assert!(arguments(1).contains("-sandbox on") && !arguments(2).contains("-sandbox"));
}

#[test]
fn no_program_is_a_plain_error() {
    let (machine, _dir, private) = furnished();
    let program = QemuProgram::host("/nonexistent/qemu");
    let error = run(launch(&machine, &program, &private, Accelerator::Tcg, &Silent)).unwrap_err();
    assert!(matches!(error, Error::Process { verb: "start", .. }));
}
