//! Faults that concern more than one place: each shows all of them.

use super::bad::{check, module};
use super::*;

fn set(name: &str, body: &str) -> String {
    format!("--- modules/{name}.yaml\ndescription: B.\n{body}\n")
}

#[test]
fn a_conflict_shows_every_definition() {
    let options = "options: { x: { type: int, default: 1, description: How many. } }";
    let image = "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b, c, d]\n";
    let three = ["b", "c", "d"].map(|name| set(name, &format!("set: {{ a.x: {} }}", name.as_bytes()[0])));
    check(
        &format!("{}{}{image}", set("a", options), three.concat()),
        &[
            "modules/d.yaml:2:13: `a.x` is given 3 values, all by modules (leave one of them, or mark",
            "  modules/b.yaml:2:13: and here\n  modules/c.yaml:2:13: and here",
            "  modules/a.yaml:2:12: declared here: How many.",
        ],
    );
    let forced = "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\nconfig: { a.x: !force 2 }\n";
    let told = errors(&format!("{}{}{forced}", set("a", options), set("b", "set: { a.x: !force 3 }")));
    assert!(told.contains("both marked !force (leave one of them)"), "{told}");
}

#[test]
fn a_default_or_example_of_another_type_is_the_modules_fault() {
    for (options, wanted) in [
        (
            "{ x: { type: port, example: 99999, default: 1 } }",
            "modules/a.yaml:2:38: `a.x` must be a port, 1 to 65535, not `99999`",
        ),
        (
            "{ x: { type: list, of: int, default: [1, b], example: [2] } }",
            "modules/a.yaml:2:51: `a.x` must be a whole number",
        ),
        (
            "{ x: { type: map, default: {}, of: { type: submodule, options: { y: { type: int, default: z } } } } }",
            "`a.x.y` must be a whole number, not `z`",
        ),
        (
            "{ x: { type: calendar, default: '*/5 * * *' } }",
            "must be a calendar expression, such as daily, Mon..Fri 07:30",
        ),
        ("{ x: { type: string, min-length: 2, default: a } }", "must be a text, 2 characters at least"),
    ] {
        check(&option(options, "{}"), &[wanted]);
    }
    // Not known before it runs.
    check(
        &option("{ x: { type: int, default: '{{ y }}' }, y: { type: string, default: z } }", "{}"),
        &["`a.x` must be"],
    );
}

#[test]
fn what_is_named_must_exist() {
    for (body, wanted) in [
        (
            "units: { a.service: { service: { ExecStart: /a }, credentials: [db-pasword] } }\nsecrets: { db-password: { kind: password } }",
            "a.service needs secret `db-pasword`, which no module declares (did you mean `db-password`?)",
        ),
        (
            "certificates: { web: { hosts: [example.org], key: web-key } }",
            "certificate `web` needs secret `web-key`, which no module declares (declare it: secrets:",
        ),
        ("files: { /etc/x: { text: a, owner: webb } }", "/etc/x belongs to user `webb`, which is not declared"),
        (
            "files: { /etc/x: { text: a, group: admm } }",
            "/etc/x belongs to group `admm`, which is not declared (did you mean `adm`?)",
        ),
        (
            "users: { a: { uid: 900, group: users, groups: [wheel] } }",
            "user `a` belongs to group `wheel`, which is not declared",
        ),
        (
            "secrets: { s: { owner: nobodi } }",
            "secret `s` belongs to user `nobodi`, which is not declared (did you mean `nobody`?)",
        ),
        ("units: { a.service: { service: { ExecStart: /a, SupplementaryGroups: docker } } }", "runs as group `docker`"),
    ] {
        check(&module(body), &[wanted]);
    }
    check(
        &option("{ key: { type: list, of: secret, default: [] } }", "{ a.key: [gone] }"),
        &["images/x.yaml:4:18: `a.key` needs secret `gone`, which no module declares"],
    );
}

#[test]
fn files_stand_where_files_belong() {
    for (path, wanted) in [
        ("/data/x", "/data/x is outside of /etc, /usr, /var, /opt"),
        ("/lib/systemd/x", "(/lib is a link: write /usr/lib/systemd/x)"),
        ("/home/agent/x", "/home/agent/x is outside"),
        ("/proc/x", "would never be seen"),
    ] {
        check(&module(&format!("files: {{ {path}: {{ text: a }} }}")), &[wanted]);
    }
}

