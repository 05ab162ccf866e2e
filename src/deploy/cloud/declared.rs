//! What a target says of a cloud: which one, where in it, and its machines there.

use std::time::Duration;

use crate::digest::Canonical;
use crate::modules::fields;
use crate::modules::yaml::{self, Node};
use crate::name::ImageName;
use crate::origin::{Diagnostic, Origin};
use crate::quantity;

/// The longest value, in bytes.
const LONGEST: usize = 200;
/// The longest name of a machine: names of instances are made of it.
const NAME: usize = 24;
/// How long a new machine may take until its console shows its host key, and the bounds of that.
const BOOT: Duration = Duration::from_secs(900);
const SOONEST: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_secs(2 * 3600);

/// A cloud, and where in it machines run. Each text is one word that no tool takes for an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Amazon Web Services.
    Aws {
        /// Region.
        region: String,
        /// Profile of the client's configuration.
        profile: Option<String>,
        /// Address of its services, where it is not the usual one.
        endpoint: Option<String>,
    },
    /// Google Cloud.
    Gcp {
        /// Project.
        project: String,
        /// Zone.
        zone: String,
        /// Bucket that the disk goes through.
        bucket: String,
    },
    /// Microsoft Azure.
    Azure {
        /// Subscription, if not the client's own.
        subscription: Option<String>,
        /// Resource group.
        resource_group: String,
        /// Location.
        location: String,
        /// Storage account that the disk goes through.
        storage_account: String,
        /// Its container.
        container: String,
    },
}

/// One machine in a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: ImageName,
    /// Where it is declared.
    pub origin: Origin,
    /// Type of instance, machine type or size, as the provider calls it.
    pub size: String,
    /// File of its user-data, below the project or an absolute path.
    pub user_data: String,
    /// Whether it is reached at its public address.
    pub is_public: bool,
    /// Virtual network (Azure).
    pub vnet: Option<String>,
    /// Subnet.
    pub subnet: Option<String>,
    /// Security groups (AWS, one of Azure) or network tags (GCP).
    pub groups: Vec<String>,
    /// What it may do in the cloud: an instance profile (AWS) or a service account (GCP).
    pub account: Option<String>,
}

/// What a target says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The cloud.
    pub place: Place,
    /// File of the private key that checks log in with. Azure needs its public half beside it.
    pub ssh_key: String,
    /// How long a new machine may take until its console shows its host key.
    pub boot: Duration,
    /// Its machines, in the order of their roll-out.
    pub machines: Vec<Machine>,
}

/// What each cloud calls the keys of a machine: size, groups, account; and those that it needs besides.
struct Keys {
    place: &'static [&'static str],
    machine: &'static [&'static str],
    size: (&'static str, &'static str),
    groups: &'static str,
    account: &'static str,
}

const AWS: Keys = Keys {
    place: &["region", "profile", "endpoint"],
    machine: &["instance-type", "user-data", "address", "subnet", "security-groups", "instance-profile"],
    size: ("instance-type", "t3.small"),
    groups: "security-groups",
    account: "instance-profile",
};
const GCP: Keys = Keys {
    place: &["project", "zone", "bucket"],
    machine: &["machine-type", "user-data", "address", "subnet", "network-tags", "service-account"],
    size: ("machine-type", "e2-small"),
    groups: "network-tags",
    account: "service-account",
};
const AZURE: Keys = Keys {
    place: &["subscription", "resource-group", "location", "storage-account", "container"],
    machine: &["size", "user-data", "address", "vnet", "subnet", "security-group"],
    size: ("size", "Standard_B2s"),
    groups: "security-group",
    account: "",
};
/// What every target may say.
const SHARED: [&str; 5] = ["description", "kind", "ssh-key", "boot", "machines"];

/// A cloud by the name of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// `aws`
    Aws,
    /// `gcp`
    Gcp,
    /// `azure`
    Azure,
}

