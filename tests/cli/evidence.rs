//! `rave verify`: bundles as they were made, damaged, foreign, and no bundles at all.

use std::collections::BTreeMap;

use rave::check::{Report, Stage, StageReport};
use rave::digest::Digest;
use rave::evidence::{FORMAT, Index, LONGEST, LeftOut, SigningKey, VerifyingKey, pack};
use rave::secrets::generate;
use serde_json::{Value, json};

use super::world::{World, text};

fn key() -> SigningKey {
    SigningKey::parse(generate::ssh_key("test").unwrap().expose()).unwrap()
}

fn report() -> Report {
    let check = serde_json::from_value(json!({
        "id": "ssh.port", "verdict": "unhealthy", "expected": "an SSH server", "observed": "nobody \u{1b}[2J",
        "option": null, "evidence": "", "ms": 1,
    }));
    let mut stages = vec![StageReport::new(Stage::Ssh, vec![check.unwrap()])];
    stages.extend(Stage::ALL.into_iter().skip(1).map(StageReport::not_applicable));
    Report::new(stages)
}

fn bundle(key: &SigningKey, members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let index = Index {
        format: FORMAT.to_owned(),
        created: "2026-11-28T09:00:00Z".to_owned(),
        rave: "0.1.0 (abc)".to_owned(),
        machine: "shop".to_owned(),
        image: "web".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        mode: rave::system::Mode::Safe,
        root_hash: Digest::of(b"root"),
        members: Vec::new(),
        left_out: vec![LeftOut { name: "console.log".to_owned(), reason: "SSH does not lead to it".to_owned() }],
    };
    let members: BTreeMap<String, Vec<u8>> =
        members.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    pack(index, &members, key).unwrap()
}

fn good(key: &SigningKey) -> Vec<u8> {
    bundle(key, &[("report.json", serde_json::to_vec(&report()).unwrap()), ("journal.txt", b"a line\n".to_vec())])
}

#[test]
fn a_bundle_is_verified_with_the_projects_key_and_shows_its_verdict() {
    let world = World::new();
    let key = key();
    let line = key.public().unwrap();
    let fingerprint = VerifyingKey::parse(&line).unwrap().fingerprint();
    let file = world.write("project/web.tar.zst", good(&key));
    world.run(&["verify", text(&file)]).refused(1, &["secrets/signing.pub is not there", "hint: --key names"]);
    world.write("project/secrets/signing.pub", format!("{line}\n"));
    let ran = world.run(&["verify", "web.tar.zst"]);
    let shown = ran.clean();
    for part in [
        fingerprint.as_str(),
        "shop checked at 2026-11-28T09:00:00Z by rave 0.1.0 (abc): web 1.0.0 (safe)",
        "has journal.txt, report.json",
        "has no console.log: SSH does not lead to it",
        "the machine was not healthy",
        "unhealthy ssh.port",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    let ran = world.run(&["verify", "web.tar.zst", "--json"]);
    let told: Value = serde_json::from_str(ran.clean()).unwrap();
    assert_eq!(told["signed_by"], fingerprint);
    assert_eq!(told["bundle"]["members"].as_array().unwrap().len(), 2);
    assert_eq!(told["report"], serde_json::to_value(report()).unwrap());
}

/// Who has no rave unpacks a bundle with tar and verifies it with OpenSSH's own tool.
#[test]
fn openssh_verifies_a_bundle_too() {
    let world = World::new();
    let key = key();
    world.write("tmp/signers", format!("rave {}\n", key.public().unwrap()));
    let archive = zstd::decode_all(good(&key).as_slice()).unwrap();
    tar::Archive::new(archive.as_slice()).unpack(world.path("tmp")).unwrap();
    let verify = || {
        let index = std::fs::File::open(world.path("tmp/bundle.json")).unwrap();
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-Y", "verify", "-f", "signers", "-I", "rave", "-n", "rave-evidence", "-s", "bundle.json.sig"]);
        command.current_dir(world.path("tmp")).stdin(index).output()
    };
    let Ok(said) = verify() else { return eprintln!("not tested: this needs OpenSSH") };
    assert!(said.status.success(), "{said:?}");
    let mut index = std::fs::read(world.path("tmp/bundle.json")).unwrap();
    index.push(b'\n');
    std::fs::write(world.path("tmp/bundle.json"), index).unwrap();
    assert!(!verify().unwrap().status.success());
}

#[test]
fn what_is_no_good_bundle_is_refused_and_nothing_of_it_is_shown() {
    let world = World::new();
    let (own, other) = (key(), key());
    world.write("project/own.pub", own.public().unwrap());
    let verify = |name: &str| world.run(&["verify", name, "--key", "own.pub"]);
    let put = |name: &str, bytes: &[u8]| drop(world.write(&format!("project/{name}"), bytes));
    let bytes = good(&own);
    put("good", &bytes);
    assert_eq!(verify("good").status, 0);

    put("foreign", &good(&other));
    let names = VerifyingKey::parse(&other.public().unwrap()).unwrap().fingerprint();
    verify("foreign").refused(1, &["it is signed by", &names, "hint: it was held against own.pub"]);
    put("truncated", &bytes[..bytes.len() - 9]);
    verify("truncated").refused(1, &["truncated: it is not an evidence bundle: zstd"]);
    let mut tampered = zstd::decode_all(bytes.as_slice()).unwrap();
    let at = tampered.windows(6).position(|window| window == b"a line").unwrap();
    tampered[at] = b'A';
    put("tampered", &zstd::encode_all(tampered.as_slice(), 1).unwrap());
    verify("tampered").refused(1, &["journal.txt was changed: it has not the digest that was signed"]);
    put("garbage", b"hello");
    verify("garbage").refused(1, &["garbage: it is not an evidence bundle"]);
    put("empty", b"");
    verify("empty").refused(1, &["it is not an evidence bundle"]);
    let large = std::fs::File::create(world.path("project/large")).unwrap();
    large.set_len(LONGEST + 2).unwrap();
    verify("large").refused(1, &["it is too large for an evidence bundle"]);
    put("without", &bundle(&own, &[("journal.txt", Vec::new())]));
    verify("without").refused(1, &["it has no report"]);
    put("other-report", &bundle(&own, &[("report.json", b"[]".to_vec())]));
    verify("other-report").refused(1, &["its report has another form"]);
    verify("nothing").refused(1, &["there is no file nothing"]);
    put("key", b"ssh-rsa AAAA");
    world.run(&["verify", "good", "--key", "key"]).refused(1, &["key: not an Ed25519 key of OpenSSH"]);
    world.run(&["verify", "good", "--key", "gone.pub"]).refused(1, &["there is no file gone.pub"]);
}
