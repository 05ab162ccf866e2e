use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;
use crate::deploy::STATE;

/// A service manager that starts what it is told to, and whose looks find versions well or not.
struct Fake<'a> {
    root: &'a Path,
    /// Versions that are not well.
    unwell: RefCell<Vec<&'static str>>,
    /// Versions that do not start.
    broken: RefCell<Vec<&'static str>>,
    said: RefCell<Vec<String>>,
    clock: Cell<i64>,
    /// What is refused, by how it begins.
    refused: RefCell<Vec<&'static str>>,
}

impl Fake<'_> {
    fn unit(&self, name: &str) -> String {
        disk::read_to_string(self.root.join("etc/systemd/system").join(name)).unwrap()
    }
}

impl Manager for Fake<'_> {
    fn systemctl(&self, words: &[&str]) -> std::result::Result<String, String> {
        self.said.borrow_mut().push(words.join(" "));
        let is = |list: &RefCell<Vec<&str>>, unit: &str| {
            list.borrow().iter().any(|version| self.unit(unit).contains(version))
        };
        match words {
            ["restart", unit] if is(&self.broken, unit) => Err("the control process failed".to_owned()),
            ["start", unit] if unit.ends_with("-verify.service") => {
                self.clock.set(self.clock.get() + 1);
                let unwell = is(&self.unwell, unit).then(|| "https.page: expected 200, observed 500".to_owned());
                let troubles: Vec<String> = unwell.into_iter().collect();
                let healthy = troubles.is_empty();
                let health = Health { healthy, time: self.clock.get(), troubles };
                let place = self.root.join("var/lib/rave-check/a/report.json");
                disk::create_dir_all(place.parent().unwrap()).unwrap();
                disk::write_atomic(place, &serde_json::to_vec(&health).unwrap(), 0o600).unwrap();
                if healthy { Ok(String::new()) } else { Err("it failed".to_owned()) }
            }
            words if self.refused.borrow().iter().any(|refused| words.join(" ").starts_with(refused)) => {
                Err("refused".to_owned())
            }
            ["show", ..] => Ok("active\n".to_owned()),
            _ => Ok(String::new()),
        }
    }

    fn podman(&self, words: &[&str]) -> std::result::Result<String, String> {
        self.said.borrow_mut().push(format!("podman {}", words.join(" ")));
        Ok(String::new())
    }

    fn journal(&self, unit: &str) -> String {
        format!("the journal of {unit}")
    }

    fn encrypt(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>> {
        if self.refused.borrow().contains(&"encrypt") {
            return Err(
                disk::Error { verb: "seal", path: name.into(), source: std::io::Error::other("refused") }.into()
            );
        }
        Ok(format!("sealed {name} {}", plain.len()).into_bytes())
    }
}

/// A host on which all versions have been brought.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        disk::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
        let world = Self { root };
        ["1", "2", "3"].iter().for_each(|version| world.bring(version));
        world
    }

    fn bring(&self, version: &str) {
        let release = release(version);
        for (goods, digest) in [("tools", release.tools), ("images", release.disk)] {
            let place = self.root.path().join(STATE.trim_start_matches('/')).join(goods).join(digest.to_string());
            disk::create_dir_all(place).unwrap();
        }
    }

    fn fake(&self) -> Fake<'_> {
        let none = || RefCell::new(Vec::new());
        Fake {
            root: self.root.path(),
            unwell: none(),
            broken: none(),
            said: RefCell::default(),
            clock: Cell::new(0),
            refused: none(),
        }
    }

    /// The versions whose images are there.
    fn kept(&self) -> Vec<&'static str> {
        let images = self.root.path().join("var/lib/rave/images");
        let is_there = |version: &&str| disk::exists(images.join(release(version).disk.to_string()));
        ["1", "2", "3"].into_iter().filter(is_there).collect()
    }

    fn record(&self) -> Option<(String, Option<String>, bool)> {
        let fake = self.fake();
        let record = Host::new(self.root.path(), &fake).record(&"a".parse().unwrap()).unwrap()?;
        let version = |release: &Release| release.version.to_string();
        Some((version(&record.current), record.previous.as_ref().map(version), record.confirmed))
    }
}

