//! Targets: YAML files that say where an image runs. Read strictly, and all that is wrong is told at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::Place;
use super::cloud::{Declared, Provider};
use super::kubevirt::Cluster;
use crate::modules::fields::{self, nearest};
use crate::modules::yaml::{self, Node};
use crate::name::ImageName;
use crate::origin::{Diagnostic, Origin, Source};
use crate::qemu::machine::Accelerator;
use crate::quantity;

/// What all kinds have.
const KEYS: [&str; 5] = ["description", "kind", "identity", "authorized-keys", "machines"];
const MACHINE: [&str; 4] = ["host", "listen", "ports", "health"];
/// What only machines of [`Kind::Qemu`] have.
const ACCELERATOR: &str = "accelerator";
/// Where the guest's SSH is reached unless the target says otherwise.
const SSH: (u16, u16) = (22, 2222);
/// Who logs in on a host unless the target names somebody.
const USER: &str = "root";
/// How often a machine is looked at, and the bounds of that.
const HEALTH: Duration = Duration::from_secs(300);
const SOONEST: Duration = Duration::from_secs(60);
/// The longest time between two looks at a machine.
pub const LATEST: Duration = Duration::from_secs(24 * 3600);
/// The longest name of a machine, which is also a part of the names of its units and of its user.
const NAME: usize = 24;

/// What runs the machines of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Services of hosts that run QEMU.
    Qemu,
    /// Services of hosts that run a container by podman.
    Podman,
    /// KubeVirt, in a cluster of Kubernetes.
    Kubevirt,
    /// A cloud.
    Cloud(Provider),
}

/// All kinds by name.
const KINDS: [(&str, Kind); 6] = [
    ("qemu", Kind::Qemu),
    ("podman", Kind::Podman),
    ("kubevirt", Kind::Kubevirt),
    ("aws", Kind::Cloud(Provider::Aws)),
    ("gcp", Kind::Cloud(Provider::Gcp)),
    ("azure", Kind::Cloud(Provider::Azure)),
];

impl Kind {
    /// The keys of a target that only this kind has, of those that share the others.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Qemu | Self::Podman | Self::Cloud(_) => &[],
            Self::Kubevirt => &Cluster::KEYS,
        }
    }

    fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// Where an image is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name: that of its file.
    pub name: String,
    /// What runs its machines.
    pub kind: Kind,
    /// What it says of a cloud, if it is one. There are no `machines` then.
    pub cloud: Option<Declared>,
    /// What it is for.
    pub description: String,
    /// File of the age identity that its machines open their secrets with.
    pub identity: Option<String>,
    /// Public keys of people who may log in, as OpenSSH writes them.
    pub authorized_keys: Vec<String>,
    /// Its machines on hosts, in the order of their roll-out; none: its kind has no hosts.
    pub machines: Vec<Machine>,
    /// Where [`Kind::Kubevirt`] runs its machines.
    pub cluster: Option<Cluster>,
}

/// What runs a machine on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// QEMU, with what runs the guest's instructions.
    Qemu(Accelerator),
    /// The host's podman: the machine is a container.
    Podman,
}

/// One machine of a target: a service of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name; one machine of a name is on a host at a time.
    pub name: ImageName,
    /// Where it is declared.
    pub origin: Origin,
    /// The host, if it is another one.
    pub host: Option<Place>,
    /// The host's address at which its ports are open.
    pub listen: Ipv4Addr,
    /// Ports of the host by ports of the guest, where they differ from what is usual.
    pub ports: BTreeMap<u16, u16>,
    /// What runs it.
    pub engine: Engine,
    /// How often it is looked at from outside.
    pub health: Duration,
}

impl Machine {
    /// The host's port that leads to a port of the guest.
    pub fn port(&self, guest: u16) -> u16 {
        let usual = if guest == SSH.0 { SSH.1 } else { guest };
        self.ports.get(&guest).copied().unwrap_or(usual)
    }

    /// The host, for people.
    pub fn host_name(&self) -> String {
        self.host.as_ref().map_or_else(|| "this host".to_owned(), |host| format!("{}@{}", host.user, host.host))
    }
}

