//! dpkg's database (/var/lib/dpkg), written as if dpkg itself had unpacked the packages.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::debian::deb::Deb;
use crate::debian::unpack::Unpacked;
use crate::disk;

/// Where the database is, relative to the root.
pub const PLACE: &str = "var/lib/dpkg";

/// The name that dpkg's files have for a package: with the architecture if others may be there too.
pub fn qualified(deb: &Deb) -> String {
    match deb.control.get("Multi-Arch") {
        Some("same") => format!("{}:{}", deb.name(), deb.architecture()),
        _ => deb.name().to_owned(),
    }
}

/// Makes an empty database.
pub fn create(root: &Path) -> disk::Result<()> {
    let place = root.join(PLACE);
    for name in ["info", "updates", "triggers", "alternatives", "parts"] {
        disk::create_dir_all(place.join(name))?;
    }
    for name in ["status", "available", "diversions", "statoverride", "triggers/Unincorp", "triggers/File"] {
        if !disk::exists(place.join(name)) {
            disk::write(place.join(name), b"", 0o644)?;
        }
    }
    disk::write(place.join("info/format"), b"1\n", 0o644)
}

/// Enters a package's control files and list.
pub fn enter(root: &Path, deb: &Deb, unpacked: &Unpacked, lost: &BTreeSet<PathBuf>) -> disk::Result<()> {
    let info = root.join(PLACE).join("info");
    let name = qualified(deb);
    for (file, bytes) in &deb.files {
        let mode = if is_script(file) { 0o755 } else { 0o644 };
        disk::write(info.join(format!("{name}.{file}")), bytes, mode)?;
    }
    let mut list = Vec::new();
    for path in unpacked.list.iter().filter(|path| !lost.contains(*path)) {
        list.extend(path.as_os_str().as_bytes());
        list.push(b'\n');
    }
    disk::write(info.join(format!("{name}.list")), &list, 0o644)
}

/// Whether a control file is to be executable.
fn is_script(name: &str) -> bool {
    matches!(name, "preinst" | "postinst" | "prerm" | "postrm" | "config")
}

/// Writes the status of all packages that are unpacked.
pub fn write_status<'a>(root: &Path, packages: impl Iterator<Item = (&'a Deb, &'a Unpacked)>) -> disk::Result<()> {
    let text: String = packages.map(|(deb, unpacked)| stanza(deb, unpacked)).collect();
    disk::write(root.join(PLACE).join("status"), text.as_bytes(), 0o644)
}

