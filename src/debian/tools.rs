//! A tree of programs: the content of packages without running any of their scripts, as the calling user's own
//! files. Programs are run in it by [`crate::sandbox::Sandbox::new`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::relation;
use super::unpack::{Error, Manner, Source, Unpacker};
use crate::debian::deb::Deb;
use crate::disk::{self, dir::Dir};

/// Links that a merged system has in its root.
const LINKS: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Directories that a sandbox or a program looks for.
const DIRECTORIES: [&str; 7] = ["proc", "dev", "tmp", "run", "root", "etc", "var"];
/// Files that programs or binds look for, with their content.
const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/resolv.conf", ""),
];
/// Where the dynamic linker looks without being told.
const LIBRARIES: [&str; 4] = ["/lib", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"];
/// Where libraries from elsewhere are linked to.
const LIBRARY_HOME: &str = "usr/lib/x86_64-linux-gnu";

/// Unpacks `debs` into the existing, empty directory `dest`. /bin, /sbin, /lib and /lib64 are links into /usr, and
/// libraries in directories that /etc/ld.so.conf.d names are found without a cache.
pub fn unpack_tools(debs: &[PathBuf], dest: &Path) -> Result<(), Error> {
    for name in LINKS {
        disk::create_dir_all(dest.join("usr").join(name))?;
        disk::symlink(Path::new("usr").join(name), dest.join(name))?;
    }
    for name in DIRECTORIES.into_iter().chain([LIBRARY_HOME]) {
        disk::create_dir_all(dest.join(name))?;
    }
    for (name, content) in FILES {
        let path = dest.join(name);
        if !disk::exists(&path) {
            disk::write_atomic(&path, content.as_bytes(), 0o644)?;
        }
    }
    // All this is there before the first package, whose links nothing below follows.
    let sources = debs.par_iter().map(|path| Ok(Source { deb: Deb::open(path)?, conffiles: Default::default() }));
    let sources = sources.collect::<Result<Vec<_>, Error>>()?;
    let replaces = |a: usize, b: usize| match (sources.get(a), sources.get(b)) {
        (Some(a), Some(b)) => replaces(&a.deb, &b.deb),
        _ => false,
    };
    let mut unpacker = Unpacker::new(dest, Manner::Plain, &sources, &replaces)?;
    unpacker.prepare(Default::default())?;
    largest_first(&sources).into_par_iter().try_for_each(|index| unpacker.unpack(index).map(drop))?;
    unpacker.finish()?;
    link_libraries(dest)
}

/// Whether one package may take over files of another (Debian Policy, 7.6.1).
pub fn replaces(deb: &Deb, other: &Deb) -> bool {
    let field = deb.control.get("Replaces").unwrap_or_default();
    let version = relation::version(other.version()).ok();
    relation::well_formed(field).iter().flatten().any(|r| r.name == other.name() && r.admits(version.as_ref()))
}

/// The indices of packages in an order that keeps all processors busy to the end.
pub fn largest_first(sources: &[Source]) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..sources.len()).collect();
    indices.sort_by_key(|&index| std::cmp::Reverse(sources.get(index).map(|s| s.deb.compressed_size())));
    indices
}

/// Gives libraries in unusual directories a link in a usual one.
fn link_libraries(dest: &Path) -> Result<(), Error> {
    let root = Dir::open(dest)?;
    let Ok(configuration) = root.below(Path::new("etc/ld.so.conf.d")) else { return Ok(()) };
    let home = root.below(Path::new(LIBRARY_HOME));
    for file in disk::list(configuration.path())? {
        if file.extension() != Some(OsStr::new("conf")) || !disk::metadata(&file)?.is_file() {
            continue;
        }
        let text = disk::read_to_string(file)?;
        for line in text.lines().map(str::trim).filter(|line| line.starts_with('/') && !LIBRARIES.contains(line)) {
            let inside = if line.starts_with("/lib/") { Path::new("/usr").join(&line[1..]) } else { line.into() };
            // A directory that is not there, or only through a link, has nothing to offer.
            let Ok(directory) = root.below(inside.strip_prefix("/").unwrap_or(&inside)) else { continue };
            for library in disk::list(directory.path())? {
                let Some(name) = library.file_name() else { continue };
                let Ok(home) = &home else { continue };
                if name.to_string_lossy().contains(".so") && home.kind(name)?.is_none() {
                    home.symlink(&inside.join(name), name)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::samples::Package;

    #[test]
    fn tools_are_ready_to_run_and_nobody_elses() {
        use std::os::unix::fs::MetadataExt as _;
        let (debs, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let packages = [
            Package::new("a", "").dir("bin", 0o700, (0, 42)).file("bin/su", "x", 0o4711),
            Package::new("b", "")
                .file("etc/ld.so.conf.d/b.conf", "# comment\n/usr/lib/special\n/lib/old\n/../../etc\n", 0o644)
                .file("usr/lib/special/libspecial.so.1", "x", 0o644)
                .file("lib/old/libold.so", "x", 0o644),
        ];
        let debs: Vec<_> = packages.into_iter().map(|package| package.write(debs.path())).collect();
        unpack_tools(&debs, dest.path()).unwrap();
        let su = disk::metadata(dest.path().join("usr/bin/su")).unwrap();
        assert_eq!((su.mode() & 0o7777, su.uid()), (0o711, rustix::process::geteuid().as_raw()));
        let link = |name: &str| disk::read_link(dest.path().join(LIBRARY_HOME).join(name));
        assert_eq!(link("libspecial.so.1").unwrap(), Path::new("/usr/lib/special/libspecial.so.1"));
        assert_eq!(link("libold.so").unwrap(), Path::new("/usr/lib/old/libold.so"));
        assert!(disk::read_to_string(dest.path().join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
        assert!(disk::exists(dest.path().join("proc")));
    }

    #[test]
    fn a_hostile_link_leads_nowhere() {
        let (debs, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        let package = Package::new("a", "").symlink("etc", outside.path().to_str().unwrap()).write(debs.path());
        assert!(unpack_tools(&[package], dest.path()).is_err());
        assert!(disk::list(outside.path()).unwrap().is_empty());
    }
}
