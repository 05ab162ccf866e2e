//! Units of systemd: directives, one a line, with specifiers; commands and lists of words with quotes besides
//! (systemd.syntax(7), systemd.service(5), systemd.unit(5)).

use super::{backslashed, one_line};

/// What the names of units end with.
pub(super) const KINDS: [&str; 11] =
    ["service", "socket", "timer", "path", "mount", "automount", "swap", "slice", "target", "scope", "device"];

/// Whether a directory holds drop-ins of a unit.
pub(super) fn is_dropin(folder: &str) -> bool {
    let kind = folder.strip_suffix(".d").and_then(|unit| unit.rsplit_once('.'));
    kind.is_some_and(|(_, kind)| KINDS.contains(&kind))
}

/// Directives that are lists of words, which quotes hold together.
const WORDS: [&str; 9] = [
    "Environment",
    "ExecPaths",
    "NoExecPaths",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "RequiresMountsFor",
];

/// What may stand before the path of a command.
const PREFIXES: &str = "@-:+!|";

/// How the value of a directive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// No directive has begun.
    Nothing,
    Plain,
    Words,
    Command,
}

/// The place that text has come to.
#[derive(Debug, Clone, Default)]
pub(in crate::modules) struct Systemd {
    /// The directive so far, further lines of it included.
    line: String,
    quote: Option<char>,
    /// Whether the last letter was a backslash that counts.
    escaped: bool,
    comment: bool,
    /// Whether nothing but spaces stands on the line.
    fresh: bool,
    /// Where the last command of the directive begins.
    command: Option<usize>,
}

impl Systemd {
    /// Goes over one letter of the module's own.
    pub fn step(&mut self, c: char) {
        if c == '\n' {
            return self.end_line();
        }
        let begins = self.fresh || self.line.trim().is_empty();
        if begins && !self.comment && (c == '#' || c == ';') {
            self.comment = true;
        }
        if self.comment {
            return;
        }
        self.fresh &= c.is_whitespace();
        let escaped = std::mem::take(&mut self.escaped);
        if !escaped && c == '\\' {
            self.escaped = true;
        } else if !escaped && matches!(self.rule(), Rule::Words | Rule::Command) {
            self.quote = match self.quote {
                Some(quote) if quote == c => None,
                None if c == '"' || c == '\'' => Some(c),
                other => other,
            };
        }
        self.push(c);
    }

    /// Adds a letter; a space behind a `;` of its own begins the next command.
    fn push(&mut self, c: char) {
        let ends = self.line.strip_suffix(';').is_some_and(|line| line.ends_with(char::is_whitespace));
        self.line.push(c);
        if ends && c.is_whitespace() && self.quote.is_none() {
            self.command = Some(self.line.len());
        }
    }

    fn end_line(&mut self) {
        self.fresh = true;
        if std::mem::take(&mut self.comment) && !self.line.is_empty() {
            return;
        }
        if std::mem::take(&mut self.escaped) {
            self.line.pop();
            self.push(' ');
        } else {
            *self = Self::default();
        }
    }

    /// The name of the directive, and its value so far.
    fn directive(&self) -> Option<(&str, &str)> {
        let (name, value) = self.line.split_once('=')?;
        Some((name.trim(), value))
    }

    fn rule(&self) -> Rule {
        match self.directive() {
            None => Rule::Nothing,
            Some((name, _)) if WORDS.contains(&name) => Rule::Words,
            Some((name, _)) if name.starts_with("Exec") && name != "ExecSearchPath" => Rule::Command,
            Some(_) => Rule::Plain,
        }
    }

    /// The command so far.
    fn command(&self) -> &str {
        let whole = self.directive().map_or("", |(_, value)| value);
        self.command.map_or(whole, |at| self.line.get(at..).unwrap_or("")).trim_start()
    }

    /// Goes over a value that [`Systemd::escape`] gave.
    pub fn skip(&mut self, text: &str) {
        if !self.comment {
            self.line.push_str(text);
        }
        self.escaped = false;
        self.fresh = false;
    }

    /// A value as it may be written here, or why it may not.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        let value = one_line(value)?;
        let odd = |sign: char| self.line.chars().rev().take_while(|c| *c == sign).count() % 2 == 1;
        match self.rule() {
            _ if self.comment => return Ok(value),
            _ if self.escaped => return Err("a backslash stands before it".into()),
            _ if odd('%') => return Err("a % stands before it; write %% for the sign itself".into()),
            Rule::Nothing => return Err("the name of a directive must be written out".into()),
            Rule::Plain if value.ends_with('\\') => {
                return Err("it ends in a backslash, which would join the next line to this one".into());
            }
            Rule::Plain => return Ok(value.replace('%', "%%")),
            Rule::Words => return Ok(self.word(&value).replace('%', "%%")),
            Rule::Command => {}
        }
        let prefix = self.command().split(|c: char| !PREFIXES.contains(c)).next().unwrap_or("");
        let begins = prefix == self.command();
        let is_program = !value.is_empty() && !value.starts_with(|c| PREFIXES.contains(c)) && !value.contains('$');
        if begins && !(is_program && is_plain(&value)) {
            return Err("a command begins with the path of a program, and this is more than that".into());
        }
        let word = self.word(&value).replace('%', "%%");
        // Of a command with `:` before it no variables are expanded.
        match prefix.contains(':') {
            true => Ok(word),
            false if odd('$') => Err("a $ stands before it; write $$ for the sign itself".into()),
            false => Ok(word.replace('$', "$$")),
        }
    }

    /// A value as one word, or as a part of the word that has begun.
    fn word(&self, value: &str) -> String {
        let begins = self.line.ends_with(|c: char| c.is_whitespace() || c == '=') && self.begins_word();
        match self.quote {
            Some('\'') => backslashed(value, "\\'"),
            Some(_) => backslashed(value, "\\\""),
            None if is_plain(value) && !(value.is_empty() && begins) => value.to_owned(),
            None if begins => format!("\"{}\"", backslashed(value, "\\\"")),
            None => value.chars().map(escaped).collect(),
        }
    }

    /// Whether a word begins at a place behind a space or `=`.
    fn begins_word(&self) -> bool {
        let value = self.directive().map_or("", |(_, value)| value);
        value.is_empty() || value.ends_with(char::is_whitespace)
    }
}

/// Whether a text is a word, or a part of one, without quotes.
fn is_plain(value: &str) -> bool {
    !value.contains(|c: char| c.is_whitespace() || "\"'\\;".contains(c))
}

/// A letter in a word outside of quotes.
fn escaped(c: char) -> String {
    match c {
        ' ' => "\\x20".to_owned(),
        '\t' => "\\t".to_owned(),
        '\\' => "\\x5c".to_owned(),
        '"' | '\'' => format!("\\{c}"),
        c => c.to_string(),
    }
}
