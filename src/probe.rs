//! Questions to a machine, and its answers: the language between `check`, which asks and judges, and the two
//! that answer: `guest` inside the machine and `qemu` from outside. Plain data with a JSON form; every
//! collection is bounded by whoever answers, who says so where something was left out.

mod answer;
mod place;
mod request;
mod seen;
mod suite;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::GuestPath;

pub use answer::{
    Answer, Answered, Cgroup, FileSystem, JournalEntry, Mount, Pressure, Resources, Scan, SecretFile, Socket, Unit,
    Verity,
};
pub use place::{HttpUrl, JsonPath, Place, Service};
pub use request::{Rate, Request, Scheme, SigningScheme};
pub use seen::{Alerted, BruteForce, Burst, Delivered, Ended, HttpReply, Ports, SshOffer, SshRefusal, TlsReport};
pub use suite::{NotASuite, Suite};

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// What the SSH port says before anybody logs in; answered by [`Answer::SshOffer`].
    SshOffer,
    /// Log in with the machine's key and run a command; [`Answer::SshLogin`], or [`Answer::SshRefusal`] if the
    /// machine does not let the user in.
    SshLogin {
        /// User to log in as.
        user: String,
        /// Command and arguments.
        command: Vec<String>,
    },
    /// Try a login that must be refused; [`Answer::SshRefusal`].
    SshRefusal {
        /// User to log in as.
        user: String,
        /// Whether to offer the machine's key; without it only what the server suggests is learnt.
        key: bool,
    },
    /// What time it is where rave runs; [`Answer::Clock`].
    HostClock,
    /// Agree on TLS with the machine, whatever certificate it shows; [`Answer::Tls`].
    Tls {
        /// Port of the machine.
        port: u16,
        /// Whom it should be: a host name or an address.
        name: String,
    },
    /// Offer it TLS 1.2 and nothing newer; [`Answer::TlsRefusal`].
    TlsOlder {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
    },
    /// Ask for a page without TLS where TLS is spoken; [`Answer::Http`], or [`Answer::Silence`].
    PlainHttp {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
    },
    /// Send a request over TLS, whatever certificate is shown. Whoever is told to wait (429) does so and asks again a few
    /// times; [`Answer::Http`], or [`Answer::Silence`].
    Https {
        /// Port of the machine.
        port: u16,
        /// The request; its `host` is whom TLS is agreed on with.
        request: Request,
    },
    /// Begin a request over TLS that does not end; [`Answer::Held`]. While that goes on, others are asked.
    Slow {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
        /// Where to begin a body of which nothing more comes; nothing: a header of which a byte comes each second.
        post: Option<String>,
        /// For so many seconds at most.
        seconds: u16,
    },
    /// Ask for the page that comes quickest over TLS until told to wait (429); [`Answer::Burst`], or [`Answer::Silence`]. It stands behind
    /// the others from outside, for probes are answered in this order and it uses up what they need.
    Burst {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
        /// The pages to choose from.
        paths: BTreeSet<String>,
        /// Requests that are let through at once, and a minute.
        limit: Rate,
    },
    /// Send a SYN to each of all 65,535 TCP ports, from a host beside the machine in its network, or connect to each from
    /// here if rave does not run the machine; [`Answer::Ports`].
    TcpPorts {
        /// Over which protocol.
        family: Family,
        /// A port that the firewall should let any number of connections through to: its answers show that others
        /// were not lost on the way.
        known: Option<u16>,
    },
    /// Send a datagram to UDP ports, from there; [`Answer::Ports`]. A port that is open and has nothing to say to it
    /// looks like one that is closed by dropping.
    UdpPorts {
        /// Over which protocol.
        family: Family,
        /// The ports.
        ports: BTreeSet<u16>,
        /// As above: a TCP port.
        known: Option<u16>,
    },
    /// Try logins from an address of its own until it is kept out, then have it let in again; [`Answer::BruteForce`].
    BruteForce {
        /// User to log in as, whom the machine does not have.
        user: String,
        /// Logins that should be enough.
        tries: u16,
        /// Who may have the address let in again, and the command for it, to which the address is added.
        pardon: (String, Vec<String>),
    },
    /// Have an outside suite judge the machine; [`Answer::Suite`].
    Suite {
        /// Which.
        suite: Suite,
    },
    /// State of the service manager; [`Answer::SystemState`].
    SystemState,
    /// All units but devices that the service manager has loaded, with their usual properties and `properties`; [`Answer::Units`].
    Units {
        /// Further properties, as `systemctl show` names them.
        properties: BTreeSet<String>,
    },
    /// Journal entries of this boot of priority error or worse; [`Answer::Journal`].
    Journal {
        /// How far back, in seconds; nothing: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// Sockets that wait for peers, in the network namespace of process 1; [`Answer::Sockets`].
    Sockets,
    /// Mounts in the mount namespace of process 1; [`Answer::Mounts`].
    Mounts,
    /// Kernel settings by dotted name; [`Answer::Sysctls`].
    Sysctls {
        /// The names.
        names: BTreeSet<String>,
    },
    /// The kernel's command line; [`Answer::CommandLine`].
    CommandLine,
    /// Memory, processors, OOM kills and pressure; [`Answer::Resources`].
    Resources,
    /// What the kernel says of units' control groups; [`Answer::Cgroups`].
    Cgroups {
        /// Unit names.
        units: BTreeSet<String>,
    },
    /// Space on mounted file systems; [`Answer::Space`].
    Space,
    /// The dm-verity device below `/`; [`Answer::Verity`].
    Verity,
    /// Try to make a file in a directory that must refuse it; [`Answer::Write`].
    Write {
        /// The directory.
        directory: GuestPath,
    },
    /// What time it is in the machine; [`Answer::Clock`].
    Clock,
    /// Walk the root file system for secrets and set-id files; [`Answer::Scan`].
    Scan,
    /// The public host key; [`Answer::HostKey`].
    HostKey {
        /// File that holds it.
        path: GuestPath,
    },
    /// Files of secrets in memory; [`Answer::Secrets`].
    Secrets {
        /// Their paths below /run/secrets.
        names: BTreeSet<String>,
    },
    /// Fetch from a service inside the machine, without following redirections; [`Answer::Http`], or
    /// [`Answer::Silence`].
    Http {
        /// Whom to ask for what.
        url: HttpUrl,
    },
    /// Give Alertmanager an alert by which nothing is wrong, and see by its own count what becomes of it;
    /// [`Answer::Alerted`], or [`Answer::Silence`].
    Alert {
        /// Where it listens.
        place: Place,
        /// Messages about it after which nobody waits for more.
        messages: u16,
    },
    /// Connect to a service inside the machine and hear what it says; [`Answer::Connected`], or [`Answer::Silence`].
    Connect {
        /// Where.
        place: Place,
        /// What is said to it; nothing: it speaks first.
        send: Option<String>,
        /// Whether to wait until it says something.
        listen: bool,
    },
    /// The certificate that a service was given, with its chain; [`Answer::Certificate`].
    Certificate {
        /// File that holds it, PEM.
        path: GuestPath,
    },
    /// Sign a harmless event with a secret of the machine, and deliver it over TLS at the machine's own address: once,
    /// once more, and once as one of two days ago; [`Answer::Delivered`], or [`Answer::Silence`].
    ///
    /// All of it happens inside the machine, so that neither the secret nor anything signed with it leaves it. The
    /// requests pass the front door as others do, and wait where they are told to (429); as they come from the loopback
    /// interface, nobody is banned for the one that must be refused.
    Deliver {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
        /// Where events are taken in.
        path: String,
        /// The secret, by name.
        secret: String,
        /// How to sign.
        scheme: SigningScheme,
    },
    /// Sign a harmless event with a secret that is not the machine's, now, and deliver it in the same way, once by each
    /// scheme alone; [`Answer::Forged`], or [`Answer::Silence`].
    Forge {
        /// Port of the machine.
        port: u16,
        /// Whom it should be.
        name: String,
        /// Where events are taken in.
        path: String,
        /// How to sign.
        schemes: BTreeSet<Scheme>,
    },
    /// Run a command; [`Answer::Run`].
    Run {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// The internet protocol by which a machine is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// RFC 791.
    Ipv4,
    /// RFC 8200.
    Ipv6,
}

/// What has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// Who answers a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Whoever stands where a user stands, with a network connection to the machine.
    Outside,
    /// rave inside the machine.
    Inside,
}

impl Probe {
    /// Who answers.
    pub fn side(&self) -> Side {
        match self {
            Self::SshOffer
            | Self::SshLogin { .. }
            | Self::SshRefusal { .. }
            | Self::HostClock
            | Self::Tls { .. }
            | Self::TlsOlder { .. }
            | Self::PlainHttp { .. }
            | Self::Https { .. }
            | Self::Slow { .. }
            | Self::Burst { .. }
            | Self::TcpPorts { .. }
            | Self::UdpPorts { .. }
            | Self::BruteForce { .. }
            | Self::Suite { .. } => Side::Outside,
            Self::SystemState
            | Self::Units { .. }
            | Self::Journal { .. }
            | Self::Sockets
            | Self::Mounts
            | Self::Sysctls { .. }
            | Self::CommandLine
            | Self::Resources
            | Self::Cgroups { .. }
            | Self::Space
            | Self::Verity
            | Self::Write { .. }
            | Self::Clock
            | Self::Scan
            | Self::HostKey { .. }
            | Self::Secrets { .. }
            | Self::Http { .. }
            | Self::Alert { .. }
            | Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Deliver { .. }
            | Self::Forge { .. }
            | Self::Run { .. } => Side::Inside,
        }
    }
}
