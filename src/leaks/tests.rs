use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::disk;

const KEY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";

fn memory(bytes: &[u8]) -> Content {
    Content { name: "file".into(), option: None, bytes: Bytes::Memory(bytes.to_vec()) }
}

fn found(patterns: &Patterns, bytes: &[u8]) -> Vec<(u64, String)> {
    let found = search(patterns, &[memory(bytes)], 2).unwrap();
    assert_eq!(found.bytes, bytes.len() as u64);
    found.findings.into_iter().map(|finding| (finding.offset, finding.what)).collect()
}

fn one(value: &[u8]) -> Patterns {
    Patterns::secrets([("one", value)])
}

/// The ways in which programs other than rave would write a value.
fn written(value: &[u8], way: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok();
    let inside = |before: &str| [before.as_bytes(), value, b"tail"].concat();
    let lines = |text: String, columns: usize| {
        let lines: Vec<&[u8]> = text.as_bytes().chunks(columns).collect();
        lines.join(&b'\n')
    };
    Some(match way {
        0 => value.to_vec(),
        1..=3 => BASE64_STANDARD.encode(inside(&"xyz"[..way - 1])).into_bytes(),
        4..=6 => BASE64_URL_SAFE.encode(inside(&"xyz"[..way - 4])).into_bytes(),
        7 => BASE64_STANDARD.encode(value).into_bytes(),
        8 => lines(BASE64_STANDARD.encode(inside("some text before the value")), 76),
        9 => lines(BASE64_STANDARD.encode(inside("another text of some length before the value")), 64),
        10 => value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        11 => value.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes(),
        12 => serde_json::to_vec(text?).unwrap(),
        13 => text?.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        14 => text?.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        15 => reqwest::Url::parse_with_params("http://x/", [("k", text?)]).unwrap().query()?.as_bytes().to_vec(),
        _ => return None,
    })
}

#[test]
fn a_value_is_found_at_every_alignment_and_across_the_borders_of_parts() {
    let value = b"tr0ub4dor&3 and its horse";
    let patterns = one(value);
    let border = 1 << 20;
    for way in 0..=15 {
        let form = written(value, way).unwrap();
        for at in (0..40).chain(border - form.len() - 6..border + 6) {
            let mut bytes = vec![b'.'; at];
            bytes.extend_from_slice(&form);
            bytes.extend([b'\n'; 5]);
            assert!(!found(&patterns, &bytes).is_empty(), "way {way} at {at}");
        }
    }
}

#[test]
fn where_a_value_begins_and_how_it_is_written_is_told_once_for_each_way() {
    let patterns = Patterns::secrets([("db", b"correct horse" as &[u8]), ("other", b"battery staple\n")]);
    let text = b"a correct horse, correct horse b=battery+staple c=636F727265637420686F727365";
    assert_eq!(
        found(&patterns, text),
        [
            (2, "secret `db` in plain text".to_owned()),
            (50, "secret `db` in hexadecimal".to_owned()),
            (33, "secret `other` in percent-encoding".to_owned()),
        ]
    );
}

#[test]
fn part_of_a_value_is_no_finding() {
    let patterns = one(b"correct horse");
    for text in ["correct hors", "orrect horse", "correct-horse", "", "c", "CORRECT HORSE"] {
        assert_eq!(found(&patterns, text.as_bytes()), [], "{text}");
    }
}

#[test]
fn a_key_is_found_by_its_lines_whatever_stands_before_them() {
    let line = |first: char| format!("{first}{}", &KEY[1..]);
    let armor = |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
    let key = armor(&format!("{}\n{}\n", line('M'), line('N')));
    let patterns = one(key.as_bytes());
    let indented = key.replace('\n', "\n    ");
    assert_eq!(found(&patterns, indented.as_bytes())[0].1, "secret `one` in plain text");
    assert_eq!(found(&patterns, line('N').as_bytes()).len(), 1);
    assert_eq!(found(&patterns, armor("").as_bytes()), [], "armor alone is no key");
    let openssh = key.replace("BEGIN PRIVATE", "BEGIN OPENSSH PRIVATE");
    assert_eq!(found(&one(openssh.as_bytes()), line('M').as_bytes()), [], "every such key begins with this line");
}

