//! Paths to values: `["a"][0]["k"]` as sops has them, or `a/0/k`.

use super::error::{Error, Result};
use super::tree::{Document, Entry, Item, Leaf, Value};
use super::{json, tree};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an item of a list, comments not counted.
    Index(usize),
}

/// No path is longer, in steps: what it would make could not be read again.
const LONGEST: usize = 128;

/// A path from the root of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl std::str::FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::PathSyntax(text.to_owned());
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(wrong());
        }
        let mut steps = Vec::new();
        let mut rest = trimmed;
        if trimmed.starts_with('[') {
            while let Some(inner) = rest.strip_prefix('[') {
                let (step, after) = step(inner).ok_or_else(wrong)?;
                steps.push(step);
                rest = after;
            }
        } else {
            let step = |part: &str| part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index);
            steps.extend(trimmed.split('/').map(step));
            rest = "";
        }
        if steps.len() > LONGEST {
            return Err(Error::Path(format!("the path has more than {LONGEST} steps")));
        }
        if rest.is_empty() { Ok(Self(steps)) } else { Err(wrong()) }
    }
}

/// One step after its bracket, and what follows the closing one.
fn step(inner: &str) -> Option<(Step, &str)> {
    let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let (number, rest) = inner.split_once(']')?;
        return Some((Step::Index(number.trim().parse().ok()?), rest));
    };
    let mut escaped = false;
    let end = inner.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    let (text, rest) = inner.split_at_checked(end.0 + 1)?;
    let key = if quote == '"' {
        json::read_value(text).ok()?.as_text()?.to_owned()
    } else {
        text.get(1..text.len() - 1)?.to_owned()
    };
    Some((Step::Key(key), rest.trim_start().strip_prefix(']')?))
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let slash = if at > 0 { "/" } else { "" };
            match step {
                Step::Key(key) => write!(f, "{slash}{key}")?,
                Step::Index(index) => write!(f, "{slash}{index}")?,
            }
        }
        Ok(())
    }
}

/// All values without parts, each with its path.
pub fn leaves(document: &[Entry]) -> Vec<(String, &Leaf)> {
    fn descend<'a>(at: &str, value: &'a Value, found: &mut Vec<(String, &'a Leaf)>) {
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        match value {
            Value::Null => {}
            Value::Leaf(leaf) => found.push((at.to_owned(), leaf)),
            Value::Map(entries) => {
                entries.iter().filter_map(Entry::pair).for_each(|(key, value)| descend(&below(key), value, found));
            }
            Value::List(items) => {
                let values = items.iter().filter_map(Item::value).enumerate();
                values.for_each(|(index, value)| descend(&below(&index.to_string()), value, found));
            }
        }
    }
    let mut found = Vec::new();
    document.iter().filter_map(Entry::pair).for_each(|(key, value)| descend(key, value, &mut found));
    found
}

/// A step that leads nowhere, and from what.
fn nowhere(path: &Path, step: &Step, from: &str) -> Error {
    Error::Path(match step {
        Step::Key(key) => format!("{path}: there is no {key:?} in {from}"),
        Step::Index(index) => format!("{path}: there is no item {index} in {from}"),
    })
}

/// A number may name a key of a map, too.
fn key_of(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    }
}

/// The value at a path.
pub fn get<'a>(document: &'a [Entry], path: &Path) -> Result<&'a Value> {
    let (mut map, mut found): (_, Option<&Value>) = (Some(document), None);
    for step in &path.0 {
        let next = match (map, found) {
            (Some(entries), _) => tree::get(entries, &key_of(step)),
            (None, Some(Value::List(items))) => match step {
                Step::Index(index) => items.iter().filter_map(Item::value).nth(*index),
                Step::Key(_) => None,
            },
            _ => None,
        };
        let value = next.ok_or_else(|| nowhere(path, step, found.map_or("the file", Value::describe)))?;
        (map, found) = (value.as_map(), Some(value));
    }
    found.ok_or_else(|| Error::PathSyntax(path.to_string()))
}

/// Sets the value at a path and makes the maps and lists on the way; an index past the end appends. Returns whether
/// anything changed.
pub fn set(document: &mut Document, path: &Path, value: Value) -> bool {
    let mut root = Value::Map(std::mem::take(document));
    let changed = put(&mut root, &path.0, value);
    if let Value::Map(entries) = root {
        *document = entries;
    }
    changed
}

