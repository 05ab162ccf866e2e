//! `rave secrets`: files, statuses, the editor, and what must never be seen.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;

use super::world::{Ran, World, ran, text};

/// Published test keys; see tests/vectors/sops.
const KEYS: &str = "tests/vectors/sops/generated/keys";
pub const ONE: &str = "age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a";
pub const TWO: &str = "age1twmqkglarzlxnal456r6w393qafehpn2dv0uwnwdm38ufkrlppqsycdn8c";

pub fn key(name: &str) -> String {
    format!("{}/{KEYS}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn vector(name: &str) -> String {
    format!("{}/tests/vectors/sops/generated/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `rave secrets` with the first test key.
pub fn secrets(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.rave();
    command.env("SOPS_AGE_KEY_FILE", key("age1.txt")).env("PATH", "/usr/bin:/bin").arg("secrets").args(arguments);
    command
}

pub fn run(world: &World, arguments: &[&str]) -> Ran {
    ran(&mut secrets(world, arguments))
}

/// A project whose secrets are for the first test key.
pub fn project() -> World {
    let world = World::new();
    world.write("project/.sops.yaml", format!("creation_rules:\n  - path_regex: ^secrets/\n    age: {ONE}\n"));
    world.write("project/secrets/a.yaml", "# note\nuser: admin\npassword: hunter2\nlist:\n    - 1\n    - two\n");
    run(&world, &["encrypt", "--in-place", "secrets/a.yaml"]).clean();
    world
}

pub fn file(world: &World) -> String {
    std::fs::read_to_string(world.path("project/secrets/a.yaml")).unwrap()
}

/// An editor: a script that gets the file as its argument.
pub fn editor(world: &World, script: &str) -> String {
    let path = world.write("editor.sh", script);
    format!("/bin/sh '{}'", path.display())
}

pub fn edit(world: &World, script: &str) -> Ran {
    let editor = editor(world, script);
    ran(secrets(world, &["edit", "secrets/a.yaml"]).env("EDITOR", editor))
}

#[test]
fn what_sops_wrote_is_decrypted_to_its_bytes() {
    let world = World::new();
    for name in ["types.yaml", "types_json.json", "types_env.env", "types_ini.ini", "multidoc.yaml"] {
        let name = vector(&format!("sops-3.13.2/{name}"));
        let plain = std::fs::read_to_string(format!("{name}.plain")).unwrap();
        assert_eq!(run(&world, &["decrypt", &name]).clean(), plain);
        assert_eq!(run(&world, &["view", &name]).clean(), plain);
    }
    let json = run(&world, &["decrypt", "--output-type", "json", &vector("sops-3.13.2/encrypted-regex.yaml")]);
    assert_eq!(json.json()["data"]["user"], "admin");
}

#[test]
fn files_end_with_the_statuses_of_sops() {
    let world = project();
    world.write("project/secrets/empty.yaml", "");
    world.write("project/elsewhere.yaml", "a: 1\n");
    world.write("project/secrets/broken.yaml", "a: [1\n");
    run(&world, &["decrypt", "secrets/none.yaml"]).refused(100, &["there is no file secrets/none.yaml"]);
    ran(secrets(&world, &["decrypt", "secrets/a.yaml"]).env("SOPS_AGE_KEY_FILE", key("age2.txt")))
        .refused(128, &["no identity opens it", ONE, "recipients list"]);
    ran(secrets(&world, &["decrypt", "secrets/a.yaml"]).env_remove("SOPS_AGE_KEY_FILE"))
        .refused(128, &["keys.txt does not exist"]);
    run(&world, &["decrypt", &vector("tamper/reordered_keys.yaml")]).refused(51, &["MAC mismatch"]);
    run(&world, &["decrypt", &vector("tamper/swap_values.yaml")]).refused(25, &["changed or moved"]);
    assert_eq!(run(&world, &["decrypt", "--ignore-mac", &vector("tamper/reordered_keys.yaml")]).status, 0);
    run(&world, &["rotate", "secrets/none.yaml"]).refused(100, &["there is no file secrets/none.yaml"]);
    run(&world, &["rotate", "--add-age", TWO, "secrets/none.yaml"]).refused(49, &["secrets/none.yaml"]);
    run(&world, &["encrypt", "--in-place", "-"]).refused(8, &["standard input"]);
    run(&world, &["encrypt", "secrets/a.yaml"]).refused(203, &["encrypted already"]);
    run(&world, &["encrypt", "secrets/empty.yaml"]).refused(92, &["nothing to encrypt"]);
    run(&world, &["encrypt", "elsewhere.yaml"]).refused(1, &["path_regex matches elsewhere.yaml"]);
    run(&world, &["encrypt", "secrets/broken.yaml"]).refused(1, &["this is not YAML"]);
    run(&world, &["decrypt", "elsewhere.yaml"]).refused(1, &["not encrypted"]);
    run(&world, &["get", "secrets/a.yaml", "[\"a"]).refused(91, &["is not a path"]);
    run(&world, &["get", "secrets/a.yaml", "nope"]).refused(1, &["there is no \"nope\""]);
    run(&world, &["unset", "secrets/a.yaml", "nope"]).refused(1, &["there is no \"nope\""]);
    assert_eq!(run(&world, &["unset", "--idempotent", "secrets/a.yaml", "nope"]).status, 0);
    let nowhere = World::new();
    nowhere.write("project/a.yaml", "a: 1\n");
    run(&nowhere, &["encrypt", "a.yaml"]).refused(111, &["no recipients"]);
}

#[test]
fn one_value_changes_and_the_others_keep_their_ciphertext() {
    let world = project();
    let before = file(&world);
    ran(secrets(&world, &["set", "secrets/a.yaml", "password", "--value-stdin", "--raw"]).write_stdin("new \"pass\""))
        .clean();
    let after = file(&world);
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(line(&before, "user"), line(&after, "user"));
    assert_ne!(line(&before, "password"), line(&after, "password"));
    assert_eq!(run(&world, &["get", "secrets/a.yaml", "password"]).clean(), "new \"pass\"");
    let given = run(&world, &["set", "secrets/a.yaml", "[\"list\"][1]", "{\"deep\": 2}"]);
    assert!(given.status == 0 && given.stderr.contains("can read arguments"), "{}", given.stderr);
    assert_eq!(run(&world, &["extract", "secrets/a.yaml", "list/1"]).clean(), "deep: 2\n");
    world.write("project/value.json", "[true]");
    run(&world, &["set", "secrets/a.yaml", "new", "--value-file", "value.json"]).clean();
    run(&world, &["unset", "secrets/a.yaml", "list"]).clean();
    let plain = "# note\nuser: admin\npassword: new \"pass\"\nnew:\n    - true\n";
    assert_eq!(run(&world, &["decrypt", "secrets/a.yaml"]).clean(), plain);
    let unchanged = file(&world);
    assert_eq!(run(&world, &["set", "secrets/a.yaml", "user", "\"admin\""]).status, 0);
    assert_eq!(file(&world), unchanged, "an equal value writes nothing");
    run(&world, &["set", "secrets/a.yaml", "user", "admin"]).refused(7, &["not JSON", "--raw"]);
}

#[test]
fn the_editor_works_on_memory_and_leaves_nothing() {
    let world = project();
    let seen = world.path("seen");
    let script = format!(
        "ulimit -c > '{0}'; stat -c %a \"$1\" >> '{0}'; stat -c %a \"$(dirname \"$1\")\" >> '{0}'\n\
         stat -f -c %T \"$1\" >> '{0}'; echo \"$1\" >> '{0}'; sed -i s/admin/root/ \"$1\"",
        seen.display()
    );
    edit(&world, &script).clean();
    let seen = std::fs::read_to_string(seen).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..4], ["0", "600", "700", "tmpfs"], "core limit, modes, file system");
    assert!(lines[4].ends_with("/a.yaml") && !Path::new(lines[4]).parent().unwrap().exists(), "{seen}");
    assert_eq!(run(&world, &["get", "secrets/a.yaml", "user"]).clean(), "root");
}

#[test]
fn what_was_not_edited_is_not_written() {
    let world = project();
    let before = file(&world);
    edit(&world, "true").refused(200, &["was not changed"]);
    let path = world.path("path");
    edit(&world, &format!("echo \"$1\" > '{}'; sed -i s/admin/root/ \"$1\"; kill -9 $$", path.display()))
        .refused(201, &["nothing was written"]);
    let path = std::fs::read_to_string(path).unwrap();
    assert!(!Path::new(path.trim()).exists(), "the plain text outlived a crash of the editor");
    edit(&world, "echo 'a: [1' > \"$1\"").refused(1, &["this is not YAML", "nothing was written"]);
    edit(&world, "echo 'sops: {}' > \"$1\"").refused(203, &["encrypted already"]);
    ran(secrets(&world, &["edit", "secrets/a.yaml"]).env("EDITOR", "/nowhere/editor"))
        .refused(201, &["/nowhere/editor"]);
    ran(secrets(&world, &["edit", "secrets/a.yaml"]).env("PATH", "/nowhere")).refused(201, &["there is no editor"]);
    assert_eq!(file(&world), before);
}

/// SIGTERM while the editor is open: the plain text goes, and the file stays.
#[test]
fn a_signal_takes_the_plain_text_away() {
    let world = project();
    let (before, path) = (file(&world), world.path("path"));
    let script = format!("echo \"$1\" > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 30", path.display());
    let editor = editor(&world, &script);
    let prepared = secrets(&world, &["edit", "secrets/a.yaml"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rave"));
    command.env_clear().envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("EDITOR", editor).current_dir(world.path("project")).args(["secrets", "edit", "secrets/a.yaml"]);
    let mut child = command.spawn().unwrap();
    let start = std::time::Instant::now();
    while !path.exists() {
        assert!(start.elapsed().as_secs() < 60, "the editor did not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let plain = std::fs::read_to_string(&path).unwrap();
    assert!(Path::new(plain.trim()).exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!Path::new(plain.trim()).exists(), "the plain text outlived the command");
    assert_eq!(file(&world), before);
}

/// A plugin that wraps a file key by writing it down: its protocol is that of age, its security is none.
const PLUGIN: &str = r#"#!/bin/sh
case "$1" in
--age-plugin=recipient-v1)
  while read -r line; do
    case "$line" in
    "-> wrap-file-key"*) read -r key ;;
    "-> done"*) read -r _; break ;;
    esac
  done
  printf -- '-> recipient-stanza 0 fake\n%s\n' "$key"; read -r _; read -r _
  printf -- '-> done\n\n' ;;
--age-plugin=identity-v1)
  while read -r line; do
    case "$line" in
    "-> recipient-stanza 0 fake"*) read -r key ;;
    "-> done"*) read -r _; break ;;
    esac
  done
  printf -- '-> file-key 0\n%s\n' "$key"; read -r _; read -r _
  printf -- '-> done\n\n' ;;
