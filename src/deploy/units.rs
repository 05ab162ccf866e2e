//! The units of a machine: the service that is the machine, and the looks at it from outside. Pure; systemd.exec(5),
//! systemd.service(5) and systemd.resource-control(5) are the reference, for systemd 252 and later.
//!
//! Programs run in the tree of tools that rave brought, read-only, with the image and the machine's own directory in it:
//! nothing else of the host's file system is there. The machine runs as a user that exists only while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::target::Machine as Declared;
use super::{CONFIG, PREFIX, STATE};
use crate::digest::Digest;
use crate::images::Manifest;
use crate::name::ImageName;
use crate::qemu;
use crate::qemu::args::{self, Boot, Decided, Hosted, Paths};
use crate::qemu::machine::{Accelerator, Choice, Credentials, Firmware, Forward, Machine, Profile};

/// Where the units' programs find the image.
pub const IMAGE: &str = "/image";
/// Where they find rave, in the tree of tools.
pub const RAVE: &str = "/usr/bin/rave";
/// File of a machine's own directory: its disk.
pub const DISK: &str = "disk.raw";
/// File below /run/rave/NAME: the host key that the guest reported.
pub const HOST_KEY: &str = "host-key";
/// File below /var/lib/rave-check/NAME: the report of the last look.
pub const REPORT: &str = "report.json";
/// The credential with the private key that the machine is checked with.
pub const KEY: &str = "key";
/// Credential with the address that all clients have in QEMU's user network, which whoever bans addresses must leave out.
pub const SHARED_ADDRESS: (&str, &str) = ("rave.shared-address", "10.0.2.2");
/// The firmware in the tree of tools.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What QEMU needs besides the guest's memory, in MiB.
const OVERHEAD: u64 = 512;
/// How long a machine may take to start and to shut down, in seconds.
const START: u32 = 900;
const STOP: u32 = 120;
/// What a look every few minutes leaves out: what uses up the clients' share of requests, leaves events behind, or costs
/// the machine much. After a deployment all of it is asked.
pub const SELDOM: [&str; 8] = [
    "https.burst",
    "https.slow",
    "https.malformed",
    "https.large-header",
    "https.webhook",
    "security.bans",
    "security.keys",
    "security.passwords",
];

/// What units are made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// The machine as the target has it.
    pub declared: &'a Declared,
    /// Its image.
    pub manifest: &'a Manifest,
    /// The programs that run it.
    pub tools: &'a Digest,
    /// Whether it has an identity to open secrets with.
    pub identity: bool,
}

/// The service of a machine.
pub fn service(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}.service")
}

/// The look after a deployment, at all; and the one every few minutes, with its timer.
pub fn verify(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}-verify.service")
}

/// See [`verify`].
pub fn health(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}-health.service")
}

/// See [`verify`].
pub fn timer(machine: &ImageName) -> String {
    format!("{PREFIX}{machine}-health.timer")
}

/// The machine's own directory as its units see it; on the host it is below /var/lib/private.
pub fn directory(machine: &ImageName) -> PathBuf {
    PathBuf::from(format!("/var/lib/rave-vm/{machine}"))
}

/// All units of a machine by name.
///
/// # Errors
/// The image asks for a machine that cannot be.
pub fn render(parts: &Parts<'_>) -> qemu::Result<BTreeMap<String, String>> {
    let name = &parts.declared.name;
    Ok([
        (service(name), machine(parts)?),
        (verify(name), look(parts, true)),
        (health(name), look(parts, false)),
        (timer(name), every(parts)),
    ]
    .into())
}

