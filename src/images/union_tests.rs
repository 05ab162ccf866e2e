use super::*;
use crate::disk;
use crate::images::fixture;

/// A rootfs archive from (path, kind, content or target).
fn archive(members: &[(&str, char, &str)]) -> Archive {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.tar");
    let mut builder = tar::Builder::new(disk::create(&path).unwrap());
    let base = [
        ("etc/passwd", 'f', "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n"),
        ("etc/group", 'f', "root:x:0:\nweb:x:34:\n"),
        ("usr/lib/os-release", 'f', "ID=debian\n"),
        ("bin", 'l', "usr/bin"),
    ];
    for (name, kind, content) in base.iter().chain(members) {
        let mut header = tar::Header::new_ustar();
        header.set_mode(if content.starts_with("set-id") { 0o4755 } else { 0o755 });
        header.set_uid(0);
        header.set_gid(0);
        let (kind, size) = match kind {
            'f' => (tar::EntryType::Regular, content.len()),
            'd' => (tar::EntryType::Directory, 0),
            'l' => (tar::EntryType::Symlink, 0),
            _ => (tar::EntryType::Link, 0),
        };
        header.set_entry_type(kind);
        header.set_size(size as u64);
        if kind == tar::EntryType::Symlink || kind == tar::EntryType::Link {
            header.set_link_name(content).unwrap();
        }
        builder.append_data(&mut header, name, &content.as_bytes()[..size]).unwrap();
    }
    builder.finish().unwrap();
    Archive::open(&path).unwrap()
}

fn system(entries: &[(&str, Entry)]) -> System {
    let mut system = fixture::system();
    system.tree = entries.iter().map(|(path, entry)| (path.parse().unwrap(), entry.clone())).collect();
    system
}

fn unite(archive: &Archive, system: &System) -> Result<Finals, Error> {
    super::unite(archive, &Owned::read(archive)?, system)
}