esac
"#;

#[test]
fn plugins_open_what_they_wrapped_and_are_named_where_they_are_missing() {
    let world = World::new();
    let encode = |prefix: &str| age_core::primitives::bech32_encode(bech32::Hrp::parse(prefix).unwrap(), b"x");
    let recipient = encode("age1fake");
    world.write("identity", encode("age-plugin-fake-").to_uppercase());
    world.write("project/a.yaml", "a: hunter2\n");
    let plugin = world.write("bin/age-plugin-fake", PLUGIN);
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let with = |path: &str, arguments: &[&str]| {
        ran(secrets(&world, arguments).env("PATH", path).env("SOPS_AGE_KEY_FILE", world.path("identity")))
    };
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    with("/usr/bin:/bin", &["encrypt", "--age", &recipient, "a.yaml"]).refused(1, &["age-plugin-fake", &recipient]);
    with(&path, &["encrypt", "--age", &recipient, "--in-place", "a.yaml"]).clean();
    assert_eq!(with(&path, &["get", "a.yaml", "a"]).clean(), "hunter2");
    with("/usr/bin:/bin", &["get", "a.yaml", "a"]).refused(128, &["age-plugin-fake"]);
}

#[test]
fn a_file_that_somebody_else_changed_is_left_alone_and_the_text_is_kept() {
    let world = project();
    let target = world.path("project/secrets/a.yaml");
    let script = format!("sed -i s/admin/root/ \"$1\"; echo '# theirs' >> '{}'", target.display());
    edit(&world, &script).refused(1, &["changed by somebody else", "secrets/a.edited.yaml", "encrypted"]);
    assert!(file(&world).ends_with("# theirs\n"));
    assert_eq!(run(&world, &["get", "secrets/a.edited.yaml", "user"]).clean(), "root");
}

