//! What is refused: the place, what is said of it, and what to do.

use super::*;

/// Checks that the errors of a project contain all of `wanted`, in any order.
#[track_caller]
pub(super) fn check(text: &str, wanted: &[&str]) {
    let told = errors(text);
    for line in wanted {
        assert!(told.contains(line), "no {line:?} in\n{told}\nfor\n{text}");
    }
    assert_eq!(told.lines().filter(|line| !line.starts_with("  ")).count(), count(wanted), "{told}");
}

/// Lines of `wanted` that begin a diagnostic, not a further place of one.
fn count(wanted: &[&str]) -> usize {
    wanted.iter().filter(|line| !line.starts_with("  ")).count()
}

pub(super) fn module(body: &str) -> String {
    format!(
        "--- modules/a.yaml\ndescription: A.\noptions: {{ enable: {{ type: bool, default: true }}, host-name: {{ type: string, default: h }} }}\n{body}\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
    )
}

#[test]
fn wrong_values_say_what_is_expected() {
    for (options, config, wanted) in [
        (
            "{ x: { type: port, default: 1, description: Where it listens. } }",
            "{ a.x: 70000 }",
            &[
                "images/x.yaml:4:16: `a.x` must be a port, 1 to 65535, not `70000`",
                "  modules/a.yaml:2:12: declared here: Where it listens.",
            ][..],
        ),
        (
            "{ x: { type: bool } }",
            "{ a.x: no }",
            &["`a.x` must be true or false, not `no` (`no` is a text in YAML 1.2"],
        ),
        ("{ x: { type: int, min: 2, max: 4 } }", "{ a.x: 5 }", &["`a.x` must be a whole number, 2 to 4, not `5`"]),
        ("{ x: { type: int } }", "{ a.x: 0755 }", &["octal"]),
        ("{ x: { type: duration } }", "{ a.x: 1:30 }", &["base 60"]),
        ("{ x: { type: duration, max: 1h } }", "{ a.x: 2h }", &["such as 30s, 15m, 12h or 7d, 1h or less, not `2h`"]),
        ("{ x: { type: string } }", "{ a.x: on }", &["write \"on\""]),
        ("{ x: { type: string, max-length: 2 } }", "{ a.x: abc }", &["2 characters at most, not `abc`"]),
        ("{ x: { type: string, regex: 'a+' } }", "{ a.x: ab }", &["a text that matches a+, not `ab`"]),
        (
            "{ x: { type: enum, values: [lz4, zstd] } }",
            "{ a.x: lz5 }",
            &["must be one of lz4, zstd, not `lz5` (did you mean `lz4`?)"],
        ),
        (
            "{ x: { type: list, of: int } }",
            "{ a.x: 1 }",
            &["must be a list, each entry a whole number, not `1` (write [ ]"],
        ),
        ("{ x: { type: list, of: int } }", "{ a.x: [1, b, c] }", &["not `b`", "not `c`"]),
        ("{ x: { type: map, of: int } }", "{ a.x: { k: y } }", &["`a.x.k` must be a whole number"]),
        (
            "{ x: { type: submodule, options: { root: { type: int } } } }",
            "{ a.x.rot: 1 }",
            &["images/x.yaml:4:11: `a.x` has no `rot` (did you mean `root`?)"],
        ),
        (
            "{ x: { type: one-of, of: [port, bool] } }",
            "{ a.x: z }",
            &["must be a port, 1 to 65535, or true or false, not `z`"],
        ),
        ("{ x: { type: int } }", "{ a.x: }", &["not nothing"]),
        ("{ x: { type: int, default: z } }", "{}", &["modules/a.yaml:2:37: `a.x` must be a whole number, not `z`"]),
        ("{ x: { type: int, default: 1 } }", "{ a.x: '{{ 1 + ''z'' }}' }", &["the template fails"]),
    ] {
        check(&option(options, config), wanted);
    }
}

