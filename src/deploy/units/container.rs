//! The service that is a container: podman runs the image's root file system with systemd in it. Podman's generator makes
//! a service of the same name of the file (podman-systemd.unit(5), version 5).

use super::{PREFIX, Parts, RAVE, START, STOP, image_path, load, ports, put, quoted, title, tools_path};
use crate::digest::Digest;
use crate::name::ImageName;

/// What the names of such files end with.
pub const SUFFIX: &str = ".container";
/// File of an image on a host: the archive that podman takes.
pub const ARCHIVE: &str = "image.oci.tar";
/// Where systemd in the container finds its credentials (CONTAINER_INTERFACE of systemd).
const CREDENTIALS: &str = "/run/host/credentials";
/// What systemd, the sandboxes that it makes for services, and a look at their health need of root's rights.
const CAPABILITIES: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "KILL",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_PTRACE",
];

/// Settings of the kernel that each network namespace has of its own, but for one that sets others back when it is written.
const NETWORK: [&str; 2] = ["net.ipv4.", "net.ipv6."];
const FORWARD: &str = "net.ipv4.ip_forward";
/// With forwarding switched off the kernel takes redirects again, and settings are made in the order of their names. With a
/// slash, which means the same, this one comes after all others.
const LAST: (&str, &str) = ("net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.all/accept_redirects");

/// The name of the file.
pub fn unit(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}{SUFFIX}")
}

/// The container's name, and that of the volume with its /var.
pub fn name(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}")
}

/// What podman knows an image by; `digest` is that of its manifest.
pub fn image(image: &ImageName, digest: &Digest) -> String {
    format!("localhost/{image}@sha256:{digest}")
}

/// The file; `digest` is that of the manifest of the image in the archive.
pub fn render(parts: &Parts<'_>, archive: &Digest, digest: &Digest) -> String {
    let (machine, title) = (&parts.declared.name, title(parts));
    let (name, directory, listen) = (name(machine), image_path(archive), parts.declared.listen);
    let (directory, tools) = (directory.display(), tools_path(parts.tools));
    let image = image(&parts.manifest.image, digest);
    let (memory, vcpus) = (parts.manifest.machine.memory, parts.manifest.machine.vcpus);
    let mut text = format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Container {machine}: {title}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=1h
StartLimitBurst=10

[Container]
ContainerName={name}
HostName={machine}
Image={image}
Pull=never
Notify=true
ReadOnly=true
DropCapability=all
"
    );
    for capability in CAPABILITIES {
        put(&mut text, format_args!("AddCapability=CAP_{capability}"));
    }
    let var = parts.manifest.expect.mounts.iter().find(|(path, _)| path.as_str() == "/var");
    let noexec = if var.is_some_and(|(_, (options, _))| options.contains("noexec")) { ":noexec" } else { "" };
    put(&mut text, format_args!("Volume={name}:/var{noexec}\nVolume=%d:{CREDENTIALS}:ro"));
    put(&mut text, format_args!("Environment=CREDENTIALS_DIRECTORY={CREDENTIALS}"));
    for (host, guest) in ports(parts) {
        put(&mut text, format_args!("PublishPort={listen}:{host}:{guest}"));
    }
    let settings = parts.manifest.expect.sysctl.iter().map(|(name, (value, _))| (name, value));
    let is_own = |name: &str| NETWORK.iter().any(|own| name.starts_with(own)) && name != FORWARD && !name.contains('*');
    for (name, value) in settings.filter(|(name, _)| is_own(name)) {
        let name = if name == LAST.0 { LAST.1 } else { name };
        put(&mut text, format_args!("Sysctl={}", quoted(&format!("{name}={value}"))));
    }
    put(&mut text, format_args!("StopTimeout={}", STOP - 20));
    // podman's own mount at resolv.conf would leave systemd-resolved no place.
    put(&mut text, format_args!("PodmanArgs=--systemd=always --dns=none --memory={memory}m --cpus={vcpus}"));
    put(&mut text, format_args!("\n[Service]\nTimeoutStartSec={START}\nTimeoutStopSec={STOP}"));
    put(
        &mut text,
        format_args!("Restart=on-failure\nRestartSec=5\nRuntimeDirectory=rave/{machine}\nEnvironment=HOME=/root"),
    );
    put(&mut text, format_args!("ExecStartPre=/usr/bin/podman load --quiet --input {directory}/{ARCHIVE}"));
    let rave = tools.display();
    // Whoever looks at it misses the key and says so; a start that fails here would not be stopped by podman.
    put(&mut text, format_args!("ExecStartPost=-{rave}{RAVE} host await {machine} --container {directory}"));
    text.push_str(&load(parts));
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}
