//! Writes values into configuration files so that none breaks out of its place.
//!
//! A [`Cursor`] follows the text of a template as it is written and so knows where a value is about to stand: in
//! quotes, in a comment, or bare. What the file's format can write there is written so; anything else is refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::Object;

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
    /// HTML and XML.
    Html,
    /// No rules.
    Text,
}

/// Formats by the name that `format:` gives them.
pub(super) const FORMATS: [(&str, Format); 8] = [
    ("lines", Format::Lines),
    ("json", Format::Json),
    ("yaml", Format::Yaml),
    ("toml", Format::Toml),
    ("nginx", Format::Nginx),
    ("shell", Format::Shell),
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
            _ if within("/etc/default") || within("/etc/profile.d") || path == "/etc/environment" => Self::Shell,
            "conf" if within("/etc/nginx") => Self::Nginx,
            _ if name == "nftables.conf" || name == "Caddyfile" => Self::Nginx,
            _ => Self::Lines,
        }
    }

    /// Whether lists and maps have a form of their own, that of JSON.
    fn has_lists(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }

    /// Whether a backslash takes the meaning of the next letter away, between these quotes or outside of any.
    fn escapes(self, place: Place) -> bool {
        match place {
            Place::Double => !matches!(self, Self::Html | Self::Text),
            Place::Single => matches!(self, Self::Lines | Self::Nginx),
            Place::Bare => matches!(self, Self::Lines | Self::Nginx | Self::Shell),
            Place::Comment | Place::Block(_) => false,
        }
    }
}

/// Where the next letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Bare,
    Single,
    Double,
    Comment,
    /// A block of YAML, which ends with a line that is not indented further than this.
    Block(usize),
}

/// Follows the text of a file from its beginning.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    format: Format,
    place: Place,
    /// The line so far.
    line: String,
    /// Whether the last letter was a backslash that counts.
    escaped: bool,
}

impl Cursor {
    pub fn new(format: Format) -> Self {
        Self { format, place: Place::Bare, line: String::new(), escaped: false }
    }

