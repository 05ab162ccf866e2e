//! Debian's control file format (deb822(5)): stanzas of fields.

/// A text that is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not UTF-8, or has a NUL.
    #[error("it is not text")]
    NotText,
    /// A line is neither a field nor the continuation of one.
    #[error("{0:?} is not a field")]
    NotAField(String),
    /// There is a second stanza where one belongs.
    #[error("{0:?} begins a second stanza")]
    Another(String),
    /// A stanza has a field twice.
    #[error("field {0} stands twice in one stanza")]
    Duplicate(String),
    /// A stanza lacks a field.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A field's value is not what it must be.
    #[error("{field} {value:?} is not {wanted}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        value: String,
        /// What it must be, with its article.
        wanted: &'static str,
    },
}

impl Malformed {
    /// A [`Malformed::Value`] that quotes no more than the beginning of a long value.
    pub fn value(field: &'static str, value: &str, wanted: &'static str) -> Self {
        Self::Value { field, value: shorten(value), wanted }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The stanzas of a text, each as the slice of its lines; blank lines separate them.
pub fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut start = None;
        let mut at = 0;
        while at < rest.len() {
            let end = line_end(rest, at);
            match (is_blank(rest, at), start) {
                (false, None) => start = Some(at),
                (true, Some(from)) => {
                    let stanza = &rest[from..at];
                    rest = &rest[end..];
                    return Some(stanza);
                }
                _ => {}
            }
            at = end;
        }
        let stanza = start.map(|from| &rest[from..]);
        rest = "";
        stanza
    })
}

/// The end of the line that begins at `at`, including its line feed.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + length + 1)
}

/// Whether the line that begins at `at` is one that ends a stanza.
fn is_blank(text: &str, at: usize) -> bool {
    text[at..line_end(text, at)].trim_ascii().is_empty()
}

/// The fields of one stanza in their order: name, and value with its continuation lines, trimmed.
pub fn fields(stanza: &str) -> impl Iterator<Item = Result<(&str, &str), Malformed>> {
    let mut rest = stanza;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = line_end(rest, 0);
        while rest[end..].starts_with([' ', '\t']) && !is_blank(rest, end) {
            end = line_end(rest, end);
        }
        let (field, after) = rest.split_at(end);
        rest = after;
        Some(match field.split_once(':') {
            Some((name, value)) if is_name(name) => Ok((name, value.trim_ascii())),
            _ => Err(Malformed::NotAField(shorten(field.lines().next().unwrap_or(field)))),
        })
    })
}

/// Printable ASCII without space and colon, not beginning as a comment or a signature would.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// The value of a field in a list of them; names are compared without case.
fn value<'a>(mut fields: impl Iterator<Item = (&'a str, &'a str)>, name: &str) -> Option<&'a str> {
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// One stanza, to look fields up by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Stanza<'a> {
    /// Reads the lines of one stanza; no field may stand twice.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let all = fields(text).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<String> = all.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Malformed::Duplicate(shorten(&pair[0]))),
            None => Ok(Self(all)),
        }
    }

    /// The value of a field; names are compared without case.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        value(self.0.iter().copied(), name)
    }

    /// The value of a field that must be there.
    pub fn require(&self, name: &'static str) -> Result<&'a str, Malformed> {
        self.get(name).ok_or(Malformed::Missing(name))
    }

    /// The words of a field; none if it is absent.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// Whether a field says `yes`.
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }
}

/// A stanza that owns its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph(String);

impl Paragraph {
    /// Checks that a text is one stanza, with blank lines around it at most.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let text = String::from_utf8(bytes).map_err(|_| Malformed::NotText)?;
        if text.contains('\0') {
            return Err(Malformed::NotText);
        }
        let mut stanzas = stanzas(&text);
        let stanza = stanzas.next().unwrap_or_default();
        if let Some(another) = stanzas.next() {
            return Err(Malformed::Another(shorten(another.lines().next().unwrap_or_default())));
        }
        Stanza::parse(stanza)?;
        Ok(Self(stanza.to_owned()))
    }

    /// The value of a field; names are compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        value(self.fields(), name)
    }

    /// All fields in their order, with trimmed values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        // It was parsed before, so that there are no errors to leave out.
        fields(&self.0).flatten()
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stanzas_are_separated_by_any_number_of_blank_lines() {
        let text = "\n\nA: 1\nB: 2\n \n\t\nA: 3\n";
        assert_eq!(stanzas(text).collect::<Vec<_>>(), ["A: 1\nB: 2\n", "A: 3\n"]);
        assert_eq!(stanzas("A: 1").collect::<Vec<_>>(), ["A: 1"]);
        assert_eq!(stanzas(" \n").count(), 0);
    }

    #[test]
    fn values_keep_their_continuation_lines() {
        let stanza = Stanza::parse("Depends: a,\n b\nDescription: x\n y\n .\nEmpty:\n").unwrap();
        assert_eq!(stanza.get("depends"), Some("a,\n b"));
        assert_eq!(stanza.get("Description"), Some("x\n y\n ."));
        assert_eq!(stanza.get("Empty"), Some(""));
        assert_eq!(stanza.require("Version"), Err(Malformed::Missing("Version")));
    }

    #[test]
    fn blank_lines_around_a_paragraph_are_nothing() {
        let read = |text: &str| Paragraph::parse(text.as_bytes().to_vec());
        assert_eq!(read("\n \nA: 1\nB: 2\n\n\t\n").unwrap().text(), "A: 1\nB: 2\n");
        assert_eq!(read("A: 1\n\nB: 2\n").unwrap_err(), Malformed::Another("B: 2".to_owned()));
    }

    #[test]
    fn what_is_not_a_field_is_refused() {
        for bad in
            [" continuation first: 1\n", "no colon\n", ": no name\n", "-----BEGIN: x\n", "# a: comment\n", "a b: c"]
        {
            assert!(matches!(Stanza::parse(bad), Err(Malformed::NotAField(_))), "{bad:?}");
        }
        for split in ["A: 1\n \nB: 2\n", "A: 1\n\t\n b\n", "A: 1\n\nB: 2\n"] {
            assert!(Stanza::parse(split).is_err(), "others would see two stanzas in {split:?}");
        }
        assert_eq!(Stanza::parse("A: 1\na: 2\n"), Err(Malformed::Duplicate("a".to_owned())));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_field_is_lost(text in "[A-C:\n\t é-]{0,60}") {
            for stanza in stanzas(&text) {
                prop_assert!(!stanza.trim_ascii().is_empty());
                let _ = Stanza::parse(stanza);
            }
            let lines = text.lines().filter(|l| !l.trim_ascii().is_empty()).count();
            prop_assert_eq!(stanzas(&text).map(|s| s.lines().count()).sum::<usize>(), lines);
        }
    }
}
