//! Files, keys and values of secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rave::secrets::path::{self, leaves};
use rave::secrets::{File, Format, Group, Identities, Mac, Recipient, Secret};
use rave::secrets::{config, deploy, generate, read_json, ssh_to_age, words};

use super::search::Parser;

/// Pieces of encrypted files.
const SOPS: &[&str] = &[
    "ENC[AES256_GCM,data:",
    ",iv:",
    ",tag:",
    ",type:int]",
    ",type:float]",
    ",type:bool]",
    ",type:time]",
    ",type:comment]",
    ",type:bytes]",
    "sops",
    "sops:\n    age: []\n",
    "shamir_threshold: 200\n",
    "mac_only_encrypted: true\n",
    "encrypted_regex: ((((a{9}){9}){9}){9})\n",
    "key_groups:\n        - age: []\n",
    "lastmodified",
    "2026-11-25T10:00:00Z",
    "9999999-99-99T99:99:99Z",
    "version: 99999999999.0.0",
    "sops_age__list_0__map_enc=",
    "sops_age__list_99999999999__map_enc=",
    "\"\"\"",
    "age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a",
];

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/vectors/sops").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The vectors in a folder whose names end so, small ones only.
fn vectors(folder: &str, suffix: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(Path::new("tests/vectors/sops").join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file() && path.to_string_lossy().ends_with(suffix));
    paths.sort();
    let all = paths.iter().map(|path| std::fs::read(path).unwrap());
    all.filter(|bytes| bytes.len() < 32 << 10).collect()
}

static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    let mut all = Identities::default();
    for name in ["age1.txt", "age2.txt", "agepq.txt", "id_ed"] {
        all.add(name, &vector(&format!("generated/keys/{name}"))).unwrap();
    }
    all
});

/// Reads a file as encrypted and as plain, opens it, and does with it what commands do.
fn file(format: Format, bytes: &[u8]) {
    if let Ok(file) = File::read(format, bytes) {
        let _ = file.write();
        let _ = deploy::fingerprint(&file);
        let _ = file.clone().open(&IDENTITIES, Mac::Check);
        if let Ok(mut opened) = file.open(&IDENTITIES, Mac::Ignore) {
            for document in &opened.documents {
                leaves(document).into_iter().for_each(|(_, leaf)| drop(opened.fingerprint(leaf, None)));
            }
            let _ = Format::ALL.map(|other| other.write(&opened.documents).is_ok());
            let _ = opened.seal("2026-11-25T10:00:00Z".parse().unwrap());
        }
    }
    if let Ok(documents) = format.read(bytes) {
        let _ = Format::ALL.map(|other| other.write(&documents).is_ok());
    }
}

fn sealed() -> Vec<u8> {
    let values = BTreeMap::from([
        ("db".to_owned(), Secret::from("hunter2 hunter2")),
        ("raw".to_owned(), Secret::new(vec![0, 255, 7])),
    ]);
    let groups = [Group::of(IDENTITIES.recipients()[..1].to_vec())];
    let sources = BTreeMap::from([("secrets/web.yaml".to_owned(), "ab".repeat(32))]);
    let sealing = deploy::Sealing { values: &values, groups: &groups, threshold: None, sources: &sources };
    deploy::seal(&sealing, None, &Identities::default(), "2026-11-25T10:00:00Z".parse().unwrap()).unwrap()
}

fn certificates() -> (Vec<u8>, Vec<u8>) {
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_600_000);
    let pair = generate::authority("test", now).unwrap();
    (pair.certificate.into_bytes(), pair.key.expose().to_vec())
}

const RULES: &str = "creation_rules:
- path_regex: ^secrets/
  shamir_threshold: 2
  key_groups:
  - merge:
    - age: [age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a]
  - age: age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a
  encrypted_regex: ^a$
  mac_only_encrypted: true
stores:
  yaml: { indent: 2 }
";

const NEEDS: &str = r#"{"db": {"kind": "password", "owner": "db", "group": "db", "mode": "0400",
    "units": ["a.service"], "on_change": "restart"}}"#;

/// Pieces of age files, identities and recipients.
const AGE: &[&str] = &[
    "-> X25519 ",
    "-> scrypt AAAA 18\n",
    "-> ssh-rsa ",
    "-> mlkem768x25519 ",
    "---",
    "-----BEGIN AGE ENCRYPTED FILE-----\n",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "AGE-SECRET-KEY-1",
    "AGE-SECRET-KEY-PQ-1",
    "AGE-PLUGIN-X-1",
    "age1pq1",
    "age1yubikey1",
    "ssh-ed25519 ",
    ",",
];

/// Pieces of what a search for leaks looks for.
const KEYS: &[&str] =
    &["-----BEGIN ", "PRIVATE KEY-----", "$6$rounds=5000$", "$y$j9T$", "AGE-SECRET-KEY-1", "PuTTY-User-Key-File-3: "];

