//! Text to a tree of nodes, each with its place. Scalars keep their text and style: types decide what they mean.
//!
//! Of YAML 1.2 everything is read that a configuration needs. Anchors, aliases, directives, several documents
//! and tags other than `!default`, `!force`, `!before` and `!after` are refused.

use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use crate::origin::{Diagnostic, Origin, Source};

/// Longest text that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 48;

/// One value of a YAML text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub kind: Kind,
    /// Where the value stands; of a list or map from its first to its last entry.
    pub origin: Origin,
    pub tag: Option<Tag>,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes, or as a block.
    Quoted,
    /// The outcome of a template.
    Rendered,
}

/// One key of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub text: String,
    pub origin: Origin,
}

/// The tags that change how strong a definition is, or where the entries of a list stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Default,
    Force,
    Before,
    After,
}

impl Node {
    /// An untagged scalar.
    pub fn scalar(text: impl Into<String>, style: Style, origin: &Origin) -> Self {
        Self { kind: Kind::Scalar { text: text.into(), style }, origin: origin.clone(), tag: None }
    }

    /// Whether nothing is written, or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: Style::Plain } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What to call it in a message.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
            Kind::Scalar { .. } if self.is_null() => "nothing".into(),
            Kind::Scalar { text, style: Style::Plain } => format!("`{}`", shorten(text)),
            Kind::Scalar { text, .. } => format!("the text {:?}", shorten(text)),
        }
    }

    /// The value at a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The place of bytes `range` of a scalar's text; the whole scalar where the text was folded or escaped.
    pub fn locate(&self, range: Range<usize>) -> Origin {
        let Kind::Scalar { text, .. } = &self.kind else { return self.origin.clone() };
        let start = self.origin.span.start;
        let Some(raw) = self.origin.source.text.get(self.origin.span.clone()) else { return self.origin.clone() };
        if let Some(at) = raw.find(text.as_str()) {
            return Origin::new(&self.origin.source, start + at + range.start..start + at + range.end);
        }
        self.locate_line(raw, text, &range).unwrap_or_else(|| self.origin.clone())
    }

    /// Finds a place within one line of a block, whose lines lost their indentation.
    fn locate_line(&self, raw: &str, text: &str, range: &Range<usize>) -> Option<Origin> {
        let line_start = text.get(..range.start)?.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..)?.lines().next()?;
        let twins = text[..line_start].lines().filter(|other| other.trim() == line.trim()).count();
        let mut lines = raw.split_inclusive('\n').scan(0, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        });
        let (start, found) = lines.by_ref().filter(|(_, other)| other.trim() == line.trim()).nth(twins)?;
        let at = start + found.find(line)?;
        let from = self.origin.span.start + at + (range.start - line_start);
        let length = (range.end - range.start).min(line.len());
        Some(Origin::new(&self.origin.source, from..from + length))
    }
}

/// The first characters of a text that may be long.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Reads the whole of `source`.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Node, Vec<Diagnostic>> {
    parse_part(source, 0..source.text.len())
}

/// Reads the bytes `part` of `source`; places are those of the whole.
pub(crate) fn parse_part(source: &Arc<Source>, part: Range<usize>) -> Result<Node, Vec<Diagnostic>> {
    let offset = part.start;
    let text = source.text.get(part).unwrap_or("");
    if text.len() > MAX_BYTES {
        let place = Origin::new(source, 0..0);
        return Err(vec![Diagnostic::error(&place, format!("the file is larger than {MAX_BYTES} bytes"))]);
    }
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader { source, offset, open: Vec::new(), root: None, errors: Vec::new() };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => reader.take(event, &span),
            Err(error) => Err(reader.syntax(&error)),
        };
        if let Err(error) = step {
            reader.errors.push(error);
            break;
        }
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    Ok(reader.root.unwrap_or_else(|| Node::scalar("", Style::Plain, &Origin::new(source, offset..offset))))
}

