//! The programs of the test: a tree of Debian packages, made as rave makes the tree of its own tools, and kept from run
//! to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rave::debian::fetch::{Fetcher, Settings};
use rave::debian::mirrors::{Choice, Host, Mirrors};
use rave::debian::{Lock, Request, Update, resolve, tools};
use rave::disk;
use rave::event::Silent;
use rave::modules::{self, Evaluation, Project};
use rave::origin::Source;
use rave::store::Store;

/// Kept from run to run.
pub fn shared(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser").join(name)
}

fn read(path: &Path) -> String {
    disk::read_to_string(path).unwrap()
}

/// The module library with this test's images.
pub fn project() -> Project {
    let mut project = Project::default();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![top.join("modules")];
    while let Some(folder) = folders.pop() {
        for path in disk::list(&folder).unwrap() {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(module) = name.strip_prefix("modules/").and_then(|name| name.strip_suffix(".yaml")) {
                project.modules.insert(module.to_owned(), Source::new(name.clone(), read(&path)));
            } else {
                project.files.insert(name, disk::read(&path).unwrap());
            }
        }
    }
    for image in ["packages", "machine"] {
        let path = top.join(format!("tests/builds/browser/{image}.yaml"));
        project.images.insert(image.to_owned(), Source::new(image, read(&path)));
    }
    project
}

/// What one of the images comes to.
pub fn evaluate(project: &Project, image: &str) -> Evaluation {
    modules::evaluate(project, image, &[], None)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// The tree, made once for all tests.
pub fn tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(make)
}

fn make() -> PathBuf {
    let mut project = project();
    project.never_boots();
    let system = evaluate(&project, "packages").system;
    let (directory, file) = (shared("tree"), shared("packages.lock"));
    let environment = std::env::var_os("RAVE_MIRROR").map(|value| value.into_string().unwrap());
    let host = Host::read(Path::new("/etc/apt")).unwrap();
    let fetcher = |date| {
        let choice =
            Choice { environment: environment.as_deref(), image: &system.archive.mirrors, host: Some(&host), date };
        Fetcher::new(Mirrors::new(&choice).unwrap(), Settings::default()).unwrap()
    };
    let kept = disk::read_to_string(&file).ok().and_then(|text| Lock::parse(&Source::new("packages.lock", text)).ok());
    let fits = |lock: &Lock| lock.stale(&system.archive, &system.packages, false).is_none();
    let lock = kept.filter(fits);
    if let Some(lock) = &lock
        && disk::read_to_string(shared("made")).is_ok_and(|made| made == lock.to_yaml())
    {
        return directory;
    }
    let lock = lock.unwrap_or_else(|| {
        let request = Request {
            archive: &system.archive,
            packages: &system.packages,
            recommends: false,
            previous: None,
            update: &Update::None,
            now: jiff::Timestamp::now(),
        };
        resolve(&request, Path::new("/nonexistent"), &fetcher(None), &Silent).unwrap()
    });
    let store = Store::open(shared("store")).unwrap();
    let date = lock.archives.iter().map(|archive| archive.date).max();
    let paths: BTreeMap<_, _> =
        fetcher(date).fetch_packages(&lock, Path::new("/nonexistent"), &store, &Silent).unwrap();
    let debs: Vec<PathBuf> = lock.packages.iter().map(|package| paths[&package.sha256].clone()).collect();
    disk::remove_dir_all(&directory).unwrap();
    disk::create_dir_all(&directory).unwrap();
    tools::unpack_tools(&debs, &directory).unwrap();
    disk::write_atomic(&file, lock.to_yaml().as_bytes(), 0o644).unwrap();
    disk::write_atomic(shared("made"), lock.to_yaml().as_bytes(), 0o644).unwrap();
    directory
}
