//! The forms in which a value may stand in a file.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Base64 of either alphabet, alone or within a longer text; if it takes 24 characters or more, also in lines.
    Base64,
    /// Hexadecimal digits.
    Hex,
    /// Percent-encoded, as in addresses and forms.
    Url,
    /// With the escapes of JSON.
    Json,
    /// UTF-16 of either byte order.
    Utf16,
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain text",
            Self::Base64 => "base64",
            Self::Hex => "hexadecimal",
            Self::Url => "percent-encoding",
            Self::Json => "JSON escapes",
            Self::Utf16 => "UTF-16",
        })
    }
}

/// A form of a value; overwritten when dropped.
pub(super) type Text = Zeroizing<Vec<u8>>;

/// Base64 texts from this length on are looked for by two parts, of at most [`PART`] characters, side by side: in
/// lines of 64 characters or more only one of them can be broken.
const DIVIDED: usize = 24;
const PART: usize = 32;

/// All forms of a value that differ.
pub(super) fn forms(value: &[u8]) -> Vec<(Encoding, Text)> {
    let mut forms: Vec<(Encoding, Text)> = vec![(Encoding::Plain, Zeroizing::new(value.to_vec()))];
    let mut add = |encoding, text: Text| {
        if forms.iter().all(|(_, known)| *known != text) {
            forms.push((encoding, text));
        }
    };
    base64(value).into_iter().for_each(|text| add(Encoding::Base64, text));
    for upper in [false, true] {
        add(Encoding::Hex, hex(value, upper));
        URL.iter().for_each(|kept| add(Encoding::Url, url(value, kept, upper)));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        JSON.iter().for_each(|style| add(Encoding::Json, json(text, style)));
        for bytes in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            let mut wide = room(value.len() * 2);
            text.encode_utf16().for_each(|unit| wide.extend(bytes(unit)));
            add(Encoding::Utf16, wide);
        }
    }
    forms
}

/// A text that will not have to grow: a vector that moves leaves its old bytes behind.
fn room(bytes: usize) -> Text {
    Zeroizing::new(Vec::with_capacity(bytes))
}

/// The characters that the value alone decides over, wherever it begins in what is encoded.
fn base64(value: &[u8]) -> Vec<Text> {
    let mut texts = Vec::new();
    for (shift, start) in [(0, 0), (1, 2), (2, 3)] {
        let mut shifted = room(shift + value.len());
        shifted.resize(shift, 0);
        shifted.extend_from_slice(value);
        let encoded = Zeroizing::new(BASE64_STANDARD_NO_PAD.encode(&*shifted).into_bytes());
        let end = (shift + value.len()) * 8 / 6;
        let standard = encoded.get(start..end).unwrap_or_default();
        let mut other = Zeroizing::new(standard.to_vec());
        other.iter_mut().for_each(|byte| match byte {
            b'+' => *byte = b'-',
            b'/' => *byte = b'_',
            _ => {}
        });
        for text in [standard, &other] {
            let part = if text.len() < DIVIDED { text.len() } else { PART.min(text.len() / 2) };
            texts.extend(text.chunks_exact(part.max(1)).take(2).map(|part| Zeroizing::new(part.to_vec())));
        }
    }
    texts
}

fn hex(value: &[u8], upper: bool) -> Text {
    let mut text = room(value.len() * 2);
    value.iter().for_each(|byte| text.extend(digits(*byte, upper)));
    text
}

fn digits(byte: u8, upper: bool) -> [u8; 2] {
    let digit = |nibble: u8| match (nibble, upper) {
        (0..=9, _) => b'0' + nibble,
        (_, false) => b'a' + nibble - 10,
        (_, true) => b'A' + nibble - 10,
    };
    [digit(byte >> 4), digit(byte & 15)]
}

/// What is left as it is besides letters and digits, and whether a space becomes `+`: RFC 3986, the same for paths,
/// `encodeURIComponent`, and forms (WHATWG URL, 5.2).
const URL: [(&[u8], bool); 4] = [(b"-._~", false), (b"-._~/", false), (b"-._~!*'()", false), (b"-._*", true)];