fn machine(parts: &Parts<'_>) -> qemu::Result<String> {
    let declared = parts.declared;
    let (name, title) = (&declared.name, title(parts));
    let credentials = credentials(parts);
    let machine = described(parts)?;
    machine.check()?;
    let own = directory(name);
    let decided = Decided { accelerator: declared.accelerator, forwards: machine.forwards.clone(), confined: true };
    let paths =
        Paths { directory: own.clone(), disk: own.join(DISK), boot: Boot::Uefi(CODE.into()), credentials: Vec::new() };
    let delivered = PathBuf::from(format!("/run/credentials/{}", service(name)));
    let hosted = Hosted { listen: declared.listen, directory: &delivered, credentials: &credentials };
    let command = command("/usr/bin/qemu-system-x86_64", &args::hosted(&machine, &decided, &paths, &hosted));
    let is_kvm = declared.accelerator == Accelerator::Kvm;
    let cache = if is_kvm { 0 } else { machine.profile.translation_cache };
    let memory = machine.profile.memory + cache + OVERHEAD;
    // One processor more than the guest's for what QEMU does beside it.
    let processors = (machine.profile.vcpus + 1) * 100;
    let low = machine.forwards.iter().any(|forward| forward.host < 1024);
    let capabilities = if low { "CAP_NET_BIND_SERVICE" } else { "" };
    let mut text = format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Virtual machine {name}: {title}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=1h
StartLimitBurst=10

[Service]
Type=exec
ExecStartPre={RAVE} host disk {name}
ExecStart={command}
ExecStartPost={RAVE} host await {name}
ExecStop={RAVE} host power-off {name}
TimeoutStartSec={START}
TimeoutStopSec={STOP}
Restart=on-failure
RestartSec=5
DynamicUser=yes
StateDirectory=rave-vm/{name}
StateDirectoryMode=0700
RuntimeDirectory=rave/{name}
RuntimeDirectoryMode=0755
"
    );
    for credential in &credentials {
        let encrypted = if credential == crate::secrets::identity::CREDENTIAL { "Encrypted" } else { "" };
        put(&mut text, format_args!("LoadCredential{encrypted}={credential}:{CONFIG}/{name}/credentials/{credential}"));
    }
    put(&mut text, format_args!("MemoryMax={memory}M\nCPUQuota={processors}%\nTasksMax=256\nLimitCORE=0"));
    if is_kvm {
        put(&mut text, format_args!("SupplementaryGroups=kvm\nDeviceAllow=/dev/kvm rw\nBindPaths=/dev/kvm"));
        put(&mut text, format_args!("MemoryDenyWriteExecute=yes"));
    }
    // Loopback and the addresses of clients: the guest's own traffic leaves through QEMU as well.
    put(&mut text, format_args!("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"));
    put(&mut text, format_args!("CapabilityBoundingSet={capabilities}\nAmbientCapabilities={capabilities}"));
    if !low {
        // A port below 1024 is opened by the right to do so, which counts for nothing in a user namespace.
        text.push_str("PrivateUsers=yes\n");
    }
    text.push_str(&sandbox(parts));
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// A look at the machine from outside. Root, because ssh asks who it is and there is nobody else in the tree of tools;
/// it has no capability, and so not what makes root different.
fn look(parts: &Parts<'_>, full: bool) -> String {
    let name = &parts.declared.name;
    let (word, option) = if full { ("after a deployment", " --full") } else { ("every few minutes", "") };
    let (address, ssh) = (reached(parts.declared), parts.declared.port(22));
    let sites: BTreeSet<u16> = parts.manifest.expect.https.values().map(|site| site.port).collect();
    // Several sites are tried at their own ports.
    let site = sites.first().filter(|_| sites.len() == 1);
    let https =
        site.map(|site| format!(" --https https://{address}:{}", parts.declared.port(*site))).unwrap_or_default();
    let allowed = if address.is_loopback() { "localhost".to_owned() } else { address.to_string() };
    let sandbox = sandbox(parts);
    let service = service(name);
    format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Look at virtual machine {name} from outside, {word}
After={service}

[Service]
Type=oneshot
ExecStart={RAVE} --quiet host look {name} --ssh {address}:{ssh}{https}{option}
TimeoutStartSec={START}
StateDirectory=rave-check/{name}
StateDirectoryMode=0700
LoadCredential={KEY}:{CONFIG}/{name}/id_ed25519
BindReadOnlyPaths=-/run/rave/{name}
MemoryMax=512M
CPUQuota=100%
TasksMax=256
LimitCORE=0
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET
IPAddressDeny=any
IPAddressAllow={allowed}
CapabilityBoundingSet=
PrivateUsers=yes
{sandbox}"
    )
}

