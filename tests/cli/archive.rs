//! Mirrors that cannot be believed, while an image is locked and while it is built.

use pgp::composed::{CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::types::Password;
use rand::SeedableRng as _;
use rave::debian::LockedPackage;
use rave::digest::Digest;

use super::mirror::{Mirror, Reply};
use super::world::{NOBODY, Ran, World, bytes_of, package, ran};

/// The text of a Release file that only its signature is wrong with.
const RELEASE: &str = "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nSHA256:\n";

/// A key of nobody.
fn key(number: u64) -> SignedSecretKey {
    let mut key = SecretKeyParamsBuilder::default();
    key.key_type(KeyType::Ed25519Legacy).can_sign(true).primary_user_id("Nobody".to_owned());
    key.build().unwrap().generate(rand::rngs::StdRng::seed_from_u64(number)).unwrap()
}

/// The text, signed by a key.
fn signed_by(key: &SignedSecretKey, text: &str) -> Vec<u8> {
    let message =
        CleartextSignedMessage::sign(rand::rngs::StdRng::seed_from_u64(2), text, &key.primary_key, &Password::empty());
    message.unwrap().to_armored_string(Default::default()).unwrap().into_bytes()
}

/// The text, signed by a key of nobody.
fn signed(text: &str) -> Vec<u8> {
    signed_by(&key(1), text)
}

/// Locks from a mirror that gives `reply` to everything, and returns how it was refused.
#[track_caller]
fn refused(reply: Reply, parts: &[&str]) -> Ran {
    let world = World::new();
    let mirror = Mirror::new(move |_| reply.clone());
    let before = world.files();
    let ran = ran(mirror.serve(&mut world.rave()).args(["lock", "minimal"]));
    let url = mirror.url();
    ran.refused(2, &[&["error: ", url.as_str(), "/dists/trixie"], parts].concat());
    assert!(mirror.asked().iter().all(|path| path.ends_with("/InRelease")), "{:?}", mirror.asked());
    assert_eq!(world.files(), before, "a lock that failed wrote something");
    ran
}

#[test]
fn a_mirror_without_the_suite_is_named() {
    refused(Reply::Status(404), &["answered with HTTP status 404"]);
    refused(Reply::Status(503), &["answered with HTTP status 503"]);
}

#[test]
fn a_web_page_is_not_an_archive() {
    refused(Reply::Page, &["sent a web page"]);
}

#[test]
fn a_file_that_ends_early_is_refused() {
    refused(Reply::Cut(signed(RELEASE)), &["stopped after"]);
}

#[test]
fn only_debian_signs_for_debian() {
    refused(Reply::File(RELEASE.into()), &["the InRelease file of trixie", "is not trusted"]);
    refused(Reply::File(Vec::new()), &["is not trusted"]);
    refused(Reply::File(signed(RELEASE)), &["the InRelease file of trixie", "is not trusted"]);
    let forged = String::from_utf8(signed(RELEASE)).unwrap().replace("Suite: stable", "Suite: stabel");
    refused(Reply::File(forged.into_bytes()), &["is not trusted"]);
}

#[test]
fn a_mirror_that_is_not_there_is_named_with_the_cause() {
    let world = World::new();
    let mut command = world.rave();
    let url = format!("{NOBODY}/debian");
    let ran = ran(command.env("RAVE_MIRROR", &url).args(["lock", "minimal", "--json"]));
    assert_eq!(ran.status, 2);
    for part in ["error: cannot fetch ", &url, "cannot be reached", "Connection refused"] {
        assert!(ran.stderr.contains(part), "{part:?} is not in\n{}", ran.stderr);
    }
    let events = ran.json_lines();
    assert!(events.iter().any(|event| event["event"] == "failed"), "{events:?}");
    assert!(!events.iter().any(|event| event["event"] == "result"), "{events:?}");
}

/// Ctrl-C while a mirror keeps silent.
#[test]
fn an_interrupted_lock_ends_at_once_and_leaves_nothing() {
    let world = World::new();
    let mirror = Mirror::new(|_| Reply::Silence);
    let before = world.files();
    let mut prepared = world.rave();
    let environment = mirror.serve(&mut prepared).get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rave"));
    command.env_clear().envs(environment).current_dir(world.path("project")).args(["lock", "minimal", "--quiet"]);
    let pipe = std::process::Stdio::piped;
    let child = command.stdin(std::process::Stdio::null()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
    while mirror.asked().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(130), Vec::new(), Vec::new()));
    assert_eq!(world.files(), before);
}

