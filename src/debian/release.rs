//! Release files: what a suite holds, and whether it is the suite that was asked for, of a believable age.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use super::certificate::CLOCK_SKEW;
use super::deb822::{Malformed, Stanza};
use crate::digest::Digest;

/// A suite's table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `stable` ...; empty if not given.
    pub suite: String,
    /// `trixie` ...; empty if not given.
    pub codename: String,
    /// When it was made.
    pub date: Timestamp,
    /// When it stops being valid.
    pub valid_until: Option<Timestamp>,
    /// Whether files can be had by their hash, which does not change while the archive does.
    pub by_hash: bool,
    /// Whether packages for all architectures stand in an index of their own and in no other.
    pub separate_all: bool,
    files: BTreeMap<String, (Digest, u64)>,
}

/// Why a Release file is not used although its signature is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It is not a Release file.
    #[error("it is malformed")]
    Malformed(#[from] Malformed),
    /// It is another suite's.
    #[error("it is of suite {found}, not of {wanted}")]
    WrongSuite {
        /// What was asked for.
        wanted: String,
        /// What it says it is.
        found: String,
    },
    /// It is no longer valid.
    #[error("it was valid until {0}")]
    Expired(Timestamp),
    /// It is from the future.
    #[error("its date, {0}, is in the future")]
    Future(Timestamp),
    /// An older one than was seen before.
    #[error("its date, {found}, is before {previous}, the date of the one that is locked")]
    Rollback {
        /// Its date.
        found: Timestamp,
        /// The date in the previous lock.
        previous: Timestamp,
    },
}

impl Release {
    /// Reads the signed text.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let stanza = Stanza::parse(text)?;
        let architectures = stanza.words("Architectures");
        let no_separate_all = stanza.words("No-Support-for-Architecture-all").iter().any(|w| w == "Packages");
        Ok(Self {
            suite: stanza.get("Suite").unwrap_or("").to_owned(),
            codename: stanza.get("Codename").unwrap_or("").to_owned(),
            date: time("Date", stanza.require("Date")?)?,
            valid_until: stanza.get("Valid-Until").map(|value| time("Valid-Until", value)).transpose()?,
            by_hash: stanza.is_yes("Acquire-By-Hash"),
            separate_all: architectures.iter().any(|a| a == "all") && !no_separate_all,
            files: sums(stanza.require("SHA256")?)?,
        })
    }

    /// Whether this is the suite that was asked for, valid at `now`, and no older than `previous`.
    pub fn check(&self, suite: &str, now: Timestamp, previous: Option<Timestamp>) -> Result<(), ReleaseError> {
        if suite != self.suite && suite != self.codename {
            let found = if self.codename.is_empty() { &self.suite } else { &self.codename };
            return Err(ReleaseError::WrongSuite { wanted: suite.to_owned(), found: format!("{found:?}") });
        }
        if self.date > now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
            return Err(ReleaseError::Future(self.date));
        }
        if let Some(end) = self.valid_until.filter(|end| *end < now) {
            return Err(ReleaseError::Expired(end));
        }
        match previous {
            Some(previous) if self.date < previous => Err(ReleaseError::Rollback { found: self.date, previous }),
            _ => Ok(()),
        }
    }

    /// Digest and size of a file, by its path below the suite's directory.
    pub fn file(&self, path: &str) -> Option<(Digest, u64)> {
        self.files.get(path).copied()
    }
}

/// A date as in RFC 5322, in universal time only (Debian's repository format).
fn time(field: &'static str, value: &str) -> Result<Timestamp, Malformed> {
    let malformed = || Malformed::value(field, value, "a date in UTC");
    let date = ["UTC", "GMT", "Z", "+0000"].iter().find_map(|zone| value.strip_suffix(zone)).ok_or_else(malformed)?;
    BrokenDownTime::parse("%a, %d %b %Y %H:%M:%S", date.trim_ascii())
        .and_then(|time| time.to_datetime()?.to_zoned(TimeZone::UTC))
        .map(|time| time.timestamp())
        .map_err(|_| malformed())
}

