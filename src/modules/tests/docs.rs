//! The guide for authors says what is so: its example evaluates, and it names every key, type and format.

use super::super::escape::FORMATS;
use super::super::scalars::SCALARS;
use super::super::shape::{MODULE, Shape};
use super::*;

const GUIDE: &str = include_str!("../../../docs/modules.md");

/// The files of the guide: blocks whose first line is a comment with a path.
fn example() -> String {
    let blocks = GUIDE.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let files = blocks.filter_map(|(_, text)| text.strip_prefix("# ")?.split_once('\n'));
    let files = files.filter(|(path, _)| path.starts_with("modules/") || path.starts_with("images/"));
    files.map(|(path, text)| format!("--- {path}\n{text}")).collect()
}

#[test]
fn the_example_of_the_guide_evaluates() {
    let text = example();
    let project = project(&text);
    let evaluation = evaluate(&project, "wiki", &[], None).unwrap_or_else(|errors| panic!("{}\n{text}", told(&errors)));
    assert_eq!(
        file(&evaluation, "/etc/notes/notes.yaml"),
        "listen: \"127.0.0.1:8080\"\nkeep: 30d\neditors: [\"ana\",\"bo\"]\nmotto: \"it's: ours\"\n"
    );
    assert!(
        file(&evaluation, "/etc/systemd/system/notes.service")
            .contains("LoadCredential=notes-token:/run/secrets/notes-token")
    );
    assert!(evaluation.system.expect.open.contains_key("tcp/8443"));
    assert!(evaluation.system.tree.contains_key(&"/etc/notes/rules.d/daily.conf".parse().unwrap()));
}

#[test]
fn the_guide_names_everything_there_is() {
    let Shape::Record(keys) = &MODULE else { panic!("a module is a record") };
    let keys = keys.iter().map(|key| key.name);
    let types = SCALARS.iter().map(|scalar| scalar.name);
    let formats = FORMATS.iter().map(|(name, _)| *name);
    let others =
        ["enum", "list", "set", "map", "submodule", "nullable", "one-of", "!default", "!force", "!before", "!after"];
    let missing: Vec<&str> =
        keys.chain(types).chain(formats).chain(others).filter(|word| !GUIDE.contains(&format!("`{word}`"))).collect();
    assert_eq!(missing, [] as [&str; 0]);
}