fn put(at: &mut Value, steps: &[Step], value: Value) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        let changed = *at != value;
        *at = value;
        return changed;
    };
    match (&mut *at, step) {
        (Value::Map(entries), step) => {
            let key = key_of(step);
            let known = entries.iter_mut().find_map(|entry| match entry {
                Entry::Pair(name, value) if *name == key => Some(value),
                _ => None,
            });
            if let Some(inner) = known {
                return put(inner, rest, value);
            }
            let mut inner = Value::Null;
            put(&mut inner, rest, value);
            entries.push(Entry::Pair(key, inner));
            true
        }
        (Value::List(items), Step::Index(index)) => {
            let known = items.iter_mut().filter_map(|item| match item {
                Item::Value(value) => Some(value),
                Item::Comment(_) => None,
            });
            if let Some(inner) = known.into_iter().nth(*index) {
                return put(inner, rest, value);
            }
            let mut inner = Value::Null;
            put(&mut inner, rest, value);
            items.push(Item::Value(inner));
            true
        }
        (other, step) => {
            *other = match step {
                Step::Key(_) => Value::Map(Vec::new()),
                Step::Index(_) => Value::List(Vec::new()),
            };
            put(other, steps, value);
            true
        }
    }
}

/// Removes the value at a path.
pub fn unset(document: &mut Document, path: &Path) -> Result<()> {
    let mut root = Value::Map(std::mem::take(document));
    let removed = remove(&mut root, &path.0, path);
    if let Value::Map(entries) = root {
        *document = entries;
    }
    removed
}

fn remove(at: &mut Value, steps: &[Step], path: &Path) -> Result<()> {
    let Some((step, rest)) = steps.split_first() else { return Err(Error::PathSyntax(path.to_string())) };
    let position = match (&*at, step) {
        (Value::Map(entries), step) => {
            let key = key_of(step);
            entries.iter().position(|entry| entry.pair().is_some_and(|(name, _)| name == key))
        }
        (Value::List(items), Step::Index(index)) => {
            let values = items.iter().enumerate().filter(|(_, item)| item.value().is_some());
            values.map(|(at, _)| at).nth(*index)
        }
        _ => None,
    };
    let position = position.ok_or_else(|| nowhere(path, step, at.describe()))?;
    let inner = match at {
        Value::Map(entries) if rest.is_empty() => {
            entries.remove(position);
            return Ok(());
        }
        Value::List(items) if rest.is_empty() => {
            items.remove(position);
            return Ok(());
        }
        Value::Map(entries) => entries.get_mut(position).and_then(|entry| match entry {
            Entry::Pair(_, value) => Some(value),
            Entry::Comment(_) => None,
        }),
        Value::List(items) => items.get_mut(position).and_then(|item| match item {
            Item::Value(value) => Some(value),
            Item::Comment(_) => None,
        }),
        _ => None,
    };
    match inner {
        Some(inner) => remove(inner, rest, path),
        None => Err(Error::PathSyntax(path.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn document(text: &str) -> Document {
        Format::Yaml.read(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn both_ways_of_writing_a_path_lead_to_the_same() {
        let check = |text: &str, steps: &[Step]| assert_eq!(text.parse::<Path>().unwrap().0, steps, "{text}");
        let key = |text: &str| Step::Key(text.to_owned());
        check("[\"a\"][0][\"k\\\"\"]", &[key("a"), Step::Index(0), key("k\"")]);
        check("a/0/k", &[key("a"), Step::Index(0), key("k")]);
        check("['it is']", &[key("it is")]);
        for wrong in ["", "[", "[\"a\"", "[a]", "[\"a\"]x", "[-1]"] {
            assert!(matches!(wrong.parse::<Path>(), Err(Error::PathSyntax(_))), "{wrong}");
        }
    }

    #[test]
    fn values_are_found_set_and_removed_among_comments() {
        let mut document = document("a:\n  # c\n  - k: 1\n  - 2\n");
        let path = |text: &str| text.parse::<Path>().unwrap();
        assert_eq!(get(&document, &path("a/1")).unwrap(), &Value::Leaf(tree::Leaf::int(2)));
        assert!(!set(&mut document, &path("a/0/k"), Value::Leaf(tree::Leaf::int(1))), "nothing changed");
        assert!(set(&mut document, &path("a/9"), Value::str("x")) && set(&mut document, &path("new/m/0"), Value::Null));
        unset(&mut document, &path("a/0")).unwrap();
        let text = Format::Yaml.write(&[document.clone()]).unwrap();
        assert_eq!(text.expose_text(), Some("a:\n    # c\n    - 2\n    - x\nnew:\n    m:\n        - null\n"));
        let error = get(&document, &path("b")).unwrap_err().to_string();
        assert_eq!(error, "b: there is no \"b\" in the file");
        for wrong in ["b", "a/7", "a/k", "a/0/0"] {
            assert!(get(&document, &path(wrong)).is_err() && unset(&mut document, &path(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_that_makes_what_nobody_could_read_is_refused() {
        assert!("a/".repeat(LONGEST / 2).parse::<Path>().is_ok());
        for deep in ["b/".repeat(100_000), "[0]".repeat(LONGEST + 1)] {
            assert!(deep.parse::<Path>().unwrap_err().to_string().contains("more than 128 steps"));
        }
    }
}
