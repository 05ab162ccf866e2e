//! What a machine says of itself, and what is written down about it. A guest may lie in any way it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rave::check::{self, Outside, Stage, Target, Wanted};
use rave::digest::Digest;
use rave::evidence;
use rave::images::Manifest;
use rave::images::compare::first_difference;
use rave::modules::evaluate;
use rave::name::GuestPath;
use rave::probe::{
    Alerted, Answer, Answered, Ended, FileSystem, HttpReply, HttpUrl, JournalEntry, JsonPath, Mount, Place, Pressure,
    Probe, Resources, Scan, SecretFile, Service, Socket, SshOffer, SshRefusal, Suite, Unit, Verity,
};
use rave::qemu::machine::{Choice, Profile};
use rave::qemu::state::State;
use rave::qemu::{console, ssh};
use rave::system::System;

use super::projects::library;
use super::search::Parser;

fn system() -> System {
    evaluate(&library(), "library", &[], None).unwrap().system
}

fn target(system: &System) -> Target {
    Target {
        image: system.name.clone(),
        version: system.version.clone(),
        mode: system.mode,
        cmdline: vec!["lockdown=confidentiality".to_owned()],
        expect: system.expect.clone(),
        journal: None,
        suites: Vec::new(),
        outside: Some(Outside {
            machine: system.machine.clone(),
            root_hash: Digest::of(b"root"),
            authorities: BTreeMap::new(),
        }),
    }
}

