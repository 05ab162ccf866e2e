//! Diagnostics in rustc's manner: the place, the line, what is wrong and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::origin::{Diagnostic, Severity};

/// The diagnostic as coloured text of several lines.
pub fn render(diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(one_line(&diagnostic.message)));
    for (number, (origin, text)) in diagnostic.labels.iter().enumerate() {
        let kind = if number == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let mut annotation = kind.span(origin.span.clone());
        if !text.is_empty() {
            annotation = annotation.label(clean(text));
        }
        group = group.element(Snippet::source(&origin.source.text).path(&origin.source.name).annotation(annotation));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    Renderer::styled().render(&[group])
}

/// The head of a diagnostic is one line, whatever name or message is in it: the lines below are rave's own.
fn one_line(text: &str) -> String {
    clean(&text.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Control characters from hostile input must not reach the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Origin, Source};

    #[test]
    fn shows_the_line_the_remark_and_the_remedy() {
        let source = Source::new("images/web.yaml", "name: web\nversoin: 1\n");
        let diagnostic = Diagnostic::error(&Origin::new(&source, 10..17), "unknown key `versoin`")
            .remark("not a key of an image")
            .help("did you mean `version`?");
        let text = anstream::adapter::strip_str(&render(&diagnostic)).to_string();
        for part in [
            "error: unknown key `versoin`",
            "images/web.yaml:2:1",
            "versoin: 1",
            "^^^^^^^",
            "not a key of an image",
            "did you mean `version`?",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn a_name_of_several_lines_makes_no_line_of_its_own() {
        let source = Source::new("a", "x");
        let diagnostic = Diagnostic::error(&Origin::new(&source, 0..1), "`kernel.y\n  error: z` is unknown");
        let text = anstream::adapter::strip_str(&render(&diagnostic)).to_string();
        assert_eq!(text.lines().next(), Some("error: `kernel.y error: z` is unknown"));
    }

    #[test]
    fn escape_sequences_in_input_are_defused() {
        let source = Source::new("a", "\u{1b}[2Jx");
        let diagnostic = Diagnostic::error(&Origin::new(&source, 0..1), "bad \u{1b}[31m name");
        assert!(!anstream::adapter::strip_str(&render(&diagnostic)).to_string().contains('\u{1b}'));
        assert!(render(&diagnostic).contains("bad \u{fffd}[31m name"));
    }
}
