//! What the image says of the dispatcher, as one JSON file, and the secrets that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::retry::Backoff;
use super::signature::{Key, KeyError};
use crate::disk;
use crate::probe::Scheme;
use crate::secrets::Secret;

/// The largest configuration and the largest secret, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
const SECRET_LIMIT: u64 = 4 << 10;

/// Why there is nothing to go by.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The configuration is not what it should be.
    #[error("{} is no configuration of the webhook dispatcher", path.display())]
    Json {
        /// Of which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A value is out of range.
    #[error("{} of the webhook dispatcher: {message}", path.display())]
    Value {
        /// Of which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// systemd has not handed over any secrets.
    #[error("there are no credentials: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials,
    /// A secret is no key.
    #[error("the secret {name} of the source {source_name} cannot be used")]
    Key {
        /// The secret.
        name: String,
        /// Whose it is.
        source_name: Name,
        /// Why.
        source: KeyError,
    },
}

/// The name of a source or handler: it stands in paths of URLs and of sockets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if begins && text.len() <= 63 && text.bytes().all(good) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no name: up to 63 of a-z, 0-9, _ and -, the first a letter or digit"))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Port on the loopback interface.
    pub port: u16,
    /// Directory of the handlers' sockets.
    pub sockets: PathBuf,
    /// The database.
    pub database: Database,
    /// The largest body, in bytes.
    pub body: usize,
    /// How far a signed time may be off, in seconds.
    pub window: u32,
    /// Deliveries that may wait.
    pub queue: u32,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Attempts before a delivery is a dead letter.
    pub attempts: u32,
    /// Seconds after the first failed attempt, and at most.
    pub backoff: Seconds,
    /// Seconds for which events are known that are done with.
    pub keep: u32,
    /// Seconds for which dead letters are kept.
    pub keep_dead: u32,
    /// Who may send.
    pub sources: BTreeMap<Name, Source>,
    /// Who is told.
    pub handlers: BTreeMap<Name, Handler>,
}

/// Where PostgreSQL is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Directory of its Unix socket.
    pub socket: PathBuf,
    /// Its port, which is part of the socket's name.
    pub port: u16,
    /// The database.
    pub name: String,
    /// The role.
    pub user: String,
}

/// Times between attempts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// After the first.
    pub base: u32,
    /// The longest.
    pub max: u32,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The secret it signs with, by name.
    pub secret: String,
    /// The one before, while senders change over.
    pub previous_secret: Option<String>,
    /// How it may sign.
    pub schemes: Vec<Scheme>,
}

/// Who is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// Patterns of the types it is told of.
    pub events: Vec<String>,
    /// The sources it is told of; none for all.
    pub sources: Vec<Name>,
    /// Seconds that it may take.
    pub timeout: u32,
    /// Deliveries at once.
    pub concurrency: usize,
}