#[test]
fn unknown_names_come_with_a_suggestion() {
    check(
        &option("{ port: { type: int, default: 1 } }", "{ a.prt: 1, b.c: 2, a: 3 }"),
        &[
            "images/x.yaml:4:11: there is no option `a.prt` (did you mean `a.port`?)",
            "images/x.yaml:4:21: there is no option `b.c` (no module declares it)",
            "images/x.yaml:4:32: `a` must be a map of options, not `3`",
        ],
    );
    check(
        &module("pakages: []"),
        &["modules/a.yaml:3:1: unknown key `pakages` in a module (did you mean `packages`?)"],
    );
    check(
        "--- images/x.yaml\nname: x\nversion: 1.0\nextend: y\n",
        &["unknown key `extend` in an image (did you mean `extends`?)"],
    );
    check(
        "--- images/x.yaml\nname: x\nversion: 1.0\nextends: y\n",
        &["images/x.yaml:3:10: there is no image `y` (did you mean `x`?)"],
    );
    check(
        "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [b]\n",
        &["images/x.yaml:3:11: there is no module `b` (did you mean `a`?)"],
    );
    check(
        "--- images/x.yaml\nname: x\nversion: 1.0\nmode: fast\n",
        &["`mode`: \"fast\" is not a mode: safe or full-pipe"],
    );
    check("--- images/x.yaml\nname: x\nversion: 1.0\nmode: full-pipe\n", &["there is no module `mode/full-pipe`"]);
    check("--- images/x.yaml\nname: X\n", &["`name`: \"X\" is not an image name", "an image has no `version`"]);
    check(&option("{ x: { type: strin } }", "{}"), &["unknown type `strin` (did you mean `string`?)"]);
    check(&option("{ x: { type: int, regex: a, default: 1 } }", "{}"), &["unknown key `regex` in type int"]);
    check(&option("{ x: { type: enum } }", "{}"), &["type enum needs `values`"]);
    check(&option("{ x: 1 }", "{}"), &["`x` is neither an option nor a group (an option is a map with a `type`)"]);
    let set = evaluate(&project(""), "x", &[("a.y".into(), "1".into())], None).unwrap_err();
    assert_eq!(told(&set), "<command line>:1:1: there is no option `a.y` (no module declares it)\n");
}

#[test]
fn templates_are_strict() {
    for (body, wanted) in [
        ("when: '{{ enabel }}'", "modules/a.yaml:3:11: there is no `enabel` (did you mean `enable`?)"),
        (
            "packages: ['{{ a.host }}']",
            "modules/a.yaml:3:16: there is no `a.host` (write `-` in names as `_`: `a.host_name`)",
        ),
        ("files: { /etc/x: { text: \"l\\n{{ nope }}\" } }", "there is no `nope`"),
        ("when: 5", "a condition must be true or false, not the text \"5\""),
        ("when: '{{ host_name }}'", "a condition must be true or false, not the text \"h\""),
        ("files: { /etc/x: { text: 'a {{ none }}' } }", "null cannot be written as text"),
        ("files: { /etc/x: { text: 'a {{ [1] }}' } }", "a list cannot be written as text"),
        ("files: { /etc/x: { text: '{% if %}' } }", "the template fails"),
        ("files: { /etc/x: { template: t } }\n--- modules/t\none\n{{ two }}\n", "modules/t:2:4: there is no `two`"),
    ] {
        check(&module(body), &[wanted]);
    }
}

#[test]
fn circles_are_shown() {
    check(
        &option("{ x: { type: int, default: '{{ y }}' }, y: { type: int, default: '{{ a.x }}' } }", "{}"),
        &[
            "values depend on each other in a circle: a.x -> a.y -> a.x",
            "  modules/a.yaml:2:38: a.x refers to the next here",
        ],
    );
    check(
        "--- modules/a.yaml\ndescription: A.\nimports: [b]\n--- modules/b.yaml\ndescription: B.\nimports: [a]\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
        &["modules/b.yaml:2:11: modules import each other in a circle: a -> b -> a (remove one of these imports)"],
    );
    check(
        "--- images/x.yaml\nname: x\nversion: 1.0\nextends: y\n--- images/y.yaml\nname: y\nversion: 1.0\nextends: x\n",
        &["images/y.yaml:3:10: images extend each other: x -> y -> x"],
    );
    check(
        "--- modules/a.yaml\ndescription: A.\noptions: { enable: { type: bool, default: true } }\nwhen: '{{ enable }}'\nset: { a.enable: false }\n\
         --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n",
        &[
            "in a circle: the condition of a -> a.enable -> the condition of a",
            "  modules/a.yaml:3:8: the condition of a refers",
        ],
    );
}

