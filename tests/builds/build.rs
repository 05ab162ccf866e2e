//! Real builds of the minimal image from Debian's packages: the same bytes whoever builds, nothing done twice, and
//! artefacts that programs of other people accept.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "tests play the user, who has no rooms")]

#[path = "../support/apart.rs"]
mod apart;
#[path = "build/artefacts.rs"]
mod artefacts;
#[path = "build/container.rs"]
mod container;
#[path = "../support/controllers.rs"]
mod controllers;
#[path = "../support/copy.rs"]
mod copy;
#[path = "../support/deb.rs"]
#[allow(dead_code, reason = "other tests make stranger packages")]
mod deb;
#[path = "build/deploy.rs"]
mod deploy;
#[path = "build/dissect.rs"]
mod dissect;
#[path = "build/export.rs"]
mod export;
#[path = "../support/memory.rs"]
mod memory;
#[path = "build/registry.rs"]
mod registry;
#[path = "build/signatures.rs"]
mod signatures;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use copy::copy;
use deb::Package;
use memory::measured;
use rave::disk;
use rave::sandbox::Sandbox;
use rave::tool::Tool;
use serde_json::Value;
use tempfile::TempDir;

const RAVE: &str = env!("CARGO_BIN_EXE_rave");

/// Programs that judge what rave makes; they join rave's own tools, so that the host needs none of them.
const JUDGES: [&str; 18] = [
    "cryptsetup-bin",
    "gdisk",
    "dosfstools",
    "mtools",
    "docker-registry",
    "skopeo",
    "podman",
    "crun",
    "zstd",
    "cpio",
    "binutils",
    "sbsigntool",
    "shim-unsigned",
    "systemd-container",
    "virt-v2v",
    // It runs these.
    "coreutils",
    "dash",
    "tar",
];

/// What the library of virt-v2v makes a small machine of, to look into disks. None is started here, and all of it is more than
/// the rest of the tree: so one package says that it is there.
const APPLIANCE: &str = "Provides: supermin (= 9), acl, attr, bsdextrautils, btrfs-progs, bzip2, db-util, dhcpcd-base, \
     diffutils, e2fsprogs, exfatprogs, extlinux, f2fs-tools, fdisk, file, gawk, grub2-common, icoutils, iproute2, kmod, \
     ldmtool, less, lsscsi, lvm2, lzop, mdadm, mount, nbdkit-plugin-python, netpbm, ntfs-3g, osinfo-db, parted, pciutils, \
     procps, psmisc, scrub, sleuthkit, squashfs-tools, syslinux, systemd-sysv, udev, util-linux-extra, uuid-runtime, \
     xz-utils, zerofree";