impl Config {
    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = disk::read_start(path, FILE_LIMIT)?;
        let config: Self =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        match config.fault() {
            None => Ok(config),
            Some(message) => Err(Error::Value { path: path.to_owned(), message }),
        }
    }

    /// What no type can say.
    fn fault(&self) -> Option<String> {
        let zero = [
            ("body", self.body == 0),
            ("queue", self.queue == 0),
            ("concurrency", self.concurrency == 0),
            ("attempts", self.attempts == 0 || i32::try_from(self.attempts).is_err()),
            ("handlers.concurrency", self.handlers.values().any(|handler| handler.concurrency == 0)),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, wrong)| *wrong) {
            return Some(format!("`{name}` is out of range"));
        }
        if let Some((name, _)) = self.sources.iter().find(|(_, source)| source.schemes.is_empty()) {
            return Some(format!("the source {name} has no schemes, so that it could not send anything"));
        }
        let sources = self.handlers.values().flat_map(|handler| &handler.sources);
        let unknown = sources.into_iter().find(|name| !self.sources.contains_key(name));
        unknown.map(|name| format!("a handler names the source {name}, which is not there"))
    }

    /// Times between attempts.
    pub fn backoff(&self) -> Backoff {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Backoff { base: seconds(self.backoff.base), max: seconds(self.backoff.max) }
    }

    /// The keys of each source, from the secrets that systemd handed over (systemd.exec(5), LoadCredential).
    pub fn keys(&self, credentials: Option<&Path>) -> Result<BTreeMap<Name, Vec<Key>>, Error> {
        let directory = credentials.ok_or(Error::NoCredentials)?;
        let mut keys = BTreeMap::new();
        for (source_name, source) in &self.sources {
            let names = std::iter::once(&source.secret).chain(&source.previous_secret);
            let read = |name: &String| {
                let path = directory.join(name);
                let secret = disk::context("read", &path, Secret::read(disk::open(&path)?, SECRET_LIMIT))?;
                let wrong = |source| Error::Key { name: name.clone(), source_name: source_name.clone(), source };
                Key::parse(&secret).map_err(wrong)
            };
            keys.insert(source_name.clone(), names.map(read).collect::<Result<_, Error>>()?);
        }
        Ok(keys)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As the module renders it.
    pub const EXAMPLE: &str = r#"{
        "port": 8090, "sockets": "/run/webhook",
        "database": { "socket": "/run/postgresql", "port": 5432, "name": "webhook", "user": "webhook" },
        "body": 1048576, "window": 300, "queue": 1000, "concurrency": 8, "attempts": 3,
        "backoff": { "base": 5, "max": 600 }, "keep": 604800, "keep_dead": 2592000,
        "sources": { "default": { "secret": "webhook-secret", "previous_secret": null, "schemes": ["github", "standard"] } },
        "handlers": { "deploy": { "events": ["push"], "sources": ["default"], "timeout": 60, "concurrency": 1 } }
    }"#;

    fn read(text: &str) -> Result<Config, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook.json");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn the_example_is_good_and_each_slip_is_not() {
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.sources[&"default".parse().unwrap()].schemes, [Scheme::Github, Scheme::Standard]);
        assert_eq!(config.backoff().after(20), Duration::from_secs(600));
        for (from, to) in [
            ("\"port\": 8090", "\"port\": 80900"),
            ("\"port\": 8090", "\"prot\": 8090"),
            ("\"body\"", "\"colour\": 1, \"body\""),
            ("1048576", "0"),
            ("\"attempts\": 3", "\"attempts\": 0"),
            ("\"attempts\": 3", "\"attempts\": 4000000000"),
            ("\"queue\": 1000", "\"queue\": -1"),
            ("[\"github\", \"standard\"]", "[\"md5\"]"),
            ("[\"github\", \"standard\"]", "[]"),
            ("\"deploy\"", "\"../deploy\""),
            ("\"sources\": [\"default\"]", "\"sources\": [\"other\"]"),
            ("\"timeout\": 60", "\"timeout\": 60, \"command\": []"),
            ("}\n    }", "}"),
        ] {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE);
            assert!(matches!(read(&text), Err(Error::Json { .. } | Error::Value { .. })), "{to}");
        }
        assert!(matches!(Config::read(Path::new("/nonexistent")), Err(Error::Disk(_))));
    }

    #[test]
    fn keys_are_the_secret_and_the_one_before() {
        let text = EXAMPLE.replace("\"previous_secret\": null", "\"previous_secret\": \"old\"");
        let config = read(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("webhook-secret"), "a secret of some length\n").unwrap();
        let error = config.keys(Some(folder.path())).unwrap_err();
        assert!(matches!(&error, Error::Disk(error) if error.is_not_found()), "{error}");
        std::fs::write(folder.path().join("old"), "guess").unwrap();
        let error = config.keys(Some(folder.path())).unwrap_err();
        assert_eq!(error.to_string(), "the secret old of the source default cannot be used");
        std::fs::write(folder.path().join("old"), "the secret before that").unwrap();
        assert_eq!(config.keys(Some(folder.path())).unwrap()[&"default".parse().unwrap()].len(), 2);
        assert!(matches!(config.keys(None), Err(Error::NoCredentials)));
    }

    #[test]
    fn names_fit_into_paths() {
        for good in ["default", "a", "0", "shop-2_b", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a/b", "..", "a.b", "é", "a b", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damage_is_an_error_and_no_panic(at in 0_usize..800, byte: u8) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(config) = serde_json::from_slice::<Config>(&bytes) {
                let _ = config.fault();
            }
        }
    }
}