fn every(parts: &Parts<'_>) -> String {
    let Declared { name, health, .. } = parts.declared;
    format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Look at virtual machine {name} from outside, every few minutes

[Timer]
OnActiveSec=2min
OnUnitInactiveSec={}s
RandomizedDelaySec=15s

[Install]
WantedBy=timers.target
",
        health.as_secs()
    )
}

/// What all programs of a machine are confined by.
fn sandbox(parts: &Parts<'_>) -> String {
    let (tools, disk) = (parts.tools, parts.manifest.disk.sha256);
    format!(
        "Environment=HOME=/root
RootDirectory={STATE}/tools/{tools}
BindReadOnlyPaths={STATE}/images/{disk}:{IMAGE}
MountAPIVFS=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateTmp=yes
PrivateMounts=yes
PrivateIPC=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
NoNewPrivileges=yes
LockPersonality=yes
KeyringMode=private
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
"
    )
}

/// The machine as QEMU's arguments are made of it.
fn described(parts: &Parts<'_>) -> qemu::Result<Machine> {
    let Parts { declared, manifest, .. } = parts;
    let profile =
        Profile { memory: manifest.machine.memory, vcpus: manifest.machine.vcpus, ..Profile::of(manifest.mode)? };
    let mut guests: Vec<u16> = manifest.expect.https.values().map(|site| site.port).collect();
    guests.push(22);
    guests.extend(declared.ports.keys());
    guests.sort_unstable();
    guests.dedup();
    Ok(Machine {
        name: declared.name.clone(),
        disk: directory(&declared.name).join(DISK),
        disk_size: manifest.disk_size,
        profile,
        firmware: Firmware::Uefi { code: CODE.into(), vars: PathBuf::new() },
        forwards: guests.into_iter().map(|guest| Forward { host: declared.port(guest), guest }).collect(),
        credentials: Credentials::default(),
        ssh_credential: None,
        accelerator: Choice::Auto,
        persist: true,
        detach: true,
        debug: None,
        rehearsal: None,
    })
}

/// Names of the credentials that the machine is given.
pub fn credentials(parts: &Parts<'_>) -> Vec<String> {
    let user = parts.manifest.expect.ssh.as_ref().map(|ssh| authorized_keys(&ssh.user));
    let identity = parts.identity.then(|| crate::secrets::identity::CREDENTIAL.to_owned());
    user.into_iter().chain(identity).chain([SHARED_ADDRESS.0.to_owned()]).collect()
}

/// The credential that lets keys log in as a user (systemd.system-credentials(7)).
pub fn authorized_keys(user: &str) -> String {
    format!("ssh.authorized_keys.{user}")
}

/// The address at which the host itself reaches the machine.
fn reached(declared: &Declared) -> Ipv4Addr {
    if declared.listen.is_unspecified() { Ipv4Addr::LOCALHOST } else { declared.listen }
}

fn title(parts: &Parts<'_>) -> String {
    format!("{} {} ({})", parts.manifest.image, parts.manifest.version, parts.manifest.mode)
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// A command line as systemd.service(5) reads it, an option and its values on each line.
fn command(program: &str, arguments: &[OsString]) -> String {
    let mut text = program.to_owned();
    for argument in arguments {
        let word = argument.to_string_lossy();
        text.push_str(if word.starts_with('-') { " \\\n  " } else { " " });
        text.push_str(&quoted(&word));
    }
    text
}

/// One word in which nothing is expanded.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            // systemd reads such an escape as one byte.
            c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                let _ = write!(text, "\\x{byte:02x}");
            }),
            c => text.push(c),
        }
    }
    text + "\""
}

/// Where a host keeps an image.
pub fn image_path(disk: &Digest) -> PathBuf {
    Path::new(STATE).join("images").join(disk.to_string())
}

/// Where a host keeps programs.
pub fn tools_path(tools: &Digest) -> PathBuf {
    Path::new(STATE).join("tools").join(tools.to_string())
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
