//! Real builds of an image that asks for secrets: it holds ciphertext only, and one that holds more is refused.

#![allow(clippy::disallowed_methods, reason = "tests play the user, who has no rooms")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;

const RAVE: &str = env!("CARGO_BIN_EXE_rave");
const PASSWORD: &str = "correct horse/battery+staple";
const KEY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";

/// A project with an image `app` that asks for two secrets, a home with an identity, and a store.
struct Lab {
    root: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { root: tempfile::tempdir().unwrap() };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["minimal.lock", "tools.lock", "tools.yaml"] {
            let text = std::fs::read(repository.join("images").join(name)).unwrap();
            lab.write(&format!("project/images/{}", name.replace("minimal", "app")), text);
        }
        let minimal = std::fs::read_to_string(repository.join("images/minimal.yaml")).unwrap();
        let image = minimal.replace("name: minimal\n", "name: app\nimports: [app]\n");
        assert_ne!(image, minimal);
        lab.write("project/images/app.yaml", image);
        lab.write(
            "project/modules/app.yaml",
            "description: x\nsecrets:\n  db-password: { kind: password, mode: '0440', units: [app.service] }\n\
             \x20 blob: { kind: binary }\n",
        );
        std::fs::create_dir_all(lab.path("home")).unwrap();
        lab.good(&["secrets", "init"]);
        let blob: Vec<u8> = (0..40u8).map(|number| number.wrapping_mul(37) ^ 0xa5).collect();
        lab.write(
            "project/secrets/app.yaml",
            format!("db-password: {PASSWORD}\nblob: !!binary {}\n", BASE64_STANDARD.encode(blob)),
        );
        lab.good(&["secrets", "encrypt", "--in-place", "secrets/app.yaml"]);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// rave with `home` as its home: no identity is in one that does not exist.
    fn run(&self, home: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(RAVE);
        command.args(arguments).current_dir(self.path("project")).env_clear();
        command.env("HOME", self.path(home)).env("RAVE_STORE", self.path("store"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if let Some(mirror) = std::env::var_os("RAVE_MIRROR") {
            command.env("RAVE_MIRROR", mirror);
        }
        command.output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run("home", arguments);
        let told = said(&output);
        assert!(output.status.success(), "{arguments:?}: {told}");
        told
    }

    /// Ends with status 1 and says all of `parts`, and never a value.
    #[track_caller]
    fn refused(&self, home: &str, arguments: &[&str], parts: &[&str]) {
        let output = self.run(home, arguments);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        for part in parts {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
        assert!(!told.contains("horse"), "{told}");
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("project").join(name)).unwrap()).unwrap()
    }

    fn sealed(&self) -> Vec<u8> {
        std::fs::read(self.path("project/images/app.secrets")).unwrap()
    }
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Files below a directory that hold `text`.
fn holding(directory: &Path, text: &[u8], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            holding(&path, text, found);
        } else if kind.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), text).is_some() {
            found.push(path);
        }
    }
}