fn strings<T: FromIterator<String>>(all: &[&str]) -> T {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn map(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An answer of each kind, as an honest machine could give it.
fn answers() -> Vec<Answer> {
    let ended = Ended { code: Some(0), stdout: "active\n".to_owned(), stderr: String::new() };
    let unit = Unit {
        names: strings(&["nginx.service"]),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        restarts: 0,
        properties: map(&[("MemoryMax", "67108864"), ("LimitNOFILE", "infinity"), ("CPUQuotaPerSecUSec", "1s")]),
    };
    let offer = SshOffer {
        identification: "SSH-2.0-OpenSSH_10.0".to_owned(),
        kex: strings(&["mlkem768x25519-sha256", "kex-strict-s-v00@openssh.com"]),
        host_keys: strings(&["ssh-ed25519"]),
        ciphers_in: strings(&["aes256-gcm@openssh.com"]),
        ..SshOffer::default()
    };
    let mount = Mount {
        point: "/".to_owned(),
        fs: "erofs".to_owned(),
        source: "/dev/dm-0".to_owned(),
        device: "254:0".to_owned(),
        options: strings(&["ro"]),
    };
    let verity = Verity {
        name: "root".to_owned(),
        target: "verity".to_owned(),
        table: vec![format!("1 /dev/vda2 /dev/vda3 4096 4096 100 1 sha256 {} -", Digest::of(b"root"))],
        status: "V".to_owned(),
    };
    let resources = Resources {
        memory_total: 1 << 30,
        memory_available: 1 << 29,
        processors: 2,
        oom_kills: 0,
        pressure: BTreeMap::from([("cpu".to_owned(), Pressure { some: 1.5, full: 0.0 })]),
    };
    let space = FileSystem {
        point: "/var".to_owned(),
        fs: "ext4".to_owned(),
        read_only: false,
        total: 1000,
        available: 500,
        inodes: 10,
        inodes_free: 5,
    };
    let secret = SecretFile {
        owner: "web".to_owned(),
        group: "web".to_owned(),
        mode: 0o400,
        fs: "tmpfs".to_owned(),
        options: strings(&["noswap"]),
    };
    let socket = Socket {
        protocol: "tcp".to_owned(),
        address: "::".parse().unwrap(),
        port: 22,
        process: Some("sshd".to_owned()),
    };
    let http = HttpReply {
        status: 200,
        headers: map(&[("x-frame-options", "DENY")]),
        body: "{\"data\": {\"a\": \"7d\"}}".to_owned(),
        truncated: false,
    };
    vec![
        Answer::Unavailable { reason: "no".to_owned() },
        Answer::SshOffer(offer),
        Answer::SshLogin { host_key: "ssh-ed25519 AAAA".to_owned(), ended: ended.clone() },
        Answer::SshRefusal(SshRefusal { refused: true, methods: strings(&["publickey"]), said: "no".to_owned() }),
        Answer::Alerted(Alerted { nonce: "17".to_owned(), taken: 1, failed: 0 }),
        Answer::SystemState { state: "running".to_owned(), jobs: 0 },
        Answer::Units { units: BTreeMap::from([("nginx.service".to_owned(), unit)]) },
        Answer::Journal {
            entries: vec![JournalEntry { identifier: "kernel".to_owned(), message: "x".to_owned(), count: 2 }],
            truncated: false,
        },
        Answer::Sockets { sockets: vec![socket] },
        Answer::Mounts { mounts: vec![mount] },
        Answer::Sysctls { values: map(&[("kernel.sysrq", "0")]), unread: map(&[("vm.x", "denied")]) },
        Answer::CommandLine { line: format!("roothash={} lockdown=confidentiality", Digest::of(b"root")) },
        Answer::Resources(resources),
        Answer::Cgroups {
            groups: BTreeMap::from([(
                "nginx.service".to_owned(),
                map(&[("memory.max", "67108864"), ("cpu.max", "max 100000")]),
            )]),
        },
        Answer::Space { file_systems: vec![space] },
        Answer::Verity(verity),
        Answer::Write { written: false, said: "Read-only file system".to_owned() },
        Answer::Clock { unix_seconds: 1_795_600_000, uptime_seconds: 30 },
        Answer::Scan(Scan {
            files: 10,
            searched: 10,
            keys: map(&[("/x", "key")]),
            passwords: strings(&["root"]),
            set_id: strings(&["/usr/bin/sudo"]),
            ..Scan::default()
        }),
        Answer::HostKey { key: "ssh-ed25519 AAAA".to_owned() },
        Answer::Secrets { files: BTreeMap::from([("db".to_owned(), secret)]) },
        Answer::Http(http),
        Answer::Connected { said: "+PONG".to_owned() },
        Answer::Run(ended),
    ]
}

/// Judges a machine that gives the same answers to whatever it is asked, in turn, and shows what comes of it.
fn judge(target: &Target, answers: &[Answer]) {
    for turn in 0..answers.len() {
        let mut answer = |_: Stage, probes: &[Probe]| {
            let given = |at: usize| Answered { answer: answers[(turn + at) % answers.len()].clone(), ms: u64::MAX };
            // The same to all, or another one to each.
            (0..probes.len()).map(|at| given(if turn % 2 == 0 { 0 } else { at })).collect()
        };
        let report = check::run(target, &Wanted::default(), &mut answer, &mut |_| false);
        let _ = (check::junit(&report, true), check::markdown(&report), check::trouble_rows(&report).len());
    }
}

/// What suites said, each text read as that of every suite.
fn suites(target: &Target) -> Parser {
    let folder = std::fs::read_dir("src/check/tests/suites").unwrap();
    let recorded: Vec<Vec<u8>> = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!recorded.is_empty());
    let target = Target { suites: Suite::ALL.to_vec(), ..target.clone() };
    let wanted = Wanted { only: vec!["security.suite".to_owned()], ..Wanted::default() };
    Parser::new("suites", 60, recorded, move |bytes| {
        let stdout = String::from_utf8_lossy(bytes).into_owned();
        let ended = Ended { code: Some(0), stdout, stderr: String::new() };
        let said = Answer::Suite { command: "x".to_owned(), ended };
        let mut answer =
            |_: Stage, probes: &[Probe]| probes.iter().map(|_| Answered { answer: said.clone(), ms: 1 }).collect();
        assert_eq!(check::run(&target, &wanted, &mut answer, &mut |_| false).stages[5].checks.len(), Suite::ALL.len());
    })
}

fn manifest(system: &System) -> Manifest {
    let blob = serde_json::json!({"size": 4096, "sha256": Digest::of(b"x").to_string()});
    let text = serde_json::json!({
        "format": 1, "image": "x", "version": "1.0", "mode": "safe", "rave": "0.1.0", "epoch": 1,
        "root_hash": Digest::of(b"root").to_string(),
        "kernel": "6.12", "cmdline": "quiet", "disk": blob, "uki": blob, "initrd": blob, "partitions": [],
        "packages": {"jq": "1.7"}, "options": {}, "machine": system.machine, "disk_size": 4096,
        "state": system.state, "expect": system.expect, "files": {"/a": {"mode": "0644", "owner": [0, 0]}},
    });
    serde_json::from_value(text).unwrap()
}

/// A key to sign with, and a bundle of it.
fn evidence() -> (evidence::SigningKey, evidence::VerifyingKey, Vec<u8>) {
    let key = std::fs::read("tests/vectors/sops/generated/keys/id_ed").unwrap();
    let key = evidence::SigningKey::parse(&key).unwrap();
    let public = evidence::VerifyingKey::parse(&key.public().unwrap()).unwrap();
    let index = evidence::Index {
        format: evidence::FORMAT.to_owned(),
        created: "2026-11-28T09:00:00Z".to_owned(),
        rave: "0.1.0 (abc)".to_owned(),
        machine: "web".to_owned(),
        image: "web".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        mode: rave::system::Mode::Safe,
        root_hash: Digest::of(b"root"),
        members: Vec::new(),
        left_out: vec![evidence::LeftOut { name: "console.log".to_owned(), reason: "none".to_owned() }],
    };
    let members = [("report.json", "{}"), ("journal.txt", "a line\n")];
    let members = members.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
    let bundle = evidence::pack(index, &members, &key).unwrap();
    (key, public, bundle)
}

/// Bundles as bytes, as an archive that is compressed well, and as an index that is signed well.
fn bundles() -> Vec<Parser> {
    let (key, public, bundle) = evidence();
    let archive = zstd::decode_all(bundle.as_slice()).unwrap();
    let index = serde_json::to_vec(&evidence::read(&bundle, &public).unwrap().index).unwrap();
    let compressed = |archive: &[u8]| zstd::encode_all(archive, 1).unwrap();
    let (of_archive, of_index) = (public.clone(), public.clone());
    vec![
        Parser::new("evidence", 1500, [bundle], move |bytes| drop(evidence::read(bytes, &public))),
        Parser::new("evidence-archive", 1500, [archive.clone()], move |bytes| {
            if let Ok(read) = evidence::read(&compressed(bytes), &of_archive) {
                assert_eq!(bytes, archive, "{:?} is signed in two archives", read.index);
            }
        }),
        Parser::new("evidence-index", 1500, [index], move |bytes| {
            let mut builder = tar::Builder::new(Vec::new());
            let signature = key.sign(bytes).unwrap();
            for (name, bytes) in [(evidence::INDEX, bytes), (evidence::SIGNATURE, signature.as_bytes())] {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, bytes).unwrap();
            }
            drop(evidence::read(&compressed(&builder.into_inner().unwrap()), &of_index));
        }),
    ]
}

