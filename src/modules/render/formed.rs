//! Whether a finished file is what its name says: a program that cannot read its configuration fails only at boot.

use serde::Deserialize as _;
use serde::de::IgnoredAny;

use crate::modules::escape::Format;

/// What is wrong with a file of that format, with its line; nothing if it can be read or has no format of its own.
pub(super) fn fault(bytes: &[u8], format: Format) -> Option<String> {
    match format {
        Format::Json => serde_json::from_slice::<IgnoredAny>(bytes).err().map(|error| error.to_string()),
        Format::Yaml => serde_yaml::Deserializer::from_slice(bytes)
            .find_map(|document| IgnoredAny::deserialize(document).err())
            .map(|error| error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (text, format, expected) in [
            ("{\"a\": [1, 2]}\n", Format::Json, None),
            ("{\n\"a\": [1 2]}\n", Format::Json, Some("line 2")),
            ("{\"a\": 1} x\n", Format::Json, Some("trailing characters")),
            ("a: [1, 2]\n---\nb: {}\n", Format::Yaml, None),
            ("a: 1\nb: [1, 2\n", Format::Yaml, Some("line")),
            ("a: b: c\n", Format::Yaml, Some("mapping values")),
            ("{ nonsense", Format::Lines, None),
        ] {
            let found = fault(text.as_bytes(), format);
            let good = match (&found, expected) {
                (None, None) => true,
                (Some(found), Some(expected)) => found.contains(expected),
                _ => false,
            };
            assert!(good, "{text:?}: {found:?}");
        }
    }
}
