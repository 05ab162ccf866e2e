//! From events to documents. Collections are gathered with their places first, so that comments find theirs.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use super::super::error::{Error, Result};
use super::super::format::Format;
use super::super::tree::{Comment, Document, Entry, Item, Value};
use super::{comments, scalar};

/// Deeper nesting was not written by hand.
const DEPTH: usize = 128;

/// Aliases may repeat what they name, up to as many values in all.
const VALUES: usize = 1 << 20;
/// So many bytes of a text that an alias repeats count as a value.
const LEAF: usize = 64;

/// A list or map, and where it stands.
pub(super) struct Container {
    /// Index of the container around it.
    pub parent: Option<usize>,
    /// Column of its entries, if they have lines of their own.
    pub column: usize,
    pub is_flow: bool,
    pub is_map: bool,
    /// Byte after its end; known once it has ended.
    pub end: usize,
    pub slots: Vec<Slot>,
    /// The keys so far.
    pub keys: BTreeSet<String>,
    /// Comments before the slot of that index; past the last one for those at the end.
    pub comments: Vec<(usize, Comment)>,
}

/// An entry of a map or an item of a list.
pub(super) struct Slot {
    pub start: usize,
    key: String,
    pub node: Node,
    /// Bytes of the value; empty where nothing is written.
    pub value: std::ops::Range<usize>,
}

pub(super) enum Node {
    Leaf(Value),
    Container(usize),
    Alias(usize),
}

/// A document: its root, and the bytes that belong to it, comments around it included.
pub(super) struct Root {
    pub node: Option<usize>,
    pub is_null: bool,
    /// Where its content begins, and the marker before it if there is one.
    pub begin: usize,
    /// Past its content, and past the marker `...` if there is one.
    pub content_end: usize,
    pub closed: Option<usize>,
}

/// A comment in the text.
pub(super) struct Found {
    pub start: usize,
    pub text: String,
}

pub(super) struct Parsed<'a> {
    pub text: &'a str,
    pub containers: Vec<Container>,
    pub roots: Vec<Root>,
    pub comments: Vec<Found>,
    anchors: BTreeMap<usize, Target>,
}

#[derive(Clone)]
enum Target {
    Leaf(Value),
    Container(usize),
}

/// Reads all documents of a file.
pub(in super::super) fn read(text: &str) -> Result<Vec<Document>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parsed =
        Parsed { text, containers: Vec::new(), roots: Vec::new(), comments: Vec::new(), anchors: BTreeMap::new() };
    let mut reader = Reader { parsed: &mut parsed, open: Vec::new(), key: None };
    let options = granit_parser::options! {
        emit_comments: true,
        max_buffered_comment_events: 1 << 20,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(error.kind().to_string(), error.marker().line()))?;
        reader.take(event, &span)?;
    }
    comments::attach(&mut parsed);
    parsed.documents()
}

fn syntax(reason: impl Into<String>, line: usize) -> Error {
    Error::Syntax { format: Format::Yaml, reason: reason.into(), line }
}

struct Reader<'r, 'a> {
    parsed: &'r mut Parsed<'a>,
    open: Vec<usize>,
    /// The key whose value comes next, and where it stands.
    key: Option<(String, usize)>,
}

