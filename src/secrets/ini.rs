//! INI as gopkg.in/ini.v1 reads and writes it for sops: sections of texts, comments before what they belong to.

use super::Secret;
use super::dotenv::flat;
use super::error::{Error, Result};
use super::format::Format;
use super::secret::Builder;
use super::tree::{Comment, Document, Entry, Value};

/// The section of keys before the first header.
const DEFAULT: &str = "DEFAULT";

struct Section {
    name: String,
    comment: String,
    keys: Vec<(String, String, String)>,
}

impl Section {
    fn new(name: &str, comment: String) -> Self {
        Self { name: name.to_owned(), comment, keys: Vec::new() }
    }
}

/// Reads a file.
pub(super) fn read(text: &str) -> Result<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sections = vec![Section::new(DEFAULT, String::new())];
    let mut current = 0;
    let mut comment = String::new();
    let mut lines = Lines { rest: text, number: 0 };
    while let Some(line) = lines.next() {
        // What follows a value may be part of it.
        let line = line.trim_start();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            append(&mut comment, line.trim_end());
            continue;
        }
        if let Some(rest) = line.trim_end().strip_prefix('[') {
            let (name, after) = rest.rsplit_once(']').ok_or_else(|| lines.wrong("a section has no `]`"))?;
            if after.trim_start().starts_with(['#', ';']) {
                append(&mut comment, after.trim());
            }
            // A header [DEFAULT] goes on with the first section.
            if name.eq_ignore_ascii_case(DEFAULT) {
                current = 0;
            } else {
                current = sections.len();
                sections.push(Section::new(name, std::mem::take(&mut comment)));
            }
            continue;
        }
        let (key, rest) = key(line).ok_or_else(|| lines.wrong("a line has no `=`"))?;
        let value = value(rest, &mut lines, &mut comment)?;
        let comment = std::mem::take(&mut comment);
        let Some(section) = sections.get_mut(current) else { continue };
        // Programs differ in which of two they take.
        if section.keys.iter().any(|(name, ..)| *name == key) {
            return Err(lines.wrong(&format!("the key {key:?} is there twice in its section")));
        }
        section.keys.push((key, value, comment));
    }
    Ok(sections.into_iter().map(entries).collect())
}

fn append(comment: &mut String, line: &str) {
    if !comment.is_empty() {
        comment.push('\n');
    }
    comment.push_str(line);
}

fn entries(section: Section) -> Entry {
    let comment = |text: &str| {
        let text = match text.as_bytes().first() {
            Some(b';') => text.trim_start_matches([';', ' ']),
            Some(b'#') => text.trim_start_matches(['#', ' ']),
            _ => text,
        };
        Entry::Comment(Comment { text: text.into(), inline: false })
    };
    let mut entries = Vec::new();
    if !section.comment.is_empty() {
        entries.push(comment(&section.comment));
    }
    for (key, value, beside) in section.keys {
        entries.push(Entry::Pair(key, Value::str(value)));
        if !beside.is_empty() {
            entries.push(comment(&beside));
        }
    }
    Entry::Pair(section.name, Value::Map(entries))
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    fn wrong(&self, reason: &str) -> Error {
        Error::Syntax { format: Format::Ini, reason: reason.to_owned(), line: self.number }
    }
}

/// The name of a key and what follows its `=` or `:`.
fn key(line: &str) -> Option<(String, &str)> {
    for quote in ["\"\"\"", "\"", "`"] {
        if let Some(rest) = line.strip_prefix(quote) {
            let (name, rest) = rest.split_once(quote)?;
            let at = rest.find(['=', ':'])?;
            return Some((name.to_owned(), rest.get(at + 1..)?));
        }
    }
    let at = line.find(['=', ':'])?;
    let name = line.get(..at)?.trim();
    (!name.is_empty()).then(|| Some((name.to_owned(), line.get(at + 1..)?)))?
}

fn value(text: &str, lines: &mut Lines<'_>, comment: &mut String) -> Result<String> {
    let text = text.trim_start();
    for quote in ["\"\"\"", "`"] {
        let Some(rest) = text.strip_prefix(quote).filter(|_| text.len() > quote.len()) else { continue };
        if let Some(at) = rest.rfind(quote) {
            return Ok(rest.get(..at).unwrap_or("").to_owned());
        }
        let mut whole = rest.to_owned();
        loop {
            let line = lines.next().ok_or_else(|| lines.wrong("a quoted value does not end"))?;
            whole.push('\n');
            if let Some((last, _)) = line.split_once(quote) {
                whole.push_str(last);
                return Ok(whole);
            }
            whole.push_str(line);
        }
    }
    let text = text.trim_end();
    if let Some(begun) = text.strip_suffix('\\') {
        let mut whole = begun.to_owned();
        while let Some(line) = lines.next() {
            let line = line.trim();
            match line.strip_suffix('\\') {
                Some(more) => whole.push_str(more),
                None => {
                    whole.push_str(line);
                    break;
                }
            }
        }
        return Ok(whole);
    }
    let (text, beside) = text.find(['#', ';']).map_or((text, ""), |at| text.split_at(at));
    if !beside.is_empty() {
        append(comment, beside);
    }
    let text = text.trim();
    for quote in ['\'', '"'] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains(quote)) {
            return Ok(inner.to_owned());
        }
    }
    Ok(text.to_owned())
}