impl Target {
    /// Reads a target; `name` is that of its file without `.yaml`.
    ///
    /// # Errors
    /// All that is wrong with the text, each with its place and a remedy.
    pub fn parse(name: &str, source: &Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        let root = yaml::parse(source)?;
        let mut errors = Vec::new();
        let kind = kind(&root, &mut errors);
        if let Some(Kind::Cloud(provider)) = kind {
            return Self::cloud(name, &root, provider, errors);
        }
        let keys = [&KEYS[..], kind.map_or(&[][..], Kind::keys)].concat();
        fields::entries(&root, "a target", &keys, &mut errors);
        let text = |key: &str, errors: &mut Vec<Diagnostic>| {
            root.get(key).and_then(|node| fields::text(node, &format!("`{key}`"), errors))
        };
        let description = text("description", &mut errors).unwrap_or_default();
        let identity = text("identity", &mut errors);
        let authorized_keys =
            root.get("authorized-keys").map(|node| public_keys(node, &mut errors)).unwrap_or_default();
        let (mut machines, mut cluster) = (Vec::new(), None);
        match kind {
            Some(kind @ (Kind::Qemu | Kind::Podman)) => machines = hosted(&root, kind, &mut errors),
            Some(Kind::Kubevirt) => cluster = Cluster::parse(&root, &mut errors),
            Some(Kind::Cloud(_)) | None => {}
        }
        let target = |kind| Self {
            name: name.to_owned(),
            description,
            kind,
            cloud: None,
            identity,
            authorized_keys,
            machines,
            cluster,
        };
        kind.filter(|_| errors.is_empty()).map(target).ok_or(errors)
    }

    fn cloud(
        name: &str,
        root: &Node,
        provider: Provider,
        mut errors: Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let declared = Declared::parse(root, provider, &mut errors);
        let description = root.get("description").and_then(|node| fields::text(node, "`description`", &mut errors));
        match declared {
            Some(declared) if errors.is_empty() => Ok(Self {
                name: name.to_owned(),
                kind: Kind::Cloud(provider),
                cloud: Some(declared),
                description: description.unwrap_or_default(),
                identity: None,
                authorized_keys: Vec::new(),
                machines: Vec::new(),
                cluster: None,
            }),
            _ => Err(errors),
        }
    }
}

/// The key `kind`, or what it probably was to be: what else is wrong is told all the same.
fn kind(root: &Node, errors: &mut Vec<Diagnostic>) -> Option<Kind> {
    let names = KINDS.map(|(name, _)| name);
    let Some(node) = root.get("kind") else {
        let missing = Diagnostic::error(&root.origin, "the target has no `kind`");
        errors.push(missing.help(format!("the kinds are {}", names.join(", "))));
        return None;
    };
    let text = fields::text(node, "`kind`", errors)?;
    if let Some(kind) = Kind::named(&text) {
        return Some(kind);
    }
    let near = nearest(&text, names);
    let unknown = Diagnostic::error(&node.origin, format!("unknown kind `{}` of target", yaml::shorten(&text)));
    errors.push(match near {
        Some(near) => unknown.help(format!("did you mean `{near}`?")),
        None => unknown.help(format!("the kinds are {}", names.join(", "))),
    });
    near.and_then(Kind::named)
}

/// The machines of a kind that has hosts.
fn hosted(root: &Node, kind: Kind, errors: &mut Vec<Diagnostic>) -> Vec<Machine> {
    let machines: Vec<Machine> = match root.get("machines") {
        Some(node) => fields::map(node, "`machines`", errors)
            .iter()
            .filter_map(|(key, node)| machine(&key.text, &key.origin, node, kind, errors))
            .collect(),
        None => Vec::new(),
    };
    if machines.is_empty() && errors.is_empty() {
        errors.push(
            Diagnostic::error(&root.origin, "the target has no machines")
                .help("write `machines: { NAME: { host: root@HOST } }`, or `machines: { NAME: {} }` for this host"),
        );
    }
    clashes(&machines, errors);
    machines
}

fn public_keys(node: &Node, errors: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut keys = Vec::new();
    for (text, origin) in fields::texts(node, "`authorized-keys`", errors) {
        match ssh_key::PublicKey::from_openssh(text.trim()).and_then(|key| key.to_openssh()) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push(
                Diagnostic::error(&origin, format!("this is no public key: {error}"))
                    .help("it is a line of a .pub file, such as `ssh-ed25519 AAAAC3... ana`"),
            ),
        }
    }
    keys
}