/// The lines `digest size path` of a list of files.
fn sums(field: &str) -> Result<BTreeMap<String, (Digest, u64)>, Malformed> {
    let mut files = BTreeMap::new();
    for line in field.lines().map(str::trim_ascii).filter(|line| !line.is_empty()) {
        let malformed = || Malformed::value("SHA256", line, "a digest, a size and a path");
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed());
        };
        let entry = (digest.parse().map_err(|_| malformed())?, size.parse().map_err(|_| malformed())?);
        if files.insert(path.to_owned(), entry).is_some_and(|other| other != entry) {
            return Err(malformed());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn release(extra: &str) -> Result<Release, Malformed> {
        Release::parse(&format!(
            "Suite: stable\r\nCodename: trixie\r\nDate: Sat, 12 Sep 2026 07:55:41 UTC\r\n{extra}SHA256:\r\n {} 5 main/x\r\n",
            Digest::of(b"x")
        ))
    }

    #[test]
    fn dates_suites_and_sums_are_read() {
        let release = release("Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\r\nAcquire-By-Hash: yes\r\n").unwrap();
        assert_eq!(release.date, at("2026-09-12T07:55:41Z"));
        assert_eq!(release.valid_until, Some(at("2026-09-19T07:55:41Z")));
        assert_eq!(release.file("main/x"), Some((Digest::of(b"x"), 5)));
        assert_eq!(release.file("main/y"), None);
        assert!(release.by_hash && !release.separate_all);
    }

    #[test]
    fn architecture_all_is_separate_only_where_the_suite_says_so() {
        assert!(release("Architectures: all amd64\r\n").unwrap().separate_all);
        let both = "Architectures: all amd64\r\nNo-Support-for-Architecture-all: Packages\r\n";
        assert!(!release(both).unwrap().separate_all);
    }

    #[test]
    fn a_suite_must_be_the_one_asked_for_and_of_a_believable_age() {
        let release = release("Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\r\n").unwrap();
        let (date, end) = (release.date, release.valid_until.unwrap());
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(release.check("trixie", date, None), Ok(()));
        assert_eq!(release.check("stable", end, Some(date)), Ok(()));
        assert_eq!(release.check("trixie", end + second, None), Err(ReleaseError::Expired(end)));
        assert_eq!(release.check("trixie", date - CLOCK_SKEW, None), Ok(()));
        assert_eq!(release.check("trixie", date - CLOCK_SKEW - second, None), Err(ReleaseError::Future(date)));
        assert_eq!(
            release.check("trixie", date, Some(date + second)),
            Err(ReleaseError::Rollback { found: date, previous: date + second })
        );
        let wrong = release.check("bookworm", date, None).unwrap_err();
        assert_eq!(wrong.to_string(), "it is of suite \"trixie\", not of bookworm");
        assert_eq!(
            release.check("trixie", end + second, None).unwrap_err().to_string(),
            "it was valid until 2026-09-19T07:55:41Z"
        );
    }

    #[test]
    fn malformed_releases_are_refused() {
        for bad in [
            "",
            "Date: yesterday\nSHA256:\n",
            "Date: Sat, 12 Sep 2026 07:55:41 CET\nSHA256:\n",
            "Date: Sat, 12 Sep 2026 07:55:41 UTC\n",
            "Date: Sat, 12 Sep 2026 07:55:41 UTC\nSHA256:\n abc 5 main/x\n",
            "Date: Sat, 12 Sep 2026 07:55:41 UTC\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nSHA256:\n",
        ] {
            assert!(Release::parse(bad).is_err(), "{bad:?}");
        }
        let sums_of = |a: &str, size: &str| format!(" {} {size} {a}\n", Digest::of(b"x"));
        assert!(sums(&(sums_of("a", "1") + &sums_of("a", "1"))).is_ok(), "a repeated line says nothing new");
        assert!(sums(&(sums_of("a", "1") + &sums_of("a", "2"))).is_err());
        assert!(sums(&sums_of("a b", "1")).is_err());
        assert!(sums(&sums_of("a", "-1")).is_err());
        assert!(sums(&sums_of("a", "99999999999999999999")).is_err());
    }
}