fn inline(finals: &Finals, path: &str) -> String {
    match &finals[path].node {
        Node::File(Bytes::Inline(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn modules_win_over_packages_and_links_in_parents_are_followed() {
    let archive = archive(&[("usr/bin/tool", 'f', "old"), ("home/a", 'f', "")]);
    let entries = [
        ("/bin/tool", Entry { owner: "web".into(), group: "web".into(), ..Entry::file("new", 0o700) }),
        ("/home", Entry::symlink("/var/home")),
        ("/opt/deep/file", Entry::file("x", 0o644)),
    ];
    let finals = unite(&archive, &system(&entries)).unwrap();
    assert_eq!(inline(&finals, "/usr/bin/tool"), "new");
    let tool = &finals["/usr/bin/tool"];
    assert_eq!((tool.mode, tool.uid, tool.gid), (0o700, 33, 34));
    assert_eq!(finals["/home"].node, Node::Symlink("/var/home".into()));
    assert!(!finals.contains_key("/home/a"));
    assert_eq!(finals["/opt/deep"].node, Node::Directory);
    assert_eq!(finals["/usr/bin/rave"].node, Node::File(Bytes::Rave));
    assert_eq!(inline(&finals, "/usr/lib/os-release"), "ID=debian\nIMAGE_ID=test\nIMAGE_VERSION=1\n");
}

#[test]
fn what_does_not_ship_takes_its_empty_directories_along() {
    let archive = archive(&[
        ("usr/share/doc/a/copyright", 'f', ""),
        ("usr/share/keep/x", 'f', ""),
        ("usr/lib/emptied-by-nobody", 'd', ""),
        ("usr/bin/dpkg", 'f', ""),
        ("usr/bin/shared", 'f', ""),
        ("var/lib/dpkg/info/dpkg.list", 'f', "/.\n/bin\n/bin/dpkg\n/usr/bin/shared\n"),
        ("var/lib/dpkg/info/other:amd64.list", 'f', "/bin\n/usr\n/usr/bin\n/usr/bin/shared\n"),
    ]);
    let mut system = system(&[]);
    system.exclude = vec!["/usr/share/doc/**".into(), "/var/lib/dpkg/**".into()];
    system.build_only = ["dpkg".parse().unwrap()].into();
    let finals = unite(&archive, &system).unwrap();
    for gone in ["/usr/share/doc", "/usr/bin/dpkg", "/var/lib/dpkg"] {
        assert!(!finals.contains_key(gone), "{gone}");
    }
    for kept in ["/usr/share/keep/x", "/usr/lib/emptied-by-nobody", "/usr/bin/shared", "/bin"] {
        assert!(finals.contains_key(kept), "{kept}");
    }
    system.build_only = ["absent".parse().unwrap()].into();
    assert!(unite(&archive, &system).unwrap_err().to_string().contains("absent"));
}

#[test]
fn only_packages_that_an_image_names_start_their_units() {
    let wants = "etc/systemd/system/multi-user.target.wants";
    let archive = archive(&[
        ("lib", 'l', "usr/lib"),
        ("usr/lib/systemd/system/named.service", 'f', "[Service]\nType=exec\n"),
        ("usr/lib/systemd/system/other.service", 'f', "[Service]\nType=exec\n"),
        (&format!("{wants}/named.service"), 'l', "/lib/systemd/system/named.service"),
        (&format!("{wants}/other.service"), 'l', "/lib/systemd/system/other.service"),
        ("var/lib/dpkg/info/named.list", 'f', "/lib/systemd/system/named.service\n"),
        ("var/lib/dpkg/info/other:amd64.list", 'f', "/lib/systemd/system/other.service\n"),
    ]);
    let mut system = system(&[]);
    system.exclude = vec!["/etc/systemd/system/**".into()];
    system.starts = [("named".parse().unwrap(), "system.packages".parse().unwrap())].into();
    let started = |system: &System| {
        let finals = unite(&archive, system).unwrap();
        let links: Vec<String> = children(&finals, &format!("/{wants}")).map(str::to_owned).collect();
        let owned = Owned::read(&archive).unwrap();
        let units = crate::images::owned::started(&system.starts, &archive, &owned, &finals).unwrap();
        (links, units.into_keys().collect::<Vec<_>>())
    };
    let named = (vec![format!("/{wants}/named.service")], vec!["named.service".to_owned()]);
    assert_eq!(started(&system), named);
    let mask = ("/etc/systemd/system/named.service".parse().unwrap(), Entry::symlink("/dev/null"));
    system.tree = [mask].into();
    assert_eq!(started(&system), (named.0, vec![]), "a masked unit need not run");
    system.exclude.push("/usr/lib/systemd/system/named.*".into());
    assert_eq!(started(&system), (vec![], vec![]), "a unit that does not ship is not linked");
}

#[test]
fn what_a_package_brought_names_it() {
    let archive = archive(&[
        ("usr/bin/tool", 'f', "tool"),
        ("usr/bin/other", 'l', "tool"),
        ("usr/bin/made-by-a-script", 'f', ""),
        ("usr/bin/diverted", 'f', ""),
        ("etc/tool.conf", 'f', "theirs"),
        ("var/lib/tool/state", 'f', ""),
        (
            "var/lib/dpkg/info/tool:amd64.list",
            'f',
            "/.\n/bin\n/bin/tool\n/bin/other\n/bin/diverted\n/etc/tool.conf\n/var/lib/tool/state\n",
        ),
        ("var/lib/dpkg/info/diverter.list", 'f', "/bin\n/usr/bin/diverted\n"),
    ]);
    let mut system = system(&[("/etc/tool.conf", Entry::file("ours", 0o644))]);
    system.exclude = vec!["/var/lib/dpkg/**".into()];
    let finals = unite(&archive, &system).unwrap();
    for (path, package) in [
        ("/usr/bin/tool", Some("tool")),
        ("/usr/bin/other", Some("tool")),
        ("/usr/share/factory/var/lib/tool/state", Some("tool")),
        ("/usr/bin/made-by-a-script", None),
        ("/usr/bin/diverted", None),
        ("/etc/tool.conf", None),
        ("/usr/bin/rave", None),
        ("/usr/bin", None),
    ] {
        assert_eq!(finals[path].package.as_ref().map(PackageName::as_str), package, "{path}");
    }
}

#[test]
fn var_moves_to_the_factory_copy_and_is_made_by_tmpfiles() {
    let archive = archive(&[
        ("var/lib/a b", 'd', ""),
        ("var/lib/a b/state", 'f', "1"),
        ("var/run", 'l', "/run"),
        ("boot/vmlinuz-6", 'f', "kernel"),
        ("tmp/x", 'f', ""),
    ]);
    let finals = unite(&archive, &system(&[])).unwrap();
    assert!(finals.contains_key("/usr/share/factory/var/lib/a b/state"));
    assert_eq!(
        children(&finals, "/var").count() + children(&finals, "/boot").count() + children(&finals, "/tmp").count(),
        0
    );
    let lines = inline(&finals, "/usr/lib/tmpfiles.d/00-rave-var.conf");
    for line in [
        "d /var/lib/a\\x20b 0755 0 0 -",
        "C /var/lib/a\\x20b/state - - - - /usr/share/factory/var/lib/a\\x20b/state",
        "L /var/run - - - - /run",
    ] {
        assert!(lines.lines().any(|l| l == line), "{line} in\n{lines}");
    }
}

#[test]
fn hostile_requests_are_refused() {
    let archive = archive(&[("loop", 'l', "loop"), ("file", 'f', "")]);
    for (path, entry, why) in [
        ("/x", Entry { owner: "nobody-here".into(), ..Entry::file("", 0) }, "there is no user \"nobody-here\""),
        ("/loop/x", Entry::file("", 0), "loop of links"),
        ("/file/x", Entry::file("", 0), "/file is not a directory"),
    ] {
        let error = unite(&archive, &system(&[(path, entry)])).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(path), "{error}");
    }
}

#[test]
fn second_names_keep_their_bytes() {
    let archive = archive(&[("usr/bin/perl", 'f', "x"), ("usr/bin/perl5", 'h', "usr/bin/perl")]);
    let finals = unite(&archive, &system(&[])).unwrap();
    assert_eq!(finals["/usr/bin/perl"].node, finals["/usr/bin/perl5"].node);
}

#[test]
fn only_named_programs_keep_their_set_id_bits() {
    let archive = archive(&[("usr/bin/sudo", 'f', "set-id"), ("usr/bin/mount", 'f', "set-id")]);
    let mut system = system(&[]);
    system.set_id = ["/usr/bin/sudo".parse().unwrap()].into();
    let finals = unite(&archive, &system).unwrap();
    assert_eq!((finals["/usr/bin/sudo"].mode, finals["/usr/bin/mount"].mode), (0o4755, 0o755));
}

#[test]
fn a_machine_knows_what_it_should_be_and_what_its_units_run() {
    let status = "Package: web\nStatus: install ok installed\nVersion: 1.2-3\n\nPackage: agent\nVersion: 1:7\n";
    let archive = archive(&[
        ("var/lib/dpkg/status", 'f', status),
        ("var/lib/dpkg/info/web.list", 'f', "/bin/webd\n"),
        ("var/lib/dpkg/info/agent:amd64.list", 'f', "/usr/lib/systemd/system/agent.service\n"),
        ("usr/bin/webd", 'f', "program"),
        ("usr/lib/systemd/system/agent.service", 'f', "[Service]\nExecStart=/usr/bin/missing\n"),
    ]);
    let unit = |program: &str| Entry::file(format!("[Service]\nExecStart=-{program} --fast\n"), 0o644);
    let mut system = system(&[
        ("/etc/systemd/system/web.service", unit("/bin/webd")),
        ("/etc/systemd/system/own.service", unit("/usr/bin/rave")),
        ("/etc/systemd/system/masked.service", Entry::symlink("/dev/null")),
    ]);
    system.cmdline = vec!["quiet".into()];
    let option: crate::name::OptionPath = "a.b".parse().unwrap();
    let expected = ["web.service", "own.service", "agent.service", "masked.service", "other.timer"];
    system.expect.units = expected.map(|unit| (unit.to_owned(), option.clone())).into();
    let finals = unite(&archive, &system).unwrap();
    let baseline: Baseline = serde_json::from_str(&inline(&finals, Baseline::PATH)).unwrap();
    let versions: Vec<_> = baseline.versions.iter().map(|(unit, version)| (unit.as_str(), version.as_str())).collect();
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(versions, [("agent.service", "1:7"), ("own.service", own), ("web.service", "1.2-3")]);
    assert_eq!((baseline.cmdline, baseline.expect), (system.cmdline, system.expect));
}
