//! `rave secrets` loses nothing: what is written can be read again, by everybody who writes at the same time too.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Stdio};

use assert_cmd::Command;

use super::secrets::{ONE, TWO, edit, editor, file, good, project, run, secrets};
use super::world::{World, ran};

/// The same command, for what has to run beside others.
fn start(prepared: &Command, world: &World) -> Child {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rave"));
    command.env_clear().envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(prepared.get_args()).current_dir(world.path("project"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn changes_at_the_same_time_all_land() {
    let world = project();
    let numbers: Vec<String> = (1..=8).map(|number| number.to_string()).collect();
    let all: Vec<Child> = numbers
        .iter()
        .map(|number| start(&secrets(&world, &["set", "-q", "secrets/a.yaml", &format!("c{number}"), number]), &world))
        .collect();
    for child in all {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let plain = run(&world, &["decrypt", "secrets/a.yaml"]);
    for number in &numbers {
        assert!(plain.clean().contains(&format!("c{number}: {number}\n")), "{}", plain.stdout);
    }
    let names: Vec<_> =
        std::fs::read_dir(world.path("project/secrets")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a.yaml"], "no lock is left");
}

#[test]
fn output_goes_through_pipes_and_links() {
    let world = project();
    let plain = run(&world, &["decrypt", "secrets/a.yaml"]).stdout;
    // A link to it, so that a mistake here does not replace that of the machine.
    std::os::unix::fs::symlink("/dev/stdout", world.path("project/out")).unwrap();
    for name in ["out", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(run(&world, &["decrypt", "--output", name, "secrets/a.yaml"]).clean(), plain, "{name}");
    }
    assert!(std::fs::symlink_metadata(world.path("project/out")).unwrap().is_symlink());

    let fifo = world.path("project/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    run(&world, &["set", "-q", "fifo", "a", "1"]).refused(1, &["fifo is not a file"]);
    let mut child = start(&secrets(&world, &["decrypt", "--output", "fifo", "secrets/a.yaml"]), &world);
    // Opened both ways, so that a pipe that was replaced fails instead of waiting for ever.
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!std::fs::symlink_metadata(&fifo).unwrap().is_file(), "the pipe was replaced");
    let mut found = vec![0; plain.len()];
    std::io::Read::read_exact(&mut reader, &mut found).unwrap();
    assert_eq!(found, plain.as_bytes());

    let target = world.write("elsewhere/target.yaml", "old");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("../elsewhere/target.yaml", world.path("project/link.yaml")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/new.yaml", world.path("project/dangling.yaml")).unwrap();
    for (link, target) in [("link.yaml", "target.yaml"), ("dangling.yaml", "new.yaml")] {
        run(&world, &["decrypt", "--output", link, "secrets/a.yaml"]).clean();
        let link = world.path(&format!("project/{link}"));
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "{}", link.display());
        assert_eq!(std::fs::read_to_string(world.path(&format!("elsewhere/{target}"))).unwrap(), plain);
    }
    assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn a_changed_file_keeps_its_owner_and_mode() {
    let world = project();
    let path = world.path("project/secrets/a.yaml");
    // Another owner only if the tests may.
    let _ = std::os::unix::fs::chown(&path, Some(65534), Some(65534));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let of =
        |path: &Path| std::fs::metadata(path).map(|found| (found.uid(), found.gid(), found.mode() & 0o777)).unwrap();
    let before = of(&path);
    good(&run(&world, &["set", "-q", "secrets/a.yaml", "new", "1"]));
    good(&run(&world, &["rotate", "secrets/a.yaml"]));
    edit(&world, "sed -i s/admin/root/ \"$1\"").clean();
    assert_eq!(of(&path), before);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let world = project();
    let before = file(&world);
    run(&world, &["set", "-q", "secrets/a.yaml", "i", r#"{"a":{"b":[1,2]},"a":3}"#])
        .refused(7, &["the key \"a\" is there twice"]);
    assert_eq!(file(&world), before);

    world.write("project/secrets/dup.json", r#"{"a":1,"a":2}"#);
    let twice = ["is there twice", "YAML"];
    run(&world, &["encrypt", "--output-type", "yaml", "secrets/dup.json"]).refused(4, &twice);
    run(&world, &["encrypt", "--in-place", "secrets/dup.json"]).clean();
    run(&world, &["decrypt", "--output-type", "yaml", "secrets/dup.json"]).refused(4, &twice);

    world.write("project/secrets/j.json", r#"{"a":1}"#);
    run(&world, &["encrypt", "--in-place", "secrets/j.json"]).clean();
    let set = ["set", "secrets/j.json", "x_unencrypted", "--value-stdin", "--raw"];
    ran(secrets(&world, &set).write_stdin([0xff, 0xfe])).refused(4, &["not UTF-8", "JSON"]);
    good(&run(&world, &["decrypt", "secrets/j.json"]));
    world.write("project/secrets/bytes.yaml", "x_unencrypted: !!binary /wD+\n");
    run(&world, &["encrypt", "--output-type", "json", "secrets/bytes.yaml"]).refused(4, &["not UTF-8"]);
    run(&world, &["encrypt", "--in-place", "secrets/bytes.yaml"]).clean();
    run(&world, &["decrypt", "--output-type", "json", "secrets/bytes.yaml"]).refused(4, &["not UTF-8"]);

    world.write("project/secrets/a.bin", "bytes");
    run(&world, &["encrypt", "--in-place", "--encrypted-regex", "^zz", "secrets/a.bin"])
        .refused(1, &["nothing of it would be encrypted"]);
    assert_eq!(std::fs::read_to_string(world.path("project/secrets/a.bin")).unwrap(), "bytes");

    world.write("project/secrets/docs.yaml", "a: 1\n---\nb: 2\n");
    for format in ["json", "dotenv"] {
        run(&world, &["encrypt", "--output-type", format, "secrets/docs.yaml"]).refused(4, &["several documents"]);
    }
    run(&world, &["encrypt", "--in-place", "secrets/docs.yaml"]).clean();
    run(&world, &["decrypt", "--output-type", "json", "secrets/docs.yaml"]).refused(4, &["several documents"]);
}

#[test]
fn a_file_that_would_be_too_large_is_not_written() {
    let world = project();
    let big = world.write("project/secrets/big.bin", vec![0; 50 << 20]);
    run(&world, &["encrypt", "--in-place", "secrets/big.bin"]).refused(4, &["larger than 64 MiB"]);
    assert_eq!(std::fs::metadata(big).unwrap().len(), 50 << 20);
}

#[test]
fn identities_are_never_overwritten_by_those_who_come_at_the_same_time() {
    let world = World::new();
    let keygen = || start(world.rave().args(["secrets", "keygen", "--output", "new.key"]), &world);
    let all: Vec<Child> = (0..8).map(|_| keygen()).collect();
    let ended: Vec<_> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let won: Vec<_> = ended.iter().filter(|ended| ended.status.success()).collect();
    assert_eq!(won.len(), 1);
    let recipient = String::from_utf8(won[0].stdout.clone()).unwrap();
    assert!(std::fs::read_to_string(world.path("project/new.key")).unwrap().contains(recipient.trim()));

    // Projects of one user that begin at the same time: with one identity, which a link leads to.
    let real = world.write("dotfiles/keys.txt", "");
    std::fs::create_dir_all(world.path("home/.config/sops/age")).unwrap();
    let link = world.path("home/.config/sops/age/keys.txt");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let folders: Vec<_> = (0..6).map(|number| world.path(&format!("project/p{number}"))).collect();
    let init = |folder: &std::path::PathBuf| {
        std::fs::create_dir_all(folder).unwrap();
        start(world.rave().arg("--project").arg(folder).args(["secrets", "init"]), &world)
    };
    let all: Vec<Child> = folders.iter().map(init).collect();
    for child in all {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(std::fs::read_to_string(&real).unwrap().matches("AGE-SECRET-KEY-").count(), 1);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    for folder in folders {
        good(&world.run(&["secrets", "decrypt", folder.join("secrets/common.yaml").to_str().unwrap()]));
    }
}

#[test]
fn rules_are_those_of_where_a_path_leads() {
    let world = World::new();
    let rule = |path: &str, to: &str| format!("  - path_regex: ^secrets/{path}/\n    age: {to}\n");
    world.write("project/.sops.yaml", format!("creation_rules:\n{}{}", rule("dev", ONE), rule("prod", TWO)));
    world.write("project/secrets/dev/.keep", "");
    world.write("project/secrets/prod/x.yaml", "a: 1\n");
    let encrypt = |folder: &str, path: &str| {
        let mut command = secrets(&world, &["encrypt", path]);
        ran(command.current_dir(world.path(folder)))
    };
    for (folder, path) in [
        ("project", "secrets/prod/x.yaml"),
        ("project", "./secrets/dev/../prod/x.yaml"),
        ("project/secrets/dev", "../prod/x.yaml"),
    ] {
        let text = encrypt(folder, path);
        assert!(text.clean().contains(TWO) && !text.stdout.contains(ONE), "{path}: {}", text.stdout);
    }
    // What lies in the folder that one works in is not above a file elsewhere.
    world.write("project/secrets/dev/.sops.yaml", format!("creation_rules:\n  - age: {ONE}\n"));
    assert!(encrypt("project/secrets/dev", "../prod/x.yaml").clean().contains(TWO));
}

#[test]
fn plain_text_of_a_killed_command_goes_with_the_next() {
    let world = project();
    let path = world.path("path");
    let script = format!("echo \"$1\" > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 5", path.display());
    let editor = editor(&world, &script);
    let mut child = start(secrets(&world, &["edit", "secrets/a.yaml"]).env("EDITOR", editor), &world);
    let begin = std::time::Instant::now();
    while !path.exists() {
        assert!(begin.elapsed().as_secs() < 60, "the editor did not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let plain = std::fs::read_to_string(&path).unwrap();
    let plain = Path::new(plain.trim());
    let next = || run(&world, &["exec-file", "secrets/a.yaml", "cat {}"]).clean().to_owned();
    assert!(next().contains("hunter2") && plain.exists(), "that of a living command stays");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(plain.exists());
    assert!(next().contains("hunter2") && !plain.exists(), "{} is left", plain.display());
}

#[test]
fn edited_text_is_kept_where_it_cannot_be_written() {
    let world = project();
    world.write("project/.sops.yaml", format!("creation_rules:\n  - age: {ONE}\n"));
    let created = world.path("ran");
    let note = editor(&world, &format!("touch '{}'", created.display()));
    ran(secrets(&world, &["edit", "nowhere/b.yaml"]).env("EDITOR", &note)).refused(1, &["there is no folder nowhere"]);
    assert!(!created.exists(), "the editor ran in vain");

    // While the editor is open, the folder goes.
    let lost = edit(&world, "sed -i s/admin/root/ \"$1\"; mv secrets gone");
    assert_eq!(lost.status, 100, "{}", lost.stderr);
    let (_, kept) = lost.stderr.split_once("the edited text is in ").unwrap();
    let (kept, _) = kept.split_once(", encrypted").unwrap();
    let text = run(&world, &["decrypt", kept]);
    std::fs::remove_file(kept).unwrap();
    assert!(text.clean().contains("user: root\n"), "{}", text.stdout);
}
