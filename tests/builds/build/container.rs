//! A container of the OCI export: Debian's podman runs it with the options that the guide gives.

use rave::disk;

use super::apart::apart;
use super::built;

const GUIDE: &str = include_str!("../../../docs/export.md");

/// The tools tree as root. Arguments: the tree, the export, a folder to work in, and what is run there.
const WORLD: &str = r#"
root=$3/root
mount --bind "$1" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
for place in etc/containers run tmp var; do mount -t tmpfs tmpfs "$root/$place"; done
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$root/etc/containers/policy.json"
mkdir "$root/run/export" "$root/var/old" "$root/var/storage" "$root/var/tmp"
mount --bind "$2" "$root/run/export"
mount --bind "$3/storage" "$root/var/storage"
cd "$root"
pivot_root . var/old
exec /usr/bin/busybox chroot . /bin/sh -euc "/usr/bin/busybox umount -l /var/old; $4"
"#;

/// Settings of podman for a world without other containers, and of a container for one who may not raise limits.
const TRIAL: &str = r#"
podman() {
  command /usr/bin/podman --root /var/storage --runroot /run/podman --storage-driver vfs --events-backend none \
    --cgroup-manager cgroupfs "$@"
}
podman load --quiet --input /run/export/minimal_1.0.0.oci.tar
podman run OPTIONS --network=none --cgroups=disabled --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024 \
  --security-opt=apparmor=unconfined localhost/minimal:1.0.0 >/dev/null
inside() { podman exec shop "$@"; }
up() {
  for _ in $(seq 60); do
    inside test -S /run/systemd/private && break
    sleep 1
  done
  inside systemctl is-system-running --wait || true
}
up
inside systemctl list-units --failed --plain --no-legend
inside sh -c ': >/etc/made' 2>&1 || true
inside sh -c "sed -n 's:^[^ ]* /var [^ ]* \([^ ]*\) .*:\1:p' /proc/mounts | tr , '\n' | grep -xE 'no(dev|exec|suid)' | sort"
inside sh -c 'echo kept >/var/lib/kept; echo gone >/run/gone'
inside sh -c 'grep CapBnd: /proc/1/status'
podman stop --time 20 shop >/dev/null
podman inspect --format 'ended with {{.State.ExitCode}}' shop
podman start shop >/dev/null
up
inside sh -c 'cat /var/lib/kept; test ! -e /run/gone && echo new'
podman stop --time 20 shop >/dev/null
for label in root-hash memory vcpus; do
  podman inspect --format "{{index .Config.Labels \"rave.$label\"}}" shop
done
"#;

/// The options by which the guide runs a container with everything: without those of its network and its files.
fn options() -> Vec<&'static str> {
    let (_, block) = GUIDE.split_once("Credentials are files").unwrap();
    let (_, block) = block.split_once("```sh\npodman run ").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let mut words = block.split_whitespace().filter(|word| *word != "\\");
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--volume" => options.extend(
                words
                    .next()
                    .filter(|volume| volume.contains(":/var"))
                    .map(|volume| ["--volume", volume])
                    .into_iter()
                    .flatten(),
            ),
            "--env" | "--publish" => drop(words.next().unwrap()),
            "--dns=none" | "localhost/shop:1.0.0" => {}
            _ => options.push(word),
        }
    }
    options
}

#[test]
fn a_container_of_the_export_runs_under_podman() {
    if !rustix::process::geteuid().is_root() {
        // Mounts and control groups are root's.
        return;
    }
    let lab = built();
    lab.good(&["export", "minimal", "--format", "oci", "--output", "contained"]);
    let options = options();
    assert!(
        ["--read-only", "--systemd=always", "--cap-drop=all"].iter().all(|one| options.contains(one)),
        "{options:?}"
    );
    let work = lab.path("container");
    for folder in ["groups", "root", "storage"] {
        disk::create_dir_all(work.join(folder)).unwrap();
    }
    let run = apart(&work.join("groups"), WORLD).arg(lab.piece("tools")).arg(lab.path("project/contained")).arg(&work);
    let said = run.arg(TRIAL.replace("OPTIONS", &options.join(" "))).output().unwrap();
    let said = String::from_utf8(said).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let manifest = lab.manifest();
    // What whoever runs it is to give it.
    let (memory, processors) =
        (format!("{}M", manifest["machine"]["memory"]), manifest["machine"]["vcpus"].to_string());
    let expected = [
        "Loaded image: localhost/minimal:1.0.0",
        "running",
        "sh: 1: cannot create /etc/made: Read-only file system",
        "nodev",
        "noexec",
        "nosuid",
        "CapBnd:\t00000000002c15ef",
        "ended with 0",
        "running",
        "kept",
        "new",
        manifest["root_hash"].as_str().unwrap(),
        memory.as_str(),
        processors.as_str(),
    ];
    assert_eq!(lines, expected, "{said}");
    disk::remove_dir_all(&work).unwrap();
}
