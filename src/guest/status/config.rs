//! What the image says about itself: the service's configuration, in JSON.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;
use crate::disk;

/// The largest file that is read, in bytes.
const FILE: u64 = 1 << 20;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the image.
    pub image: String,
    /// Its version.
    pub version: String,
    /// Its resource mode.
    pub mode: String,
    /// Whether everybody is told of units, versions and times.
    pub details: bool,
    /// The database that must answer, if there is one.
    pub postgresql: Option<Postgresql>,
    /// Where the last look at the machine's health is told, if somebody looks.
    pub health: Option<Looked>,
    /// Units to show, by name.
    pub units: Vec<String>,
    /// What else there is to see.
    pub links: Vec<Link>,
}

/// A database on a Unix socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgresql {
    /// Directory of the socket.
    pub directory: PathBuf,
    /// Port, which is part of the socket's name.
    pub port: u16,
}

/// The report of `rave guest health`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looked {
    /// Its path.
    pub path: PathBuf,
    /// Seconds between two looks.
    pub interval: u64,
}

/// A link of the page.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What people read.
    pub title: String,
    /// A path on the same server, or a whole address.
    pub href: String,
}

impl Config {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&disk::read_start(path, FILE)?).map_err(|error| Error::Config(path.to_owned(), error))
    }

    /// Reads the text. A link that is neither http nor a path, such as one that runs a script, is dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut config: Self = serde_json::from_slice(bytes)?;
        config.links.retain(|link| ["/", "https://", "http://"].iter().any(|begin| link.href.starts_with(begin)));
        Ok(config)
    }
}