fn url(value: &[u8], (kept, form): &(&[u8], bool), upper: bool) -> Text {
    let mut text = room(value.len() * 3);
    for &byte in value {
        match byte {
            b' ' if *form => text.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => text.push(byte),
            _ => {
                text.push(b'%');
                text.extend(digits(byte, upper));
            }
        }
    }
    text
}

/// A way of writing JSON.
struct Json {
    /// Characters escaped by their number besides those that must be.
    escaped: fn(char) -> bool,
    /// Whether `/` becomes `\/`.
    slash: bool,
    /// Whether digits above 9 are capitals.
    upper: bool,
}

/// As little as possible; PHP's; ASCII only (Python, Java); safe within HTML (Go).
const JSON: [Json; 6] = [
    Json { escaped: |_| false, slash: false, upper: false },
    Json { escaped: |c| !c.is_ascii(), slash: true, upper: false },
    Json { escaped: |c| !c.is_ascii(), slash: false, upper: false },
    Json { escaped: |c| !c.is_ascii(), slash: false, upper: true },
    Json { escaped: |c| "<>&\u{2028}\u{2029}".contains(c), slash: false, upper: false },
    Json { escaped: |_| false, slash: true, upper: false },
];

fn json(value: &str, style: &Json) -> Text {
    // A character of one byte takes six at most, one of two or three also six, one of four twelve.
    let mut text = room(value.len() * 6);
    for c in value.chars() {
        let short = match c {
            '"' => Some(b'"'),
            '\\' => Some(b'\\'),
            '\n' => Some(b'n'),
            '\r' => Some(b'r'),
            '\t' => Some(b't'),
            '\u{8}' => Some(b'b'),
            '\u{c}' => Some(b'f'),
            '/' if style.slash => Some(b'/'),
            _ => None,
        };
        let mut units = [0; 2];
        if let Some(short) = short {
            text.extend([b'\\', short]);
        } else if c < ' ' || (style.escaped)(c) {
            for unit in c.encode_utf16(&mut units) {
                text.extend(b"\\u");
                unit.to_be_bytes().into_iter().for_each(|byte| text.extend(digits(byte, style.upper)));
            }
        } else {
            let mut bytes = [0; 4];
            text.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            bytes.zeroize();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_as_others_write_it() {
        let check = |value: &str, encoding: Encoding, expected: &[&str]| {
            let forms = forms(value.as_bytes());
            for text in expected {
                let found = forms.iter().any(|(kind, form)| *kind == encoding && form.as_slice() == text.as_bytes());
                assert!(found, "{value} as {encoding}: {text}");
            }
        };
        check("pässwörd", Encoding::Hex, &["70c3a4737377c3b67264", "70C3A4737377C3B67264"]);
        check("pässwörd", Encoding::Json, &["p\\u00e4ssw\\u00f6rd", "p\\u00E4ssw\\u00F6rd"]);
        check("a b/c+d~e*", Encoding::Url, &["a%20b%2Fc%2Bd~e%2A", "a%20b/c%2bd~e%2a", "a+b%2Fc%2Bd%7Ee*"]);
        check(
            "say \"hi\"\n/<&",
            Encoding::Json,
            &["say \\\"hi\\\"\\n/<&", "say \\\"hi\\\"\\n\\/<&", "say \\\"hi\\\"\\n/\\u003c\\u0026"],
        );
        check("\u{1}😀......", Encoding::Json, &["\\u0001😀......", "\\u0001\\ud83d\\ude00......"]);
        // Of "password" at each of three places in what is encoded, without what its neighbours decide over.
        check("password", Encoding::Base64, &["cGFzc3dvcm", "Bhc3N3b3Jk", "wYXNzd29yZ"]);
        check("12345678", Encoding::Utf16, &["1\x002\x003\x004\x005\x006\x007\x008\0"]);
    }

    #[test]
    fn forms_that_are_the_same_are_looked_for_once() {
        let forms = forms(b"abcdefgh");
        let plain = forms.iter().filter(|(_, form)| form.as_slice() == b"abcdefgh").count();
        assert_eq!(plain, 1);
        let (upper, lower) = (b"6162636465666768", Encoding::Hex);
        assert_eq!(forms.iter().filter(|(kind, form)| *kind == lower && form.as_slice() == upper).count(), 1);
    }
}
