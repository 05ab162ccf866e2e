//! Formats in which quotes, comments and blocks are all that a value could break out of.

use super::{Format, backslashed, one_line};

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

/// The place that text has come to.
#[derive(Debug, Clone)]
pub(in crate::modules) struct Quotes {
    format: Format,
    place: Place,
    /// The line so far.
    line: String,
    /// Whether the last letter was a backslash that counts.
    escaped: bool,
}

impl Quotes {
    pub fn new(format: Format) -> Self {
        Self { format, place: Place::Bare, line: String::new(), escaped: false }
    }

    /// Goes over a value that [`Quotes::escape`] gave: it leaves the place as it was.
    pub fn skip(&mut self, text: &str) {
        self.line.push_str(text);
        self.escaped = false;
    }

    /// Goes over one letter of the module's own.
    pub fn step(&mut self, c: char) {
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
        } else if c == '\\' && self.backslash_escapes() {
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

    /// Whether a backslash takes the meaning of the next letter away here.
    fn backslash_escapes(&self) -> bool {
        match self.place {
            Place::Double => self.format != Format::Text,
            Place::Single => matches!(self.format, Format::Lines | Format::Nginx),
            Place::Bare => matches!(self.format, Format::Lines | Format::Nginx),
            Place::Comment | Place::Block(_) => false,
        }
    }

    /// Whether lists and maps can be written here as JSON.
    pub fn takes_lists(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml) && self.place == Place::Bare
    }

    /// Whether a duration, size or percentage is a string here: the format has no such value of its own.
    pub fn quotes_amounts(&self) -> bool {
        matches!(self.format, Format::Json | Format::Toml)
    }

    fn quotes_open(&self, quote: char) -> bool {
        match self.format {
            Format::Json => quote == '"',
            Format::Toml => true,
            // An apostrophe within a word is none.
            Format::Lines => quote == '"' || !self.line.ends_with(char::is_alphanumeric),
            // Two single quotes in a text that has them around it are one.
            Format::Yaml => self.at_value() || (quote == '\'' && self.line.ends_with('\'')),
            Format::Nginx => self.at_word(),
            _ => false,
        }
    }

    fn comment_opens(&self, c: char) -> bool {
        match self.format {
            Format::Lines => self.line.trim().is_empty(),
            Format::Yaml => c == '#' && (self.line.is_empty() || self.line.ends_with(' ')),
            Format::Toml => c == '#',
            Format::Nginx => c == '#' && self.at_word(),
            _ => false,
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
            _ if self.escaped => Err("a backslash stands before it".into()),
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

    /// A word outside of quotes in nginx, or in a line.
    fn bare(&self, value: &str) -> Result<String, String> {
        let safe = |also: &str| value.chars().all(|c| c.is_alphanumeric() || also.contains(c));
        match self.format {
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

fn within_quotes(quoted: &str) -> String {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted).to_owned()
}
