use proptest::prelude::*;

use super::super::relation::{Relation, alternatives, entries, version};
use super::super::test_archive::stanza;
use super::super::universe::Index;
use super::*;

fn indices(text: &str) -> Vec<Index> {
    vec![Index { archive: 0, text: text.to_owned() }]
}

fn outcome(text: &str, asked: &[&str], recommends: bool) -> Result<Vec<String>, Unsolved> {
    let indices = indices(text);
    let universe = Universe::new(&indices, usize::MAX).unwrap();
    let packages = asked.iter().copied().collect();
    let wish = Wish { packages: &packages, recommends, pins: &BTreeMap::new() };
    let numbers = solve(&universe, &wish)?;
    Ok(numbers.iter().map(|n| format!("{} {}", universe.candidate(*n).name, universe.candidate(*n).version)).collect())
}

fn closure(text: &str, asked: &[&str]) -> Vec<String> {
    outcome(text, asked, false).unwrap()
}

fn explained(text: &str, asked: &[&str]) -> Vec<String> {
    match outcome(text, asked, false) {
        Err(Unsolved::Unsatisfiable(lines)) => lines,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_alternative_and_the_real_package_are_preferred() {
    let text = [
        stanza("w", "1", "Depends: a | b"),
        stanza("a", "1", ""),
        stanza("b", "1", "Provides: v"),
        stanza("c", "1", "Provides: v, r"),
        stanza("r", "1", ""),
        stanza("x", "1", "Depends: v"),
        stanza("y", "1", "Depends: r"),
        stanza("z", "1", "Depends: nothing | c"),
    ]
    .concat();
    assert_eq!(closure(&text, &["w"]), ["a 1", "w 1"]);
    assert_eq!(closure(&text, &["x"]), ["b 1", "x 1"], "the first provider by name");
    assert_eq!(closure(&text, &["y"]), ["r 1", "y 1"], "not the provider");
    assert_eq!(closure(&text, &["z"]), ["c 1", "z 1"], "what exists");
    assert_eq!(closure(&text, &["c", "x"]), ["c 1", "x 1"], "what is there anyway");
}

#[test]
fn providers_are_ranked_by_priority() {
    let text = [
        stanza("x", "1", "Depends: awk"),
        stanza("gawk", "1", "Provides: awk\nPriority: optional"),
        stanza("mawk", "1", "Provides: awk\nPriority: required"),
    ]
    .concat();
    assert_eq!(closure(&text, &["x"]), ["mawk 1", "x 1"]);
}

#[test]
fn provided_versions_count_where_a_bound_is_given() {
    let text = [
        stanza("x", "1", "Depends: v (>= 2)"),
        stanza("a", "9", "Provides: v"),
        stanza("b", "9", "Provides: v (= 1)"),
        stanza("c", "9", "Provides: w, v (= 2)"),
    ]
    .concat();
    assert_eq!(closure(&text, &["x"]), ["c 9", "x 1"]);
}

#[test]
fn an_older_version_is_taken_where_the_newest_does_not_fit() {
    let text = [
        stanza("x", "1", "Depends: a (<< 2), b"),
        stanza("a", "2", ""),
        stanza("a", "1.5", ""),
        stanza("a", "1", ""),
        stanza("b", "2", "Breaks: a (<< 2)"),
        stanza("b", "1", ""),
    ]
    .concat();
    assert_eq!(closure(&text, &["x"]), ["a 1.5", "b 1", "x 1"]);
    assert_eq!(closure(&text, &["a", "b"]), ["a 2", "b 2"]);
}

#[test]
fn a_package_may_conflict_with_what_it_provides_itself() {
    let text = [
        stanza("a", "1", "Provides: mta\nConflicts: mta"),
        stanza("b", "1", "Provides: mta\nConflicts: mta"),
        stanza("c", "1", "Depends: mta"),
    ]
    .concat();
    assert_eq!(closure(&text, &["b", "c"]), ["b 1", "c 1"]);
    let lines = explained(&text, &["a", "b"]).join("\n");
    assert!(lines.contains("conflicts with mta, which"), "{lines}");
}

#[test]
fn other_architectures_do_not_count() {
    let foreign = stanza("a", "9", "").replace("amd64", "arm64");
    let text = [
        foreign,
        stanza("a", "1", ""),
        stanza("b", "1", "Depends: a:any"),
        stanza("c", "1", "Depends: a:i386 | d\nConflicts: a:i386"),
        stanza("d", "1", ""),
    ]
    .concat();
    assert_eq!(closure(&text, &["a", "b", "c"]), ["a 1", "b 1", "c 1", "d 1"]);
}

#[test]
fn essential_packages_are_always_there() {
    let text = [stanza("a", "1", ""), stanza("base", "1", "Essential: yes\nDepends: a")].concat();
    assert_eq!(closure(&text, &[]), ["a 1", "base 1"]);
}

#[test]
fn recommends_are_followed_as_far_as_they_go() {
    let text = [
        stanza("x", "1", "Recommends: a, missing, clash | b, d"),
        stanza("a", "1", "Recommends: c"),
        stanza("b", "1", ""),
        stanza("c", "1", "Recommends: x"),
        stanza("clash", "1", "Conflicts: x"),
        stanza("d", "1", "Depends: e"),
        stanza("e", "1", "Breaks: x"),
    ]
    .concat();
    assert_eq!(closure(&text, &["x"]), ["x 1"]);
    assert_eq!(outcome(&text, &["x"], true).unwrap(), ["a 1", "b 1", "c 1", "x 1"]);
}

#[test]
fn an_explanation_names_the_chain() {
    let text = [stanza("web", "1", "Depends: lib (>= 2)"), stanza("lib", "1", "")].concat();
    assert_eq!(explained(&text, &["web"]), ["web is asked for, web 1 needs lib (>= 2), but there is only lib 1"]);

    let text = [stanza("top", "3", "Depends: mid"), stanza("mid", "2", "Pre-Depends: gone (= 1) | lost")].concat();
    assert_eq!(
        explained(&text, &["top"]),
        ["top is asked for, top 3 needs mid, mid 2 needs gone (= 1) | lost, which no archive has"]
    );

    let text = [stanza("a", "1", "Depends: c"), stanza("b", "1", "Conflicts: c (<< 2)"), stanza("c", "1", "")].concat();
    assert_eq!(
        explained(&text, &["a", "b"]),
        ["b is asked for, b 1 conflicts with c (<< 2), but a is asked for, a 1 needs c"]
    );

    let text = [
        stanza("a", "1", "Depends: c (>= 2)"),
        stanza("base", "1", "Essential: yes\nDepends: c (<< 2)"),
        stanza("c", "1", ""),
        stanza("c", "2", ""),
    ]
    .concat();
    let lines = explained(&text, &["a"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("a 1 needs c (>= 2)"), "{lines:?}");
    assert!(lines[0].contains("base is essential, base 1 needs c (<< 2)"), "{lines:?}");
}

/// Whether `chosen` has what `entry` asks for, found without the solver's help.
fn holds(entry: &str, chosen: &[(String, String, String)]) -> bool {
    let satisfies = |relation: &Relation| {
        chosen.iter().any(|(name, own, provides)| {
            (name == relation.name && relation.admits(Some(&version(own).unwrap())))
                || entries(provides).any(|p| p == relation.name && relation.admits(None))
        })
    };
    alternatives(entry).unwrap().iter().any(satisfies)
}

fn stanzas_of_a_small_world() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["aa", "bb", "cc", "dd", "ee", "ff"]);
    let bound = prop::sample::select(vec!["", " (>= 2)", " (<< 2)", " (= 1)"]);
    let relation = (name.clone(), bound).prop_map(|(n, b)| format!("{n}{b}"));
    let entry = prop::collection::vec(relation.clone(), 1..3).prop_map(|alternatives| alternatives.join(" | "));
    let package = (
        name,
        prop::sample::select(vec!["1", "2", "3"]),
        prop::collection::vec(entry, 0..3),
        prop::collection::vec(relation, 0..2),
        prop::sample::select(vec!["", "v", "aa"]),
    );
    let package = package.prop_map(|(name, version, depends, conflicts, provides)| {
        let lines =
            [("Depends", depends.join(", ")), ("Conflicts", conflicts.join(", ")), ("Provides", provides.into())];
        let lines: Vec<_> = lines.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k}: {v}")).collect();
        stanza(name, version, &lines.join("\n"))
    });
    prop::collection::vec(package, 1..12).prop_map(|stanzas| stanzas.concat())
}

