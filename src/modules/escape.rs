//! Writes values into configuration files so that none breaks out of its place.
//!
//! A [`Cursor`] follows the text of a template as it is written and so knows where a value is about to stand: in
//! quotes, in a comment, or bare. What the file's format can write there is written so; anything else is refused.

mod html;
mod quotes;
mod shell;
mod systemd;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use html::Html;
use minijinja::value::Object;
use quotes::Quotes;
use shell::Shell;
use systemd::Systemd;

/// The rules that a file's values are written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One setting a line. A value is one line and does not end the quotes that it stands in.
    Lines,
    Json,
    Yaml,
    Toml,
    /// Words, quotes, braces and semicolons: nginx, nftables, Caddy.
    Nginx,
    /// POSIX shell, and files of environment variables.
    Shell,
    /// Units of systemd (systemd.syntax(7)).
    Systemd,
    /// HTML and XML.
    Html,
    /// No rules.
    Text,
}

/// Formats by the name that `format:` gives them.
pub(super) const FORMATS: [(&str, Format); 9] = [
    ("lines", Format::Lines),
    ("json", Format::Json),
    ("yaml", Format::Yaml),
    ("toml", Format::Toml),
    ("nginx", Format::Nginx),
    ("shell", Format::Shell),
    ("systemd", Format::Systemd),
    ("html", Format::Html),
    ("text", Format::Text),
];

impl Format {
    /// The format that a path's name tells.
    pub fn of(path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let within = |top: &str| folder == top || folder.starts_with(&format!("{top}/"));
        match name.rsplit_once('.').map_or("", |(_, end)| end) {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "toml" => Self::Toml,
            "html" | "htm" | "xml" | "svg" => Self::Html,
            "txt" | "md" => Self::Text,
            "nft" => Self::Nginx,
            "sh" | "env" => Self::Shell,
            end if systemd::KINDS.contains(&end) || systemd::is_dropin(folder) => Self::Systemd,
            _ if within("/etc/default") || within("/etc/profile.d") || path == "/etc/environment" => Self::Shell,
            "conf" if within("/etc/nginx") => Self::Nginx,
            _ if name == "nftables.conf" || name == "Caddyfile" => Self::Nginx,
            _ => Self::Lines,
        }
    }
}

/// Follows the text of a file from its beginning.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    Text,
    Quotes(Quotes),
    Shell(Shell),
    Systemd(Systemd),
    Html(Html),
}

impl Cursor {
    pub fn new(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Shell => Self::Shell(Shell::default()),
            Format::Systemd => Self::Systemd(Systemd::default()),
            Format::Html => Self::Html(Html::default()),
            other => Self::Quotes(Quotes::new(other)),
        }
    }

    /// The same, with text before it that the module itself wrote.
    pub fn after(format: Format, text: &str) -> Self {
        let mut cursor = Self::new(format);
        cursor.feed(text);
        cursor
    }

    /// Goes over text that the module itself wrote.
    pub fn feed(&mut self, text: &str) {
        for c in text.chars() {
            match self {
                Self::Text => {}
                Self::Quotes(quotes) => quotes.step(c),
                Self::Shell(shell) => shell.step(c),
                Self::Systemd(systemd) => systemd.step(c),
                Self::Html(html) => html.step(c),
            }
        }
    }

    /// Goes over a value that [`Cursor::escape`] gave: it leaves the place as it was.
    pub fn skip(&mut self, text: &str) {
        match self {
            Self::Text => {}
            Self::Quotes(quotes) => quotes.skip(text),
            Self::Shell(shell) => shell.skip(text),
            Self::Systemd(systemd) => systemd.skip(text),
            Self::Html(html) => html.skip(),
        }
    }

    /// A value as it may be written here, or why it may not.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        match self {
            Self::Text => Ok(value.to_owned()),
            Self::Quotes(quotes) => quotes.escape(value),
            Self::Shell(shell) => shell.escape(value),
            Self::Systemd(systemd) => systemd.escape(value),
            Self::Html(html) => html.escape(value),
        }
    }

    /// Whether lists, maps and null can be written here as JSON.
    fn takes_lists(&self) -> bool {
        matches!(self, Self::Quotes(quotes) if quotes.takes_lists())
    }

    /// Whether a duration, size or percentage is written as a text here.
    fn quotes_amounts(&self) -> bool {
        matches!(self, Self::Quotes(quotes) if quotes.quotes_amounts())
    }
}

/// A text that stays within its line.
fn one_line(value: &str) -> Result<String, String> {
    match value.contains(|c: char| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}') {
        true => Err("it holds a line break or another control character".into()),
        false => Ok(value.to_owned()),
    }
}

fn backslashed(value: &str, special: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if special.contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Where a template's text goes, with the place of the next value. Templates cannot name it.
#[derive(Debug)]
pub(super) struct Sink(Mutex<State>);

/// The name by which filters and the formatter find the [`Sink`] of their template.
pub(super) const SINK: &str = "the file being written";

#[derive(Debug)]
struct State {
    cursor: Cursor,
    /// Bytes to come that are an escaped value.
    value: usize,
    /// Whether a value was refused.
    refused: bool,
}

impl Object for Sink {}

impl Sink {
    /// A sink for what stands at that place.
    pub fn new(cursor: Cursor) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { cursor, value: 0, refused: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the next value.
    pub fn cursor(&self) -> Cursor {
        self.state().cursor.clone()
    }

    /// Text is written.
    pub fn wrote(&self, text: &str) {
        let mut state = self.state();
        if state.value > 0 {
            state.value = state.value.saturating_sub(text.len());
        } else {
            state.cursor.feed(text);
        }
    }

    /// The text to write for a value here.
    pub fn value(&self, value: &str) -> Result<String, String> {
        let mut state = self.state();
        match state.cursor.escape(value) {
            Ok(text) => {
                state.cursor.skip(&text);
                state.value = text.len();
                Ok(text)
            }
            Err(why) => {
                state.refused = true;
                Err(why)
            }
        }
    }

    /// The text to write for one of several values that may stand here.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        let mut state = self.state();
        let escaped = state.cursor.escape(value);
        state.refused |= escaped.is_err();
        escaped
    }

    /// Whether lists, maps and null can be written here as JSON.
    pub fn takes_lists(&self) -> bool {
        self.state().cursor.takes_lists()
    }

    /// Whether a duration, size or percentage is written as a text here.
    pub fn quotes_amounts(&self) -> bool {
        self.state().cursor.quotes_amounts()
    }

    /// Whether a value was refused.
    pub fn refused(&self) -> bool {
        self.state().refused
    }
}

#[cfg(test)]
#[path = "escape_tests.rs"]
mod tests;