#[test]
fn an_image_holds_ciphertext_only_and_one_that_holds_more_is_refused() {
    let lab = Lab::new();

    // Sealed on the way, loudly, once.
    let told = lab.good(&["build", "app"]);
    assert!(told.contains("app.secrets: it is missing; sealing"), "{told}");
    let (sealed, first) = (lab.sealed(), lab.json("result/manifest.json"));

    let leaks = lab.json("result/leaks.json");
    assert_eq!(
        (&leaks["values"], &leaks["secrets"]),
        (&"none found".into(), &serde_json::json!(["blob", "db-password"]))
    );
    assert!(leaks["bytes"].as_u64().unwrap() > 100 << 20, "{leaks}");
    assert!(first["leaks"]["bytes"].as_u64().unwrap() > 100 << 20, "{}", first["leaks"]);
    let digest = rave::digest::Digest::of(&sealed).to_string();
    assert_eq!(first["files"]["/usr/share/rave/secrets/sealed.json"]["sha256"], digest);
    assert_eq!(first["files"]["/usr/share/rave/secrets/needs.json"]["mode"], "0400");
    assert!(!String::from_utf8_lossy(&sealed).contains("horse"));
    let mut found = Vec::new();
    holding(&lab.path("store"), PASSWORD.as_bytes(), &mut found);
    assert!(found.is_empty(), "{found:?}");

    // Sealing again changes nothing; nor does building.
    assert!(lab.good(&["secrets", "seal", "app"]).contains("unchanged"));
    lab.good(&["secrets", "seal", "app", "--check"]);
    let again = lab.good(&["build", "app"]);
    assert!(!again.contains("sealing") && !again.contains("search"), "{again}");
    assert_eq!(lab.sealed(), sealed);

    // Without an identity: the same image, and the record says what was not done.
    let output = lab.run("nobody", &["build", "app", "--output", "ci"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(lab.json("ci/manifest.json"), first);
    assert!(lab.json("ci/leaks.json")["values"].as_str().unwrap().starts_with("not searched for"));

    // A value in a file, in the command line, and a key of anybody.
    let file = format!("environment.files={{/etc/app.conf: {{text: \"password = {PASSWORD}\"}}}}");
    lab.refused("home", &["build", "app", "--set", &file], &[
        "/etc/app.conf has secret `db-password` in plain text at byte 11, put there by environment.files (<command line>",
        "manifest has secret `db-password`",
    ]);
    // One that the image does not ask for, in a file of another one's; names there are no secrets.
    lab.write("project/secrets/db/spare.yaml", "spare: {user: root, password: 7 rusty horse shoes}\n");
    lab.good(&["secrets", "encrypt", "--in-place", "secrets/db/spare.yaml"]);
    lab.good(&["build", "app"]);
    assert_eq!(lab.json("result/leaks.json")["others"], 1);
    let file = "environment.files={/etc/app.conf: {text: \"password = 7 rusty horse shoes\"}}";
    lab.refused(
        "home",
        &["build", "app", "--set", file],
        &["/etc/app.conf has secret `secrets/db/spare.yaml: spare/password` in plain text at byte 11"],
    );
    let module = "description: x\ncmdline: [\"token=";
    lab.write("project/modules/line.yaml", format!("{module}{}\"]\n", BASE64_STANDARD.encode(format!("x{PASSWORD}"))));
    let image = std::fs::read_to_string(lab.path("project/images/app.yaml")).unwrap();
    lab.write("project/images/app.yaml", image.replace("[app]", "[app, line]"));
    lab.refused("home", &["build", "app"], &["the kernel command line has secret `db-password` in base64 at byte"]);
    lab.write("project/images/app.yaml", &image);
    let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\\n{KEY}\\n-----END OPENSSH PRIVATE KEY-----\\n");
    let file = format!("environment.files={{/etc/key: {{text: \"{key}\"}}}}");
    lab.refused("nobody", &["build", "app", "--set", &file], &[
        "/etc/key has a private key (OPENSSH PRIVATE KEY) at byte 0, put there by environment.files (<command line>",
        "key-allow",
    ]);
}

#[test]
fn what_is_missing_or_weak_is_refused_before_anything_is_built() {
    let lab = Lab::new();
    let plan = ["build", "app", "--plan"];
    lab.refused("nobody", &plan, &["app.secrets is missing, and app needs blob, db-password", "rave secrets seal app"]);
    lab.good(&plan);
    lab.write(
        "project/modules/app.yaml",
        "description: x\nsecrets:\n  db-password: { kind: password }\n  token: { kind: token }\n",
    );
    lab.refused("home", &plan, &["secret `token`: it is missing", "rave secrets init app"]);
    lab.refused("nobody", &plan, &["app.secrets lacks token, which app needs", "rave secrets seal app"]);
    let set = |value: &str| {
        let mut command = Command::new(RAVE);
        lab.write("value", value);
        command.args(["secrets", "set", "secrets/app.yaml", "token", "../value", "--value-file", "--raw"]);
        command.current_dir(lab.path("project")).env_clear().env("HOME", lab.path("home"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    set("short");
    lab.refused("home", &plan, &["secret `token`: in secrets/app.yaml it is too weak", "fewer than 8 characters"]);
    set("two\nlines and more");
    lab.refused("home", &plan, &["it has several lines"]);
    set("long enough");
    assert!(lab.good(&plan).contains("it lacks token; sealing"));

    // A later change of the sources is noticed without an identity.
    set("another token");
    let output = lab.run("nobody", &plan);
    assert!(
        output.status.success() && said(&output).contains("secrets/app.yaml has changed since"),
        "{}",
        said(&output)
    );
    lab.refused("nobody", &["secrets", "seal", "app", "--check"], &["secrets/app.yaml has changed since"]);

    // Nor is an image built whose machines could not open it.
    let rules = std::fs::read_to_string(lab.path("project/.sops.yaml")).unwrap();
    let machine = "age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a";
    lab.write("project/.sops.yaml", format!("{rules}      - {machine}\n"));
    lab.refused("nobody", &plan, &["app.secrets: it is not encrypted for", machine, "rave secrets seal app"]);
    assert!(lab.good(&plan).contains("app.secrets: secrets/app.yaml has changed since; sealing"));
    assert!(lab.run("nobody", &plan).status.success());

    // Nobody is named: nothing is sealed for the wrong ones.
    lab.write("project/.sops.yaml", "creation_rules:\n  - path_regex: ^secrets/\n    age: []\n");
    lab.refused("home", &plan, &["no creation rule's path_regex matches images/app.secrets"]);
}