#[test]
fn editing_makes_a_new_file_for_those_of_the_configuration() {
    let world = project();
    let editor = editor(&world, "echo 'token: t' > \"$1\"");
    ran(secrets(&world, &["edit", "secrets/new.yaml"]).env("SOPS_EDITOR", editor)).clean();
    assert_eq!(run(&world, &["get", "secrets/new.yaml", "token"]).clean(), "t");
    assert_eq!(run(&world, &["recipients", "list", "secrets/new.yaml"]).clean(), format!("{ONE}\n"));
}

#[test]
fn commands_get_values_and_give_their_status() {
    let world = project();
    world.write("project/secrets/dev.env", "A=one two\nB=x\\ny\n");
    run(&world, &["encrypt", "--in-place", "secrets/dev.env"]).clean();
    let ran_ =
        run(&world, &["exec-env", "secrets/dev.env", "--", "/bin/sh", "-c", "printf '%s|%s' \"$A\" \"$B\"; exit 7"]);
    assert_eq!((ran_.stdout.as_str(), ran_.status), ("one two|x\ny", 7));
    assert_eq!(run(&world, &["exec-env", "secrets/dev.env", "echo $A"]).clean(), "one two\n");
    run(&world, &["exec-env", "secrets/a.yaml", "true"]).refused(1, &["list cannot be a variable"]);
    let shown =
        run(&world, &["exec-file", "secrets/a.yaml", "--", "/bin/sh", "-c", "cat \"$1\"; echo \"$1\"", "sh", "{}"]);
    let (plain, path) = shown.clean().trim_end().rsplit_once('\n').unwrap();
    assert!(plain.contains("password: hunter2") && !Path::new(path).exists(), "{shown:?}", shown = shown.stdout);
    assert_eq!(
        run(
            &world,
            &["exec-file", "--filename", "x.json", "--output-type", "json", "secrets/a.yaml", "basename {}; exit 3"]
        )
        .status,
        3
    );
    run(&world, &["exec-file", "--filename", "../x", "secrets/a.yaml", "true"]).refused(1, &["without folders"]);
}