proptest! {
    /// Whatever the archive holds: an answer satisfies every relation, and a refusal is explained.
    #[test]
    fn every_answer_is_a_closure(text in stanzas_of_a_small_world(), recommends: bool) {
        let indices = indices(&text);
        let universe = Universe::new(&indices, usize::MAX).unwrap();
        let packages: BTreeSet<&str> = universe.names().take(2).collect();
        let wish = Wish { packages: &packages, recommends, pins: &BTreeMap::new() };
        match solve(&universe, &wish) {
            Ok(numbers) => {
                let of = |n: &usize| {
                    let (c, stanza) = (universe.candidate(*n), universe.stanza(*n).unwrap());
                    (c.name.to_owned(), c.version.to_owned(), stanza.get("Provides").unwrap_or("").to_owned())
                };
                let chosen: Vec<_> = numbers.iter().map(of).collect();
                let names: BTreeSet<_> = chosen.iter().map(|c| &c.0).collect();
                prop_assert_eq!(names.len(), chosen.len(), "no package twice");
                prop_assert!(packages.iter().all(|p| chosen.iter().any(|c| c.0 == *p)));
                for number in &numbers {
                    let stanza = universe.stanza(*number).unwrap();
                    for entry in entries(stanza.get("Depends").unwrap_or("")) {
                        prop_assert!(holds(entry, &chosen), "{} lacks {}", of(number).0, entry);
                    }
                    let others: Vec<_> = chosen.iter().filter(|c| c.0 != of(number).0).cloned().collect();
                    for entry in entries(stanza.get("Conflicts").unwrap_or("")) {
                        prop_assert!(!holds(entry, &others), "{} stands beside {}", of(number).0, entry);
                    }
                }
                prop_assert_eq!(solve(&universe, &wish).unwrap(), numbers, "the same answer every time");
            }
            Err(Unsolved::Unsatisfiable(lines)) => {
                prop_assert!(!lines.is_empty());
                let Err(Unsolved::Unsatisfiable(again)) = solve(&universe, &wish) else { panic!() };
                prop_assert_eq!(lines, again, "the same explanation every time");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
