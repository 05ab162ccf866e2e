//! A host that runs a machine as a service of its own systemd: `rave deploy` to a target of kind `qemu`. The host is made
//! of the root file system of an image, in namespaces of its own.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rave::disk;
use rave::tool::Tool;
use serde_json::Value;

use crate::apart::apart;
use crate::copy::copy;
use crate::lab::{Ended, Lab, checks, shared, wait_for};

const NAME: &str = "hosted";
const SERVICE: &str = "rave-hosted.service";

/// What makes a version one that is not well: a unit that fails.
const BROKEN: &str = "  environment.files:
    /etc/systemd/system/broken.service: { text: \"[Service]\\nExecStart=/bin/false\\n\" }
    /etc/systemd/system/multi-user.target.wants/broken.service: { link: ../broken.service }
";

/// Begins a host with systemd as its first process. Arguments: its root, and the directories of this host that it sees.
const WORLD: &str = r#"
root=$1
shift
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in dev run tmp; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp"
for place in "$@"; do
  mkdir -p "$root$place"
  mount --bind "$place" "$root$place"
done
for device in null zero full random urandom tty; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/old"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
cd "$root"
pivot_root . run/old
umount -l /run/old
mount --make-rshared /
exec env -i container=rave PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd
"#;

pub struct Host<'a> {
    lab: &'a Lab,
    /// The machine that it runs.
    machine: &'static str,
    world: Child,
    systemd: String,
}

/// The only child of a process.
fn child(of: &str) -> Option<String> {
    let children = disk::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    let mut children = children.split_whitespace();
    children.next().filter(|_| children.next().is_none()).map(str::to_owned)
}

