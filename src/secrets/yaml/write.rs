//! From documents to text: four spaces of indentation unless said otherwise, lists indented below their keys, lines as
//! literal blocks.

use super::super::Secret;
use super::super::scalar::yaml_float;
use super::super::secret::Builder;
use super::super::tree::{Comment, Document, Entry, Item, Kind, Leaf, Value};
use super::scalar::{self, Style};

/// Longer keys are written with a question mark, in bytes.
const SIMPLE_KEY: usize = 128;

/// Writes all documents, with so many spaces for a level.
pub(in super::super) fn write(documents: &[Document], step: usize) -> Secret {
    let mut writer = Writer { out: Builder::default(), open_ended: false, step };
    for (at, document) in documents.iter().enumerate() {
        if at > 0 {
            writer.out.text("---\n");
        }
        writer.document(document);
    }
    if writer.open_ended {
        writer.out.text("...\n");
    }
    writer.out.finish()
}

/// Writes one value as a document of its own.
pub(in super::super) fn write_value(value: &Value, step: usize) -> Secret {
    let mut writer = Writer { out: Builder::default(), open_ended: false, step };
    match value {
        Value::Map(entries) => writer.document(entries),
        Value::List(items) if items.iter().any(|item| item.value().is_some()) => writer.list(items, 0, false),
        Value::List(_) => writer.out.text("[]\n"),
        Value::Null => writer.out.text("null\n"),
        Value::Leaf(leaf) => writer.leaf(leaf, 0, &[]),
    }
    writer.out.finish()
}

struct Writer {
    out: Builder,
    /// Whether the last thing written is a block that keeps the empty lines after it.
    open_ended: bool,
    /// Spaces of a level.
    step: usize,
}

impl Writer {
    fn document(&mut self, entries: &[Entry]) {
        if entries.iter().any(|entry| entry.pair().is_some()) {
            return self.map(entries, 0, false);
        }
        for entry in entries {
            if let Entry::Comment(comment) = entry {
                self.comment(comment, 0);
            }
        }
        self.out.text("{}\n");
    }

    /// The indentation inside of a container at `indent`: the next multiple of the step.
    fn deeper(&self, indent: usize) -> usize {
        self.step * (indent / self.step + 1)
    }

    fn line(&mut self, indent: usize) {
        self.out.spaces(indent);
        self.open_ended = false;
    }

    fn comment(&mut self, comment: &Comment, indent: usize) {
        for line in comment.text.expose().split(|&byte| byte == b'\n') {
            self.line(indent);
            self.out.text("#");
            self.out.push(line);
            self.out.text("\n");
        }
    }

    /// `begun`: the first line has its indentation already, behind the dash of an item.
    fn map(&mut self, entries: &[Entry], indent: usize, mut begun: bool) {
        let mut inline: Vec<&Comment> = Vec::new();
        let mut ended = false;
        for entry in entries {
            match entry {
                Entry::Comment(comment) if comment.inline => inline.push(comment),
                Entry::Comment(comment) => {
                    // Only the very first line can have begun, and then it has no comments: see `list`.
                    self.comment(comment, indent);
                }
                Entry::Pair(key, value) => {
                    let beside = self.beside(value, &mut inline, indent, begun);
                    if !begun {
                        self.line(indent);
                    }
                    begun = false;
                    self.key(key, indent);
                    self.value(value, indent, &beside);
                    ended = true;
                }
            }
        }
        debug_assert!(ended || entries.is_empty());
        inline.into_iter().for_each(|comment| self.comment(comment, indent));
    }