/// Writes a file.
pub(super) fn write(document: &[Entry]) -> Result<Secret> {
    let mut out = Builder::default();
    let sections: Vec<_> = document.iter().filter_map(Entry::pair).collect();
    for (at, (name, value)) in sections.iter().enumerate() {
        let unwritable = |reason| Error::Unwritable { format: Format::Ini, path: (*name).to_owned(), reason };
        let Value::Map(entries) = value else { return Err(unwritable("only sections can stand at the top")) };
        if name.contains(['\n', ']']) {
            return Err(unwritable("the name of a section would be read as something else"));
        }
        let has_keys = entries.iter().any(|entry| entry.pair().is_some());
        let has_header = at > 0 || !name.eq_ignore_ascii_case(DEFAULT);
        let mut rest = entries.as_slice();
        if let Some((Entry::Comment(comment), after)) = rest.split_first() {
            write_comment(comment, &mut out);
            rest = after;
        }
        if has_header {
            out.text("[");
            out.text(name);
            out.text("]\n");
        } else if !has_keys {
            continue;
        }
        keys(name, rest, &mut out)?;
        if at + 1 < sections.len() {
            out.text("\n");
        }
    }
    Ok(out.finish())
}

fn keys(section: &str, entries: &[Entry], out: &mut Builder) -> Result<()> {
    let names = entries.iter().filter_map(Entry::pair).map(|(key, _)| quoted(key).len());
    let width = names.max().unwrap_or(0);
    let mut entries = entries.iter().peekable();
    while let Some(entry) = entries.next() {
        let Some((key, value)) = entry.pair() else { continue };
        // The last comment after a key is the key's.
        while let Some(Entry::Comment(comment)) = entries.next_if(|next| next.pair().is_none()) {
            if entries.peek().is_none_or(|next| next.pair().is_some()) {
                write_comment(comment, out);
            }
        }
        let unwritable = |reason| Error::Unwritable { format: Format::Ini, path: format!("{section}/{key}"), reason };
        let name = quoted(key);
        if key.is_empty() || key.trim() != key || key.contains('\n') || key.starts_with(['#', ';', '[']) {
            return Err(unwritable("the name would be read as something else"));
        }
        let text = flat(value).ok_or_else(|| unwritable("it is not a single value"))?;
        let text = text.expose_text().ok_or_else(|| unwritable("it is not UTF-8"))?;
        out.text(&name);
        out.spaces(width - name.len());
        out.text(" = ");
        let quote = quote_of(text).ok_or_else(|| unwritable("no quotes can hold the value"))?;
        [quote, text, quote].into_iter().for_each(|part| out.text(part));
        out.text("\n");
    }
    Ok(())
}

fn quoted(key: &str) -> String {
    if key.contains('`') {
        format!("\"\"\"{key}\"\"\"")
    } else if key.contains(['"', '=', ':']) {
        format!("`{key}`")
    } else {
        key.to_owned()
    }
}

/// The quotes that a value needs; nothing if it would not be read back.
fn quote_of(text: &str) -> Option<&'static str> {
    if text.contains(['\n', '`']) {
        let fits = !text.contains("\"\"\"") && !text.contains('\r') && !text.starts_with('\n') && !text.ends_with('"');
        return fits.then_some("\"\"\"");
    }
    if text.contains(['#', ';']) || text.ends_with('\\') || text.starts_with("\"\"\"") {
        return Some("`");
    }
    if text.trim() != text {
        return Some(if text.contains('"') { "`" } else { "\"" });
    }
    let doubled = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if doubled('"') || doubled('\'') { Some("`") } else { Some("") }
}

fn write_comment(comment: &Comment, out: &mut Builder) {
    for line in comment.text.expose().split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        let (mark, text) = match line.split_first() {
            Some((mark @ (b'#' | b';'), text)) => (*mark, text.trim_ascii()),
            _ => (b';', line),
        };
        out.push(&[mark, b' ']);
        out.push(text);
        out.text("\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        write(&read(text).unwrap()).unwrap().expose_text().unwrap().to_owned()
    }

    #[test]
    fn comments_and_alignment_are_those_of_the_go_library() {
        let text = "; top\nk = 1\n\n[s]\n# a\nlong = v ; b\nx=\"q\"\nm = \"\"\"a\nb\"\"\"\n[t]\n";
        let expected = "; top\nk = 1\n\n[s]\n# a\n; b\nlong = v\nx    = q\nm    = \"\"\"a\nb\"\"\"\n\n[t]\n";
        assert_eq!(written(text), expected.replace("# a", "; a"));
        assert_eq!(written(&written(text)), written(text));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let check = |text: &str, said: &str| {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        };
        check("a = 1\na = 2\n", "the key \"a\" is there twice in its section (line 2)");
        check("a = 1\n[DEFAULT]\na = 2\n", "the key \"a\"");
        assert!(read("[s]\na = 1\n[t]\na = 1\n").is_ok());
    }

    #[test]
    fn values_read_back() {
        for value in ["plain", "with # hash", " space ", "\"quoted\"", "back\\", "tick`", "two\nlines", "'", "", "a;b"]
        {
            let key = Entry::Pair("k".to_owned(), Value::str(value));
            let document = vec![
                Entry::Pair(DEFAULT.to_owned(), Value::Map(Vec::new())),
                Entry::Pair("s".to_owned(), Value::Map(vec![key])),
            ];
            let text = write(&document).unwrap();
            assert_eq!(read(text.expose_text().unwrap()).unwrap(), document, "{value:?}");
        }
        assert!(read("[s\n").is_err() && read("nonsense\n").is_err() && read("k = \"\"\"a\n").is_err());
    }
}