impl<'a> Host<'a> {
    /// Unpacks the root file system of an image.
    pub fn root(lab: &Lab, image: &str) -> PathBuf {
        let (exported, root) = (lab.path().join("exported"), lab.path().join("host"));
        lab.good(&["export", image, "--format", "oci", "--output", exported.to_str().unwrap()]);
        let archive = disk::open(exported.join(format!("{image}_1.0.0.oci.tar"))).unwrap();
        let mut largest = (0, Vec::new());
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.size() > largest.0 {
                largest = (entry.size(), Vec::new());
                entry.read_to_end(&mut largest.1).unwrap();
            }
        }
        let mut layer = tar::Archive::new(zstd::Decoder::new(largest.1.as_slice()).unwrap());
        layer.set_preserve_permissions(true);
        layer.set_preserve_ownerships(true);
        layer.unpack(&root).unwrap();
        disk::copy(env!("CARGO_BIN_EXE_rave"), root.join("usr/bin/rave")).unwrap();
        // Loopback addresses are not scanned.
        disk::write_atomic(root.join("etc/systemd/network/10-lo.network"), NETWORK.as_bytes(), 0o644).unwrap();
        // Else each start is one of another host.
        disk::write_atomic(root.join("etc/machine-id"), b"64a3f2a54f2c4d0c9d2e5d1b6e7f8091\n", 0o444).unwrap();
        root
    }

    /// Starts it from that.
    pub fn start(lab: &'a Lab, root: &Path, machine: &'static str) -> Self {
        let groups = lab.path().join("groups");
        disk::create_dir_all(&groups).unwrap();
        let tool = apart(&groups, WORLD).arg(root).arg(lab.path()).arg(shared(""));
        let log = disk::create(lab.path().join("host.log")).unwrap();
        let world = tool.command().stdin(Stdio::null()).stdout(log).spawn().unwrap();
        let first = world.id().to_string();
        let mut host = Self { lab, machine, world, systemd: String::new() };
        host.systemd = wait_for("systemd of the host", || {
            let systemd = child(&child(&first)?)?;
            disk::read_to_string(format!("/proc/{systemd}/comm"))
                .is_ok_and(|name| name == "systemd\n")
                .then_some(systemd)
        });
        wait_for("the host", || {
            let state = host.ask(&["systemctl", "is-system-running", "--wait"]).stdout;
            assert_ne!(state, "degraded\n", "{:?}", host.ask(&["systemctl", "--failed", "--no-legend"]));
            (state == "running\n").then_some(())
        });
        host
    }

    /// Runs a program on the host.
    pub fn ask(&self, command: &[&str]) -> Ended {
        let enter =
            ["--target", self.systemd.as_str(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"];
        let tool = self.lab.tool("nsenter").args(enter).args(["/usr/bin/env", "-C", "/"]).args(command);
        Ended::from(tool.command().stdin(Stdio::null()).output().unwrap())
    }

    /// The same, and it must end with status 0.
    pub fn good(&self, command: &[&str]) -> String {
        let begin = std::time::Instant::now();
        let ended = self.ask(command);
        println!("    {:5.1} s  on the host: {}", begin.elapsed().as_secs_f32(), command.join(" "));
        assert_eq!(ended.status, Some(0), "{command:?}: {ended:?}");
        ended.stdout.trim().to_owned()
    }

    /// What `rave ps` says of the machine.
    pub fn row(&self) -> Value {
        let told: Value = serde_json::from_str(&self.good(&["rave", "ps", "--json"])).unwrap();
        assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
        told[0].clone()
    }

    /// What systemd says of its service.
    pub fn property(&self, name: &str) -> String {
        let service = format!("rave-{}.service", self.machine);
        let told = self.ask(&["systemctl", "show", "--value", "--property", name, &service]);
        assert_eq!(told.status, Some(0), "{told:?}");
        told.stdout.trim().to_owned()
    }

    /// Waits until the service runs, and looks at the machine as the timer does.
    pub fn well_again(&self) {
        wait_for("the machine", || (self.property("ActiveState") == "active").then_some(()));
        self.good(&["systemctl", "start", &format!("rave-{}-health.service", self.machine)]);
        let row = self.row();
        assert_eq!(
            (&row["deployed"]["verdict"], &row["drift"]),
            (&"healthy".into(), &Value::Array(Vec::new())),
            "{row:#}"
        );
    }

    /// Has the host shut down and start again.
    pub fn again(self, root: &Path) -> Self {
        let (lab, machine) = (self.lab, self.machine);
        self.shut_down();
        Self::start(lab, root, machine)
    }

    /// Has the host shut down.
    pub fn shut_down(mut self) {
        // It may be gone before it has answered.
        self.ask(&["systemctl", "poweroff", "--no-block"]);
        // The kernel ends whoever powers off a process tree in a namespace by SIGINT.
        assert_eq!(self.world.wait().unwrap().code(), Some(130));
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        if self.world.try_wait().is_ok_and(|ended| ended.is_none()) {
            // All others end with the one that has made the namespaces, and the shell puts the branch away.
            if let Some(unshare) = child(&self.world.id().to_string()) {
                let _ = Tool::new("kill").args(["-KILL", unshare.as_str()]).output();
            }
            let _ = self.world.wait();
        }
    }
}

/// Where others reach the host, as who administers it.
pub const HOST: &str = "agent@192.0.2.1";
const NETWORK: &str = "[Match]\nName=lo\n[Network]\nAddress=192.0.2.1/32\n";

/// Writes the target of the project, with where its host is.
fn target(project: &Path, host: &str) {
    let text = format!("kind: qemu\nmachines: {{ {NAME}: {{ {host}accelerator: tcg, health: 1d }} }}\n");
    disk::write_atomic(project.join("targets/here.yaml"), text.as_bytes(), 0o644).unwrap();
}

/// Another computer, which has nothing of the host but its network.
pub struct Elsewhere<'a> {
    host: &'a Host<'a>,
    path: String,
}

