//! One module file: its declarations, and its contributions as they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::Project;
use super::declare::{Reader, bad_name, is_word};
use super::fields::{self, find};
use super::shape;
use super::types::Declared;
use super::yaml::{self, Key, Kind, Node};
use crate::origin::{Diagnostic, Origin, Source};

/// A module as its file says it.
#[derive(Debug)]
pub(super) struct Module {
    /// Path below modules/, without `.yaml`.
    pub path: String,
    /// Whether it is one of rave's own, not the project's.
    pub library: bool,
    /// Imported modules, each with the place of the import.
    pub imports: Vec<(String, Origin)>,
    /// Declared options by full name.
    pub options: BTreeMap<String, Declared>,
    /// The other keys.
    pub body: Vec<(Key, Node)>,
    /// What is wrong with the file.
    pub errors: Vec<Diagnostic>,
}

impl Module {
    /// Reads every module of a project, by path. Most of an evaluation goes into this, so that all processors share it.
    pub fn parse_all(project: &Project) -> BTreeMap<String, Self> {
        project.modules.par_iter().map(|(path, source)| (path.clone(), Self::parse(path, source))).collect()
    }

    /// Reads a module file; what is wrong with it is kept in the result.
    pub fn parse(path: &str, source: &Arc<Source>) -> Self {
        let mut module = Self {
            path: path.to_owned(),
            library: source.is_library(),
            imports: Vec::new(),
            options: BTreeMap::new(),
            body: Vec::new(),
            errors: Vec::new(),
        };
        if !path.split('/').all(is_word) {
            let place = Origin::new(source, 0..0);
            let error = Diagnostic::error(&place, format!("`{path}` cannot be the path of a module"));
            module.errors.push(error.help("words of letters, digits, - and _, each beginning with a letter"));
            return module;
        }
        match yaml::parse(source) {
            Ok(node) => module.read(node),
            Err(errors) => module.errors = errors,
        }
        module
    }

    /// The value of one of the fixed keys.
    pub fn get(&self, key: &str) -> Option<&Node> {
        find(&self.body, key)
    }

    fn read(&mut self, node: Node) {
        shape::check(&node, &shape::MODULE, "a module", &mut self.errors);
        let mut scratch = Vec::new();
        if let Some(node) = node.get("imports") {
            // The shape has told of wrong kinds already.
            self.imports = fields::texts(node, "`imports`", &mut scratch);
        }
        if let Some(profiles) = node.get("profiles").filter(|_| self.path != "sandbox") {
            let error = Diagnostic::error(&profiles.origin, "profiles stand in the module sandbox only");
            self.errors.push(error);
        }
        if let Some(options) = node.get("options") {
            let prefix = self.path.replace('/', ".");
            self.group(&prefix, options);
        }
        if let Kind::Map(entries) = node.kind {
            self.body = entries;
        }
    }

    /// A map of options and groups of options.
    fn group(&mut self, prefix: &str, node: &Node) {
        for (key, node) in fields::map(node, "a group of options", &mut self.errors) {
            if !is_word(&key.text) {
                self.errors.push(bad_name(key));
                continue;
            }
            let path = format!("{prefix}.{}", key.text);
            if is_option(node) {
                let mut reader = Reader { module: &self.path, errors: &mut self.errors };
                if let Some(declared) = reader.declared(&path, key, node, 0) {
                    self.options.insert(path, declared);
                }
            } else if matches!(node.kind, Kind::Map(_)) {
                self.group(&path, node);
            } else {
                let error = Diagnostic::error(&node.origin, format!("`{}` is neither an option nor a group", key.text));
                self.errors.push(error.help("an option is a map with a `type`"));
            }
        }
    }
}

/// Whether a map declares an option; a group may hold an option that is called `type`.
fn is_option(node: &Node) -> bool {
    node.get("type").is_some_and(|ty| matches!(ty.kind, Kind::Scalar { .. }))
}
