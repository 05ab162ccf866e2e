//! What is seen of a machine from outside, or of one program in it: the answers to probes that ask there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit status; none if a signal or the deadline ended it.
    pub code: Option<i32>,
    /// Beginning of standard output.
    pub stdout: String,
    /// Beginning of standard error.
    pub stderr: String,
}

/// A response to a GET or POST request (RFC 9112).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// Headers by name in lower case; values of one name joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// Beginning of the body.
    pub body: String,
    /// Whether the body goes on.
    pub truncated: bool,
}

/// What became of a test alert, by the count of Alertmanager, which does not tell one alert from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerted {
    /// The label by which the alert can be told from others.
    pub nonce: String,
    /// Messages that webhooks have taken since.
    pub taken: u64,
    /// Attempts at one that have failed since.
    pub failed: u64,
}

/// What an SSH server says before anybody logs in (RFC 4253, 4.2 and 7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshOffer {
    /// Identification string, such as `SSH-2.0-OpenSSH_10.0`.
    pub identification: String,
    /// Key exchange algorithms, with the protocol's own markers.
    pub kex: Vec<String>,
    /// Host key algorithms.
    pub host_keys: Vec<String>,
    /// Ciphers from client to server.
    pub ciphers_in: Vec<String>,
    /// Ciphers from server to client.
    pub ciphers_out: Vec<String>,
    /// Message authentication codes from client to server.
    pub macs_in: Vec<String>,
    /// Message authentication codes from server to client.
    pub macs_out: Vec<String>,
}

/// What came of a login that should be refused. A connection that failed is no refusal,
/// but [`Answer::Unreachable`](super::Answer::Unreachable).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshRefusal {
    /// Whether the login was refused.
    pub refused: bool,
    /// The methods by which the server would let this user try.
    pub methods: Vec<String>,
    /// What the ssh program said at the end.
    pub said: String,
}

/// What came of logins that a stranger tried, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BruteForce {
    /// The stranger's address.
    pub address: std::net::IpAddr,
    /// Logins that were refused.
    pub refused: u16,
    /// Whether the stranger could not connect any more after them.
    pub kept_out: bool,
    /// Whether it could again once that was asked for.
    pub let_in: bool,
    /// What the command said that asked for it.
    pub said: String,
}

/// What was agreed on in a TLS handshake, and what the server has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReport {
    /// Version: `TLSv1_3`.
    pub version: String,
    /// Cipher suite.
    pub cipher: String,
    /// Group of the key exchange.
    pub group: String,
    /// Protocol on top of it, of those that were offered (RFC 7301): `h2`, `http/1.1`, or nothing.
    pub protocol: String,
    /// Certificates: DER in base64, the server's own first. Its key has been proved.
    pub chain: Vec<String>,
}

/// What came of many requests, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Requests that were let through.
    pub served: u64,
    /// Milliseconds from the first request to the last answer.
    pub ms: u64,
    /// Whether the last answer was 429.
    pub limited: bool,
}

/// What came of asking ports. Those in neither set said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The machine's address.
    pub address: std::net::IpAddr,
    /// How many ports were asked.
    pub asked: u32,
    /// Ports that take a connection, or answered a datagram.
    pub open: BTreeSet<u16>,
    /// Ports that refuse: the firewall lets through what nobody is there for, or says that it does not.
    pub closed: BTreeSet<u16>,
}

/// Status codes by which signed events were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Of a new event.
    pub new: u16,
    /// Of the same delivery again.
    pub again: u16,
    /// Of one that was signed two days ago; none where the scheme signs no time.
    pub stale: Option<u16>,
}
