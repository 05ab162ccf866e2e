//! Walks the root file system for what must not be there: private keys, passwords, and programs that change the
//! user when run.
//!
//! Reading every byte of a root file system takes minutes under software emulation. Files outside /usr, and those
//! places in /usr that hold configuration, are read; of the rest, which packages brought, those that are named
//! like keys or that not everybody may read.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Trouble;
use crate::disk;
use crate::leaks::private_key;
use crate::probe::{Answer, Scan};

/// How long the walk may take, how many files it may see, and how much of each is searched, in bytes.
const TIME: Duration = Duration::from_secs(120);
const FILES: u64 = 500_000;
const SEARCHED: u64 = 1 << 20;

/// Findings of one kind that are told, at most.
const FINDINGS: usize = 100;

/// Places in /usr that hold configuration.
const CONFIGURATION: [&str; 4] = ["/usr/lib/credstore", "/usr/local", "/usr/share/factory", "/usr/lib/systemd"];

/// How the names of key files begin and end.
const KEY_BEGINNINGS: [&str; 2] = ["id_", "ssh_host_"];
const KEY_ENDINGS: [&str; 6] = [".key", ".pem", "_key", ".age", ".gpg", ".env"];

/// Account files: where the password stands in their second field, and whether an empty one lets anybody in.
const ACCOUNTS: [(&str, bool); 6] = [
    ("/etc/passwd", true),
    ("/etc/passwd-", true),
    ("/etc/shadow", true),
    ("/etc/shadow-", true),
    ("/etc/gshadow", false),
    ("/etc/gshadow-", false),
];

/// Bits of a mode that change the user or group.
const SET_ID: u32 = 0o6000;

/// Walks the file system that `root` is on, for no longer than `limit`.
pub fn scan(root: &Path, limit: Option<Duration>) -> Result<Answer, Trouble> {
    let device = disk::metadata(root.join("."))?.dev();
    let mut walk = Walk {
        root,
        device,
        deadline: Instant::now() + limit.map_or(TIME, |limit| limit.min(TIME)),
        scan: Scan::default(),
    };
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        // The list may not end in the link that the root may be.
        for path in disk::list(directory.join("."))? {
            if let Some(reason) = walk.exhausted() {
                walk.scan.incomplete = Some(reason);
                return Ok(Answer::Scan(walk.scan));
            }
            directories.extend(walk.look(path)?);
        }
    }
    for (file, empty_is_open) in ACCOUNTS {
        walk.accounts(file, empty_is_open)?;
    }
    Ok(Answer::Scan(walk.scan))
}

struct Walk<'a> {
    root: &'a Path,
    device: u64,
    deadline: Instant,
    scan: Scan,
}

impl Walk<'_> {
    fn exhausted(&self) -> Option<String> {
        let late = Instant::now() >= self.deadline;
        let reason = format!("the walk stopped after {} files", self.scan.files);
        (late || self.scan.files >= FILES).then_some(reason)
    }

    /// Looks at one path; gives back a directory to walk.
    fn look(&mut self, path: PathBuf) -> Result<Option<PathBuf>, Trouble> {
        let about = match disk::metadata(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        if about.dev() != self.device {
            return Ok(None);
        }
        if about.is_dir() {
            return Ok(Some(path));
        }
        self.scan.files += 1;
        if about.is_file() {
            self.file(&path, &about)?;
        }
        Ok(None)
    }

    fn file(&mut self, path: &Path, about: &Metadata) -> Result<(), Trouble> {
        let name = self.name(path);
        let mode = about.permissions().mode();
        if mode & SET_ID != 0 {
            keep(&mut self.scan.set_id, name.clone());
        }
        if about.len() == 0 || !worth_reading(&name, mode) {
            return Ok(());
        }
        self.scan.searched += 1;
        if let Some(kind) = private_key(&disk::read_start(path, SEARCHED)?)
            && self.scan.keys.len() < FINDINGS
        {
            self.scan.keys.insert(name, kind);
        }
        Ok(())
    }

    fn accounts(&mut self, file: &str, empty_is_open: bool) -> Result<(), Trouble> {
        let bytes = match disk::read_start(self.root.join(file.trim_start_matches('/')), SEARCHED) {
            Err(error) if error.is_not_found() => return Ok(()),
            result => result?,
        };
        let short = file.trim_start_matches("/etc/");
        for account in with_password(&String::from_utf8_lossy(&bytes), empty_is_open) {
            keep(&mut self.scan.passwords, format!("{short}:{account}"));
        }
        Ok(())
    }

    /// The path as the machine knows it.
    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.root).unwrap_or(path);
        format!("/{}", inside.display()).replace("/./", "/")
    }
}

