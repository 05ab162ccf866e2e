//! Which modules an image takes in, and the definitions that these and the image bring along.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Level;
use super::fields::nearest;
use super::merge::{Def, Rank};
use super::module::Module;
use super::template::{Scope, is_template};
use super::types::Declared;
use super::yaml::{self, Key, Kind, Node, shorten};
use crate::name;
use crate::origin::{Diagnostic, Origin, Source};

/// Every option of every module of a project.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    options: BTreeMap<String, Declared>,
    /// Dotted names of rave's own modules, and of the project's.
    library: BTreeSet<String>,
    project: BTreeSet<String>,
}

impl Catalogue {
    /// Collects declarations; two modules that claim one name are told in the errors of the later.
    pub fn new(modules: &mut BTreeMap<String, Module>) -> Self {
        let mut all = Self::default();
        for module in modules.values_mut() {
            let names = if module.library { &mut all.library } else { &mut all.project };
            names.insert(module.path.replace('/', "."));
            for (path, declared) in &module.options {
                match all.rival(path) {
                    Some((other, first)) => {
                        let message = match other == *path {
                            true => format!("option `{path}` is declared twice"),
                            false => format!("`{other}` and `{path}` cannot both be options"),
                        };
                        let error = Diagnostic::error(&declared.origin, message).label(&first.origin, "also declared");
                        module.errors.push(error);
                    }
                    None => drop(all.options.insert(path.clone(), declared.clone())),
                }
            }
        }
        all
    }

    fn rival(&self, path: &str) -> Option<(String, &Declared)> {
        let found =
            name::ancestry(path).find_map(|path| self.options.get_key_value(path)).or_else(|| self.first_below(path));
        found.map(|(path, declared)| (path.clone(), declared))
    }

    fn first_below(&self, path: &str) -> Option<(&String, &Declared)> {
        let from = format!("{path}.");
        let next = self.options.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded)).next();
        next.filter(|(option, _)| option.starts_with(&from))
    }

    /// The declaration of an option.
    pub fn get(&self, path: &str) -> Option<&Declared> {
        self.options.get(path)
    }

    /// Whether options stand below that name.
    pub fn is_group(&self, path: &str) -> bool {
        self.first_below(path).is_some()
    }

    /// Whether a module of that dotted name is one of rave's own.
    pub fn is_library(&self, module: &str) -> bool {
        self.library.contains(module)
    }

    /// Whether a name belongs to a module of the project. Rave's own modules name such an option only if the module
    /// stands in the place of one of theirs, which declared it.
    pub fn is_projects(&self, path: &str) -> bool {
        name::ancestry(path).any(|module| self.project.contains(module))
    }

    /// Whether a dotted name is that of a module of the project.
    pub fn is_projects_module(&self, name: &str) -> bool {
        self.project.contains(name)
    }

    /// Options by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Declared)> {
        self.options.iter()
    }

    /// The names right below a group.
    pub fn below(&self, path: &str) -> BTreeSet<String> {
        let from = format!("{path}.");
        let range = self.options.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded));
        let names = range.map_while(|(option, _)| option.strip_prefix(&from));
        names.filter_map(|rest| rest.split('.').next()).map(str::to_owned).collect()
    }
}

/// Definitions by option. A definition of a module counts only if the module's condition holds.
pub(super) type Definitions = BTreeMap<String, Vec<(Def, Option<String>)>>;

/// Where definitions come from.
struct From<'a> {
    rank: Rank,
    scope: &'a Scope,
    module: Option<&'a str>,
    library: bool,
}

/// Modules that are taken in, and all definitions.
pub(super) struct Closure<'a> {
    pub modules: &'a BTreeMap<String, Module>,
    pub catalogue: &'a Catalogue,
    pub imported: BTreeSet<String>,
    pub definitions: Definitions,
    pub errors: Vec<Diagnostic>,
    waiting: Vec<String>,
}

