//! Whole root file systems, made by the rave binary from small packages. The shell, dpkg and what they need are the
//! host's own, put into a package; the host must be a Debian with dpkg.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

#[path = "support/deb.rs"]
mod deb;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use deb::Package;
use rave::debian::rootfs::{self, Error, Request, Summary};
use rave::event::Silent;
use rave::system::{Group, User};
use rave::tool::Tool;
use tempfile::TempDir;

/// Programs of the host that the little system has.
const PROGRAMS: [&str; 8] = ["sh", "dpkg", "dpkg-divert", "mkdir", "id", "cat", "ln", "date"];
/// Programs that dpkg insists on and that have nothing to do here.
const STUBS: [&str; 7] = ["rm", "tar", "diff", "dpkg-deb", "dpkg-split", "ldconfig", "start-stop-daemon"];

/// The packages of a system that can run scripts.
fn base(directory: &Path) -> Vec<PathBuf> {
    let mut files = Package::new("base-files", "Essential: yes").dir("", 0o755, (0, 0)).dir("usr", 0o755, (0, 0));
    for name in ["bin", "sbin", "lib", "lib64"] {
        files = files.symlink(name, &format!("usr/{name}"));
    }
    let mut host = Package::new("dash", "Essential: yes");
    let mut libraries = std::collections::BTreeSet::new();
    for name in PROGRAMS {
        let path = format!("/usr/bin/{name}");
        host = host.file(&format!("usr/bin/{name}"), std::fs::read(&path).unwrap(), 0o755);
        let output = String::from_utf8(Tool::new("ldd").arg(&path).output().unwrap()).unwrap();
        let paths = output.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(paths.map(str::to_owned));
    }
    for path in libraries {
        // Names as the loader asks for them, below /usr whatever the host says.
        let inside = path.strip_prefix("/usr").unwrap_or(&path).to_owned();
        host = host.file(&format!("usr{inside}"), std::fs::read(&path).unwrap(), 0o755);
    }
    for name in STUBS {
        host = host.file(&format!("usr/bin/{name}"), "#!/bin/sh\nexit 0\n", 0o755);
    }
    let passwd = Package::new("base-passwd", "Essential: yes")
        .file("usr/share/base-passwd/passwd.master", "root:*:0:0:root:/root:/bin/sh\n", 0o644)
        .file("usr/share/base-passwd/group.master", "root:*:0:\nshadow:*:42:\n", 0o644);
    [files, passwd, host].into_iter().map(|package| package.write(directory)).collect()
}

fn build(debs: &[PathBuf], dir: &Path, keep: bool) -> Result<Summary, Error> {
    build_with(debs, dir, keep, "exit 0")
}

/// Builds, and runs a script in the configured system.
fn build_with(debs: &[PathBuf], dir: &Path, keep: bool, script: &str) -> Result<Summary, Error> {
    let user = User {
        uid: 900,
        group: "agent".into(),
        groups: ["shadow".to_owned()].into(),
        description: "Agent".into(),
        home: "/home/agent".parse().unwrap(),
        shell: "/bin/sh".parse().unwrap(),
    };
    let request = Request {
        debs,
        users: &BTreeMap::from([("agent".to_owned(), user)]),
        prepare: &BTreeMap::from([("demo".to_owned(), ["/bin/sh", "-c", script].map(str::to_owned).to_vec())]),
        groups: &BTreeMap::from([("agent".to_owned(), Group { gid: 900 })]),
        epoch: 86_400 * 10,
        workers: 2,
        keep,
        executable: Some(Path::new(env!("CARGO_BIN_EXE_rave"))),
    };
    rootfs::build(&request, dir, &dir.join("out.tar"), &Silent)
}

/// Text files and links of an archive, by name; a link's text is its target.
fn contents(archive: &Path) -> BTreeMap<String, (String, u32, u64)> {
    let mut archive = tar::Archive::new(std::fs::File::open(archive).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut bytes = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        entry.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (name, (text, entry.header().mode().unwrap(), entry.header().uid().unwrap()))
    });
    entries.collect()
}

fn system(packages: Vec<Package>) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut debs = base(dir.path());
    debs.extend(packages.into_iter().map(|package| package.write(dir.path())));
    debs.sort();
    (dir, debs)
}