/// A project of its own, with fresh locks, and a store.
pub struct Lab {
    root: TempDir,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        disk::set_mode(root.path(), 0o755).unwrap();
        disk::copy(RAVE, root.path().join("rave")).unwrap();
        disk::set_mode(root.path().join("rave"), 0o755).unwrap();
        let lab = Self { root };
        for folder in ["images", "modules"] {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &lab.path("project").join(folder));
        }
        let tools = lab.path("project/images/tools.yaml");
        let more: String = JUDGES.iter().map(|name| format!("    - {name}\n")).collect();
        let text = disk::read_to_string(&tools).unwrap();
        Package::new("appliance", APPLIANCE).write(&lab.path("project/images"));
        let text = format!("{}\n{more}archive: {{ debs: [appliance.deb] }}\n", text.trim_end());
        disk::write_atomic(&tools, text.as_bytes(), 0o644).unwrap();
        lab.good(&["lock", "minimal"]);
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(self.path("rave"));
        command.args(arguments);
        command
    }

    /// A program in this world's environment.
    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path("project")).env_clear();
        command.env("HOME", self.path("home")).env("RAVE_STORE", self.path("store"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if let Some(mirror) = std::env::var_os("RAVE_MIRROR") {
            command.env("RAVE_MIRROR", mirror);
        }
        command
    }

    pub fn good(&self, arguments: &[&str]) -> Output {
        good(self.command(arguments))
    }

    /// The names and states of all steps.
    fn plan(&self, arguments: &[&str]) -> Vec<(String, bool)> {
        let output = self.good(&[&["build", "minimal", "--plan", "--json"], arguments].concat());
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let step = |step: &Value| (step["piece"].as_str().unwrap().to_owned(), step["cached"].as_bool().unwrap());
        plan["steps"].as_array().unwrap().iter().map(step).collect()
    }

    fn manifest(&self) -> Value {
        self.manifest_in("result")
    }

    pub fn manifest_in(&self, output: &str) -> Value {
        let path = self.path("project").join(output).join("manifest.json");
        serde_json::from_slice(&disk::read(path).unwrap()).unwrap()
    }

    /// An image like minimal with one more package, which lies beside it; locked.
    fn image_with(&self, package: Package) -> String {
        let path = package.write(&self.path("project/images"));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = format!(
            "name: {name}\nversion: 1.0.0\nextends: minimal\narchive: {{ debs: [{name}.deb] }}\n\
             config: {{ system.packages: [{name}] }}\n"
        );
        disk::write(self.path("project/images").join(format!("{name}.yaml")), text.as_bytes(), 0o644).unwrap();
        self.good(&["lock", &name]);
        name
    }

    /// What the store holds under a step of the newest plan.
    fn piece(&self, piece: &str) -> PathBuf {
        let output = self.good(&["build", "minimal", "--plan", "--json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let step = plan["steps"].as_array().unwrap().iter().find(|step| step["piece"] == piece).unwrap();
        self.path("store/objects").join(piece).join(step["digest"].as_str().unwrap()).join("content")
    }

    /// A program of the tools tree that sees `files` in /in.
    fn judge(&self, program: &str, files: &Path) -> Tool {
        let sandbox = Sandbox::new(&self.piece("tools")).bind(files, "/in", true).tmpfs("/run").tmpfs("/var/tmp");
        sandbox.executable(RAVE).tool(program)
    }
}

fn good(mut command: Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// The first build, which had nothing to begin with.
struct First {
    lab: Lab,
    /// The most memory that it took, in bytes.
    memory: u64,
    /// What clears it away.
    _shell: Child,
}

fn first() -> &'static First {
    static FIRST: OnceLock<First> = OnceLock::new();
    FIRST.get_or_init(|| {
        let lab = Lab::new();
        // Nothing drops what is static: a shell does, whose input ends with this process.
        let script = "cat; chmod -R u+w \"$0\"; rm -rf \"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(lab.root.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = shell.spawn().unwrap();
        let (output, memory) = measured(&mut lab.command(&["build", "minimal", "--mode", "safe"]));
        assert!(output.status.success(), "{output:?}");
        First { lab, memory, _shell: shell }
    })
}

/// Its project and store, shared by all tests of this file that only look at them.
pub fn built() -> &'static Lab {
    &first().lab
}

/// An ordinary user with subordinate ids, for as long as the value lives.
struct User {
    name: &'static str,
    uid: u32,
}

impl User {
    /// None where this test may not make users, or the host has no newuidmap.
    fn new() -> Option<Self> {
        if !rustix::process::getuid().is_root() || !disk::exists("/usr/bin/newuidmap") {
            return None;
        }
        let name = "rave-build-test";
        Tool::new("useradd").args(["--no-create-home", name]).output().unwrap();
        let ids = Tool::new("id").args(["-u", name]).output().unwrap();
        let user = Self { name, uid: String::from_utf8(ids).unwrap().trim().parse().unwrap() };
        let subuid = disk::read_to_string("/etc/subuid").unwrap();
        assert!(subuid.lines().any(|line| line.starts_with(name)), "useradd gave no subordinate ids:\n{subuid}");
        Some(user)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        Tool::new("userdel").arg(self.name).output().unwrap();
    }
}

#[test]
fn another_user_place_umask_and_time_zone_give_the_same_bytes() {
    let first = built();
    let second = tempfile::Builder::new().prefix("another place ").tempdir().unwrap();
    disk::set_mode(second.path(), 0o755).unwrap();
    let (project, store) = (second.path().join("a project"), second.path().join("a store"));
    for folder in ["images", "modules"] {
        copy(&first.path("project").join(folder), &project.join(folder));
    }
    disk::create_dir_all(&store).unwrap();
    let user = User::new();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" build minimal --mode safe --output \"$HOME/out\""]);
    command.arg(first.path("rave")).current_dir(&project).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "Asia/Tokyo").env("LANG", "tr_TR.UTF-8");
    command.env("RAVE_STORE", &store).env("HOME", &store).env("SOURCE_DATE_EPOCH", "1");
    disk::remove_dir_all(&store).unwrap();
    disk::create_dir_all(&store).unwrap();
    let home = second.path().join("home");
    disk::create_dir_all(&home).unwrap();
    command.env("HOME", &home);
    if let Some(user) = &user {
        for path in [&store, &home] {
            rustix::fs::chown(path, Some(rustix::fs::Uid::from_raw(user.uid)), None).unwrap();
        }
        command.uid(user.uid).gid(user.uid);
    }
    good(command);
    let again: Value = serde_json::from_slice(&disk::read(home.join("out/manifest.json")).unwrap()).unwrap();
    let once = first.manifest();
    for (path, file) in once["files"].as_object().unwrap() {
        assert_eq!(file, &again["files"][path], "{path}");
    }
    assert_eq!(once["disk"], again["disk"]);
    // What was searched for keys counts with the disk's holes: file systems have different ones.
    assert!(once["leaks"]["bytes"].as_u64() > once["disk"]["size"].as_u64(), "{}", once["leaks"]);
    assert!(once == again, "the manifests differ in something else");
    let digest = |path: &Path| Tool::new("sha256sum").arg("-z").arg(path).output().unwrap()[..64].to_vec();
    let one = digest(&first.path("project/result/disk.raw"));
    assert_eq!(one, digest(&home.join("out/disk.raw")));
    assert_eq!(String::from_utf8(one).unwrap(), once["disk"]["sha256"].as_str().unwrap());
    println!("built as {}", user.as_ref().map_or("the same user", |user| user.name));
}