/// One package's paragraph of the status file.
fn stanza(deb: &Deb, unpacked: &Unpacked) -> String {
    let mut text = String::new();
    for (name, value) in deb.control.fields() {
        if !["Status", "Conffiles"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
            text.push_str(&format!("{name}: {value}\n"));
        }
        if name.eq_ignore_ascii_case("Package") {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    if !unpacked.conffiles.is_empty() {
        text.push_str("Conffiles:\n");
        text.extend(unpacked.conffiles.iter().map(|(path, md5)| format!(" {path} {md5}\n")));
    }
    text.push('\n');
    text
}

/// The absolute paths that a package's `conffiles` names; without those that it only wants removed.
pub fn conffiles(deb: &Deb) -> BTreeSet<String> {
    let text = deb.files.get("conffiles").map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    text.lines().map(str::trim_end).filter(|line| line.starts_with('/')).map(str::to_owned).collect()
}

/// Writes who waits for which trigger (deb-triggers(5)).
pub fn write_triggers<'a>(root: &Path, debs: impl Iterator<Item = &'a Deb>) -> disk::Result<()> {
    let place = root.join(PLACE).join("triggers");
    let (mut files, mut named) = (String::new(), BTreeMap::<String, String>::new());
    for deb in debs {
        let text = deb.files.get("triggers").map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        for (trigger, suffix) in text.lines().filter_map(interest) {
            let package = qualified(deb);
            if trigger.starts_with('/') {
                files.push_str(&format!("{trigger} {package}{suffix}\n"));
            } else {
                named.entry(trigger.to_owned()).or_default().push_str(&format!("{package}{suffix}\n"));
            }
        }
    }
    disk::write(place.join("File"), files.as_bytes(), 0o644)?;
    named.iter().try_for_each(|(name, packages)| disk::write(place.join(name), packages.as_bytes(), 0o644))
}

/// The trigger that a line declares interest in, and how the database marks the manner.
fn interest(line: &str) -> Option<(&str, &'static str)> {
    let line = line.split('#').next()?;
    let mut words = line.split_whitespace();
    let suffix = match words.next()? {
        "interest" | "interest-await" => "",
        "interest-noawait" => "/noawait",
        _ => return None,
    };
    let trigger = words.next()?;
    // A named trigger is a file's name; a path is only text.
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') && !name.starts_with('.');
    (trigger.starts_with('/') || plain(trigger)).then_some((trigger, suffix))
}

/// The diversions in the database: absolute path to where it goes, and for which package it does not.
pub fn diversions(root: &Path) -> disk::Result<BTreeMap<PathBuf, (PathBuf, String)>> {
    let text = disk::read_plain(root.join(PLACE).join("diversions"))?;
    let lines: Vec<&str> = text.lines().collect();
    let triples = lines.chunks_exact(3);
    Ok(triples.map(|triple| (triple[0].into(), (triple[1].into(), triple[2].to_owned()))).collect())
}

/// The packages that the status file does not call installed, with their state.
pub fn unfinished(status: &str) -> Vec<(String, String)> {
    let mut unfinished = Vec::new();
    let mut package = "";
    for line in status.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            package = name;
        } else if let Some(state) = line.strip_prefix("Status: ").filter(|state| *state != "install ok installed") {
            unfinished.push((package.to_owned(), state.to_owned()));
        }
    }
    unfinished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::samples::Package;

    #[test]
    fn interests_are_read_and_hostile_names_are_not() {
        assert_eq!(interest("interest-noawait /usr/share/x # why"), Some(("/usr/share/x", "/noawait")));
        assert_eq!(interest("interest ldconfig"), Some(("ldconfig", "")));
        for other in ["", "# x", "activate ldconfig", "interest", "interest ../../etc/passwd", "interest .hidden"] {
            assert_eq!(interest(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_package_is_entered_as_dpkg_would() {
        let (root, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let package = Package::new("demo", "Multi-Arch: same\nStatus: deinstall ok installed")
            .control("conffiles", "/etc/demo\nremove-on-upgrade /etc/old\n")
            .control("postinst", "#!/bin/sh\n")
            .control("triggers", "interest-noawait /usr/x\ninterest named\n");
        let deb = Deb::open(package.write(dir.path())).unwrap();
        let unpacked = Unpacked {
            list: vec!["/.".into(), "/etc".into(), "/etc/demo".into(), "/lost".into()],
            conffiles: BTreeMap::from([("/etc/demo".to_owned(), "0123".to_owned())]),
            privileged: Vec::new(),
        };
        assert_eq!(conffiles(&deb), BTreeSet::from(["/etc/demo".to_owned()]));
        create(root.path()).unwrap();
        enter(root.path(), &deb, &unpacked, &BTreeSet::from(["/lost".into()])).unwrap();
        write_status(root.path(), [(&deb, &unpacked)].into_iter()).unwrap();
        write_triggers(root.path(), [&deb].into_iter()).unwrap();
        let read = |name: &str| disk::read_to_string(root.path().join(PLACE).join(name)).unwrap();
        assert_eq!(read("info/demo:all.list"), "/.\n/etc\n/etc/demo\n");
        assert_eq!(read("info/demo:all.postinst"), "#!/bin/sh\n");
        assert_eq!(
            (read("triggers/File"), read("triggers/named")),
            ("/usr/x demo:all/noawait\n".into(), "demo:all\n".into())
        );
        let status = read("status");
        assert!(status.starts_with("Package: demo\nStatus: install ok unpacked\nVersion: 1\n"), "{status}");
        assert!(status.ends_with("Conffiles:\n /etc/demo 0123\n\n") && !status.contains("deinstall"), "{status}");
    }

    #[test]
    fn what_is_not_installed_is_found() {
        let status = "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: install ok half-configured\n";
        assert_eq!(unfinished(status), [("b".to_owned(), "install ok half-configured".to_owned())]);
    }
}
