//! What is sent to a web server, and how much of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A request of HTTP/1.1 (RFC 9112).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The server's name; the value of the header `host`, unless that is among `headers`.
    pub host: String,
    /// `GET`, which has no body, or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Further headers by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// Blanks that follow it.
    pub blanks: u64,
}

impl Request {
    /// A GET request.
    pub fn get(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), method: "GET".to_owned(), path: path.to_owned(), ..Self::default() }
    }

    /// A POST request without a body.
    pub fn post(host: &str, path: &str) -> Self {
        Self { method: "POST".to_owned(), ..Self::get(host, path) }
    }

    /// Adds headers.
    #[must_use]
    pub fn with<N: Into<String>, V: Into<String>>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.headers.extend(headers.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }
}

/// How many requests of one address are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// A minute, on the average.
    pub requests: u32,
    /// At once, before that counts.
    pub burst: u32,
}

impl Rate {
    /// The most requests that may be let through in so many milliseconds.
    pub fn most(self, ms: u64) -> u64 {
        // The first one is none of the burst; of one that comes at the end of the time the answer may be late.
        u64::from(self.burst).saturating_add(2).saturating_add(u64::from(self.requests).saturating_mul(ms) / 60_000)
    }
}

/// How a webhook's event is signed such that the secret itself is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigningScheme {
    /// GitHub's `X-Hub-Signature-256`: over the body.
    Github,
    /// Standard Webhooks: over id, time and body.
    Standard,
}

/// A way to sign a webhook's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HMAC-SHA256 of the body, hexadecimal.
    Github,
    /// The secret itself.
    Gitlab,
    /// HMAC-SHA256 of id, time and body, base64.
    Standard,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Github, Self::Gitlab, Self::Standard];

    /// The name that modules and JSON hold.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
