//! Scalars: which type a plain text has, and which texts need quotes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::scalar::yaml_time;
use super::super::tree::{Kind, Leaf, Value};

/// A plain scalar's value; an error for a number that fits no type.
pub(super) fn resolve(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Leaf(Leaf::bool(true))),
        "false" | "False" | "FALSE" => return Ok(Value::Leaf(Leaf::bool(false))),
        ".nan" | ".NaN" | ".NAN" => return Ok(Value::Leaf(Leaf::float(f64::NAN))),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Ok(Value::Leaf(Leaf::float(f64::INFINITY))),
        "-.inf" | "-.Inf" | "-.INF" => return Ok(Value::Leaf(Leaf::float(f64::NEG_INFINITY))),
        _ => {}
    }
    let leaf = match text.as_bytes().first() {
        Some(b'.') => float(text),
        Some(b'+' | b'-' | b'0'..=b'9') => number(text)?,
        _ => None,
    };
    Ok(Value::Leaf(leaf.unwrap_or_else(|| Leaf::str(text))))
}

fn number(text: &str) -> Result<Option<Leaf>, &'static str> {
    if let Some(time) = yaml_time(text) {
        return Ok(Some(Leaf { kind: Kind::Time, text: time.into() }));
    }
    let plain = text.replace('_', "");
    match integer(&plain) {
        Some(Ok(number)) => Ok(Some(Leaf::int(number))),
        Some(Err(())) => Err("a whole number is larger than 64 bits with a sign can hold"),
        None => Ok(float(&plain)),
    }
}

/// Decimal, or with 0x, 0o, 0b or a leading 0; an error for what fits 64 bits only without a sign.
fn integer(text: &str) -> Option<Result<i64, ()>> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(size).map(Ok);
    }
    Some(i64::try_from(size).map_err(drop))
}

/// What YAML calls a float: `-.5`, `1.`, `1e3`; none that is too large.
fn float(text: &str) -> Option<Leaf> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(rest);
    let mut rest = rest.get(whole..)?;
    if let Some(after) = rest.strip_prefix('.') {
        let decimals = digits(after);
        if whole + decimals == 0 {
            return None;
        }
        rest = after.get(decimals..)?;
    } else if whole == 0 {
        return None;
    }
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let after = after.strip_prefix(['-', '+']).unwrap_or(after);
        let exponent = digits(after);
        if exponent == 0 {
            return None;
        }
        rest = after.get(exponent..)?;
    }
    let number: f64 = text.parse().ok().filter(|_| rest.is_empty())?;
    number.is_finite().then(|| Leaf::float(number))
}

/// A scalar with one of YAML's own tags; other tags are dropped.
pub(super) fn resolve_tagged(text: &str, tag: &str) -> Result<Value, &'static str> {
    if tag == "str" {
        return Ok(Value::str(text));
    }
    if tag == "binary" {
        let joined: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(joined).map_err(|_| "!!binary is not base64")?;
        return Ok(Value::Leaf(Leaf { kind: Kind::Str, text: super::super::Secret::new(bytes) }));
    }
    let value = resolve(text)?;
    let kind = match &value {
        Value::Leaf(leaf) => Some(leaf.kind),
        _ => None,
    };
    match (tag, kind) {
        ("null", None) | ("bool", Some(Kind::Bool)) | ("int", Some(Kind::Int)) => Ok(value),
        ("float", Some(Kind::Float)) | ("timestamp", Some(Kind::Time)) => Ok(value),
        ("float", Some(Kind::Int)) => {
            let number = text.replace('_', "").parse().map_err(|_| "a value is not of the type that its tag says")?;
            Ok(Value::Leaf(Leaf::float(number)))
        }
        ("null" | "bool" | "int" | "float" | "timestamp", _) => Err("a value is not of the type that its tag says"),
        _ => Ok(Value::str(text)),
    }
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The style of a text: plain if it reads back as the same text, literal if it has lines.
pub(super) fn style(text: &str, is_key: bool) -> Style {
    let found = Analysis::of(text);
    if text.contains('\n') && !is_key {
        return if found.block { Style::Literal } else { Style::Double };
    }
    if found.breaks || is_ambiguous(text) {
        return Style::Double;
    }
    match (found.plain, found.single) {
        (true, _) => Style::Plain,
        (false, true) => Style::Single,
        (false, false) => Style::Double,
    }
}

/// Whether it would be read as another type, by this or by older readers.
fn is_ambiguous(text: &str) -> bool {
    let is_text = matches!(resolve(text), Ok(Value::Leaf(leaf)) if leaf.kind == Kind::Str);
    !is_text || is_old_bool(text) || is_sexagesimal(text) || text == "<<"
}

