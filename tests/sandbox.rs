//! The sandbox, entered for real through the rave binary. Programs come from the host's /usr.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rave::sandbox::{Ids, Sandbox};
use rave::tool::{Error, Tool};
use tempfile::TempDir;

/// A root whose /usr will be the host's.
fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(root.path().join("usr")).unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    std::fs::write(root.path().join("data/file"), "content").unwrap();
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    root
}

fn sandbox(root: &Path) -> Sandbox {
    Sandbox::new(root).bind("/usr", "/usr", false).executable(env!("CARGO_BIN_EXE_rave"))
}

fn sh(sandbox: &Sandbox, script: &str) -> Tool {
    sandbox.tool("/bin/sh").args(["-c", script])
}

fn stdout(sandbox: &Sandbox, script: &str) -> String {
    String::from_utf8(sh(sandbox, script).output().unwrap()).unwrap().trim_end().to_owned()
}

#[test]
fn the_world_inside_is_always_the_same() {
    let root = root();
    let sandbox = sandbox(root.path());
    assert_eq!(stdout(&sandbox, "hostname; umask; id -u; id -g; pwd; echo $$"), "localhost\n0022\n0\n0\n/\n2");
    assert_eq!(stdout(&sandbox, "ls -A /; ls -A /tmp"), "bin\ndata\ndev\nlib\nlib64\nproc\nsbin\ntmp\nusr");
    let devices = "fd full null ptmx pts random shm stderr stdin stdout urandom zero";
    assert_eq!(stdout(&sandbox, "echo $(ls /dev | grep -v tty)"), devices);
    assert_eq!(
        stdout(&sandbox, "echo $(grep -c : /proc/net/dev); head -c 3 /dev/zero | wc -c; echo x > /dev/null"),
        "1\n3"
    );
    // Who starts a program has all signals blocked for a moment, and has it ignore those that are the C library's own.
    let signals = "grep -hE '^(SigBlk|NoNewPrivs)' /proc/self/status | cut -f2; grep ^SigIgn /proc/1/status | cut -f2";
    assert_eq!(stdout(&sandbox, signals), "0000000000000000\n1\n0000000000000000");
    assert_eq!(stdout(&sandbox.clone().directory("/data"), "pwd; cat file"), "/data\ncontent");
    // Also for whoever asks in the guise of an older machine.
    let plain = sandbox.tool("/bin/cat").arg("/proc/self/personality").command();
    let mut disguised = Command::new("setarch");
    disguised.args(["linux32", "--uname-2.6"]).arg(plain.get_program()).args(plain.get_args());
    assert_eq!(String::from_utf8(disguised.output().unwrap().stdout).unwrap(), "00000000\n");
}

#[test]
fn the_kernel_of_the_host_is_out_of_reach() {
    let root = root();
    let attempt = "[ -w /proc/sys/kernel/core_pattern ] && echo writable; [ -w /proc/sysrq-trigger ] && echo writable; \
        umount /proc/sys 2>&1 | grep -o 'not permitted'; mount -t proc proc /tmp 2>&1 | grep -o 'not permitted'; \
        unshare -Umpr --fork mount -t proc proc /tmp && echo mounted; :";
    let (single, range) = (sandbox(root.path()), sandbox(root.path()).ids(Ids::Range));
    let root = rustix::process::geteuid().is_root();
    for sandbox in [single, range].iter().take(if root { 2 } else { 1 }) {
        let output = stdout(sandbox, attempt);
        assert!(!output.contains("writable") && !output.contains("mounted"), "{output}");
        let rights =
            stdout(sandbox, "grep -E '^Cap(Prm|Bnd)' /proc/self/status | cut -f2; grep ^CapBnd /proc/1/status");
        for set in rights.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()) {
            let [sys_admin, sys_ptrace, net_admin] = [21, 19, 12];
            assert_eq!(set & (1 << sys_admin | 1 << sys_ptrace | 1 << net_admin), 0, "{rights}");
        }
    }
}

