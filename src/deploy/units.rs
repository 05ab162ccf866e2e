//! The units of a machine: the service that is the machine, and the looks at it from outside. Pure; systemd.exec(5),
//! systemd.service(5) and systemd.resource-control(5) are the reference, for systemd 252 and later.
//!
//! Programs run in the tree of tools that rave brought, read-only, with the image and the machine's own directory in it:
//! nothing else of the host's file system is there. The machine runs as a user that exists only while it runs.

pub mod container;
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::target::Machine as Declared;
use super::{CONFIG, PREFIX, QUADLETS, STATE, UNITS};
use crate::digest::Digest;
use crate::images::Manifest;
use crate::name::ImageName;
use crate::qemu;
use crate::qemu::machine::Accelerator;

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
/// Credential with the address that many clients share, which whoever bans addresses must leave out: in QEMU's user network
/// all of them, in podman's own network those of the host itself, the looks among them.
pub const SHARED_ADDRESS: &str = "rave.shared-address";
/// How long a machine may take to start and to shut down, in seconds.
const START: u32 = 900;
const STOP: u32 = 120;
/// What a look every few minutes leaves out: what uses up the clients' share of requests, leaves events behind, tells
/// somebody, or costs the machine much. After a deployment all of it is asked.
pub const SELDOM: [&str; 9] = [
    "https.burst",
    "https.slow",
    "https.malformed",
    "https.large-header",
    "https.webhook",
    "monitoring.alertmanager.delivery",
    "security.bans",
    "security.keys",
    "security.passwords",
];

/// The [`SHARED_ADDRESS`] in the network of a container or of a virtual machine.
pub const fn shared_address(container: bool) -> &'static str {
    if container { "10.88.0.1" } else { "10.0.2.2" }
}

/// What units are made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// The machine as the target has it.
    pub declared: &'a Declared,
    /// Its image.
    pub manifest: &'a Manifest,
    /// The programs that run or check it.
    pub tools: &'a Digest,
    /// As what it runs.
    pub form: Form,
    /// Whether it has an identity to open secrets with.
    pub identity: bool,
    /// Digest of the keys and the identity that it is given.
    pub given: &'a Digest,
}

/// As what an image runs on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A virtual machine.
    Machine {
        /// What runs its instructions.
        accelerator: Accelerator,
        /// Digest of the disk.
        disk: Digest,
    },
    /// A container.
    Container {
        /// Digest of the archive that podman takes.
        archive: Digest,
        /// Digest of the manifest in it, by which podman knows the image.
        image: Digest,
    },
}

impl Form {
    /// The digest by which a host keeps the image.
    pub const fn kept(&self) -> &Digest {
        match self {
            Self::Machine { disk: digest, .. } | Self::Container { archive: digest, .. } => digest,
        }
    }

    /// What podman knows the image by, if it is a container.
    pub fn container(&self, image: &ImageName) -> Option<String> {
        match self {
            Self::Machine { .. } => None,
            Self::Container { image: digest, .. } => Some(container::image(image, digest)),
        }
    }

    /// The word for it in units.
    const fn word(&self) -> &'static str {
        match self {
            Self::Machine { .. } => "virtual machine",
            Self::Container { .. } => "container",
        }
    }
}

/// Where the file of a unit is on a host; that of a container podman's generator makes a service of.
pub fn place(unit: &str) -> PathBuf {
    Path::new(if unit.ends_with(container::SUFFIX) { QUADLETS } else { UNITS }).join(unit)
}

/// The name under which systemd knows the unit that is made of a file.
pub fn loaded(unit: &str) -> String {
    unit.strip_suffix(container::SUFFIX).map_or_else(|| unit.to_owned(), |name| format!("{name}.service"))
}

