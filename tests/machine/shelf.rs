//! A host that runs an image as a container: `rave deploy` to a target of kind `podman`, with Debian's podman.

use std::path::{Path, PathBuf};

use rave::disk;
use regex::Regex;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::controllers::{LIMITING, with_controllers};
use crate::copy::copy;
use crate::host::{Elsewhere, HOST, Host};
use crate::lab::{Ended, Lab, shared, wait_for};

const NAME: &str = "boxed";
const CONTAINER: &str = "rave-boxed";

/// The host: what Debian's podman needs, and its generator of units, which an image of rave does not have by itself.
const SHELF: &str = "name: shelf
version: 1.0.0
extends: minimal
config:
  system.packages: [podman, crun, conmon, netavark, libsemanage2, libsepol2]
  environment.files:
    /usr/lib/systemd/system-generators/podman-system-generator: { link: /usr/libexec/podman/quadlet }
";

/// What runs there, a version of it.
const BOXED: &str = "name: boxed
version: VERSION
extends: minimal
imports: [word]
";
const WORD: &str = "description: A secret.\nsecrets: { word: { kind: token } }\n";
const SITE: &str = "config:
  services.nginx: { enable: true, sites.shop: { hosts: [shop.example.org], port: 443, tls: {}, pages: { /: 404 } } }