impl Declared {
    /// Reads what `root`, the whole of a target, says of a cloud. All that is wrong is added to `errors`.
    pub(crate) fn parse(root: &Node, provider: Provider, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let keys = match provider {
            Provider::Aws => &AWS,
            Provider::Gcp => &GCP,
            Provider::Azure => &AZURE,
        };
        let known: Vec<&str> = SHARED.iter().chain(keys.place).copied().collect();
        fields::entries(root, "a target", &known, errors);
        let place = place(root, provider, errors);
        let ssh_key = root.get("ssh-key").and_then(|node| path(node, "`ssh-key`", errors));
        if root.get("ssh-key").is_none() {
            errors.push(missing(&root.origin, "the target", "ssh-key", "keys/check"));
        }
        let boot = boot(root, errors);
        let before = errors.len();
        let entries = root.get("machines").map(|node| fields::map(node, "`machines`", errors)).unwrap_or_default();
        if entries.is_empty() && errors.len() == before {
            let none = Diagnostic::error(&root.origin, "the target has no machines");
            let (size, example) = keys.size;
            errors.push(none.help(format!("write `machines: {{ NAME: {{ {size}: {example}, user-data: FILE }} }}`")));
        }
        let machines: Vec<Machine> =
            entries.iter().filter_map(|(key, node)| machine(&key.text, &key.origin, node, keys, errors)).collect();
        (machines.len() == entries.len() && !machines.is_empty()).then_some(Self {
            place: place?,
            ssh_key: ssh_key?,
            boot,
            machines,
        })
    }
}

fn place(root: &Node, provider: Provider, errors: &mut Vec<Diagnostic>) -> Option<Place> {
    Some(match provider {
        Provider::Aws => {
            let region = needed(root, "the target", "region", "eu-central-1", errors);
            let profile = value(root, "profile", errors);
            let endpoint = value(root, "endpoint", errors);
            let is_url = |url: &String| ["https://", "http://"].iter().any(|head| url.starts_with(head));
            if let (Some(node), Some(url)) = (root.get("endpoint"), &endpoint)
                && !is_url(url)
            {
                let wrong = Diagnostic::error(&node.origin, "`endpoint` is an address of http or https");
                errors.push(wrong.help("leave it out for AWS itself"));
            }
            Place::Aws { region: region?, profile, endpoint }
        }
        Provider::Gcp => {
            let project = needed(root, "the target", "project", "shop-123456", errors);
            let zone = needed(root, "the target", "zone", "europe-west3-a", errors);
            let bucket = needed(root, "the target", "bucket", "shop-images", errors);
            Place::Gcp { project: project?, zone: zone?, bucket: bucket? }
        }
        Provider::Azure => {
            let subscription = value(root, "subscription", errors);
            let resource_group = needed(root, "the target", "resource-group", "shop", errors);
            let location = needed(root, "the target", "location", "westeurope", errors);
            let storage_account = needed(root, "the target", "storage-account", "shopimages", errors);
            let container = needed(root, "the target", "container", "images", errors);
            Place::Azure {
                subscription,
                resource_group: resource_group?,
                location: location?,
                storage_account: storage_account?,
                container: container?,
            }
        }
    })
}

/// How long machines may take to start.
fn boot(root: &Node, errors: &mut Vec<Diagnostic>) -> Duration {
    let Some(node) = root.get("boot") else { return BOOT };
    let Some(text) = fields::text(node, "`boot`", errors) else { return BOOT };
    let asked = quantity::milliseconds(&text).map(Duration::from_millis);
    asked.filter(|time| (SOONEST..=LATEST).contains(time)).unwrap_or_else(|| {
        let wrong = Diagnostic::error(&node.origin, format!("`boot` must not be `{}`", yaml::shorten(&text)));
        errors.push(wrong.help("write a duration between 10s and 2h, such as 15m"));
        BOOT
    })
}