#[test]
fn conflicts_show_both_places() {
    let set = |name: &str, body: &str| format!("--- modules/{name}.yaml\ndescription: B.\n{body}\n");
    let two = |body_a: &str, body_b: &str| {
        let image = "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b, c]\n";
        let options = "options: { x: { type: int, default: 1 } }";
        format!("{}{}{}{image}", set("a", options), set("b", body_a), set("c", body_b))
    };
    for (a, b, wanted) in [
        (
            "set: { a.x: 2 }",
            "set: { a.x: 3 }",
            &["modules/c.yaml:2:13: `a.x` is given two values, both by modules", "  modules/b.yaml:2:13: and here"][..],
        ),
        (
            "files: { /etc/x: { text: a } }",
            "files: { /etc/x: { text: a } }",
            &["modules/c.yaml:2:10: /etc/x is written twice", "  modules/b.yaml:2:10: and here"],
        ),
        (
            "files: { /etc/x: { text: a } }",
            "files: { /etc/x/y: { text: a } }",
            &["/etc/x/y cannot exist: /etc/x is a file", "  modules/b.yaml:2:10: a file here"],
        ),
        (
            "users: { b: { uid: 900, group: users } }",
            "users: { c: { uid: 900, group: users } }",
            &["users `b` and `c` have one id, 900", "  modules/b.yaml:2:10: and here"],
        ),
        (
            "groups: { b: { gid: 900 } }",
            "groups: { b: { gid: 901 } }",
            &["group `b` is declared in two ways", "  modules/b.yaml"],
        ),
        (
            "open: [tcp/80]",
            "local: [tcp/80]",
            &["modules/c.yaml:2:9: port tcp/80 is used twice", "  modules/b.yaml:2:8: and here"],
        ),
        (
            "sysctl: { kernel.x: 1 }",
            "sysctl: { kernel.x: 2 }",
            &["`kernel.x` is set to 2 and to 1", "  modules/b.yaml:2:11: and here"],
        ),
        (
            "probes: [{ stage: ssh, id: p, command: [x] }]",
            "probes: [{ stage: ssh, id: p, command: [x] }]",
            &["two probes are called `p`", "  modules/b.yaml:2:28"],
        ),
        (
            "ssh: { user: a, host-key-file: /k }",
            "ssh: { user: a, host-key-file: /k }",
            &["two modules say what SSH offers", "  modules/b.yaml"],
        ),
        (
            "prepare: { p: { command: [/a] } }",
            "prepare: { p: { command: [/a] } }",
            &["two modules say how `p` is prepared", "  modules/b.yaml:2:12: and here"],
        ),
        (
            "validate: { p: { command: [/a], files: [/b] } }",
            "validate: { p: { command: [/a], files: [/b] } }",
            &["two modules say how `p` is validated", "  modules/b.yaml:2:13: and here"],
        ),
    ] {
        check(&two(a, b), wanted);
    }
    let declared = "--- modules/a.yaml\ndescription: A.\noptions: { b: { type: int, default: 1 } }\n\
                    --- modules/a/b.yaml\ndescription: B.\noptions: { c: { type: int, default: 1 } }\n\
                    --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, a/b]\n";
    check(
        declared,
        &["modules/a/b.yaml:2:12: `a.b` and `a.b.c` cannot both be options", "  modules/a.yaml:2:12: also declared"],
    );
}