#[test]
fn a_safe_build_takes_little_memory_and_makes_little() {
    let First { lab, memory, .. } = first();
    println!("{} MiB", memory >> 20);
    // With less nobody would have looked.
    assert!((50 << 20..3 << 30).contains(memory), "{memory}");
    let manifest = lab.manifest();
    let size = |what: &Value| what["size"].as_u64().unwrap_or_else(|| panic!("{what}"));
    let (root, initrd) = (size(&manifest["partitions"][1]["content"]), size(&manifest["initrd"]));
    assert!(root <= 80_000_000 && initrd <= 6_000_000, "{root} {initrd}");
}

#[test]
fn memory_is_that_of_all_processes_at_once() {
    // Each keeps 64 MiB, for as long as the line does not end.
    let keeps = "{ head -c 67108864 /dev/zero; sleep 1; } | tail -n 1 > /dev/null";
    for (script, least) in [(keeps.to_owned(), 64_u64), (format!("{keeps} & {keeps}; wait"), 128)] {
        let (output, memory) = measured(Command::new("sh").args(["-c", &script]));
        assert!(output.status.success(), "{output:?}");
        assert!((least << 20..(least + 32) << 20).contains(&memory), "{script}: {memory}");
    }
}

#[test]
fn an_ordinary_user_without_subordinate_ids_is_told_how_to_get_them() {
    if !rustix::process::getuid().is_root() {
        // Without root no other user can be played; the sandbox's own tests cover the texts.
        return;
    }
    let first = built();
    let place = tempfile::tempdir().unwrap();
    disk::set_mode(place.path(), 0o777).unwrap();
    let mut command = first.command(&["build", "minimal", "--output", "out"]);
    // An id that nobody has.
    command.env("RAVE_STORE", place.path().join("store")).env("HOME", place.path()).uid(54321).gid(54321);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("/etc/subuid") || text.contains("uidmap"), "{text}");
    assert!(!text.contains("fetch"), "nothing is fetched for a build that cannot be: {text}");
}

