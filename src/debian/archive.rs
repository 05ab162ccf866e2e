//! How this room names archives, and the door through which it reads them.

use super::{Error, FetchError};

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveRef {
    /// Unique within a lock: the suite's name for Debian's own, the name given for others.
    pub name: String,
    /// Where its `dists/` and `pool/` are.
    pub base: Base,
}

/// Which tree of `dists/` and `pool/` an archive lives in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Debian's main archive, `debian/` on a mirror.
    Debian,
    /// Debian's security archive, `debian-security/` on a mirror.
    DebianSecurity,
    /// An archive besides Debian's, at this address.
    Extra(String),
}

/// Judges fetched bytes. A refusal makes the source try its next mirror.
pub type Accept<'a> = &'a dyn Fn(&[u8]) -> Result<(), Error>;

/// Where the files of archives come from. Called from several threads at once.
pub trait Source: Sync {
    /// The file at `path`, relative to the archive's base (`dists/trixie/InRelease`), of at most `limit`
    /// bytes. Each mirror's answer is shown to `accept`; if every mirror fails or is refused, the error is
    /// the most telling one: [`FetchError::Refused`] before any other.
    fn get(&self, archive: &ArchiveRef, path: &str, limit: u64, accept: Accept) -> Result<Vec<u8>, FetchError>;
}

/// Whether a path from an archive or a lock may be put behind a base address: relative, without `.`, `..`,
/// empty parts, a scheme, and without anything that a server or an address parser would turn into those.
pub fn is_safe_path(path: &str) -> bool {
    const ESCAPES: [&str; 3] = ["%2b", "%3a", "%7e"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-~:=,@%/".contains(&b);
    let is_escape = |at: usize| path.get(at..at + 3).is_some_and(|e| ESCAPES.iter().any(|x| e.eq_ignore_ascii_case(x)));
    !path.is_empty()
        && path.len() <= 1024
        && path.bytes().all(plain)
        && path.match_indices('%').all(|(at, _)| is_escape(at))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.split('/').next().is_some_and(|first| first.contains(':'))
}

/// Whether a suite or component can be a part of a path; security suites and components contain slashes.
pub fn is_safe_name(name: &str) -> bool {
    is_safe_path(name) && !name.contains(['%', ':', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_safe() {
        for good in ["pool/main/a/adduser/adduser_3.152_all.deb", "pool/l/libstdc++6_1%3a2~rc1-3_amd64.deb", "a/b:c"] {
            assert!(is_safe_path(good), "{good}");
        }
        let long = "a".repeat(1025);
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "pool/../x",
            "pool/./x",
            "pool//x",
            "pool/",
            "http://x/y",
            "file:x",
            "a\\b",
            "a b",
            "a\n",
            "a?b",
            "a#b",
            "%2e%2e/x",
            "a/%2E%2e",
            "a%2fb",
            "a%",
            "a%3",
            "a%é",
            "é",
            &long,
        ] {
            assert!(!is_safe_path(bad), "{bad:?}");
        }
        assert!(is_safe_name("trixie-security") && is_safe_name("updates/main"));
        assert!(!is_safe_name("../x") && !is_safe_name("a:b"));
    }
}