#[test]
fn contributions_are_checked() {
    for (body, wanted) in [
        ("packages: [Bad_Name]", "\"Bad_Name\" is not a package name"),
        ("packages: jq", "`packages` must be a list, not `jq`"),
        ("files: { etc/x: { text: a } }", "is not a path inside the image"),
        ("files: { /run/x: { text: a } }", "/run/x would never be seen"),
        ("files: { /etc/x: {} }", "nothing says what /etc/x is"),
        ("files: { /etc/x: { text: a, link: b } }", "/etc/x cannot be text and link at once"),
        ("files: { /etc/x: { text: a, mode: 0888 } }", "\"0888\" is not a file mode"),
        ("files: { /etc/x: { source: ../../secret } }", "there is no file modules/../../secret"),
        ("files: { /etc/x: { template: t } }", "there is no file modules/t"),
        ("files: { /etc/x: { txt: t } }", "unknown key `txt` in `/etc/x` (did you mean `text`?)"),
        ("units: { foo: {} }", "\"foo\" is not the name of a unit"),
        ("units: { foo.service: { timer: { OnCalendar: daily } } }", "a service has no section `timer`"),
        (
            "units: { foo.service: { service: { ExecStart: \"/a\\nUser=root\" } } }",
            "the value of ExecStart must be one line",
        ),
        ("units: { foo.service: { service: { \"A=b\\nC\": d } } }", "is not a directive"),
        ("state: [{ path: /srv/db }]", "state cannot be kept in /srv/db (it lives in a directory below /var"),
        ("state: [{ path: /var/lib/db, owner: dbb, group: root }]", "belongs to user `dbb`, which is not declared"),
        ("state: [{ path: /var/a }, { path: /var/a }]", "/var/a is the state of two services"),
        ("certificate-files: [c.pem]", "it must be absolute"),
        ("active: [ssh]", "\"ssh\" is not the name of a unit"),
        ("files: { '/{{ key }}': { each: '{{ host_name }}', text: '' } }", "`each` must be a map or a list"),
        (
            "probes: [{ stage: ssh, id: p }]",
            "probe `p` asks nothing (give one of command, http, http_json, alert, tcp, unix)",
        ),
        ("probes: [{ stage: ssh, id: p, command: [a], unix: /b }]", "probe `p` asks in two ways"),
        ("probes: [{ stage: ssh, id: p, command: [a], at: b }]", "`at` says nothing of a probe by command"),
        ("probes: [{ stage: ssh, id: p, http: 'http://10.0.0.1/' }]", "is not inside the machine"),
        (
            "probes: [{ stage: ssh, id: p, http: 'http://127.0.0.1/', status: 42 }]",
            "`status` must be 100 to 599, not 42",
        ),
        ("probes: [{ stage: ssh, id: p, http_json: 'http://127.0.0.1/' }]", "`http_json` needs `at` and `equals`"),
        ("probes: [{ stage: ssh, id: p, tcp: '127.0.0.1' }]", "is not a socket"),
        ("probes: [{ stage: ssh, id: p, alert: '127.0.0.1:1' }]", "`alert` needs `messages`"),
        (
            "probes: [{ stage: ssh, id: p, alert: '127.0.0.1:1', messages: 0, inapplicable: '' }]",
            "`messages` must be a whole number from 1, not 0",
        ),
        ("probes: [{ stage: ssh, id: p, alert: '10.0.0.1:1', messages: 1 }]", "is not inside the machine"),
        ("units: { foo.service: { service: { User: webb } } }", "user `webb`, which is not declared"),
        (
            "units: { foo.service: { service: { ExecStart: /a }, enable: true } }",
            "foo.service is enabled but nothing wants it",
        ),
        ("units: { foo.service: { sandbox: stric } }", "there is no sandbox profile `stric`"),
        ("units: { foo.timer: { mask: true, enable: true } }", "`enable` says nothing of a unit that is masked"),
        ("users: { a: { group: users } }", "`a` has no `uid`"),
        ("users: { A: { uid: 900, group: users } }", "\"A\" cannot name a user or group"),
        ("users: { a: { uid: -1, group: users } }", "`uid` must be a number that can be an id, not -1"),
        ("users: { a: { uid: 900 } }", "user `a` belongs to no group `a`"),
        ("users: { web: { uid: 33, group: users } }", "user `web` has id 33, but Debian gives 33 to user `www-data`"),
        ("users: { a: { uid: 900, group: users, description: 'a:b' } }", "cannot hold `:`"),
        ("open: [tcp/0]", "\"tcp/0\" is not a port (write the protocol"),
        ("stages: [nope]", "there is no stage `nope`"),
        ("ssh: { user: a, host-key-file: /k, bans: many }", "`bans` must be a whole number from 0, not many"),
        ("ssh: { user: a, host-key-file: /k, bans: 5 }", "`bans` needs `pardon`"),
        ("ssh: { user: a, host-key-file: /k, bans: 5, pardon: [b], bans-option: b.c }", "there is no option `b.c`"),
        (
            "ssh: { user: a, host-key-file: /k, bans: 5, pardon: [b], bans-option: b/c }",
            "`bans-option`: \"b/c\" is not an option name",
        ),
        ("https: { a: { certificate: /c } }", "`a` has no `port`"),
        ("https: { a: { port: 0, certificate: /c } }", "`port` must be a whole number from 1, not 0"),
        ("https: { a: { port: 70000, certificate: /c } }", "`port` must be a whole number from 1, not 70000"),
        ("https: { a: { port: 1, certificate: c } }", "`certificate`: "),
        (
            "https: { a: { port: 1, certificate: /c, hosts: [a b] } }",
            "\"a b\" is no host that a certificate could be for",
        ),
        ("https: { a: { port: 1, certificate: /c, pages: { x: 200 } } }", "\"x\" is not the path of a URL"),
        ("https: { a: { port: 1, certificate: /c, pages: { '/x y': 200 } } }", "\"/x y\" is not the path of a URL"),
        ("https: { a: { port: 1, certificate: /c, pages: { /: 99 } } }", "a status must be 200 to 599, not 99"),
        (
            "https: { a: { port: 1, certificate: /c, webhooks: { /x: { secret: s, schemes: [], body: 1 } } } }",
            "the webhook /x of site `a` needs secret `s`, which no module declares",
        ),
        (
            "https: { a: { port: 1, certificate: /c, webhooks: { /x: { secret: s, schemes: [], body: much } } } }",
            "`body` must be a size, not much",
        ),
        ("sysctl: { kernel.x: \"1\\n2\" }", "the value of `kernel.x` must be one line"),
        ("sysctl: { \"kernel x\": 1 }", "is not a setting of the kernel"),
        ("cmdline: [\"a\\nb\"]", "is not one kernel parameter"),
        ("prepare: { a: { command: [sh, -c, 'true'] } }", "a command must begin with the path of a program"),
        ("validate: { a: { command: [sh], files: [/a] } }", "a command must begin with the path of a program"),
        ("validate: { a: { command: [/sh], files: [a] } }", "the path of a file must begin with /"),
        ("cmdline: ['console={{ host_name }} init=/bin/sh']", "is not one kernel parameter"),
        ("kernel-modules: { initrd: [a/b] }", "is not the name of a kernel module"),
        ("journal-allow: [{ pattern: '(', reason: r }]", "this is not a regular expression"),
        ("key-allow: [{ pattern: '/**', reason: r }]", "a pattern of files is an absolute path"),
        ("journal-allow: [{ pattern: a }]", "an entry of `journal-allow` has no `reason`"),
        ("suite-allow: [{ suite: gixy, finding: x }]", "an entry of `suite-allow` has no `reason`"),
        ("suite-allow: [{ suite: nessus, finding: x, reason: r }]", "\"nessus\" is not a suite: gixy, "),
        (
            "suite-allow: [{ suite: gixy, finding: x, reason: r, at-most: high }]",
            "`at-most` is a figure with one decimal",
        ),
        ("probes: [{ stage: ssh, id: p, command: [] }]", "probe `p` runs nothing"),
        ("profiles: { strict: {} }", "profiles stand in the module sandbox only"),
        ("exclude: [usr]", "must begin with /"),
        (
            "assertions: [{ that: '{{ not enable }}', message: 'enable is {{ enable }}' }]",
            "modules/a.yaml:3:22: enable is true",
        ),
        ("open: ['tcp/{{ host_name }}']", "\"tcp/h\" is not a port"),
    ] {
        check(&module(body), &[wanted]);
    }
}

#[test]
fn what_is_switched_off_is_checked_too() {
    check(
        &module("when: false\nfiles: { /etc/x: { txt: a } }\nopen: tcp/1"),
        &["unknown key `txt`", "`open` must be a list"],
    );
}

#[test]
fn options_without_a_value_are_asked_for_where_they_count() {
    let text = |when: &str| {
        format!(
            "--- modules/a.yaml\ndescription: A.\noptions: {{ x: {{ type: int, description: How many. }} }}\nwhen: {when}\n\
             --- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"
        )
    };
    check(
        &text("true"),
        &["modules/a.yaml:2:12: `a.x` has no value: it must be a whole number (set `a.x` in the image)"],
    );
    good(&text("false"));
}

#[test]
fn one_mistake_is_told_once_and_all_mistakes_are_told() {
    check(
        &option(
            "{ x: { type: int }, y: { type: int, default: '{{ x }}' }, z: { type: int, default: '{{ y }}' }, w: { type: bool } }",
            "{ a.x: bad, a.w: maybe, c.d: 1 }",
        ),
        &["`a.x` must be a whole number", "`a.w` must be true or false", "there is no option `c.d`"],
    );
}
