//! dotenv as sops has it: `NAME=value` lines without quoting, `\n` for a line break, comments with `#` in the first
//! column.

use super::Secret;
use super::error::{Error, Result};
use super::format::Format;
use super::scalar::{flat_float, without_fraction};
use super::secret::Builder;
use super::tree::{Comment, Document, Entry, Kind, Leaf, Value};

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Document> {
    let mut document = Document::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let wrong =
            |reason: &str| Error::Syntax { format: Format::Dotenv, reason: reason.to_owned(), line: number + 1 };
        if line.is_empty() {
            continue;
        }
        if let Some(text) = line.strip_prefix(b"#") {
            document.push(Entry::Comment(Comment { text: text.into(), inline: false }));
            continue;
        }
        let equals = line.iter().position(|&byte| byte == b'=').ok_or_else(|| wrong("a line has no `=`"))?;
        let (key, value) = line.split_at(equals);
        let key = std::str::from_utf8(key).map_err(|_| wrong("a name is not UTF-8"))?;
        document.push(Entry::Pair(key.to_owned(), Value::str(unescape(value.get(1..).unwrap_or_default()))));
    }
    Ok(document)
}

fn unescape(mut value: &[u8]) -> Secret {
    let mut out = Builder::default();
    while let Some(at) = value.windows(2).position(|pair| pair == b"\\n") {
        out.push(value.get(..at).unwrap_or_default());
        out.push(b"\n");
        value = value.get(at + 2..).unwrap_or_default();
    }
    out.push(value);
    out.finish()
}

/// Writes a file.
pub(super) fn write(document: &[Entry]) -> Result<Secret> {
    let mut out = Builder::default();
    for entry in document {
        match entry {
            Entry::Comment(comment) => {
                out.text("#");
                escape(comment.text.expose(), &mut out);
            }
            Entry::Pair(key, value) => {
                let unwritable = |reason| Error::Unwritable { format: Format::Dotenv, path: key.clone(), reason };
                if key.contains(['=', '\n']) || key.starts_with('#') {
                    return Err(unwritable("the name would be read as something else"));
                }
                out.text(key);
                out.text("=");
                let text = flat(value).ok_or_else(|| unwritable("it is not a single value"))?;
                escape(text.expose(), &mut out);
            }
        }
        out.text("\n");
    }
    Ok(out.finish())
}

fn escape(text: &[u8], out: &mut Builder) {
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if at > 0 {
            out.text("\\n");
        }
        out.push(line);
    }
}

/// A value as text, for formats that have nothing else; nothing for a list or map.
pub(super) fn flat(value: &Value) -> Option<Secret> {
    let Value::Leaf(Leaf { kind, text }) = value else {
        return matches!(value, Value::Null).then(|| "null".into());
    };
    let plain = || text.expose_text().unwrap_or_default();
    Some(match kind {
        Kind::Str | Kind::Int => text.clone(),
        Kind::Bool => plain().to_ascii_lowercase().into(),
        Kind::Time => without_fraction(plain()).into(),
        Kind::Float => plain().parse().map_or_else(|_| text.clone(), |number| flat_float(number).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = b"# one\nA=hello\nB=\"quoted\"\nC=\nD=multi\\nline\n E=x=y\n#  two\nF=\xff\n";
        let document = read(text).unwrap();
        assert_eq!(document[4], Entry::Pair("D".to_owned(), Value::str("multi\nline")));
        assert_eq!(write(&document).unwrap().expose(), text);
        assert!(read(b"A=1\nnonsense\n").unwrap_err().to_string().contains("line 2"));
        let nested = [Entry::Pair("a".to_owned(), Value::Map(Vec::new()))];
        assert!(write(&nested).is_err());
    }
}
