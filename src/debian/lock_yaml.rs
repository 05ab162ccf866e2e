//! The part of YAML that lock files use, with the place of every value: one document of mappings, lists and
//! plain or quoted scalars. Anchors, aliases and tags are refused.

use std::sync::Arc;

use granit_parser::{Event, Parser, Span};

use crate::origin::{Diagnostic, Origin, Source};

/// Nesting of a lock file is four: mapping, list, mapping, list.
const DEPTH: usize = 8;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place; of a mapping or list, where it begins.
    pub origin: Origin,
}

/// A YAML value; scalars have no types.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order; no key stands twice.
    Map(Vec<(String, Origin, Node)>),
}

type Fault = Box<Diagnostic>;
type Next<'s> = (Event<'s>, Origin);

/// Reads a text that holds one document.
pub fn read(source: &Arc<Source>) -> Result<Node, Fault> {
    let mut events = Events { source, parser: Parser::new_from_str(&source.text) };
    loop {
        match events.next()? {
            (Event::StreamStart | Event::DocumentStart(..), _) => {}
            (Event::StreamEnd, origin) => return Err(fault(&origin, "the file is empty")),
            first => {
                let node = events.node(first, 0)?;
                return events.end().map(|()| node);
            }
        }
    }
}

fn fault(origin: &Origin, message: impl Into<String>) -> Fault {
    Box::new(Diagnostic::error(origin, message))
}

struct Events<'s> {
    source: &'s Arc<Source>,
    parser: Parser<'s, granit_parser::StrInput<'s>>,
}

impl<'s> Events<'s> {
    /// The next event that is not a comment.
    fn next(&mut self) -> Result<Next<'s>, Fault> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, self.origin(span))),
                Some(Err(error)) => {
                    let at = error.marker().byte_offset().unwrap_or(self.source.text.len());
                    return Err(fault(&Origin::new(self.source, at..at), error.info()));
                }
                None => {
                    let end = self.source.text.len();
                    return Err(fault(&Origin::new(self.source, end..end), "the file ends too early"));
                }
            }
        }
    }

    fn origin(&self, span: Span) -> Origin {
        let range = span.byte_range().unwrap_or(0..0);
        Origin::new(self.source, range)
    }

    fn node(&mut self, (event, origin): Next<'s>, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH {
            return Err(fault(&origin, "this is nested too deeply"));
        }
        let value = match event {
            Event::Scalar(text, _, 0, None) => Value::Text(text.into_owned()),
            Event::SequenceStart(_, 0, None) => self.list(depth)?,
            Event::MappingStart(_, 0, None) => self.map(depth)?,
            _ => return Err(fault(&origin, "lock files have neither anchors nor aliases nor tags")),
        };
        Ok(Node { value, origin })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(nodes)),
                next => nodes.push(self.node(next, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(String, Origin, Node)> = Vec::new();
        loop {
            let (key, origin) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, _, 0, None), origin) => (text.into_owned(), origin),
                (_, origin) => return Err(fault(&origin, "a key must be a word")),
            };
            if entries.len() > 64 {
                return Err(fault(&origin, "this mapping has too many keys"));
            }
            if let Some((_, first, _)) = entries.iter().find(|(other, ..)| *other == key) {
                return Err(Box::new((*fault(&origin, format!("{key} stands twice"))).label(first, "first here")));
            }
            let next = self.next()?;
            entries.push((key, origin, self.node(next, depth + 1)?));
        }
    }

    /// Nothing may follow the document.
    fn end(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, origin) => return Err(fault(&origin, "a lock file has one document only")),
            }
        }
    }
}
