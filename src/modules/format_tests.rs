use super::*;

#[track_caller]
fn check(text: &str, wanted: &str) {
    let once = format(&Source::new("a.yaml", text)).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(once, wanted, "of\n{text}");
    assert_eq!(format(&Source::new("a.yaml", once.as_str())).unwrap(), once, "not the same twice");
    assert_eq!(meaning(&once), meaning(&text.replace("\r\n", "\n").replace('\u{feff}', "")));
}

#[test]
fn levels_are_two_spaces() {
    check("a:\n    b:\n        c: 1\n    d: 2\n", "a:\n  b:\n    c: 1\n  d: 2\n");
    check("a:\n b: 1\n", "a:\n  b: 1\n");
    check("a:\n- 1\n- 2\nb: 3\n", "a:\n  - 1\n  - 2\nb: 3\n");
    check("a:\n    -   b: 1\n        c: 2\n    -   3\n", "a:\n  - b: 1\n    c: 2\n  - 3\n");
    check("- - 1\n  - 2\n-   - 3\n    - 4\n", "- - 1\n  - 2\n- - 3\n  - 4\n");
    check("a:\n      1\n", "a:\n  1\n");
}

#[test]
fn empty_lines_and_ends_of_lines() {
    check("\n\na: 1   \n\n\n\nb: 2", "a: 1\n\nb: 2\n");
    check("a: 1\r\nb: 2\r\n\r\n", "a: 1\nb: 2\n");
    check("\u{feff}a: 1\n", "a: 1\n");
    check("# only a comment", "# only a comment\n");
    check("", "");
    check("\n\n", "");
}

#[test]
fn comments_stay_with_what_they_are_about() {
    check(
        "# top\na:\n    # of b\n    b: 1   # beside\n    # end of a\n# of c\nc: 2\n  # last\n",
        "# top\na:\n  # of b\n  b: 1   # beside\n  # end of a\n# of c\nc: 2\n# last\n",
    );
    check("a:\n    - 1\n    # of two\n    - 2\n", "a:\n  - 1\n  # of two\n  - 2\n");
    check("a:\n- b:\n    # of c\n    c: 1\n", "a:\n  - b:\n      # of c\n      c: 1\n");
}

#[test]
fn what_an_author_aligned_stays() {
    let text = "a:      1\nlonger: { b: 1,  c: [1,2] }   # aligned\n'q':    \"x\"\ne: !force   7d\n";
    check(text, text);
}

#[test]
fn texts_of_several_lines_keep_what_they_say() {
    check(
        "a:\n    b: |\n        one\n          two  \n\n        three\n    c: 1\n",
        "a:\n  b: |\n    one\n      two  \n\n    three\n  c: 1\n",
    );
    check("a:\n  b: |\n   x\n\n\n\nc: 1\n", "a:\n  b: |\n    x\n\nc: 1\n");
    check("a: |+\n  x\n\n\nc: 1\n", "a: |+\n  x\n\n\nc: 1\n");
    check("a:\n    b: |2\n         x\n       y\n    c: 1\n", "a:\n  b: |2\n       x\n     y\n  c: 1\n");
    check("- |\n     x\n-   >-\n    y\n    z\n", "- |\n  x\n- >-\n  y\n  z\n");
    check("a: |\n    # no comment\n    x\n", "a: |\n  # no comment\n  x\n");
    check("a:\n    b: one\n      two\n    c: 'x\n\n      y'\n", "a:\n  b: one\n    two\n  c: 'x\n\n    y'\n");
    check(
        "a:\n    b: [1,\n        2]   \n    c: {\n      d: 1,   # one\n    }\n",
        "a:\n  b: [1,\n      2]\n  c: {\n    d: 1,   # one\n  }\n",
    );
    check("a: \"x\\\n   y\"\n", "a: \"x\\\n   y\"\n");
}

#[test]
fn what_rave_does_not_read_is_refused() {
    assert!(format(&Source::new("a.yaml", "a: &x 1\n")).is_err());
    assert!(format(&Source::new("a.yaml", "a: [1\n")).is_err());
}

/// A map or list in block style at a random indentation, as YAML allows it.
fn yaml() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        "[a-z]{1,4}".prop_map(|text| vec![text]),
        Just(vec!["|".into(), "  one".into(), String::new(), "    two ".into()]),
        Just(vec![">-".into(), " a".into(), " b".into()]),
        Just(vec!["{ a: 1,".into(), "  b: 2 }   # flow".into()]),
        Just(vec!["'x".into(), "".into(), "  y'".into()]),
        Just(vec!["!force 1  # why".into()]),
        Just(vec![]),
    ];
    let block = leaf.prop_recursive(4, 24, 4, |inner| {
        (proptest::collection::vec((inner, 0..3usize, any::<bool>(), any::<bool>()), 1..4), any::<bool>()).prop_map(
            |(entries, list)| {
                let mut lines = vec!["\u{1}".to_owned()];
                for (number, (value, indent, comment, empty)) in entries.into_iter().enumerate() {
                    if comment {
                        lines.push(format!("{}# {number}", if empty { " " } else { "" }));
                    }
                    if empty {
                        lines.push(String::new());
                    }
                    let head = if list { "-".to_owned() } else { format!("k{number}:") };
                    let nested = value.first().is_some_and(|line| line == "\u{1}");
                    let shift = " ".repeat(indent + 1);
                    match value.split_first() {
                        Some((first, rest)) if !nested => {
                            lines.push(format!("{head} {first}"));
                            lines.extend(rest.iter().map(|line| format!("{shift}{line}")));
                        }
                        Some((_, rest)) => {
                            lines.push(head);
                            lines.extend(rest.iter().map(|line| format!("{shift}{line}")));
                        }
                        None => lines.push(head),
                    }
                }
                lines
            },
        )
    });
    block.prop_map(|lines| lines.into_iter().filter(|line| line != "\u{1}").collect::<Vec<_>>().join("\n") + "\n")
}

proptest::proptest! {
    #[test]
    fn a_file_says_afterwards_what_it_said_before(text in yaml()) {
        let source = Source::new("a.yaml", text.as_str());
        if let Ok(once) = format(&source) {
            proptest::prop_assert_eq!(meaning(&text), meaning(&lay_out(&text)), "{}", lay_out(&text));
            proptest::prop_assert_eq!(&format(&Source::new("a.yaml", once.as_str())).unwrap(), &once);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ab:#\\-|>'\"{}\\[\\],!&\\n \\t\\r+2]{0,60}") {
        let _ = lay_out(&text);
        if let Ok(once) = format(&Source::new("a.yaml", text.as_str())) {
            proptest::prop_assert_eq!(meaning(&once), meaning(&text.replace("\r\n", "\n")));
        }
    }
}
