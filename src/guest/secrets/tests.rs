use super::*;
use crate::secrets::deploy::Sealing;
use crate::secrets::{Group, identity};

/// A machine in a directory, with the identity that opens its secrets.
struct World {
    root: tempfile::TempDir,
    place: Place,
    machine: identity::New,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = Place::below(root.path());
        let world = Self { place, machine: identity::generate(false).unwrap(), root };
        for path in [&world.place.storage, &world.place.image, &world.place.etc.join("rave")] {
            disk::create_dir_all(path).unwrap();
        }
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        world.write("etc/passwd", &format!("web:x:{uid}:{gid}::/:/bin/false\n"));
        world.write("etc/group", &format!("web:x:{gid}:\n"));
        world.needs("0400");
        world
    }

    fn write(&self, path: &str, text: &str) {
        disk::write(self.root.path().join(path), text.as_bytes(), 0o644).unwrap();
    }

    fn needs(&self, mode: &str) {
        let need = |unit: &str, on_change: &str| {
            format!(
                r#"{{"kind":"text","owner":"web","group":"web","mode":"{mode}","units":["{unit}"],"on_change":"{on_change}""#
            )
        };
        let (db, key) = (need("db.service", "restart"), need("web.service", "reload"));
        self.write("usr/share/rave/secrets/needs.json", &format!(r#"{{"db":{db}}},"key":{key}}}}}"#));
        let text = format!("password={}", crate::system::placeholder("db"));
        let conf = need("conf.service", "restart");
        let templates = format!(r#"{{"conf":{conf},"text":"{text}"}}}}"#);
        self.write("usr/share/rave/secrets/templates.json", &templates);
    }

    fn sealed(&self, values: &[(&str, &str)]) -> Vec<u8> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), Secret::from(*value))).collect();
        let groups = [Group::of([self.machine.recipient.clone()])];
        let sealing = Sealing { values: &values, groups: &groups, threshold: None, sources: &BTreeMap::new() };
        deploy::seal(&sealing, None, &Identities::default(), jiff::Timestamp::now()).unwrap()
    }

    fn credential(&self, bytes: &[u8]) -> PathBuf {
        let directory = self.root.path().join("credentials");
        disk::create_dir_all(&directory).unwrap();
        disk::write(directory.join(CREDENTIAL), bytes, 0o400).unwrap();
        directory
    }

    fn activate(&self, values: &[(&str, &str)]) -> Result<Activated, Error> {
        let activated = self.begin(values);
        disk::remove_file(&self.place.pending).unwrap();
        activated
    }

    /// The same, but nothing is done to units yet.
    fn begin(&self, values: &[(&str, &str)]) -> Result<Activated, Error> {
        let directory = self.credential(self.machine.identity.expose());
        let identities = identities(&self.place, [directory.as_path()].into_iter()).unwrap();
        activate(&self.place, &self.sealed(values), &identities)
    }

    fn read(&self, name: &str) -> String {
        disk::read_to_string(self.place.link.join(name)).unwrap()
    }
}

fn acts(activated: &Activated) -> Vec<(&str, units::Act)> {
    activated.acts.iter().map(|(unit, act)| (unit.as_str(), *act)).collect()
}

const VALUES: [(&str, &str); 3] = [("db", "hunter2"), ("key", "k"), ("unasked", "x")];

#[test]
fn secrets_appear_and_only_what_changes_is_acted_upon() {
    let world = World::new();
    let first = world.activate(&VALUES).unwrap();
    assert_eq!((first.report.generation, first.report.files, first.report.changed.len()), (1, 3, 3));
    assert_eq!(acts(&first), [], "nobody knows an older one");
    assert_eq!((world.read("db"), world.read("rendered/conf")), ("hunter2".to_owned(), "password=hunter2".to_owned()));
    assert!(!disk::exists(world.place.link.join("unasked")));

    let again = world.activate(&VALUES).unwrap();
    assert_eq!((again.report.generation, again.report.changed.len(), acts(&again)), (1, 0, vec![]));

    let rotated = world.activate(&[("db", "hunter3"), ("key", "k")]).unwrap();
    let names: Vec<&str> = rotated.report.changed.iter().map(|changed| changed.name.as_str()).collect();
    assert_eq!((rotated.report.generation, names), (2, vec!["rendered/conf", "db"]));
    assert_eq!(acts(&rotated), [("conf.service", units::Act::Restart), ("db.service", units::Act::Restart)]);
    assert_eq!(world.read("rendered/conf"), "password=hunter3");

    let reloaded = world.activate(&[("db", "hunter3"), ("key", "l")]).unwrap();
    assert_eq!(acts(&reloaded), [("web.service", units::Act::Reload)]);
    world.needs("0440");
    let opened = world.activate(&[("db", "hunter3"), ("key", "l")]).unwrap();
    assert!(acts(&opened).iter().all(|(_, act)| *act == units::Act::Restart) && opened.acts.len() == 3);
}