#[test]
fn modules_prepare_what_packages_have_configured() {
    let (dir, debs) = system(vec![Package::new("aaa", "").control("postinst", "#!/bin/sh\nid -u agent > /agent\n")]);
    build_with(
        &debs,
        dir.path(),
        false,
        "set -e; cat /agent > /usr/prepared; echo $SOURCE_DATE_EPOCH >> /usr/prepared",
    )
    .unwrap();
    assert_eq!(contents(&dir.path().join("out.tar"))["usr/prepared"].0, "900\n864000\n");
    match build_with(&debs, dir.path(), false, "echo it broke; exit 3") {
        Err(Error::Script { package, script, output, root: None }) => {
            assert_eq!((package.as_str(), script.as_str(), output.as_str()), ("demo", "preparation", "it broke\n"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn scripts_run_in_order_with_accounts_diversions_and_triggers() {
    let (dir, debs) = system(vec![
        Package::new("aaa", "Depends: zzz")
            .file("etc/aaa.conf", "shipped\n", 0o644)
            .control("conffiles", "/etc/aaa.conf\n")
            .control("postinst", "#!/bin/sh\nset -e\ncat /zzz-was-here\nid -u agent > /agent\necho $SOURCE_DATE_EPOCH $TZ > /env\n"),
        Package::new("diverted", "").file("usr/bin/tool", "original\n", 0o755).hard_link("usr/bin/twin", "./usr/bin/tool"),
        Package::new("diverter", "").file("usr/bin/tool", "diverted\n", 0o755).control(
            "preinst",
            "#!/bin/sh\nset -e\n[ \"$1 $DPKG_MAINTSCRIPT_PACKAGE $DPKG_MAINTSCRIPT_NAME\" = 'install diverter preinst' ]\n\
             dpkg-divert --package diverter --rename --divert /usr/bin/tool.real --add /usr/bin/tool\n",
        ),
        Package::new("watcher", "")
            .control("triggers", "interest-noawait seen\n")
            .control("postinst", "#!/bin/sh\n[ \"$1\" != triggered ] || echo $2 > /triggered\n"),
        Package::new("zzz", "Depends: watcher")
            .control("triggers", "activate-noawait seen\n")
            .control("postinst", "#!/bin/sh\necho random > /etc/machine-id; mkdir -p /var/log; echo x > /var/log/x\n\
                      echo gone > /run/gone; echo gone > /tmp/gone; : > /zzz-was-here\nupdate-initramfs -u\n"),
        Package::new("initramfs-tools", "").file("usr/sbin/update-initramfs", "#!/bin/sh\nexit 1\n", 0o755),
    ]);
    let summary = build(&debs, dir.path(), false).unwrap();
    assert_eq!(summary.packages, 9);
    let files = contents(&dir.path().join("out.tar"));
    let text = |name: &str| files.get(name).map(|(text, ..)| text.as_str());
    assert_eq!(text("agent"), Some("900\n"));
    assert_eq!(text("env"), Some("864000 UTC\n"));
    assert_eq!(text("etc/aaa.conf"), Some("shipped\n"));
    assert_eq!((text("usr/bin/tool"), text("usr/bin/tool.real")), (Some("diverted\n"), Some("original\n")));
    assert_eq!(text("usr/bin/twin"), Some("usr/bin/tool.real"));
    assert_eq!(text("triggered"), Some("seen\n"));
    assert_eq!(text("etc/machine-id"), Some(""));
    assert_eq!(text("usr/sbin/update-initramfs"), Some("#!/bin/sh\nexit 1\n"));
    assert_eq!(text("bin"), Some("usr/bin"));
    for gone in ["var/log/x", "run/gone", "tmp/gone", "usr/sbin/policy-rc.d", "var/lib/dpkg/status-old"] {
        assert_eq!(text(gone), None, "{gone}");
    }
    assert!(text("etc/passwd").unwrap().contains("agent:x:900:900:Agent:/home/agent:/bin/sh\n"));
    assert_eq!(text("etc/shadow").unwrap(), "root:*:10:0:99999:7:::\nagent:*:10:0:99999:7:::\n");
    assert_eq!(files["etc/shadow"].1, 0o640);
    let status = text("var/lib/dpkg/status").unwrap();
    assert_eq!(status.matches("Status: install ok installed").count(), 9);
    assert!(status.contains("Conffiles:\n /etc/aaa.conf "), "{status}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 0);
}

#[test]
fn the_same_packages_give_the_same_bytes() {
    let demo = || {
        Package::new("demo", "")
            .file("d", "x", 0o644)
            .control("postinst", "#!/bin/sh\ndate > /etc/demo.log; : > /new\n")
    };
    let clean = || Package::new("demo", "").file("d", "x", 0o644).control("postinst", "#!/bin/sh\n: > /new\n");
    let bytes = |package: Package| {
        let (dir, debs) = system(vec![package]);
        build(&debs, dir.path(), false).unwrap();
        std::fs::read(dir.path().join("out.tar")).unwrap()
    };
    let (one, two) = (bytes(clean()), bytes(clean()));
    assert!(one == two, "two builds differ");
    assert!(bytes(demo()) != one, "the comparison sees a difference");
}

#[test]
fn a_failing_script_is_named_with_what_it_said() {
    for (script, name) in [("postinst", "configuration"), ("preinst", "preinst")] {
        let broken =
            Package::new("broken", "").control(script, "#!/bin/sh\necho out of luck\necho really >&2\nexit 3\n");
        let (dir, debs) = system(vec![broken, Package::new("other", "")]);
        match build(&debs, dir.path(), false).unwrap_err() {
            Error::Script { package, script, output, root: None } => {
                assert_eq!((package.as_str(), script.as_str()), ("broken", name));
                assert!(output.contains("out of luck\nreally\n") && !output.contains("Setting up other"), "{output}");
            }
            other => panic!("{other}"),
        }
        assert!(!dir.path().join("out.tar").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 0);
        let Error::Script { root: Some(root), .. } = build(&debs, dir.path(), true).unwrap_err() else {
            panic!("the root is not kept");
        };
        assert!(root.join("etc/passwd").exists());
        rootfs::remove(root.parent().unwrap()).unwrap();
        assert!(!root.exists());
    }
}

#[test]
fn what_cannot_become_a_system_is_refused() {
    let conflict = vec![Package::new("one", "").file("x", "1", 0o644), Package::new("two", "").file("x", "2", 0o644)];
    let (dir, debs) = system(conflict);
    let error = build(&debs, dir.path(), false).unwrap_err().to_string();
    assert_eq!(error, "/x is in both one and two");
    let (dir, debs) = system(Vec::new());
    let without = |name: &str| debs.iter().filter(|p| !p.ends_with(name)).cloned().collect::<Vec<_>>();
    let error = build(&without("base-files.deb"), dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("the package base-files is missing"), "{error}");
    let error = build(&without("base-passwd.deb"), dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("the package base-passwd is missing"), "{error}");
    std::fs::write(&debs[0], "not a package").unwrap();
    let error = build(&debs, dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("is not a good package: its ar archive is malformed"), "{error}");
}

#[test]
fn scripts_have_no_network_and_no_host() {
    let script =
        "#!/bin/sh\ncat /proc/net/dev > /net; [ ! -e /work ] && [ ! -e /debs ] && [ ! -e /home ] && : > /alone\n";
    let (dir, debs) = system(vec![Package::new("demo", "").control("postinst", script)]);
    build(&debs, dir.path(), false).unwrap();
    let files = contents(&dir.path().join("out.tar"));
    assert!(files.contains_key("alone"));
    let devices: Vec<_> = files["net"].0.lines().skip(2).map(|line| line.trim().split(':').next().unwrap()).collect();
    assert_eq!(devices, ["lo"]);
}

#[test]
fn a_full_disk_is_told_as_such() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (dir, mut debs) = system(Vec::new());
    debs.push(Package::new("large", "").file("large", vec![1; 64 << 20], 0o644).write(dir.path()));
    // A small file system of its own, in a mount namespace of its own that ends with the process.
    let script = "mount -t tmpfs -o size=32m tmpfs \"$1\" && shift && exec \"$@\"";
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let test = std::env::current_exe().unwrap();
    let run = Tool::new("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(&small).arg(test);
    let run = run.args(["--ignored", "--exact", "inside_a_small_file_system", "--nocapture"]).env("SMALL", &small);
    let output = String::from_utf8(run.env("DEBS", dir.path()).output().unwrap()).unwrap();
    assert!(output.contains("1 passed"), "{output}");
}

/// Started by the test above.
#[test]
#[ignore = "needs the small file system that another test makes"]
fn inside_a_small_file_system() {
    let (small, debs) = (std::env::var("SMALL").unwrap(), std::env::var("DEBS").unwrap());
    let entries = std::fs::read_dir(debs).unwrap().map(|entry| entry.unwrap().path());
    let mut debs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "deb")).collect();
    debs.sort();
    let error = build(&debs, Path::new(&small), false).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert_eq!(std::fs::read_dir(small).unwrap().count(), 0);
}