impl Reader<'_, '_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<()> {
        let range = span.byte_range().unwrap_or(0..0);
        let line = span.start.line();
        let anchor = event.anchor_id();
        let tag = event.tag().map(|tag| {
            let whole = format!("{}{}", tag.handle(), tag.suffix());
            whole.strip_prefix("tag:yaml.org,2002:").unwrap_or("?").to_owned()
        });
        match event {
            Event::Comment(text, _) => {
                let text = text.trim_end_matches('\r').to_owned();
                self.parsed.comments.push(Found { start: range.start, text });
            }
            Event::DocumentStart(..) => {
                let begin = range.start;
                self.parsed.roots.push(Root {
                    node: None,
                    is_null: false,
                    begin,
                    content_end: range.end,
                    closed: None,
                });
            }
            Event::DocumentEnd => {
                let closed = self.parsed.text.get(range.clone()).is_some_and(|text| text.starts_with("..."));
                if let Some(root) = self.parsed.roots.last_mut() {
                    root.closed = closed.then_some(range.end);
                }
            }
            Event::Scalar(text, style, ..) => {
                let value = match (tag.as_deref(), style) {
                    (Some(tag), _) => scalar::resolve_tagged(&text, tag),
                    (None, ScalarStyle::Plain) => scalar::resolve(&text),
                    (None, _) => Ok(Value::str(&*text)),
                };
                let value = value.map_err(|reason| syntax(reason, line))?;
                self.anchor(anchor, Target::Leaf(value.clone()));
                // An empty scalar has no bytes, wherever the parser says that it stands.
                let range =
                    if text.is_empty() && style == ScalarStyle::Plain { range.start..range.start } else { range };
                self.put(Node::Leaf(value), range, line)?;
            }
            Event::Alias(id) => self.put(Node::Alias(id), range, line)?,
            Event::SequenceStart(style, ..) => self.begin(style, false, anchor, span)?,
            Event::MappingStart(style, ..) => self.begin(style, true, anchor, span)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(range.end),
            _ => {}
        }
        Ok(())
    }

    fn anchor(&mut self, anchor: Option<usize>, target: Target) {
        if let Some(id) = anchor {
            self.parsed.anchors.insert(id, target);
        }
    }

    fn begin(&mut self, style: StructureStyle, is_map: bool, anchor: Option<usize>, span: &Span) -> Result<()> {
        let index = self.parsed.containers.len();
        self.anchor(anchor, Target::Container(index));
        let range = span.byte_range().unwrap_or(0..0);
        self.put(Node::Container(index), range.clone(), span.start.line())?;
        self.parsed.containers.push(Container {
            parent: self.open.last().copied(),
            column: span.start.col(),
            is_flow: style == StructureStyle::Flow,
            is_map,
            end: usize::MAX,
            slots: Vec::new(),
            keys: BTreeSet::new(),
            comments: Vec::new(),
        });
        self.open.push(index);
        Ok(())
    }

    fn end(&mut self, end: usize) {
        self.key = None;
        let Some(index) = self.open.pop() else { return };
        if let Some(container) = self.parsed.containers.get_mut(index) {
            container.end = end;
        }
        self.grow(end);
        if let Some(slot) = self.open.last().and_then(|&i| self.parsed.containers.get_mut(i)?.slots.last_mut()) {
            slot.value.end = end.max(slot.value.start);
        }
    }

    fn grow(&mut self, end: usize) {
        if let Some(root) = self.parsed.roots.last_mut() {
            root.content_end = root.content_end.max(end);
        }
    }

    /// Puts a node where it belongs: a key, a value, an item or a root.
    fn put(&mut self, node: Node, range: std::ops::Range<usize>, line: usize) -> Result<()> {
        self.grow(range.end);
        let Some(&index) = self.open.last() else { return self.root(&node, line) };
        let Some(container) = self.parsed.containers.get_mut(index) else { return Ok(()) };
        let (key, start) = match (container.is_map, self.key.take()) {
            (false, _) => (String::new(), range.start),
            (true, Some(key)) => key,
            (true, None) => {
                let Node::Leaf(value) = &node else { return Err(syntax("a key is not a text", line)) };
                let text = value.as_text().ok_or_else(|| syntax("a key is not a text: quote it", line))?;
                if !container.keys.insert(text.to_owned()) {
                    return Err(syntax(format!("the key {text:?} is written twice"), line));
                }
                self.key = Some((text.to_owned(), range.start));
                return Ok(());
            }
        };
        container.slots.push(Slot { start, key, node, value: range });
        Ok(())
    }

    fn root(&mut self, node: &Node, line: usize) -> Result<()> {
        let next = self.parsed.containers.len();
        let Some(root) = self.parsed.roots.last_mut() else { return Ok(()) };
        match node {
            // The container itself is pushed next.
            Node::Container(_) => root.node = Some(next),
            Node::Leaf(Value::Null) => root.is_null = true,
            _ => return Err(syntax("a document is one value; SOPS encrypts maps", line)),
        }
        Ok(())
    }
}