#[test]
fn what_is_built_is_not_built_again_and_a_changed_file_costs_only_what_holds_it() {
    let lab = built();
    let output = lab.good(&["build", "minimal"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("build  ") && !told.contains("fetch"), "{told}");
    assert!(lab.plan(&[]).iter().all(|(_, cached)| *cached), "{:?}", lab.plan(&[]));
    let changed = lab.plan(&["--set", "environment.files={/etc/motd: {text: hello}}"]);
    let anew: Vec<&str> = changed.iter().filter(|(_, cached)| !cached).map(|(piece, _)| piece.as_str()).collect();
    assert_eq!(anew, ["root", "verity", "uki", "esp", "disk", "manifest"]);
    lab.good(&["build", "minimal", "--set", "environment.files={/etc/motd: {text: hello}}", "--output", "motd"]);
    let manifest = lab.manifest_in("motd");
    let motd = &manifest["files"]["/etc/motd"];
    assert_eq!(motd["sha256"], rave::digest::Digest::of(b"hello").to_string());
    assert_eq!(motd["option"], "environment.files");
}

#[test]
fn documentation_and_translations_ship_where_they_are_asked_for() {
    let lab = built();
    let files = |manifest: &serde_json::Value, below: &str| {
        manifest["files"].as_object().unwrap().keys().filter(|path| path.starts_with(below)).count()
    };
    let below = ["/usr/share/doc/", "/usr/share/common-licenses/", "/usr/share/locale/"];
    assert_eq!(below.map(|below| files(&lab.manifest(), below)), [0; 3]);
    let kept = "base.clean={documentation: true, locales: true}";
    lab.good(&["build", "minimal", "--set", kept, "--output", "kept"]);
    assert!(below.iter().all(|below| files(&lab.manifest_in("kept"), below) > 0));
}

#[test]
fn every_algorithm_packs_and_a_level_that_it_lacks_is_refused_before_anything_is_made() {
    let lab = built();
    for algorithm in ["none", "lz4", "zstd"] {
        lab.good(&[
            "build",
            "minimal",
            "--set",
            &format!("disk.compression.algorithm={algorithm}"),
            "--output",
            algorithm,
        ]);
    }
    let wrong = ["lz4 9", "none 1", "lz4hc 13"].map(|pair| pair.split_once(' ').unwrap());
    for (algorithm, level) in wrong {
        let algorithm = format!("disk.compression.algorithm={algorithm}");
        let level = format!("disk.compression.level={level}");
        let output = lab.command(&["build", "minimal", "--set", &algorithm, "--set", &level]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("disk.compression.level") && !told.contains("build  "), "{told}");
    }
}

#[test]
fn a_killed_build_leaves_nothing_half_made_and_the_next_one_succeeds() {
    let lab = Lab::new();
    for seconds in ["3", "9"] {
        let mut command = lab.program("timeout");
        command.args(["--signal=KILL", seconds]).arg(lab.path("rave")).args(["build", "minimal"]);
        let output = command.output().unwrap();
        assert!(!output.status.success(), "the build was over before it could be killed");
    }
    let two: Vec<_> = (0..2).map(|_| lab.command(&["build", "minimal"]).spawn().unwrap()).collect();
    for mut build in two {
        assert!(build.wait().unwrap().success(), "two builds at once");
    }
    assert_eq!(disk::list(lab.path("store/staging")).unwrap(), [""; 0].map(PathBuf::from));
    assert_eq!(lab.manifest()["disk"], built().manifest()["disk"]);

    // What rots in the store is found, and made again.
    let disk_path = lab.piece("disk");
    disk::set_mode(&disk_path, 0o644).unwrap();
    let file = disk::open_existing_rw(&disk_path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 1 << 20).unwrap();
    let verify = lab.command(&["store", "verify"]).output().unwrap();
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    lab.good(&["build", "minimal"]);
    lab.good(&["store", "verify"]);
    assert_eq!(lab.manifest()["disk"], built().manifest()["disk"]);
}

#[test]
fn a_package_from_disk_is_installed_with_its_unit_and_a_difference_between_two_builds_is_named() {
    let lab = built();
    let unit = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
    let roll = "#!/bin/sh\nhead -c 8 /dev/urandom > /etc/dice\n";
    let package = Package::new("dice", "").file("usr/lib/systemd/system/dice.service", unit, 0o644);
    let image = lab.image_with(package.control("postinst", roll));
    let output = lab.command(&["build", &image, "--check", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["reproducible"], false);
    assert!(last["difference"].as_str().unwrap().contains("/etc/dice"), "{last}");

    lab.good(&["build", &image, "--output", "dice"]);
    let files = &lab.manifest_in("dice")["files"];
    assert_eq!(files["/usr/lib/systemd/system/dice.service"]["size"], unit.len());
}

#[test]
fn a_maintainer_script_that_fails_is_shown_and_a_shell_opens_where_it_failed() {
    // A store of its own: what other tests are making must not look like what this one leaves.
    let lab = Lab::new();
    let package = Package::new("brittle", "").file("etc/brittle.conf", "made of glass\n", 0o644);
    let image = lab.image_with(package.control("postinst", "#!/bin/sh\necho the glass is broken >&2\nexit 3\n"));
    let output = lab.command(&["build", &image]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in ["brittle fails in its configuration", "the glass is broken", "--shell"] {
        assert!(told.contains(part), "{part}: {told}");
    }

    // A person at a terminal looks at what the script saw.
    let rave = format!("{} build {image} --shell", rave::tool::quote(lab.path("rave").to_str().unwrap()));
    let mut terminal = lab.program("script");
    terminal.args(["-qec", &rave, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"cat /etc/brittle.conf\nexit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("the glass is broken") && shown.contains("made of glass"), "{shown}");
    assert_eq!(disk::list(lab.path("store/staging")).unwrap(), [""; 0].map(PathBuf::from));
}