fn release(version: &str) -> Release {
    let units = ["rave-a.service", "rave-a-verify.service", "rave-a-health.service", "rave-a-health.timer"];
    Release {
        image: "shop".parse().unwrap(),
        version: version.parse().unwrap(),
        mode: crate::system::Mode::Safe,
        root_hash: Digest::of(version.as_bytes()),
        disk: Digest::of(format!("disk {version}").as_bytes()),
        container: None,
        tools: Digest::of(b"tools"),
        units: units
            .map(|unit| (unit.to_owned(), format!("# version-{version}\n")))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

fn order(version: &str) -> Order {
    Order {
        format: FORMAT,
        target: "edge".to_owned(),
        machine: "a".parse().unwrap(),
        release: release(version),
        user: Some("agent".to_owned()),
        authorized_keys: vec!["ssh-ed25519 AAAA ana".to_owned()],
    }
}

/// The same as a container.
fn contained(version: &str) -> Order {
    let mut order = order(version);
    order.release.container = Some(format!("localhost/shop@{version}"));
    let text = order.release.units.remove("rave-a.service").unwrap();
    order.release.units.insert("rave-a.container".to_owned(), text);
    order
}

fn runs(version: &str, previous: Option<&str>, confirmed: bool) -> Option<(String, Option<String>, bool)> {
    Some((version.to_owned(), previous.map(str::to_owned), confirmed))
}

#[test]
fn a_version_that_is_well_stays_and_the_one_before_is_kept() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    assert!(host.apply(&order("1"), Some(b"AGE-SECRET-KEY-1")).unwrap().healthy);
    assert_eq!(world.record(), runs("1", None, true));
    let credentials = world.root.path().join("etc/rave/machines/a/credentials");
    assert_eq!(disk::read_to_string(credentials.join("rave.identity")).unwrap(), "sealed rave.identity 67");
    let keys = disk::read_to_string(credentials.join("ssh.authorized_keys.agent")).unwrap();
    assert!(keys.starts_with("io.systemd.credential.binary:ssh.authorized_keys.agent="), "{keys}");
    assert!(host.apply(&order("2"), None).unwrap().healthy);
    assert_eq!(world.record(), runs("2", Some("1"), true));
    assert!(!disk::exists(credentials.join("rave.identity")));
    assert_eq!(fake.unit("rave-a.service"), "# version-2\n");
    // The same again keeps what there is to go back to.
    assert!(host.apply(&order("2"), None).unwrap().healthy);
    assert_eq!((world.record(), world.kept()), (runs("2", Some("1"), true), vec!["1", "2", "3"]));
    let facts = host.facts().unwrap();
    let machine = facts.machines.values().next().unwrap();
    assert_eq!((machine.state.as_str(), &machine.changed[..]), ("active", &[][..]));
    assert!(machine.health.as_ref().unwrap().healthy);
    disk::write_atomic(world.root.path().join("etc/systemd/system/rave-a.service"), b"x", 0o644).unwrap();
    assert_eq!(host.facts().unwrap().machines.values().next().unwrap().changed, ["rave-a.service"]);
}

#[test]
fn a_version_that_is_not_well_gives_way_to_the_one_before() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    host.apply(&order("1"), None).unwrap();
    fake.unwell.borrow_mut().push("version-2");
    let outcome = host.apply(&order("2"), None).unwrap();
    assert_eq!(outcome.reason, "https.page: expected 200, observed 500");
    assert_eq!(outcome.instead, Some((release("1").title(), true)));
    assert_eq!((world.record(), fake.unit("rave-a.service")), (runs("1", None, true), "# version-1\n".to_owned()));
    let refused = host.record(&"a".parse().unwrap()).unwrap().unwrap().failure.unwrap();
    assert_eq!((refused.release, refused.reason), (release("2").title(), outcome.reason));
    assert_eq!(world.kept(), ["1", "3"]);
    fake.broken.borrow_mut().push("version-3");
    let outcome = host.apply(&order("3"), None).unwrap();
    assert!(outcome.reason.contains("it did not start: the control process failed\nthe journal of rave-a.service"));
    assert_eq!(world.record(), runs("1", None, true));
    // Both are not well: what was there is there, and nobody says that it is well.
    fake.unwell.borrow_mut().push("version-1");
    world.bring("2");
    let outcome = host.apply(&order("2"), None).unwrap();
    assert_eq!(outcome.instead, Some((release("1").title(), false)));
    assert_eq!(world.record(), runs("1", None, false));
}

