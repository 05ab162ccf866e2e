//! Lets expressions compare durations and sizes with texts: `retention >= '1h'`.
//!
//! A template engine compares texts letter by letter. Before it reads an expression, each literal text that stands
//! next to a comparison with a name is wrapped: `retention >= like(retention, '1h')`. At run time `like` reads the
//! text as the kind of quantity that the name holds, and leaves it alone beside anything else.

use std::ops::Range;

/// The name of the function that literals are wrapped in.
pub(super) const LIKE: &str = "__like";

/// A rewritten template or expression, and where things were put in.
pub(super) struct Rewritten {
    pub text: String,
    /// Byte offset in `text` and length of each insertion, in order.
    inserted: Vec<(usize, usize)>,
    /// The first word of each `{% %}` and its place in the text as it was.
    pub statements: Vec<(String, Range<usize>)>,
}

impl Rewritten {
    fn new(text: &str) -> Self {
        Self { text: String::with_capacity(text.len()), inserted: Vec::new(), statements: Vec::new() }
    }

    /// The place in the text as it was for a place in the rewritten one.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let back = |at: usize| {
            self.inserted
                .iter()
                .take_while(|(from, _)| *from < at)
                .fold(at, |now, (from, length)| now.saturating_sub((*length).min(at - from)))
        };
        let start = back(range.start);
        start..back(range.end).max(start)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Compare,
    Other,
}

/// Rewrites one expression without braces.
pub(super) fn expression(text: &str) -> Rewritten {
    let mut out = Rewritten::new(text);
    rewrite(text, &mut out);
    out
}

/// Rewrites the expressions within `{{ }}` and `{% %}` of a template.
pub(super) fn template(text: &str) -> Rewritten {
    let mut out = Rewritten::new(text);
    let mut rest = text;
    while let Some(open) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let (before, block) = rest.split_at(open);
        out.text.push_str(before);
        rest = block;
        let end = match &block[..2] {
            "{#" => block.find("#}").map(|at| at + 2),
            "{{" => block_end(block, "}}"),
            _ => block_end(block, "%}"),
        };
        // What is not closed is an error that the engine tells.
        let Some(end) = end else { break };
        let (inside, after) = block.split_at(end);
        match inside.starts_with("{#") {
            true => out.text.push_str(inside),
            false => rewrite(inside, &mut out),
        }
        rest = after;
        if inside.starts_with("{%") {
            let word = first_word(inside);
            let at = text.len() - block.len() + inside.find(word).unwrap_or(0);
            out.statements.push((word.to_owned(), at..at + word.len()));
            if word == "raw" {
                let (skipped, after) = after.split_at(raw_end(after));
                out.text.push_str(skipped);
                rest = after;
            }
        }
    }
    out.text.push_str(rest);
    out
}

/// The word that a block begins with.
fn first_word(block: &str) -> &str {
    let words = block.trim_start_matches(|c: char| "{%-+".contains(c) || c.is_whitespace());
    words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("")
}

/// Where the block that ends raw text begins.
fn raw_end(text: &str) -> usize {
    let blocks = text.match_indices("{%").map(|(at, _)| at);
    blocks.into_iter().find(|at| first_word(&text[*at..]) == "endraw").unwrap_or(text.len())
}

/// The end of a block, past its closing braces, which do not count within a literal text.
fn block_end(block: &str, close: &str) -> Option<usize> {
    let mut at = 2;
    while at < block.len() {
        let rest = block.get(at..)?;
        if rest.starts_with(close) {
            return Some(at + 2);
        }
        at += match rest.chars().next()? {
            quote @ ('"' | '\'') => literal(rest, quote),
            other => other.len_utf8(),
        };
    }
    None
}

