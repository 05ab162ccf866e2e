//! Answers to probes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::request::Scheme;
use super::seen::{Alerted, BruteForce, Burst, Delivered, Ended, HttpReply, Ports, SshOffer, SshRefusal, TlsReport};

/// An answer, and how long it took to find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Milliseconds.
    pub ms: u64,
}

impl Answered {
    /// There is no answer, because of `reason`; nobody looked for one.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self { answer: Answer::unavailable(reason), ms: 0 }
    }
}

/// The answer to a [`Probe`](super::Probe).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// There is none. Never a good sign, whatever the question was.
    Unavailable {
        /// Why not.
        reason: String,
    },
    /// The machine does not take part: it cannot be connected to, or closes the connection at once.
    Unreachable {
        /// What happened instead.
        reason: String,
    },
    /// This is not asked of such a machine, however it is.
    Inapplicable {
        /// Why not.
        reason: String,
    },
    /// What the SSH port said.
    SshOffer(SshOffer),
    /// A login succeeded and the command ended.
    SshLogin {
        /// The key by which the server proved itself: type and base64, as in a known_hosts file; or type and
        /// fingerprint, such as `ssh-ed25519 SHA256:...`, where the user's own ssh has looked the key up.
        host_key: String,
        /// How the command ended.
        ended: Ended,
    },
    /// What came of a login that should be refused.
    SshRefusal(SshRefusal),
    /// A TLS handshake that succeeded.
    Tls(TlsReport),
    /// What came of a handshake that should be refused. A connection that failed is no refusal.
    TlsRefusal {
        /// Whether the server refused because of the version.
        refused: bool,
        /// What it said, or what was agreed on.
        said: String,
    },
    /// What came of many requests.
    Burst(Burst),
    /// What ports answered to a stranger.
    Ports(Ports),
    /// What came of logins that a stranger tried.
    BruteForce(BruteForce),
    /// State of the service manager, as `systemctl is-system-running` prints it.
    SystemState {
        /// `running`, `degraded`, `starting` ...
        state: String,
        /// Jobs that wait or run.
        jobs: u64,
    },
    /// Loaded units by name.
    Units {
        /// Every loaded unit under its own name.
        units: BTreeMap<String, Unit>,
    },
    /// Journal entries, equal ones counted.
    Journal {
        /// The most recent entries, oldest first.
        entries: Vec<JournalEntry>,
        /// Whether there were more than are given here.
        truncated: bool,
    },
    /// Waiting sockets.
    Sockets {
        /// All of them.
        sockets: Vec<Socket>,
    },
    /// Mounts, in the order in which the kernel lists them: of two on one point the later one is seen.
    Mounts {
        /// All of them.
        mounts: Vec<Mount>,
    },
    /// Kernel settings; a name that the kernel does not know is absent.
    Sysctls {
        /// Value by name, white space joined to single spaces.
        values: BTreeMap<String, String>,
        /// Those that are there and cannot be read, each with the reason.
        unread: BTreeMap<String, String>,
    },
    /// The kernel's command line.
    CommandLine {
        /// As the kernel gives it.
        line: String,
    },
    /// Memory, processors, OOM kills and pressure.
    Resources(Resources),
    /// Control groups by unit; a unit without one is absent.
    Cgroups {
        /// Content of the files.
        groups: BTreeMap<String, Cgroup>,
    },
    /// Space on mounted file systems.
    Space {
        /// One entry for each file system, at its first mount point.
        file_systems: Vec<FileSystem>,
    },
    /// The device-mapper table below `/`.
    Verity(Verity),
    /// What came of an attempt to write.
    Write {
        /// Whether a file could be made; it was removed again.
        written: bool,
        /// What the kernel said, such as `Read-only file system`.
        said: String,
    },
    /// A clock.
    Clock {
        /// Seconds since 1970-01-01 00:00 UTC.
        unix_seconds: i64,
        /// Seconds since the machine started.
        uptime_seconds: u64,
    },
    /// What was found on the root file system.
    Scan(Scan),
    /// The public host key: type and base64.
    HostKey {
        /// As in the file, without the comment.
        key: String,
    },
    /// Files of secrets; one that is not there is absent.
    Secrets {
        /// By the name that was asked for.
        files: BTreeMap<String, SecretFile>,
    },
    /// What a service answered.
    Http(HttpReply),
    /// What became of a test alert.
    Alerted(Alerted),
    /// A service inside the machine accepted a connection.
    Connected {
        /// Beginning of what it said.
        said: String,
    },
    /// A service does not answer: nothing listens, or it says nothing in time, or nonsense. From outside only what was
    /// reached can be silent; the rest is [`Answer::Unreachable`].
    Silence {
        /// What happened instead.
        reason: String,
    },
    /// How long a server put up with a request that was not finished.
    Held {
        /// For so many milliseconds.
        ms: u32,
        /// Whether it ended the connection then; if not, the client gave up.
        ended: bool,
    },
    /// A certificate with its chain: DER in base64, the server's own first.
    Certificate {
        /// The certificates.
        chain: Vec<String>,
    },
    /// What became of signed events.
    Delivered(Delivered),
    /// What became of forged ones.
    Forged {
        /// Status code by scheme.
        statuses: BTreeMap<Scheme, u16>,
    },
    /// How a command ended.
    Run(Ended),
    /// What an outside suite said.
    Suite {
        /// The command that was run.
        command: String,
        /// How it ended; its standard output is what the suite is judged by, wherever it wrote that.
        ended: Ended,
    },
}

