//! What a timer asks every few minutes when nobody looks: which units have failed, and how long certificates are good.
//! The outcome becomes metrics in the Prometheus text format, one file in each of some directories.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::disk;
use crate::secrets::{generate, needed};
use crate::tool::{self, Tool};

/// How long systemd may take to tell its failed units, and how much it may say.
const TIME: Duration = Duration::from_secs(60);
const OUTPUT: usize = 1 << 20;

/// The unit that this runs in: that it failed the last time is no news.
const OWN: &str = "rave-health.service";
/// The file in each directory.
const FILE: &str = "health.prom";
const DAY: u64 = 24 * 60 * 60;

/// Why the machine's health is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// systemd did not say.
    #[error(transparent)]
    Tool(#[from] tool::Error),
    /// systemd took too long, or said too much.
    #[error("systemd does not tell which units have failed")]
    Silent,
    /// The outcome cannot be left.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// The health of a machine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Units that have failed.
    pub failed: Vec<String>,
    /// Certificates by path, with the seconds from 1970 to their end; nothing for one that cannot be read.
    pub certificates: Vec<(String, Option<u64>)>,
    /// When this was found out, in seconds since 1970.
    pub time: u64,
}

/// Looks, and leaves the outcome in all `directories`.
pub fn look(certificates: &[PathBuf], directories: &[PathBuf], now: SystemTime) -> Result<Health, Error> {
    let listed = Tool::new("systemctl")
        .args(["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"])
        .bounded(TIME, OUTPUT)?;
    if !listed.status.is_some_and(|status| status.success()) || listed.stdout.len() >= OUTPUT {
        return Err(Error::Silent);
    }
    let health = Health {
        failed: failed(&String::from_utf8_lossy(&listed.stdout)),
        certificates: certificates.iter().map(|path| (path.display().to_string(), end(path))).collect(),
        time: seconds(now),
    };
    for directory in directories {
        // In one step, so that nobody reads half of it.
        disk::write_atomic(directory.join(FILE), health.metrics().as_bytes(), 0o644)?;
    }
    Ok(health)
}

fn end(path: &Path) -> Option<u64> {
    generate::expiry(&disk::read(path).ok()?).map(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The units of `systemctl list-units --plain --no-legend`.
fn failed(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != OWN).map(str::to_owned).collect()
}

impl Health {
    /// What is wrong, one sentence each; nothing for a machine that is well.
    pub fn troubles(&self) -> Vec<String> {
        let units = self.failed.iter().map(|unit| format!("{unit} has failed"));
        let limit = self.time.saturating_add(u64::from(needed::FAIL_DAYS) * DAY);
        let certificates = self.certificates.iter().filter_map(|(path, end)| match end {
            None => Some(format!("no certificate can be read from {path}")),
            Some(end) if *end <= self.time => Some(format!("the certificate {path} has expired")),
            Some(end) if *end < limit => {
                Some(format!("the certificate {path} expires in {} days", (end - self.time) / DAY))
            }
            Some(_) => None,
        });
        units.chain(certificates).collect()
    }

    /// The Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, samples: &[(String, u64)]| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# HELP rave_health_{name} {help}\n# TYPE rave_health_{name} gauge");
            for (labels, value) in samples {
                let _ = writeln!(text, "rave_health_{name}{labels} {value}");
            }
        };
        let label = |name: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{{{name}=\"{value}\"}}")
        };
        let plain = |value: u64| [(String::new(), value)];
        let units: Vec<_> = self.failed.iter().map(|unit| (label("unit", unit), 1)).collect();
        let ends: Vec<_> =
            self.certificates.iter().map(|(path, end)| (label("path", path), end.unwrap_or_default())).collect();
        family("failed_units", "Units that have failed.", &plain(self.failed.len() as u64));
        family("unit_failed", "A unit that has failed.", &units);
        family("certificate_end_seconds", "When a certificate ends, in seconds since 1970; 0 if unreadable.", &ends);
        family("troubles", "What is wrong with the machine, in number.", &plain(self.troubles().len() as u64));
        family("time_seconds", "When this was found out, in seconds since 1970.", &plain(self.time));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn health(failed: &[&str], certificates: &[(&str, Option<u64>)]) -> Health {
        Health {
            failed: failed.iter().map(|unit| (*unit).to_owned()).collect(),
            certificates: certificates.iter().map(|(path, end)| ((*path).to_owned(), *end)).collect(),
            time: NOW,
        }
    }

    #[test]
    fn failed_units_are_listed_but_for_this_one() {
        let text = "a.service loaded failed failed A\nrave-health.service loaded failed failed Health\n\nb.mount not-found failed failed b.mount\n";
        assert_eq!(failed(text), ["a.service", "b.mount"]);
        assert_eq!(failed(""), Vec::<String>::new());
    }

    #[test]
    fn certificates_are_told_before_they_end() {
        let well = health(&[], &[("/c", Some(NOW + 7 * DAY))]);
        assert_eq!(well.troubles(), Vec::<String>::new());
        let unwell = health(&["x.service"], &[("/a", Some(NOW + 6 * DAY)), ("/b", Some(NOW)), ("/c", None)]);
        assert_eq!(
            unwell.troubles(),
            [
                "x.service has failed",
                "the certificate /a expires in 6 days",
                "the certificate /b has expired",
                "no certificate can be read from /c"
            ]
        );
    }

    #[test]
    fn the_outcome_becomes_metrics() {
        let text = health(&["a\"b.service"], &[("/c", Some(NOW + DAY))]).metrics();
        assert!(text.contains("\nrave_health_failed_units 1\n"), "{text}");
        assert!(text.contains("\nrave_health_unit_failed{unit=\"a\\\"b.service\"} 1\n"), "{text}");
        assert!(
            text.contains(&format!("\nrave_health_certificate_end_seconds{{path=\"/c\"}} {}\n", NOW + DAY)),
            "{text}"
        );
        assert!(text.contains("\nrave_health_troubles 2\n"), "{text}");
        assert!(text.ends_with(&format!("rave_health_time_seconds {NOW}\n")), "{text}");
    }

    #[test]
    fn a_certificate_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let pair = generate::authority("test", SystemTime::now()).unwrap();
        let path = folder.path().join("certificate.pem");
        disk::write(&path, pair.certificate.as_bytes(), 0o644).unwrap();
        let days = (end(&path).unwrap() - seconds(SystemTime::now())) / DAY;
        assert!((3640..3660).contains(&days), "{days}");
        disk::write(&path, b"-----BEGIN CERTIFICATE-----\nAAAA\n", 0o644).unwrap();
        assert_eq!((end(&path), end(&folder.path().join("none"))), (None, None));
    }
}
