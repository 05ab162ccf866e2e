//! Reads the fixed keys of images and modules, and says what is wrong with them.

use super::yaml::{Key, Kind, Node, Style, shorten};
use crate::origin::{Diagnostic, Origin};

/// The entries of a map of which only `known` keys are allowed; nothing but a map is accepted.
pub(crate) fn entries<'a>(
    node: &'a Node,
    what: &str,
    known: &[&str],
    errors: &mut Vec<Diagnostic>,
) -> &'a [(Key, Node)] {
    let entries = map(node, what, errors);
    for (key, _) in entries {
        if !known.contains(&key.text.as_str()) {
            errors.push(unknown_key(&key.origin, &key.text, what, known));
        }
    }
    entries
}

/// The entries of a map with any keys.
pub(crate) fn map<'a>(node: &'a Node, what: &str, errors: &mut Vec<Diagnostic>) -> &'a [(Key, Node)] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => {
            errors.push(Diagnostic::error(&node.origin, format!("{what} must be a map, not {}", node.describe())));
            &[]
        }
    }
}

fn unknown_key(origin: &Origin, key: &str, what: &str, known: &[&str]) -> Diagnostic {
    let diagnostic = Diagnostic::error(origin, format!("unknown key `{}` in {what}", shorten(key)));
    match nearest(key, known.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help(format!("the keys are {}", known.join(", "))),
    }
}

/// The known word nearest to `word`, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let measured = known.into_iter().map(|other| (strsim::damerau_levenshtein(word, other), other));
    measured.filter(|(distance, _)| (1..=limit).contains(distance)).min().map(|(_, other)| other)
}

/// A text of any style, also a number; not a list, a map or nothing.
pub(crate) fn text(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
        _ => {
            errors.push(Diagnostic::error(&node.origin, format!("{what} must be a text, not {}", node.describe())));
            None
        }
    }
}

/// A text that some type of name accepts.
pub(crate) fn name<T>(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text(node, what, errors)?.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            errors.push(Diagnostic::error(&node.origin, format!("{what}: {error}")));
            None
        }
    }
}

/// The items of a list.
pub(crate) fn list<'a>(node: &'a Node, what: &str, errors: &mut Vec<Diagnostic>) -> &'a [Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => {
            let wrong = Diagnostic::error(&node.origin, format!("{what} must be a list, not {}", node.describe()));
            errors.push(wrong.help("write [ ] around it"));
            &[]
        }
    }
}

/// A list of texts, each with its place.
pub(crate) fn texts(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Vec<(String, Origin)> {
    let items = list(node, what, errors);
    items
        .iter()
        .filter_map(|item| Some((text(item, &format!("an entry of {what}"), errors)?, item.origin.clone())))
        .collect()
}

/// `true` or `false`.
pub(crate) fn flag(node: &Node, what: &str, errors: &mut Vec<Diagnostic>) -> Option<bool> {
    match truth(node) {
        Ok(flag) => Some(flag),
        Err(help) => {
            let message = format!("{what} must be true or false, not {}", node.describe());
            let wrong = Diagnostic::error(&node.origin, message);
            errors.push(match help {
                Some(help) => wrong.help(help),
                None => wrong,
            });
            None
        }
    }
}

/// A boolean, or a hint why the node is none.
pub(crate) fn truth(node: &Node) -> Result<bool, Option<String>> {
    let Kind::Scalar { text, style } = &node.kind else { return Err(None) };
    match (text.as_str(), style) {
        ("true", Style::Plain | Style::Rendered) => Ok(true),
        ("false", Style::Plain | Style::Rendered) => Ok(false),
        ("true" | "false", Style::Quoted) => Err(Some("remove the quotes".into())),
        _ => Err(match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => Some(format!("`{text}` is a text in YAML 1.2; write true")),
            "no" | "off" | "n" | "false" => Some(format!("`{text}` is a text in YAML 1.2; write false")),
            _ => None,
        }),
    }
}

/// The value of a key among the entries of a map.
pub(crate) fn find<'a>(entries: &'a [(Key, Node)], key: &str) -> Option<&'a Node> {
    entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Source;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["packages", "files", "units"];
        assert_eq!(nearest("pakcages", known), Some("packages"));
        assert_eq!(nearest("file", known), Some("files"));
        assert_eq!(nearest("services", known), None);
    }

    #[test]
    fn unknown_keys_and_wrong_kinds_are_told() {
        let source = Source::new("a.yaml", "file: []\nflag: no\n");
        let node = super::super::yaml::parse(&source).unwrap();
        let mut errors = Vec::new();
        entries(&node, "a module", &["files", "flag"], &mut errors);
        list(node.get("flag").unwrap(), "`flag`", &mut errors);
        flag(node.get("flag").unwrap(), "`flag`", &mut errors);
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "a.yaml:1:1: unknown key `file` in a module (did you mean `files`?)",
                "a.yaml:2:7: `flag` must be a list, not `no` (write [ ] around it)",
                "a.yaml:2:7: `flag` must be true or false, not `no` (`no` is a text in YAML 1.2; write false)",
            ]
        );
    }
}
