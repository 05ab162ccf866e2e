//! Which values of a file are encrypted.

use regex::bytes::{Regex, RegexBuilder};

use super::Secret;
use super::error::{Error, Result};

/// The suffix of keys whose values stay plain in a file that has no rule.
pub const DEFAULT_SUFFIX: &str = "_unencrypted";

/// Names of the six rules in metadata and configuration.
pub const NAMES: [&str; 6] = [
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];

/// A rule as it is written: its name, such as `encrypted_regex`, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `unencrypted_suffix`, `encrypted_suffix`, or the same with `regex` or `comment_regex`.
    pub name: &'static str,
    /// A suffix or a regular expression.
    pub text: String,
}

impl Written {
    /// What holds for a file that says nothing.
    pub fn default_rule() -> Self {
        Self { name: NAMES[0], text: DEFAULT_SUFFIX.to_owned() }
    }
}

/// A rule, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    matcher: Matcher,
    /// Whether what matches is encrypted; else all but that is.
    encrypts: bool,
    of_comments: bool,
}

#[derive(Debug, Clone)]
enum Matcher {
    Suffix(String),
    Regex(Regex),
}

impl Rule {
    /// Compiles a rule. sops ignores an invalid expression, and encrypts nothing; it is an error here.
    pub fn new(written: &Written) -> Result<Self> {
        let matcher = if written.name.ends_with("suffix") {
            Matcher::Suffix(written.text.clone())
        } else {
            let fault = |reason: String| Error::Rule(format!("{}: {reason}", written.name));
            let regex = RegexBuilder::new(&translate(&written.text)).size_limit(1 << 20).build();
            Matcher::Regex(regex.map_err(|error| fault(error.to_string()))?)
        };
        Ok(Self { matcher, encrypts: !written.name.starts_with("un"), of_comments: written.name.contains("comment") })
    }

    /// Whether a value, or a comment of its own, is encrypted: `path` are the keys above it, `comments` the active
    /// comments of each level, the outermost first.
    pub fn encrypts(&self, path: &[String], comments: &[Vec<Secret>], is_comment: bool) -> bool {
        if !self.of_comments {
            return path.iter().any(|key| self.matches(key.as_bytes())) == self.encrypts;
        }
        let last = comments.len().saturating_sub(1);
        let found = comments.iter().enumerate().any(|(level, lines)| {
            // The comment that switches encryption on stays readable itself.
            let own = usize::from(self.encrypts && is_comment && level == last);
            lines.iter().take(lines.len() - own.min(lines.len())).any(|line| self.matches(line.expose()))
        });
        found == self.encrypts
    }

    /// Whether an encrypted comment would be taken for one that says "do not encrypt".
    pub fn mistakes(&self, encrypted_comment: &str) -> bool {
        self.of_comments && !self.encrypts && self.matches(encrypted_comment.as_bytes())
    }

    fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Suffix(suffix) => text.ends_with(suffix.as_bytes()),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

/// An expression of RE2 as one of the crate `regex` with the same meaning: `\d`, `\w`, `\s` and `\b` are ASCII, and
/// a class has no nested classes and no operators.
pub(super) fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped) => perl_class(escaped, in_class, &mut out),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that comes first is literal.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            _ => out.push(c),
        }
    }
    out
}

fn perl_class(escaped: char, in_class: bool, out: &mut String) {
    let bare = match escaped {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\f\r ",
        'D' => "^0-9",
        'W' => "^0-9A-Za-z_",
        'S' => r"^\t\n\f\r ",
        'b' if !in_class => return out.push_str(r"(?-u:\b)"),
        'B' if !in_class => return out.push_str(r"(?-u:\B)"),
        other => return out.extend(['\\', other]),
    };
    if in_class && !bare.starts_with('^') {
        out.push_str(bare);
    } else {
        out.extend(["[", bare, "]"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &'static str, text: &str) -> Rule {
        Rule::new(&Written { name, text: text.to_owned() }).unwrap()
    }

    #[test]
    fn each_rule_selects_by_any_key_of_the_path() {
        let check = |name, text, path: &[&str], expected| {
            let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
            assert_eq!(rule(name, text).encrypts(&path, &[], false), expected, "{name} {text} {path:?}");
        };
        check("unencrypted_suffix", "_unencrypted", &["a", "b"], true);
        check("unencrypted_suffix", "_unencrypted", &["a_unencrypted", "b"], false);
        check("encrypted_suffix", "_enc", &["a_enc", "b"], true);
        check("encrypted_suffix", "_enc", &["a", "b"], false);
        check("unencrypted_regex", "^pub", &["x", "public"], false);
        check("unencrypted_regex", "^pub", &["republic"], true);
        check("encrypted_regex", "^(data|stringData)$", &["data", "k"], true);
        check("encrypted_regex", "^(data|stringData)$", &["meta", "database"], false);
    }

    #[test]
    fn comments_rule_what_follows() {
        let comments = |lines: &[&str]| vec![vec![], lines.iter().map(|&line| Secret::from(line)).collect()];
        let on = rule("encrypted_comment_regex", "sops:enc");
        assert!(on.encrypts(&[], &comments(&[" sops:enc"]), false));
        assert!(!on.encrypts(&[], &comments(&[" sops:enc"]), true), "the comment itself stays readable");
        assert!(on.encrypts(&[], &comments(&[" sops:enc", " more"]), true));
        assert!(!on.encrypts(&[], &comments(&[" other"]), false));
        let off = rule("unencrypted_comment_regex", "plain");
        assert!(!off.encrypts(&[], &comments(&[" plain"]), true));
        assert!(off.encrypts(&[], &comments(&[" x"]), false));
        assert!(rule("unencrypted_comment_regex", "ENC").mistakes("ENC[...]"));
    }

    #[test]
    fn expressions_mean_what_they_mean_in_re2() {
        let check = |text: &str, subject: &str, expected: bool| {
            let regex = Regex::new(&translate(text)).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(regex.is_match(subject.as_bytes()), expected, "{text} on {subject}");
        };
        check(r"^\d$", "٣", false);
        check(r"^\w+$", "é", false);
        check(r"^.$", "é", true);
        check(r"\bkey\b", "ékeyé", true);
        check(r"^[[a]$", "[", true);
        check(r"^[a&&b]$", "&", true);
        check(r"^[^\D]$", "5", true);
        check(r"^[]a]$", "]", true);
        check(r"^[[:alpha:]\d]+$", "a1", true);
        check(r"(?i)^PASS", "password", true);
        check(r"^\.$", ".", true);
    }

    #[test]
    fn an_invalid_expression_is_refused() {
        let error = Rule::new(&Written { name: "encrypted_regex", text: "(".to_owned() }).unwrap_err();
        assert!(error.to_string().starts_with("encrypted_regex: "), "{error}");
    }
}
