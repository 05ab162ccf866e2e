//! YAML as cloud-init reads it, with PyYAML's rules of YAML 1.1, to a JSON value that knows where each part stands.
//! rave's own files have stricter rules (`modules`), because `yes` and `0644` are traps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use granit_parser::{Event, Parser, ScalarStyle, Span};
use regex::Regex;
use serde_json::{Map, Value};

use crate::origin::{Diagnostic, Origin, Severity, Source};

/// Longest text that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 64;
/// Most values, those that aliases repeat counted as often as they are.
const MAX_VALUES: usize = 200_000;
/// Longest sum of texts that aliases may repeat, in bytes.
const MAX_REPEATED: usize = 16 << 20;

/// A text that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// What it says twice; the last counts.
    pub warnings: Vec<Diagnostic>,
    source: Arc<Source>,
    /// Keys of maps and entries of lists, by JSON pointer (RFC 6901).
    places: BTreeMap<String, Range<usize>>,
}

impl Document {
    /// Where the value at a JSON pointer stands, or the nearest that holds it.
    pub fn place(&self, pointer: &str) -> Origin {
        let mut pointer = pointer;
        loop {
            if let Some(range) = self.places.get(pointer) {
                return Origin::new(&self.source, range.clone());
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return Origin::new(&self.source, 0..0),
            }
        }
    }
}

/// A token of a JSON pointer.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// Reads a whole text.
///
/// # Errors
/// What is no YAML, or more of it than sense.
pub fn read(source: &Arc<Source>) -> Result<Document, Diagnostic> {
    let start = Origin::new(source, 0..0);
    if source.text.len() > MAX_BYTES {
        return Err(Diagnostic::error(&start, format!("the text is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader::new(source);
    for event in Parser::new_from_str_with_options(&source.text, options) {
        match event {
            Ok((event, span)) => reader.take(event, &span)?,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let place = Origin::new(source, at..at);
                let help = "indent with spaces, and quote texts that hold `: ` or ` #` or begin with one of *&!%@`";
                return Err(Diagnostic::error(&place, format!("this is not YAML: {}", error.kind())).help(help));
            }
        }
    }
    let Reader { root, places, warnings, .. } = reader;
    Ok(Document { value: root.unwrap_or(Value::Null), warnings, source: Arc::clone(source), places })
}

/// A list or map whose end has not been read.
enum Open {
    List { anchor: Option<usize>, items: Vec<Value> },
    Map { anchor: Option<usize>, entries: Map<String, Value>, merged: Map<String, Value>, key: Option<String> },
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    root: Option<Value>,
    anchors: BTreeMap<usize, Value>,
    places: BTreeMap<String, Range<usize>>,
    pointer: Vec<String>,
    warnings: Vec<Diagnostic>,
    values: usize,
    repeated: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        Self {
            source,
            open: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            places: BTreeMap::new(),
            pointer: Vec::new(),
            warnings: Vec::new(),
            values: 0,
            repeated: 0,
        }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Diagnostic> {
        let place = Origin::new(self.source, span.byte_range().unwrap_or(0..0));
        let tag = event.tag().map(granit_parser::Tag::original);
        if let Some(tag) = tag.as_deref().filter(|tag| !TAGS.contains(tag)) {
            let error = Diagnostic::error(&place, format!("cloud-init knows no tag `{tag}`"));
            return Err(error.help("quote a text that begins with !"));
        }
        let anchor = event.anchor_id();
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Diagnostic::error(&place, "user-data holds one document").help("remove the line `---`"))
            }
            Event::Scalar(text, style, ..) => {
                if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut() {
                    *key = Some(text.clone().into_owned());
                    self.enter(&text, &place);
                    return Ok(());
                }
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if plain { resolve(&text) } else { Value::String(text.into_owned()) };
                self.put(value, anchor, &place, false)
            }
            Event::SequenceStart(..) => self.begin(Open::List { anchor, items: Vec::new() }, &place),
            Event::MappingStart(..) => {
                let (entries, merged) = (Map::new(), Map::new());
                self.begin(Open::Map { anchor, entries, merged, key: None }, &place)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { anchor, items }) => self.put(Value::Array(items), anchor, &place, true),
                Some(Open::Map { anchor, mut entries, merged, .. }) => {
                    add(&mut entries, merged);
                    self.put(Value::Object(entries), anchor, &place, true)
                }
                None => Ok(()),
            },
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().unwrap_or(Value::Null);
                let (values, bytes) = weigh(&value);
                self.values += values;
                self.repeated += bytes;
                self.put(value, None, &place, false)
            }
            _ => Ok(()),
        }
    }

    /// Notes where the next value stands, by its key.
    fn enter(&mut self, key: &str, place: &Origin) {
        self.pointer.push(escape(key));
        let place = place.span.clone();
        if let Some(first) = self.places.insert(self.here(), place.clone())
            && key != "<<"
        {
            let twice = Diagnostic::error(&Origin::new(self.source, place), format!("key `{key}` is written twice"));
            let twice = twice.label(&Origin::new(self.source, first), "first here").help("only the last one counts");
            self.warnings.push(Diagnostic { severity: Severity::Warning, ..twice });
        }
    }

    fn begin(&mut self, open: Open, place: &Origin) -> Result<(), Diagnostic> {
        self.item(place);
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(Diagnostic::error(place, "a key is a list or a map").help("quote it if it is a text"));
        }
        self.open.push(open);
        Ok(())
    }

    /// Notes where the next entry of a list stands, if one comes.
    fn item(&mut self, place: &Origin) {
        if let Some(Open::List { items, .. }) = self.open.last() {
            self.pointer.push(items.len().to_string());
            self.places.insert(self.here(), place.span.clone());
        }
    }

    /// Takes a value into what is open; `begun` says whether it is a list or map whose beginning was noted.
    fn put(&mut self, value: Value, anchor: Option<usize>, place: &Origin, begun: bool) -> Result<(), Diagnostic> {
        self.values += 1;
        if self.values > MAX_VALUES || self.repeated > MAX_REPEATED {
            return Err(Diagnostic::error(place, "with all that aliases repeat, these are more values than sense"));
        }
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => {
                let number = items.len().to_string();
                items.push(value);
                if begun {
                    self.pointer.pop();
                } else {
                    let place = place.span.clone();
                    self.places.insert(format!("{}/{number}", self.here()), place);
                }
            }
            Some(Open::Map { entries, merged, key, .. }) => {
                let Some(key) = key.take() else {
                    return Err(Diagnostic::error(place, "a key is an alias").help("write the key out"));
                };
                self.pointer.pop();
                match (key.as_str(), value) {
                    ("<<", Value::Object(more)) => add(merged, more),
                    ("<<", Value::Array(list)) => {
                        list.into_iter().for_each(|value| {
                            if let Value::Object(more) = value {
                                add(merged, more);
                            }
                        });
                    }
                    (_, value) => drop(entries.insert(key, value)),
                }
            }
        }
        Ok(())
    }

    fn here(&self) -> String {
        self.pointer.iter().map(|token| format!("/{token}")).collect()
    }
}

