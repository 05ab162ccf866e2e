//! JSON as Go's encoding/json reads and writes it, with tabs. Order and duplicate keys are kept; comments do not
//! exist and are dropped.

use super::Secret;
use super::error::{Error, Result};
use super::format::Format;
use super::scalar::json_float;
use super::secret::Builder;
use super::tree::{self, Document, Entry, Item, Kind, Leaf, Value};

/// Deeper nesting was not written by hand.
const DEPTH: usize = 128;

/// Reads a file whose root is an object.
pub(super) fn read(text: &str) -> Result<Document> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    match value {
        Value::Map(entries) if reader.at == text.len() => Ok(entries),
        Value::Map(_) => Err(reader.wrong("something follows the object")),
        _ => Err(reader.wrong("its root is not an object")),
    }
}

/// Reads one value of JSON, of any type, for a file of any format: a key that is there twice is refused.
pub fn read_value(text: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at != text.len() {
        return Err(reader.wrong("something follows the value"));
    }
    match tree::twice(&value) {
        Some(key) => Err(reader.wrong(&format!("the key {key:?} is there twice"))),
        None => Ok(value),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, reason: &str) -> Error {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::Syntax { format: Format::Json, reason: reason.to_owned(), line }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH {
            return Err(self.wrong(&format!("it is nested deeper than {DEPTH} levels")));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let words = [
                    ("true", Value::Leaf(Leaf::bool(true))),
                    ("false", Value::Leaf(Leaf::bool(false))),
                    ("null", Value::Null),
                ];
                let rest = self.text.get(self.at..).unwrap_or("");
                let found = words.into_iter().find(|(word, _)| rest.starts_with(word));
                let (word, value) = found.ok_or_else(|| self.wrong("a value is expected"))?;
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut entries = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in quotes is expected"));
            }
            let key = self.string()?;
            let key = key.expose_text().unwrap_or_default().to_owned();
            if !self.take(b':') {
                return Err(self.wrong("a colon is expected"));
            }
            entries.push(Entry::Pair(key, self.value(depth + 1)?));
            if self.take(b'}') {
                return Ok(Value::Map(entries));
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or the end of an object is expected"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(Item::Value(self.value(depth + 1)?));
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or the end of an array is expected"));
            }
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        let mut right = whole == 1 || (whole > 1 && !leading_zero);
        if self.peek() == Some(b'.') {
            self.at += 1;
            right &= self.digits() > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            right &= self.digits() > 0;
        }
        let text = self.text.get(start..self.at).unwrap_or("");
        if !right {
            return Err(self.wrong("a number is not one of JSON"));
        }
        // sops read all numbers as floats before 3.13.2, and lost the last digits of large ones.
        if let Ok(number) = text.parse() {
            return Ok(Value::Leaf(Leaf::int(number)));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Leaf(Leaf::float(number))),
            _ => Err(self.wrong("a number is too large")),
        }
    }

    fn string(&mut self) -> Result<Secret> {
        self.at += 1;
        let mut out = Builder::default();
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
            out.push(rest.get(..plain).unwrap_or_default());
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => return Ok(out.finish()),
                Some(b'\\') => self.escape(&mut out)?,
                Some(_) => return Err(self.wrong("a text holds a control character")),
                None => return Err(self.wrong("a text does not end")),
            }
        }
    }

    fn escape(&mut self, out: &mut Builder) -> Result<()> {
        let byte = self.peek();
        self.at += 1;
        match byte {
            Some(b @ (b'"' | b'\\' | b'/')) => out.push(&[b]),
            Some(b'b') => out.push(b"\x08"),
            Some(b'f') => out.push(b"\x0c"),
            Some(b'n') => out.push(b"\n"),
            Some(b'r') => out.push(b"\r"),
            Some(b't') => out.push(b"\t"),
            Some(b'u') => {
                let mut code = self.unit()?;
                if (0xd800..0xdc00).contains(&code) && self.text.get(self.at..self.at + 2) == Some("\\u") {
                    let kept = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = kept;
                    }
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.text(c.encode_utf8(&mut [0; 4]));
            }
            _ => return Err(self.wrong("an escape is not one of JSON")),
        }
        Ok(())
    }

    fn unit(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.wrong("an escape is not one of JSON"))
    }
}

/// What stands before a line, once for each level: spaces, or a tab.
struct Indent(Option<usize>);

impl Indent {
    fn write(&self, depth: usize, out: &mut Builder) {
        match self.0 {
            Some(spaces) => out.spaces(spaces * depth),
            None => (0..depth).for_each(|_| out.text("\t")),
        }
    }
}

/// Writes a file, with so many spaces for a level, or a tab.
pub(super) fn write(document: &[Entry], spaces: Option<usize>) -> Result<Secret> {
    let mut out = Builder::default();
    map(document, (0, &Indent(spaces)), &mut out)?;
    out.text("\n");
    Ok(out.finish())
}