/// The length of the literal text at the beginning of `text`, or of all that is left.
fn literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn tokens(text: &str) -> Vec<(Kind, &str)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = match first {
            quote @ ('"' | '\'') => (Kind::Text, literal(rest, quote)),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
                (Kind::Name, end.unwrap_or(rest.len()))
            }
            c if c.is_ascii_digit() => {
                (Kind::Other, rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len()))
            }
            '<' | '>' | '=' | '!' => {
                let length = rest.find(|c: char| !"<>=!".contains(c)).unwrap_or(rest.len());
                let compares = ["==", "!=", "<", "<=", ">", ">="].contains(&&rest[..length]);
                (if compares { Kind::Compare } else { Kind::Other }, length)
            }
            c => (Kind::Other, c.len_utf8()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push((kind, token));
        rest = after;
    }
    tokens
}

fn rewrite(text: &str, out: &mut Rewritten) {
    let tokens = tokens(text);
    let solid: Vec<usize> = (0..tokens.len()).filter(|at| !tokens[*at].1.trim().is_empty()).collect();
    let at = |place: Option<usize>| place.and_then(|place| solid.get(place)).map(|index| tokens[*index]);
    let mut place = 0;
    for (index, (kind, token)) in tokens.iter().enumerate() {
        let is_solid = solid.get(place) == Some(&index);
        let back = |steps: usize| at(place.checked_sub(steps));
        let ahead = |steps: usize| at(place.checked_add(steps));
        let name = (*kind == Kind::Text).then(|| name_beside(back, ahead)).flatten();
        match name {
            Some(name) => {
                insert(out, &format!("{LIKE}({name}, "));
                out.text.push_str(token);
                insert(out, ")");
            }
            None => out.text.push_str(token),
        }
        place += usize::from(is_solid);
    }
}

/// The name that a literal is compared with, if it is nothing but a name.
fn name_beside<'t>(
    back: impl Fn(usize) -> Option<(Kind, &'t str)>,
    ahead: impl Fn(usize) -> Option<(Kind, &'t str)>,
) -> Option<&'t str> {
    if let (Some((Kind::Compare, _)), Some((Kind::Name, name))) = (back(1), back(2)) {
        let part_of_more = back(3).is_some_and(|(_, token)| ["|", ".", "is"].contains(&token));
        return (!part_of_more).then_some(name);
    }
    if let (Some((Kind::Compare, _)), Some((Kind::Name, name))) = (ahead(1), ahead(2)) {
        let part_of_more = ahead(3).is_some_and(|(_, token)| ["|", "(", "["].contains(&token));
        return (!part_of_more).then_some(name);
    }
    None
}

fn insert(out: &mut Rewritten, text: &str) {
    out.inserted.push((out.text.len(), text.len()));
    out.text.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_beside_a_compared_name_are_wrapped() {
        for (text, wanted) in [
            ("retention >= '1h'", "retention >= __like(retention, '1h')"),
            ("'1h' < a.b and c", "__like(a.b, '1h') < a.b and c"),
            ("x|length > '5'", "x|length > '5'"),
            ("'a' == f(x)", "'a' == f(x)"),
            ("a == b", "a == b"),
            ("'>= a' ~ x", "'>= a' ~ x"),
            ("x == 'it\\'s'", "x == __like(x, 'it\\'s')"),
        ] {
            assert_eq!(expression(text).text, wanted);
        }
    }

    #[test]
    fn only_blocks_of_a_template_are_rewritten() {
        let text = "a == '1' {% if x == '1' %}{{ '}}' }}{# x == '1' #}{% raw %}{{ x == '1' }}{% endraw %}{{ y > '2' }";
        let wanted = text.replacen("if x == '1'", "if x == __like(x, '1')", 1);
        assert_eq!(template(text).text, wanted);
    }

    #[test]
    fn places_lead_back() {
        let out = expression("ab >= '1h' and cd");
        let at = out.text.find("cd").unwrap();
        assert_eq!(out.original(at..at + 2), 15..17);
        assert_eq!(out.original(0..2), 0..2);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z.'\"<>=!{}%#| \\\\é\\-]*") {
            let _ = expression(&text);
            let out = template(&text);
            let _ = out.original(0..out.text.len());
        }
    }
}
