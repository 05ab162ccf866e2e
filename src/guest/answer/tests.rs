use super::*;

fn only(probe: Probe) -> Answer {
    let answers = answer(std::slice::from_ref(&probe), None);
    assert_eq!(answers.len(), 1);
    answers.into_iter().next().unwrap().answer
}

/// A machine that looks like this host, with `root` for its root directory.
fn machine(root: &std::path::Path) -> Machine {
    Machine { proc: "/proc".into(), sys: "/sys".into(), root: root.to_owned(), limit: None }
}

#[test]
fn this_host_answers_what_any_kernel_knows() {
    let Answer::Resources(resources) = only(Probe::Resources) else { panic!() };
    assert!(resources.memory_total >= resources.memory_available && resources.processors > 0);
    let Answer::Clock { unix_seconds, .. } = only(Probe::Clock) else { panic!() };
    assert!(unix_seconds > 1_700_000_000);
    let Answer::CommandLine { line } = only(Probe::CommandLine) else { panic!() };
    assert!(!line.ends_with('\n'));
    // The third can only be written.
    let names = ["kernel.ostype", "no.such.setting", "vm.compact_memory", "../../etc/passwd"].map(str::to_owned);
    let Answer::Sysctls { values, unread } = only(Probe::Sysctls { names: names.into() }) else { panic!() };
    assert_eq!(values, [("kernel.ostype".to_owned(), "Linux".to_owned())].into());
    assert_eq!(unread.keys().collect::<Vec<_>>(), ["vm.compact_memory"], "{unread:?}");
}

#[test]
fn answers_come_in_order_and_through_json() {
    let probes = [Probe::CommandLine, Probe::SshOffer, Probe::Run { command: vec!["false".to_owned()] }];
    let mut output = Vec::new();
    serve(serde_json::to_vec(&probes).unwrap().as_slice(), &mut output, None).unwrap();
    let answers: Vec<Answered> = serde_json::from_slice(&output).unwrap();
    assert!(matches!(answers[0].answer, Answer::CommandLine { .. }));
    assert_eq!(answers[1].answer, Answer::unavailable("this has to be asked from outside"));
    assert!(matches!(&answers[2].answer, Answer::Run(Ended { code: Some(1), .. })));
    let strange = r#"[{"ask":"rm"},{"ask":"command-line"},{"ask":"write","directory":"etc"},7]"#;
    let mut output = Vec::new();
    serve(strange.as_bytes(), &mut output, None).unwrap();
    let answers: Vec<Answered> = serde_json::from_slice(&output).unwrap();
    let is_unknown = |answered: &Answered| matches!(&answered.answer, Answer::Unavailable { reason } if reason.contains("does not know"));
    assert_eq!(answers.iter().map(is_unknown).collect::<Vec<_>>(), [true, false, true, true]);
    for bad in ["", "{}", "[", "7"] {
        assert!(matches!(serve(bad.as_bytes(), Vec::new(), None), Err(Error::Parse(_))), "{bad}");
    }
    assert!(matches!(serve(" ".repeat(2 << 20).as_bytes(), Vec::new(), None), Err(Error::Parse(_))));
}

#[test]
fn a_command_answers_with_its_output_or_not_at_all() {
    let run = |command: &[&str]| only(Probe::Run { command: command.iter().map(|word| (*word).to_owned()).collect() });
    let ended = Ended { code: Some(3), stdout: "out\n".to_owned(), stderr: "err\n".to_owned() };
    assert_eq!(run(&["sh", "-c", "echo out; echo err >&2; exit 3"]), Answer::Run(ended));
    assert!(matches!(run(&["sh", "-c", "kill -9 $$"]), Answer::Run(Ended { code: None, .. })));
    assert!(matches!(run(&["/nonexistent"]), Answer::Unavailable { .. }));
    assert!(matches!(run(&[]), Answer::Unavailable { .. }));
}

#[test]
fn a_write_that_succeeds_is_told_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    disk::create_dir_all(dir.path().join("etc")).unwrap();
    let machine = machine(dir.path());
    let answer = machine.write(&"/etc".parse().unwrap()).unwrap();
    assert!(matches!(answer, Answer::Write { written: true, .. }));
    assert!(disk::list(dir.path().join("etc")).unwrap().is_empty());
    // A directory that is not there is not read-only.
    assert!(machine.write(&"/usr".parse().unwrap()).is_err());
}

