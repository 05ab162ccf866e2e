//! What holds for every file.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rave::secrets::prompt::{Nobody, Prompt};
use rave::secrets::tree::{Comment, Document, Entry, Item, Leaf, Value};
use rave::secrets::{File, Format, Group, Identities, Mac, Metadata, Opened, Rule, config, identity, path};

static MACHINE: LazyLock<identity::New> = LazyLock::new(|| identity::generate(false).unwrap());

fn identities() -> Identities {
    Identities::parse("x", MACHINE.identity.expose()).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "",
        " ",
        "y",
        "null",
        "12",
        "1e3",
        "a: b",
        "# x",
        "- x",
        "x #y",
        "a\nb\n",
        "\n",
        "a\n\n",
        " a\n b",
        "'",
        "\"",
        "\\",
        "\t",
        "\u{1f600}",
        "\u{85}",
        "\u{2028}x",
        "2001-01-01",
        "1:30",
        "<<",
        "ENC[x]",
        "<&>",
        "a \nb",
        "...",
        "---",
    ]);
    prop_oneof![special.prop_map(str::to_owned), "[ -~é☃\n]{0,24}", "\\PC{0,12}"]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,8}",
        prop::sample::select(vec![
            "a_unencrypted",
            "x_enc",
            "data",
            "",
            "a:b",
            "y",
            "12",
            "a b",
            "\"",
            "'",
            "#x",
            "é",
            "k\nl"
        ])
        .prop_map(str::to_owned),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|b| Value::Leaf(Leaf::bool(b))),
        any::<i64>().prop_map(|n| Value::Leaf(Leaf::int(n))),
        // Whole numbers come back as such from formats that do not tell them apart.
        any::<f64>()
            .prop_filter("whole", |n| n.is_finite() && n.fract() != 0.0)
            .prop_map(|n| Value::Leaf(Leaf::float(n))),
        text().prop_map(Value::str),
    ]
}

fn comment() -> impl Strategy<Value = Comment> {
    "[ -~]{0,12}".prop_map(|text| Comment { text: text.into(), inline: false })
}

fn unique(pairs: Vec<(String, Value)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in pairs {
        if entries.iter().all(|entry| entry.pair().is_none_or(|(known, _)| known != key)) {
            entries.push(Entry::Pair(key, value));
        }
    }
    entries
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone().prop_map(Item::Value), 0..5).prop_map(Value::List),
            prop::collection::vec((key(), inner), 0..5).prop_map(|pairs| Value::Map(unique(pairs))),
        ]
    })
}

fn document() -> impl Strategy<Value = Document> {
    prop::collection::vec((key(), value()), 1..6).prop_map(unique)
}

/// Comments between the entries of a map, as YAML keeps them.
fn commented() -> impl Strategy<Value = Document> {
    prop::collection::vec((prop::collection::vec(comment(), 0..2), key(), value()), 1..5).prop_map(|all| {
        let mut document = Document::new();
        for (comments, key, value) in all {
            if document.iter().all(|entry| entry.pair().is_none_or(|(known, _)| known != key)) {
                document.extend(comments.into_iter().map(Entry::Comment));
                document.push(Entry::Pair(key, value));
            }
        }
        document
    })
}

fn rule() -> impl Strategy<Value = Option<Rule>> {
    let rules = [
        ("unencrypted_suffix", "_unencrypted"),
        ("encrypted_suffix", "_enc"),
        ("unencrypted_regex", "^(data|y)$"),
        ("encrypted_regex", "^[a-m]"),
        ("unencrypted_comment_regex", "^ ?[a-m]"),
        ("encrypted_comment_regex", "[a-m]"),
    ];
    prop::option::of(prop::sample::select(rules.to_vec()))
        .prop_map(|rule| rule.map(|(name, text)| Rule { name, text: text.to_owned() }))
}

fn sealed(format: Format, documents: Vec<Document>, rule: Option<Rule>, only: bool) -> rave::secrets::Result<Vec<u8>> {
    let group = Group::of([MACHINE.recipient.clone()]);
    let prompt: Arc<dyn Prompt> = Arc::new(Nobody);
    let mut new = Opened::create(format, documents, Metadata::new(vec![group], None, rule, only), &prompt)?;
    new.seal("2026-11-25T10:00:00Z".parse().unwrap())
}

