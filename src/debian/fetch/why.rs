//! What mirrors do wrong.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::debian::mirrors::Mirror;
use crate::digest::Digest;

/// Why a mirror did not give a file.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// No connection, or one that broke before an answer.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It kept silent.
    #[error("gave no byte for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// It answered with an HTTP status other than success.
    #[error("answered with HTTP status {0}")]
    Status(u16),
    /// It sent a web page, as captive portals and parked domains do.
    #[error("sent a web page")]
    Html,
    /// The connection ended before the file did.
    #[error("stopped after {got} bytes{}", expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default())]
    Truncated {
        /// Bytes of the file that are here.
        got: u64,
        /// Bytes that it has, where known.
        expected: Option<u64>,
    },
    /// It sent, or announced, more than the file may have.
    #[error("sent more than {limit} bytes")]
    TooLarge {
        /// The most that was asked for.
        limit: u64,
    },
    /// Its file has another size than the locked one.
    #[error("has a file of {found} bytes instead of {expected}")]
    Size {
        /// Size that was locked.
        expected: u64,
        /// Size that the mirror announced.
        found: u64,
    },
    /// Its file has another content than the locked one.
    #[error("has a file with the SHA-256 {found} instead of {expected}")]
    Content {
        /// Digest that was locked.
        expected: Digest,
        /// Digest of what arrived.
        found: Digest,
    },
    /// What it sent was refused by its reader.
    #[error("was refused: {0}")]
    Refused(String),
    /// It was not asked, because it did not answer before.
    #[error("was not asked again after it kept silent")]
    Skipped,
    /// Its address and the path make no address.
    #[error("has no valid address")]
    Address,
    /// The host's own disk failed; no other mirror is asked.
    #[error(transparent)]
    Disk(#[from] crate::disk::Error),
    /// The work was given up because other work failed.
    #[error("was interrupted")]
    Stopped,
}

impl Why {
    /// Whether the mirror as such seems to be down.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Stalled(_))
    }

    /// Whether the same question may have a better answer in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Stalled(_) | Self::Truncated { .. } => true,
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 429),
            _ => false,
        }
    }

    /// Whether no mirror can help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::Stopped)
    }

    fn is_absence(&self) -> bool {
        matches!(self, Self::Status(404 | 410))
    }
}

/// One mirror's failure.
#[derive(Debug)]
pub struct Attempt {
    /// The address asked, without user name and password.
    pub url: String,
    /// What went wrong.
    pub why: Why,
    /// Whether the mirror was only asked because the others failed.
    pub last_resort: bool,
}

/// Everything that was tried for one file, in order.
#[derive(Debug, Default)]
pub struct Attempts(pub Vec<Attempt>);

impl Attempts {
    pub(super) fn push(&mut self, mirror: &Mirror, path: &str, why: Why) {
        let url = join(&mirror.url, path).map_or_else(|| "<invalid>".to_owned(), |url| display(&url));
        self.0.push(Attempt { url, why, last_resort: mirror.last_resort });
    }

    /// Whether the file does not exist: every mirror says so. The word of a last resort counts only if there
    /// is no other: it may be out of reach for good.
    pub(super) fn is_gone(&self) -> bool {
        let has_word = |attempt: &&Attempt| !attempt.last_resort;
        let all_absent =
            |attempts: Vec<&Attempt>| !attempts.is_empty() && attempts.iter().all(|attempt| attempt.why.is_absence());
        if self.0.iter().any(|attempt| !attempt.last_resort) {
            all_absent(self.0.iter().filter(has_word).collect())
        } else {
            all_absent(self.0.iter().collect())
        }
    }

    /// Every address that was asked, once, in order.
    pub(super) fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        for attempt in &self.0 {
            if !urls.contains(&attempt.url) {
                urls.push(attempt.url.clone());
            }
        }
        urls
    }

    /// The address asked last, or the path where nobody was asked.
    pub(super) fn last_url(&self, path: &str) -> String {
        self.0.last().map_or_else(|| path.to_owned(), |attempt| attempt.url.clone())
    }

    /// Takes out the failure of the host's own disk, if that was the end.
    pub(super) fn disk(self) -> Result<crate::disk::Error, Self> {
        let Self(mut all) = self;
        match all.pop() {
            Some(Attempt { why: Why::Disk(error), .. }) => Ok(error),
            Some(other) => {
                all.push(other);
                Err(Self(all))
            }
            None => Err(Self(all)),
        }
    }
}

/// One line for each attempt; the same failure of a mirror is not told twice.
impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no mirror is configured");
        }
        let mut lines: Vec<String> = Vec::new();
        for attempt in &self.0 {
            let line = format!("{} {}", attempt.url, attempt.why);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        f.write_str(&lines.join("\n"))
    }
}

/// The causes are in the lines.
impl std::error::Error for Attempts {}

/// The address of a file on a mirror; parts of the path are encoded as URLs need it.
pub(super) fn join(mirror: &str, path: &str) -> Option<Url> {
    let mut url = Url::parse(mirror).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(path.split('/'));
    Some(url)
}

/// An address as it may be shown and logged.
pub(super) fn display(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have a user name.
    if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return url.path().to_owned();
    }
    url.to_string()
}

/// An error and its causes in one line, without what repeats.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}