#[test]
fn recipients_come_and_go() {
    let world = project();
    run(&world, &["recipients", "add", "secrets/a.yaml", TWO]).clean();
    let as_two = |arguments: &[&str]| ran(secrets(&world, arguments).env("SOPS_AGE_KEY_FILE", key("age2.txt")));
    assert_eq!(as_two(&["get", "secrets/a.yaml", "user"]).clean(), "admin");
    assert_eq!(run(&world, &["recipients", "list", "--json", "secrets/a.yaml"]).json()["groups"][0][1], TWO);
    let before = file(&world);
    let gone = run(&world, &["recipients", "rm", "secrets/a.yaml", TWO]);
    assert!(gone.status == 0 && gone.stderr.contains("still knows the old values"), "{}", gone.stderr);
    assert_eq!(as_two(&["get", "secrets/a.yaml", "user"]).status, 128);
    assert!(before.lines().filter(|line| line.contains("ENC[")).all(|line| !file(&world).contains(line)), "a new key");
    run(&world, &["recipients", "rm", "secrets/a.yaml", TWO]).refused(1, &["is no recipient"]);
    run(&world, &["recipients", "rm", "secrets/a.yaml", ONE]).refused(111, &["no recipients"]);
    run(&world, &["rotate", "--add-age", TWO, "secrets/a.yaml"]).clean();
    assert_eq!(as_two(&["get", "secrets/a.yaml", "user"]).clean(), "admin");
}

#[test]
fn updatekeys_follows_the_configuration_and_changes_nothing_else() {
    let world = project();
    let values = |text: &str| text.split("sops:").next().unwrap().to_owned();
    let before = file(&world);
    let current = run(&world, &["updatekeys", "--yes", "secrets/a.yaml"]);
    assert!(current.status == 0 && current.stderr.contains("up to date"), "{}", current.stderr);
    world.write("project/.sops.yaml", format!("creation_rules:\n  - age: '{ONE},{TWO}'\n"));
    run(&world, &["updatekeys", "secrets/a.yaml"]).refused(1, &["--yes", TWO]);
    assert_eq!(file(&world), before);
    assert_eq!(run(&world, &["updatekeys", "-y", "secrets/a.yaml"]).status, 0);
    assert_eq!(values(&file(&world)), values(&before));
    world.write("project/.sops.yaml", format!("creation_rules:\n  - age: {ONE}\n"));
    let gone = run(&world, &["updatekeys", "-y", "secrets/a.yaml"]);
    assert!(gone.status == 0 && gone.stderr.contains("still know the data key"), "{}", gone.stderr);
}

/// One bad file of many does not keep the others from those whom the configuration names now.
#[test]
fn several_files_are_changed_past_a_bad_one() {
    let world = project();
    world.write("project/secrets/bad.yaml", "a: 1\n");
    world.write("project/secrets/b.yaml", file(&world));
    world.write("project/.sops.yaml", format!("creation_rules:\n  - age: '{ONE},{TWO}'\n"));
    let all = ["secrets/bad.yaml", "secrets/none.yaml", "secrets/a.yaml", "secrets/b.yaml"];
    let read = |name: &str| std::fs::read_to_string(world.path(&format!("project/secrets/{name}.yaml"))).unwrap();
    let ran = run(&world, &[&["updatekeys", "--yes"], &all[..]].concat());
    ran.refused(1, &["secrets/bad.yaml: it has no SOPS metadata", "no file secrets/none.yaml"]);
    assert!(read("a").contains(TWO) && read("b").contains(TWO));
    let before = read("b");
    run(&world, &[&["rotate", "-i"], &all[1..]].concat()).refused(100, &["no file secrets/none.yaml"]);
    assert_ne!(read("b"), before);
}

/// What sops reads is read, whatever type it was set to.
#[test]
fn a_number_in_a_file_of_texts_stays_readable() {
    let world = project();
    for (name, text, path) in [("dev.env", "A=x\n", "A"), ("dev.ini", "[s]\nA = x\n", "s/A")] {
        let name = format!("secrets/{name}");
        world.write(&format!("project/{name}"), text);
        run(&world, &["encrypt", "--in-place", &name]).clean();
        for (value, shown) in [("5", "5"), ("true", "true"), ("1.5", "1.5")] {
            assert_eq!(run(&world, &["set", &name, path, value]).status, 0);
            assert_eq!(run(&world, &["get", &name, path]).clean().trim_end(), shown, "{name}");
        }
    }
}

