use super::*;

fn host(list: &str, stanzas: &str) -> Host {
    let mut host = Host::default();
    host.add_list(list);
    host.add_stanzas(stanzas);
    host
}

fn urls(mirrors: &[Mirror]) -> Vec<&str> {
    mirrors.iter().map(|mirror| mirror.url.as_str()).collect()
}

#[test]
fn one_line_sources() {
    let found = host(
        "# deb http://comment.example/debian trixie main\n\
         deb http://one.example/debian/ bookworm main contrib # near\n\
         deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] https://two.example/pub/debian stable main\n\
         deb\t[arch=amd64]\thttp://three.example/debian\tsid\tmain\n\
         deb[trusted=yes] http://four.example/debian sid main\n\
         deb http://one.example/debian bookworm-updates main\n\
         deb http://security.example/debian-security bookworm-security main\n",
        "",
    );
    let debian = [
        "http://one.example/debian",
        "https://two.example/pub/debian",
        "http://three.example/debian",
        "http://four.example/debian",
    ];
    assert_eq!(found.debian, debian);
    assert_eq!(found.security, ["http://security.example/debian-security"]);
}

#[test]
fn deb822_sources() {
    let found = host(
        "",
        "# a comment\nTypes: deb deb-src\nURIs: http://one.example/debian\n# inside\n http://two.example/debian/\nSuites: bookworm\n\
         Components: main\nSigned-By:\n /usr/share/keyrings/debian-archive-keyring.pgp\n\n\n\
         types: deb\nuris: http://one.example/debian-security\nsuites: x\ncomponents: contrib main\n\n\
         Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: x\nComponents: main\n\n\
         Types: deb-src\nURIs: http://source.example/debian\nSuites: x\nComponents: main\n",
    );
    assert_eq!(found.debian, ["http://one.example/debian", "http://two.example/debian"]);
    assert_eq!(found.security, ["http://one.example/debian-security"]);
}

#[test]
fn what_is_not_debian_is_ignored() {
    let found = host(
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.com/linux/debian bookworm stable\n\
         deb https://download.docker.com/linux/debian bookworm stable\n\
         deb [signed-by=/usr/share/keyrings/tailscale-archive-keyring.gpg] https://pkgs.tailscale.com/stable/debian trixie main\n\
         deb https://deb.nodesource.com/node_20.x nodistro main\n\
         deb http://archive.ubuntu.com/ubuntu noble main\n\
         deb cdrom:[Debian GNU/Linux 13]/debian trixie main\n\
         deb file:/srv/debian trixie main\n\
         deb mirror+file:/etc/apt/debian trixie main\n\
         deb-src http://source.example/debian trixie main\n\
         debian http://x.example/debian trixie main\n\
         deb [ unclosed http://x.example/debian trixie main\n\
         deb\ndeb http://only.example/debian\n[\n",
        "Types: deb\nURIs: https://own.example/debian\nSuites: x\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n\n\
         no field\n: \n continued\nTypes:\n",
    );
    assert_eq!(found, Host::default());
}

#[test]
fn sources_are_read_from_all_files_in_order() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Host::read(dir.path()).unwrap(), Host::default(), "no apt");
    disk::create_dir_all(dir.path().join("sources.list.d")).unwrap();
    let write = |name: &str, bytes: &[u8]| disk::write_atomic(dir.path().join(name), bytes, 0o644).unwrap();
    write("sources.list", b"deb http://a.example/debian x main # caf\xe9\n");
    write("sources.list.d/b.list", b"deb http://b.example/debian x main\n");
    write("sources.list.d/c.sources", b"Types: deb\nURIs: http://c.example/debian\nComponents: main\n");
    write("sources.list.d/d.sources.disabled", b"Types: deb\nURIs: http://d.example/debian\nComponents: main\n");
    let found = Host::read(dir.path()).unwrap();
    assert_eq!(found.debian, ["http://a.example/debian", "http://b.example/debian", "http://c.example/debian"]);
}

#[test]
fn the_order_is_environment_image_host_snapshot() {
    let host = Host { debian: vec!["http://host.example/debian".to_owned()], security: Vec::new() };
    let image = ["https://image.example/debian/".to_owned(), "http://env.example/debian".to_owned()];
    let choice = Choice {
        environment: Some(" http://env.example/debian/  http://sec.example/debian-security "),
        image: &image,
        host: Some(&host),
        date: Some("2026-11-02T08:15:30Z".parse().unwrap()),
    };
    let mirrors = Mirrors::new(&choice).unwrap();
    assert_eq!(
        urls(&mirrors.of(&Base::Debian)),
        [
            "http://env.example/debian",
            "https://image.example/debian",
            "http://host.example/debian",
            "http://snapshot.debian.org/archive/debian/20261103T081530Z",
            "http://snapshot.debian.org/archive/debian/20261102T081530Z",
        ]
    );
    assert_eq!(
        urls(&mirrors.of(&Base::DebianSecurity)),
        [
            "http://env.example/debian-security",
            "http://sec.example/debian-security",
            "https://image.example/debian-security",
            "http://host.example/debian-security",
            "http://snapshot.debian.org/archive/debian-security/20261103T081530Z",
            "http://snapshot.debian.org/archive/debian-security/20261102T081530Z",
        ]
    );
    let last: Vec<bool> = mirrors.of(&Base::Debian).iter().map(|mirror| mirror.last_resort).collect();
    assert_eq!(last, [false, false, false, true, true]);
    let extra = mirrors.of(&Base::Extra("https://extra.example/repo/".to_owned()));
    assert_eq!(urls(&extra), ["https://extra.example/repo"]);
}

#[test]
fn the_host_may_have_its_security_archive_elsewhere() {
    let host = Host {
        debian: vec!["http://host.example/debian".to_owned()],
        security: vec!["http://security.debian.org/debian-security".to_owned()],
    };
    let mirrors = Mirrors::new(&Choice { host: Some(&host), ..Choice::default() }).unwrap();
    assert_eq!(urls(&mirrors.of(&Base::DebianSecurity)), ["http://security.debian.org/debian-security"]);
}

#[test]
fn addresses_that_cannot_be_mirrors_are_refused() {
    for bad in
        ["ftp://x.example/debian", "debian", "file:///srv/debian", "http://", "http://x.example/?q", "http://x/#f"]
    {
        let choice = Choice { environment: Some(bad), ..Choice::default() };
        assert_eq!(Mirrors::new(&choice), Err(BadMirror(bad.to_owned())));
    }
    let root = Mirrors::new(&Choice { environment: Some("http://127.0.0.1:8000/"), ..Choice::default() }).unwrap();
    assert_eq!(urls(&root.of(&Base::Debian)), ["http://127.0.0.1:8000"]);
    assert_eq!(root.of(&Base::DebianSecurity), [], "beside a root there is nothing");
}