#[test]
fn keys_and_hashes_are_found_without_knowing_them() {
    let patterns = Patterns::known();
    let hash = format!("$6$saltsalt${}", &KEY.repeat(2)[..86]).replace('+', ".");
    let armor = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY}\n");
    let text = format!("root:{hash}:1\n{armor}AGE-SECRET-KEY-1{}", "QPZRY9X8GF".repeat(6));
    let kinds: Vec<String> = found(&patterns, text.as_bytes()).into_iter().map(|(_, what)| what).collect();
    assert_eq!(kinds, ["a private key (OPENSSH PRIVATE KEY)", "an age identity", "a password hash (SHA-512)",]);
    let border = vec![b'-'; (1 << 20) - 20];
    assert_eq!(found(&patterns, &[&border, armor.as_bytes()].concat()).len(), 1, "the key is in the next part");
    assert_eq!(found(&patterns, b"#!/bin/sh\necho $1 $2 $HOME -----BEGIN AGE-SECRET-KEY-1\n"), []);
}

#[test]
fn parts_of_files_are_searched_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    disk::write_atomic(&path, b"correct horsecorrect horse", 0o600).unwrap();
    let file = Arc::new(disk::open(&path).unwrap());
    let content = |offset, size| Content {
        name: format!("{offset}"),
        option: Some("a.b".into()),
        bytes: Bytes::File { file: Arc::clone(&file), offset, size },
    };
    let patterns = one(b"correct horse");
    let result = search(&patterns, &[content(1, 12), content(1, 25), content(13, 13)], 1).unwrap();
    let places: Vec<_> = result.findings.iter().map(|finding| (finding.place.as_str(), finding.offset)).collect();
    assert_eq!(places, [("1", 12), ("13", 0)]);
    assert_eq!(result.findings[0].option.as_deref(), Some("a.b"));
    assert!(search(&patterns, &[content(20, 10)], 1).is_err(), "a file that became shorter was not searched");
}

#[test]
fn weak_values_are_named_as_such() {
    let check = |value: &[u8], weak: bool| assert_eq!(too_weak(value).is_some(), weak, "{value:?}");
    check(b"1234567", true);
    check(b"1234567\n\n", true);
    check(b"12345678", false);
    check("ключик".as_bytes(), true);
    check("ключ-ключ".as_bytes(), false);
    check(b"aaaaaaaaaaaaaaaaaaab", true);
    check(&[0; 64], true);
    check(&[0xff, 1, 2, 3, 4, 5, 6, 7], false);
}

#[test]
fn patterns_show_nothing() {
    assert!(!format!("{:?}", one(b"correct horse")).contains("horse"));
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = "[ -~äß€😀\n\"\\\\/]{8,300}".prop_map(String::into_bytes);
    let bytes = proptest::collection::vec(any::<u8>(), 8..300);
    prop_oneof![text, bytes].prop_filter("weak", |value| too_weak(value).is_none())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_value_in_any_form_at_any_place_is_found(
        values in proptest::collection::vec(value(), 1..6),
        way in 0..16usize,
        at in 0..5000usize,
        noise in any::<u64>(),
    ) {
        let named: Vec<(String, &Vec<u8>)> =
            values.iter().enumerate().map(|(number, value)| (format!("s{number}"), value)).collect();
        let patterns = Patterns::secrets(named.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        let hidden = values[0].trim_ascii_end();
        prop_assume!(!hidden.starts_with(b"-----"));
        // Shorter ones are not looked for where a line of base64 ends within them.
        prop_assume!(hidden.len() >= 20 || ![8, 9].contains(&way));
        let Some(form) = written(hidden, way) else { return Ok(()) };
        let mut state = noise | 1;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        }).take(at).collect();
        bytes.extend_from_slice(&form);
        bytes.extend_from_slice(b"&\n");
        let found = search(&patterns, &[memory(&bytes)], 1).unwrap();
        prop_assert!(found.findings.iter().any(|finding| finding.secret.as_deref() == Some("s0")), "{found:?}");
    }
}
