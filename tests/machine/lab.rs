//! Where a scenario lives: state, temporary files and a working directory of its own; project and store are shared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rave::disk;
use rave::tool::Tool;
use serde_json::Value;
use tempfile::TempDir;

use crate::copy::copy;

const RAVE: &str = env!("CARGO_BIN_EXE_rave");

/// Whose turn it is on few processors.
static TURN: RwLock<()> = RwLock::new(());
static BUILT: OnceLock<()> = OnceLock::new();

/// Kept from run to run, so that packages are fetched once.
pub fn shared(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine").join(name)
}

/// One scenario's world. Dropping it ends the machines that it left.
pub struct Lab {
    root: TempDir,
    project: PathBuf,
    turn: Option<Turn>,
}

#[expect(dead_code, reason = "what counts is how long they are held")]
enum Turn {
    Beside(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// One thing wrong in a machine: what breaks it, what mends it (nothing if it is left so), and the checks that must see it.
#[derive(Clone, Copy)]
pub struct Fault {
    pub breaks: &'static str,
    pub mends: &'static str,
    pub seen_by: &'static [&'static str],
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Lab {
    /// An empty world with a locked and built project. Much of a scenario is waiting, in which another goes on.
    pub fn new() -> Self {
        let turn = Some(Turn::Beside(TURN.read().unwrap_or_else(PoisonError::into_inner)));
        let root = tempfile::tempdir().unwrap();
        for name in ["state", "tmp", "home"] {
            disk::create_dir_all(root.path().join(name)).unwrap();
        }
        let lab = Self { root, project: shared("project"), turn };
        BUILT.get_or_init(|| lab.build());
        lab
    }

    /// From now on nobody else's machine takes time from its own.
    pub fn alone(&mut self) {
        self.turn = None;
        self.turn = Some(Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Works on another project from now on.
    pub fn use_project(&mut self, project: PathBuf) {
        self.project = project;
    }

    /// Locks and builds the minimal image in a copy of the project.
    fn build(&self) {
        disk::remove_dir_all(shared("project")).unwrap();
        for folder in ["images", "modules"] {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &shared("project").join(folder));
        }
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library"), &shared("project").join("images"));
        // Earlier builds of rave itself leave images in the store that nobody asks for any more.
        self.good(&["store", "gc", "--days", "1"]);
        self.good(&["lock", "minimal"]);
        self.good(&["build", "minimal", "--output", shared("result").to_str().unwrap()]);
    }

    /// The links of `rave build`.
    pub fn result(&self) -> PathBuf {
        shared("result")
    }

    pub fn store(&self) -> PathBuf {
        shared("store")
    }

    /// The scenario's own directory.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The directory of all machines.
    pub fn machines(&self) -> PathBuf {
        self.root.path().join("state/rave/vms")
    }

    /// The state file of a machine.
    pub fn state(&self, name: &str) -> Option<Value> {
        let bytes = disk::read(self.machines().join(name).join("vm.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.tool(RAVE).args(arguments).command()
    }

    /// A program in the world's environment.
    pub fn tool(&self, program: &str) -> Tool {
        let mut tool = Tool::new(program)
            .env("XDG_STATE_HOME", self.root.path().join("state"))
            .env("RAVE_STORE", shared("store"))
            .env("RAVE_PROJECT", &self.project)
            .env("HOME", self.root.path().join("home"))
            .env("TMPDIR", self.root.path().join("tmp"))
            .current_dir(self.root.path());
        for name in ["RAVE_MIRROR", "RAVE_ACCEL", "https_proxy", "http_proxy"] {
            if let Some((_, value)) = std::env::vars_os().find(|(key, _)| key == name) {
                tool = tool.env(name, value);
            }
        }
        tool
    }

    /// Runs rave to its end.
    pub fn rave(&self, arguments: &[&str]) -> Ended {
        let begin = Instant::now();
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let ended = Ended::from(output);
        let took = begin.elapsed().as_secs_f32();
        // The log of a failure is read where long ones are cut: what is asked again and again is not told.
        if took > 5.0 || !matches!(ended.status, Some(0 | 1)) {
            let line: String = arguments.join(" ").chars().take(160).collect();
            println!("    {took:5.1} s  rave {line} -> {:?}", ended.status);
        }
        ended
    }

    /// Runs rave, which must end with status 0; returns standard output.
    pub fn good(&self, arguments: &[&str]) -> String {
        let ended = self.rave(arguments);
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout
    }

    /// Runs a shell script in a machine as root; returns its output.
    pub fn root(&self, machine: &str, script: &str) -> String {
        self.good(&["vm", "ssh", machine, "--", "sudo", "sh", "-ec", script]).trim().to_owned()
    }

    /// Waits until a machine that answers has started; returns the state that it is in then.
    pub fn started(&self, machine: &str) -> String {
        self.root(machine, "systemctl is-system-running --wait || true")
    }

    /// The conditions of all machines, by `rave vm list --json`.
    pub fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.good(&["vm", "list", "--json"])).unwrap()
    }

    /// Checks a machine; returns the exit status and the report.
    pub fn check(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let ended = self.rave(&[&["check", "--json"], arguments].concat());
        let report = ended.report();
        assert_valid(&report);
        (ended.status, report)
    }

    /// Breaks a machine in all these ways; the checks that must see it turn, and no others. `arguments` name the
    /// machine first. Returns the report.
    pub fn broken(&self, arguments: &[&str], faults: &[Fault]) -> Value {
        let (status, report) = self.seen(arguments, faults, &[]);
        assert_eq!((status, &report["healthy"]), (Some(1), &Value::Bool(false)));
        report
    }

    /// Breaks a machine in all these ways; see [`Lab::sees`].
    pub fn seen(&self, arguments: &[&str], faults: &[Fault], related: &[&str]) -> (Option<i32>, Value) {
        let machine = arguments.first().expect("a machine");
        self.root(machine, &faults.iter().map(|fault| fault.breaks).collect::<Vec<_>>().join("; "));
        self.sees(arguments, faults, related)
    }

    /// Checks a machine that is broken in all these ways. The checks that must see it are unhealthy, and of all others that
    /// are asked at most `related` ones: ids, or their beginnings up to a dot, of what the same faults break sooner or later,
    /// or of what was broken before. `arguments` name the machine first. Returns the exit status and the report.
    pub fn sees(&self, arguments: &[&str], faults: &[Fault], related: &[&str]) -> (Option<i32>, Value) {
        // The machine is young yet, and nobody need wait for what is broken to settle.
        let (status, report) = self.check(&[arguments, &["--at-once"]].concat());
        let found = with_verdict(&report, "unhealthy");
        let expected: BTreeSet<&str> = faults.iter().flat_map(|fault| fault.seen_by).copied().collect();
        let others = found.iter().filter(|id| !related.iter().any(|related| is_or_is_below(id, related)));
        let all: BTreeSet<&str> = others.chain(expected.intersection(&found)).copied().collect();
        assert_eq!(all, expected, "{:#?}", unwell(&report));
        (status, report)
    }

    /// Mends what was broken; returns the report, in which all is well again.
    pub fn mended(&self, machine: &str, faults: &[Fault]) -> Value {
        // What was laid over something else is taken away first.
        self.root(machine, &faults.iter().rev().map(|fault| fault.mends).collect::<Vec<_>>().join("; "));
        let (status, report) = self.check(&[machine]);
        assert_eq!(status, Some(0), "{:#?}", unwell(&report));
        report
    }

    /// What is left in the directories of state and temporary files, but for locks and what was learnt of the host.
    pub fn left(&self) -> Vec<PathBuf> {
        let state: Vec<PathBuf> = disk::list(self.machines()).unwrap_or_default();
        let expected = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name == "accelerator.json" || (name.starts_with('.') && name.ends_with(".lock"))
        };
        let state = state.into_iter().filter(|path| !expected(path));
        state.chain(disk::list(self.root.path().join("tmp")).unwrap()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for path in disk::list(self.machines()).unwrap_or_default() {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains('.')) {
                // After a failed assertion; a machine that is gone already is fine.
                let _ = self.command(&["vm", "rm", "--force", name]).output();
            }
        }
    }
}

impl Ended {
    /// The report on a machine, the last that a command said; whoever did not come to one has said why.
    pub fn report(&self) -> Value {
        let last = lines(&self.stdout).pop().filter(|last| last["stages"].is_array());
        last.unwrap_or_else(|| panic!("no report: {self:?}"))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Whether an id is this one, or begins with it up to a dot.
fn is_or_is_below(id: &str, beginning: &str) -> bool {
    id.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Holds a report against the published schema.
fn assert_valid(report: &Value) {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("mem:report", serde_json::from_str(rave::check::SCHEMA).unwrap()).unwrap();
    let schema = compiler.compile("mem:report", &mut schemas).unwrap();
    schemas.validate(report, schema).unwrap_or_else(|error| panic!("{error:#}\n{report}"));
}

/// Sends a signal to a child of ours.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until `ready` gives something.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// JSON lines.
pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The verdict of each stage, in order.
pub fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let stages = report["stages"].as_array().unwrap().iter();
    stages.map(|stage| (stage["stage"].as_str().unwrap(), stage["verdict"].as_str().unwrap())).collect()
}

/// All stages are healthy but the `idle` ones, which have nothing to check. A host that is busy itself keeps the machine waiting: that may warn.
pub fn assert_well(report: &Value, idle: &[&str]) {
    let stages = ["ssh", "https", "services", "monitoring", "resources", "security"];
    assert_eq!(verdicts(report).iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), stages);
    for (stage, verdict) in verdicts(report) {
        assert_eq!(verdict == "not-applicable", idle.contains(&stage), "{stage}");
    }
    let warnings = with_verdict(report, "warning");
    assert!(warnings.iter().all(|id| id.starts_with("resources.pressure.")), "{warnings:?}");
    for verdict in ["unhealthy", "skipped"] {
        let bad: Vec<&Value> = checks(report).into_iter().filter(|check| check["verdict"] == verdict).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
    assert_eq!(report["healthy"], Value::Bool(true));
}

/// All checks of a report.
pub fn checks(report: &Value) -> Vec<&Value> {
    report["stages"].as_array().unwrap().iter().flat_map(|stage| stage["checks"].as_array().unwrap()).collect()
}

/// The checks that are not healthy, each in a line.
pub fn unwell(report: &Value) -> Vec<String> {
    let well = |check: &&Value| check["verdict"] == "healthy" || check["verdict"] == "not-applicable";
    checks(report).into_iter().filter(|check| !well(check)).map(Value::to_string).collect()
}

/// The ids of checks with this verdict.
pub fn with_verdict<'a>(report: &'a Value, verdict: &str) -> BTreeSet<&'a str> {
    let checks = checks(report).into_iter().filter(|check| check["verdict"] == verdict);
    checks.map(|check| check["id"].as_str().unwrap()).collect()
}