#[test]
fn an_address_that_is_no_mirror_is_wrong_input() {
    let world = World::new();
    for address in ["deb.debian.org/debian", "ftp://deb.debian.org/debian", "http://", "http://x/?y"] {
        let ran = ran(world.rave().env("RAVE_MIRROR", address).args(["lock", "minimal"]));
        ran.refused(1, &[address, "is not an http or https address"]);
    }
}

#[test]
fn the_key_of_an_archive_must_be_there() {
    let world = World::new();
    let extra = "{ name: ours, url: 'http://127.0.0.1:1/ours', suite: stable, components: [main], key: ours.asc }";
    world.write(
        "project/images/web.yaml",
        format!("name: web\nversion: 1.0.0\nextends: minimal\narchive:\n  extra:\n    - {extra}\n"),
    );
    let before = world.files();
    let parts = ["there is no key file images/ours.asc", "images/web.yaml:6:", "armored OpenPGP certificate"];
    world.run(&["lock", "web"]).refused(1, &parts);
    assert_eq!(world.files(), before);
}

/// Grafana is no package of Debian's: the image names the archive and its key, and the module does the rest.
#[test]
fn grafana_is_set_up_for_the_archive_that_the_image_names() {
    let world = World::new();
    let theirs = key(3);
    let release = signed_by(&theirs, &format!("{RELEASE} {} 0 main/binary-amd64/Packages\n", Digest::of(b"")));
    let mirror =
        Mirror::new(move |path| Reply::File(if path.ends_with("/InRelease") { release.clone() } else { Vec::new() }));
    let url = mirror.url().replace("/debian", "/grafana");
    let extra = format!("{{ name: grafana, url: '{url}', suite: stable, components: [main], key: grafana.asc }}");
    let image = format!(
        "name: web\nversion: 1.0.0\nextends: production\narchive:\n  extra:\n    - {extra}\n\
         config:\n  services.grafana.enable: true\n"
    );
    world.write("project/images/web.yaml", image);
    world.run(&["lock", "web"]).refused(1, &["there is no key file images/grafana.asc"]);
    let trust = |key: &SignedSecretKey| {
        world.write("project/images/grafana.asc", key.to_public_key().to_armored_string(Default::default()).unwrap());
    };
    trust(&key(4));
    let file = |path: &str| world.run(&["eval", "web", "--file", path]).clean().to_owned();
    let ini = file("/etc/grafana/grafana.ini");
    assert!(
        ini.contains("http_addr = 127.0.0.1\nhttp_port = 3031\n") && !ini.contains("admin_password = admin"),
        "{ini}"
    );
    assert!(file("/etc/grafana/provisioning/datasources/rave.yaml").contains("url: \"http://127.0.0.1:9090\""));
    assert!(file("/etc/grafana/provisioning/dashboards/rave.yaml").contains("/usr/share/rave/dashboards"));
    let unit = file("/etc/systemd/system/grafana-server.service");
    assert!(unit.contains("MemoryMax=128M") && unit.contains("LoadCredential=grafana-admin:"), "{unit}");
    // In the console's place, as the guide to configuration says.
    world.write(
        "project/images/place.yaml",
        "name: place\nversion: 1.0.0\nextends: web\nconfig:\n  services.dashboards.console: false\n  \
         services.grafana: { port: 3030, address: \"https://shop.example.org/grafana/\" }\n  \
         services.nginx.sites.main: { csp: \"\", locations: { /grafana/: { methods: [POST] } } }\n",
    );
    let file = |path: &str| world.run(&["eval", "place", "--file", path]).clean().to_owned();
    assert!(
        file("/etc/grafana/grafana.ini").contains("http_port = 3030\nroot_url = https://shop.example.org/grafana/\n")
    );
    let nginx = file("/etc/nginx/nginx.conf");
    let (site, place) = nginx.split_once("location /grafana/ {").unwrap();
    let place = place.split_once("proxy_pass http://127.0.0.1:3030;").unwrap().0;
    assert!(place.contains("\"^(GET|POST|HEAD)$\"") && !place.contains("location"), "{place}");
    assert!(!site.contains("Content-Security-Policy"), "{site}");
    // Nobody is in Debian's place, so no lock is made; what is read of this archive is up to its key.
    let locked = |parts: &[&str]| {
        let ran = ran(world.rave().env("RAVE_MIRROR", format!("{NOBODY}/debian")).args(["lock", "web"]));
        ran.refused(2, &[&["error: "], parts].concat());
    };
    let (release, index) = ("/grafana/dists/stable/InRelease", "/grafana/dists/stable/main/binary-amd64/Packages");
    locked(&["/grafana/dists/stable/InRelease", "the InRelease file of grafana", "is not trusted"]);
    assert_eq!(mirror.asked(), [release]);
    trust(&theirs);
    locked(&["     read  grafana: of 2026-09-12T07:55:41Z  ", "cannot fetch ", "/dists/trixie/InRelease"]);
    assert_eq!(mirror.asked(), [release, release, index]);
}

