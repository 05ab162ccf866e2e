//! What the kernel command line (bootparam(7)) tells the initrd: `roothash=`, `panic=`, and whether single words are there.

use std::time::Duration;

use rave_init::digest::Digest;

/// How long a failure stays readable where the command line does not say it.
const DELAY: Duration = Duration::from_secs(10);
/// Longer than this nobody waits, and a clock cannot count forever.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the command line names no root file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("the kernel command line has no roothash=")]
    Missing,
    /// It is no hash.
    #[error("the kernel command line has roothash={0}, which is not a SHA-256 digest")]
    Malformed(String),
    /// There are two.
    #[error("the kernel command line has two different roothash=")]
    Ambiguous,
}

/// The words of a command line: split at blanks that are not within double quotes, which are dropped. What
/// follows `--` is not for the kernel, nor for us.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.truncate(end);
    words
}

/// The root hash that the root file system is held against.
pub fn root_hash(line: &str) -> Result<Digest, Error> {
    let mut found = None;
    for value in words(line).iter().filter_map(|word| word.strip_prefix("roothash=")) {
        let digest: Digest = value.parse().map_err(|_| Error::Malformed(value.chars().take(80).collect()))?;
        if found.is_some_and(|other| other != digest) {
            return Err(Error::Ambiguous);
        }
        found = Some(digest);
    }
    found.ok_or(Error::Missing)
}

/// Whether a word is there.
pub fn has(line: &str, wanted: &str) -> bool {
    words(line).iter().any(|word| word == wanted)
}

/// How long to wait before the reboot after a failure, as the kernel reads `panic=`: nothing for 0, which
/// means to wait forever; no time at all for a negative number.
pub fn reboot_delay(line: &str) -> Option<Duration> {
    let words = words(line);
    let number = words.iter().rev().find_map(|word| word.strip_prefix("panic=")).and_then(|n| n.parse::<i64>().ok());
    match number {
        None => Some(DELAY),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_hash_is_found_and_nothing_else_is_taken_for_it() {
        let hash = "ab".repeat(32);
        let found = |line: &str| root_hash(&line.replace('H', &hash));
        let digest = Ok(hash.parse().unwrap());
        assert_eq!(found("quiet roothash=H ro\n"), digest);
        assert_eq!(found("\"roothash=H\" x=\"a b\""), digest);
        assert_eq!(found("roothash=H roothash=H"), digest);
        for line in ["", "xroothash=H", "usrhash=H", "x=\" roothash=H\"", "-- roothash=H", "\"quiet roothash=H", "\0"] {
            assert_eq!(found(line), Err(Error::Missing), "{line}");
        }
        assert_eq!(found(&format!("roothash=H roothash={}", "cd".repeat(32))), Err(Error::Ambiguous));
        for line in ["roothash=", "roothash=H0", "roothash=é", "roothash=zz"] {
            assert!(matches!(found(line), Err(Error::Malformed(_))), "{line}");
        }
    }

    #[test]
    fn only_the_whole_word_counts() {
        assert!(has("quiet rave.break panic=0\n", "rave.break"));
        for line in ["", "rave.breaks", "rave.break=1", "-- rave.break", "x=\" rave.break\""] {
            assert!(!has(line, "rave.break"), "{line}");
        }
    }

    #[test]
    fn the_delay_is_the_kernels() {
        let seconds = |line| reboot_delay(line).map(|delay| delay.as_secs());
        assert_eq!(seconds("quiet"), Some(10));
        assert_eq!(seconds("panic=30 panic=5"), Some(5));
        assert_eq!(seconds("panic=-1"), Some(0));
        assert_eq!(seconds("panic=0"), None);
        assert_eq!(seconds("panic=many"), Some(10));
        assert_eq!(seconds(&format!("panic={}", i64::MAX)), Some(86_400));
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(text in "(roothash=|panic=|\"| |--|-?[0-9a-f]{0,70}|\\PC){0,12}") {
            let _ = (root_hash(&text), reboot_delay(&text), has(&text, "a"));
        }
    }
}