    /// The comments that fit on the line of a value; others are written above it.
    fn beside<'c>(
        &mut self,
        value: &Value,
        inline: &mut Vec<&'c Comment>,
        indent: usize,
        begun: bool,
    ) -> Vec<&'c Comment> {
        let mut waiting = std::mem::take(inline);
        let fits = matches!(value, Value::Null | Value::Leaf(_));
        let beside = if fits && !waiting.is_empty() { vec![waiting.remove(0)] } else { Vec::new() };
        if !begun {
            waiting.into_iter().for_each(|comment| self.comment(comment, indent));
        }
        beside
    }

    fn key(&mut self, key: &str, indent: usize) {
        if key == "<<" {
            return self.out.text("!!merge <<:");
        }
        let simple = key.len() <= SIMPLE_KEY && !key.contains('\n');
        if !simple {
            self.out.text("? ");
        }
        match scalar::style(key, true) {
            Style::Plain => self.out.text(key),
            Style::Single => self.single(key),
            Style::Double | Style::Literal => self.double(key),
        }
        if !simple {
            self.out.text("\n");
            self.out.spaces(indent);
        }
        self.out.text(":");
    }

    /// What follows a key's colon.
    fn value(&mut self, value: &Value, indent: usize, beside: &[&Comment]) {
        match value {
            Value::Null => {
                self.out.text(" null");
                self.end_line(beside);
            }
            Value::Leaf(leaf) => {
                self.out.text(" ");
                self.leaf(leaf, indent, beside);
            }
            Value::Map(entries) if entries.iter().any(|entry| entry.pair().is_some()) => {
                self.out.text("\n");
                self.map(entries, self.deeper(indent), false);
            }
            Value::List(items) if items.iter().any(|item| item.value().is_some()) => {
                self.out.text("\n");
                self.list(items, self.deeper(indent), false);
            }
            empty => {
                self.out.text(" ");
                self.empty(empty, indent);
            }
        }
    }

    /// A list or map without values; its comments stand within the brackets.
    fn empty(&mut self, value: &Value, indent: usize) {
        let (open, close, comments): (_, _, Vec<&Comment>) = match value {
            Value::Map(entries) => ("{", "}", entries.iter().filter_map(entry_comment).collect()),
            Value::List(items) => ("[", "]", items.iter().filter_map(item_comment).collect()),
            Value::Null | Value::Leaf(_) => ("", "", Vec::new()),
        };
        self.out.text(open);
        if !comments.is_empty() {
            self.out.text("\n");
            comments.into_iter().for_each(|comment| self.comment(comment, self.deeper(indent)));
            self.out.spaces(indent);
        }
        self.out.text(close);
        self.out.text("\n");
    }

    fn list(&mut self, items: &[Item], indent: usize, mut begun: bool) {
        let mut inline: Vec<&Comment> = Vec::new();
        for item in items {
            match item {
                Item::Comment(comment) if comment.inline => inline.push(comment),
                Item::Comment(comment) => self.comment(comment, indent),
                Item::Value(value) => {
                    let beside = self.beside(value, &mut inline, indent, begun);
                    // What would come first inside the item has no line there.
                    if !begun {
                        leading(value).into_iter().for_each(|comment| self.comment(comment, indent));
                        self.line(indent);
                    }
                    begun = false;
                    self.out.text("- ");
                    self.item(value, indent, &beside);
                }
            }
        }
        inline.into_iter().for_each(|comment| self.comment(comment, indent));
    }

    fn item(&mut self, value: &Value, indent: usize, beside: &[&Comment]) {
        match value {
            Value::Null => {
                self.out.text("null");
                self.end_line(beside);
            }
            Value::Leaf(leaf) => self.leaf(leaf, indent, beside),
            Value::Map(entries) => {
                let led = entries.iter().take_while(|entry| entry.pair().is_none()).count();
                match entries.get(led..).filter(|rest| !rest.is_empty()) {
                    Some(rest) => self.map(rest, indent + 2, true),
                    None => self.empty(&Value::Map(Vec::new()), indent),
                }
            }
            Value::List(items) => {
                let led = items.iter().take_while(|item| item.value().is_none()).count();
                match items.get(led..).filter(|rest| !rest.is_empty()) {
                    Some(rest) => self.list(rest, indent + 2, true),
                    None => self.empty(&Value::List(Vec::new()), indent),
                }
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf, indent: usize, beside: &[&Comment]) {
        match leaf.kind {
            Kind::Str => return self.text(&leaf.text, indent, beside),
            Kind::Int | Kind::Time => self.out.push(leaf.text.expose()),
            Kind::Bool => self.out.text(if leaf.text.expose() == b"True" { "true" } else { "false" }),
            Kind::Float => {
                let number = leaf.text.expose_text().and_then(|text| text.parse().ok());
                self.out.text(&number.map_or_else(String::new, yaml_float));
            }
        }
        self.end_line(beside);
    }

    fn text(&mut self, text: &Secret, indent: usize, beside: &[&Comment]) {
        let Some(text) = text.expose_text() else {
            use base64::Engine as _;
            self.out.text("!!binary ");
            self.out.text(&base64::engine::general_purpose::STANDARD.encode(text.expose()));
            return self.end_line(beside);
        };
        match scalar::style(text, false) {
            Style::Plain => self.out.text(text),
            Style::Single => self.single(text),
            Style::Double => self.double(text),
            Style::Literal => return self.literal(text, indent, beside),
        }
        self.end_line(beside);
    }

    fn literal(&mut self, text: &str, indent: usize, beside: &[&Comment]) {
        self.out.text("|");
        if text.starts_with([' ', '\n']) {
            // Relative to the container's own indentation, which go-yaml gets wrong inside of lists.
            self.out.text(&(self.deeper(indent) - indent).to_string());
        }
        let keeps = text == "\n" || text.ends_with("\n\n");
        if !text.ends_with('\n') {
            self.out.text("-");
        } else if keeps {
            self.out.text("+");
        }
        self.end_line(beside);
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.out.spaces(self.deeper(indent));
                self.out.text(line);
            }
            self.out.text("\n");
        }
        self.open_ended = keeps;
    }

    fn single(&mut self, text: &str) {
        self.out.text("'");
        for (at, part) in text.split('\'').enumerate() {
            if at > 0 {
                self.out.text("''");
            }
            self.out.text(part);
        }
        self.out.text("'");
    }

    fn double(&mut self, text: &str) {
        self.out.text("\"");
        text.chars().for_each(|c| scalar::escape(c, &mut self.out));
        self.out.text("\"");
    }

    fn end_line(&mut self, beside: &[&Comment]) {
        for comment in beside {
            self.out.text(" #");
            self.out.push(comment.text.expose());
        }
        self.out.text("\n");
    }
}

fn entry_comment(entry: &Entry) -> Option<&Comment> {
    match entry {
        Entry::Comment(comment) => Some(comment),
        Entry::Pair(..) => None,
    }
}

fn item_comment(item: &Item) -> Option<&Comment> {
    match item {
        Item::Comment(comment) => Some(comment),
        Item::Value(_) => None,
    }
}

/// The comments that come before everything else in an item, however deep.
fn leading(value: &Value) -> Vec<&Comment> {
    match value {
        Value::Map(entries) => entries.iter().map_while(entry_comment).collect(),
        Value::List(items) => {
            let mut comments: Vec<_> = items.iter().map_while(item_comment).collect();
            if let Some(Item::Value(first)) = items.get(comments.len()) {
                comments.extend(leading(first));
            }
            comments
        }
        Value::Null | Value::Leaf(_) => Vec::new(),
    }
}
