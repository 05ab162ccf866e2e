use super::*;

fn read(text: &str) -> Result<Node, String> {
    parse(&Source::new("a.yaml", text)).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// The tree in a short notation: each scalar with the source text at its place.
fn dump(node: &Node) -> String {
    let raw = &node.origin.source.text[node.origin.span.clone()];
    let tag = node.tag.map_or(String::new(), |tag| format!("{tag:?} "));
    match &node.kind {
        Kind::Scalar { text, style } => format!("{tag}{style:?}({text:?} at {raw:?})"),
        Kind::List(items) => format!("{tag}[{}]", items.iter().map(dump).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let parts: Vec<String> =
                entries.iter().map(|(key, node)| format!("{}: {}", key.text, dump(node))).collect();
            format!("{tag}{{{}}}", parts.join(", "))
        }
    }
}

#[test]
fn scalars_keep_text_style_and_place() {
    let node = read("a: 0755\nb: 'x y'\nc: [!force 7d, \"q\\n\"]\nd: !default\n  e: no\nf:\n").unwrap();
    assert_eq!(
        dump(&node),
        r#"{a: Plain("0755" at "0755"), b: Quoted("x y" at "'x y'"), c: [Force Plain("7d" at "7d"), "#.to_owned()
            + r#"Quoted("q\n" at "\"q\\n\"")], d: Default {e: Plain("no" at "no")}, f: Plain("~" at "")}"#
    );
}

#[test]
fn places_within_scalars_are_found_in_every_style() {
    for (text, wanted) in [
        ("k: \"ab {{ x }} c\"", "a.yaml:1:11"),
        ("k: ab {{ x }} c", "a.yaml:1:10"),
        ("k: |\n  first\n  ab {{ x }} c\n", "a.yaml:3:9"),
        ("k: |\n    ab {{ x }} c\n    more\n", "a.yaml:2:11"),
    ] {
        let node = read(text).unwrap();
        let value = node.get("k").unwrap();
        let Kind::Scalar { text: value_text, .. } = &value.kind else { panic!("not a scalar") };
        let at = value_text.find('x').unwrap();
        assert_eq!(value.locate(at..at + 1).to_string(), wanted, "{text}");
    }
}

#[test]
fn hostile_texts_are_refused_at_their_place() {
    for (text, wanted) in [
        ("a: 1\na: 2\n", "a.yaml:2:1: key `a` is written twice"),
        ("a:\n\tb: 1\n", "a.yaml:2:1: a tab is used for indentation (YAML is indented with spaces only)"),
        ("a: &x 1\nb: *x\n", "a.yaml:1:7: anchors and aliases are not read"),
        ("b: *x\n", "a.yaml:1:4: anchors and aliases are not read"),
        ("a: !!binary eA==\n", "a.yaml:1:4: unknown tag `!!binary`"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1: a file holds one document"),
        ("%YAML 1.1\n---\na: 1\n", "a.yaml:1:1: YAML directives are not read"),
        ("? [a]\n: 1\n", "a.yaml:1:3: a key is a list or a map"),
        (
            "description: M.\n\tpackages: [x]\n",
            "a.yaml:2:1: a tab is used for indentation (YAML is indented with spaces only)",
        ),
        ("a: 1\nkey:\tb: c\n", "a.yaml:2:5: a tab stands where YAML takes spaces only"),
        (
            "a: {{ image.name }}\n",
            "a.yaml:1:4: a template must stand in quotes (quote what holds it: \"{{ image.name }}\")",
        ),
        ("a: { b: [{{ x }}] }\n", "a.yaml:1:10: a template must stand in quotes"),
        ("a: {% if x %}y{% endif %}\n", "a.yaml:1:4: a template must stand in quotes"),
        ("a: */5 * * * *\n", "a.yaml:1:4: anchors and aliases are not read"),
        ("a: @daily\n", "a.yaml:1:4: a text that begins with @ must stand in quotes"),
        ("- `x`\n", "a.yaml:1:3: a text that begins with ` must stand in quotes"),
        ("a: { <<: x }\n", "a.yaml:1:6: merge keys are not read"),
        ("a: [1, 2\n", "this is not YAML"),
        ("a: 'x\n", "this is not YAML"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(wanted), "{text:?} gives {error:?}");
    }
}

#[test]
fn limits_hold() {
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    assert!(read(&deep).unwrap_err().contains("nested deeper"), "flow");
    let blocks: String = (0..60).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(read(&blocks).unwrap_err().contains("nested deeper"), "block");
    assert!(read(&"x".repeat(MAX_BYTES + 1)).unwrap_err().contains("larger"));
    assert!(read(&format!("{}{}", "[".repeat(40), "]".repeat(40))).is_ok());
}

#[test]
fn every_duplicate_is_shown_with_the_first() {
    let errors = parse(&Source::new("a.yaml", "a: 1\nb: {c: 1, c: 2}\na: 3\n")).unwrap_err();
    let places: Vec<String> =
        errors.iter().map(|e| e.labels.iter().map(|(o, _)| o.to_string()).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(places, ["a.yaml:2:11 a.yaml:2:5", "a.yaml:3:1 a.yaml:1:1"]);
}

#[test]
fn an_empty_text_is_nothing() {
    assert!(read("").unwrap().is_null());
    assert!(read("# only a comment\n").unwrap().is_null());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_the_reader_panic(text in "([a-c\"'|>&*!%#?:{}\\[\\],\\- \t\n0é])*") {
        if let Ok(node) = read(&text) {
            let _ = dump(&node);
            let _ = node.locate(1..3);
        }
    }
}