/// The bytes that the locks of [`World::lock`] have of any package.
fn any(path: &str) -> Reply {
    let name = path.rsplit('/').next().and_then(|name| name.strip_suffix("_1_all.deb"));
    name.map_or(Reply::Status(404), |name| Reply::File(bytes_of(name)))
}

/// Builds with one package that a mirror serves in its own way, and all others as they are locked.
fn build(locked: LockedPackage, others: u16, reply: Reply) -> (World, Mirror, Ran) {
    let world = World::new();
    let name = locked.name.to_string();
    world.lock("minimal", &[locked]);
    let mirror = Mirror::among(others, move |path| if path.contains(&name) { reply.clone() } else { any(path) });
    let ran = ran(mirror.serve(&mut world.rave()).args(["build", "minimal"]));
    (world, mirror, ran)
}

/// What a package is refused for stands beside the mirror's name, and nothing of it is kept.
#[track_caller]
fn package_refused(reply: Reply, parts: &[&str]) {
    let (world, mirror, ran) = build(package("aaa-test", b"the right bytes"), 502, reply);
    let url = format!("{}/pool/main/aaa-test_1_all.deb", mirror.url());
    ran.refused(2, &[&["error: ", url.as_str()], parts].concat());
    let kept = world.run(&["store", "du", "--json"]).json();
    assert!(kept["deb"]["objects"].as_u64() < Some(mirror.asked().len() as u64), "{kept} {:?}", mirror.asked());
    assert_eq!(kept["tools"], serde_json::Value::Null);
    assert!(!world.path("project/result").exists());
}

#[test]
fn packages_must_be_the_locked_ones() {
    package_refused(Reply::File(b"the wrong bytes".into()), &["has a file with the SHA-256 "]);
    package_refused(Reply::File(b"too long for the lock".into()), &["has a file of 21 bytes instead of 15"]);
    package_refused(Reply::Page, &["sent a web page"]);
    package_refused(Reply::Status(500), &["answered with HTTP status 500"]);
}

#[test]
fn packages_that_no_mirror_has_are_named_with_the_remedy() {
    let (_world, _mirror, ran) = build(package("aaa-test", b"x"), 404, Reply::Status(404));
    ran.refused(2, &["error: ", "aaa-test", "hint: ", "rave lock"]);
}

#[test]
fn what_is_locked_but_is_no_package_is_named() {
    let (world, mirror, ran) = build(package("aaa-test", b"no package"), 502, Reply::File(b"no package".into()));
    ran.refused(2, &["is not a good package", "hint: this is aaa-test 1"]);
    // The next build asks for nothing again.
    let asked = mirror.asked().len();
    let again = super::world::ran(mirror.serve(&mut world.rave()).args(["build", "minimal"]));
    again.refused(2, &["aaa-test"]);
    assert_eq!(mirror.asked().len(), asked);
}
