//! The outside suites: programs that nobody here wrote, which judge a running machine by their own rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// What an SSH server offers, held against what is known of it.
    SshAudit,
    /// What a TLS server offers, held against Mozilla's recommendations.
    Sslyze,
    /// The same, graded as SSL Labs does.
    Testssl,
    /// Which TCP ports answer.
    Nmap,
    /// The configuration of nginx.
    Gixy,
    /// Command line and settings of the kernel.
    KernelHardeningChecker,
    /// How much each service of systemd could do to the machine.
    SystemdAnalyze,
}

impl Suite {
    /// All of them, in the order in which they run: whoever makes many connections comes late.
    pub const ALL: [Self; 7] = [
        Self::Gixy,
        Self::KernelHardeningChecker,
        Self::SystemdAnalyze,
        Self::Sslyze,
        Self::Testssl,
        Self::SshAudit,
        Self::Nmap,
    ];

    /// The name that people type and JSON holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SshAudit => "ssh-audit",
            Self::Sslyze => "sslyze",
            Self::Testssl => "testssl",
            Self::Nmap => "nmap",
            Self::Gixy => "gixy",
            Self::KernelHardeningChecker => "kernel-hardening-checker",
            Self::SystemdAnalyze => "systemd-analyze",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text is not the name of a suite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a suite: {}", Suite::ALL.map(Suite::name).join(", "))]
pub struct NotASuite {
    /// The text.
    pub name: String,
}

impl FromStr for Suite {
    type Err = NotASuite;

    fn from_str(text: &str) -> Result<Self, NotASuite> {
        Self::ALL.into_iter().find(|suite| suite.name() == text).ok_or_else(|| NotASuite { name: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_in_both_forms() {
        for suite in Suite::ALL {
            assert_eq!(suite.name().parse(), Ok(suite));
            assert_eq!(serde_json::to_value(suite).unwrap(), suite.name());
        }
        assert_eq!(
            "Nmap".parse::<Suite>().unwrap_err().to_string(),
            "\"Nmap\" is not a suite: gixy, kernel-hardening-checker, systemd-analyze, sslyze, testssl, ssh-audit, nmap"
        );
    }
}