#[test]
fn what_is_read_only_stays_so_and_what_is_writable_arrives() {
    let (root, outside) = (root(), tempfile::tempdir().unwrap());
    let sandbox = sandbox(root.path()).bind(outside.path(), "/deep/er/out", true).bind(outside.path(), "/ro", false);
    for target in ["/data/new", "/data/file", "/new", "/usr/new", "/ro/new", "/deep/new"] {
        let error = sh(&sandbox, &format!("echo x > {target}")).output().unwrap_err().to_string();
        assert!(error.contains("Read-only file system"), "{target}: {error}");
    }
    assert_eq!(stdout(&sandbox, "echo yes > /deep/er/out/new; cat /ro/new; touch /tmp/t; ls /tmp"), "yes\nt");
    assert_eq!(std::fs::read(outside.path().join("new")).unwrap(), b"yes\n");
    assert_eq!(std::fs::metadata(outside.path().join("new")).unwrap().mode() & 0o777, 0o644);
    let file = outside.path().join("new");
    let sandbox = sandbox.bind(&file, "/one/file", true);
    assert_eq!(stdout(&sandbox, "echo more >> /one/file; cat /one/file"), "yes\nmore");
    assert!(!root.path().join("deep").exists() && !root.path().join("proc").exists(), "the root itself is left alone");
}