#[test]
fn a_read_only_file_system_says_so() {
    // No file can be made in /proc, but not because it is read-only.
    assert!(machine(std::path::Path::new("/")).write(&"/proc".parse().unwrap()).is_err());
    let Ok(mounts) = kernel::mounts(std::path::Path::new("/proc")) else { return };
    for mount in mounts.iter().filter(|mount| mount.options.contains("ro")) {
        let Ok(point) = mount.point.parse() else { continue };
        match machine(std::path::Path::new("/")).write(&point) {
            Ok(Answer::Write { written, .. }) => assert!(!written, "{point}"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
}

#[test]
fn a_host_key_is_read_without_its_comment() {
    let dir = tempfile::tempdir().unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    disk::write_atomic(dir.path().join("key.pub"), format!("{key} root@host\n").as_bytes(), 0o644).unwrap();
    disk::write_atomic(dir.path().join("bad.pub"), b"ssh-ed25519 AAAA x\n", 0o644).unwrap();
    let machine = machine(dir.path());
    let answer = machine.host_key(&"/key.pub".parse().unwrap()).unwrap();
    assert_eq!(answer, Answer::HostKey { key: key.to_owned() });
    assert!(machine.host_key(&"/bad.pub".parse().unwrap()).is_err());
    assert!(machine.host_key(&"/missing.pub".parse().unwrap()).is_err());
}

#[test]
fn a_machine_that_hides_everything_answers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_owned();
    let machine = Machine { proc: empty.clone(), sys: empty.clone(), root: empty, limit: None };
    let probes = [
        Probe::Sockets,
        Probe::Mounts,
        Probe::CommandLine,
        Probe::Resources,
        Probe::Space,
        Probe::Verity,
        Probe::Clock,
        Probe::Write { directory: "/etc".parse().unwrap() },
        Probe::HostKey { path: "/key".parse().unwrap() },
    ];
    for (probe, answered) in probes.iter().zip(machine.answer_all(&probes)) {
        assert!(matches!(answered.answer, Answer::Unavailable { .. }), "{probe:?} {answered:?}");
    }
}

#[test]
fn secrets_are_told_by_owner_mode_and_storage() {
    let dir = tempfile::tempdir().unwrap();
    let generation = dir.path().join("run/secrets.d/1");
    for path in [&generation, &dir.path().join("etc")] {
        disk::create_dir_all(path).unwrap();
    }
    let uid = rustix::process::getuid().as_raw();
    disk::write(dir.path().join("etc/passwd"), format!("web:x:{uid}:9::/:\n").as_bytes(), 0o644).unwrap();
    disk::write(dir.path().join("etc/group"), b"", 0o644).unwrap();
    disk::write(generation.join("db"), b"hunter2", 0o440).unwrap();
    disk::symlink("secrets.d/1", dir.path().join("run/secrets")).unwrap();
    let names = ["db", "gone", "../secrets/db", ""].map(str::to_owned).into();
    let Ok(Answer::Secrets { files }) = secrets::files(&machine(dir.path()), &names) else { panic!() };
    assert_eq!(files.keys().collect::<Vec<_>>(), ["db"]);
    assert_eq!((files["db"].owner.as_str(), files["db"].mode), ("web", 0o440));
}

#[test]
fn answers_keep_their_order_and_their_limit() {
    let run = |script: &str| Probe::Run { command: ["/bin/sh", "-c", script].map(str::to_owned).into() };
    let probes = [run("sleep 1000"), run("echo 1"), run("echo 2"), run("sleep 1000 "), run("echo 3")];
    let begin = Instant::now();
    let answers = answer(&probes, Some(Duration::from_secs(1)));
    let told = answers.iter().map(|answered| match &answered.answer {
        Answer::Run(ended) => (ended.code, ended.stdout.trim()),
        other => panic!("{other:?}"),
    });
    let expected = [(None, ""), (Some(0), "1"), (Some(0), "2"), (None, ""), (Some(0), "3")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(begin.elapsed() < Duration::from_secs(20));
}