    /// Goes over text that the module itself wrote.
    pub fn feed(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
        }
    }

    /// Goes over a value that [`Cursor::escape`] gave: it leaves the place as it was.
    pub fn skip(&mut self, text: &str) {
        self.line.push_str(text);
        self.escaped = false;
    }

    fn step(&mut self, c: char) {
        if c == '\n' {
            self.end_line();
            return;
        }
        if let Place::Block(indent) = self.place
            && c != ' '
            && self.line.chars().all(|c| c == ' ')
            && self.line.len() <= indent
        {
            self.place = Place::Bare;
        }
        if self.escaped {
            self.escaped = false;
        } else if c == '\\' && self.format.escapes(self.place) {
            self.escaped = true;
        } else {
            self.place = match (self.place, c) {
                (Place::Bare, '"') if self.quotes_open(c) => Place::Double,
                (Place::Bare, '\'') if self.quotes_open(c) => Place::Single,
                (Place::Bare, '#' | ';') if self.comment_opens(c) => Place::Comment,
                (Place::Double, '"') | (Place::Single, '\'') => Place::Bare,
                (place, _) => place,
            };
        }
        self.line.push(c);
    }

    fn end_line(&mut self) {
        let in_lines = self.format == Format::Lines;
        match self.place {
            Place::Comment => self.place = Place::Bare,
            Place::Single | Place::Double if in_lines && !self.escaped => self.place = Place::Bare,
            Place::Bare if self.format == Format::Yaml && begins_block(&self.line) => {
                self.place = Place::Block(self.line.len() - self.line.trim_start().len());
            }
            _ => {}
        }
        self.line.clear();
        self.escaped = false;
    }

    fn quotes_open(&self, quote: char) -> bool {
        match self.format {
            Format::Html | Format::Text => false,
            Format::Json => quote == '"',
            Format::Toml | Format::Shell => true,
            // An apostrophe within a word is none.
            Format::Lines => quote == '"' || !self.line.ends_with(char::is_alphanumeric),
            // Two single quotes in a text that has them around it are one.
            Format::Yaml => self.at_value() || (quote == '\'' && self.line.ends_with('\'')),
            Format::Nginx => self.at_word(),
        }
    }

    fn comment_opens(&self, c: char) -> bool {
        match self.format {
            Format::Lines => self.line.trim().is_empty(),
            Format::Yaml => c == '#' && (self.line.is_empty() || self.line.ends_with(' ')),
            Format::Toml => c == '#',
            Format::Nginx | Format::Shell => c == '#' && self.at_word(),
            Format::Json | Format::Html | Format::Text => false,
        }
    }

    /// Whether a word begins here.
    fn at_word(&self) -> bool {
        self.line.chars().next_back().is_none_or(|c| c.is_whitespace() || "{};(,".contains(c))
    }

    /// Whether a value of YAML begins here.
    fn at_value(&self) -> bool {
        let before = self.line.trim_end();
        before.is_empty()
            || before.ends_with([',', '[', '{'])
            || (self.line.ends_with(' ') && before.ends_with([':', '-', '?']))
    }

    /// A value as it may be written here, or why it may not.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        let quoted = || serde_json::Value::from(value).to_string();
        match (self.format, self.place) {
            (Format::Text, _) => Ok(value.to_owned()),
            (Format::Html, _) => Ok(html(value)),
            (Format::Json | Format::Yaml | Format::Toml, Place::Double) => Ok(within_quotes(&quoted())),
            (Format::Json | Format::Toml, Place::Bare) => Ok(quoted()),
            (_, place) if one_line(value).is_err() && place != Place::Bare => one_line(value),
            (Format::Yaml, Place::Bare) if self.at_value() => Ok(match is_plain(value) {
                true => value.to_owned(),
                false => quoted(),
            }),
            (Format::Yaml, Place::Bare) if is_part(value) => Ok(value.to_owned()),
            (Format::Yaml, Place::Bare) => Err("put quotes around it in the template".into()),
            (Format::Yaml, Place::Single) => Ok(value.replace('\'', "''")),
            (Format::Shell, Place::Double) => Ok(backslashed(value, "\\\"$`")),
            (Format::Shell, Place::Single) => Ok(value.replace('\'', "'\\''")),
            (Format::Nginx, Place::Double) => Ok(backslashed(value, "\\\"")),
            (Format::Nginx, Place::Single) => Ok(backslashed(value, "\\'")),
            (Format::Toml, Place::Single) | (Format::Lines, Place::Single | Place::Double) => self.in_quotes(value),
            (_, Place::Comment | Place::Block(_)) => one_line(value),
            (_, _) => self.bare(&one_line(value)?),
        }
    }

    /// A value between quotes that have no escapes, or whose escapes are not known.
    fn in_quotes(&self, value: &str) -> Result<String, String> {
        let quote = if self.place == Place::Double { '"' } else { '\'' };
        let literal = self.format == Format::Toml;
        match value.chars().find(|c| *c == quote || (*c == '\\' && !literal)) {
            Some(c) => Err(format!("it holds {c}, which would end the quotes that it stands in")),
            None => one_line(value),
        }
    }

    /// A word outside of quotes in a shell, in nginx, or in a line.
    fn bare(&self, value: &str) -> Result<String, String> {
        let safe = |also: &str| value.chars().all(|c| c.is_alphanumeric() || also.contains(c));
        match self.format {
            Format::Shell if !value.is_empty() && safe("_./:,@%+=-") => Ok(value.to_owned()),
            Format::Shell => Ok(format!("'{}'", value.replace('\'', "'\\''"))),
            Format::Nginx if self.at_word() && (value.is_empty() || !safe("_./:,@%+=-*?~^$|&<>![]")) => {
                Ok(format!("\"{}\"", backslashed(value, "\\\"")))
            }
            Format::Nginx if !safe("_./:,@%+=-*?~^$|&<>![]") => Err("put quotes around it in the template".into()),
            Format::Lines if value.ends_with('\\') => {
                Err("it ends in a backslash, which would join the next line to this one".into())
            }
            _ => Ok(value.to_owned()),
        }
    }
}

/// Whether a line of YAML ends by opening a block: `key: |`, `- >-`.
fn begins_block(line: &str) -> bool {
    let last = line.trim_end().rsplit([' ', ':']).next().unwrap_or("");
    last.starts_with(['|', '>']) && last[1..].chars().all(|c| c == '-' || c == '+' || c.is_ascii_digit())
}

/// A text that stays within its line.
fn one_line(value: &str) -> Result<String, String> {
    match value.contains(|c: char| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}') {
        true => Err("it holds a line break or another control character".into()),
        false => Ok(value.to_owned()),
    }
}

fn within_quotes(quoted: &str) -> String {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted).to_owned()
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

fn html(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            c => text.push(c),
        }
    }
    text
}

/// Whether a text without quotes is a text to every reader of YAML, and the same one.
fn is_plain(value: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    value.starts_with(|c: char| c.is_alphabetic() || c == '/' || c == '_')
        && value.chars().all(|c| c.is_alphanumeric() || "_./@+-".contains(c))
        && !words.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a text can be a part of a plain text of YAML.
fn is_part(value: &str) -> bool {
    value.chars().all(|c| c.is_alphanumeric() || "_./@+-=~%".contains(c))
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
    pub fn new(format: Format) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { cursor: Cursor::new(format), value: 0, refused: false })))
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

    /// Whether lists, maps and null can be written here as JSON.
    pub fn takes_lists(&self) -> bool {
        let state = self.state();
        state.cursor.format.has_lists() && state.cursor.place == Place::Bare
    }

    /// Whether a value was refused.
    pub fn refused(&self) -> bool {
        self.state().refused
    }
}

#[cfg(test)]
#[path = "escape_tests.rs"]
mod tests;
