use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document(text: &str) -> Document {
    read(&Source::new("user-data", text)).unwrap()
}

#[test]
fn scalars_are_pyyamls() {
    let text = "[yes, Off, 'yes', 0644, 0x1f, 0b101, 1_000, -7, 1.5, 1e3, .5, 08, ~, null, 12:30, a b, !!str 7, '']";
    let expected =
        json!([true, false, "yes", 420, 31, 5, 1000, -7, 1.5, "1e3", 0.5, "08", null, null, "12:30", "a b", "7", ""]);
    assert_eq!(document(text).value, expected);
}

#[test]
fn each_value_has_its_place_also_through_aliases() {
    let text = "base: &b\n  shell: /bin/sh\nusers:\n  - default\n  - name: ana\n    keys:\n    - one\n    - [two]\n    <<: *b\nlast: [1]\n";
    let found = document(text);
    assert_eq!(found.value["users"][1], json!({"name": "ana", "keys": ["one", ["two"]], "shell": "/bin/sh"}));
    let place = |pointer: &str| found.place(pointer).position();
    assert_eq!(place("/users/0"), (4, 5));
    assert_eq!(place("/users/1/name"), (5, 5));
    assert_eq!(place("/users/1/keys/0"), (7, 7));
    assert_eq!(place("/users/1/keys/1/0"), (8, 8));
    assert_eq!(place("/users/1/unknown"), place("/users/1"));
    assert_eq!(place("/last/0"), (10, 8));
    assert_eq!(place(""), (1, 1));
}

#[test]
fn what_is_no_user_data_says_why() {
    let error = |text: &str| read(&Source::new("u", text)).unwrap_err().to_string();
    assert!(error("a: [1\nb: 2\n").starts_with("u:"), "{}", error("a: [1\nb: 2\n"));
    assert!(error("a: !vault x\n").contains("no tag `!vault`"));
    assert!(error("[1]: 2\n").contains("a key is a list or a map"));
    assert!(error("a: 1\n---\nb: 1\n").contains("one document"));
    assert!(error(&"x".repeat(MAX_BYTES + 1)).contains("larger than 1 MiB"));
    let twice = document("a: 1\nb: 2\na: 3\n");
    assert_eq!(twice.value["a"], 3);
    assert!(twice.warnings[0].to_string().contains("u") && twice.warnings[0].message.contains("`a` is written twice"));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    assert!(read(&Source::new("u", text)).unwrap_err().message.contains("more values than sense"));
}

proptest! {
    #[test]
    fn any_text_ends(text in r"[a-z0-9:\-\[\]{}&*!<>|'#, \n~.]{0,200}") {
        if let Ok(document) = read(&Source::new("u", text.clone())) {
            prop_assert!(document.place("/a/b").span.end <= text.len());
        }
    }

    #[test]
    fn json_is_read_as_it_is(number in any::<i32>(), text in "[a-z]{0,9}") {
        let value = json!({"a": [number, {"b": text, "c": []}], "d": {}});
        prop_assert_eq!(document(&value.to_string()).value, value);
    }
}