impl<'a> Elsewhere<'a> {
    /// Gives it a key for the host.
    pub fn new(host: &'a Host<'a>) -> Self {
        let lab = host.lab;
        let (key, folder) = (lab.path().join("key"), lab.path().join("bin"));
        lab.tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).output().unwrap();
        let public = disk::read_to_string(key.with_extension("pub")).unwrap();
        host.good(&["sh", "-ec", &format!("echo '{}' > /run/rave/authorized_keys/agent", public.trim())]);
        disk::create_dir_all(&folder).unwrap();
        let known = lab.path().join("known");
        let ssh = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new \"$@\"\n",
            key.display(),
            known.display()
        );
        disk::write_atomic(folder.join("ssh"), ssh.as_bytes(), 0o755).unwrap();
        Self { host, path: format!("{}:/usr/bin:/bin", folder.display()) }
    }

    fn rave(&self, arguments: &[&str]) -> Ended {
        let begin = std::time::Instant::now();
        let network = format!("--net=/proc/{}/ns/net", self.host.systemd);
        let tool = self.host.lab.tool("nsenter").env("PATH", &self.path).args([&network, env!("CARGO_BIN_EXE_rave")]);
        let ended = Ended::from(tool.args(arguments).command().stdin(Stdio::null()).output().unwrap());
        println!("    {:5.1} s  from elsewhere: {}", begin.elapsed().as_secs_f32(), arguments.join(" "));
        ended
    }

    pub fn good(&self, arguments: &[&str]) -> String {
        let ended = self.rave(arguments);
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout
    }
}