fn opened(format: Format, bytes: &[u8]) -> rave::secrets::Result<Vec<Document>> {
    Ok(File::read(format, bytes)?.open(&identities(), Mac::Check)?.documents)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml_holds_any_tree(documents in prop::collection::vec(commented(), 1..3)) {
        let text = Format::Yaml.write(&documents).unwrap();
        let read = Format::Yaml.read(text.expose());
        prop_assert_eq!(read.map_err(|e| e.to_string()), Ok(documents), "{}", text.expose_text().unwrap());
    }

    #[test]
    fn json_holds_any_tree_without_comments(document in document()) {
        let text = Format::Json.write(std::slice::from_ref(&document)).unwrap();
        prop_assert_eq!(Format::Json.read(text.expose()).unwrap(), vec![document], "{}", text.expose_text().unwrap());
    }

    #[test]
    fn dotenv_and_ini_hold_texts_or_refuse(pairs in prop::collection::vec((key(), text()), 1..6)) {
        let flat = unique(pairs.into_iter().map(|(key, text)| (key, Value::str(text))).collect());
        // A backslash before an n is a line break in dotenv, by its nature.
        let ambiguous = flat.iter().any(|e| e.pair().is_some_and(|(_, v)| v.as_text().unwrap().contains("\\n")));
        if let Ok(text) = Format::Dotenv.write(std::slice::from_ref(&flat)) {
            let read = Format::Dotenv.read(text.expose()).unwrap();
            prop_assert!(ambiguous || read == vec![flat.clone()], "{:?}", text.expose_text());
        }
        let section = |name: &str, entries| Entry::Pair(name.to_owned(), Value::Map(entries));
        let ini = vec![section("DEFAULT", Vec::new()), section("s", flat)];
        if let Ok(text) = Format::Ini.write(std::slice::from_ref(&ini)) {
            prop_assert_eq!(Format::Ini.read(text.expose()).unwrap(), vec![ini], "{}", text.expose_text().unwrap());
        }
    }

    #[test]
    fn decrypting_gives_what_was_encrypted_under_every_rule(
        documents in prop::collection::vec(commented(), 1..3), rule in rule(), only in any::<bool>(),
    ) {
        match sealed(Format::Yaml, documents.clone(), rule, only) {
            Ok(file) => {
                let read = opened(Format::Yaml, &file);
                prop_assert_eq!(read.map_err(|e| e.to_string()), Ok(documents), "{}", String::from_utf8_lossy(&file));
            }
            // Only a rule of comments that would match ciphertext is refused.
            Err(error) => prop_assert!(error.to_string().contains("unencrypted_comment_regex"), "{}", error),
        }
    }

    #[test]
    fn binary_files_hold_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let documents = Format::Binary.read(&bytes).unwrap();
        let file = sealed(Format::Binary, documents, None, false).unwrap();
        let plain = Format::Binary.write(&opened(Format::Binary, &file).unwrap()).unwrap();
        prop_assert_eq!(plain.expose(), &bytes[..]);
    }

    /// A changed byte is noticed, or changes nothing that is secret: layout, comments, what is unencrypted by rule.
    #[test]
    fn a_changed_byte_is_refused_or_harmless(which in 0..Format::ALL.len(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        static FILES: LazyLock<Vec<(Vec<u8>, Vec<Document>)>> = LazyLock::new(|| {
            let all = Format::ALL.iter().map(|format| {
                let text = match format {
                    Format::Yaml => "# c\na: hunter2\nb:\n    - 1\n    - true\n    - x: 2.5\nn: null\ne: \"\"\n",
                    Format::Json => r#"{"a": "hunter2", "b": [1, true, {"x": 2.5}], "n": null, "e": ""}"#,
                    Format::Dotenv => "# c\na=hunter2\nb=1\ne=\n",
                    Format::Ini => "; c\nz = 1\n[s]\na = hunter2\nb = true\n",
                    Format::Binary => "hunter2\n",
                };
                let documents = format.read(text.as_bytes()).unwrap();
                (sealed(*format, documents.clone(), None, false).unwrap(), documents)
            });
            all.collect()
        });
        let (file, documents) = &FILES[which];
        let mut file = file.clone();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        if let Ok(found) = opened(Format::ALL[which], &file) {
            // Known weak spots of the format: comments, names of keys with nothing in them, nulls.
            let values = |documents: &[Document]| -> Vec<Leaf> {
                documents.iter().flat_map(|document| path::leaves(document)).map(|(_, leaf)| leaf.clone()).collect()
            };
            let filled = |leaves: Vec<Leaf>| leaves.into_iter().filter(|leaf| !leaf.text.is_empty()).collect::<Vec<_>>();
            prop_assert_eq!(filled(values(&found)), filled(values(documents)), "byte {} of {}", at, Format::ALL[which]);
        }
    }

    #[test]
    fn no_reader_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\n\t]{0,200}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            for format in Format::ALL {
                let _ = format.read(bytes);
                let _ = File::read(format, bytes);
            }
            let _ = Identities::parse("x", bytes);
            let text = String::from_utf8_lossy(bytes);
            let _ = text.parse::<path::Path>();
            let _ = config::creation("/p/.sops.yaml".as_ref(), &text, "/p/a".as_ref());
            let _ = rave::secrets::words::split(&text);
            let _ = rave::secrets::Recipient::parse_list(&text);
            let _ = rave::secrets::read_json(&text);
            let _ = rave::secrets::generate::expiry(bytes);
        }
    }

    /// Structured nonsense reaches further than random bytes.
    #[test]
    fn no_reader_panics_on_broken_files(at in any::<prop::sample::Index>(), with in "[\\[\\]{}:,&*#\"'|>\n -]{0,4}", cut in 0usize..6) {
        for name in ["types.yaml", "multidoc.yaml", "anchors.yaml", "types_json.json", "types_env.env", "types_ini.ini"] {
            for file in [super::vectors::bytes(&format!("generated/sops-3.13.2/{name}")), super::vectors::bytes(&format!("generated/sops-3.13.2/{name}.plain"))] {
                let at = at.index(file.len());
                let broken = [&file[..at], with.as_bytes(), file.get(at + cut..).unwrap_or_default()].concat();
                if let Ok(file) = File::read(super::vectors::format(name), &broken) {
                    let _ = file.open(&identities(), Mac::Ignore);
                }
                let _ = super::vectors::format(name).read(&broken);
            }
        }
    }
}