/// Tags that PyYAML's safe loader knows and that make no other type of a text here.
const TAGS: [&str; 8] = ["!!str", "!!binary", "!!map", "!!seq", "!!set", "!!omap", "!!timestamp", "!"];

/// Adds entries whose keys are not there yet.
fn add(to: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        to.entry(key).or_insert(value);
    }
}

/// How many values a value is, and how long its texts.
fn weigh(value: &Value) -> (usize, usize) {
    let sum = |list: Vec<(usize, usize)>| list.into_iter().fold((1, 0), |(a, b), (c, d)| (a + c, b + d));
    match value {
        Value::String(text) => (1, text.len()),
        Value::Array(items) => sum(items.iter().map(weigh).collect()),
        Value::Object(entries) => sum(entries.values().map(weigh).collect()),
        _ => (1, 0),
    }
}

#[expect(clippy::unwrap_used, reason = "a literal that a test compiles")]
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$").unwrap()
});

/// What a plain scalar is (PyYAML 6, resolver.py).
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return true.into(),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return false.into(),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).replace('_', "");
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let radix =
        |digits: &str, radix| i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['-', '+']));
    let integer = match digits.as_bytes() {
        [b'0', b'b', ..] => radix(&digits[2..], 2),
        [b'0', b'x', ..] => radix(&digits[2..], 16),
        [b'0', _, ..] => radix(&digits, 8),
        [b'0'..=b'9', ..] => radix(&digits, 10),
        _ => None,
    };
    if let Some(integer) = integer {
        return (sign * integer).into();
    }
    let float = FLOAT.is_match(text).then(|| text.replace('_', "").parse::<f64>().ok()).flatten();
    float.map_or_else(|| text.into(), Value::from)
}

#[cfg(test)]
mod tests;
