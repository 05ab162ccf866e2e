//! Images in registries, by the user's own skopeo(1), which knows how to log in and in what certificates to trust.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::digest::Digest;
use crate::interrupt;
use crate::tool::{self, Tool};

/// How long a question to a registry, and a push, may take.
const QUESTION: Duration = Duration::from_secs(60);
const PUSH: Duration = Duration::from_secs(4 * 3600);
/// How much of what skopeo says is read, in bytes.
const SAID: usize = 64 << 10;
/// How often skopeo tries again what a registry or the network has cut off.
const RETRIES: &str = "2";

/// A repository of a registry: `HOST[:PORT]/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository(String);

impl FromStr for Repository {
    type Err = &'static str;

    /// As the OCI distribution specification has names, with the registry's host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, name) = text.split_once('/').ok_or("it names no registry")?;
        let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
        let is_host = host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
            // What has neither dot nor port is taken for a part of a name.
            && (host.contains('.') || port.is_some() || host == "localhost");
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        let is_part = |part: &str| {
            let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(is_edge)
                && part.ends_with(is_edge)
                && part.chars().all(|c| is_edge(c) || "-_.".contains(c))
        };
        if !is_host || !is_port {
            Err("its registry is no host")
        } else if text.len() > 200 || !name.split('/').all(is_part) {
            Err("its name is not of a-z, 0-9, -, _, . and /")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Repository {
    /// What an image is called here by the digest of its manifest.
    pub fn by_digest(&self, image: &Digest) -> String {
        format!("{self}@sha256:{image}")
    }
}

/// Why an image did not come into a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// skopeo cannot be run.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// The registry, or skopeo, refused.
    #[error("{image} was not pushed: {reason}")]
    Refused {
        /// Where to.
        image: String,
        /// What skopeo said.
        reason: String,
    },
    /// It took too long.
    #[error("{_0} was not pushed within {} hours", PUSH.as_secs() / 3600)]
    Slow(String),
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
}

/// What was done about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The registry has had it already.
    WasThere,
    /// It was brought.
    Brought,
}

/// A push of one image.
#[derive(Debug, Clone)]
pub struct Push<'a> {
    /// Where to.
    pub repository: &'a Repository,
    /// The tag that keeps it from being cleared away.
    pub tag: String,
    /// Digest of its manifest.
    pub image: Digest,
    /// Credentials (containers-auth.json(5)); the user's own if it is not given.
    pub auth: Option<PathBuf>,
}

impl Push<'_> {
    /// Brings the image in `archive`, an OCI archive, unless it is there. A push that was cut off goes on with the layers
    /// that the registry does not have. `environment` is that of the user's programs.
    ///
    /// # Errors
    /// skopeo is not there, or says why not.
    pub fn run(&self, archive: &Path, environment: &[(OsString, OsString)]) -> Result<Pushed, Error> {
        let image = self.repository.by_digest(&self.image);
        let skopeo = Tool::of_user("skopeo", environment);
        let look = skopeo.clone().args(["inspect", "--raw"]).args(self.authfile("--authfile"));
        let found = look.arg(format!("docker://{image}")).bounded(QUESTION, SAID)?;
        if found.status.is_some_and(|status| status.success()) {
            return Ok(Pushed::WasThere);
        }
        let ended = skopeo.args(self.words(archive)).bounded(PUSH, SAID)?;
        let said = String::from_utf8_lossy(&ended.stderr);
        match ended.status {
            Some(status) if status.success() => Ok(Pushed::Brought),
            _ if interrupt::heard() => Err(Error::Interrupted),
            Some(_) => Err(Error::Refused { image, reason: reason(&said) }),
            None => Err(Error::Slow(image)),
        }
    }

    /// The command, to be pasted into a shell.
    pub fn shown(&self, archive: &Path) -> String {
        Tool::new("skopeo").args(self.words(archive)).display()
    }

    fn words(&self, archive: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            ["copy", "--quiet", "--preserve-digests", "--retry-times", RETRIES].map(OsString::from).into();
        words.extend(self.authfile("--dest-authfile"));
        let mut source = OsString::from("oci-archive:");
        source.push(archive);
        words.push(source);
        words.push(format!("docker://{}:{}", self.repository, self.tag).into());
        words
    }

    fn authfile(&self, option: &str) -> Vec<OsString> {
        self.auth.iter().flat_map(|path| [option.into(), path.into()]).collect()
    }
}

/// The last thing that skopeo complained of, out of its log's form (`time="…" level=fatal msg="…"`).
fn reason(said: &str) -> String {
    let line = said.lines().rev().find(|line| line.contains("level=fatal")).or_else(|| said.lines().last());
    let line = line.unwrap_or("skopeo failed and did not say why").trim();
    match line.split_once("msg=").map(|(_, message)| message) {
        Some(message) => serde_json::from_str(message).unwrap_or_else(|_| message.to_owned()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_host_and_a_name() {
        for text in ["registry.example.org/shop", "localhost/a", "10.0.0.5:5000/vm/shop_1.x", "registry:5000/a"] {
            assert_eq!(text.parse::<Repository>().map(|found| found.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "shop",
            "vm/shop",
            "https://a.b/c",
            "a.b/",
            "a.b/C",
            "a.b/c:1",
            "a.b/c@sha256:0",
            "a.b:0/c",
            "-a.b/c",
            "a.b/c d",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_skopeo_complains_of_is_told_without_its_form() {
        let said = "time=\"x\" level=warning msg=\"a\"\ntime=\"x\" level=fatal msg=\"writing blob: \\\"no\\\"\"\n";
        assert_eq!(reason(said), "writing blob: \"no\"");
        assert_eq!(reason("cannot\n"), "cannot");
        assert_eq!(reason(""), "skopeo failed and did not say why");
    }
}