impl Answer {
    /// There is no answer, because of `reason`.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self::Unavailable { reason: reason.to_string() }
    }
}

/// One unit of the service manager.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// All names, with aliases.
    pub names: BTreeSet<String>,
    /// `loaded`, `not-found`, `masked` ...
    pub load: String,
    /// `active`, `failed` ...
    pub active: String,
    /// `running`, `exited`, `auto-restart` ...
    pub sub: String,
    /// `success`, or why it failed.
    pub result: String,
    /// How often it was restarted on its own.
    pub restarts: u64,
    /// The properties that were asked for besides.
    pub properties: BTreeMap<String, String>,
}

/// Equal journal entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Syslog identifier, or the name of the process.
    pub identifier: String,
    /// The message.
    pub message: String,
    /// How many of them there are.
    pub count: u64,
}

/// A socket that waits for peers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Socket {
    /// `tcp`, `udp` or `raw`, of either address family.
    pub protocol: String,
    /// Local address.
    pub address: std::net::IpAddr,
    /// Local port; for `raw` the protocol number.
    pub port: u16,
    /// Name of a process that holds it, where it can be seen.
    pub process: Option<String>,
}

/// A mounted file system (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount point.
    pub point: String,
    /// Type.
    pub fs: String,
    /// Device, or another name of what is mounted.
    pub source: String,
    /// Device number, `major:minor`.
    pub device: String,
    /// Options of the mount and of the file system.
    pub options: BTreeSet<String>,
}

/// Memory, processors, OOM kills and pressure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory that the kernel manages, in bytes.
    pub memory_total: u64,
    /// Memory that can be had without swapping, in bytes.
    pub memory_available: u64,
    /// Processors on line.
    pub processors: u32,
    /// Processes that the kernel killed for want of memory since boot.
    pub oom_kills: u64,
    /// Pressure by resource (`cpu`, `memory`, `io`); absent where the kernel does not measure it.
    pub pressure: BTreeMap<String, Pressure>,
}

/// Pressure stall information: per cent of the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// In which some task waited.
    pub some: f64,
    /// In which all tasks waited.
    pub full: f64,
}

/// Files of a control group by name, such as `memory.max`, trimmed. Of `memory.stat` there is only the value of
/// `inactive_file`, under that name; `oom_score_adj` is that of the unit's main process.
pub type Cgroup = BTreeMap<String, String>;

/// Space on a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Mount point.
    pub point: String,
    /// Type.
    pub fs: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Size in bytes.
    pub total: u64,
    /// Bytes that an ordinary user may still use.
    pub available: u64,
    /// Inodes; 0 where they are not counted.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
}

/// What is known of a secret without looking into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// Owning user, by name if it has one.
    pub owner: String,
    /// Owning group, by name if it has one.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Type of the file system that holds it; empty if it is none of the machine's mounts.
    pub fs: String,
    /// Options of that mount.
    pub options: BTreeSet<String>,
}

/// The device-mapper table below `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// Name of the device.
    pub name: String,
    /// Type of its only target: `verity`.
    pub target: String,
    /// Table parameters, as the kernel's verity documentation orders them.
    pub table: Vec<String>,
    /// Status: `V` while every block read was right, else `C`.
    pub status: String,
}

/// What was found on the root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Files seen.
    pub files: u64,
    /// Files whose content was searched.
    pub searched: u64,
    /// Whether the walk ended early, and why.
    pub incomplete: Option<String>,
    /// Files that hold a private key, with the kind of key.
    pub keys: BTreeMap<String, String>,
    /// Accounts that have a password, or need none: `shadow:root`.
    pub passwords: BTreeSet<String>,
    /// Files that change the user or group when run.
    pub set_id: BTreeSet<String>,
}
