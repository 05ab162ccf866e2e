//! A world of its own for each test: project, home, store and temporary files in one directory.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use rave::debian::{ArchiveRef, Base, Lock, LockedArchive, LockedPackage, Place};
use rave::digest::{Canonical, Digest};
use rave::images::Manifest;
use rave::store::{Kind, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An address at which nobody listens: port 1 of loopback is tcpmux, which nothing serves.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// A directory with everything that rave may see or touch.
pub struct World {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["home", "project/images", "tmp", "elsewhere"] {
            std::fs::create_dir_all(world.path(name)).unwrap();
        }
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, below this world's directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program, in the project's directory. Whatever it asks of other hosts ends at a proxy that is not there.
    pub fn rave(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_rave"))
    }

    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path("project")).timeout(Duration::from_secs(120));
        for (name, directory) in
            [("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("XDG_STATE_HOME", "state"), ("TMPDIR", "tmp")]
        {
            command.env(name, self.path(directory));
        }
        for name in ["http_proxy", "https_proxy"] {
            command.env(name, NOBODY);
        }
        command.env("no_proxy", "127.0.0.1");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.rave().args(arguments))
    }

    /// All files and directories, with the files' content.
    pub fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut files = BTreeMap::new();
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path.clone());
                    files.insert(path, None);
                } else {
                    files.insert(path.clone(), Some(std::fs::read(&path).unwrap()));
                }
            }
        }
        files
    }

    /// Writes locks that fit `image` and the tools: of every package they ask for, a version of `packages` or one
    /// that exists nowhere.
    pub fn lock(&self, image: &str, packages: &[LockedPackage]) {
        for name in [image, "tools"] {
            let lock = locked(BTreeSet::new(), packages);
            self.write(&format!("project/images/{name}.lock"), lock.to_yaml());
        }
        let check = self.run(&["lock", image, "--check", "--json"]);
        assert_eq!(check.status, 1, "{}", check.stderr);
        for lock in check.json()["locks"].as_array().unwrap() {
            let reason = lock["reason"].as_str().unwrap();
            let names = reason.strip_prefix("not locked yet: ").unwrap_or_else(|| panic!("{reason}"));
            let names = names.split(", ").map(|name| name.parse().unwrap()).collect();
            std::fs::write(lock["lock"].as_str().unwrap(), locked(names, packages).to_yaml()).unwrap();
        }
        assert_eq!(self.run(&["lock", image, "--check"]).status, 0);
    }

    /// Puts the build of `web` of that number, with these files, into the store as the newest: path, package or nothing, target of a link or nothing.
    pub fn build(&self, number: u32, files: &[(&str, Option<&str>, Option<&str>)]) {
        let blob = json!({"sha256": Digest::of(b""), "size": 0});
        let file = |(path, package, link): &(&str, Option<&str>, Option<&str>)| {
            let mut record = json!({"mode": "0755", "owner": [0, 0], "package": package, "link": link});
            if link.is_none() {
                record["sha256"] = json!(Digest::of(path.as_bytes()));
            }
            ((*path).to_owned(), record)
        };
        let manifest = json!({
            "format": 1, "image": "web", "version": "1.0.0", "mode": "safe", "rave": "0", "epoch": 0,
            "root_hash": Digest::of(b""), "kernel": "6", "cmdline": "", "disk": blob, "uki": blob, "initrd": blob,
            "partitions": [], "packages": {"jq": "1.7"}, "options": {}, "machine": {"memory": 1, "vcpus": 1},
            "disk_size": 1, "state": {}, "files": files.iter().map(file).collect::<serde_json::Map<_, _>>(),
            "expect": {
                "units": {}, "open": {}, "local": {}, "set_id": [], "sysctl": {}, "mounts": {}, "secrets": {}, "limits": {},
                "ssh": null, "journal_allow": [], "probes": [], "stages": [],
            },
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let bytes = manifest.to_json().unwrap();
        let store = Store::open(self.path("cache/rave")).unwrap();
        let put = |to: &Path| std::fs::write(to, &bytes);
        store.put(Kind::step("manifest"), Digest::of(&bytes), put).unwrap();
        let lock = self.path("project/images/web.lock");
        let place = Canonical::new("rave pin").field(text(&lock).as_bytes()).finish();
        let pin = format!("web-{}", place.short());
        for name in [format!("{pin}.{number}"), pin] {
            store.pin(&name, &[Digest::of(&bytes)]).unwrap();
        }
    }
}

/// A lock of `names`, as if Debian had them.
fn locked(names: BTreeSet<rave::name::PackageName>, packages: &[LockedPackage]) -> Lock {
    let archive = |suite: &str, base: Base| LockedArchive {
        archive: ArchiveRef { name: suite.to_owned(), base },
        suite: suite.to_owned(),
        components: vec!["main".to_owned()],
        date: "2026-09-12T07:55:41Z".parse().unwrap(),
        inrelease: Digest::of(suite.as_bytes()),
        signed_by: vec!["04B54C3CDCA79751B16BC6B5225629DF75B188BD".to_owned()],
        key: None,
    };
    let mut all: BTreeMap<_, _> =
        names.iter().map(|name| (name.clone(), package(name.as_str(), &bytes_of(name.as_str())))).collect();
    all.extend(packages.iter().map(|package| (package.name.clone(), package.clone())));
    Lock {
        archives: vec![
            archive("trixie", Base::Debian),
            archive("trixie-updates", Base::Debian),
            archive("trixie-security", Base::DebianSecurity),
        ],
        requested: names,
        recommends: false,
        packages: all.into_values().collect(),
        needed_by: BTreeMap::new(),
    }
}

/// What a package has in these locks if a test gives it nothing else.
pub fn bytes_of(name: &str) -> Vec<u8> {
    format!("the bytes of {name}").into_bytes()
}

/// A package of these bytes, in the pool under its name.
pub fn package(name: &str, bytes: &[u8]) -> LockedPackage {
    LockedPackage {
        name: name.parse().unwrap(),
        version: "1".to_owned(),
        architecture: "all".to_owned(),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes),
        place: Place::Archive { archive: "trixie".to_owned(), path: format!("pool/main/{name}_1_all.deb") },
    }
}

pub fn ran(command: &mut Command) -> Ran {
    end(command.output().unwrap())
}

/// The same where the streams are not to be read here.
pub fn spawned(world: &World, arguments: &[&str], stdout: Stdio) -> Ran {
    let prepared = world.rave();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rave"));
    command.env_clear().envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(world.path("project")).args(arguments).stdin(Stdio::null());
    end(command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
}

fn end(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran =
        Ran { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

impl Ran {
    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {:?} {}", self.stdout, self.stderr))
    }

    /// Standard output as JSON, a value a line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Ended with `status`, said nothing on standard output, and each of `parts` on standard error.
    #[track_caller]
    pub fn refused(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.stdout, "", "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in\n{}", self.stderr);
        }
        assert_eq!(self.status, status, "{}", self.stderr);
    }

    /// Ended with `status`, and said each of `parts` on standard error, whatever the result was.
    #[track_caller]
    pub fn refused_with_output(&self, status: i32, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in\n{}", self.stderr);
        }
        assert_eq!(self.status, status, "{}", self.stderr);
    }

    /// Ended well and said nothing on standard error.
    #[track_caller]
    pub fn clean(&self) -> &str {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""));
        &self.stdout
    }
}

/// Whether a text has escape sequences of a terminal.
pub fn coloured(text: &str) -> bool {
    text.as_bytes().contains(&0x1b)
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    std::str::from_utf8(path.as_os_str().as_bytes()).unwrap()
}
