//! The content of a file: ordered maps and lists of typed values, comments included.

use super::Secret;

/// One document. A YAML file may hold several, all other formats hold one.
pub type Document = Vec<Entry>;

/// An entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A comment between or beside the pairs.
    Comment(Comment),
    /// A key with its value.
    Pair(String, Value),
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A comment between or beside the values.
    Comment(Comment),
    /// A value.
    Value(Value),
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing. Never encrypted and never part of the MAC.
    Null,
    /// One value.
    Leaf(Leaf),
    /// An ordered list.
    List(Vec<Item>),
    /// An ordered map.
    Map(Vec<Entry>),
}

/// A value without parts: its type, and the bytes that are encrypted and enter the MAC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// Its type.
    pub kind: Kind,
    /// `str`: the bytes themselves; `int`: decimal; `float`: decimal without exponent, `+Inf`, `-Inf`, `NaN`;
    /// `bool`: `True` or `False`; `time`: RFC 3339.
    pub text: Secret,
}

/// The type of a [`Leaf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes, usually UTF-8.
    Str,
    /// A signed number of 64 bits.
    Int,
    /// A floating-point number of 64 bits.
    Float,
    /// True or false.
    Bool,
    /// A point in time.
    Time,
}

/// A comment: the text after `#`.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    /// The text, a leading space included.
    pub text: Secret,
    /// Whether it stands on the line of the value that follows it in the tree.
    pub inline: bool,
}

impl Leaf {
    /// A text.
    pub fn str(text: impl Into<Secret>) -> Self {
        Self { kind: Kind::Str, text: text.into() }
    }

    /// A whole number.
    pub fn int(number: i64) -> Self {
        Self { kind: Kind::Int, text: number.to_string().into() }
    }

    /// A floating-point number.
    pub fn float(number: f64) -> Self {
        Self { kind: Kind::Float, text: super::scalar::float(number).into() }
    }

    /// A truth value.
    pub fn bool(truth: bool) -> Self {
        Self { kind: Kind::Bool, text: if truth { "True" } else { "False" }.into() }
    }
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Secret>) -> Self {
        Self::Leaf(Leaf::str(text))
    }

    /// The text of a [`Kind::Str`] that is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Leaf(leaf) if leaf.kind == Kind::Str => leaf.text.expose_text(),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The values of a list, without its comments.
    pub fn as_list(&self) -> Option<impl Iterator<Item = &Value>> {
        match self {
            Self::List(items) => Some(items.iter().filter_map(Item::value)),
            _ => None,
        }
    }

    /// What to call it in a message.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Leaf(leaf) => match leaf.kind {
                Kind::Str => "a text",
                Kind::Int => "a whole number",
                Kind::Float => "a number",
                Kind::Bool => "a truth value",
                Kind::Time => "a time",
            },
        }
    }
}

impl Item {
    /// The value, unless it is a comment.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Comment(_) => None,
        }
    }
}

impl Entry {
    /// Key and value, unless it is a comment.
    pub fn pair(&self) -> Option<(&str, &Value)> {
        match self {
            Self::Pair(key, value) => Some((key, value)),
            Self::Comment(_) => None,
        }
    }
}

/// The value of a key.
pub fn get<'a>(map: &'a [Entry], key: &str) -> Option<&'a Value> {
    map.iter().filter_map(Entry::pair).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// A key that a map has twice, at any depth.
pub fn twice(value: &Value) -> Option<&str> {
    match value {
        Value::Null | Value::Leaf(_) => None,
        Value::List(items) => items.iter().filter_map(Item::value).find_map(twice),
        Value::Map(entries) => twice_in(entries),
    }
}

/// The same, of the entries of a map.
pub fn twice_in(entries: &[Entry]) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    entries.iter().filter_map(Entry::pair).find_map(|(key, value)| match seen.insert(key) {
        false => Some(key),
        true => twice(value),
    })
}

/// The texts of all leaves with their paths, in order; no comments, and nothing of what is empty. Files say the same
/// if these are equal: types are words about the texts, and some formats have none.
pub fn leaves(documents: &[Document]) -> Vec<(Vec<&str>, &Secret)> {
    fn gather<'a>(value: &'a Value, path: &mut Vec<&'a str>, all: &mut Vec<(Vec<&'a str>, &'a Secret)>) {
        match value {
            Value::Null => {}
            Value::Leaf(leaf) => all.push((path.clone(), &leaf.text)),
            Value::List(items) => items.iter().filter_map(Item::value).for_each(|value| gather(value, path, all)),
            Value::Map(entries) => pairs(entries, path, all),
        }
    }
    fn pairs<'a>(entries: &'a [Entry], path: &mut Vec<&'a str>, all: &mut Vec<(Vec<&'a str>, &'a Secret)>) {
        for (key, value) in entries.iter().filter_map(Entry::pair) {
            path.push(key);
            gather(value, path, all);
            path.pop();
        }
    }
    let mut all = Vec::new();
    documents.iter().for_each(|document| pairs(document, &mut Vec::new(), &mut all));
    all
}
