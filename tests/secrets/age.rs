//! The age test kit of C2SP/CCTV through the door that opens data keys, and SSH keys as age keys.

use std::io::Read as _;
use std::sync::Arc;

use rave::secrets::prompt::{Nobody, Prompt};
use rave::secrets::{
    AgeKey, Error, File, Format, Group, Identities, Mac, Metadata, Opened, Secret, identity, ssh_to_age,
};

use super::vectors::{bytes, path, text};

/// One vector: what is to come of it, who opens it, and the age file.
struct Case {
    expect: String,
    identities: String,
    passphrases: Vec<String>,
    armored: bool,
    payload: Option<String>,
    file: Vec<u8>,
}

fn case(name: &str) -> Case {
    let bytes = bytes(&format!("cctv-age/testdata/{name}"));
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let header = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let all = |key: &str| -> Vec<String> {
        header.lines().filter_map(|line| line.strip_prefix(&format!("{key}: "))).map(str::to_owned).collect()
    };
    let mut file = bytes[end + 2..].to_vec();
    if all("compressed").contains(&"zlib".to_owned()) {
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(&file[..]).read_to_end(&mut plain).unwrap();
        file = plain;
    }
    Case {
        expect: all("expect").remove(0),
        identities: all("identity").join("\n"),
        passphrases: all("passphrase"),
        armored: all("armored").contains(&"yes".to_owned()),
        payload: all("payload").pop(),
        file,
    }
}