#[test]
fn a_host_runs_a_machine_as_its_service() {
    if !rustix::process::geteuid().is_root() {
        // Mounts and control groups are root's.
        return;
    }
    let mut lab = Lab::new();
    let project = lab.path().join("project");
    copy(&shared("project"), &project);
    disk::create_dir_all(project.join("targets")).unwrap();
    target(&project, "");
    lab.use_project(project);

    let root = Host::root(&lab, "minimal");
    let host = Host::start(&lab, &root, NAME);

    println!("a deployment ends when the machine is well");
    host.good(&["rave", "deploy", "minimal", "--to", "here"]);
    let row = host.row();
    assert_eq!(
        (&row["deployed"]["confirmed"], &row["deployed"]["verdict"]),
        (&true.into(), &"healthy".into()),
        "{row:#}"
    );
    let journal = host.good(&["journalctl", "-a", "-u", SERVICE]);
    assert!(journal.contains("EFI stub: Loaded initrd"), "the console is in the journal: {journal}");
    assert_ne!(host.property("UID"), "0");
    // What the mode gives the machine, 512 MiB and a processor for QEMU, and 256 MiB for what it has translated.
    assert_eq!(["MemoryMax", "CPUQuotaPerSecUSec"].map(|name| host.property(name)), ["2952790016", "3s"]);
    let timer = host.ask(&["systemctl", "is-active", "rave-hosted-health.timer"]);
    assert_eq!(timer.stdout, "active\n");
    // What the guide says of them.
    for (unit, most) in [("rave-hosted", "10"), ("rave-hosted-health", "12"), ("rave-hosted-verify", "12")] {
        let (threshold, path) = (format!("--threshold={most}"), format!("/etc/systemd/system/{unit}.service"));
        host.good(&["systemd-analyze", "security", "--offline=true", "--no-pager", &threshold, &path]);
    }

    println!("a machine whose QEMU is killed starts again");
    host.good(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", SERVICE]);
    wait_for("a restart", || (host.property("NRestarts") == "1").then_some(()));
    host.well_again();

    println!("a version that is not well gives way to the one before, and it is said why");
    let text = disk::read_to_string(lab.path().join("project/images/minimal.yaml")).unwrap();
    let (before, config) = text.split_once("\nconfig:\n").unwrap();
    let worse = format!("{}\nconfig:\n{BROKEN}{config}", before.replace("version: 1.0.0", "version: 1.0.1"));
    disk::write_atomic(lab.path().join("project/images/minimal.yaml"), worse.as_bytes(), 0o644).unwrap();
    let refused = host.ask(&["rave", "deploy", "minimal", "--to", "here"]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("services.failures"), "{refused:?}");
    let deployed = &host.row()["deployed"];
    assert_eq!((&deployed["version"], &deployed["verdict"]), (&"1.0.0".into(), &"healthy".into()), "{deployed:#}");
    assert!(deployed["refused"].to_string().contains("1.0.1"), "{deployed:#}");

    println!("by ssh from elsewhere another version takes its place, and goes on with what the machine had kept");
    let better = text.replace("version: 1.0.0", "version: 1.0.2");
    disk::write_atomic(lab.path().join("project/images/minimal.yaml"), better.as_bytes(), 0o644).unwrap();
    let key = || host.good(&["cat", "/run/rave/hosted/host-key"]);
    let first = key();
    let elsewhere = Elsewhere::new(&host);
    target(&lab.path().join("project"), &format!("host: {HOST}, "));
    elsewhere.good(&["deploy", "minimal", "--to", "here"]);
    let told: Value = serde_json::from_str(&elsewhere.good(&["ps", "--json"])).unwrap();
    let deployed = &told[0]["deployed"];
    assert_eq!((&deployed["version"], &deployed["verdict"]), (&"1.0.2".into(), &"healthy".into()), "{told:#}");
    assert_eq!((told[0]["drift"].as_array().map(Vec::len), key()), (Some(0), first), "{told:#}");

    println!("by ssh it is asked, restarted, stopped and started");
    elsewhere.good(&["target", "check", "here"]);
    assert!(elsewhere.good(&["target", "logs", "here", "--lines", "50"]).contains("Started rave-hosted.service"));
    let before = host.property("MainPID");
    elsewhere.good(&["target", "restart", "here"]);
    assert_eq!(["ActiveState", "Result"].map(|name| host.property(name)), ["active", "success"]);
    assert_ne!(host.property("MainPID"), before);
    elsewhere.good(&["target", "stop", "here"]);
    assert_eq!(["ActiveState", "Result"].map(|name| host.property(name)), ["inactive", "success"]);

    println!(
        "the host itself is a machine of the image elsewhere: by connections its firewall is seen to let too much through"
    );
    // What comes by the loopback interface gets through: so all but these refuse.
    host.good(&[
        "nft",
        "insert",
        "rule",
        "inet",
        "rave",
        "input",
        "ip daddr 192.0.2.1 tcp dport { 1-21, 23-1023 } drop",
    ]);
    let ended = elsewhere.rave(&["check", "minimal", "--ssh", HOST, "--only", "security.scan", "--json"]);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let scan = checks(&report).into_iter().find(|check| check["id"] == "security.scan.tcp4").unwrap();
    assert_eq!(
        (&scan["verdict"], &scan["evidence"]),
        (&"unhealthy".into(), &"65535 tcp ports asked at 192.0.2.1".into()),
        "{scan:#}"
    );
    assert!(scan["observed"].as_str().unwrap().starts_with("refusing: 1024, 1025, "), "{scan:#}");
    elsewhere.good(&["target", "start", "here"]);
    target(&lab.path().join("project"), "");

    println!("with its host it shuts down, and starts");
    let ended = |host: &Host| host.good(&["journalctl", "-a", "-u", SERVICE]).matches("reboot: Power down").count();
    let before = ended(&host);
    let host = host.again(&root);
    assert_eq!(ended(&host), before + 1);
    host.well_again();

    println!("what is removed leaves nothing but the rave that came by ssh");
    host.good(&["rave", "target", "remove", "here", "--purge"]);
    assert_eq!(host.property("LoadState"), "not-found");
    for place in ["etc/rave/machines", "var/lib/rave", "var/lib/private/rave-vm", "var/lib/rave-check"] {
        let left = disk::list(root.join(place)).unwrap_or_default();
        let left: Vec<_> =
            left.iter().flat_map(|path| disk::list(path).unwrap_or_else(|_| vec![path.clone()])).collect();
        let others: Vec<_> = left.iter().filter(|path| !path.starts_with(root.join("var/lib/rave/bin"))).collect();
        assert!(others.is_empty(), "{others:?}");
    }
    host.shut_down();
}
