//! What a running machine is held against.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{GuestPath, OptionPath};
use crate::probe::{HttpUrl, JsonPath, Place, Rate, Scheme, SigningScheme, Suite};
/// What the running machine is held against. Each value names the option that asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Units that must be active.
    pub units: BTreeMap<String, OptionPath>,
    /// Sockets that may listen on other than loopback addresses: `tcp/22`, `udp/68`.
    pub open: BTreeMap<String, OptionPath>,
    /// Sockets that may listen on loopback only.
    pub local: BTreeMap<String, OptionPath>,
    /// Programs that run as another user or group than their caller.
    pub set_id: BTreeSet<GuestPath>,
    /// By whom what has no option beside it is asked for: such programs by their path, parameters of the kernel as written.
    #[serde(default)]
    pub asked_by: BTreeMap<String, OptionPath>,
    /// Files that may hold a private key or password hash which is no secret: patterns of paths, each with the reason.
    #[serde(default)]
    pub key_allow: Vec<(String, String)>,
    /// sysctl settings, by dotted name.
    pub sysctl: BTreeMap<String, (String, OptionPath)>,
    /// Mount points and the options each must have.
    pub mounts: BTreeMap<GuestPath, (BTreeSet<String>, OptionPath)>,
    /// Files of secrets by path below /run/secrets.
    pub secrets: BTreeMap<String, ExpectedSecret>,
    /// Resource limits of units: unit, property as systemd names it, value as the kernel gives it.
    pub limits: BTreeMap<String, BTreeMap<String, (String, OptionPath)>>,
    /// What systemd keeps processes of a service from: unit, property and its value as systemd tells them.
    #[serde(default)]
    pub sandbox: BTreeMap<String, (BTreeMap<String, String>, OptionPath)>,
    /// sshd settings as `sshd -T` would name them: the user who may log in, algorithms.
    pub ssh: Option<Ssh>,
    /// What the machine serves over HTTPS, by the name of the site.
    #[serde(default)]
    pub https: BTreeMap<String, Https>,
    /// Certificates in PEM that must not end soon, by their files.
    #[serde(default)]
    pub certificates: BTreeMap<GuestPath, OptionPath>,
    /// Error-level journal entries that are known to be harmless: patterns with a reason.
    pub journal_allow: Vec<(String, String)>,
    /// What outside suites find and may find.
    #[serde(default)]
    pub suite_allow: Vec<SuiteAllowance>,
    /// Probes that modules contribute, as written, with templates expanded.
    pub probes: Vec<ModuleProbe>,
    /// Stages that the image takes part in beyond those that always apply: `https`, `monitoring`.
    pub stages: BTreeSet<String>,
}

/// A finding of an outside suite that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteAllowance {
    /// The suite.
    pub suite: Suite,
    /// The finding, as the suite names it.
    pub finding: String,
    /// Why it is accepted.
    pub reason: String,
    /// The worst figure that is, in tenths, where the suite gives the finding one.
    pub at_most: Option<u32>,
}

/// Whose a secret must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedSecret {
    /// Owning user, by name or number.
    pub owner: String,
    /// Owning group, by name or number.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// The option that asked for it.
    pub option: OptionPath,
}

/// What SSH must offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// The only user who may log in.
    pub user: String,
    /// Key exchange algorithms, in order, without the protocol's own markers.
    pub kex: Vec<String>,
    /// Host key algorithms.
    pub host_keys: Vec<String>,
    /// Ciphers.
    pub ciphers: Vec<String>,
    /// Message authentication codes.
    pub macs: Vec<String>,
    /// Path of the public host key inside the machine.
    pub host_key_file: GuestPath,
    /// Who is kept out, if anybody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bans: Option<Bans>,
    /// The option that says so.
    pub option: OptionPath,
}

/// How many bad logins have an address kept out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bans {
    /// So many.
    pub tries: u16,
    /// The command by which the user who may log in has an address let in again; the address is added to it.
    pub pardon: Vec<String>,
    /// The option that sets the number, or the name of something within its value; none: that of [`Ssh`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<OptionPath>,
}

/// What a site must be like, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Https {
    /// TCP port.
    pub port: u16,
    /// Names and addresses that it answers to, and that its certificate is for; none: any.
    pub hosts: Vec<String>,
    /// Path of its certificate inside the machine, PEM, followed by those of the authorities that stand behind it.
    pub certificate: GuestPath,
    /// Headers of each answer, by name in lower case; an empty value: it must be absent.
    pub headers: BTreeMap<String, String>,
    /// Content-Security-Policy that each answer has, perhaps beside others; empty: none is asked for.
    pub csp: String,
    /// Whether HTTP/2 is spoken.
    #[serde(default)]
    pub http2: bool,
    /// Status of the answer to a GET request, by path.
    pub pages: BTreeMap<String, u16>,
    /// Requests that one address may send.
    pub rate: Option<Rate>,
    /// Where signed events are taken in, by path.
    pub webhooks: BTreeMap<String, Webhook>,
    /// The option that says so.
    pub option: OptionPath,
}

impl Https {
    /// The name to call it by: the first that it answers to.
    pub fn name(&self) -> &str {
        self.hosts.first().map_or("localhost", String::as_str)
    }
}

/// Where signed events are taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The secret that they are signed with, by name.
    pub secret: String,
    /// The signatures that count.
    #[serde(default)]
    pub schemes: BTreeSet<Scheme>,
    /// How to sign one; nothing: its senders send the secret itself, which a check does not do.
    pub scheme: Option<SigningScheme>,
    /// The largest body, in bytes.
    pub body: u64,
}

/// A probe that a module contributes to a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleProbe {
    /// Stage by name: `services` ...
    pub stage: String,
    /// Unique id, such as `nftables.loaded`.
    pub id: String,
    /// What is asked, and which answer is a good one.
    pub query: Query,
    /// Why it is not asked of this image, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inapplicable: Option<String>,
    /// The option that asked for it.
    pub option: OptionPath,
}

/// What a module's probe asks inside the machine, and the answer that it must get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Query {
    /// A command must exit with 0.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// What its standard output must contain.
        contains: Option<String>,
    },
    /// A GET request must be answered with that status.
    Http {
        /// Whom to ask for what.
        url: HttpUrl,
        /// The status code.
        status: u16,
        /// Values that response headers must have; an empty one: the header must be absent.
        headers: BTreeMap<String, String>,
        /// What the body must contain.
        contains: Option<String>,
    },
    /// A GET request must be answered with JSON that has a value at a place.
    HttpJson {
        /// Whom to ask for what.
        url: HttpUrl,
        /// The place in the document.
        at: JsonPath,
        /// The value, in any spelling of the same duration or size.
        equals: String,
    },
    /// Alertmanager must have a test alert told.
    Alert {
        /// Where it listens.
        place: Place,
        /// Messages about it that must be taken: one for each address of the receiver.
        messages: u16,
    },
    /// A connection must be accepted.
    Connect {
        /// Where.
        place: Place,
        /// What is said to it; nothing: it speaks first.
        send: Option<String>,
        /// What it must say; nothing: that it accepts is enough.
        contains: Option<String>,
    },
}
