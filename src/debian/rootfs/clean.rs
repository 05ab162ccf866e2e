//! Takes away what must not be in an image: caches, logs, backups, and what identifies one machine.

use std::ffi::OsStr;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use super::accounts;
use crate::disk;

/// Directories whose files go, while the directories in them stay.
const EMPTIED: [&str; 8] =
    ["var/cache", "var/log", "var/tmp", "var/backups", "var/lib/apt/lists", "run", "tmp", "var/lib/dpkg/updates"];
/// Files that go: backups, locks, and what is random or one machine's own.
const REMOVED: [&str; 20] = [
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
];

/// Cleans a configured root file system.
pub fn clean(root: &Path, epoch: i64) -> disk::Result<()> {
    EMPTIED.iter().try_for_each(|name| empty(&root.join(name)))?;
    REMOVED.iter().try_for_each(|name| disk::remove_file(root.join(name)))?;
    for key in list(&root.join("etc/ssh"))? {
        let name = key.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") && (name.ends_with("_key") || name.ends_with("_key.pub")) {
            disk::remove_file(&key)?;
        }
    }
    sweep(root)?;
    // Empty, not missing: the machine gets its id at boot, and its first boot is not taken for an installation.
    disk::remove_file(root.join("etc/machine-id"))?;
    disk::write(root.join("etc/machine-id"), b"", 0o444)?;
    let shadow = root.join("etc/shadow");
    if disk::exists(&shadow) {
        let text = accounts::without_dates(&disk::read_plain(&shadow)?, epoch);
        // Written in place, so that owner and mode stay.
        disk::overwrite(&shadow, text.as_bytes())?;
    }
    Ok(())
}

/// Removes all that is not a directory.
fn empty(directory: &Path) -> disk::Result<()> {
    for path in list(directory)? {
        if disk::metadata(&path)?.is_dir() { empty(&path)? } else { disk::remove_file(&path)? }
    }
    Ok(())
}

/// Removes sockets, which no archive can hold, and takes the date out of what interpreters have compiled.
fn sweep(directory: &Path) -> disk::Result<()> {
    for path in list(directory)? {
        let metadata = disk::metadata(&path)?;
        if metadata.is_dir() {
            sweep(&path)?;
        } else if metadata.file_type().is_socket() {
            disk::remove_file(&path)?;
        } else if metadata.is_file() && path.extension() == Some(OsStr::new("pyc")) {
            undate(&path)?;
        }
    }
    Ok(())
}

/// Python compares bytecode with its source at every start: a date that an image does not keep, so that it compiles anew
/// each time where it cannot write, or a hash, for which it reads the source. Nothing is compared afterwards (PEP 552,
/// unchecked hash): in a verified image the source cannot change without its bytecode.
fn undate(path: &Path) -> disk::Result<()> {
    const COMPARED: [&[u8]; 2] = [&[0, 0, 0, 0], &[3, 0, 0, 0]];
    const NOT_COMPARED: [u8; 12] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let start = disk::read_start(path, 16)?;
    if start.len() == 16 && start.get(4..8).is_some_and(|flags| COMPARED.contains(&flags)) {
        let written = disk::open_rw(path)?.write_all_at(&NOT_COMPARED, 4);
        return disk::context("write", path, written);
    }
    Ok(())
}

/// The names in a directory; none if it is missing or a link.
fn list(directory: &Path) -> disk::Result<Vec<std::path::PathBuf>> {
    match disk::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => disk::list(directory),
        Ok(_) => Ok(Vec::new()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_place_of_the_shadow_file_is_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = outside.path().join("file");
        std::fs::write(&file, "root:*:20000:0:99999:7:::\n").unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink(&file, root.path().join("etc/shadow")).unwrap();
        assert!(clean(root.path(), 86_400).is_err());
        assert_eq!(disk::read_to_string(&file).unwrap(), "root:*:20000:0:99999:7:::\n");
    }

    #[test]
    fn what_belongs_to_one_machine_goes_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let gone = [
            "etc/passwd-",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "var/cache/apt/x",
            "var/log/dpkg.log",
            "var/lib/dpkg/status-old",
        ];
        let kept = ["etc/ssh/sshd_config", "etc/passwd", "var/lib/dpkg/status"];
        gone.iter().chain(&kept).for_each(|name| put(name, b""));
        put("usr/lib/dated.pyc", b"\xf3\x0d\x0d\x0a\0\0\0\0datesizerest");
        put("usr/lib/hashed.pyc", b"\xf3\x0d\x0d\x0a\x03\0\0\0datesizerest");
        put("usr/lib/short.pyc", b"\xf3\x0d\x0d\x0a\0\0\0\0date");
        // Whoever reads these waits for ever, or gets no end.
        let pipe = root.path().join("usr/lib/pipe.pyc");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.path().join("usr/lib/link.pyc")).unwrap();
        put("etc/shadow", b"root:*:20000:0:99999:7:::\n");
        put("etc/machine-id", b"0123");
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("stays"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("var/tmp")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.path().join("etc/socket")).unwrap();
        clean(root.path(), 86_400).unwrap();
        drop(socket);
        gone.iter().for_each(|name| assert!(!disk::exists(root.path().join(name)), "{name}"));
        kept.iter().for_each(|name| assert!(disk::exists(root.path().join(name)), "{name}"));
        assert!(root.path().join("var/cache/apt").is_dir() && !disk::exists(root.path().join("etc/socket")));
        assert!(disk::exists(outside.path().join("stays")));
        let bytecode = |name| disk::read(root.path().join("usr/lib").join(name)).unwrap();
        assert_eq!(bytecode("dated.pyc"), b"\xf3\x0d\x0d\x0a\x01\0\0\0\0\0\0\0\0\0\0\0rest");
        assert_eq!(bytecode("hashed.pyc"), bytecode("dated.pyc"));
        assert_eq!(bytecode("short.pyc"), b"\xf3\x0d\x0d\x0a\0\0\0\0date");
        assert_eq!(disk::read(root.path().join("etc/shadow")).unwrap(), b"root:*:1:0:99999:7:::\n");
        assert_eq!(disk::read(root.path().join("etc/machine-id")).unwrap(), b"");
    }
}
