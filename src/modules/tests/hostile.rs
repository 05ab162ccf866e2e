//! Arbitrary texts never panic, and order does not matter.

use super::*;
use proptest::prelude::*;

/// A project that uses most of what there is, for tests to break.
const WHOLE: &str = "--- modules/a.yaml
description: A.
imports: [b]
options:
  enable: { type: bool, default: true, description: Run it. }
  port: { type: port, default: 80, min: 1 }
  keep: { type: duration, default: 168h, max: 30d }
  group: { x: { type: one-of, of: [int, string], default: 1 } }
  sites: { type: map, default: {}, of: { type: submodule, options: { root: { type: guest-path } } } }
when: \"{{ enable and keep >= '1h' }}\"
packages: [jq]
users: { web: { uid: 900, group: web, groups: [adm] } }
groups: { web: { gid: 900 } }
files:
  /etc/a: { text: \"{% for n, s in sites|items %}{{ n }} {{ s.root }}{% endfor %}\\n\", mode: \"0600\" }
units:
  a.service: { service: { User: web, MemoryMax: 64M }, install: { WantedBy: a.target }, enable: true }
sysctl: { kernel.a: \"{{ port }}\" }
open: [\"tcp/{{ port }}\"]
set: { b.list: [1, 2], b.map: { x: !force 3 } }
assertions: [{ that: \"{{ port != 22 }}\", message: no }]
probes: [{ stage: services, id: a.b, command: [x], contains: y }]
--- modules/b.yaml
description: B.
options: { list: { type: list, of: int, default: [] }, map: { type: map, of: int, default: {} } }
--- images/x.yaml
name: x
version: 1.0
imports: [a]
config: { a.sites.one.root: /srv, a.port: \"{{ b.list[0] }}\", b: { map: { y: 4 } } }
";

#[test]
fn the_whole_is_right_before_it_is_broken() {
    assert_eq!(value(WHOLE, "b.map"), r#"{"x":3,"y":4}"#);
}

fn run(text: &str) {
    let _ = evaluate(&project(text), "x", &[], None);
}

/// Modules of the library, as they ship.
const REAL: [(&str, &str); 6] = [
    ("base/firewall", include_str!("../../../modules/base/firewall.yaml")),
    ("base/kernel", include_str!("../../../modules/base/kernel.yaml")),
    ("base/network", include_str!("../../../modules/base/network.yaml")),
    ("base/ssh", include_str!("../../../modules/base/ssh.yaml")),
    ("base/state", include_str!("../../../modules/base/state.yaml")),
    ("environment", include_str!("../../../modules/environment.yaml")),
];

/// Pieces of the language, to be put where they do not belong.
const PIECES: [&str; 16] = [
    "{{ enable }}",
    "{{",
    "}}",
    "{% for x in",
    "!before ",
    "!force",
    "each: '{{ tcp }}'",
    "when: no",
    "- ",
    ": ",
    "[",
    "{ ",
    "\u{fdd0}",
    "&a *a",
    "type: submodule",
    "99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_the_library_makes_it_panic(
        victim in 0..REAL.len(), at in 0..4000usize, length in 0..60usize, piece in prop::sample::select(PIECES.to_vec()),
    ) {
        let mut project = project("--- images/x.yaml\nname: x\nversion: 1.0\nimports: [base/firewall, base/kernel, base/network, base/ssh, base/state]\n\
                                   config: { environment.files: { /etc/x: { text: x } } }\n");
        let mut text = REAL[victim].1.to_owned();
        let from = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let to = (from + length..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text.replace_range(from..to, piece);
        for (index, (path, whole)) in REAL.iter().enumerate() {
            let text = if index == victim { &text } else { *whole };
            project.modules.insert((*path).to_owned(), Source::new(*path, text));
        }
        let _ = evaluate(&project, "x", &[], None);
    }

    /// What modules say of maps, sets and scalars counts the same whoever says it, and in whichever file.
    #[test]
    fn merging_does_not_depend_on_who_says_what(
        parts in prop::collection::vec(0..4usize, 8), tags in prop::collection::vec(prop::sample::select(vec!["", "!force ", "!default "]), 2),
    ) {
        let module = |names: [&str; 4], parts: &[usize]| {
            let body = |at: usize| {
                let own: Vec<usize> = (0..8).filter(|definition| parts[*definition] == at).collect();
                let list = own.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                let map = own.iter().map(|d| format!("m{d}: {d}")).collect::<Vec<_>>().join(", ");
                let one = if own.is_empty() { String::new() } else { format!(", a.one: {}7", tags[0]) };
                if own.is_empty() { String::new() } else { format!("set: {{ a.set: {}[{list}], a.map: {{ {map} }}{one} }}\n", tags[1]) }
            };
            (0..4).map(|at| format!("--- modules/{}.yaml\ndescription: B.\n{}", names[at], body(at))).collect::<String>()
        };
        let a = "--- modules/a.yaml\ndescription: A.\noptions: { set: { type: set, of: int, default: [] }, map: { type: map, of: int, default: {} }, one: { type: int, default: 1 } }\n";
        let image = "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a, b, c, d, e]\n";
        let values = |modules: String| {
            let text = format!("{a}{modules}{image}");
            ["a.set", "a.map", "a.one"].map(|option| value(&text, option))
        };
        let one = values(module(["b", "c", "d", "e"], &[0; 8]));
        prop_assert_eq!(&values(module(["b", "c", "d", "e"], &parts)), &one);
        prop_assert_eq!(&values(module(["e", "d", "c", "b"], &parts)), &one);
    }

    /// Lists: before, between, after; within each by the names of modules.
    #[test]
    fn the_order_of_a_list_is_the_stated_one(
        turns in prop::collection::vec(0..3usize, 4), imports in Just(vec!["b", "c", "d", "e"]).prop_shuffle(),
    ) {
        let tags = ["!before ", "", "!after "];
        let names = ["b", "c", "d", "e"];
        let modules: String = (0..4)
            .map(|at| format!("--- modules/{}.yaml\ndescription: B.\nset: {{ a.list: {}[{}] }}\n", names[at], tags[turns[at]], names[at]))
            .collect();
        let a = "--- modules/a.yaml\ndescription: A.\noptions: { list: { type: list, of: string, default: [] } }\n";
        let text = format!("{a}{modules}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [{}]\n", imports.join(", "));
        let mut wanted: Vec<(usize, &str)> = turns.iter().copied().zip(names).collect();
        wanted.sort_unstable();
        let wanted: Vec<&str> = wanted.into_iter().map(|(_, name)| name).collect();
        prop_assert_eq!(value(&text, "a.list"), format!("{wanted:?}").replace(", ", ","));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_a_module_makes_it_panic(text in "[a-z{}\\[\\]:,.'\"!%| \n-]{0,200}") {
        run(&format!("--- modules/a.yaml\n{text}\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\n"));
        run(&format!("--- images/x.yaml\n{text}\n"));
    }

    #[test]
    fn no_template_makes_it_panic(text in "[a-z0-9{}()\\[\\].'%|~*+<>= #é-]{0,60}") {
        let text = text.replace('\'', "''");
        run(&option("{ x: { type: string, default: d }, y: { type: int, default: 1 } }", &format!("{{ a.x: '{{{{ {text} }}}}' }}")));
    }

    #[test]
    fn no_damage_to_a_project_makes_it_panic(at in 0..WHOLE.len(), length in 0..40usize, with in "[a-z0-9{}:,\\[\\] '\"!\n-]{0,12}") {
        let end = (at + length).min(WHOLE.len());
        // The test's own notation must stay whole.
        let damaged = format!("{}{with}{}", &WHOLE[..at], &WHOLE[end..]);
        if damaged.matches("--- ").count() == 3 && damaged.contains("--- images/x.yaml\n") && damaged.starts_with("--- ") {
            run(&damaged);
        }
    }

    #[test]
    fn the_order_of_imports_and_keys_does_not_matter(
        names in Just(vec!["b", "c", "d", "e"]).prop_shuffle(),
        sets in prop::collection::vec((prop::sample::select(vec!["", "!force ", "!default "]), 1..3u8), 4),
    ) {
        let module = |index: usize| {
            let (tag, number) = sets[index];
            let name = ["b", "c", "d", "e"][index];
            format!("--- modules/{name}.yaml\ndescription: B.\nset: {{ a.list: {tag}[{number}], a.map.m{number}: {tag}{number}, a.one: {tag}{number} }}\n")
        };
        let a = "--- modules/a.yaml\ndescription: A.\noptions: { list: { type: list, of: int }, map: { type: map, of: int }, one: { type: int } }\n";
        let text = |names: &[&str]| {
            let modules: String = (0..4).map(module).collect();
            format!("{a}{modules}--- images/x.yaml\nname: x\nversion: 1.0\nimports: [{}]\n", names.join(", "))
        };
        let one = evaluate(&project(&text(&["b", "c", "d", "e"])), "x", &[], None);
        let other = evaluate(&project(&text(&names)), "x", &[], None);
        prop_assert_eq!(one.as_ref().map(|e| &e.system), other.as_ref().map(|e| &e.system));
    }
}

#[test]
fn what_computes_or_grows_without_end_is_stopped() {
    for (template, wanted) in [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "computes too long"),
        ("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "gives more than"),
        ("{{ range(9999)|join('x' * 9999) }}", "longer than"),
        ("{{ ('x' * 9999)|replace('x', 'y' * 9999) }}", "longer than"),
        ("{% set x = 1 %}", "templates have no statement `set`"),
        ("{% macro x() %}{% endmacro %}", "templates have no statement `macro`"),
    ] {
        let told = errors(&option("{ x: { type: string } }", &format!("{{ a.x: \"{template}\" }}")));
        assert!(told.contains(wanted), "{template}: {told}");
    }
}

#[test]
fn two_hundred_modules_are_quick() {
    let mut text = String::new();
    for n in 0..200 {
        text += &format!(
            "--- modules/s/m{n}.yaml\ndescription: M.\nimports: [{}]\noptions:\n  enable: {{ type: bool, default: true }}\n",
            if n > 0 { format!("s/m{}", n - 1) } else { String::new() }
        );
        text += "  port: { type: port, default: 80 }\n  keep: { type: duration, default: 7d }\nwhen: '{{ enable }}'\n";
        text += &format!("files: {{ /etc/m{n}: {{ text: 'port {{{{ port }}}} {{{{ keep }}}}' }} }}\n");
        text += &format!("units: {{ m{n}.service: {{ service: {{ ExecStart: /bin/m }} }} }}\n");
    }
    text += "--- images/x.yaml\nname: x\nversion: 1.0\nimports: [s/m199]\n";
    assert_eq!(good(&text).system.tree.len(), 400);
}