#[test]
fn links_in_a_root_do_not_lead_mount_points_to_the_host() {
    // Not below /tmp, where the new root is put together.
    let (root, outside) = (root(), tempfile::tempdir_in("/var/tmp").unwrap());
    symlink(outside.path(), root.path().join("link")).unwrap();
    symlink("link", root.path().join("second")).unwrap();
    let file = root.path().join("data/file");
    for root_of in [Sandbox::new, Sandbox::writable] {
        let sandbox = root_of(root.path()).bind("/usr", "/usr", false).executable(env!("CARGO_BIN_EXE_rave"));
        for (host, inside) in [(Path::new("/usr"), "/link/a/b"), (&file, "/second/file"), (&file, "/link/deep/file")] {
            let error = sandbox.clone().bind(host, inside, false).tool("/bin/true").output().unwrap_err().to_string();
            assert!(error.contains("cannot make the mount point"), "{inside}: {error}");
        }
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_writable_root_is_the_directory_itself() {
    let root = root();
    let sandbox = Sandbox::writable(root.path()).bind("/usr", "/usr", false).executable(env!("CARGO_BIN_EXE_rave"));
    stdout(&sandbox.tmpfs("/run"), "echo x > /new; echo x > /tmp/gone; echo x > /run/gone");
    assert!(root.path().join("new").exists());
    assert!(!root.path().join("tmp/gone").exists() && !root.path().join("run/gone").exists());
}

#[test]
fn exit_codes_and_input_pass_through() {
    let root = root();
    let sandbox = sandbox(root.path());
    let code = |tool: Tool| match tool.output().unwrap_err() {
        Error::Failed { status, stderr, .. } => (status.code().unwrap(), stderr),
        other => panic!("{other}"),
    };
    assert_eq!(code(sh(&sandbox, "exit 7")).0, 7);
    assert_eq!(code(sh(&sandbox, "kill -KILL $$")).0, 137);
    let (number, stderr) = code(sandbox.tool("/nonexistent"));
    assert!(number == 127 && stderr.contains("cannot run /nonexistent"), "{stderr}");
    let (number, stderr) =
        code(Sandbox::new(Path::new("/nonexistent")).executable(env!("CARGO_BIN_EXE_rave")).tool("x"));
    assert!(number == 125 && stderr.contains("cannot list /nonexistent"), "{stderr}");
    let (number, stderr) = code(sandbox.clone().bind("/nonexistent", "/x", false).tool("/bin/true"));
    assert!(number == 125 && stderr.contains("cannot bind /nonexistent"), "{stderr}");
    let (number, stderr) = code(sandbox.clone().bind("/usr", "/data/none", false).tool("/bin/true"));
    assert!(number == 125 && stderr.contains("cannot make the mount point data/none"), "{stderr}");
    assert_eq!(sandbox.tool("/bin/cat").output_with_input(b"through").unwrap(), b"through");
    assert_eq!(sh(&sandbox, "echo $X$HOME").env("X", "1").output().unwrap(), b"1\n");
}

#[test]
fn everything_inside_ends_with_the_program_and_with_the_caller() {
    let root = root();
    let started = Instant::now();
    assert_eq!(stdout(&sandbox(root.path()), "sleep 1000 >/dev/null 2>&1 & echo ok"), "ok");
    assert!(started.elapsed() < Duration::from_secs(60));
    // The helper is killed: its init, and the program, must let go of the pipe.
    let mut child = sh(&sandbox(root.path()), "echo up; sleep 1000").command().stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "up\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::io::Read::read_to_string(&mut out, &mut line).unwrap(), 0);
}

#[test]
fn a_helper_started_by_another_process_refuses() {
    let root = root();
    let tool = sh(&sandbox(root.path()), "true");
    let command = tool.command();
    // The shell in between is the helper's parent, and not the process that asked.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "\"$@\"; exit $?", "sh"]).arg(command.get_program());
    let output = shell.args(command.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("process that asked for the sandbox is gone"));
}

#[test]
fn without_sync_the_calls_succeed_at_once() {
    let root = root();
    let quiet = sandbox(root.path()).sync(false);
    assert_eq!(stdout(&quiet, "sync && grep Seccomp: /proc/self/status | cut -f2"), "2");
    assert_eq!(stdout(&sandbox(root.path()), "grep Seccomp: /proc/self/status | cut -f2"), "0");
}

#[test]
fn the_network_is_the_hosts_only_if_asked_for() {
    let root = root();
    let name = |sandbox: &Sandbox| stdout(sandbox, "readlink /proc/self/ns/net");
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    assert_ne!(name(&sandbox(root.path())), host);
    assert_eq!(name(&sandbox(root.path()).network(true)), host);
}

/// Runs as the user nobody, when the tests run as root.
fn as_nobody(tool: &Tool) -> Option<Output> {
    rustix::process::geteuid().is_root().then(|| {
        let command = tool.command();
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(command.get_program());
        setpriv.args(command.get_args()).output().unwrap()
    })
}

#[test]
fn an_ordinary_user_is_root_inside_and_is_told_what_a_range_needs() {
    let root = root();
    // The test's own binary may lie where nobody may read it. Another process copies it: what this one has open to write, a
    // test beside this one could take along, and then it cannot be executed.
    let rave = root.path().join("rave");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_rave")).arg(&rave).status().unwrap().success());
    let outside = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let sandbox = sandbox(root.path()).executable(&rave).bind(outside.path(), "/out", true);
    let Some(output) = as_nobody(&sh(&sandbox, "id -u && touch /out/x")) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::metadata(outside.path().join("x")).unwrap().uid(), 65534);
    let output = as_nobody(&sh(&sandbox.ids(Ids::Range), "true")).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr.contains("append the line nobody:") && stderr.contains("/etc/subuid"), "{stderr}");
}

#[test]
fn root_has_a_range_and_can_enter_again() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = root();
    let range = sandbox(root.path()).ids(Ids::Range);
    range.probe().unwrap();
    let script = "cat /proc/self/uid_map; touch /tmp/f; chown 12:65534 /tmp/f; stat -c %u:%g /tmp/f";
    assert_eq!(stdout(&range, script).split_whitespace().collect::<Vec<_>>(), ["0", "0", "65536", "12:65534"]);
    let inner = Sandbox::new(Path::new("/")).ids(Ids::Keep).outlives_caller(true).tool("/bin/hostname");
    let command = inner.command();
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let output = range.tool("/proc/self/exe").args(arguments).output();
    assert_eq!(output.unwrap(), b"localhost\n");
}