fn machine(name: &str, origin: &Origin, node: &Node, keys: &Keys, errors: &mut Vec<Diagnostic>) -> Option<Machine> {
    let before = errors.len();
    fields::entries(node, "a machine", keys.machine, errors);
    let name = match name.parse::<ImageName>() {
        Ok(name) if name.as_str().len() <= NAME => Some(name),
        Ok(_) => {
            let long = Diagnostic::error(origin, format!("the name of a machine has at most {NAME} letters"));
            errors.push(long.help("names of instances are made of it"));
            None
        }
        Err(error) => {
            errors.push(Diagnostic::error(origin, error.to_string()));
            None
        }
    };
    let size = needed_at(node, origin, "the machine", keys.size.0, keys.size.1, errors);
    let user_data = match node.get("user-data") {
        Some(node) => path(node, "`user-data`", errors),
        None => {
            let missing = Diagnostic::error(origin, "the machine has no `user-data`, so that nobody could log in");
            errors.push(missing.help("`rave cloud-init render IMAGE --ssh-key KEY.pub --output FILE` writes one"));
            None
        }
    };
    let is_public = match value(node, "address", errors).as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(other) => {
            let place = node.get("address").map_or(origin, |node| &node.origin);
            let wrong = Diagnostic::error(place, format!("`address` must not be `{}`", yaml::shorten(other)));
            errors.push(wrong.help("public, or private for a machine that is reached at its address in the subnet"));
            true
        }
    };
    let is_azure = keys.groups == AZURE.groups;
    let (vnet, subnet) = (value(node, "vnet", errors), value(node, "subnet", errors));
    let groups = match node.get(keys.groups) {
        Some(node) if is_azure => word(node, keys.groups, errors).into_iter().collect(),
        Some(node) => fields::texts(node, &format!("`{}`", keys.groups), errors)
            .into_iter()
            .filter_map(|(text, origin)| checked(text, &origin, keys.groups, errors))
            .collect(),
        None => Vec::new(),
    };
    if is_azure {
        // Without them the client makes networks and rules of its own, which would stay when the machine goes.
        for (key, example) in [("vnet", "shop-net"), ("subnet", "web"), ("security-group", "web")] {
            if node.get(key).is_none() {
                errors.push(missing(origin, "the machine", key, example));
            }
        }
    }
    let account = if keys.account.is_empty() { None } else { value(node, keys.account, errors) };
    (errors.len() == before).then_some(())?;
    let (name, origin) = (name?, origin.clone());
    Some(Machine { name, origin, size: size?, user_data: user_data?, is_public, vnet, subnet, groups, account })
}

fn missing(origin: &Origin, what: &str, key: &str, example: &str) -> Diagnostic {
    Diagnostic::error(origin, format!("{what} has no `{key}`")).help(format!("such as `{key}: {example}`"))
}

fn needed(root: &Node, what: &str, key: &str, example: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    needed_at(root, &root.origin, what, key, example, errors)
}

fn needed_at(
    node: &Node,
    origin: &Origin,
    what: &str,
    key: &str,
    example: &str,
    errors: &mut Vec<Diagnostic>,
) -> Option<String> {
    if node.get(key).is_none() {
        errors.push(missing(origin, what, key, example));
    }
    value(node, key, errors)
}

fn value(node: &Node, key: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    word(node.get(key)?, key, errors)
}

fn word(node: &Node, key: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let text = fields::text(node, &format!("`{key}`"), errors)?;
    checked(text, &node.origin, key, errors)
}

/// One word that no tool takes for an option, a list or a file.
fn checked(text: String, origin: &Origin, key: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    if text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(plain)
    {
        return Some(text);
    }
    let wrong = Diagnostic::error(origin, format!("`{key}` must not be `{}`", yaml::shorten(&text)));
    errors.push(wrong.help(format!("letters, digits and -_.:/@, at most {LONGEST}, beginning with a letter or digit")));
    None
}

/// The name of a file.
fn path(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let text = fields::text(node, what, errors)?;
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        errors.push(Diagnostic::error(&node.origin, format!("{what} is no name of a file")).help("such as web-1.yaml"));
        return None;
    }
    Some(text)
}

impl Machine {
    /// What tells that the instance of a machine is still as it was declared: all that goes into it but the image.
    pub fn config(&self, user_data: &[u8]) -> String {
        let mut digest = Canonical::new("rave cloud machine 1");
        digest.field(&self.size).field(user_data).field([u8::from(self.is_public)]);
        for text in [&self.vnet, &self.subnet, &self.account] {
            digest.field(text.as_deref().unwrap_or_default());
        }
        for group in &self.groups {
            digest.field(group);
        }
        short(&digest.finish().to_string(), 16)
    }
}

/// The beginning of a digest, in so many hexadecimal digits.
pub fn short(digest: &str, digits: usize) -> String {
    digest.chars().take(digits).collect()
}
