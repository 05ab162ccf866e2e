//! Values as YAML, in the layout that `format` keeps: the way back from what `rave` knows to what people write.

use serde_json::Value;

/// Words without quotes that some reader takes for something else than a text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];

/// The text of a value; a map gives one line for each entry, and more where these are lists or maps themselves.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => entries(value, 0, &mut out),
        other => out = format!("{}\n", scalar(other)),
    }
    out
}

/// The entries of a list or map that has some, each on a line of its own.
fn entries(value: &Value, indent: usize, out: &mut String) {
    let space = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&format!("{space}{}:", text(key)));
                below(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                match is_block(item) {
                    // The first line of a block stands beside the dash.
                    true => entries(item, indent + 2, &mut inner),
                    false => inner = format!("{space}  {}\n", scalar(item)),
                }
                out.push_str(&format!("{space}- {}", inner.get(indent + 2..).unwrap_or("")));
            }
        }
        _ => {}
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        entries(value, indent + 2, out);
    } else {
        out.push_str(&format!(" {}\n", scalar(value)));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// A text as it is, or in JSON's quotes, which are YAML's too, where a reader could take it for anything else.
fn text(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-/%@<>=,() ".contains(c);
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let based = ["0x", "0o", "0b"].iter().any(|prefix| text.starts_with(prefix));
    let looks_like_number = number && (based || text.bytes().all(|b| b.is_ascii_digit() || b"+-._:eE".contains(&b)));
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    let good = begins_well
        && text.chars().all(is_plain)
        && !text.ends_with(' ')
        && !looks_like_number
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if good { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::format;
    use crate::origin::Source;
    use serde_json::json;

    #[test]
    fn values_are_written_as_people_would() {
        let value = json!({
            "a": 1, "b": [], "c": {}, "d": "7d", "e": ["x", {"f": true, "g": [1]}, [2, 3]], "/etc/h": null,
            "i": "no", "j": "1.10", "k": "two\nlines", "l": "", "m": "a: b", "q": "{{ x }}", "o": "0x10",
        });
        let wanted = "a: 1\nb: []\nc: {}\nd: 7d\ne:\n  - x\n  - f: true\n    g:\n      - 1\n  - - 2\n    - 3\n\
            /etc/h: null\ni: \"no\"\nj: \"1.10\"\nk: \"two\\nlines\"\nl: \"\"\nm: \"a: b\"\nq: \"{{ x }}\"\no: \"0x10\"\n";
        assert_eq!(write(&value), wanted);
        assert_eq!(format(&Source::new("a.yaml", wanted)).unwrap(), wanted);
        assert_eq!([write(&json!({})), write(&json!("x"))], ["{}\n", "x\n"]);
    }

    fn json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\\n\\tä]{0,8}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ -~]{1,6}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest::proptest! {
        /// Another reader finds what was written.
        #[test]
        fn what_is_written_reads_back(value in json()) {
            let read: Value = serde_yaml::from_str(&write(&value)).unwrap();
            proptest::prop_assert_eq!(read, value);
        }
    }
}
