//! Images brought to a registry: Debian's docker-registry, with credentials, by Debian's skopeo.

use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rave::deploy::registry::{Error, Push, Pushed, Repository};
use rave::digest::Digest;
use rave::disk;
use rave::sandbox::Sandbox;
use serde_json::json;

use super::{Lab, RAVE, built};

/// `ana:secret` as htpasswd(1) has it, by bcrypt with the least rounds.
const PASSWORDS: &str = "ana:$2b$04$MUUG3b/QAMrJVHm5rhi3Q.ID.tXSMRyNdlGHZwlXJ00mr9c1VPJqK\n";

/// A registry that ends with the value.
struct Registry {
    child: Child,
    place: String,
    files: PathBuf,
}

impl Registry {
    fn start(lab: &Lab) -> Self {
        let files = lab.path("registry");
        disk::create_dir_all(files.join("data")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nlog: {{ accesslog: {{ disabled: false }} }}\nstorage: {{ filesystem: {{ rootdirectory: /in/data }} }}\n\
             auth: {{ htpasswd: {{ realm: test, path: /in/passwords }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n"
        );
        disk::write_atomic(files.join("config.yml"), config.as_bytes(), 0o644).unwrap();
        disk::write_atomic(files.join("passwords"), PASSWORDS.as_bytes(), 0o644).unwrap();
        let sandbox = Sandbox::new(&lab.piece("tools")).bind(&files, "/in", true).network(true).tmpfs("/run");
        let sandbox = sandbox.executable(RAVE);
        let tool = sandbox.tool("/usr/bin/docker-registry").args(["serve", "/in/config.yml"]);
        let log = disk::create(files.join("log")).unwrap();
        let child = tool.command().stdout(log).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { child, place: format!("127.0.0.1:{port}"), files };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    /// How often something was begun to be uploaded.
    fn uploads(&self) -> usize {
        disk::read_to_string(self.files.join("log")).unwrap().matches("\"POST /v2/").count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Fails if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the user's programs find with this home: skopeo from the tree, and that registries here have no certificate.
pub fn environment(lab: &Lab, home: &str, places: &[&str]) -> Vec<(OsString, OsString)> {
    let (home, tree) = (lab.path(home), lab.piece("tools"));
    let write = |name: &str, text: &str, mode| {
        let path = home.join(name);
        disk::create_dir_all(path.parent().unwrap()).unwrap();
        disk::write_atomic(path, text.as_bytes(), mode).unwrap();
    };
    let tree = tree.display();
    let script = format!(
        "#!/bin/sh\nexec {tree}/lib64/ld-linux-x86-64.so.2 --library-path {tree}/usr/lib/x86_64-linux-gnu \
         {tree}/usr/bin/skopeo \"$@\"\n"
    );
    write("bin/skopeo", &script, 0o755);
    write(".config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#, 0o644);
    let hosts: Vec<String> =
        places.iter().map(|place| format!("[[registry]]\nlocation = \"{place}\"\ninsecure = true\n")).collect();
    write(".config/containers/registries.conf", &hosts.join("\n"), 0o644);
    let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
    vec![("HOME".into(), home.into()), ("PATH".into(), path.into())]
}

fn credentials(lab: &Lab, place: &str, password: &str) -> PathBuf {
    let auth = base64::prelude::BASE64_STANDARD.encode(format!("ana:{password}"));
    let path = lab.path("pusher").join(format!("{password}.json"));
    disk::write_atomic(&path, json!({"auths": {place: {"auth": auth}}}).to_string().as_bytes(), 0o600).unwrap();
    path
}

#[test]
fn an_image_comes_into_a_registry_once() {
    let lab = built();
    lab.good(&["export", "minimal", "--format", "containerdisk", "--output", "pushed"]);
    let archive: &Path = &lab.path("project/pushed/minimal_1.0.0.containerdisk.tar");
    let image: Digest = rave::export::manifest_digest(archive).unwrap();
    let other = lab.path("project/result/manifest.json");
    rave::export::manifest_digest(&other).unwrap_err();
    let registry = Registry::start(lab);
    let environment = environment(lab, "pusher", &[&registry.place, "127.0.0.1:1"]);
    let run = |place: &str, auth: Option<PathBuf>| {
        let repository: Repository = format!("{place}/vm/minimal").parse().unwrap();
        Push { repository: &repository, tag: "1.0.0-x".to_owned(), image, auth }.run(archive, &environment)
    };
    let refused = |place: &str, auth: Option<PathBuf>| match run(place, auth) {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    // Nobody, somebody else, nowhere.
    for auth in [None, Some(credentials(lab, &registry.place, "wrong"))] {
        let reason = refused(&registry.place, auth);
        assert!(reason.contains("unauthorized") || reason.contains("authentication required"), "{reason}");
    }
    let reason = refused("127.0.0.1:1", None);
    assert!(reason.contains("connection refused"), "{reason}");
    assert_eq!(registry.uploads(), 0);

    let auth = || Some(credentials(lab, &registry.place, "secret"));
    assert_eq!(run(&registry.place, auth()).unwrap(), Pushed::Brought);
    let blobs = registry.uploads();
    assert!(blobs >= 2, "the disk and its configuration");
    let store = registry.files.join("data/docker/registry/v2");
    let kept = disk::read(store.join(format!("blobs/sha256/{}/{image}/data", &image.to_string()[..2]))).unwrap();
    assert_eq!(Digest::of(&kept), image, "the registry knows it by the digest that manifests name");

    assert_eq!(run(&registry.place, auth()).unwrap(), Pushed::WasThere);
    // A push that broke off has left blobs, and no manifest.
    disk::remove_dir_all(store.join("repositories/vm/minimal/_manifests")).unwrap();
    assert_eq!(run(&registry.place, auth()).unwrap(), Pushed::Brought);
    assert_eq!(registry.uploads(), blobs, "what is there is not brought again");
}

#[test]
fn a_push_without_skopeo_says_so() {
    let repository: Repository = "127.0.0.1:1/a".parse().unwrap();
    let push = Push { repository: &repository, tag: "1".to_owned(), image: Digest::of(b""), auth: None };
    let error = push.run(Path::new("/nowhere"), &[("PATH".into(), "/nonexistent".into())]).unwrap_err();
    assert_eq!(error.to_string(), "cannot run skopeo");
}
