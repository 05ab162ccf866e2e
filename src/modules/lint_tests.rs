use super::*;
use crate::modules::tests::project;

/// The findings in a small project, one a line: `images/x.yaml:5:3 default-value`.
fn found(text: &str, library: &[&str]) -> String {
    let library = library.iter().map(|path| (*path).to_owned()).collect();
    let found = lint(&project(text), &library).unwrap_or_else(|errors| panic!("{errors:?}"));
    found.iter().map(|finding| format!("{} {}\n", finding.diagnostic.labels[0].0, finding.lint)).collect()
}

const MODULE: &str = "--- modules/a.yaml\ndescription: A.\noptions:\n  x: { type: duration, default: 7d, description: X. }\n  \
    l: { type: list, of: int, default: [], description: L. }\n";

fn image(rest: &str) -> String {
    format!("{MODULE}--- images/x.yaml\nname: x\nversion: 1.0.0\n{rest}")
}

#[test]
fn values_that_change_nothing_are_found() {
    assert_eq!(found(&image("config:\n  a.x: 8d\n  a.l: [1]\n"), &[]), "");
    let default = "images/x.yaml:4:8 default-value\n";
    assert_eq!(
        found(&image("config: { a.x: 168h }\n"), &[]),
        "images/x.yaml:3:16 default-value\n",
        "in canonical form"
    );
    assert_eq!(found(&image("config:\n  a.x: 7d\n"), &[]), default);
    assert_eq!(found(&image("config:\n  a.l: []\n"), &[]), default);
    assert_eq!(found(&image("config:\n  a.x: !default 8d\n"), &[]), "images/x.yaml:4:17 never-wins\n");
    let mode =
        image("mode: safe\nconfig:\n  a.x: 8d\n") + "--- modules/mode/safe.yaml\ndescription: S.\nset: { a.x: 9d }\n";
    assert_eq!(found(&mode, &[]), "images/x.yaml:5:8 never-wins\n");
}

#[test]
fn imports_that_change_nothing_are_found() {
    assert_eq!(found(&image("imports: [a]\n"), &[]), "");
    assert_eq!(found(&image("imports: [a, a]\n"), &[]), "images/x.yaml:3:14 unused-import\n");
    assert_eq!(found(&image("imports: [a]\nconfig: { a.x: 8d }\n"), &[]), "images/x.yaml:3:11 unused-import\n");
    let default = image("imports: [a]\n") + "--- modules/default.yaml\ndescription: D.\nimports: [a]\n";
    assert_eq!(found(&default, &[]), "images/x.yaml:3:11 unused-import\n");
}

#[test]
fn more_is_asked_of_the_library() {
    let module = "--- modules/a.yaml\ndescription: A.\noptions:\n  x: { type: string, default: \"\", description: X. }\n  \
        y: { type: string, default: y }\nunits:\n  a.service:\n    service: { ExecStart: /usr/bin/a }\n";
    assert_eq!(found(module, &[]), "modules/a.yaml:4:3 no-description\n");
    let all = "modules/a.yaml:3:3 no-example\nmodules/a.yaml:4:3 no-description\nmodules/a.yaml:6:3 no-limit\n\
        modules/a.yaml:6:3 no-probe\nmodules/a.yaml:6:3 no-sandbox\n";
    assert_eq!(found(module, &["a"]), all);
    for limited in ["MemoryMax: 64M", "Type: oneshot"] {
        let module = module.replace("/usr/bin/a }", &format!("/usr/bin/a, {limited} }}"));
        assert_eq!(found(&module, &["a"]), all.replace("modules/a.yaml:6:3 no-limit\n", ""), "{limited}");
    }
}

#[test]
fn a_comment_silences_a_lint_where_it_stands() {
    assert_eq!(found(&image("config:\n  a.x: 7d    # rave: allow default-value\n"), &[]), "");
    assert_eq!(found(&image("config:\n  # rave: allow format, default-value\n  a.x: 7d\n"), &[]), "");
    let other = found(&image("config:\n  a.x: 7d    # rave: allow never-wins\n"), &[]);
    assert_eq!(other, "images/x.yaml:4:8 default-value\n");
    let too_far = "config:\n  # rave: allow default-value\n  a.l: [1]\n  a.x: 7d\n";
    assert_eq!(found(&image(too_far), &[]), "images/x.yaml:6:8 default-value\n");
    let above = "config:\n  a.l: [1]    # rave: allow default-value\n  a.x: 7d\n";
    assert_eq!(found(&image(above), &[]), "images/x.yaml:5:8 default-value\n", "of another line's value");
}

#[test]
fn what_is_wrong_goes_first() {
    let told = lint(&project(&image("config: { a.y: 1 }\n")), &BTreeSet::new()).unwrap_err();
    assert!(told[0].message.contains("there is no option `a.y`"), "{told:?}");
}
