//! Modules of the project in the place of rave's own.

use super::*;

/// A module of rave's that others of rave's speak of: by `set`, in a template, in a condition.
const LIBRARY: &str = "--- <rave>/modules/b.yaml
description: B.
options:
  on: { type: bool, default: true, description: On. }
  port: { type: port, default: 80, description: Port. }
  max-size: { type: size, default: 1M, description: Size. }
--- <rave>/modules/a.yaml
description: A.
set: { b.max-size: 2M, b: { port: 81 } }
files:
  /etc/a: { text: \"{% if b.on and b.max_size > '1K' %}{{ b.port }}{% else %}none{% endif %}\" }
ssh: { user: a, host-key-file: /k, bans: 3, bans-option: b.port, pardon: [c] }
--- images/x.yaml
name: x
version: 1.0
imports: [a, b]
";

#[test]
fn a_module_of_the_project_declares_only_what_it_needs() {
    let option_of_bans = |text: &str| good(text).system.expect.ssh.unwrap().bans.unwrap().option;
    assert_eq!(file(&good(LIBRARY), "/etc/a"), "81");
    assert_eq!(option_of_bans(LIBRARY).unwrap().as_str(), "b.port");
    for options in ["", "options: {}\n", "options: { other: { type: int, default: 1 } }\n"] {
        let text = format!("{LIBRARY}--- modules/b.yaml\ndescription: Ours.\n{options}");
        assert_eq!(file(&good(&text), "/etc/a"), "none", "{options}");
        assert_eq!(option_of_bans(&text), None, "{options}");
    }
    let more = "options: { on: { type: bool, default: false }, max-size: { type: size, default: 4K } }\n";
    let text = format!("{LIBRARY}--- modules/b.yaml\ndescription: Ours.\n{more}");
    assert_eq!(value(&text, "b.max-size"), "\"2M\"", "what is declared still is set");
}

#[test]
fn what_raves_own_cannot_do_without_is_named() {
    let on = "options: { on: { type: bool, default: true }, max-size: { type: size, default: 4K } }\n";
    let text = format!("{LIBRARY}--- modules/b.yaml\ndescription: Ours.\n{on}");
    bad::check(
        &text,
        &["(`b.port` is read here: the project's module, which stands in the place of rave's, must declare it)"],
    );
}

#[test]
fn the_project_itself_is_still_told_of_slips() {
    let ours = format!("{LIBRARY}--- modules/b.yaml\ndescription: Ours.\n");
    bad::check(
        &format!("{ours}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: {{ b.port: 1 }}\n"),
        &["images/x.yaml:4:11: there is no option `b.port`"],
    );
    bad::check(
        &format!(
            "{ours}--- modules/c.yaml\ndescription: C.\nset: {{ b.port: 1 }}\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, c]\n"
        ),
        &["modules/c.yaml:2:8: there is no option `b.port`"],
    );
    bad::check(
        &format!(
            "{ours}--- modules/c.yaml\ndescription: C.\ncmdline: [\"{{{{ b.port }}}}\"]\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, c]\n"
        ),
        &["there is no `b"],
    );
}

#[test]
fn a_slip_of_raves_own_is_one() {
    let text = LIBRARY.replace("b.max_size >", "b.max_sise >");
    bad::check(&text, &["there is no `"]);
    bad::check(
        &LIBRARY.replace("b: { port", "b: { prot"),
        &["<rave>/modules/a.yaml:2:29: there is no option `b.prot`"],
    );
}
