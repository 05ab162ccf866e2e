use super::*;
use crate::event::Silent;
use crate::qemu::machine::Firmware;
use crate::qemu::machine::tests::machine;
use crate::qemu::process::Process;
use crate::qemu::state::tests::state;
use crate::tool::Tool;

fn name() -> ImageName {
    "web".parse().unwrap()
}

/// Writes down a machine without any process of its own.
fn known(persist: bool, process: Option<Process>) -> (Machines, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let machines = Machines::new(dir.path().join("vms"));
    let directory = machines.directory(&name());
    disk::create_private_dir(&directory).unwrap();
    State { process, ..state(persist, true) }.save(&directory).unwrap();
    (machines, dir)
}

fn me() -> Option<Process> {
    Process::of(std::process::id()).unwrap()
}

/// A machine whose files exist in `dir`, run by a shell script.
fn start(machines: &Machines, dir: &Path, persist: bool, script: &'static str) -> Result<Vm> {
    for name in ["disk.raw", "code.fd", "vars.fd"] {
        disk::write_atomic(dir.join(name), b"", 0o644).unwrap();
    }
    let firmware = Firmware::Uefi { code: dir.join("code.fd"), vars: dir.join("vars.fd") };
    let machine = Machine { disk: dir.join("disk.raw"), firmware, accelerator: Choice::Tcg, persist, ..machine() };
    let program = QemuProgram::sandbox(Path::new("x"), move |_, _| Tool::new("sh").args(["-c", script, "sh"]));
    machines.start(machine, BTreeMap::new(), program, &Silent)
}

#[test]
fn no_directory_is_no_machines() {
    let machines = Machines::new("/nonexistent/vms");
    assert_eq!(machines.list().unwrap(), []);
    assert!(matches!(machines.find(&name()), Err(Error::NoSuchMachine(_))));
    assert!(matches!(machines.attach(&name()), Err(Error::NoSuchMachine(_))));
    assert!(matches!(machines.remove(&name(), true), Err(Error::NoSuchMachine(_))));
}

#[test]
fn machines_are_listed_with_what_they_do() {
    let (machines, dir) = known(false, me());
    disk::create_dir_all(dir.path().join("vms/interrupted")).unwrap();
    disk::write_atomic(dir.path().join("vms/accelerator.json"), b"{}", 0o600).unwrap();
    let list = machines.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((&list[0].state.name, list[0].condition), (&name(), Condition::Running));
    let (machines, _dir) = known(false, Some(Process { pid: 1, start: 0, boot: "another".to_owned() }));
    assert_eq!(machines.find(&name()).unwrap().condition, Condition::Dead);
    assert!(matches!(machines.attach(&name()), Err(Error::NotRunning(_))));
}

#[test]
fn a_running_machine_is_neither_replaced_nor_removed() {
    let (machines, dir) = known(false, me());
    assert!(matches!(machines.remove(&name(), false), Err(Error::Running(_))));
    assert!(matches!(start(&machines, dir.path(), false, "exit 1"), Err(Error::Running(_))));
    assert_eq!(machines.list().unwrap().len(), 1);
}

#[test]
fn removing_ends_by_force_and_leaves_nothing() {
    let child = crate::qemu::process::spawn(Tool::new("sleep").arg("1000").command(), false).unwrap();
    let (machines, _dir) = known(true, Process::of(child.id()).unwrap());
    machines.remove(&name(), true).unwrap();
    assert_eq!(machines.list().unwrap(), []);
    assert_eq!(Process::of(child.id()).unwrap(), None);
}

#[test]
fn state_that_is_kept_is_not_lost_to_another_machine() {
    let (machines, dir) = known(true, None);
    assert!(matches!(start(&machines, dir.path(), false, "exit 1"), Err(Error::Keeps(_))));
    assert!(matches!(start(&machines, dir.path(), true, "exit 1"), Err(Error::OtherImage { .. })));
    assert_eq!(machines.list().unwrap().len(), 1);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let (machines, dir) = known(false, None);
    let error = start(&machines, dir.path(), false, "echo broken >&2; exit 1").unwrap_err();
    assert!(matches!(&error, Error::Refused { log, .. } if log == "broken"), "{error:?}");
    assert!(!disk::exists(machines.directory(&name())));
    let error = start(&machines, dir.path(), true, "exit 1").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(!disk::exists(machines.directory(&name())), "nothing was in it to be kept");
}