/// systemctl's verbs by which a machine starts with its host, and does not. What a generator makes is started if its
/// file says so and is not masked; it can be neither enabled nor disabled.
pub const fn wanted(container: bool) -> (&'static str, &'static str) {
    if container { ("unmask", "mask") } else { ("enable", "disable") }
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
    let (unit, text) = match &parts.form {
        Form::Machine { accelerator, .. } => (service(name), vm::render(parts, *accelerator)?),
        Form::Container { archive, image } => (container::unit(name), container::render(parts, archive, image)),
    };
    Ok([
        (unit, text),
        (verify(name), look(parts, true)),
        (health(name), look(parts, false)),
        (timer(name), every(parts)),
    ]
    .into())
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
    let (sandbox, service, form) = (sandbox(parts), service(name), parts.form.word());
    // What is sent to a port of this host is on its way to a container when its address is looked at.
    let (option, addresses) = match parts.form {
        Form::Machine { .. } => (option.to_owned(), format!("IPAddressDeny=any\nIPAddressAllow={allowed}\n")),
        Form::Container { .. } => (format!("{option} --container"), String::new()),
    };
    format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Look at {form} {name} from outside, {word}
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
{addresses}CapabilityBoundingSet=
PrivateUsers=yes
{sandbox}"
    )
}

fn every(parts: &Parts<'_>) -> String {
    let Declared { name, health, .. } = parts.declared;
    let form = parts.form.word();
    format!(
        "# Made by `rave deploy`; the next deployment replaces it.
[Unit]
Description=Look at {form} {name} from outside, every few minutes

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
    let (tools, kept) = (parts.tools, parts.form.kept());
    format!(
        "Environment=HOME=/root
RootDirectory={STATE}/tools/{tools}
BindReadOnlyPaths={STATE}/images/{kept}:{IMAGE}
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

/// Names of the credentials that the machine is given.
pub fn credentials(parts: &Parts<'_>) -> Vec<String> {
    let user = parts.manifest.expect.ssh.as_ref().map(|ssh| authorized_keys(&ssh.user));
    let identity = parts.identity.then(|| crate::secrets::identity::CREDENTIAL.to_owned());
    user.into_iter().chain(identity).chain([SHARED_ADDRESS.to_owned()]).collect()
}

/// What has a unit given those credentials.
fn load(parts: &Parts<'_>) -> String {
    let name = &parts.declared.name;
    let line = |credential: &String| {
        let encrypted = if credential == crate::secrets::identity::CREDENTIAL { "Encrypted" } else { "" };
        format!("LoadCredential{encrypted}={credential}:{CONFIG}/{name}/credentials/{credential}\n")
    };
    let mut text: String = credentials(parts).iter().map(line).collect();
    // systemd passes over it (systemd.unit(5)): whoever is given something else is another unit, and starts anew.
    put(&mut text, format_args!("X-Given={}", parts.given));
    text
}

/// The credential that lets keys log in as a user (systemd.system-credentials(7)).
pub fn authorized_keys(user: &str) -> String {
    format!("ssh.authorized_keys.{user}")
}

/// The address at which the host itself reaches the machine.
fn reached(declared: &Declared) -> Ipv4Addr {
    if declared.listen.is_unspecified() { Ipv4Addr::LOCALHOST } else { declared.listen }
}

/// The ports of the host that lead to the machine, each with the port that it leads to.
fn ports(parts: &Parts<'_>) -> Vec<(u16, u16)> {
    let sites = parts.manifest.expect.https.values().map(|site| site.port);
    let guests: BTreeSet<u16> = sites.chain([22]).chain(parts.declared.ports.keys().copied()).collect();
    guests.into_iter().map(|guest| (parts.declared.port(guest), guest)).collect()
}

fn title(parts: &Parts<'_>) -> String {
    format!("{} {} ({})", parts.manifest.image, parts.manifest.version, parts.manifest.mode)
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
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
fn image_path(disk: &Digest) -> PathBuf {
    Path::new(STATE).join("images").join(disk.to_string())
}

/// Where a host keeps programs.
fn tools_path(tools: &Digest) -> PathBuf {
    Path::new(STATE).join("tools").join(tools.to_string())
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
