//! POSIX shell, with what bash adds to its quotes.
//!
//! Values stand bare, in quotes, in comments and in here-documents. Where the shell would read them once more, as in
//! `$(...)` within double quotes, backticks and arithmetic, they are refused, and so they are behind anything whose
//! end cannot be told with certainty.

use super::{backslashed, one_line};

/// The place that text has come to.
#[derive(Debug, Clone, Default)]
pub(in crate::modules) struct Shell {
    /// What has been opened and not closed, the outermost first; nothing outside of quotes.
    open: Vec<Open>,
    /// The line so far.
    line: String,
    /// Whether the last letter was a backslash that counts.
    escaped: bool,
    /// Whether the last letter was a `$` that counts.
    dollar: bool,
    /// The delimiter of a here-document that is being read.
    delimiter: Option<Delimiter>,
    /// Here-documents that begin with the next line.
    waiting: Vec<HereDocument>,
    /// Whether the end of something cannot be told.
    lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Open {
    Single,
    Double,
    Comment,
    /// `$'...'`
    Ansi,
    Backtick,
    /// `$(...)` where quotes begin anew, with the number of brackets that are open.
    Substitution(usize),
    /// `$((...))` and `((...))`, with the number of brackets that are open.
    Arithmetic(usize),
    /// `${...}`
    Parameter,
    HereDocument(HereDocument),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HereDocument {
    end: String,
    /// Whether nothing in it is expanded.
    quoted: bool,
    /// Whether tabs before its end do not count.
    tabs: bool,
}

/// The word behind `<<`, as far as it has been read.
#[derive(Debug, Clone, Default)]
struct Delimiter {
    text: String,
    quote: Option<char>,
    quoted: bool,
    tabs: bool,
    started: bool,
    escaped: bool,
}

impl Shell {
    /// Goes over one letter of the module's own.
    pub fn step(&mut self, c: char) {
        if self.lost || self.reads_delimiter(c) {
            return;
        }
        if c == '\n' {
            self.end_line();
            return;
        }
        let dollar = std::mem::take(&mut self.dollar);
        if std::mem::take(&mut self.escaped) {
            self.line.push(c);
            return;
        }
        match self.open.last().cloned() {
            None => self.bare(c, dollar),
            Some(Open::Single) if c == '\'' => self.close(),
            Some(Open::Ansi) if c == '\'' => self.close(),
            Some(Open::Double) if c == '"' => self.close(),
            Some(Open::Backtick) if c == '`' => self.close(),
            Some(Open::Parameter) if c == '}' => self.close(),
            Some(Open::Single | Open::Comment) => {}
            Some(Open::HereDocument(document)) if document.quoted => {}
            Some(Open::Ansi | Open::Backtick) => self.escaped = c == '\\',
            Some(Open::Double | Open::HereDocument(_)) => self.expansion(c, dollar),
            Some(Open::Parameter) => match c {
                '"' => self.open.push(Open::Double),
                // Within double quotes it depends on the operator what this means.
                '\'' => self.lost = true,
                _ => self.expansion(c, dollar),
            },
            Some(Open::Substitution(depth)) => self.substitution(c, dollar, depth),
            Some(Open::Arithmetic(depth)) => match c {
                '(' => self.deepen(Open::Arithmetic(depth + 1)),
                ')' if depth > 1 => self.deepen(Open::Arithmetic(depth - 1)),
                ')' => self.close(),
                '\'' | '"' => self.lost = true,
                _ => self.expansion(c, dollar),
            },
        }
        self.line.push(c);
    }

    fn close(&mut self) {
        self.open.pop();
    }

    fn deepen(&mut self, open: Open) {
        self.close();
        self.open.push(open);
    }

    fn bare(&mut self, c: char, dollar: bool) {
        match c {
            '\'' => self.open.push(if dollar { Open::Ansi } else { Open::Single }),
            '"' => self.open.push(Open::Double),
            '#' if self.at_word() => self.open.push(Open::Comment),
            '(' if self.line.ends_with("$(") || (self.line.ends_with('(') && self.bracket_begins_word()) => {
                self.open.push(Open::Arithmetic(2));
            }
            '<' if self.line.ends_with('<') && !self.line.ends_with("<<") => {
                self.delimiter = Some(Delimiter::default());
            }
            // Quotes mean the same within.
            '(' => {}
            _ => self.expansion(c, dollar),
        }
    }

    /// A letter where expansions count.
    fn expansion(&mut self, c: char, dollar: bool) {
        match c {
            '\\' => self.escaped = true,
            '`' => self.open.push(Open::Backtick),
            '{' if dollar => self.open.push(Open::Parameter),
            '(' if dollar => self.open.push(Open::Substitution(1)),
            // Arithmetic as it once was written.
            '[' if dollar => self.lost = true,
            _ => self.dollar = c == '$',
        }
    }

    /// A letter in `$(...)`.
    fn substitution(&mut self, c: char, dollar: bool, depth: usize) {
        match c {
            '(' if self.line.ends_with("$(") => self.deepen(Open::Arithmetic(2)),
            '(' if !dollar => self.deepen(Open::Substitution(depth + 1)),
            ')' if depth > 1 => self.deepen(Open::Substitution(depth - 1)),
            ')' => self.close(),
            '\'' => self.open.push(if dollar { Open::Ansi } else { Open::Single }),
            '"' => self.open.push(Open::Double),
            '#' if self.at_word() => self.open.push(Open::Comment),
            '<' if self.line.ends_with('<') => self.lost = true,
            // Its patterns end in brackets that nothing opens.
            c if c.is_whitespace() && self.line.ends_with("case") => self.lost = true,
            _ => self.expansion(c, dollar),
        }
    }

    fn end_line(&mut self) {
        let document = self.open.iter().position(|open| matches!(open, Open::HereDocument(_)));
        if std::mem::take(&mut self.escaped) {
            self.lost = document.is_some();
            return;
        }
        if self.open.last() == Some(&Open::Comment) {
            self.close();
        }
        if let Some(at) = document
            && let Some(Open::HereDocument(HereDocument { end, tabs, .. })) = self.open.get(at)
        {
            let line = if *tabs { self.line.trim_start_matches('\t') } else { self.line.as_str() };
            if line == end {
                self.open.truncate(at);
            }
        }
        if !self.waiting.is_empty() && self.open.is_empty() {
            self.open.push(Open::HereDocument(self.waiting.remove(0)));
        } else if !self.waiting.is_empty() && document.is_none() {
            self.lost = true;
        }
        self.line.clear();
        self.dollar = false;
    }

    /// Whether the letter belongs to the delimiter of a here-document.
    fn reads_delimiter(&mut self, c: char) -> bool {
        let Some(word) = &mut self.delimiter else { return false };
        let begins = !word.started && word.text.is_empty();
        let ends = word.quote.is_none() && !word.escaped && (c.is_whitespace() || ";|&<>()".contains(c));
        match c {
            // `<<<` gives a word, and `<<` alone nothing.
            '<' if begins && !word.tabs => self.delimiter = None,
            '-' if begins && !word.tabs => word.tabs = true,
            ' ' | '\t' if begins => {}
            _ if ends && begins => self.lost = true,
            _ if ends => {
                let Delimiter { text: end, quoted, tabs, .. } = std::mem::take(word);
                self.waiting.push(HereDocument { end, quoted, tabs });
                self.delimiter = None;
                return false;
            }
            _ => self.lost |= !word.take(c),
        }
        self.line.push(c);
        true
    }

    fn at_word(&self) -> bool {
        self.line.chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(c))
    }

    /// Whether the bracket at the end of the line stands where a command begins.
    fn bracket_begins_word(&self) -> bool {
        let before = self.line.strip_suffix('(').unwrap_or("");
        before.chars().next_back().is_none_or(|c| c.is_whitespace() || ";&|(!".contains(c))
    }

    /// Goes over a value that [`Shell::escape`] gave.
    pub fn skip(&mut self, text: &str) {
        self.line.push_str(text);
        self.escaped = false;
        self.dollar = false;
    }

    /// A value as it may be written here, or why it may not.
    pub fn escape(&self, value: &str) -> Result<String, String> {
        let refused = |why: &str| Err(why.to_owned());
        match () {
            () if self.lost => return refused("what stands before it is too intricate to tell where quotes end"),
            () if self.escaped => return refused("a backslash stands before it"),
            () if self.dollar => return refused("a $ stands before it"),
            () if self.delimiter.is_some() => return refused("it would name the end of a here-document"),
            () => {}
        }
        if let Some(what) = self.open.iter().find_map(Open::reads_again) {
            return Err(format!("the shell reads what stands in {what} once more; give the value to a variable first"));
        }
        let value = one_line(value)?;
        match self.open.last() {
            None if !value.is_empty() && self.is_word(&value) => Ok(value),
            None => Ok(format!("'{}'", value.replace('\'', "'\\''"))),
            Some(Open::Single) => Ok(value.replace('\'', "'\\''")),
            Some(Open::HereDocument(document)) if !value.is_empty() && self.could_end(document, &value) => {
                refused("it could end the here-document")
            }
            Some(Open::HereDocument(document)) if !document.quoted => Ok(backslashed(&value, "\\$`")),
            Some(Open::Double) => Ok(backslashed(&value, "\\\"$`")),
            Some(_) => Ok(value),
        }
    }

    /// Whether the value is a word, or a part of one, without quotes. One with `=` may set a variable.
    fn is_word(&self, value: &str) -> bool {
        let also = if self.at_word() { "_./:,@%+-" } else { "_./:,@%+=-" };
        value.chars().all(|c| c.is_alphanumeric() || also.contains(c))
    }

    /// Whether the line with the value may become the end of a here-document.
    fn could_end(&self, document: &HereDocument, value: &str) -> bool {
        let line = format!("{}{value}", self.line);
        let line = if document.tabs { line.trim_start_matches('\t') } else { line.as_str() };
        document.end.starts_with(line)
    }
}

impl Open {
    /// What to call a place whose text the shell reads a second time.
    fn reads_again(&self) -> Option<&'static str> {
        match self {
            Self::Ansi => Some("$'...'"),
            Self::Backtick => Some("backticks"),
            Self::Substitution(_) => Some("$(...) within double quotes"),
            Self::Arithmetic(_) => Some("((...))"),
            Self::Parameter => Some("${...}"),
            Self::Single | Self::Double | Self::Comment | Self::HereDocument(_) => None,
        }
    }
}

impl Delimiter {
    /// Takes one more letter; false if it makes a word that is computed.
    fn take(&mut self, c: char) -> bool {
        self.started = true;
        match (self.quote, c) {
            (Some(quote), _) if c == quote => self.quote = None,
            (Some(_), '\n') => return false,
            (Some(_), _) => self.text.push(c),
            (None, _) if std::mem::take(&mut self.escaped) => self.text.push(c),
            (None, '\'' | '"') => (self.quote, self.quoted) = (Some(c), true),
            (None, '\\') => (self.escaped, self.quoted) = (true, true),
            (None, '$' | '`') => return false,
            (None, _) => self.text.push(c),
        }
        true
    }
}
