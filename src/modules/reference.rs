//! Every option that there is, for people who look for one.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::imports::Catalogue;
use super::module::Module;
use super::types::{Declared, Type};
use super::yaml::{Kind, Node, Style};
use super::{Project, tidy};
use crate::origin::{Diagnostic, Origin};

/// What is known of an option without any image. Fields of submodules are listed like options: a part of the name
/// in `<>` stands for any key, and `*` for any entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Full name: `services.nginx.port`, `environment.files.<name>.text`.
    pub name: String,
    /// Type, in the words of a module: `list of port`.
    pub kind: String,
    /// Default; none where a value has to be given. Templates are shown as they are written.
    pub default: Option<Json>,
    /// Example.
    pub example: Option<Json>,
    /// What it is for.
    pub description: String,
    /// The place of the declaration.
    pub declared: Origin,
    /// The module that declares it, by its path.
    pub module: String,
}

/// All options of a project's modules, by name.
///
/// # Errors
/// Whatever is wrong with any module file.
pub fn reference(project: &Project) -> Result<Vec<Reference>, Vec<Diagnostic>> {
    let catalogue = catalogue(project)?;
    let mut all = Vec::new();
    for (path, declared) in catalogue.iter() {
        add(path, declared, &mut all);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// What each module of a project is for, by its path.
pub fn descriptions(project: &Project) -> BTreeMap<String, String> {
    let described = Module::parse_all(project).into_values().map(|module| {
        let text = module.get("description").map(|node| &node.kind);
        let text = if let Some(Kind::Scalar { text, .. }) = text { text.trim().to_owned() } else { String::new() };
        (module.path, text)
    });
    described.collect()
}

/// All declarations of a project.
pub(super) fn catalogue(project: &Project) -> Result<Catalogue, Vec<Diagnostic>> {
    let mut modules = Module::parse_all(project);
    let catalogue = Catalogue::new(&mut modules);
    let errors: Vec<Diagnostic> = modules.into_values().flat_map(|module| module.errors).collect();
    if errors.is_empty() { Ok(catalogue) } else { Err(tidy(errors)) }
}

fn add(name: &str, declared: &Declared, all: &mut Vec<Reference>) {
    let json = |node: &Option<Node>| node.as_ref().map(|node| plain(&declared.ty, node));
    all.push(Reference {
        name: name.to_owned(),
        kind: declared.ty.short(),
        default: json(&declared.default),
        example: json(&declared.example),
        description: declared.description.trim().to_owned(),
        declared: declared.origin.clone(),
        module: declared.module.clone(),
    });
    for (part, field) in fields(&declared.ty) {
        add(&format!("{name}{part}"), field, all);
    }
}

/// The fields of a submodule within a type, each with what its name adds.
fn fields(ty: &Type) -> Vec<(String, &Declared)> {
    let below = |part: &str, of| fields(of).into_iter().map(|(name, field)| (format!("{part}{name}"), field)).collect();
    match ty {
        Type::Submodule(fields) => fields.iter().map(|(name, field)| (format!(".{name}"), field)).collect(),
        Type::Map(of) => below(".<name>", of),
        Type::List { of, .. } => below(".*", of),
        Type::Nullable(of) => fields(of),
        _ => Vec::new(),
    }
}

/// A value as it is written, in canonical form where it is no template.
pub(super) fn plain(ty: &Type, node: &Node) -> Json {
    match (ty, &node.kind) {
        (Type::Nullable(_), _) if node.is_null() => Json::Null,
        (Type::Nullable(of), _) => plain(of, node),
        (Type::List { of, .. }, Kind::List(items)) => items.iter().map(|item| plain(of, item)).collect(),
        (Type::Map(of), Kind::Map(entries)) => {
            entries.iter().map(|(key, node)| (key.text.clone(), plain(of, node))).collect()
        }
        (Type::Submodule(fields), Kind::Map(entries)) => {
            let known = |name: &str, node: &Node| fields.get(name).map_or_else(|| raw(node), |f| plain(&f.ty, node));
            entries.iter().map(|(key, node)| (key.text.clone(), known(&key.text, node))).collect()
        }
        (Type::OneOf(types), Kind::Scalar { .. }) => {
            types.iter().find_map(|ty| ty.leaf(node).ok()).map_or_else(|| raw(node), |value| value.json())
        }
        (ty, Kind::Scalar { .. }) => ty.leaf(node).map_or_else(|_| raw(node), |value| value.json()),
        _ => raw(node),
    }
}

fn raw(node: &Node) -> Json {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => Json::Null,
        Kind::Scalar { text, style: Style::Plain } if text == "true" || text == "false" => Json::Bool(text == "true"),
        Kind::Scalar { text, .. } => Json::String(text.clone()),
        Kind::List(items) => items.iter().map(raw).collect(),
        Kind::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), raw(node))).collect(),
    }
}

