//! Files written by real versions of sops: each opens to the very bytes that sops gives, and what is written from
//! them opens again.

use std::path::Path;

use rave::secrets::{BadMac, Error, File, Format, Group, Identities, Mac, Metadata, Opened, Refusal, Rule};
use serde_json::Value;

use super::vectors::{bytes, format, identities, path, text, with_plain};

fn open(name: &str, identities: &Identities) -> rave::secrets::Result<Opened> {
    File::read(format(name), &bytes(name))?.open(identities, Mac::Check)
}

/// The cases of the manifest: file and key.
fn cases() -> Vec<(String, String)> {
    let manifest: Value = serde_json::from_str(&text("generated/MANIFEST.json")).unwrap();
    let cases = manifest.as_array().unwrap().iter().filter(|case| case["file"].is_string());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    cases
        .map(|case| (format!("generated/{}", word(&case["file"])), format!("generated/keys/{}", word(&case["key"]))))
        .collect()
}

#[test]
fn every_file_of_sops_opens_to_the_bytes_that_sops_gives() {
    let mut plain = 0;
    for (name, key) in cases() {
        let opened = open(&name, &identities(&key)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let written = opened.format.write(&opened.documents).unwrap();
        if path(&format!("{name}.plain")).exists() {
            plain += 1;
            let expected = bytes(&format!("{name}.plain"));
            assert_eq!(String::from_utf8_lossy(written.expose()), String::from_utf8_lossy(&expected), "{name}");
        }
    }
    assert!(plain > 35, "{plain} compared");
}

#[test]
fn files_of_other_projects_open() {
    let mut seen = 0;
    for name in with_plain("flux") {
        let mut all = Identities::default();
        for key in ["age.txt", "age-global.txt", "age-pq.txt"] {
            let key = format!("flux/controller/testdata/sops/keys/{key}");
            all.add(&key, &bytes(&key)).unwrap();
        }
        let plain = bytes(&format!("{name}.plain"));
        match open(&name, &all) {
            Ok(opened) => {
                seen += 1;
                let written = opened.format.write(&opened.documents).unwrap();
                assert_eq!(String::from_utf8_lossy(written.expose()), String::from_utf8_lossy(&plain), "{name}");
            }
            // OpenPGP keys are not for rave.
            Err(Error::Locked(_)) if name.contains("pgp") => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert!(seen >= 8, "{seen} opened");
}

/// What sops refuses is refused, for the same reason; what it accepts opens.
#[test]
fn tampered_files_are_refused_as_sops_refuses_them() {
    let expected: Value = serde_json::from_str(&text("generated/tamper/EXPECT.json")).unwrap();
    let identities = identities("generated/keys/age1.txt");
    for case in expected.as_array().unwrap() {
        let name = format!("generated/tamper/{}", case["file"].as_str().unwrap());
        let status = match open(&name, &identities) {
            Ok(_) => 0,
            Err(error) => {
                assert!(!error.to_string().contains("hunter2"), "{name}: {error}");
                error.status()
            }
        };
        assert_eq!(u64::from(status), case["rc"].as_u64().unwrap(), "{name}");
    }
    let reason = |name: &str| open(&format!("generated/tamper/{name}"), &identities).unwrap_err();
    assert!(matches!(reason("swap_values.yaml"), Error::Value { reason: Refusal::Forged, .. }));
    assert!(matches!(reason("reordered_keys.yaml"), Error::Mac(BadMac::Mismatch)));
    assert!(matches!(reason("lastmodified_changed.yaml"), Error::Mac(BadMac::Forged)));
    assert!(matches!(reason("mac_missing.yaml"), Error::Mac(BadMac::Missing)));
    let plain = reason("added_plain_in_encrypted_area.yaml");
    assert!(matches!(&plain, Error::Value { path, reason: Refusal::Plain } if path == "extra"), "{plain}");
    let number = reason("added_int_in_encrypted_area.yaml");
    assert!(matches!(&number, Error::Value { reason: Refusal::NotText, .. }), "{number}");
    assert!(reason("unquoted_lastmodified.yaml").to_string().contains("lastmodified is a time"));
    assert!(reason("two_rules.yaml").to_string().contains("only one rule"));
}

/// Encrypts a source as the file's own case did.
fn reencrypt(opened: &Opened, source: &[u8]) -> Vec<u8> {
    let mut metadata = opened.metadata.clone();
    metadata.groups.iter_mut().flat_map(|group| &mut group.age).for_each(|key| key.enc.clear());
    let documents = opened.format.read(source).unwrap();
    let prompt: std::sync::Arc<dyn rave::secrets::prompt::Prompt> = std::sync::Arc::new(rave::secrets::prompt::Nobody);
    let mut new = Opened::create(opened.format, documents, metadata, &prompt).unwrap();
    new.seal("2026-11-25T10:00:00Z".parse().unwrap()).unwrap()
}

/// The other direction: encrypting the plain texts gives files that open to the same bytes.
#[test]
fn what_rave_encrypts_opens_to_what_sops_would_give() {
    for (name, key) in cases() {
        let identities = identities(&key);
        let opened = open(&name, &identities).unwrap();
        let plain = opened.format.write(&opened.documents).unwrap();
        // In JSON -0 was a float before sops 3.13.2; now it is the whole number 0.
        let plain = rave::secrets::Secret::from(
            plain
                .expose_text()
                .map_or_else(|| plain.expose().to_vec(), |text| text.replace("\"n\": -0", "\"n\": 0").into_bytes())
                .as_slice(),
        );
        let file = reencrypt(&opened, plain.expose());
        let again = File::read(opened.format, &file).unwrap().open(&identities, Mac::Check);
        let again = again.unwrap_or_else(|e| panic!("{name}: {e}"));
        let written = again.format.write(&again.documents).unwrap();
        assert_eq!(String::from_utf8_lossy(written.expose()), String::from_utf8_lossy(plain.expose()), "{name}");
    }
}

/// The sources themselves, styles and all, come out as they do from sops.
#[test]
fn sources_come_out_as_sops_has_them() {
    let check = |source: &str, encrypted: &str| {
        let identities = identities("generated/keys/age1.txt");
        let encrypted = format!("generated/sops-3.13.2/{encrypted}");
        let opened = open(&encrypted, &identities).unwrap();
        let file = reencrypt(&opened, &bytes(&format!("generated/src/{source}")));
        let again = File::read(opened.format, &file).unwrap().open(&identities, Mac::Check).unwrap();
        let written = again.format.write(&again.documents).unwrap();
        let plain = bytes(&format!("{encrypted}.plain"));
        assert_eq!(String::from_utf8_lossy(written.expose()), String::from_utf8_lossy(&plain), "{source}");
    };
    for name in ["anchors.yaml", "listcomments.yaml", "multidoc.yaml", "types.yaml", "time.yaml", "blob.bin"] {
        check(name, name);
    }
    check("types.json", "types_json.json");
    check("types.env", "types_env.env");
    check("types.ini", "types_ini.ini");
    for rule in ["encrypted-comment-regex", "encrypted-regex", "encrypted-suffix", "unencrypted-comment-regex"] {
        check("sel.yaml", &format!("{rule}.yaml"));
    }
    for rule in ["unencrypted-regex", "unencrypted-suffix", "mac_only_encrypted", "two_recipients", "shamir_2of3"] {
        check("sel.yaml", &format!("{rule}.yaml"));
    }
}

/// The lines of an encrypted file that hold no ciphertext, and the types of those that do: what a reviewer sees.
fn skeleton(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file).into_owned();
    let mut armored = false;
    // An age file in lines of its own has as many as chance wants.
    let lines = text.lines().filter(|line| {
        armored = (armored || line.contains("BEGIN AGE")) && !line.contains("END AGE");
        !armored && !line.contains("END AGE")
    });
    lines
        .filter(|line| !line.contains("lastmodified") && !line.contains("version"))
        .map(|line| match (line.find("ENC["), line.rfind(",type:")) {
            (Some(from), Some(to)) => format!("{}{}", &line[..from], &line[to..]),
            _ => line.to_owned(),
        })
        .collect()
}

/// Layout, key order and types of what rave writes are those of sops.
#[test]
fn encrypted_files_look_like_those_of_sops() {
    for (name, source) in [
        ("types.yaml", "types.yaml"),
        ("multidoc.yaml", "multidoc.yaml"),
        ("time.yaml", "time.yaml"),
        ("anchors.yaml", "anchors.yaml"),
        ("encrypted-comment-regex.yaml", "sel.yaml"),
        ("shamir_2of3.yaml", "sel.yaml"),
        ("mac_only_encrypted.yaml", "sel.yaml"),
        ("types_env.env", "types.env"),
        ("types_ini.ini", "types.ini"),
        ("types_json.json", "types.json"),
        ("blob.bin", "blob.bin"),
    ] {
        let name = format!("generated/sops-3.13.2/{name}");
        let opened = open(&name, &identities("generated/keys/age1.txt")).unwrap();
        let file = reencrypt(&opened, &bytes(&format!("generated/src/{source}")));
        assert_eq!(skeleton(&file), skeleton(&bytes(&name)), "{name}");
    }
}

#[test]
fn an_unchanged_file_keeps_every_ciphertext() {
    for (name, key) in cases() {
        let mut opened = open(&name, &identities(&key)).unwrap();
        let sealed = opened.seal("2026-11-25T10:00:00Z".parse().unwrap()).unwrap();
        let values = |file: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(file).into_owned();
            let lines = text.lines().filter(|line| line.contains("ENC[") && !line.contains("mac")).map(str::to_owned);
            lines.map(|line| line[line.find("ENC[").unwrap()..].to_owned()).collect()
        };
        let (before, after) = (values(&bytes(&name)), values(&sealed));
        // Comments in lists and beside values move to lines of their own.
        let kept = before
            .iter()
            .filter(|value| !value.contains("type:comment"))
            .all(|value| after.iter().any(|new| new.split(" #ENC").next() == value.split(" #ENC").next()));
        assert!(kept, "{name}\n{before:#?}\n{after:#?}");
    }
}

#[test]
fn the_tree_is_the_one_that_sops_walks() {
    for case in ["01_map", "02_list", "04_empty", "06_multidoc", "08_hashes"] {
        let documents = Format::Yaml.read(&bytes(&format!("generated/comments/{case}.yaml"))).unwrap();
        let mut found = Vec::new();
        documents.iter().enumerate().for_each(|(at, document)| leaves::map(at, document, "", &mut found));
        let expected: Value = serde_json::from_str(&text(&format!("generated/comments/{case}.expected.json"))).unwrap();
        let wanted: Vec<String> = expected["leaves"].as_array().unwrap().iter().map(leaves::expected).collect();
        assert_eq!(found, wanted, "{case}");
        // In an empty list sops itself loses the comment.
        if case != "04_empty" {
            let written = Format::Yaml.write(&documents).unwrap();
            assert_eq!(written.expose_text(), expected["reemit"].as_str(), "{case}");
        }
    }
}

mod leaves {
    use rave::secrets::tree::{Comment, Entry, Item, Kind, Value};

    pub fn expected(leaf: &serde_json::Value) -> String {
        let word = |name: &str| leaf[name].as_str().unwrap_or("").to_owned();
        let inline = leaf["inline"].as_bool().unwrap_or(false);
        let inline = if inline { " inline" } else { "" };
        format!("{} {} {}{inline} {} {:?}", leaf["doc"], word("aad"), word("kind"), word("type"), word("value"))
    }

    pub fn map(doc: usize, entries: &[Entry], path: &str, found: &mut Vec<String>) {
        for entry in entries {
            match entry {
                Entry::Comment(text) => found.push(comment(doc, text, path)),
                Entry::Pair(key, inner) => value(doc, inner, &format!("{path}{key}:"), found),
            }
        }
    }

    fn comment(doc: usize, comment: &Comment, path: &str) -> String {
        let path = if path.is_empty() { ":" } else { path };
        let inline = if comment.inline { " inline" } else { "" };
        format!("{doc} {path} comment{inline}  {:?}", comment.text.expose_text().unwrap())
    }

    fn value(doc: usize, value_: &Value, path: &str, found: &mut Vec<String>) {
        match value_ {
            Value::Null => found.push(format!("{doc} {path} null  \"\"")),
            Value::Map(entries) => map(doc, entries, path, found),
            Value::List(items) => {
                for item in items {
                    match item {
                        Item::Comment(text) => found.push(comment(doc, text, path)),
                        Item::Value(inner) => value(doc, inner, path, found),
                    }
                }
            }
            Value::Leaf(leaf) => {
                let kind = match leaf.kind {
                    Kind::Str => "string",
                    Kind::Int => "int",
                    Kind::Float => "float64",
                    Kind::Bool => "bool",
                    Kind::Time => "time.Time",
                };
                found.push(format!("{doc} {path} value {kind} {:?}", leaf.text.expose_text().unwrap()));
            }
        }
    }
}

#[test]
fn recipients_change_and_values_do_not() {
    let name = "generated/sops-3.13.2/types.yaml";
    let mut file = File::read(Format::Yaml, &bytes(name)).unwrap();
    let (one, two) = (identities("generated/keys/age1.txt"), identities("generated/keys/age2.txt"));
    let recipients = [one.recipients(), two.recipients()].concat();
    file.rewrap(vec![Group::of(recipients)], None, &one).unwrap();
    let written = file.write().unwrap();
    for identities in [&one, &two] {
        File::read(Format::Yaml, &written).unwrap().open(identities, Mac::Check).unwrap();
    }
    let body = |file: &[u8]| String::from_utf8_lossy(file).split("sops:").next().unwrap().to_owned();
    assert_eq!(body(&written), body(&bytes(name)));
    let enc = |file: &File, at: usize| file.metadata.groups[0].age[at].enc.clone();
    assert_eq!(
        enc(&File::read(Format::Yaml, &written).unwrap(), 0),
        enc(&File::read(Format::Yaml, &bytes(name)).unwrap(), 0)
    );
    assert!(matches!(file.clone().open(&Identities::default(), Mac::Check), Err(Error::Locked(_))));
}

#[test]
fn a_threshold_of_key_groups_opens_and_fewer_do_not() {
    let name = "generated/sops-3.13.2/shamir_2of3.yaml";
    // The third group holds both keys; the first one of the second only.
    let mut file = File::read(Format::Yaml, &bytes(name)).unwrap();
    file.metadata.groups[2].age.remove(0);
    let one = identities("generated/keys/age1.txt");
    let error = file.clone().open(&one, Mac::Check).unwrap_err();
    assert!(error.to_string().contains("1 of 3 key groups open, 2 are needed"), "{error}");
    assert_eq!(error.status(), 128);
    file.clone().open(&identities("generated/keys/age2.txt"), Mac::Check).unwrap();
}

#[test]
fn fields_that_are_not_known_are_kept() {
    let text = text("generated/sops-3.13.2/sel.yaml".replace("sel", "encrypted-regex").as_str());
    let text = text.replace("    version: 3.13.2\n", "    version: 9.0.0\n    zz_future:\n        a: 1\n");
    let mut opened = File::read(Format::Yaml, text.as_bytes())
        .unwrap()
        .open(&identities("generated/keys/age1.txt"), Mac::Check)
        .unwrap();
    let written = String::from_utf8(opened.seal("2026-11-25T10:00:00Z".parse().unwrap()).unwrap()).unwrap();
    assert!(written.ends_with("    version: 9.0.0\n    zz_future:\n        a: 1\n"), "{written}");
}

#[test]
fn rotating_takes_a_new_key_and_new_ciphertexts() {
    let name = "generated/sops-3.13.2/types.yaml";
    let identities = identities("generated/keys/age1.txt");
    let mut opened = open(name, &identities).unwrap();
    opened.rotate(identities.prompt()).unwrap();
    let written = opened.seal("2026-11-25T10:00:00Z".parse().unwrap()).unwrap();
    let again = File::read(Format::Yaml, &written).unwrap().open(&identities, Mac::Check).unwrap();
    assert_eq!(again.documents, opened.documents);
    let old = text(name);
    let new = String::from_utf8(written).unwrap();
    assert!(new.lines().filter(|line| line.contains("ENC[")).all(|line| !old.contains(line)));
}

#[test]
fn an_invalid_rule_is_refused_before_anything_is_written_plain() {
    let rule = Some(Rule { name: "encrypted_regex", text: "(".to_owned() });
    let group = Group::of(identities("generated/keys/age1.txt").recipients().to_vec());
    let documents = Format::Yaml.read(b"a: 1\n").unwrap();
    let metadata = Metadata::new(vec![group], None, rule, false);
    let prompt: std::sync::Arc<dyn rave::secrets::prompt::Prompt> = std::sync::Arc::new(rave::secrets::prompt::Nobody);
    assert!(matches!(Opened::create(Format::Yaml, documents, metadata, &prompt), Err(Error::Rule(_))));
    assert_eq!(Format::of(Path::new("a/b.yml")), Format::Yaml);
}
