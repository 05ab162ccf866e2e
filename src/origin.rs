//! Where a value came from, and bad news about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One text that rave read: its name as the user knows it, and its content.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path relative to the project, or a name in angle brackets such as `<command line>`.
    pub name: String,
    /// The whole text, so that a diagnostic can show the line.
    pub text: String,
}

impl Source {
    /// A source that any number of origins can share.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// Whether it is a text of rave's own, not one of the project.
    pub fn is_library(&self) -> bool {
        self.name.starts_with("<rave>/")
    }
}

/// A place in a [`Source`]: the bytes of one value.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The text that holds the place.
    pub source: Arc<Source>,
    /// Byte range within the text; may be empty.
    pub span: Range<usize>,
}

impl Origin {
    /// The place `span` of `source`, moved into the text where it lies outside.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let mut start = span.start.min(source.text.len());
        while !source.text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, source.text.len());
        while !source.text.is_char_boundary(end) {
            end += 1;
        }
        Self { source: Arc::clone(source), span: start..end }
    }

    /// Line and column of the first byte, both counted from 1, columns in characters.
    pub fn position(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// `file:line:column`, as editors and compilers write it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The input is accepted.
    Warning,
    /// The input is refused.
    Error,
}

/// One thing wrong with the user's input: what, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the command.
    pub severity: Severity,
    /// One sentence in lower case without a full stop.
    pub message: String,
    /// The places concerned, the most important first, each with a remark that may be empty.
    pub labels: Vec<(Origin, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `origin`.
    pub fn error(origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            labels: vec![(origin.clone(), String::new())],
            help: None,
        }
    }

    /// Puts a remark under the place that was named first.
    #[must_use]
    pub fn remark(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.1 = text.into();
        }
        self
    }

    /// Names one more place.
    #[must_use]
    pub fn label(mut self, origin: &Origin, text: impl Into<String>) -> Self {
        self.labels.push((origin.clone(), text.into()));
        self
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

/// One line, `file:line:column: message`, for logs; the terminal shows more.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((origin, _)) = self.labels.first() {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// An error and its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a.yaml", "é: 1\nkey: wert\n");
        assert_eq!(Origin::new(&source, 11..15).to_string(), "a.yaml:2:6");
        assert_eq!(Origin::new(&source, 1..1).position(), (1, 1), "inside a character");
        assert_eq!(Origin::new(&source, 999..9999).position(), (3, 1), "past the end");
    }
}