#[test]
fn what_cannot_be_opened_leaves_what_was_there() {
    let world = World::new();
    world.activate(&VALUES).unwrap();
    let error = world.activate(&[("key", "new")]).err().unwrap();
    assert_eq!(error.to_string(), "the file of secrets lacks db");
    let nobody = identities(&world.place, std::iter::empty()).unwrap();
    let error = activate(&world.place, &world.sealed(&VALUES), &nobody).err().unwrap();
    assert!(matches!(error, Error::NoIdentity { secrets: 2, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("--identity FILE") && text.contains(CREDENTIAL) && !text.contains('\n'), "{text}");
    assert!(!text.contains("403"), "no cloud has provisioned it: {text}");
    disk::create_dir_all(world.root.path().join("run/cloud-init")).unwrap();
    world.write("run/cloud-init/enabled", "");
    let text = activate(&world.place, &world.sealed(&VALUES), &nobody).err().unwrap().to_string();
    for said in ["403", "/run/cloud-init/cloud-init.log", "--identity-url"] {
        assert!(text.contains(said) && !text.contains('\n'), "{text}");
    }
    let other = identity::generate(false).unwrap();
    let directory = world.credential(other.identity.expose());
    let other = identities(&world.place, [directory.as_path()].into_iter()).unwrap();
    let error = activate(&world.place, &world.sealed(&VALUES), &other).err().unwrap();
    assert!(matches!(error, Error::Locked(_)) && !error.to_string().contains('\n'), "{error}");
    world.write("etc/passwd", "");
    let error = world.activate(&VALUES).err().unwrap();
    assert!(matches!(error, Error::Nobody { .. }), "{error}");
    assert_eq!(world.read("key"), "k");
}

#[test]
fn an_identity_that_cannot_be_used_hides_no_other() {
    let world = World::new();
    let directory = world.credential(b"hunter2, which is no identity");
    let file = world.root.path().join("volume");
    disk::write(&file, world.machine.identity.expose(), 0o400).unwrap();
    world.write("etc/rave/identities", &format!("/nonexistent\n{}\n", file.display()));
    let identities = identities(&world.place, [directory.as_path()].into_iter()).unwrap();
    assert_eq!((identities.len(), identities.notes.len()), (1, 2));
    activate(&world.place, &world.sealed(&VALUES), &identities).unwrap();
    assert_eq!(world.read("db"), "hunter2");
    assert!(!format!("{:?}", identities.notes).contains("hunter2"));
}

#[test]
fn the_ssh_host_key_opens_as_itself_and_converted() {
    // A vector of another program; nobody's.
    let (private, public) = (
        include_str!("../../../tests/vectors/sops/ssh-to-age/id_ed25519"),
        include_str!("../../../tests/vectors/sops/ssh-to-age/id_ed25519.pub"),
    );
    for recipient in [public.trim().to_owned(), crate::secrets::ssh_to_age(public).unwrap()] {
        let mut world = World::new();
        world.machine.recipient = recipient;
        let file = world.root.path().join("ssh_host_ed25519_key");
        disk::write(&file, private.as_bytes(), 0o600).unwrap();
        world.write("etc/rave/identities", &format!("{}\n", file.display()));
        let identities = identities(&world.place, std::iter::empty()).unwrap();
        activate(&world.place, &world.sealed(&VALUES), &identities).unwrap();
        assert_eq!(world.read("db"), "hunter2");
    }
}

#[test]
fn what_was_not_done_to_units_is_done_the_next_time() {
    let world = World::new();
    world.activate(&VALUES).unwrap();
    let changed = [("db", "hunter3"), VALUES[1], VALUES[2]];
    let expected = vec![("conf.service", units::Act::Restart), ("db.service", units::Act::Restart)];
    assert_eq!(acts(&world.begin(&changed).unwrap()), expected);
    let again = world.begin(&changed).unwrap();
    assert_eq!((acts(&again), &again.report.changed), (expected, &vec![]));
    disk::remove_file(&world.place.pending).unwrap();
    assert_eq!(acts(&world.begin(&changed).unwrap()), vec![]);
}
