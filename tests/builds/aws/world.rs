//! A cloud of one process: moto's server, and Amazon's own client to reach it. Both are Python packages with fixed hashes,
//! installed from wherever pip of this host takes its packages, and kept from run to run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rave::deploy::cloud::act::{Error, Hands, Result};
use rave::deploy::cloud::answer::Instance;
use rave::deploy::cloud::{Machine, declared};
use rave::digest::Digest;
use rave::disk;
use rave::tool::Tool;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/builds/aws");

/// The directory of the packages.
fn packages() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(install)
}

/// Installs the packages unless they are there.
fn install() -> PathBuf {
    let list = Path::new(HERE).join("requirements.txt");
    let digest = declared::short(&Digest::of(&disk::read(&list).unwrap()).to_string(), 16);
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clouds");
    let place = shared.join(digest);
    if !place.is_dir() {
        disk::create_dir_all(&shared).unwrap();
        let work = tempfile::tempdir_in(&shared).unwrap();
        // pip's own settings say where packages come from.
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let pip = Tool::of_user("/usr/bin/python3", &environment)
            .args(["-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--only-binary", ":all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(&list)
            .arg("--target")
            .arg(work.path().join("packages"));
        pip.output().expect("pip installs tests/builds/aws/requirements.txt; Debian's package is python3-pip");
        disk::rename(work.path().join("packages"), &place).unwrap();
    }
    place
}

/// Waits until a program does what it is for.
fn wait_for(what: &str, program: &mut Child, is_there: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_there() {
        assert!(program.try_wait().unwrap().is_none() && Instant::now() < end, "{what} does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The cloud, and what acts in it.
pub struct World {
    server: Child,
    /// Where it listens.
    pub port: u16,
    client: Child,
    work: tempfile::TempDir,
    scratch: PathBuf,
    notes: PathBuf,
    /// After so many blocks the user presses Ctrl-C.
    pub patience: AtomicUsize,
    /// Calls by verb.
    pub calls: Mutex<BTreeMap<String, usize>>,
    /// What was told.
    pub told: Mutex<Vec<String>>,
}

impl World {
    /// Starts it.
    pub fn new() -> Self {
        let python = || Tool::new("/usr/bin/python3").env("PYTHONPATH", packages());
        let work = tempfile::tempdir().unwrap();
        let (scratch, notes) = (work.path().join("scratch"), work.path().join("notes"));
        let (bin, socket) = (work.path().join("bin"), work.path().join("client"));
        disk::create_dir_all(&scratch).unwrap();
        disk::create_dir_all(&bin).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = Path::new(HERE).join("client.py");
        let aws =
            format!("#!/bin/sh\nexec /usr/bin/python3 -IS '{}' '{}' aws \"$@\"\n", client.display(), socket.display());
        disk::write_atomic(bin.join("aws"), aws.as_bytes(), 0o755).unwrap();
        let server = python()
            .arg(Path::new(HERE).join("server.py"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .env("HOME", work.path());
        let client = python().arg(client).arg(&socket).env("HOME", work.path());
        let start = |tool: &Tool| tool.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut world = Self {
            server: start(&server),
            port,
            client: start(&client),
            work,
            scratch,
            notes,
            patience: AtomicUsize::new(usize::MAX),
            calls: Mutex::default(),
            told: Mutex::default(),
        };
        wait_for("moto's server", &mut world.server, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_for("Amazon's client", &mut world.client, || disk::exists(&socket));
        world
    }

    /// A command of rave whose user has Amazon's client, and credentials by this key.
    pub fn within(&self, mut command: Command, key: Option<&str>) -> Command {
        let work = self.work.path();
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", work.join("bin").display()));
        command.env("XDG_STATE_HOME", work.join("state")).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        if let Some(key) = key {
            command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", "secret");
        }
        command
    }

    /// A file in the world's directory.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.work.path().join(name);
        disk::write(&path, bytes, 0o600).unwrap();
        path
    }

    /// Runs the client; returns what it prints.
    pub fn aws(&self, words: &[&str]) -> String {
        let url = format!("http://127.0.0.1:{}", self.port);
        let head = ["aws", "--region", "eu-central-1", "--endpoint-url", &url];
        let argv: Vec<String> = head.iter().chain(words).map(|word| (*word).to_owned()).collect();
        String::from_utf8(self.call(&argv).unwrap()).unwrap().trim().to_owned()
    }

    /// From now on moto lets in so many calls, whoever makes them, and knows nobody after that.
    pub fn let_in(&self, calls: u32) {
        let body = calls.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head =
            "POST /moto-api/reset-auth HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: text/plain";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// How often something was called.
    pub fn count(&self, verb: &str) -> usize {
        self.calls.lock().unwrap().get(verb).copied().unwrap_or(0)
    }

    /// Files that are in the way of nothing but should be gone.
    pub fn left(&self) -> Vec<PathBuf> {
        let list = |path: &Path| if disk::exists(path) { disk::list(path).unwrap() } else { Vec::new() };
        let state = self.work.path().join("state/rave");
        let mut left = [list(&self.scratch), list(&self.notes), list(&state.join("uploads"))].concat();
        // What the last looks have found is kept.
        left.extend(list(&state).into_iter().filter(|path| !path.ends_with("uploads") && !path.ends_with("targets")));
        left
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for program in [&mut self.server, &mut self.client] {
            // Fails if it has ended already.
            drop(program.kill());
            drop(program.wait());
        }
    }
}

impl Hands for World {
    fn call(&self, argv: &[String]) -> Result<Vec<u8>> {
        let (_, words) = argv.split_first().unwrap();
        let verb = words.iter().skip_while(|word| !["ec2", "ebs"].contains(&word.as_str())).nth(1).unwrap();
        // As a call that is ended by the signal.
        let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        if verb == "put-snapshot-block" && self.patience.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err()
        {
            return Err(Error::Interrupted);
        }
        *self.calls.lock().unwrap().entry(verb.clone()).or_default() += 1;
        let tool = Tool::new(self.work.path().join("bin/aws")).args(words).env("AWS_EC2_METADATA_DISABLED", "true");
        let tool = tool.env("AWS_ACCESS_KEY_ID", "known").env("AWS_SECRET_ACCESS_KEY", "secret");
        let ended = tool.bounded(Duration::from_secs(60), 1 << 20).unwrap();
        if ended.status.is_some_and(|status| status.success()) {
            return Ok(ended.stdout);
        }
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        Err(Error::Failed { call: argv.join(" "), said, remedy: None })
    }

    fn look(&self, _: &Machine, instance: &Instance) -> Result<Option<String>> {
        assert!(instance.runs && instance.private.is_some(), "{instance:?}");
        Ok(None)
    }

    fn pause(&self, _: Duration) -> bool {
        self.patience.load(Ordering::SeqCst) == 0
    }

    fn say(&self, text: &str) {
        self.told.lock().unwrap().push(text.to_owned());
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn notes(&self) -> &Path {
        &self.notes
    }
}
