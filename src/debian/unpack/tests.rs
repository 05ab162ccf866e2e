use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::debian::samples::Package;
use crate::debian::tools::replaces;

/// Unpacks packages one after the other in the given order of indices; the result must not depend on it.
fn unpack(packages: Vec<Package>, order: &[usize], root: &Path) -> Result<Vec<(Unpacked, BTreeSet<PathBuf>)>, Error> {
    unpack_diverted(packages, order, root, BTreeMap::new())
}

fn unpack_diverted(
    packages: Vec<Package>,
    order: &[usize],
    root: &Path,
    diversions: BTreeMap<PathBuf, (PathBuf, String)>,
) -> Result<Vec<(Unpacked, BTreeSet<PathBuf>)>, Error> {
    let debs = tempfile::tempdir().unwrap();
    let source = |package: Package| {
        let deb = Deb::open(package.write(debs.path())).unwrap();
        Source { deb, conffiles: BTreeSet::from(["/etc/conf".to_owned()]) }
    };
    let sources: Vec<Source> = packages.into_iter().map(source).collect();
    let may = |a: usize, b: usize| replaces(&sources[a].deb, &sources[b].deb);
    let manner = if rustix::process::geteuid().is_root() { Manner::Faithful } else { Manner::Plain };
    let mut unpacker = Unpacker::new(root, manner, &sources, &may)?;
    unpacker.prepare(diversions)?;
    let mut done = BTreeMap::new();
    for &index in order {
        done.insert(index, unpacker.unpack(index)?);
    }
    unpacker.finish()?;
    Ok(done.into_iter().map(|(index, unpacked)| (unpacked, unpacker.lost(index))).collect())
}

fn read(root: &Path, path: &str) -> String {
    String::from_utf8(disk::read(root.join(path)).unwrap()).unwrap()
}

#[test]
fn a_package_arrives_with_lists_and_digests() {
    let root = tempfile::tempdir().unwrap();
    let package = Package::new("a", "")
        .dir("", 0o755, (0, 0))
        .dir("etc", 0o755, (0, 0))
        .file("etc/conf", "hello", 0o644)
        .file("implied/dir/tool", "x", 0o4755)
        .hard_link("implied/second", "./implied/dir/tool")
        .symlink("link", "/etc/shadow");
    let done = unpack(vec![package], &[0], root.path()).unwrap();
    let list: Vec<_> = done[0].0.list.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(list, ["/.", "/etc", "/etc/conf", "/implied/dir/tool", "/implied/second", "/link"]);
    assert_eq!(done[0].0.conffiles["/etc/conf"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(done[0].0.privileged, [Path::new("/implied/dir/tool"), Path::new("/implied/second")]);
    let metadata = disk::metadata(root.path().join("implied/second")).unwrap();
    assert_eq!((metadata.nlink(), metadata.mtime()), (2, 1000));
    assert_eq!(disk::read_link(root.path().join("link")).unwrap(), Path::new("/etc/shadow"));
    let umask_free = disk::metadata(root.path().join("implied")).unwrap().mode() & 0o777;
    assert_eq!(umask_free, 0o755);
}

#[test]
fn two_owners_of_a_file_are_a_conflict_unless_one_replaces_the_other() {
    let pair = |fields: &str| {
        vec![Package::new("a", fields).file("x", "a", 0o644), Package::new("b", "").file("x", "b", 0o644)]
    };
    for order in [[0, 1], [1, 0]] {
        let root = tempfile::tempdir().unwrap();
        let error = unpack(pair(""), &order, root.path()).unwrap_err();
        assert_eq!(error.to_string(), "/x is in both a and b");
        assert!(unpack(pair("Replaces: b (<< 1)"), &order, tempfile::tempdir().unwrap().path()).is_err());
        let root = tempfile::tempdir().unwrap();
        let done = unpack(pair("Replaces: b (<< 2)"), &order, root.path()).unwrap();
        assert_eq!(read(root.path(), "x"), "a");
        let lost = done[1].1.contains(Path::new("/x")) || done[1].0.list.is_empty();
        assert!(lost && done[0].1.is_empty() && done[0].0.list.len() == 1);
    }
}

#[test]
fn directories_are_shared_and_the_first_package_decides() {
    let packages = || {
        let one = Package::new("a", "").dir("d", 0o1777, (0, 7)).file("d/a", "", 0o644);
        vec![one, Package::new("b", "").dir("d", 0o700, (0, 8)).file("d/b", "", 0o644)]
    };
    for order in [[0, 1], [1, 0]] {
        let root = tempfile::tempdir().unwrap();
        unpack(packages(), &order, root.path()).unwrap();
        let metadata = disk::metadata(root.path().join("d")).unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (0o1777, 7));
        }
        assert_eq!(disk::list(root.path().join("d")).unwrap().len(), 2);
    }
}

#[test]
fn links_of_other_packages_are_not_followed() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packages = || {
        let link = Package::new("a", "").symlink("d", outside.path().to_str().unwrap());
        vec![link, Package::new("b", "").file("d/evil", "x", 0o644)]
    };
    let error = unpack(packages(), &[0, 1], root.path()).unwrap_err();
    assert!(error.to_string().starts_with("/d/evil of b lies behind a symbolic link"), "{error}");
    let error = unpack(packages(), &[1, 0], tempfile::tempdir().unwrap().path());
    assert!(error.is_err() && disk::list(outside.path()).unwrap().is_empty());
    let packages = vec![Package::new("a", "").symlink("d", "x"), Package::new("b", "").dir("d", 0o755, (0, 0))];
    let error = unpack(packages, &[0, 1], tempfile::tempdir().unwrap().path()).unwrap_err();
    assert_eq!(error.to_string(), "/d is in both a and b");
}

#[test]
fn links_of_a_merged_system_are() {
    let root = tempfile::tempdir().unwrap();
    disk::create_dir_all(root.path().join("usr/bin")).unwrap();
    disk::symlink("usr/bin", root.path().join("bin")).unwrap();
    // Not the link that a merged system has.
    disk::symlink("/", root.path().join("sbin")).unwrap();
    let package = Package::new("a", "").dir("bin", 0o755, (0, 0)).file("bin/tool", "x", 0o755);
    let done = unpack(vec![package], &[0], root.path()).unwrap();
    assert_eq!(read(root.path(), "usr/bin/tool"), "x");
    assert_eq!(done[0].0.list[1], Path::new("/bin/tool"));
    let clash = vec![
        Package::new("a", "").file("bin/tool", "x", 0o755),
        Package::new("b", "").file("usr/bin/tool", "x", 0o755),
    ];
    assert!(matches!(unpack(clash, &[0, 1], root.path()), Err(Error::Conflict { .. })));
    let package = Package::new("a", "").file("sbin/tool", "x", 0o755);
    assert!(matches!(unpack(vec![package], &[0], root.path()), Err(Error::Through { .. })));
}

#[test]
fn diverted_files_go_elsewhere_but_for_the_diverter() {
    let root = tempfile::tempdir().unwrap();
    let packages = vec![Package::new("a", "").file("tool", "a", 0o755), Package::new("b", "").file("tool", "b", 0o755)];
    let diversions = BTreeMap::from([("/tool".into(), ("/tool.distrib".into(), "b".to_owned()))]);
    let done = unpack_diverted(packages, &[0, 1], root.path(), diversions).unwrap();
    assert_eq!((read(root.path(), "tool.distrib"), read(root.path(), "tool")), ("a".into(), "b".into()));
    assert_eq!(done[0].0.list, [Path::new("/tool")]);
}