#[test]
fn going_back_gives_back_what_the_version_before_was_given() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    let machine = world.root.path().join("etc/rave/machines/a");
    let given = || disk::read_to_string(machine.join("credentials/rave.identity")).ok();
    let first = Some("sealed rave.identity 67".to_owned());
    assert!(host.apply(&order("1"), Some(b"AGE-SECRET-KEY-1")).unwrap().healthy);
    fake.unwell.borrow_mut().push("version-2");
    for identity in [None, Some(&b"AGE-SECRET-KEY-1-ROTATED"[..])] {
        world.bring("2");
        assert!(!host.apply(&order("2"), identity).unwrap().healthy);
        assert_eq!((given(), disk::exists(machine.join("credentials.before"))), (first.clone(), false));
    }
    // The host lost its power while version 2 was being tried, which had got as far as its credentials.
    host.set_aside(&"a".parse().unwrap()).unwrap();
    host.furnish(&order("2"), None).unwrap();
    let mut record = host.record(&"a".parse().unwrap()).unwrap().unwrap();
    (record.previous, record.current, record.confirmed) = (Some(release("1")), release("2"), false);
    host.write(&"a".parse().unwrap(), &record).unwrap();
    assert_eq!(given(), None);
    fake.unwell.borrow_mut().push("version-3");
    assert_eq!(host.apply(&order("3"), None).unwrap().instead, Some((release("1").title(), true)));
    assert_eq!(given(), first);
}

#[test]
fn what_cannot_be_given_changes_nothing() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    let machine = world.root.path().join("etc/rave/machines/a");
    let given = || disk::read_to_string(machine.join("credentials/rave.identity")).ok();
    fake.refused.borrow_mut().push("encrypt");
    assert!(host.apply(&order("1"), Some(b"AGE-SECRET-KEY-1")).is_err());
    assert!(world.record().is_none() && !disk::exists(&machine), "a first version leaves nothing");
    fake.refused.borrow_mut().clear();
    assert!(host.apply(&order("1"), Some(b"AGE-SECRET-KEY-1")).unwrap().healthy);
    let (before, said) = (given(), fake.said.borrow().len());
    assert!(before.is_some());
    fake.refused.borrow_mut().push("encrypt");
    // Another version, and the same one with another identity.
    for version in ["2", "1"] {
        let error = host.apply(&order(version), Some(b"AGE-SECRET-KEY-1-ROTATED")).unwrap_err();
        assert!(chain(&error).contains("refused"), "{error}");
        assert_eq!((world.record(), given()), (runs("1", None, true), before.clone()));
        assert_eq!((disk::exists(machine.join("credentials.before")), fake.said.borrow().len()), (false, said));
    }
    // The images of both are there for the next attempt.
    fake.refused.borrow_mut().clear();
    assert!(host.apply(&order("2"), Some(b"AGE-SECRET-KEY-1")).unwrap().healthy);
    assert_eq!(world.record(), runs("2", Some("1"), true));
}

#[test]
fn a_timer_that_does_not_start_is_told() {
    let world = World::new();
    let fake = world.fake();
    fake.refused.borrow_mut().push("enable --now");
    let error = Host::new(world.root.path(), &fake).apply(&order("1"), None).unwrap_err();
    assert!(crate::origin::chain(&error).contains("refused"), "{error}");
    // The machine runs and is well; the next deployment has only the timer to mend.
    assert_eq!(world.record(), runs("1", None, true));
}

#[test]
fn a_first_version_that_is_not_well_leaves_nothing_that_runs() {
    let world = World::new();
    let fake = world.fake();
    fake.unwell.borrow_mut().push("version-1");
    let outcome = Host::new(world.root.path(), &fake).apply(&order("1"), None).unwrap();
    assert_eq!((outcome.healthy, outcome.instead), (false, None));
    assert_eq!(world.record(), None);
    assert_eq!(disk::list(world.root.path().join("etc/systemd/system")).unwrap().len(), 0);
    for verb in ["stop ", "disable "] {
        let is_said = |words: &String| words.starts_with(verb) && words.contains("rave-a.service");
        assert!(fake.said.borrow().iter().any(is_said), "{verb}");
    }
}

#[test]
fn what_was_cut_short_is_not_what_one_goes_back_to() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    host.apply(&order("1"), None).unwrap();
    // The host lost its power while version 2 was being tried.
    let mut record = host.record(&"a".parse().unwrap()).unwrap().unwrap();
    (record.previous, record.current, record.confirmed) = (Some(release("1")), release("2"), false);
    host.write(&"a".parse().unwrap(), &record).unwrap();
    fake.unwell.borrow_mut().push("version-3");
    assert_eq!(host.apply(&order("3"), None).unwrap().instead, Some((release("1").title(), true)));
    assert_eq!(world.record(), runs("1", None, true));
}

#[test]
fn another_targets_machine_and_what_was_not_brought_are_refused() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    host.apply(&order("1"), None).unwrap();
    let said = fake.said.borrow().len();
    let other = Order { target: "lab".to_owned(), ..order("2") };
    assert!(matches!(host.apply(&other, None), Err(Error::Taken { .. })));
    let mut absent = order("2");
    absent.release.disk = Digest::of(b"nowhere");
    assert!(matches!(host.apply(&absent, None), Err(Error::Missing { what: "image", .. })));
    assert!(matches!(host.remove(&"a".parse().unwrap(), "lab", true), Err(Error::Taken { .. })));
    assert_eq!(fake.said.borrow().len(), said);
    host.remove(&"a".parse().unwrap(), "edge", false).unwrap();
    // What waits for another deployment stays.
    assert_eq!(world.kept(), ["2", "3"]);
    assert!(matches!(host.remove(&"a".parse().unwrap(), "edge", false), Err(Error::Unknown(_))));
}

