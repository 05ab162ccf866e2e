//! Small projects and what they come to. A project is one text; `--- path` begins a file.

use super::*;
use crate::tree::Content;

mod bad;
mod checks;
mod docs;
mod faults;
mod good;
mod hostile;
mod keys;
mod replaced;
mod units;

/// Reads a project; an image `x` and a module `a` with a few options are always there unless the text has its own.
/// A path below `<rave>/` is that of a file of rave's own.
pub(super) fn project(text: &str) -> Project {
    let mut project = Project::default();
    let defaults = "--- images/x.yaml\nname: x\nversion: 1.0\n--- modules/a.yaml\ndescription: A.\n";
    for file in defaults.split("--- ").chain(text.split("--- ")).skip(1).filter(|file| !file.is_empty()) {
        let (path, content) = file.split_once('\n').expect("a file's path ends with its line");
        let yaml = path.strip_suffix(".yaml").map(|path| path.strip_prefix("<rave>/").unwrap_or(path));
        if let Some(name) = yaml.and_then(|path| path.strip_prefix("images/")) {
            project.images.insert(name.into(), Source::new(path, content));
        } else if let Some(name) = yaml.and_then(|path| path.strip_prefix("modules/")) {
            project.modules.insert(name.into(), Source::new(path, content));
        } else {
            project.files.insert(path.into(), content.into());
        }
    }
    project
}

/// Diagnostics as text: one line each, and one for each further place.
fn told(errors: &[Diagnostic]) -> String {
    let mut text = String::new();
    for error in errors {
        text += &format!("{error}\n");
        for (origin, remark) in error.labels.iter().skip(1) {
            text += &format!("  {origin}: {remark}\n");
        }
    }
    text
}

/// The evaluation of image x.
pub(super) fn good(text: &str) -> Evaluation {
    evaluate(&project(text), "x", &[], None).unwrap_or_else(|errors| panic!("{}\n{text}", told(&errors)))
}

/// What is wrong with image x.
fn errors(text: &str) -> String {
    told(&evaluate(&project(text), "x", &[], None).expect_err(text))
}

/// A module `a` with these options, and an image with this configuration.
fn option(options: &str, config: &str) -> String {
    format!(
        "--- modules/a.yaml\ndescription: A.\noptions: {options}\n--- images/x.yaml\nname: x\nversion: 1.0\nimports: [a]\nconfig: {config}\n"
    )
}

/// The JSON of one option of image x.
fn value(text: &str, option: &str) -> String {
    let evaluation = good(text);
    evaluation.system.options[&option.parse().unwrap()].value.to_string()
}

/// The text of a file of the tree.
fn file(evaluation: &Evaluation, path: &str) -> String {
    match &evaluation.system.tree.get(&path.parse().unwrap()).unwrap_or_else(|| panic!("no {path}")).content {
        Content::File(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Content::Symlink(target) => format!("-> {target}"),
        other => format!("{other:?}"),
    }
}
