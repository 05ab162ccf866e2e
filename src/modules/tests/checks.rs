//! Checks of what is written in the right form and yet could not work, and that they are told together.

use super::bad::{check, module};
use super::*;

#[test]
fn a_condition_is_what_is_written_not_what_a_value_says() {
    let text = |that: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ s: {{ type: string, default: \"1 == 2\" }} }}\n\
             assertions: [{{ that: \"{that}\", message: \"m {{{{ s }}}}\" }}]\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
        )
    };
    check(&text("{{ s }}"), &["a condition must be true or false, not the text \"1 == 2\""]);
    check(&text("{{ 'x' }}"), &["a condition must be true or false, not the text \"x\""]);
    check(&text("{{ s == 'a' }}"), &["modules/a.yaml:3:22: m 1 == 2"]);
    check(&text("s == 'a'"), &["m 1 == 2"]);
    good(&text("{{ s != 'a' }}"));
}

#[test]
fn keys_of_maps_may_be_templates() {
    let text = |set: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\nset: {{ {set} }}\n--- modules/b.yaml\ndescription: B.\noptions: {{ m: {{ type: map, \
             of: int, default: {{}} }}, n: {{ type: string, default: k }} }}\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
        )
    };
    assert_eq!(value(&text("b.m: { \"{{ b.n }}\": 1, \"x-{{ b.n }}\": 2 }"), "b.m"), r#"{"k":1,"x-k":2}"#);
    check(&text("\"b.m.{{ b.n }}\": 1"), &["the name of an option cannot be a template"]);
    check(&text("b: { \"{{ b.n }}\": 1 }"), &["the name of an option cannot be a template"]);
    check(&text("b.m: { \"{{ b.nn }}\": 1 }"), &["there is no `b.nn`"]);
}

#[test]
fn no_filter_lets_a_text_out() {
    for filter in ["safe", "e", "escape"] {
        let text = format!("files: {{ /etc/a.json: {{ text: \"{{{{ host_name|{filter} }}}}\" }} }}");
        check(&module(&text), &[&format!("filter {filter} is unknown")]);
    }
}

#[test]
fn what_could_not_work_is_refused() {
    for (body, wanted) in [
        (
            "secrets: { k: { kind: tls-key } }\ncertificates: { c: { hosts: [a b], key: k } }",
            &["\"a b\" is no host that a certificate could be for"][..],
        ),
        (
            "files: { /usr/bin/a: { text: x, mode: \"4755\" } }",
            &["/usr/bin/a is a program with the rights of its owner"],
        ),
        (
            "files: { /usr/bin/a: { text: x, mode: \"2755\" } }",
            &["/usr/bin/a is a program with the rights of its owner"],
        ),
    ] {
        check(&module(body), wanted);
    }
    good(&module(
        "set-id: [/usr/bin/a]\nfiles: { /usr/bin/a: { text: x, mode: \"4755\" }, /var/l: { directory: true, mode: \"2755\" } }",
    ));
    good(&module(
        "secrets: { k: { kind: tls-key } }\ncertificates: { c: { hosts: [a.b, \"*.a.b\", \"::1\"], key: k } }",
    ));
}

#[test]
fn types_that_no_value_could_have_are_refused() {
    for (ty, wanted) in [
        ("{ type: int, min: 5, max: 2, default: 3 }", "no value could be so: `max` is below `min`"),
        ("{ type: duration, min: 1h, max: 5m }", "no value could be so: `max` is below `min`"),
        ("{ type: string, min-length: 5, max-length: 2 }", "no value could be so: `max-length` is below `min-length`"),
        ("{ type: enum, values: [] }", "no value could be one of these: `values` is empty"),
        ("{ type: one-of, of: [] }", "no value could be one of these: `of` is empty"),
    ] {
        let errors = errors(&option(&format!("{{ x: {ty} }}"), "{}"));
        assert!(errors.contains(wanted), "{errors}");
    }
}