pub fn parsers() -> Vec<Parser> {
    let mut all = Vec::new();
    for (format, suffix) in [
        (Format::Yaml, ".yaml"),
        (Format::Json, ".json"),
        (Format::Dotenv, ".env"),
        (Format::Ini, ".ini"),
        (Format::Binary, ".bin"),
    ] {
        let name = match format {
            Format::Yaml => "sops-yaml",
            Format::Json => "sops-json",
            Format::Dotenv => "sops-dotenv",
            Format::Ini => "sops-ini",
            Format::Binary => "sops-binary",
        };
        let folders = [
            "generated/sops-3.13.2",
            "generated/sops-3.9.4",
            "generated/src",
            "generated/tamper",
            "generated/comments",
        ];
        let seeds = folders.iter().flat_map(|folder| vectors(folder, suffix));
        all.push(Parser::new(name, 400, seeds, move |bytes| file(format, bytes)).words(SOPS));
    }
    let (certificate, key) = certificates();
    let pair = [certificate.clone(), key.clone()];
    all.extend([
        Parser::new("age-file", 300, vectors("cctv-age/testdata", ""), |bytes| {
            // Behind the header of the test kit is the age file.
            let at = bytes.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 2);
            let enc = String::from_utf8_lossy(&bytes[at..]);
            let text = serde_json::json!({"a": "", "sops": {"age": [{"recipient": "age1x", "enc": enc}],
                "lastmodified": "2026-11-25T10:00:00Z", "mac": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]",
                "version": "3.13.1"}});
            file(Format::Json, text.to_string().as_bytes());
            let _ = Identities::parse("x", &bytes[at..]);
        })
        .words(AGE),
        Parser::new("identities", 600, vectors("generated/keys", ""), |bytes| {
            let _ = Identities::parse("x", bytes);
            let _ = Identities::default().add_words("x", bytes);
        })
        .words(AGE),
        Parser::text(
            "recipients",
            3000,
            [vectors("generated/keys", ".pub").concat(), IDENTITIES.recipients().join(",").into_bytes()],
            |text| {
                let _ = Recipient::parse_list(text);
                let _ = text.lines().map(Recipient::parse).filter(Result::is_ok).count();
                let _ = ssh_to_age(text);
            },
        )
        .words(AGE),
        Parser::text("creation-rules", 1000, [RULES], |text| {
            let config = Path::new("/p/.sops.yaml");
            let _ = config::creation(config, text, Path::new("/p/secrets/a.yaml"));
            let _ = config::layout(config, text);
        })
        .words(SOPS),
        Parser::text("path", 5000, ["[\"a\"][0][\"k\\\"\"]", "a/0/b", "['x'][99]"], |text| {
            let Ok(path) = text.parse::<path::Path>() else { return };
            let mut document =
                Format::Json.read(b"{\"a\": [{\"k\": 1}, {\"b\": [1, {}]}], \"x\": null}").unwrap().remove(0);
            let _ = path::get(&document, &path);
            path::set(&mut document, &path, rave::secrets::tree::Value::Null);
            let _ = path::unset(&mut document, &path);
            let _ = path.to_string();
        }),
        Parser::text("words", 5000, ["code --wait", "a 'b c' \"d \\\" e\" f\\ g"], |text| drop(words::split(text))),
        Parser::text(
            "value-json",
            3000,
            ["{\"a\": [1, -0.5e3, \"\\ud83d\\ude00\", null, true]}", "\"x\"", "18446744073709551616"],
            |text| drop(read_json(text)),
        ),
        Parser::new("sealed", 400, [sealed()], |bytes| {
            let _ = deploy::about(bytes);
            let _ = deploy::open(bytes, &IDENTITIES);
        })
        .words(SOPS),
        Parser::new("needs", 2000, [NEEDS], |bytes| {
            let _ = deploy::read_needs(bytes);
        }),
        Parser::new("certificate", 1000, pair, move |bytes| {
            let _ = generate::expiry(bytes);
            let _ = generate::belongs(&Secret::new(bytes.to_vec()), &certificate);
            let _ = generate::belongs(&Secret::new(key.clone()), bytes);
        })
        .words(&[
            "-----BEGIN CERTIFICATE-----\n",
            "-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\n",
        ]),
        Parser::new("private-key", 1500, vectors("generated/keys", ""), |bytes| {
            let _ = rave::leaks::private_key(bytes);
            let _ = rave::leaks::too_weak(bytes);
            let patterns = rave::leaks::Patterns::known();
            patterns.search(bytes, bytes.len(), &mut |_, _| ());
        })
        .words(KEYS),
    ]);
    all
}

#[test]
fn the_identities_open_what_is_damaged() {
    let opened = File::read(Format::Yaml, &vector("generated/sops-3.13.2/types.yaml")).unwrap();
    assert!(opened.open(&IDENTITIES, Mac::Check).is_ok());
    assert!(deploy::open(&sealed(), &IDENTITIES).is_ok());
}