#[test]
fn a_container_is_a_file_for_podmans_generator() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    assert!(host.apply(&contained("1"), Some(b"AGE-SECRET-KEY-1")).unwrap().healthy);
    let file = world.root.path().join("etc/containers/systemd/rave-a.container");
    assert_eq!(disk::read_to_string(&file).unwrap(), "# version-1\n");
    // Podman takes credentials as they are.
    let credentials = world.root.path().join("etc/rave/machines/a/credentials");
    let keys = disk::read_to_string(credentials.join("ssh.authorized_keys.agent")).unwrap();
    assert!(keys.starts_with("ssh-ed25519 "), "{keys}");
    assert_eq!(disk::read_to_string(credentials.join("rave.identity")).unwrap(), "sealed rave.identity 16");
    disk::write_atomic(&file, b"x", 0o644).unwrap();
    assert_eq!(host.facts().unwrap().machines.values().next().unwrap().changed, ["rave-a.container"]);
    assert!(host.apply(&contained("2"), None).unwrap().healthy);
    assert!(host.apply(&contained("3"), None).unwrap().healthy);
    fake.said.borrow_mut().clear();
    host.remove(&"a".parse().unwrap(), "edge", true).unwrap();
    assert!(!disk::exists(&file));
    let said = fake.said.borrow();
    let said = said.iter().filter(|words| words.contains("podman") || words.contains("mask")).cloned();
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "unmask rave-a.service",
            "podman rm --force --ignore rave-a",
            "podman volume rm --force rave-a",
            "podman image rm --ignore localhost/shop@2",
            "podman image rm --ignore localhost/shop@3",
        ]
    );
    assert!(fake.refused.borrow().is_empty() && world.kept().is_empty());
}

#[test]
fn a_host_tells_what_its_kernel_limits() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    let told = || host.facts().unwrap().controllers.unwrap().into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(told(), "", "all of them are in version 1");
    let file = world.root.path().join("sys/fs/cgroup/cgroup.controllers");
    disk::create_dir_all(file.parent().unwrap()).unwrap();
    for (text, controllers) in [("\n", ""), ("cpuset cpu io memory pids\n", "cpu cpuset io memory pids")] {
        disk::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
        assert_eq!(told(), controllers);
    }
}

#[test]
fn a_form_that_changed_leaves_no_unit_of_the_other() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    host.apply(&order("1"), None).unwrap();
    assert!(host.apply(&contained("2"), None).unwrap().healthy);
    assert!(!disk::exists(world.root.path().join("etc/systemd/system/rave-a.service")));
}

#[test]
fn an_image_arrives_whole_or_not_at_all() {
    let world = World::new();
    let fake = world.fake();
    let host = Host::new(world.root.path(), &fake);
    let raw = [vec![0; 1 << 20], vec![7; 100], vec![0; 1 << 20]].concat();
    let digest = Digest::of(&raw);
    let mut manifest = crate::images::fixture::manifest();
    manifest.disk.sha256 = digest;
    let pack = |files: &[(&str, &[u8])]| {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            archive.append_data(&mut header, name, *bytes).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    };
    let whole = pack(&[("manifest.json", &manifest.to_json().unwrap()), ("disk.raw", &raw), ("stranger", b"x")]);
    let receive = |bytes: &[u8]| host.receive(Goods::Image, &digest, bytes, Path::new("/proc/self/exe"));
    let other = [raw.as_slice(), b"x"].concat();
    let damaged = pack(&[("manifest.json", &manifest.to_json().unwrap()), ("disk.raw", &other)]);
    assert!(matches!(receive(&damaged), Err(Error::Damaged { .. })));
    for bad in [&whole[..whole.len() / 2], b"", b"no archive", &pack(&[("disk.raw", &raw)])] {
        assert!(receive(bad).is_err());
    }
    let images = world.root.path().join("var/lib/rave/images");
    assert_eq!(disk::list(&images).unwrap().len(), 3, "only what was there");
    receive(&whole).unwrap();
    let place = images.join(digest.to_string());
    assert_eq!(disk::list(&place).unwrap().len(), 2);
    assert_eq!(disk::read(place.join("disk.raw")).unwrap(), raw);
    // It is there already: nothing is read.
    receive(b"").unwrap();
}