fn keep(findings: &mut BTreeSet<String>, finding: String) {
    if findings.len() < FINDINGS {
        findings.insert(finding);
    }
}

fn worth_reading(path: &str, mode: u32) -> bool {
    let below = |directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    let name = path.rsplit('/').next().unwrap_or_default();
    !below("/usr")
        || CONFIGURATION.iter().any(|directory| below(directory))
        || mode & 0o004 == 0
        || KEY_BEGINNINGS.iter().any(|start| name.starts_with(start))
        || KEY_ENDINGS.iter().any(|end| name.ends_with(end))
}

/// Accounts of a file such as shadow(5) that hold a password, locked or not, or that need none.
fn with_password(text: &str, empty_is_open: bool) -> Vec<String> {
    let has = |field: &str| {
        // `!` in front locks a password; the hash stays readable.
        let hash = field.trim_start_matches(['!', '*']);
        (field.is_empty() && empty_is_open) || hash.starts_with('$') || hash.starts_with('_') || hash.len() >= 13
    };
    let account = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let field = rest.split(':').next().unwrap_or_default();
        has(field).then(|| name.to_owned())
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";

    fn write(root: &Path, path: &str, text: &str, mode: u32) {
        let path = root.join(path.trim_start_matches('/'));
        disk::create_dir_all(path.parent().unwrap()).unwrap();
        disk::write_atomic(&path, text.as_bytes(), mode).unwrap();
    }

    fn scanned(root: &Path) -> Scan {
        let Answer::Scan(scan) = scan(root, None).unwrap() else { panic!() };
        scan
    }

    #[test]
    fn secrets_are_found_where_they_hide() {
        let dir = tempfile::tempdir().unwrap();
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----\n");
        write(dir.path(), "/etc/ssh/hidden", &key, 0o600);
        write(dir.path(), "/usr/share/doc/readable", &key, 0o644);
        write(dir.path(), "/usr/share/doc/guarded", &key, 0o640);
        write(dir.path(), "/usr/share/doc/a.pem", &key, 0o644);
        write(dir.path(), "/opt/age.txt", &format!("# key\nAGE-SECRET-KEY-1{}\n", "Q".repeat(58)), 0o644);
        write(dir.path(), "/etc/shadow", "root:$y$x:1\ndaemon:*:1\nlocked:!$6$x:1\nagent:!:1\nopen::1\n", 0o640);
        write(dir.path(), "/etc/gshadow", "root:*::\nusers:::\nstaff:$6$x::\n", 0o640);
        write(dir.path(), "/etc/passwd", "root:x:0:0::/:/bin/sh\nold:abcdefghijklm:1:1::/:/bin/sh\n", 0o644);
        write(dir.path(), "/usr/bin/su", "#!", 0o4755);
        let scan = scanned(dir.path());
        assert_eq!(
            scan.keys.keys().map(String::as_str).collect::<Vec<_>>(),
            ["/etc/ssh/hidden", "/opt/age.txt", "/usr/share/doc/a.pem", "/usr/share/doc/guarded"]
        );
        assert_eq!(
            scan.passwords.iter().map(String::as_str).collect::<Vec<_>>(),
            ["gshadow:staff", "passwd:old", "shadow:locked", "shadow:open", "shadow:root"]
        );
        assert_eq!(scan.set_id, ["/usr/bin/su".to_owned()].into());
        assert_eq!((scan.files, scan.searched, scan.incomplete), (9, 7, None));
    }

    #[test]
    fn a_clean_root_has_no_findings() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "/etc/shadow", "root:*:1\nagent:!*:1\nx:!!:1\n", 0o640);
        write(dir.path(), "/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o644);
        // A program, and a public key.
        write(dir.path(), "/etc/program", "\0-----BEGIN OPENSSH PRIVATE KEY-----\0AGE-SECRET-KEY-1\0", 0o755);
        write(dir.path(), "/etc/pub", &format!("-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END"), 0o644);
        disk::symlink("/etc/shadow", dir.path().join("etc/link")).unwrap();
        let scan = scanned(dir.path());
        assert!(scan.keys.is_empty() && scan.passwords.is_empty() && scan.set_id.is_empty(), "{scan:?}");
        assert_eq!(scan.files, 5);
    }

    #[test]
    fn a_root_that_cannot_be_walked_is_no_clean_root() {
        assert!(scan(Path::new("/nonexistent"), None).is_err());
    }
}