fn is_old_bool(text: &str) -> bool {
    let words = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];
    words.contains(&text)
}

/// Numbers to the base 60, such as `1:30`, in YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = rest.split(':');
    let first = parts.next().unwrap_or_default();
    let is_first =
        first.starts_with(|c: char| c.is_ascii_digit()) && first.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let mut parts = parts.peekable();
    if !is_first || parts.peek().is_none() {
        return false;
    }
    while let Some(part) = parts.next() {
        let (whole, fraction) = match part.split_once('.') {
            Some((whole, fraction)) if parts.peek().is_none() => (whole, fraction),
            Some(_) => return false,
            None => (part, ""),
        };
        let fits = matches!(whole.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
        if !fits || !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
            return false;
        }
    }
    true
}

/// Which styles can hold a text (libyaml's yaml_emitter_analyze_scalar), outside of flow collections.
struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
    breaks: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let (mut special, mut tabs, mut breaks, mut indicators) = (false, false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let mut previous = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let before_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match (previous, c) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
                ) => true,
                (None, '?' | ':' | '-') | (_, ':') => before_blank,
                (Some(before), '#') => before == ' ' || before == '\t' || is_break(before),
                _ => false,
            };
            tabs |= c == '\t';
            special |= c != '\t' && !is_printable(c);
            breaks |= is_break(c);
            break_space |= c == ' ' && previous.is_some_and(is_break);
            space_break |= is_break(c) && previous == Some(' ');
            previous = Some(c);
        }
        indicators |= text.starts_with("---") || text.starts_with("...");
        let edge = |c: char| c == ' ' || is_break(c);
        let edges = text.starts_with(edge) || text.ends_with(edge);
        let single = !(break_space || space_break || tabs || special);
        Self {
            plain: single && !edges && !breaks && !indicators,
            single,
            block: !(space_break || special || text.ends_with(' ')),
            breaks,
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// The content of a double-quoted scalar, escaped.
pub(super) fn escape(c: char, out: &mut super::super::secret::Builder) {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\u{a0}",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    if c == '\t' {
        out.text("\\t");
    } else if !short.is_empty() {
        out.text(short);
    } else if is_printable(c) {
        out.text(c.encode_utf8(&mut [0; 4]));
    } else {
        let code = u32::from(c);
        out.text(&match code {
            0..=0xff => format!("\\x{code:02X}"),
            0x100..=0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_that_go_yaml_gives_them() {
        let check = |text: &str, kind: Kind, value: &str| match resolve(text).unwrap() {
            Value::Leaf(leaf) => assert_eq!((leaf.kind, leaf.text.expose_text().unwrap()), (kind, value), "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        for (text, value) in [("0x1F", "31"), ("0o17", "15"), ("017", "15"), ("0b11", "3"), ("1_000", "1000")] {
            check(text, Kind::Int, value);
        }
        check("-0x8000000000000000", Kind::Int, "-9223372036854775808");
        check("+12", Kind::Int, "12");
        for (text, value) in [
            ("09", "9"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("1.", "1"),
            ("-.5", "-0.5"),
            ("1e21", "1000000000000000000000"),
        ] {
            check(text, Kind::Float, value);
        }
        check("18446744073709551616", Kind::Float, "18446744073709552000");
        for text in
            ["yes", "on", "y", "1e400", "0x", "0b2", "1-2", "12:30", "1.2.3", ".", "-", "+e5", ".e5", "0o8", "١"]
        {
            check(text, Kind::Str, text);
        }
        check("True", Kind::Bool, "True");
        assert!(resolve("18446744073709551615").is_err());
        assert_eq!(resolve("Null"), Ok(Value::Null));
    }

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        let check = |text: &str, expected: Style| assert_eq!(style(text, false), expected, "{text:?}");
        for text in ["plain", "a b", "it's", "a:b", "x#y", "é ☃", "a-b", "-x", "1:99", "http://x?a=b", "a, b"] {
            check(text, Style::Plain);
        }
        for text in ["y", "no", "12", "null", "", "1:30", "2001-01-01", "~", "\u{1f600}", "a\tb", "\r", "a\u{2028}b"] {
            check(text, Style::Double);
        }
        for text in ["a: b", " x", "x ", "#x", "- x", "? x", "x #y", "---", "@x", "'x'", "{x"] {
            check(text, Style::Single);
        }
        check("a\nb\n", Style::Literal);
        check("a\n  b", Style::Literal);
        check("a \nb", Style::Double);
        check("a\nb\u{1f600}", Style::Double);
    }
}