#[test]
fn a_tag_on_one_entry_of_a_list_is_refused() {
    let options = "{ l: { type: list, of: int, default: [] } }";
    for tag in ["!force", "!default", "!before"] {
        let errors = errors(&option(options, &format!("{{ a.l: [{tag} 1, 2] }}")));
        assert!(errors.contains("a tag says nothing of one entry of a list (write it before the list"), "{errors}");
    }
}

#[test]
fn a_wrong_name_of_a_field_is_told_once() {
    let options = "{ m: { type: map, default: {}, of: { type: submodule, options: { port: { type: port } } } } }";
    check(&option(options, "{ a.m.x: { prot: 80 } }"), &["`a.m.x` has no `prot` (did you mean `port`?)"]);
    check(&option(options, "{ a.m.x: {} }"), &["`a.m.x.port` is missing"]);
}

#[test]
fn an_image_says_what_its_files_are() {
    let library = include_str!("../../../modules/environment.yaml");
    let text = |file: &str| {
        format!(
            "--- modules/environment.yaml\n{library}--- images/x.yaml\nname: x\nversion: 1.0\nconfig: {{ environment.files: {{ /etc/x: {file} }} }}\n"
        )
    };
    check(&text("{}"), &["nothing says what /etc/x is"]);
    assert_eq!(file(&good(&text("{ text: \"\" }")), "/etc/x"), "");
    assert_eq!(file(&good(&text("{ text: \"null\" }")), "/etc/x"), "null");
    check(&text("{ text: a, link: /b }"), &["/etc/x cannot be text and link at once"]);
}

#[test]
fn errors_of_all_stages_come_together() {
    let text = "--- modules/a.yaml\ndescription: A.\noptions: { p: { type: port, default: 1 }, u: { type: bool, default: true } }\n\
        packages: [\"bad name\"]\nusers: { web: { uid: 900, group: web } }\ngroups: { web: { gid: 900, when: \"{{ u }}\" } }\n\
        files: { /tmp/x: { text: a }, /etc/p: { text: \"{{ p }}\" } }\nassertions: [{ that: \"{{ p == 2 }}\", message: not two }]\n\
        --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: { a.p: 70000, a.q: 1, a.u: 3 }\n";
    // Neither the group, which the wrong `u` takes away, nor what is said of `p` is told besides.
    check(
        text,
        &[
            "`a.p` must be a port",
            "there is no option `a.q`",
            "`a.u` must be true or false",
            "\"bad name\" is not a package name",
            "/tmp/x would never be seen",
        ],
    );
}

#[test]
fn an_image_is_warned_of_what_the_mode_replaces() {
    let text = |value: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ m: {{ type: size, default: 1M }} }}\n--- modules/mode/safe.yaml\n\
             description: S.\nset: {{ a.m: 128M }}\n--- images/x.yaml\nname: x\nversion: 1.0\nconfig:\n  {value}\n"
        )
    };
    let warned = |value: &str| told(&good(&text(value)).warnings);
    let said = warned("a.m: 1G");
    assert!(said.starts_with("images/x.yaml:4:8: this value of `a.m` never counts (modules/mode/safe.yaml"), "{said}");
    assert_eq!(warned("a.m: !force 1G"), "");
    assert_eq!(warned("a.m: 131072K"), "", "it is the mode's");
    assert_eq!(warned("a.m: 1G    # rave: allow never-wins"), "");
    let line = [("a.m".to_owned(), "2G".to_owned())];
    let evaluation = evaluate(&project(&text("{}")), "x", &line, None).expect("it is right");
    assert_eq!(told(&evaluation.warnings), "", "who writes on the command line knows");
}

#[test]
fn finished_files_are_what_their_names_say() {
    let file = |text: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ keep: {{ type: duration, default: 36h, description: K. }} }}\n\
             files: {{ /etc/a.json: {{ text: '{text}' }} }}\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
        )
    };
    good(&file("{\"keep\": {{ keep }}, \"in\": \"{{ keep }}\", \"list\": {{ [keep] }}, \"s\": {{ keep|seconds }}}"));
    check(
        &file("{\"keep\": {{ keep }},}"),
        &["/etc/a.json is not what its format says: key must be a string at line 1"],
    );
}