impl Parsed<'_> {
    fn documents(mut self) -> Result<Vec<Document>> {
        let roots = std::mem::take(&mut self.roots);
        let mut left = VALUES;
        let document = |root: &Root| match root.node {
            None => Ok(Document::new()),
            Some(index) => match self.value(index, &mut left, 0)? {
                Value::Map(entries) => Ok(entries),
                _ => Err(syntax("a document is a list; SOPS encrypts maps", 0)),
            },
        };
        roots.iter().map(document).collect()
    }

    fn value(&self, index: usize, left: &mut usize, depth: usize) -> Result<Value> {
        if depth > DEPTH {
            return Err(syntax(format!("it is nested deeper than {DEPTH} levels"), 0));
        }
        let Some(container) = self.containers.get(index) else { return Ok(Value::Null) };
        let mut comments = container.comments.iter().peekable();
        if container.is_map {
            let mut entries = Vec::with_capacity(container.slots.len());
            for (at, slot) in container.slots.iter().enumerate() {
                while let Some((_, comment)) = comments.next_if(|(before, _)| *before <= at) {
                    entries.push(Entry::Comment(comment.clone()));
                }
                entries.push(Entry::Pair(slot.key.clone(), self.node(&slot.node, left, depth)?));
            }
            entries.extend(comments.map(|(_, comment)| Entry::Comment(comment.clone())));
            return Ok(Value::Map(entries));
        }
        let mut items = Vec::with_capacity(container.slots.len());
        for (at, slot) in container.slots.iter().enumerate() {
            while let Some((_, comment)) = comments.next_if(|(before, _)| *before <= at) {
                items.push(Item::Comment(comment.clone()));
            }
            items.push(Item::Value(self.node(&slot.node, left, depth)?));
        }
        items.extend(comments.map(|(_, comment)| Item::Comment(comment.clone())));
        Ok(Value::List(items))
    }

    fn node(&self, node: &Node, left: &mut usize, depth: usize) -> Result<Value> {
        *left = left.checked_sub(1).ok_or_else(|| syntax("its aliases repeat too much", 0))?;
        match node {
            Node::Leaf(value) => Ok(value.clone()),
            Node::Container(index) => self.value(*index, left, depth + 1),
            Node::Alias(id) => match self.anchors.get(id) {
                Some(Target::Leaf(value)) => {
                    let length = value.as_text().map_or(0, str::len) / LEAF;
                    *left = left.checked_sub(length).ok_or_else(|| syntax("its aliases repeat too much", 0))?;
                    Ok(value.clone())
                }
                Some(Target::Container(index)) => self.value(*index, left, depth + 1),
                None => Err(syntax("an alias names nothing", 0)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aliases_repeat_is_bounded_and_keys_are_told_apart() {
        let repeated = |length: usize, count: usize| {
            let items = vec!["*a"; count].join(",");
            read(&format!("a: &a \"{}\"\nb: [{items}]\n", "x".repeat(length)))
        };
        assert!(repeated(1000, 1000).is_ok());
        // A file of a megabyte, and gigabytes of text in it.
        for (length, count) in [(1 << 20, 1 << 10), (0, VALUES)] {
            let error = repeated(length, count).unwrap_err().to_string();
            assert!(error.contains("repeat too much"), "{error}");
        }
        assert!(read("a: 1\nb: { a: 1 }\n").is_ok());
        assert!(read("a: 1\nb: 2\na: 3\n").unwrap_err().to_string().contains("written twice"));
    }
}
