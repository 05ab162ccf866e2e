//! Text whose placeholders become secrets.

use std::collections::BTreeMap;

use crate::secrets::Secret;
use crate::system::{Part, parts};

/// Puts secrets where a text names them. What a secret holds is never searched for further names. An unknown name is
/// the error.
pub fn fill(text: &str, values: &BTreeMap<String, Secret>) -> Result<Secret, String> {
    let mut all: Vec<&[u8]> = Vec::new();
    for part in parts(text) {
        all.push(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Secret(name) => values.get(name).ok_or_else(|| name.to_owned())?.expose(),
        });
    }
    // A vector that grew would leave copies behind.
    let mut bytes = Vec::with_capacity(all.iter().map(|part| part.len()).sum());
    all.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::placeholder;

    #[test]
    fn placeholders_become_values_once() {
        let values = BTreeMap::from([
            ("a".to_owned(), Secret::from(placeholder("b").as_str())),
            ("b".to_owned(), Secret::from(&b"\xff"[..])),
        ]);
        let text = format!("x={} y={}\n<rave:secret:", placeholder("a"), placeholder("b"));
        let expected = [b"x=", placeholder("b").as_bytes(), b" y=\xff\n<rave:secret:"].concat();
        assert_eq!(fill(&text, &values).unwrap().expose(), expected);
        assert_eq!(fill(&placeholder("c"), &values).unwrap_err(), "c");
        assert_eq!(fill("", &values).unwrap().expose(), b"");
    }
}