impl<'a> Closure<'a> {
    pub fn new(modules: &'a BTreeMap<String, Module>, catalogue: &'a Catalogue) -> Self {
        Self {
            modules,
            catalogue,
            imported: BTreeSet::new(),
            definitions: Definitions::new(),
            errors: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Takes in a module that is named at `place`.
    pub fn import(&mut self, path: &str, place: &Origin) {
        if !self.modules.contains_key(path) {
            let error = Diagnostic::error(place, format!("there is no module `{}`", shorten(path)));
            let dotted = path.replace('.', "/");
            let near = nearest(path, self.modules.keys().map(String::as_str))
                .or_else(|| self.modules.get_key_value(&dotted).map(|(path, _)| path.as_str()));
            self.errors.push(match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help("a module is named by its path below modules/, without .yaml"),
            });
            return;
        }
        self.take(path);
    }

    /// Takes in a module that exists.
    pub fn take(&mut self, path: &str) {
        if self.modules.contains_key(path) && self.imported.insert(path.to_owned()) {
            self.waiting.push(path.to_owned());
        }
    }

    /// Adds the definitions of an image file, the `depth`th of its chain.
    pub fn image(&mut self, config: &Node, depth: usize) {
        let from =
            From { rank: Rank { level: Level::Image, depth }, scope: &Scope::default(), module: None, library: false };
        self.flatten("", config, &from);
    }

    /// Adds one definition from the command line.
    pub fn command_line(&mut self, option: &str, value: &str) {
        let text = format!("{option}={value}");
        let source = Source::new("<command line>", text);
        let value_at = (option.len() + 1).min(source.text.len());
        let node = match yaml::parse_part(&source, value_at..source.text.len()) {
            Ok(node) => node,
            Err(errors) => return self.errors.extend(errors),
        };
        let key = Key { text: option.to_owned(), origin: Origin::new(&source, 0..option.len()) };
        let from = From { rank: Rank::of(Level::CommandLine), scope: &Scope::default(), module: None, library: false };
        self.define("", &key, node, &from);
    }

    /// Follows imports until no module is left. `mode` is the module whose settings are the mode's.
    pub fn complete(&mut self, mode: &str) {
        while let Some(path) = self.waiting.pop() {
            let Some(module) = self.modules.get(&path) else { continue };
            for (import, place) in &module.imports {
                self.import(import, place);
            }
            if let Some(set) = module.get("set") {
                let level = if path == mode { Level::Mode } else { Level::Module };
                let scope = Scope::module(&path);
                let from = From { rank: Rank::of(level), scope: &scope, module: Some(&path), library: module.library };
                self.flatten("", set, &from);
            }
        }
        self.refuse_circles();
        let place = |def: &Def| (Arc::clone(&def.node.origin.source), def.node.origin.span.start);
        for defs in self.definitions.values_mut() {
            defs.sort_by(|(a, from_a), (b, from_b)| {
                let ((source_a, at_a), (source_b, at_b)) = (place(a), place(b));
                (a.rank, from_a, &source_a.name, at_a).cmp(&(b.rank, from_b, &source_b.name, at_b))
            });
        }
    }

    /// Splits nested and dotted keys into definitions of options.
    fn flatten(&mut self, prefix: &str, node: &Node, from: &From<'_>) {
        match &node.kind {
            Kind::Map(entries) => {
                for (key, inner) in entries {
                    let tag = inner.tag.or(node.tag);
                    self.define(prefix, key, Node { tag, ..inner.clone() }, from);
                }
            }
            _ if node.is_null() => {}
            _ => {
                let what = if prefix.is_empty() { "values of options".into() } else { format!("`{prefix}`") };
                let message = format!("{what} must be a map of options, not {}", node.describe());
                let error = Diagnostic::error(&node.origin, message);
                let enable = format!("{prefix}.enable");
                self.errors.push(match self.catalogue.get(&enable) {
                    Some(_) => error.help(format!("did you mean `{enable}`?")),
                    None => error,
                });
            }
        }
    }

    fn define(&mut self, prefix: &str, key: &Key, node: Node, from: &From<'_>) {
        if is_template(&key.text) {
            let error = Diagnostic::error(&key.origin, "the name of an option cannot be a template");
            return self
                .errors
                .push(error.help("a template may name an entry of a map: `option: { \"{{ name }}\": ... }`"));
        }
        let full = if prefix.is_empty() { key.text.clone() } else { format!("{prefix}.{}", key.text) };
        let option = name::ancestry(&full).find(|path| self.catalogue.get(path).is_some());
        let Some((option, rest)) = option.map(|path| full.split_at(path.len())) else {
            if self.catalogue.is_group(&full) {
                self.flatten(&full, &node, from);
            } else if !(from.library && self.catalogue.is_projects(&full)) {
                self.errors.push(self.unknown(&full, key));
            }
            return;
        };
        if let Some(declared) = self.catalogue.get(option) {
            let module = declared.module.clone();
            self.take(&module);
        }
        let inner = rest.split('.').skip(1).collect::<Vec<_>>().into_iter().rev();
        let node = inner.fold(node, |node, part| {
            let origin = node.origin.clone();
            let key = Key { text: part.to_owned(), origin: key.origin.clone() };
            Node { tag: node.tag, origin, kind: Kind::Map(vec![(key, node)]) }
        });
        let def = Def::new(from.rank, node, from.scope.clone());
        self.definitions.entry(option.to_owned()).or_default().push((def, from.module.map(str::to_owned)));
    }

    fn unknown(&self, full: &str, key: &Key) -> Diagnostic {
        let error = Diagnostic::error(&key.origin, format!("there is no option `{}`", shorten(full)));
        match nearest(full, self.catalogue.iter().map(|(path, _)| path.as_str())) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => {
                let module =
                    full.rsplit_once('.').map(|(group, _)| group).filter(|group| self.catalogue.is_group(group));
                match module {
                    Some(group) => {
                        let names: Vec<String> = self.catalogue.below(group).into_iter().collect();
                        error.help(format!("`{group}` has {}", names.join(", ")))
                    }
                    None => error.help("no module declares it"),
                }
            }
        }
    }

    /// Tells of every module that imports itself, over others or not, once for each circle.
    fn refuse_circles(&mut self) {
        let mut done = BTreeSet::new();
        let mut errors = Vec::new();
        for start in &self.imported {
            // Each step: the module, and how many of its imports have been followed.
            let mut trail: Vec<(&str, usize)> = vec![(start, 0)];
            while let Some((path, next)) = trail.last_mut() {
                let path = *path;
                let import = self.modules.get(path).filter(|_| !done.contains(path)).and_then(|m| m.imports.get(*next));
                *next += 1;
                let Some((import, place)) = import else {
                    done.insert(path.to_owned());
                    trail.pop();
                    continue;
                };
                if let Some(at) = trail.iter().position(|(path, _)| path == import) {
                    let names: Vec<&str> = trail[at..].iter().map(|(path, _)| *path).chain([import.as_str()]).collect();
                    let message = format!("modules import each other in a circle: {}", names.join(" -> "));
                    errors.push(Diagnostic::error(place, message).help("remove one of these imports"));
                } else if !done.contains(import) {
                    trail.push((import, 0));
                }
            }
        }
        self.errors.extend(errors);
    }
}
