//! Programs that scripts call and that must do nothing while an image is made: what they would make belongs to one
//! machine, is random, or is made by rave itself.

use std::path::{Path, PathBuf};

use crate::disk;

/// Programs, relative to the root.
const PROGRAMS: [&str; 12] = [
    "usr/sbin/update-initramfs",
    "usr/bin/dracut",
    "usr/sbin/update-grub",
    "usr/sbin/grub-install",
    "usr/sbin/grub-mkconfig",
    "usr/bin/bootctl",
    "usr/bin/kernel-install",
    "usr/bin/mandb",
    "usr/bin/ssh-keygen",
    "usr/sbin/make-ssl-cert",
    "usr/bin/pg_createcluster",
    "usr/bin/fc-cache",
];
/// What the real program is called meanwhile.
const ASIDE: &str = ".rave-real";
/// Refuses every start of a service (invoke-rc.d(8)).
const POLICY: &str = "usr/sbin/policy-rc.d";
/// awk has no name before its package is configured, but scripts of others use it.
const AWK: &str = "usr/bin/awk";

/// Puts stand-ins in place for the programs that are there; those that have one keep it.
pub fn put(root: &Path) -> disk::Result<()> {
    disk::create_dir_all(root.join("usr/sbin"))?;
    disk::write(root.join(POLICY), b"#!/bin/sh\nexit 101\n", 0o755)?;
    for program in PROGRAMS.map(|program| root.join(program)) {
        if disk::exists(&program) && !disk::exists(aside(&program)) {
            disk::rename(&program, aside(&program))?;
            disk::write(&program, b"#!/bin/sh\nexit 0\n", 0o755)?;
        }
    }
    Ok(())
}

/// Takes all stand-ins away.
pub fn take(root: &Path) -> disk::Result<()> {
    disk::remove_file(root.join(POLICY))?;
    for program in PROGRAMS.map(|program| root.join(program)) {
        if disk::exists(aside(&program)) {
            disk::rename(aside(&program), &program)?;
        }
    }
    Ok(())
}

/// Gives awk a name for as long as `during` runs.
pub fn with_awk<T, E: From<disk::Error>>(root: &Path, during: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let (awk, ours) = (root.join(AWK), !disk::exists(root.join(AWK)) && disk::exists(root.join("usr/bin/mawk")));
    if ours {
        disk::symlink("mawk", &awk)?;
    }
    let result = during()?;
    if ours {
        disk::remove_file(&awk)?;
    }
    Ok(result)
}

fn aside(program: &Path) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(ASIDE);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_come_and_go() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        std::fs::write(root.path().join("usr/bin/mandb"), "real").unwrap();
        put(root.path()).unwrap();
        put(root.path()).unwrap();
        assert_eq!(disk::read(root.path().join("usr/bin/mandb")).unwrap(), b"#!/bin/sh\nexit 0\n");
        assert!(root.path().join(POLICY).exists());
        take(root.path()).unwrap();
        assert_eq!(disk::read(root.path().join("usr/bin/mandb")).unwrap(), b"real");
        assert_eq!(disk::list(root.path().join("usr/bin")).unwrap().len(), 1);
        assert!(!root.path().join(POLICY).exists());
    }
}