/// How well an option answers a question; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Exact,
    Prefix,
    Name,
    Description,
}

/// The options that hold every word of `query` in their name or description, the best first: the one of that name,
/// those whose names begin with it, those that have it in their names, the others.
pub fn search(options: Vec<Reference>, query: &str) -> Vec<Reference> {
    let query = query.trim().to_lowercase();
    let words: Vec<&str> = query.split_whitespace().collect();
    let rank = |option: &Reference| {
        let (name, about) = (option.name.to_lowercase(), option.description.to_lowercase());
        if !words.iter().all(|word| name.contains(word) || about.contains(word)) {
            return None;
        }
        Some(match () {
            () if name == query => Rank::Exact,
            () if name.starts_with(&query) => Rank::Prefix,
            () if words.iter().all(|word| name.contains(word)) => Rank::Name,
            () => Rank::Description,
        })
    };
    let mut found: Vec<(Rank, Reference)> =
        options.into_iter().filter_map(|option| Some((rank(&option)?, option))).collect();
    found.sort_by(|(a, first), (b, second)| a.cmp(b).then_with(|| first.name.cmp(&second.name)));
    found.into_iter().map(|(_, option)| option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Source;

    fn options(text: &str) -> Vec<Reference> {
        let source = Source::new("modules/a.yaml", format!("description: A.\noptions:\n{text}"));
        let project = Project { modules: BTreeMap::from([("a".to_owned(), source)]), ..Project::default() };
        reference(&project).unwrap()
    }

    #[test]
    fn an_option_is_told_with_its_type_default_and_place() {
        for (declared, kind, default) in [
            ("{ type: duration, default: 168h }", "duration", "\"7d\""),
            ("{ type: list, of: port, default: [80, 443] }", "list of port", "[80,443]"),
            ("{ type: enum, values: [a, b], default: a }", "a or b", "\"a\""),
            ("{ type: string, default: \"{{ a.y }}\" }", "string", "\"{{ a.y }}\""),
            (
                "{ type: map, of: { type: int, nullable: true }, default: { k: null } }",
                "map of int or null",
                "{\"k\":null}",
            ),
            ("{ type: int, min: 1, max: 9, default: 3 }", "int, 1 to 9", "3"),
        ] {
            let found = &options(&format!("  x: {declared}\n"))[0];
            assert_eq!((found.name.as_str(), found.kind.as_str()), ("a.x", kind));
            assert_eq!(found.default.as_ref().unwrap().to_string(), default);
            assert_eq!(found.declared.to_string(), "modules/a.yaml:3:3");
        }
    }

    #[test]
    fn fields_of_submodules_are_found_too() {
        let text = "  x: { type: map, of: { type: submodule, options: { y: { type: list, of: { type: submodule, options: { z: { type: bool } } } } } } }\n";
        let names: Vec<String> = options(text).into_iter().map(|option| option.name).collect();
        assert_eq!(names, ["a.x", "a.x.<name>.y", "a.x.<name>.y.*.z"]);
    }

    #[test]
    fn better_answers_come_first() {
        let text = "  port: { type: port, description: Where it listens. }\n  \
            ports: { type: list, of: port, description: More. }\n  \
            x-port: { type: port, description: Another. }\n  \
            y: { type: int, description: \"Not a.port, but near a port.\" }\n  \
            z: { type: int, description: Nothing of the kind. }\n";
        let names = |query: &str| {
            search(options(text), query).into_iter().map(|option| option.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("a.port"), "a.port a.ports a.y");
        assert_eq!(names("PORT"), "a.port a.ports a.x-port a.y");
        assert_eq!(names("port another"), "a.x-port");
        assert_eq!(names("nowhere"), "");
        assert_eq!(names("").split(' ').count(), 5);
    }
}