fn machine(name: &str, origin: &Origin, node: &Node, kind: Kind, errors: &mut Vec<Diagnostic>) -> Option<Machine> {
    let before = errors.len();
    if !node.is_null() {
        let own: &[&str] = if kind == Kind::Qemu { &[ACCELERATOR] } else { &[] };
        fields::entries(node, "a machine", &[&MACHINE[..], own].concat(), errors);
    }
    let name = machine_name(name, origin, errors);
    let mut parse = |key: &str, wanted: &str, read: &mut dyn FnMut(&str) -> bool| {
        let Some(node) = node.get(key) else { return };
        let Some(text) = fields::text(node, &format!("`{key}`"), errors) else { return };
        if !read(&text) {
            let wrong = Diagnostic::error(&node.origin, format!("`{key}` must not be `{}`", yaml::shorten(&text)));
            errors.push(wrong.help(wanted));
        }
    };
    let (mut host, mut listen, mut health) = (None, Ipv4Addr::LOCALHOST, HEALTH);
    let mut accelerator = Accelerator::Kvm;
    parse("host", "write USER@HOST or USER@HOST:PORT, as ssh takes it", &mut |text| {
        host = Place::parse(text, Some(USER)).ok();
        host.is_some()
    });
    parse("listen", "write an address of IPv4: 127.0.0.1 for this host only, 0.0.0.0 for all", &mut |text| {
        text.parse().map(|address| listen = address).is_ok()
    });
    parse(ACCELERATOR, "kvm, or tcg for software emulation, which is some ten times slower", &mut |text| match text {
        "kvm" => true,
        "tcg" => {
            accelerator = Accelerator::Tcg;
            true
        }
        _ => false,
    });
    parse("health", "write a duration between 1m and 1d, such as 5m", &mut |text| {
        let asked = quantity::milliseconds(text).map(Duration::from_millis);
        asked.filter(|time| (SOONEST..=LATEST).contains(time)).map(|time| health = time).is_some()
    });
    let ports = node.get("ports").map(|node| ports(node, errors)).unwrap_or_default();
    (errors.len() == before).then_some(())?;
    let engine = if kind == Kind::Podman { Engine::Podman } else { Engine::Qemu(accelerator) };
    Some(Machine { name: name?, origin: origin.clone(), host, listen, ports, engine, health })
}

/// The name of a machine, of any kind.
pub(super) fn machine_name(name: &str, origin: &Origin, errors: &mut Vec<Diagnostic>) -> Option<ImageName> {
    match name.parse::<ImageName>() {
        Ok(name) if name.as_str().len() <= NAME => return Some(name),
        Ok(_) => {
            let long = Diagnostic::error(origin, format!("the name of a machine has at most {NAME} letters"));
            errors.push(long.help("names of units and users are made of it"));
        }
        Err(error) => errors.push(Diagnostic::error(origin, error.to_string())),
    }
    None
}

fn ports(node: &Node, errors: &mut Vec<Diagnostic>) -> BTreeMap<u16, u16> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let mut ports = BTreeMap::new();
    for (key, value) in fields::map(node, "`ports`", errors) {
        let Some(text) = fields::text(value, "a port", errors) else { continue };
        match (port(&key.text), port(&text)) {
            (Some(guest), Some(host)) => drop(ports.insert(guest, host)),
            _ => errors.push(
                Diagnostic::error(&key.origin, "a port is a number from 1 to 65535")
                    .help("write `PORT-OF-THE-MACHINE: PORT-OF-THE-HOST`, such as `3002: 443`"),
            ),
        }
    }
    ports
}

/// Two machines of one host that want the same port.
fn clashes(machines: &[Machine], errors: &mut Vec<Diagnostic>) {
    let mut taken: BTreeMap<(Option<&Place>, u16), &Machine> = BTreeMap::new();
    for machine in machines {
        let mut own: Vec<u16> = machine.ports.values().copied().collect();
        own.push(machine.port(SSH.0));
        own.sort_unstable();
        own.dedup();
        for port in own {
            if let Some(other) = taken.insert((machine.host.as_ref(), port), machine) {
                let clash = format!("port {port} of {} is taken twice", machine.host_name());
                errors.push(
                    Diagnostic::error(&machine.origin, clash)
                        .label(&other.origin, "first here")
                        .help("give one of them another with `ports: { 22: 2223 }`"),
                );
            }
        }
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