#[test]
fn the_new_keys_are_checked() {
    for (body, wanted) in [
        ("open: [raw/58]", "a raw socket has no port that a firewall could open (write it below `behind-firewall`)"),
        ("open: [tcp/80]\nbehind-firewall: [tcp/80]", "port tcp/80 is used twice"),
        ("open: [tcp/80, tcp/80]", "port tcp/80 is used twice"),
        ("kernel-modules: { load: [a-b], deny: [a_b] }", "kernel module a_b is loaded and denied"),
        ("kernel-modules: { lod: [a] }", "unknown key `lod` in `kernel-modules` (did you mean `load`?)"),
        ("secrets: { s: { kind: pasword } }", "`kind` must be one of password, token, tls-key"),
        ("secrets: { a/b: {} }", "\"a/b\" cannot name a secret"),
        ("secrets: { s: { mode: \"999\" } }", "is not a file mode"),
        ("units: { a.timer: { timer: { OnCalendar: '*:*/5' } } }", "systemd counts steps from a number: *:00/5"),
        (
            "units: { a.timer: { timer: { OnCalendar: daily }, credentials: [s] } }\nsecrets: { s: {} }",
            "a timer loads no credentials",
        ),
        ("units: { a.service: { enable: false, wanted-by: [b.target] } }", "is disabled and wanted by another unit"),
        ("mounts: { /data: { type: ext4 } }", "nothing says what is mounted at /data"),
        ("mounts: { data: { type: tmpfs } }", "is not a path inside the image"),
        ("files: { /etc/x: { text: a, format: ymal } }", "there is no format `ymal` (did you mean `yaml`?)"),
        ("files: { /etc/x: { link: a, format: yaml } }", "`format` says nothing of a link"),
        ("packages: [!force jq]", "an entry of `packages` has a tag, which would say nothing"),
        ("packages: [{ valu: jq }]", "unknown key `valu` in an entry of `packages`"),
    ] {
        let told = errors(&module(body));
        assert!(told.contains(wanted), "no {wanted:?} in\n{told}\nfor {body}");
    }
    let twice = |one: &str, other: &str| {
        format!("{}{}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b]\n", set("a", one), set("b", other))
    };
    check(
        &twice("secrets: { s: { kind: token } }", "secrets: { s: { kind: password } }"),
        &["modules/b.yaml:2:12: secret `s` is declared in two ways", "  modules/a.yaml:2:12: and here"],
    );
    check(
        &twice("units: { s.service: { enable: false } }", "units: { s.service: { wanted-by: [m.target] } }"),
        &["modules/b.yaml:2:10: s.service is enabled and disabled", "  modules/a.yaml:2:10: disabled here"],
    );
    check(
        &twice("open: [tcp/443]", "open: ['tcp/443']"),
        &["port tcp/443 is used twice", "  modules/a.yaml:2:8: and here"],
    );
}

#[test]
fn only_lists_have_an_order() {
    let told = errors(&option("{ x: { type: int, default: 1 } }", "{ a.x: !before 2 }"));
    assert!(told.contains("`a.x` is no list: !before and !after order lists"), "{told}");
}

#[test]
fn a_value_that_would_leave_its_place_is_shown_with_who_gave_it() {
    let text = |file: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ motto: {{ type: string, default: a }} }}\nfiles: {file}\n\
             --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: {{ a.motto: \"b\\nPermitRootLogin yes\" }}\n"
        )
    };
    check(
        &text("{ /etc/ssh/x: { text: 'Banner {{ motto }}' } }"),
        &[
            "modules/a.yaml:3:41: \"b\\nPermitRootLogin yes\" cannot be written here: it holds a line break",
            "  images/x.yaml:4:20: the value is given here",
        ],
    );
    assert_eq!(
        file(&good(&text("{ /etc/x.yaml: { text: 'a: {{ motto }}' } }")), "/etc/x.yaml"),
        "a: \"b\\nPermitRootLogin yes\""
    );
    assert_eq!(
        file(&good(&text("{ /etc/x: { format: text, text: '{{ motto }}' } }")), "/etc/x"),
        "b\nPermitRootLogin yes"
    );
}

#[test]
fn a_private_key_in_the_wrong_place_is_not_shown() {
    let key = "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    let errors =
        evaluate(&project(&option("{ to: { type: age-recipient } }", &format!("{{ a.to: {key} }}"))), "x", &[], None);
    let errors = errors.unwrap_err();
    assert!(told(&errors).contains("`a.to` is given a private key at images/x.yaml:4:17"), "{}", told(&errors));
    for (origin, _) in errors.iter().flat_map(|error| &error.labels) {
        assert!(!origin.source.text.contains(key), "{origin} would show the key");
    }
}
