use super::*;
use crate::event::Silent;
use crate::qemu::error::Error;
use std::sync::mpsc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;

const LONG: Duration = Duration::from_secs(60);

/// Waits for a machine whose QEMU says `events` once it is connected to, reports `status`, and whose console
/// shows `log`. The agent never answers.
fn wait_for(events: &'static str, status: &'static str, log: &str, limit: Duration) -> Result<()> {
    wait_with(events, status, ("", log), None, limit)
}

/// The same, with a console log of which the first part is history.
fn wait_with(
    events: &'static str,
    status: &'static str,
    (history, log): (&str, &str),
    silence: Option<Duration>,
    limit: Duration,
) -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    disk::write_atomic(console::log(dir.path()), format!("{history}{log}").as_bytes(), 0o600).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let qemu = UnixListener::bind(dir.path().join(file::QMP)).unwrap();
        // Never answers: QEMU's socket for a port that the guest has not opened.
        let _agent = UnixListener::bind(dir.path().join(file::AGENT)).unwrap();
        let (hang_up, hung_up) = mpsc::channel::<()>();
        tokio::spawn(play_qemu(qemu, events, status, hung_up));
        let mut qmp = Qmp::connect(dir.path(), file::QMP).await.unwrap();
        let name: ImageName = "web".parse().unwrap();
        let waiting = Waiting { name: &name, directory: dir.path(), silence, skip: history.len() as u64 };
        let result = waiting.wait(&mut qmp, Ready::Agent, limit, &Silent).await;
        drop(hang_up);
        result
    })
}

/// QEMU's side: answers commands, then says `events`; the event `HANG-UP` closes the connection.
async fn play_qemu(listener: UnixListener, events: &'static str, status: &'static str, _until: mpsc::Receiver<()>) {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (name, id) = (request["execute"].as_str().unwrap(), &request["id"]);
        let value = match name {
            "query-status" => format!("{{\"status\": \"{status}\", \"running\": false}}"),
            _ => "{}".to_owned(),
        };
        write.write_all(format!("{{\"return\": {value}, \"id\": {id}}}\n").as_bytes()).await.unwrap();
        if name == "qmp_capabilities" {
            if events == "HANG-UP" {
                return;
            }
            write.write_all(events.as_bytes()).await.unwrap();
        }
    }
}

#[test]
fn a_guest_that_never_boots_is_told_with_its_console() {
    let error = wait_for("", "running", "BdsDxe: no boot option\n", Duration::from_millis(100)).unwrap_err();
    assert!(matches!(&error, Error::NotReady { console, .. } if console == "BdsDxe: no boot option"), "{error:?}");
    assert!(error.to_string().contains("waiting for the guest agent"), "{error}");
}

#[test]
fn a_panic_is_known_from_the_device_and_from_the_console() {
    let event = "{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"run\"}}\n";
    assert!(matches!(wait_for(event, "running", "x\n", LONG), Err(Error::Panicked { .. })));
    let log = "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n";
    let error = wait_for("", "running", log, LONG).unwrap_err();
    assert!(matches!(&error, Error::Panicked { console, .. } if console.contains("Unable to mount")), "{error:?}");
    for (log, who) in [
        ("Decoding failed\n\n -- System halted", "kernel"),
        ("!!!! X64 Exception Type - 0D(#GP - General Protection)  CPU Apic ID - 00000000 !!!!\n", "firmware"),
    ] {
        let error = wait_for("", "running", log, LONG).unwrap_err();
        assert!(error.to_string().starts_with(&format!("the {who} of machine")), "{error}");
    }
}

#[test]
fn a_reboot_loop_is_known_from_its_resets_and_one_reset_is_none() {
    const RESETS: &str = "{\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n\
        {\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n\
        {\"event\": \"RESET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n";
    assert!(matches!(wait_for(RESETS, "running", "", LONG), Err(Error::RebootLoop { resets: 3, .. })));
    let one = RESETS.split_inclusive('\n').next().unwrap();
    assert!(matches!(wait_for(one, "running", "", Duration::from_millis(100)), Err(Error::NotReady { .. })));
}

#[test]
fn an_accelerator_that_fails_is_known_from_the_run_state() {
    let error = wait_for("{\"event\": \"STOP\"}\n", "internal-error", "", LONG).unwrap_err();
    assert!(matches!(&error, Error::Stopped { status, .. } if status == "internal-error"), "{error:?}");
}

#[test]
fn a_machine_that_ends_is_told_with_the_reason() {
    let event = "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\n";
    let error = wait_for(event, "running", "", LONG).unwrap_err();
    assert!(matches!(&error, Error::Ended { why, .. } if why == "guest-shutdown"), "{error:?}");
    let error = wait_for("HANG-UP", "running", "", LONG).unwrap_err();
    assert!(matches!(&error, Error::Ended { .. }), "{error:?}");
}

#[test]
fn a_console_that_stays_silent_is_a_sign_only_where_asked_for() {
    let silence = Some(Duration::from_millis(10));
    let limit = Duration::from_secs(2);
    let error = wait_with("", "running", ("", ""), silence, LONG).unwrap_err();
    assert!(matches!(&error, Error::Stopped { status, .. } if status == SILENT), "{error:?}");
    let error = wait_with("", "running", ("", "Linux version"), silence, limit).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error:?}");
}

#[test]
fn a_panic_that_was_survived_is_history() {
    let history = "Kernel panic - not syncing: slot A\n";
    let error = wait_with("", "running", (history, "login:"), None, Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error:?}");
}