pub fn parsers() -> Vec<Parser> {
    let system = system();
    let manifest = manifest(&system);
    let target = target(&system);
    let folder = Arc::new(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
    let (for_ssh, for_state) = (Arc::clone(&folder), Arc::clone(&folder));
    let whole = serde_json::to_vec(&answers()).unwrap();
    let each = answers().into_iter().map(|answer| serde_json::to_vec(&[answer]).unwrap());
    let state = r#"{"name":"x","process":null,
        "accelerator":"kvm","forwards":[{"host":2222,"guest":22}],"base":{"path":"/x","length":1,"modified":1},
        "persist":false,"detach":true,"notes":{}}"#;
    let mut parsers = vec![
        suites(&target),
        Parser::new("answers", 120, each.chain([whole]).collect::<Vec<_>>(), move |bytes| {
            if let Ok(answers) = serde_json::from_slice::<Vec<Answer>>(bytes) {
                judge(&target, &answers);
            }
        })
        .words(&[
            "infinity",
            "max",
            "[not set]",
            "18446744073709551615",
            "\"\\u0000\"",
            "1e308",
            "99999999999999999999",
            "\u{1b}[2J",
        ]),
        Parser::new(
            "probes",
            3000,
            [r#"[{"ask":"units","properties":["MemoryMax"]},{"ask":"ssh-login","user":"a","command":["x"]}]"#],
            |bytes| {
                let _ = serde_json::from_slice::<Vec<Probe>>(bytes);
            },
        ),
        Parser::text(
            "places",
            5000,
            [
                "127.0.0.1:5432",
                "/run/redis.sock",
                "http://unix:/run/web.sock:/",
                "http://[::1]:80/a?b",
                "data.\"a.b\"[0]",
            ],
            |text| {
                let _ =
                    (text.parse::<Place>().is_ok(), text.parse::<HttpUrl>().is_ok(), text.parse::<Service>().is_ok());
                if let Ok(path) = text.parse::<JsonPath>() {
                    let _ = path.find(&serde_json::json!({"data": {"a.b": [1]}}));
                }
            },
        ),
        Parser::new("manifest", 60, [manifest.to_json().unwrap()], move |bytes| {
            if let Ok(other) = serde_json::from_slice::<Manifest>(bytes) {
                let _ = first_difference(&manifest, &other);
                let _ = other.to_json();
            }
        }),
        Parser::text("profile", 2000, [std::fs::read_to_string("qemu/safe.yaml").unwrap()], |text| {
            let _ = (Profile::parse("x", text).is_ok(), text.parse::<Choice>().is_ok());
        }),
        Parser::new(
            "host-key",
            1500,
            [
                std::fs::read("tests/vectors/sops/generated/keys/id_ed.pub").unwrap(),
                std::fs::read("tests/vectors/sops/generated/keys/id_rsa.pub").unwrap(),
            ],
            move |bytes| {
                if let Ok(key) = ssh::trust(for_ssh.path(), "x", bytes) {
                    assert!(!key.contains('\n'), "a guest adds lines to known_hosts");
                }
            },
        ),
        Parser::new(
            "console",
            1500,
            [&b"[    0.0] Linux\r\n\x1b[0;31mred\x1b[0m\x1b]0;title\x07x\n"[..]],
            move |bytes| {
                let log = folder.path().join("console.log");
                std::fs::write(&log, bytes).unwrap();
                let text = console::tail(&log).unwrap();
                assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "control characters reach the terminal");
            },
        ),
        Parser::new("state", 1000, [state], move |bytes| {
            std::fs::write(for_state.path().join("vm.json"), bytes).unwrap();
            if let Ok(Some(state)) = State::load(for_state.path()) {
                let _ = state.host_port(22);
            }
        }),
    ];
    parsers.extend(bundles());
    parsers
}

#[test]
fn the_judge_understands_what_is_damaged() {
    let target = target(&system());
    let resources = answers().into_iter().find(|answer| matches!(answer, Answer::Resources(_))).unwrap();
    let answered = |probes: &[Probe]| probes.iter().map(|_| Answered { answer: resources.clone(), ms: 1 }).collect();
    let report = check::run(&target, &Wanted::default(), &mut |_, probes: &[Probe]| answered(probes), &mut |_| false);
    let judged =
        report.stages.iter().flat_map(|stage| &stage.checks).filter(|check| check.observed.contains("MiB")).count();
    assert!(judged > 0, "{report:?}");
    assert!("/x".parse::<GuestPath>().is_ok());
}
