//! `rave run --persist`: what a machine keeps from one boot to the next, and what it gets and nobody else sees.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret as _;
use base64::Engine as _;
use rave::disk;
use serde_json::Value;

use crate::lab::{Lab, lines, wait_for};
use crate::processes;

const NAME: &str = "keeper";
const RUN: [&str; 8] = ["run", "minimal", "--name", NAME, "--persist", "--detach", "--direct", "--json"];

#[test]
fn a_persistent_machine_keeps_its_state_and_its_secrets() {
    let mut lab = Lab::new();
    lab.alone();
    let secret = age::x25519::Identity::generate().to_string().expose_secret().to_owned();
    let identity = lab.path().join("identity.txt");
    let text = format!("# a comment\n{secret}\n");
    disk::write_atomic(&identity, text.as_bytes(), 0o600).unwrap();

    println!("a busy port moves on, and is told");
    // Who holds it now may be about to let it go; somebody who stays there is as good.
    let patience = Instant::now() + Duration::from_secs(60);
    let busy = wait_for("port 2222", || match TcpListener::bind((Ipv4Addr::LOCALHOST, 2222)) {
        Err(_) if Instant::now() < patience => None,
        held => Some(held),
    });
    let told = lines(&lab.good(&[&RUN[..], &["--identity", identity.to_str().unwrap()]].concat()));
    let port = told.last().unwrap()["ssh"].as_u64().unwrap();
    assert!(port > 2222);
    let note = format!("port 2222 is busy: guest port 22 is on {port}");
    assert!(told.iter().any(|line| line["event"] == "note" && line["text"] == note.as_str()), "{told:?}");
    assert_eq!(lab.list()[0]["ssh"], port);
    drop(busy);

    println!("the identity reaches root of the machine, and nothing and nobody else");
    let credential = "/run/credentials/@system/rave.identity";
    assert_eq!(lab.root(NAME, &format!("cat {credential}")), text.trim());
    let agent = lab.rave(&["vm", "ssh", NAME, "--", "cat", credential]);
    assert!(agent.status == Some(1) && agent.stdout.is_empty(), "{agent:?}");
    assert_secret(&lab, &secret, &text);

    println!("a proper stop keeps the disk, another run goes on with it");
    let first = Facts::of(&lab);
    lab.root(NAME, "echo kept > /var/home/note");
    let probed = accelerator(&lab);
    let before = room(&lab);
    resize(&lab, 5 << 30);
    let stopped = lab.rave(&["vm", "stop", NAME]);
    assert!(stopped.status == Some(0) && stopped.stderr.contains("keeper: shut down"), "{stopped:?}");
    let list = lab.list();
    assert_eq!((&list[0]["condition"], &list[0]["persist"]), (&Value::from("stopped"), &Value::from(true)));
    let careless = lab.rave(&["run", "minimal", "--name", NAME, "--detach", "--direct"]);
    assert!(careless.status == Some(1) && careless.stderr.contains("keeps its state"), "{careless:?}");
    lab.good(&RUN);
    assert_eq!(lab.root(NAME, "cat /var/home/note"), "kept");
    assert_eq!(Facts::of(&lab), first);

    println!("and takes what it has grown by");
    assert!(room(&lab) > before + (900 << 20), "{} bytes after {before}", room(&lab));

    println!("what was learnt of the host's accelerator is remembered");
    assert_eq!(accelerator(&lab), probed);
    assert_eq!(lab.root(NAME, &format!("test -e {credential} || echo none")), "none");

    println!("removed by force, nothing of it is left");
    let state = lab.state(NAME).unwrap();
    let family = processes::family(u32::try_from(state["process"]["pid"].as_u64().unwrap()).unwrap());
    assert!(processes::has_qemu(&family));
    lab.good(&["vm", "rm", "--force", NAME]);
    // The kernel takes the sandbox apart a moment after its first process was killed.
    wait_for("the end of QEMU", || processes::alive(&family).is_empty().then_some(()));
    assert!(lab.list().is_empty());
    assert_eq!(lab.left(), Vec::<std::path::PathBuf>::new());
}

/// Bytes of the file system of /var.
fn room(lab: &Lab) -> u64 {
    lab.root(NAME, "stat --file-system --format=%b /var").parse::<u64>().unwrap() * 4096
}

/// Gives the disk another size, as a hypervisor does.
fn resize(lab: &Lab, bytes: u64) {
    let mut qmp = UnixStream::connect(lab.machines().join(NAME).join("fault.sock")).unwrap();
    let resize = format!(r#"{{"execute": "block_resize", "arguments": {{"node-name": "disk", "size": {bytes}}}}}"#);
    writeln!(qmp, r#"{{"execute": "qmp_capabilities"}}{resize}"#).unwrap();
    let mut answers = BufReader::new(qmp).lines().map(Result::unwrap).filter(|line| !line.contains("\"event\""));
    assert!(answers.next().unwrap().contains("QMP"));
    assert_eq!(answers.by_ref().take(2).collect::<Vec<_>>(), [r#"{"return": {}}"#; 2]);
}

/// What has to be the same in every boot of one machine.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    machine_id: String,
    host_key: String,
}

impl Facts {
    fn of(lab: &Lab) -> Self {
        let manifest: Value = serde_json::from_slice(&disk::read(lab.result().join("manifest.json")).unwrap()).unwrap();
        let path = manifest["expect"]["ssh"]["host_key_file"].as_str().unwrap();
        let facts = Self {
            machine_id: lab.root(NAME, "cat /etc/machine-id"),
            host_key: lab.root(NAME, &format!("cat {path}")),
        };
        assert_eq!(facts.machine_id.len(), 32);
        assert!(facts.host_key.starts_with("ssh-ed25519 "), "{facts:?}");
        facts
    }
}

/// The file of what was learnt, if there was anything to learn: a file that was written anew is another one.
fn accelerator(lab: &Lab) -> Option<u64> {
    let path = lab.machines().join("accelerator.json");
    disk::exists(&path).then(|| disk::metadata(path).unwrap().ino())
}

/// No process shows the secret in its arguments, and no file of the machine holds it: neither as it is nor encoded.
fn assert_secret(lab: &Lab, secret: &str, text: &str) {
    let encoded = base64::prelude::BASE64_STANDARD.encode(text);
    let needles = [secret.as_bytes(), &encoded.as_bytes()[..40]];
    let holds = |bytes: &[u8]| needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == *needle));
    assert!(holds(text.as_bytes()) && holds(encoded.as_bytes()), "the search itself works");
    for id in processes::all() {
        let environment = disk::read(format!("/proc/{id}/environ")).unwrap_or_default();
        assert!(!holds(&processes::command_line(id)) && !holds(&environment), "process {id}");
    }
    let mut seen = 0;
    let folders = [lab.machines(), lab.path().join("tmp")];
    folders.iter().for_each(|folder| {
        each_file(folder, &mut |path| {
            seen += 1;
            assert!(!holds(&disk::read(path).unwrap()), "{}", path.display());
        });
    });
    assert!(seen > 4, "{seen} files");
}

/// Visits all regular files below a directory.
fn each_file(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for path in disk::list(folder).unwrap() {
        let kind = disk::metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            each_file(&path, visit);
        } else if kind.is_file() {
            visit(&path);
        }
    }
}