/// A comment is not part of the MAC: that somebody changed it is only said.
#[test]
fn damaged_comments_are_warned_of() {
    let world = project();
    let text = file(&world);
    assert!(text.starts_with("#ENC[AES256_GCM,data:"), "{text}");
    world.write("project/secrets/a.yaml", text.replacen("data:", "data:AAAA", 1));
    let ran = run(&world, &["decrypt", "secrets/a.yaml"]);
    assert!(ran.status == 0 && ran.stdout.contains("password: hunter2"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("warning") && ran.stderr.contains("a comment at the top of the file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn differences_are_shown_without_values() {
    let world = project();
    std::fs::copy(world.path("project/secrets/a.yaml"), world.path("project/old.yaml")).unwrap();
    assert_eq!(run(&world, &["diff", "old.yaml", "secrets/a.yaml"]).clean(), "");
    ran(secrets(&world, &["set", "secrets/a.yaml", "password", "--value-stdin", "--raw"]).write_stdin("swordfish"))
        .clean();
    let differs = run(&world, &["diff", "old.yaml", "secrets/a.yaml"]);
    assert!(differs.status == 1 && differs.stdout.contains("password"), "{}", differs.stdout);
    let json = run(&world, &["diff", "--json", "old.yaml", "secrets/a.yaml"]).json();
    assert_eq!(
        (&json[0]["path"], &json[0]["old"]["size"], &json[0]["new"]["size"]),
        (&"password".into(), &7.into(), &9.into())
    );
    let converted = run(&world, &["diff", "--textconv", "secrets/a.yaml"]);
    assert_eq!(converted.clean().lines().count(), 4, "{}", converted.stdout);
    assert_eq!(run(&world, &["diff", "--textconv", "secrets/a.yaml"]).stdout, converted.stdout, "the same each time");
    for output in [&differs.stdout, &converted.stdout] {
        assert!(!output.contains("hunter2") && !output.contains("swordfish") && !output.contains("admin"), "{output}");
    }
}

/// git shows changes of secrets without their values, and is not stopped by files that nobody can open.
#[test]
fn git_shows_what_changed_without_values() {
    let world = project();
    let git = |arguments: &[&str]| {
        let mut command = world.program("git");
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("SOPS_AGE_KEY_FILE", key("age1.txt"));
        ran(command.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments))
    };
    let driver = format!("'{}' secrets diff --textconv", env!("CARGO_BIN_EXE_rave"));
    git(&["init", "--quiet"]).clean();
    git(&["config", "diff.rave.textconv", &driver]).clean();
    world.write("project/.gitattributes", "secrets/* diff=rave\n");
    world.write("project/secrets/plain.yaml", "password: swordfish\n");
    world.write(
        "project/secrets/damaged.yaml",
        file(&world).replace("password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AA"),
    );
    git(&["add", "."]).clean();
    git(&["commit", "--quiet", "--message", "x"]).clean();
    ran(secrets(&world, &["set", "secrets/a.yaml", "password", "--value-stdin", "--raw"]).write_stdin("other one"))
        .clean();
    for name in ["plain", "damaged"] {
        let path = world.path(&format!("project/secrets/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("sword", "cuttle").replace("user:", "name:")).unwrap();
    }
    let shown = git(&["diff"]);
    assert_eq!(shown.status, 0, "{}", shown.stderr);
    assert!(
        shown.stdout.contains("-password str 7 bytes") && shown.stdout.contains("+password str 9 bytes"),
        "{}",
        shown.stdout
    );
    for value in ["hunter2", "other one", "swordfish", "cuttlefish"] {
        assert!(!shown.stdout.contains(value), "{}", shown.stdout);
    }
    // Whoever has no identity sees which files changed.
    let mut nobody = world.program("git");
    nobody.env("PATH", std::env::var_os("PATH").unwrap());
    let shown = ran(nobody.args(["diff", "--", "secrets/a.yaml"]));
    let lines: Vec<&str> = shown.clean().lines().filter(|line| line.contains("no identity opens this file")).collect();
    assert!(lines.len() == 2 && lines[0].contains(": version ") && lines[0][1..] != lines[1][1..], "{lines:?}");
    world.write("project/secrets/plain.yaml", file(&world));
    assert!(git(&["diff"]).clean().contains("-(it has no SOPS metadata: it is not encrypted)\n+list/0 int"));
}

#[test]
fn identities_are_made_for_their_owner_only_and_never_overwritten() {
    let world = World::new();
    let path = world.path("elsewhere/key.txt");
    let made = world.run(&["secrets", "keygen", "--output", text(&path)]);
    let recipient = made.clean().trim().to_owned();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.run(&["secrets", "keygen", "--convert", text(&path)]).clean().trim(), recipient);
    world.run(&["secrets", "keygen", "--output", text(&path)]).refused(1, &["never overwritten"]);
    let hybrid = world.run(&["secrets", "keygen", "--post-quantum", "--json"]).json();
    assert!(hybrid["recipient"].as_str().unwrap().starts_with("age1pq1"));
    let ssh = world.run(&["secrets", "keygen", "--convert", &key("id_ed.pub")]);
    assert!(ssh.clean().starts_with("age1"), "{}", ssh.stdout);
}

/// An image with a module that asks for secrets of every kind that can be made.
fn asking(world: &World) {
    world.write("project/images/shop.yaml", "name: shop\nversion: \"1\"\nextends: minimal\nimports:\n  - needs\n");
    world.write(
        "project/modules/needs.yaml",
        "description: Needs secrets of every kind.\n\
         secrets:\n  db-password: { kind: password }\n  hook: { kind: token, mode: \"0440\" }\n  tls-key: { kind: tls-key }\n\
         \x20 tls-cert: { kind: tls-certificate }\n  deploy-key: { kind: ssh-key }\n",
    );
}

#[test]
fn init_makes_what_an_image_needs_and_check_finds_it_good() {
    let world = World::new();
    asking(&world);
    world
        .run(&["secrets", "check", "shop"])
        .refused_with_output(1, &["db-password: it is missing", "rave secrets init shop"]);
    let made = world.run(&["secrets", "init", "shop"]);
    assert_eq!(made.status, 0, "{}", made.stderr);
    let identity = world.path("home/.config/sops/age/keys.txt");
    assert_eq!(std::fs::metadata(&identity).unwrap().permissions().mode() & 0o777, 0o600);
    for (path, content) in world.files() {
        let content = content.unwrap_or_default();
        let shows = content.windows(14).any(|part| part == b"AGE-SECRET-KEY")
            || content.windows(11).any(|part| part == b"PRIVATE KEY");
        assert!(!shows || path == identity, "{}", path.display());
    }
    let good = world.run(&["secrets", "check", "shop", "--json"]);
    assert_eq!(good.status, 0, "{}{}", good.stdout, good.stderr);
    assert_eq!(good.json()["secrets"].as_array().unwrap().len(), 5);
    let chain = world.run(&["secrets", "get", "secrets/shop.yaml", "tls-cert"]);
    assert_eq!(chain.clean().matches("BEGIN CERTIFICATE").count(), 2);
    let before = world.files();
    assert_eq!(world.run(&["secrets", "init", "shop"]).status, 0);
    assert!(world.files() == before, "a second time changes nothing");
    let mut replaced = world.rave();
    ran(replaced.args(["secrets", "set", "secrets/shop.yaml", "tls-cert", "--value-stdin", "--raw"]).write_stdin("x"))
        .clean();
    world
        .run(&["secrets", "check", "shop"])
        .refused_with_output(1, &["tls-cert: in secrets/shop.yaml it is not a certificate"]);
    world.run(&["secrets", "check", "shop", "--recipient", ONE]).refused_with_output(1, &["cannot be opened by", ONE]);
}

/// Identities are published with the repository that holds them, by whatever path they are reached.
#[test]
fn an_identity_inside_of_the_repository_is_refused() {
    let check = |prepare: &dyn Fn(&World), config: &str, inside: bool| {
        let world = World::new();
        world.write("project/images/x.yaml", "name: x\n");
        prepare(&world);
        let ran = ran(world.rave().env("XDG_CONFIG_HOME", world.path(config)).args(["secrets", "init"]));
        if inside {
            ran.refused(1, &["is inside of the project", "SOPS_AGE_KEY_FILE"]);
            assert!(!world.path("project/.sops.yaml").exists(), "{config}");
        } else {
            ran.clean();
        }
        world
    };
    let git = |world: &World| drop(world.write(".git/HEAD", ""));
    check(&|_| {}, "project/cfg", true);
    check(&|_| {}, "cfg", false);
    check(&git, "cfg", true);
    let link = |world: &World| {
        std::fs::create_dir_all(world.path("project/cfg")).unwrap();
        std::os::unix::fs::symlink(world.path("project/cfg"), world.path("link")).unwrap();
    };
    check(&link, "link", true);
    // One that is there already is no better.
    let there = |world: &World| {
        let identity = std::fs::read(key("age1.txt")).unwrap();
        world.write("project/cfg/sops/age/keys.txt", identity);
    };
    check(&there, "project/cfg", true);
}

pub fn good(ran: &Ran) {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

/// Two rules of .sops.yaml: for the sources, and for what the machines open.
fn rules(world: &World, sources: &[&str], machines: &[&str]) {
    let rule = |path: &str, to: &[&str]| format!("  - path_regex: {path}\n    age: [{}]\n", to.join(", "));
    let text = format!("creation_rules:\n{}{}", rule("^secrets/", sources), rule("^images/", machines));
    world.write("project/.sops.yaml", text);
}

#[test]
fn check_holds_files_against_those_whom_the_configuration_names() {
    let world = World::new();
    asking(&world);
    good(&world.run(&["secrets", "init", "shop"]));
    let own = world.run(&["secrets", "recipients", "list", "secrets/shop.yaml"]).clean().trim().to_owned();
    let check = || world.run(&["secrets", "check", "shop"]);
    good(&check());

    rules(&world, &[&own, TWO], &[&own]);
    let named = format!("secrets/shop.yaml is not encrypted for {TWO}, whom .sops.yaml names");
    check().refused_with_output(1, &[&named, "rave secrets updatekeys"]);
    good(&world.run(&["secrets", "updatekeys", "--yes", "secrets/shop.yaml", "secrets/common.yaml"]));
    good(&check());
    rules(&world, &[&own], &[&own]);
    let warned = check();
    assert!(warned.stderr.contains(&format!("is encrypted for {TWO}, whom .sops.yaml does not")), "{}", warned.stderr);
    assert_eq!(warned.status, 0);

    // What the machines open.
    good(&world.run(&["secrets", "seal", "shop"]));
    good(&check());
    rules(&world, &[&own], &[&own, ONE]);
    let locked = format!("images/shop.secrets: it is not encrypted for {ONE}, whom .sops.yaml names");
    check().refused_with_output(1, &[&locked]);
    good(&world.run(&["secrets", "seal", "shop"]));
    good(&check());
    world.write("project/.sops.yaml", format!("creation_rules:\n  - path_regex: ^secrets/\n    age: {own}\n"));
    check().refused_with_output(1, &[".sops.yaml names nobody who could open images/shop.secrets"]);

    // What `rave build` would refuse, `check` refuses.
    rules(&world, &[&own], &[&own, ONE]);
    let set = ["secrets", "set", "secrets/shop.yaml", "hook", "--value-stdin", "--raw"];
    ran(world.rave().args(set).write_stdin("short")).clean();
    check().refused_with_output(1, &["hook: in secrets/shop.yaml it is too weak", "images/shop.secrets"]);
}

/// `stores` of .sops.yaml, as sops obeys it.
#[test]
fn files_are_indented_as_the_configuration_says() {
    let world = project();
    let rules = std::fs::read_to_string(world.path("project/.sops.yaml")).unwrap();
    let stores = |stores: &str| world.write("project/.sops.yaml", format!("{rules}stores:\n{stores}"));
    assert!(file(&world).contains("\nlist:\n    - ENC["), "{}", file(&world));
    stores("  yaml:\n    indent: 2\n  json:\n    indent: 3\n  json_binary:\n    indent: 0\n");
    good(&run(&world, &["set", "secrets/a.yaml", "map", "{\"a\": {\"b\": 1}}"]));
    assert!(file(&world).contains("\nlist:\n  - ENC[") && file(&world).contains("\n  age:\n"), "{}", file(&world));
    let indented = |verb: &[&str]| {
        good(&run(&world, verb));
        assert!(file(&world).contains("\nlist:\n  - ENC["), "{verb:?}\n{}", file(&world));
    };
    indented(&["rotate", "secrets/a.yaml"]);
    indented(&["recipients", "add", "secrets/a.yaml", TWO]);
    indented(&["recipients", "rm", "secrets/a.yaml", TWO]);
    let plain = run(&world, &["decrypt", "secrets/a.yaml"]);
    assert!(plain.clean().contains("\nlist:\n  - 1\n  - two\nmap:\n  a:\n    b: 1\n"), "{}", plain.stdout);
    let json = run(&world, &["decrypt", "--output-type", "json", "secrets/a.yaml"]);
    assert!(json.clean().contains("{\n   \"user\": \"admin\",\n"), "{}", json.stdout);
    world.write("project/secrets/blob", "bytes");
    run(&world, &["encrypt", "--in-place", "secrets/blob"]).clean();
    let blob = std::fs::read_to_string(world.path("project/secrets/blob")).unwrap();
    assert!(blob.starts_with("{\n\"data\": \"ENC["), "{blob}");
    stores("  yaml:\n    indent: -2\n");
    run(&world, &["decrypt", "secrets/a.yaml"]).refused(1, &[".sops.yaml", "stores.yaml.indent"]);
}

#[test]
fn secrets_are_in_no_message() {
    let world = project();
    let mut all = String::new();
    for arguments in [
        &["check", "minimal"][..],
        &["diff", "secrets/a.yaml", "secrets/a.yaml", "-vv"],
        &["get", "secrets/a.yaml", "password/x"],
        &["recipients", "list", "secrets/a.yaml", "-vv"],
        &["exec-env", "secrets/a.yaml", "true", "-vv"],
        &["decrypt", "secrets/a.yaml", "--output-type", "dotenv", "-vv"],
    ] {
        let ran = run(&world, arguments);
        all.push_str(&ran.stderr);
        all.push_str(&ran.stdout);
    }
    assert!(!all.contains("hunter2") && !all.contains("AGE-SECRET"), "{all}");
}

/// The most usual mistake with a new identity, in each place that takes a recipient.
#[test]
fn a_private_key_for_a_recipient_is_not_shown() {
    let world = project();
    let identity = std::fs::read_to_string(key("age1.txt")).unwrap();
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let check = |arguments: &[&str]| {
        let ran = run(&world, arguments);
        assert!(ran.status != 0 && ran.stderr.contains("a private key cannot be"), "{arguments:?} {}", ran.stderr);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&identity[20..]), "{arguments:?} {}", ran.stderr);
    };
    world.write("project/secrets/b.yaml", "a: 1\n");
    check(&["encrypt", "--age", identity, "secrets/b.yaml"]);
    check(&["recipients", "add", "secrets/a.yaml", identity, "-vv"]);
    check(&["rotate", "--add-age", identity, "secrets/a.yaml"]);
    check(&["check", "minimal", "--recipient", identity]);
    world.write("project/.sops.yaml", format!("creation_rules:\n  - age: {identity}\n"));
    check(&["encrypt", "secrets/b.yaml"]);
    check(&["updatekeys", "--yes", "secrets/a.yaml"]);
}

/// Commands for identities hold and say what nobody else may read.
#[test]
fn the_commands_of_identities_are_named_and_not_quoted() {
    let world = project();
    let open = |variable: &str, command: &str| {
        let arguments = ["decrypt", "secrets/a.yaml", "-vv"];
        ran(secrets(&world, &arguments).env_remove("SOPS_AGE_KEY_FILE").env(variable, command))
    };
    for variable in ["SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"] {
        let ran = open(variable, "/bin/sh -c 'echo private-$((6*7)) >&2; exit 3' argument-43");
        assert!(ran.status == 128 && ran.stderr.contains(&format!("{variable}: sh failed (exit status: 3)")));
        assert!(!ran.stderr.contains("private-") && !ran.stderr.contains("argument-43"), "{}", ran.stderr);
    }
    let ran = open("SOPS_AGE_KEY_CMD", &format!("cat {}", key("age1.txt")));
    assert!(ran.status == 0 && ran.stdout.contains("hunter2") && !ran.stderr.contains("age1.txt"), "{}", ran.stderr);
}

/// What sops runs has the caller's environment: an editor with another locale shows other characters.
#[test]
fn what_the_user_runs_has_the_users_environment() {
    let world = project();
    world.write("project/secrets/dev.env", "A=1\n");
    run(&world, &["encrypt", "--in-place", "secrets/dev.env"]).clean();
    let with = |arguments: &[&str], editor: &str| {
        let mut command = secrets(&world, arguments);
        ran(command
            .env_remove("LC_ALL")
            .env("LANG", "de_DE.UTF-8")
            .env("PATH", "/opt/x:/usr/bin:/bin")
            .env("EDITOR", editor))
    };
    let check = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"LANG=de_DE.UTF-8") && lines.contains(&"PATH=/opt/x:/usr/bin:/bin"), "{text}");
        assert!(!text.contains("LC_ALL"), "{text}");
    };
    check(with(&["exec-env", "secrets/dev.env", "env"], "").clean());
    check(with(&["exec-file", "secrets/dev.env", "env"], "").clean());
    let editor = editor(&world, &format!("env > '{}'\n", world.path("seen").display()));
    with(&["edit", "secrets/a.yaml"], &editor).refused(200, &["was not changed"]);
    check(&std::fs::read_to_string(world.path("seen")).unwrap());
    let pristine = with(&["exec-env", "--pristine", "secrets/dev.env", "--", "/usr/bin/env"], "");
    assert_eq!(pristine.clean(), "A=1\n");
}

/// The guide's commands work as they stand there.
#[test]
fn the_commands_of_the_guide_work() {
    let guide = include_str!("../../docs/secrets.md");
    let world = World::new();
    asking(&world);
    std::fs::rename(world.path("project/images/shop.yaml"), world.path("project/images/web.yaml")).unwrap();
    world.write("project/images/web.yaml", "name: web\nversion: \"1\"\nextends: minimal\nimports:\n  - needs\n");
    let folder = Path::new(env!("CARGO_BIN_EXE_rave")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let commands: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let mut shell = world.program("/bin/sh");
        let ran = ran(shell
            .env("PATH", &path)
            .env("EDITOR", "sed -i s/^db-password:.*/db-password:\\ changed/")
            .args(["-ec", command]));
        assert_eq!(ran.status, 0, "{command}\n{}{}", ran.stdout, ran.stderr);
    }
}