";
const BROKEN: &str = "config:
  environment.files:
    /etc/systemd/system/broken.service: { text: \"[Service]\\nExecStart=/bin/false\\n\" }
    /etc/systemd/system/multi-user.target.wants/broken.service: { link: ../broken.service }
";

/// Writes the target, with where its host is.
fn target(project: &Path, host: &str) {
    let text = format!("kind: podman\nidentity: keys/shelf.txt\nmachines: {{ {NAME}: {{ {host}health: 1d }} }}\n");
    disk::write_atomic(project.join("targets/shelf.yaml"), text.as_bytes(), 0o644).unwrap();
}

/// The runtime of a host whose kernel has memory and processors in control groups of the first version, so that those of the
/// second, which containers are in, cannot limit them: what a container is given is written down, and left out.
const RUNTIME: &str = r#"#!/bin/sh
for word; do
  [ "${before-}" != --bundle ] || bundle=$word
  before=$word
done
if [ "${bundle-}" ]; then
  grep -o '"memory":{[^}]*}\|"cpu":{[^}]*}' "$bundle/config.json" >/run/limits
  sed -i 's/,"memory":{[^}]*}//; s/,"cpu":{[^}]*}//' "$bundle/config.json"
fi
exec /usr/bin/crun "$@"
"#;
const SETTINGS: &str = "[containers]\npids_limit = 0\n[engine.runtimes]\ncrun = [\"/usr/local/bin/crun\"]\n";
/// Limits of services, which are then missing in the container: on a line of their own, or after something else.
const LIMITS: &str = r"(?m)^ +(MemoryMax|TasksMax|CPUQuota): .*\n|, (MemoryMax|TasksMax|CPUQuota): [^,}]+";

/// What podman keeps, on a file system of its own: how full this computer's is says nothing of a container. It outlives a
/// start of the host.
struct Storage(PathBuf);

impl Storage {
    fn new(root: &Path) -> Self {
        let place = root.join("var/lib/containers");
        disk::create_dir_all(&place).unwrap();
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), c"size=4g,mode=755").unwrap();
        Self(place)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // The directory goes next, and says so if it cannot.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// What rave is shown there once its refusal was seen, and nobody else: podman and its runtime see what the kernel has. By
/// SSH it is a service that shows it.
const SHOWN: &str = "/etc/controllers";
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// Makes the kernel's want good, if it has one; returns whether it does.
fn unlimited(host: &Host<'_>, root: &Path, project: &Path) -> bool {
    let groups = host.good(&["cat", CONTROLLERS]);
    let lacks = |wanted: &&str| !groups.split(' ').any(|group| group == *wanted);
    let missing: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(lacks).collect();
    if missing.is_empty() {
        return false;
    }
    let limits = Regex::new(LIMITS).unwrap();
    for part in ["base", "sandbox.yaml", "services/nginx.yaml"] {
        lift(&project.join("modules").join(part), &limits);
    }
    println!("a host whose kernel does not limit containers is refused, and gets nothing");
    let refused = host.ask(&["rave", "deploy", "boxed", "--to", "shelf"]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    for part in [format!("lack {}, ", missing.join(", ")), "systemd.unified_cgroup_hierarchy=1".to_owned()] {
        assert!(refused.stderr.contains(&part), "{part}: {refused:?}");
    }
    for place in ["var/lib/rave/images", "var/lib/rave/tools", "etc/rave/machines"] {
        assert!(!disk::exists(root.join(place)), "{place}");
    }
    disk::write_atomic(root.join("etc/controllers"), LIMITING.as_bytes(), 0o644).unwrap();
    let unit = root.join("etc/systemd/system/ssh.service.d");
    disk::create_dir_all(&unit).unwrap();
    let shown = format!("[Service]\nBindReadOnlyPaths={SHOWN}:{CONTROLLERS}\n");
    disk::write_atomic(unit.join("shown.conf"), shown.as_bytes(), 0o644).unwrap();
    host.good(&["systemctl", "daemon-reload"]);
    host.good(&["systemctl", "restart", "ssh.service"]);
    disk::write_atomic(root.join("usr/local/bin/crun"), RUNTIME.as_bytes(), 0o755).unwrap();
    disk::write_atomic(root.join("etc/containers/containers.conf"), SETTINGS.as_bytes(), 0o644).unwrap();
    true
}

/// Deploys from the host itself.
fn deploy(host: &Host<'_>, unlimited: bool) -> Ended {
    let rave = ["rave", "deploy", "boxed", "--to", "shelf"];
    if unlimited { host.ask(&[&with_controllers(LIMITING)[..], &rave].concat()) } else { host.ask(&rave) }
}

/// Takes what is matched out of a module, or of all below a folder.
fn lift(path: &Path, limits: &Regex) {
    if path.is_dir() {
        disk::list(path).unwrap().iter().for_each(|path| lift(path, limits));
        return;
    }
    let text = disk::read_to_string(path).unwrap();
    disk::write_atomic(path, limits.replace_all(&text, "").as_bytes(), 0o644).unwrap();
}

/// Writes a version of what runs.
fn write(project: &Path, version: &str, more: &str) {
    let text = BOXED.replace("VERSION", version) + more;
    disk::write_atomic(project.join("images/boxed.yaml"), text.as_bytes(), 0o644).unwrap();
}

/// What runs on the host, by version, is well.
fn runs(host: &Host<'_>, version: &str) {
    let row = host.row();
    let deployed = &row["deployed"];
    assert_eq!(
        (&deployed["version"], &deployed["confirmed"], &deployed["verdict"]),
        (&version.into(), &true.into(), &"healthy".into()),
        "{row:#}"
    );
    assert_eq!(inside(host, "cat /var/lib/kept; stat -L -c '%U %a' /run/secrets/word"), "kept\nroot 400");
}

/// Runs a script in the container.
fn inside(host: &Host<'_>, script: &str) -> String {
    host.good(&["podman", "exec", CONTAINER, "sh", "-ec", script])
}

#[test]
fn a_host_runs_a_container_as_its_service() {
    if !rustix::process::geteuid().is_root() {
        // Mounts and control groups are root's.
        return;
    }
    let mut lab = Lab::new();
    let project = lab.path().join("project");
    copy(&shared("project"), &project);
    for folder in ["targets", "keys"] {
        disk::create_dir_all(project.join(folder)).unwrap();
    }
    for (name, text) in [("images/shelf.yaml", SHELF), ("modules/word.yaml", WORD)] {
        disk::write_atomic(project.join(name), text.as_bytes(), 0o644).unwrap();
    }
    target(&project, "");
    write(&project, "1.0.2", SITE);
    lab.use_project(project.clone());
    lab.good(&["secrets", "init", "boxed"]);
    for image in ["shelf", "boxed"] {
        lab.good(&["lock", image]);
        lab.good(&["build", image, "--output", lab.path().join(image).to_str().unwrap()]);
    }
    disk::copy(project.join("images/boxed.lock"), lab.path().join("site.lock")).unwrap();
    write(&project, "1.0.0", "");
    disk::copy(project.join("images/minimal.lock"), project.join("images/boxed.lock")).unwrap();
    let identity = disk::read(lab.path().join("home/.config/sops/age/keys.txt")).unwrap();
    disk::write_atomic(project.join("keys/shelf.txt"), &identity, 0o600).unwrap();
    let root = Host::root(&lab, "shelf");
    let _storage = Storage::new(&root);
    let host = Host::start(&lab, &root, NAME);
    let unlimited = unlimited(&host, &root, &project);

    println!(
        "a deployment ends when the container is well, with its keys, its secrets, and no more rights than it needs"
    );
    let deployed = deploy(&host, unlimited);
    assert_eq!(deployed.status, Some(0), "{deployed:?}");
    inside(&host, "echo kept >/var/lib/kept");
    runs(&host, "1.0.0");
    let rights = inside(&host, "grep CapBnd: /proc/1/status; touch /etc/made 2>&1 || true");
    assert_eq!(rights, "CapBnd:\t00000000002c15ef\ntouch: cannot touch '/etc/made': Read-only file system");
    // What the mode gives a machine, as in minimal.
    let limits = match unlimited {
        true => host.good(&["cat", "/run/limits"]),
        false => inside(&host, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
    };
    assert!(limits.contains("2147483648") && limits.contains("200000"), "{limits}");

    println!("a container that is killed starts again");
    let kill = format!("kill -KILL $(podman inspect --format '{{{{.State.Pid}}}}' {CONTAINER})");
    host.good(&["sh", "-ec", &kill]);
    wait_for("a restart", || (host.property("NRestarts") == "1").then_some(()));
    host.well_again();

    println!("a version that is not well gives way to the one before, and it is said why");
    write(&project, "1.0.1", BROKEN);
    let refused = deploy(&host, unlimited);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("broken.service"), "{refused:?}");
    runs(&host, "1.0.0");
    let row = host.row();
    assert!(row["deployed"]["refused"].to_string().contains("1.0.1"), "{row:#}");

    println!(
        "by ssh from elsewhere another version takes its place, is asked by HTTPS, and goes on with what the container had kept"
    );
    write(&project, "1.0.2", SITE);
    disk::copy(lab.path().join("site.lock"), project.join("images/boxed.lock")).unwrap();
    target(&project, &format!("host: {HOST}, "));
    let elsewhere = Elsewhere::new(&host);
    elsewhere.good(&["deploy", "boxed", "--to", "shelf"]);
    elsewhere.good(&["target", "check", "shelf"]);
    target(&project, "");
    runs(&host, "1.0.2");
    let asked = inside(&host, "journalctl --unit nginx.service --output cat");
    assert!(asked.contains("\"GET / HTTP/1.1\" 404"), "{asked}");

    println!("what is stopped stays so when the host starts again, and what is not starts with it");
    host.good(&["rave", "target", "stop", "shelf"]);
    let host = host.again(&root);
    assert_eq!(["LoadState", "ActiveState"].map(|name| host.property(name)), ["masked", "inactive"]);
    host.good(&["rave", "target", "start", "shelf"]);
    let host = host.again(&root);
    host.well_again();
    runs(&host, "1.0.2");

    println!("what is removed leaves nothing");
    host.good(&["rave", "target", "remove", "shelf", "--purge"]);
    assert_eq!(host.property("LoadState"), "not-found");
    let left = "podman ps --all --quiet; podman volume ls --quiet; podman image ls --quiet; \
                ls -A /etc/rave/machines /var/lib/rave/images /var/lib/rave/tools /var/lib/rave-check | grep -v -e : -e '^$' || true";
    assert_eq!(host.good(&["sh", "-ec", left]), "");
    host.shut_down();
}
