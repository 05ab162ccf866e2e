use std::collections::BTreeMap;
use std::io::Write as _;

use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;

use super::*;

fn key(seed: u8) -> (SigningKey, VerifyingKey) {
    let seed = [seed; 32];
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let pair = Ed25519Keypair { public: Ed25519PublicKey(public), private: Ed25519PrivateKey::from_bytes(&seed) };
    let private = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), "test").unwrap();
    let key = SigningKey::parse(private.to_openssh(ssh_key::LineEnding::LF).unwrap().as_bytes()).unwrap();
    let public = VerifyingKey::parse(&format!("{}\n", key.public().unwrap())).unwrap();
    (key, public)
}

fn index() -> Index {
    Index {
        format: FORMAT.to_owned(),
        created: "2026-11-28T09:00:00Z".to_owned(),
        rave: "0.1.0 (abc)".to_owned(),
        machine: "web".to_owned(),
        image: "web".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        mode: Mode::Safe,
        root_hash: Digest::of(b"root"),
        members: Vec::new(),
        left_out: vec![LeftOut { name: "console.log".to_owned(), reason: "there is none".to_owned() }],
    }
}

fn members() -> BTreeMap<String, Vec<u8>> {
    let text = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    BTreeMap::from([text("report.json", b"{}"), text("journal.txt", &[b'x'; 5000]), text("empty", b"")])
}

fn bundle() -> Vec<u8> {
    pack(index(), &members(), &key(1).0).unwrap()
}

/// The archive of these members, compressed, whatever they are.
fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    pack::compress(&pack::archive(members.iter().copied()).unwrap()).unwrap()
}

/// Index and signature of a good bundle.
fn head() -> (Vec<u8>, String) {
    let (key, public) = key(1);
    let good = read(&bundle(), &public).unwrap();
    let mut text = serde_json::to_vec_pretty(&good.index).unwrap();
    text.push(b'\n');
    let signature = key.sign(&text).unwrap();
    (text, signature)
}

fn refused(bytes: &[u8]) -> String {
    read(bytes, &key(1).1).unwrap_err().to_string()
}

#[test]
fn what_was_packed_is_read_back_and_is_the_same_each_time() {
    let bytes = bundle();
    let read = read(&bytes, &key(1).1).unwrap();
    assert_eq!(read.members, members());
    assert_eq!(
        read.index.members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["empty", "journal.txt", "report.json"]
    );
    assert_eq!(Index { members: Vec::new(), ..read.index }, index());
    assert_eq!(bytes, bundle());
}

#[test]
fn another_key_is_named() {
    let said = read(&bundle(), &key(2).1).unwrap_err().to_string();
    assert!(said.contains(&key(1).1.fingerprint()) && said.contains(&key(2).1.fingerprint()), "{said}");
    assert!(VerifyingKey::parse("ssh-rsa AAAA").is_err() && VerifyingKey::parse("").is_err());
    assert!(SigningKey::parse(b"").is_err());
}

#[test]
fn whatever_is_changed_is_refused() {
    let (text, signature) = head();
    let members = members();
    let part = |name: &str| members[name].as_slice();
    let (journal, report) = (part("journal.txt"), part("report.json"));
    let first: [(&str, &[u8]); 2] = [(INDEX, &text), (SIGNATURE, signature.as_bytes())];
    let with = |rest: &[(&'static str, &[u8])]| refused(&packed(&[&first[..], rest].concat()));
    let all: [(&str, &[u8]); 3] = [("empty", b""), ("journal.txt", journal), ("report.json", report)];
    assert!(read(&packed(&[&first[..], &all].concat()), &key(1).1).is_ok());
    // A digest that does not fit, one missing, one too many, and another order.
    let said = with(&[("empty", b""), ("journal.txt", &journal[1..]), ("report.json", report)]);
    assert_eq!(said, "journal.txt was changed: it has not the digest that was signed");
    assert_eq!(with(&all[..2]), "report.json was changed: it is not there");
    assert_eq!(with(&[all[0], all[2], all[1]]), "journal.txt was changed: something else stands in its place");
    assert_eq!(with(&[all[0], all[1], all[2], ("more", b"x")]), "more was changed: the index does not name it");
    // Another index below the same signature, and a signature for another purpose.
    let other = [text.as_slice(), b" "].concat();
    let said = refused(&packed(&[&[(INDEX, other.as_slice()), first[1]][..], &all].concat()));
    assert_eq!(said, "the signature is not valid: it does not fit what it signs");
    let said = refused(&packed(&[&[first[0], (SIGNATURE, b"none")][..], &all].concat()));
    assert!(said.starts_with("the signature is not valid"), "{said}");
    assert!(refused(&packed(&[first[1], first[0]])).contains("bundle.json is not where it should be"));
    assert!(refused(&packed(&[])).contains("bundle.json is not where it should be"));
    // Bytes between the members, behind the archive, and behind the frame.
    let mut archive = pack::archive(first.iter().chain(&all).copied()).unwrap();
    let time = archive.iter().position(|byte| *byte == 0o60).unwrap();
    let good = archive[time];
    archive[time] = b'7';
    assert!(refused(&pack::compress(&archive).unwrap()).contains("bytes that nothing signs"));
    archive[time] = good;
    archive.extend([0; 512]);
    assert!(refused(&pack::compress(&archive).unwrap()).contains("bytes that nothing signs"));
    assert!(refused(&[bundle(), b"x".to_vec()].concat()).contains("something follows its end"));
}

#[test]
fn no_bit_and_no_length_makes_another_bundle() {
    let (bytes, public) = (bundle(), key(1).1);
    let good = read(&bytes, &public).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        // Some bits of a frame mean nothing (RFC 8878): then it is the same bundle.
        assert!(read(&damaged, &public).map_or(true, |read| read == good), "byte {at}");
        assert!(read(&bytes[..at], &public).is_err(), "{at} bytes");
    }
}

#[test]
fn what_is_too_large_ends_early() {
    assert!(refused(&vec![0; LONGEST as usize + 1]).contains("too large"));
    // Gigabytes of zeros in few bytes.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..UNPACKED / zeros.len() as u64 + 1).for_each(|_| encoder.write_all(&zeros).unwrap());
    assert!(refused(&encoder.finish().unwrap()).contains("too large"));
    let many: Vec<String> = (0..MEMBERS + 9).map(|number| format!("m{number}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(refused(&packed(&many)).contains("too large"));
    let many = many.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    assert!(pack(index(), &many, &key(1).0).unwrap_err().to_string().contains("too large"));
    let huge = BTreeMap::from([("a".to_owned(), vec![0; UNPACKED as usize])]);
    assert!(pack(index(), &huge, &key(1).0).unwrap_err().to_string().contains("too large"));
    for name in ["../x", "A", "", INDEX, SIGNATURE] {
        let one = BTreeMap::from([(name.to_owned(), Vec::new())]);
        assert!(pack(index(), &one, &key(1).0).is_err(), "{name}");
    }
}