/// Writes one value.
pub(super) fn write_value(data: &Value, spaces: Option<usize>) -> Result<Secret> {
    let mut out = Builder::default();
    value(data, (0, &Indent(spaces)), &mut out).map_err(|error| named(error, "the value"))?;
    Ok(out.finish())
}

/// How deep something is, and what that means.
type Level<'a> = (usize, &'a Indent);

fn value(value: &Value, at: Level<'_>, out: &mut Builder) -> Result<()> {
    match value {
        Value::Null => out.text("null"),
        Value::Map(entries) => return map(entries, at, out),
        Value::List(items) => {
            let values = items.iter().filter_map(Item::value);
            return sequence("[", "]", values, at, out, |value_, out| self::value(value_, (at.0 + 1, at.1), out));
        }
        Value::Leaf(leaf) => match leaf.kind {
            Kind::Str | Kind::Time => return string(&leaf.text, out),
            Kind::Int => out.push(leaf.text.expose()),
            Kind::Bool => out.text(if leaf.text.expose() == b"True" { "true" } else { "false" }),
            Kind::Float => {
                let number = leaf.text.expose_text().and_then(|text| text.parse().ok()).and_then(json_float);
                let reason = "JSON has no infinite numbers";
                let unwritable = || Error::Unwritable { format: Format::Json, path: String::new(), reason };
                out.text(&number.ok_or_else(unwritable)?);
            }
        },
    }
    Ok(())
}

fn map(entries: &[Entry], at: Level<'_>, out: &mut Builder) -> Result<()> {
    sequence("{", "}", entries.iter().filter_map(Entry::pair), at, out, |(key, item), out| {
        string(&Secret::from(key), out)?;
        out.text(": ");
        value(item, (at.0 + 1, at.1), out).map_err(|error| named(error, key))
    })
}

/// Names the place of an error that names none yet.
fn named(error: Error, place: &str) -> Error {
    match error {
        Error::Unwritable { format, path, reason } if path.is_empty() => {
            Error::Unwritable { format, path: place.to_owned(), reason }
        }
        other => other,
    }
}

fn sequence<T>(
    open: &str,
    close: &str,
    items: impl Iterator<Item = T>,
    (depth, indent): Level<'_>,
    out: &mut Builder,
    mut write: impl FnMut(T, &mut Builder) -> Result<()>,
) -> Result<()> {
    out.text(open);
    let mut any = false;
    for item in items {
        out.text(if any { ",\n" } else { "\n" });
        any = true;
        indent.write(depth + 1, out);
        write(item, out)?;
    }
    if any {
        out.text("\n");
        indent.write(depth, out);
    }
    out.text(close);
    Ok(())
}

fn string(text: &Secret, out: &mut Builder) -> Result<()> {
    let reason = "it is not UTF-8, which JSON has no sign for";
    let text = text.expose_text().ok_or(Error::Unwritable { format: Format::Json, path: String::new(), reason })?;
    out.text("\"");
    for c in text.chars() {
        match c {
            '"' => out.text("\\\""),
            '\\' => out.text("\\\\"),
            '\n' => out.text("\\n"),
            '\r' => out.text("\\r"),
            '\t' => out.text("\\t"),
            '\u{8}' => out.text("\\b"),
            '\u{c}' => out.text("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.text(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.text(c.encode_utf8(&mut [0; 4])),
        }
    }
    out.text("\"");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_go_writes_it() {
        let check = |text: &str, expected: &str| {
            let written = write(&read(text).unwrap(), None).unwrap();
            assert_eq!(written.expose_text().unwrap(), expected, "{text}");
        };
        check("{}", "{}\n");
        check(
            r#" {"a" : [1, {"b":[]}, null]} "#,
            "{\n\t\"a\": [\n\t\t1,\n\t\t{\n\t\t\t\"b\": []\n\t\t},\n\t\tnull\n\t]\n}\n",
        );
        check(r#"{"a":"<&>\u00e9\/\ud83d\ude00\ud800"}"#, "{\n\t\"a\": \"\\u003c\\u0026\\u003eé/😀\u{fffd}\"\n}\n");
        check(
            r#"{"a":1.0,"b":1e21,"c":-0,"d":12345678901234567890}"#,
            "{\n\t\"a\": 1,\n\t\"b\": 1e+21,\n\t\"c\": 0,\n\t\"d\": 12345678901234567000\n}\n",
        );
        check(r#"{"a":1,"a":2}"#, "{\n\t\"a\": 1,\n\t\"a\": 2\n}\n");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_line() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":\"\n\"}",
            "{} x",
            "{\"a\":1,}",
            "{\"a\":tru}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":1e999}",
            "{'a':1}",
        ] {
            assert!(matches!(read(text), Err(Error::Syntax { .. })), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&deep).is_err());
        assert!(read("{\n\n\"a\": x}").unwrap_err().to_string().contains("line 3"));
    }
}