fn names() -> Vec<String> {
    let names = std::fs::read_dir(path("cctv-age/testdata")).unwrap();
    let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A SOPS file whose data key is the age file of a vector. Its payload is rarely a data key, which has 32 bytes: then
/// opening ends after the age file was read to its end.
fn open(case: &Case) -> Result<(), Error> {
    let mut identities = Identities::default();
    if !case.identities.is_empty() {
        identities.add("vector", case.identities.as_bytes()).unwrap();
    }
    let enc = match String::from_utf8(case.file.clone()) {
        Ok(text) if case.armored => text,
        _ => armor(&case.file),
    };
    let group = Group { age: vec![AgeKey { recipient: "age1x".to_owned(), enc }], others: Vec::new() };
    let file = sops_file(group);
    file.open(&identities, Mac::Check).map(drop)
}

fn sops_file(group: Group) -> File {
    let text = text("generated/sops-3.13.2/types.yaml");
    let mut file = File::read(Format::Yaml, text.as_bytes()).unwrap();
    file.metadata.groups = vec![group];
    file
}

fn armor(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let lines = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = (0..lines.len()).step_by(64).map(|at| &lines[at..(at + 64).min(lines.len())]).collect();
    format!("-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n", lines.join("\n"))
}

/// Each vector with keys is opened or refused as its header says. Those with passphrases have no place in SOPS files;
/// see below.
#[test]
fn the_age_test_kit_is_judged_as_its_headers_say() {
    let (mut opened, mut refused) = (0, 0);
    for name in names() {
        let case = case(&name);
        if !case.passphrases.is_empty() {
            continue;
        }
        match (open(&case), case.expect.as_str()) {
            // The data key was read; it is not one of 32 bytes that fits the file.
            (Err(Error::Metadata(_) | Error::Value { .. }), "success") => opened += 1,
            (Err(Error::Locked(_)), "success") if case.payload.is_some() && case.file.len() > 60_000 => {}
            (Err(Error::Locked(reasons)), expect) if expect != "success" => {
                assert_eq!(reasons.len(), 1, "{name}: {reasons:?}");
                refused += 1;
            }
            // What decrypts in part is longer than a share: it was cut before its damaged end.
            (Err(Error::Metadata(_)), "payload failure") => refused += 1,
            (result, expect) => panic!("{name}: expected {expect}, {result:?}"),
        }
    }
    assert!(opened >= 20 && refused >= 70, "{opened} opened, {refused} refused");
}

/// Passphrases are for identity files. What the vectors hold is no identity, which is another error than that of a file
/// which cannot be opened.
#[test]
fn passphrases_of_the_age_test_kit_open_what_their_headers_say() {
    let (mut opened, mut refused) = (0, 0);
    for name in names() {
        let case = case(&name);
        let Some(passphrase) = case.passphrases.first() else { continue };
        let mut identities = Identities::new(Arc::new(Knows(passphrase.clone())));
        match (identities.add("vector", &case.file), case.expect.as_str()) {
            (Err(identity::Error::Line { .. } | identity::Error::None(_)), "success") => opened += 1,
            (Err(identity::Error::Unusable { .. }), expect) if expect != "success" => refused += 1,
            (result, expect) => panic!("{name}: expected {expect}, {result:?}"),
        }
    }
    assert!(opened >= 2 && refused >= 20, "{opened} opened, {refused} refused");
}

/// An identity file with a passphrase may have identities of all kinds, and is of no use to who does not know it.
#[test]
fn identity_files_with_a_passphrase_hold_all_kinds() {
    use std::io::Write as _;
    let new = [identity::generate(true).unwrap(), identity::generate(false).unwrap()];
    let mut recipient = age::scrypt::Recipient::new("correct horse".to_owned().into());
    recipient.set_work_factor(10);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).unwrap();
    for new in &new {
        writeln!(writer, "# {}\n{}", new.recipient, new.identity.expose_text().unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let with = |passphrase: &str| {
        let mut identities = Identities::new(Arc::new(Knows(passphrase.to_owned())));
        identities.add("keys.age", &file).map(|()| identities.recipients().to_vec())
    };
    assert_eq!(with("correct horse").unwrap(), new.map(|new| new.recipient));
    assert!(matches!(with("battery staple"), Err(identity::Error::Unusable { .. })));
    assert!(Identities::parse("keys.age", &file).unwrap_err().to_string().contains("nobody can be asked"));
}

/// Through age itself, payloads and all: what rave adds, the hybrid identity, reads what age wrote.
#[test]
fn hybrid_vectors_are_among_those_opened() {
    for name in ["hybrid", "hybrid_and_x25519", "hybrid_grease", "hybrid_identity", "hybrid_multiple_recipients"] {
        let case = case(name);
        if case.expect == "success" {
            assert!(matches!(open(&case), Err(Error::Metadata(_))), "{name}");
        }
    }
}

#[test]
fn ssh_keys_convert_as_ssh_to_age_converts_them() {
    // The recipient of this public key is in the tests of ssh-to-age and of its identity alike.
    let public = ssh_to_age(&text("ssh-to-age/id_ed25519.pub")).unwrap();
    let identities = Identities::parse("x", &bytes("ssh-to-age/id_ed25519")).unwrap();
    assert!(identities.recipients().contains(&public), "{public} {:?}", identities.recipients());
    assert_eq!(identities.recipients().len(), 2, "as itself, and converted");
    assert_eq!(ssh_to_age(&text("generated/keys/id_rsa.pub")), None);
}

/// A key with a passphrase opens what it should if somebody knows the passphrase, and is skipped if nobody is asked.
#[test]
fn ssh_keys_with_a_passphrase_ask_for_it() {
    let public = text("generated/keys/id_ed_pass.pub");
    let recipient = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let file = sealed_for(&[recipient]);
    let secret: Arc<dyn Prompt> = Arc::new(Knows("secretpass".to_owned()));
    for (prompt, opens) in [(secret, true), (Arc::new(Nobody) as Arc<dyn Prompt>, false)] {
        let mut identities = Identities::new(prompt);
        identities.add("id_ed_pass", &bytes("generated/keys/id_ed_pass")).unwrap();
        let result = File::read(Format::Yaml, &file).unwrap().open(&identities, Mac::Check);
        assert_eq!(result.is_ok(), opens, "{result:?}");
    }
}

struct Knows(String);

impl Prompt for Knows {
    fn message(&self, _: &str) {}

    fn passphrase(&self, _: &str) -> Option<zeroize::Zeroizing<String>> {
        Some(zeroize::Zeroizing::new(self.0.clone()))
    }
}

fn sealed_for(recipients: &[String]) -> Vec<u8> {
    let documents = Format::Yaml.read(b"a: 1\n").unwrap();
    let metadata = Metadata::new(vec![Group::of(recipients.to_vec())], None, None, false);
    let prompt: Arc<dyn Prompt> = Arc::new(Nobody);
    let mut new = Opened::create(Format::Yaml, documents, metadata, &prompt).unwrap();
    new.seal("2026-11-25T10:00:00Z".parse().unwrap()).unwrap()
}

/// All kinds of recipients that need no plugin, in one file: each opens it alone.
#[test]
fn every_kind_of_recipient_opens_what_is_written_for_it() {
    let new = identity::generate(true).unwrap();
    let ssh = |name: &str| {
        let text = text(&format!("generated/keys/{name}.pub"));
        text.trim().to_owned()
    };
    let x25519 = Identities::parse("x", &bytes("generated/keys/age1.txt")).unwrap();
    let recipients = [x25519.recipients()[0].clone(), new.recipient.clone(), ssh("id_ed"), ssh("id_rsa")];
    let file = sealed_for(&recipients);
    let keys = [
        Secret::from(&bytes("generated/keys/age1.txt")[..]),
        new.identity.clone(),
        Secret::from(&bytes("generated/keys/id_ed")[..]),
        Secret::from(&bytes("generated/keys/id_rsa")[..]),
    ];
    for (recipient, key) in recipients.iter().zip(keys) {
        let identities = Identities::parse("x", key.expose()).unwrap();
        let opened = File::read(Format::Yaml, &file).unwrap().open(&identities, Mac::Check);
        assert!(opened.is_ok(), "{recipient}: {opened:?}");
    }
}
