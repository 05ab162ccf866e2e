//! What can be missing on a host, and how to get it.

use std::io;
use std::path::{Path, PathBuf};

use crate::{disk, tool};

/// A sandbox that could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The helper was started by hand, or by another version.
    #[error("the description of the sandbox is not readable: {0}")]
    Spec(String),
    /// The kernel or a container's rules refuse user namespaces.
    #[error("user namespaces are not available: {hint}")]
    Namespaces {
        /// How to get them.
        hint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program that maps ids is missing.
    #[error("{program} is missing: install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora, Arch)")]
    NoMapper {
        /// `newuidmap` or `newgidmap`.
        program: &'static str,
    },
    /// The user has no range of subordinate ids.
    #[error("{user} has no range of 65536 ids in {file}: as root, append the line {user}:{free}:65536 to it")]
    NoRange {
        /// Who.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// First id that nobody has.
        free: u64,
    },
    /// The caller's own namespace has too few ids.
    #[error("this process sees only a part of the ids 0 to 65535: it runs in a container that maps fewer")]
    FewIds,
    /// Mapping ids failed.
    #[error("cannot map ids")]
    Map(#[source] tool::Error),
    /// A step of the way in failed.
    #[error("cannot {verb} {}", path.display())]
    Step {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program's end could not be waited for or the caller was gone.
    #[error("{0}")]
    Gone(&'static str),
    /// A trial run failed.
    #[error("{0}")]
    Probe(String),
}

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error of a trial run: what the helper printed, without the command around it.
    pub(super) fn from_run(error: tool::Error) -> Self {
        match error {
            tool::Error::Failed { stderr, .. } => {
                Self::Probe(stderr.strip_prefix("rave: sandbox: ").map(str::to_owned).unwrap_or(stderr))
            }
            other => Self::Probe(other.to_string()),
        }
    }

    /// The first step that needs the new namespace's privileges: refused by a security module, it looks like this.
    pub(super) fn namespaces(source: io::Error) -> Self {
        Self::Namespaces { hint: hint(&|name| disk::read_to_string(Path::new("/proc/sys").join(name)).ok()), source }
    }
}

impl From<disk::Error> for Error {
    fn from(disk::Error { verb, path, source }: disk::Error) -> Self {
        Self::Step { verb, path, source }
    }
}

/// Names the step that failed.
pub fn step<T, E: Into<io::Error>>(
    verb: &'static str,
    path: impl AsRef<Path>,
    result: std::result::Result<T, E>,
) -> Result<T> {
    result.map_err(|source| Error::Step { verb, path: path.as_ref().to_owned(), source: source.into() })
}

/// Says on standard error why the helper gives up, with all causes in one line.
pub fn print(error: &Error) {
    use std::io::Write as _;
    let mut text = format!("rave: sandbox: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text.push('\n');
    // Nobody is left to be told if standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What to do about missing user namespaces, from the kernel's settings by their path below /proc/sys.
fn hint(sysctl: &dyn Fn(&str) -> Option<String>) -> String {
    let is = |name: &str, value: &str| sysctl(name).is_some_and(|text| text.trim() == value);
    if is("user/max_user_namespaces", "0") {
        "set the sysctl user.max_user_namespaces to more than 0, such as 15000".into()
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "set the sysctl kernel.unprivileged_userns_clone to 1, or run as root".into()
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0, \
         allow userns for rave in an AppArmor profile, or run as root"
            .into()
    } else {
        "in a container, allow the system calls unshare, mount and pivot_root \
         (docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged); \
         elsewhere the kernel needs CONFIG_USER_NS"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_setting_that_is_in_the_way() {
        let with =
            |name: &'static str, value: &'static str| hint(&move |asked| (asked == name).then(|| format!("{value}\n")));
        assert!(with("user/max_user_namespaces", "0").contains("user.max_user_namespaces"));
        assert!(with("kernel/unprivileged_userns_clone", "0").contains("kernel.unprivileged_userns_clone"));
        assert!(with("kernel/apparmor_restrict_unprivileged_userns", "1").contains("AppArmor"));
        assert!(with("kernel/unprivileged_userns_clone", "1").contains("seccomp"));
    }
}