/// A list or map whose end has not been read.
enum Open {
    List { start: usize, tag: Option<Tag>, items: Vec<Node> },
    Map { start: usize, tag: Option<Tag>, entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    offset: usize,
    open: Vec<Open>,
    root: Option<Node>,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn place(&self, span: &Span) -> Origin {
        let range = span.byte_range().unwrap_or(0..0);
        Origin::new(self.source, self.offset + range.start..self.offset + range.end)
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Diagnostic> {
        let place = self.place(span);
        if event.anchor_id().is_some() || event.is_alias() {
            return Err(refused_alias(&place));
        }
        let tag = self.tag(&event, span)?;
        match event {
            Event::Scalar(text, style, ..) => self.scalar(text.into_owned(), style, tag, place),
            Event::SequenceStart(..) => self.begin(&place, |start| Open::List { start, tag, items: Vec::new() }),
            Event::MappingStart(..) => {
                self.begin(&place, |start| Open::Map { start, tag, entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&place),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Diagnostic::error(&place, "a file holds one document").help("remove the line `---`"))
            }
            _ => Ok(()),
        }
    }

    fn tag(&self, event: &Event<'_>, span: &Span) -> Result<Option<Tag>, Diagnostic> {
        let Some(tag) = event.tag() else { return Ok(None) };
        match tag.original().as_str() {
            "!default" => Ok(Some(Tag::Default)),
            "!force" => Ok(Some(Tag::Force)),
            "!before" => Ok(Some(Tag::Before)),
            "!after" => Ok(Some(Tag::After)),
            other => {
                let place = span.tag_span().map_or_else(|| self.place(span), |span| self.place(&span));
                Err(Diagnostic::error(&place, format!("unknown tag `{}`", shorten(other)))
                    .help("the tags are !default, !force, !before and !after; quote a text that begins with !"))
            }
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<Tag>, place: Origin) -> Result<(), Diagnostic> {
        if let Some(Open::Map { key: key @ None, entries, .. }) = self.open.last_mut() {
            if text == "<<" && style == ScalarStyle::Plain {
                return Err(Diagnostic::error(&place, "merge keys are not read").help("write the values out"));
            }
            if tag.is_some() {
                return Err(Diagnostic::error(&place, "a key has no tag").help("write the tag before the value"));
            }
            if let Some((first, _)) = entries.iter().find(|(known, _)| known.text == text) {
                let twice = Diagnostic::error(&place, format!("key `{}` is written twice", shorten(&text)));
                self.errors.push(twice.remark("here again").label(&first.origin, "first here"));
            }
            *key = Some(Key { text, origin: place });
            return Ok(());
        }
        let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
        self.put(Node { kind: Kind::Scalar { text, style }, origin: place, tag })
    }

    fn begin(&mut self, place: &Origin, open: impl FnOnce(usize) -> Open) -> Result<(), Diagnostic> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(self.bare_template(place).unwrap_or_else(|| {
                Diagnostic::error(place, "a key is a list or a map").help("quote the key if it is a text")
            }));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Diagnostic::error(place, format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open(place.span.start));
        Ok(())
    }

    /// A template without quotes, which YAML takes for a map in a map; the inner one begins at `place`.
    fn bare_template(&self, place: &Origin) -> Option<Diagnostic> {
        let start = place.span.start.checked_sub(1)?;
        let rest = self.source.text.get(start..)?.lines().next()?;
        let end = rest.strip_prefix("{{")?.find("}}").map_or(rest.len(), |at| at + 4);
        let whole = Origin::new(self.source, start..start + end);
        let quoted = format!("quote what holds it: \"{}\"", shorten(&rest[..end]));
        Some(Diagnostic::error(&whole, "a template must stand in quotes").help(quoted))
    }

    fn end(&mut self, place: &Origin) -> Result<(), Diagnostic> {
        let (start, tag, kind) = match self.open.pop() {
            Some(Open::List { start, tag, items }) => (start, tag, Kind::List(items)),
            Some(Open::Map { start, tag, entries, .. }) => (start, tag, Kind::Map(entries)),
            None => return Ok(()),
        };
        let last = match &kind {
            Kind::List(items) => items.last(),
            Kind::Map(entries) => entries.last().map(|(_, node)| node),
            Kind::Scalar { .. } => None,
        };
        // A block ends where the next begins; what belongs to it ends with its last entry.
        let block = place.span.is_empty();
        let end = last.filter(|_| block).map_or(place.span.end, |node| node.origin.span.end);
        self.put(Node { kind, origin: Origin::new(self.source, start..end.max(start)), tag })
    }

    fn put(&mut self, node: Node) -> Result<(), Diagnostic> {
        match self.open.last_mut() {
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let at = self.offset + error.marker().byte_offset().unwrap_or(0);
        let place = Origin::new(self.source, at..at);
        match error.kind() {
            ErrorKind::UnknownAnchor => return refused_alias(&place),
            ErrorKind::RecursionLimitExceeded => {
                return Diagnostic::error(&place, format!("values are nested deeper than {MAX_DEPTH} levels"));
            }
            ErrorKind::DirectiveDisallowed => {
                return Diagnostic::error(&place, "YAML directives are not read").help("remove the line");
            }
            _ => {}
        }
        if let Some(told) = self.tab_near(at, error).or_else(|| self.bare_sign(at)) {
            return told;
        }
        Diagnostic::error(&place, format!("this is not YAML: {}", error.kind()))
    }

    /// The tab that indents the line of byte `at` or a line next to it, or that the error at `at` is about.
    fn tab_near(&self, at: usize, error: &ScanError) -> Option<Diagnostic> {
        let text = &self.source.text;
        let at = Origin::new(self.source, at..at).span.start;
        let line_start = self.line_of(at);
        let before = self.line_of(line_start.saturating_sub(1));
        let indented = [line_start, before].into_iter().find_map(|start| {
            let line = text[start..].lines().next()?;
            let indent = line.len() - line.trim_start().len();
            Some(start + line[..indent].find('\t')?)
        });
        let about_tabs = error.kind().to_string().contains("tab");
        let behind_colon = || Some(line_start + text[line_start..at.max(line_start)].find(":\t")? + 1);
        let about = || Some(line_start + text[line_start..].find('\t').filter(|_| about_tabs)?);
        let tab = indented.or_else(about).or_else(behind_colon)?;
        let indents = text[self.line_of(tab)..tab].trim().is_empty();
        let place = Origin::new(self.source, tab..tab + 1);
        Some(match indents {
            true => {
                Diagnostic::error(&place, "a tab is used for indentation").help("YAML is indented with spaces only")
            }
            false => Diagnostic::error(&place, "a tab stands where YAML takes spaces only").help("write a space"),
        })
    }

    /// A value without quotes, on the line of byte `at`, that begins with a sign of YAML's own.
    fn bare_sign(&self, at: usize) -> Option<Diagnostic> {
        let start = self.line_of(at);
        let line = self.source.text[start..].lines().next()?;
        let begins = line.match_indices([' ', '[', ',']).map(|(at, _)| at + 1).chain([0]);
        let behind_sign = |at: &usize| {
            let before = line[..*at].trim_end();
            before.is_empty() || before.ends_with([':', '-', '[', ',', '{'])
        };
        let is_sign = |at: &usize| line[*at..].starts_with(['*', '&', '@', '`', '%']) || line[*at..].starts_with("{%");
        let found = begins.filter(behind_sign).find(is_sign)?;
        let place = Origin::new(self.source, start + found..start + found + 1);
        let sign = line[found..].chars().next()?;
        Some(match sign {
            '*' | '&' => refused_alias(&place),
            '{' => Diagnostic::error(&place, "a template must stand in quotes").help("quote the whole text"),
            _ => Diagnostic::error(&place, format!("a text that begins with {sign} must stand in quotes")),
        })
    }

    /// Where the line of byte `at` begins.
    fn line_of(&self, at: usize) -> usize {
        let at = Origin::new(self.source, at..at).span.start;
        self.source.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }
}

fn refused_alias(place: &Origin) -> Diagnostic {
    Diagnostic::error(place, "anchors and aliases are not read").help(
        "write the value out, or refer to an option: \"{{ other.option }}\"; quote a text that begins with & or *",
    )
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
