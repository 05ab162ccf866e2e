//! Evaluates options on demand: an option when something asks for it, its templates' options before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use minijinja::Environment;
use minijinja::value::ValueKind;

use super::escape::{Cursor, Format, Sink};
use super::imports::{Catalogue, Definitions};
use super::merge::{At, Def, Merger, Rank, Surroundings, active};
use super::names::{Names, Outcome};
use super::provenance::{Notes, Read};
use super::reference::plain;
use super::template::{self, Scope, Template, is_dynamic, is_template};
use super::types::{Declared, Type};
use super::value::Value;
use super::yaml::{Key, Kind, Node, Style};
use super::{Definition, Failed, Level, fields};
use crate::name::OptionPath;
use crate::origin::{Diagnostic, Origin};
use crate::system::System;

/// Longest chain of options that refer to each other.
const MAX_CHAIN: usize = 64;

/// An option's value and how it came about.
#[derive(Debug)]
pub(super) struct Setting {
    pub value: Value,
    /// The value as templates see it.
    pub seen: minijinja::Value,
    /// Strongest first.
    pub definitions: Vec<Definition>,
}

/// Everything that options depend on, and those evaluated so far.
pub(super) struct Evaluator {
    pub catalogue: Catalogue,
    pub definitions: Definitions,
    /// Conditions of modules that have one.
    pub conditions: BTreeMap<String, Node>,
    /// Names besides options: `image`, `mode`.
    pub globals: BTreeMap<String, minijinja::Value>,
    /// What all modules together ask for; there once those sections are rendered.
    pub gathered: OnceLock<BTreeMap<&'static str, minijinja::Value>>,
    pub engine: Environment<'static>,
    pub state: Mutex<State>,
}

/// What an evaluation has found out.
#[derive(Default)]
pub(super) struct State {
    settings: BTreeMap<String, Result<Arc<Setting>, Failed>>,
    conditions: BTreeMap<String, Result<bool, Failed>>,
    /// What is being evaluated, outermost first, and the template that each is at.
    trail: Vec<(String, Option<Origin>)>,
    pub errors: Vec<Diagnostic>,
    /// What is read for what.
    pub notes: Notes,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Evaluator")
    }
}

/// A lock that another thread's panic does not break; there is no other thread.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Evaluator {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn names(self: &Arc<Self>, scope: &Scope, sink: Option<&Arc<Sink>>) -> (minijinja::Value, Arc<Mutex<Outcome>>) {
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let prefix = scope.prefix().map(str::to_owned);
        let library = prefix.as_ref().is_some_and(|module| self.catalogue.is_library(module));
        let (around, scope, sink) = (Arc::clone(self), scope.clone(), sink.cloned());
        let names = Names { around, scope, prefix, group: false, library, outcome: Arc::clone(&outcome), sink };
        (minijinja::Value::from_object(names), outcome)
    }

    /// Every name that a template of that scope could have meant.
    fn known(&self, scope: &Scope) -> Vec<String> {
        let own = scope.prefix().map(|prefix| format!("{prefix}."));
        let bare = |path: &String| own.as_ref().and_then(|own| path.strip_prefix(own.as_str())).map(str::to_owned);
        let options = self.catalogue.iter().flat_map(|(path, _)| bare(path).into_iter().chain([path.clone()]));
        options.chain(["image.name".into(), "image.version".into(), "mode".into()]).collect()
    }

    /// Runs one template; an error that an option's own evaluation has told already is not told again.
    fn run<T>(
        self: &Arc<Self>,
        text: &str,
        scope: &Scope,
        locate: &dyn Fn(std::ops::Range<usize>) -> Origin,
        sink: Option<&Arc<Sink>>,
        run: impl FnOnce(&Template<'_>, minijinja::Value) -> Result<T, Diagnostic>,
    ) -> Result<T, Failed> {
        if let Some((_, at)) = self.state().trail.last_mut() {
            *at = Some(locate(0..text.len()));
        }
        let (names, outcome) = self.names(scope, sink);
        let known = || self.known(scope);
        let template = Template { engine: &self.engine, text, locate, names: &known };
        run(&template, names).map_err(|diagnostic| {
            let Outcome { failed, absent } = std::mem::take(&mut *lock(&outcome));
            if !failed {
                let refused = sink.is_some_and(|sink| sink.refused());
                let diagnostic = if refused { self.blame(diagnostic, scope) } else { diagnostic };
                let must = |path: String| {
                    let who = "the project's module, which stands in the place of rave's, must declare it";
                    format!("`{path}` is read here: {who}")
                };
                let diagnostic = Diagnostic { help: absent.map(must).or(diagnostic.help), ..diagnostic };
                self.state().errors.push(diagnostic);
            }
            Failed
        })
    }

    /// Adds who set the option whose value cannot be written where the template has it.
    fn blame(self: &Arc<Self>, diagnostic: Diagnostic, scope: &Scope) -> Diagnostic {
        let diagnostic = diagnostic.help("every value is written by the rules of its file; `format` names others");
        let Some((place, _)) = diagnostic.labels.first() else { return diagnostic };
        let text = place.source.text.get(place.span.clone()).unwrap_or("");
        let text = text.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || "_.".contains(*c)).collect();
        let own = scope.prefix().map(|prefix| format!("{prefix}.{name}"));
        let named = own.into_iter().chain([name]).flat_map(|path| [path.replace('_', "-"), path]);
        let set = named.filter_map(|path| self.setting(self.catalogue.get(&path).map(|_| path.as_str())?).ok());
        match set.filter_map(|setting| setting.definitions.first().map(|set| set.origin.clone())).next() {
            Some(origin) => diagnostic.label(&origin, "the value is given here"),
            None => diagnostic,
        }
    }

    /// A text rendered as a template. What becomes a file has a format, by whose rules values are written.
    pub fn render(
        self: &Arc<Self>,
        text: &str,
        scope: &Scope,
        locate: &dyn Fn(std::ops::Range<usize>) -> Origin,
        format: Option<Format>,
    ) -> Result<String, Failed> {
        let sink = format.map(|format| Sink::new(Cursor::new(format)));
        self.run(text, scope, locate, sink.as_ref(), |template, names| template.render(names, sink.as_deref()))
    }

    /// The value of a unit's directive, or a list of values, written by the rules of units.
    pub fn directive(self: &Arc<Self>, name: &str, node: &Node, scope: &Scope) -> Result<Node, Failed> {
        let text = match &node.kind {
            Kind::Scalar { text, .. } if is_dynamic(node) => text,
            Kind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    match self.directive(name, item, scope)? {
                        Node { kind: Kind::List(inner), .. } => values.extend(inner),
                        value => values.push(value),
                    }
                }
                return Ok(Node { kind: Kind::List(values), ..node.clone() });
            }
            _ => return Ok(node.clone()),
        };
        let sink = Sink::new(Cursor::after(Format::Systemd, &format!("{name}=")));
        self.run(text, scope, &|range| node.locate(range), Some(&sink), |template, names| {
            match template.value(names.clone()) {
                Some(value) => template::written(&value?, &node.origin, &sink),
                None => Ok(Node::scalar(template.render(names, Some(&sink))?, Style::Rendered, &node.origin)),
            }
        })
    }

    /// A node in which no template is left.
    pub fn expand(self: &Arc<Self>, node: &Node, scope: &Scope) -> Result<Node, Failed> {
        if !is_dynamic(node) {
            return Ok(node.clone());
        }
        let kind = match &node.kind {
            Kind::Scalar { text, .. } => return self.expand_scalar(node, text, scope),
            Kind::List(items) => Kind::List(self.expand_items(items, scope)?),
            Kind::Map(entries) => {
                let mut expanded = Vec::with_capacity(entries.len());
                for (key, node) in entries {
                    expanded.push((self.expand_key(key, scope)?, self.expand(node, scope)?));
                }
                Kind::Map(expanded)
            }
        };
        Ok(Node { kind, origin: node.origin.clone(), tag: node.tag })
    }

    /// Items of a list; an item that is one expression and gives a list stands for the items of that list.
    fn expand_items(self: &Arc<Self>, items: &[Node], scope: &Scope) -> Result<Vec<Node>, Failed> {
        let mut expanded = Vec::with_capacity(items.len());
        for item in items {
            let template = matches!(item.kind, Kind::Scalar { .. });
            match self.expand(item, scope)? {
                Node { kind: Kind::List(inner), .. } if template => expanded.extend(inner),
                node => expanded.push(node),
            }
        }
        Ok(expanded)
    }

    /// The entries of the map or list that an expression gives, each with its key or position.
    pub fn entries(
        self: &Arc<Self>,
        node: &Node,
        scope: &Scope,
    ) -> Result<Vec<(minijinja::Value, minijinja::Value)>, Failed> {
        let Kind::Scalar { text, .. } = &node.kind else { return Err(self.no_entries(node)) };
        let value = self.run(text, scope, &|range| node.locate(range), None, |template, names| {
            template.value(names).unwrap_or_else(|| Ok(minijinja::Value::UNDEFINED))
        })?;
        let list = match value.kind() {
            ValueKind::Map => false,
            ValueKind::Seq | ValueKind::Iterable => true,
            _ => return Err(self.no_entries(node)),
        };
        let items = value.try_iter().map_err(|_| self.no_entries(node))?.enumerate();
        let entry = |(at, item): (usize, minijinja::Value)| match list {
            true => Ok((minijinja::Value::from(at), item)),
            false => value.get_item(&item).map(|inner| (item, inner)).map_err(|_| self.no_entries(node)),
        };
        items.map(entry).collect()
    }

    fn no_entries(&self, node: &Node) -> Failed {
        let error = Diagnostic::error(&node.origin, format!("`each` must be a map or a list, not {}", node.describe()));
        self.state().errors.push(error.help("write one expression in braces, such as \"{{ sites }}\""));
        Failed
    }

    /// A key with its templates evaluated.
    pub fn expand_key(self: &Arc<Self>, key: &Key, scope: &Scope) -> Result<Key, Failed> {
        if !is_template(&key.text) {
            return Ok(key.clone());
        }
        let place = Node::scalar(key.text.clone(), Style::Quoted, &key.origin);
        let text = self.render(&key.text, scope, &|range| place.locate(range), None)?;
        Ok(Key { text, origin: key.origin.clone() })
    }

    fn expand_scalar(self: &Arc<Self>, node: &Node, text: &str, scope: &Scope) -> Result<Node, Failed> {
        let expanded = self.run(text, scope, &|range| node.locate(range), None, |template, names| {
            match template.value(names.clone()) {
                Some(value) => template::node(&value?, &node.origin, 0),
                None => Ok(Node::scalar(template.render(names, None)?, Style::Rendered, &node.origin)),
            }
        })?;
        Ok(Node { tag: node.tag, ..expanded })
    }

    /// Whether a condition holds: an expression, in braces or not. Lists and maps hold unless they are empty, null
    /// never does; texts and numbers are no conditions.
    pub fn holds(self: &Arc<Self>, node: &Node, scope: &Scope) -> Result<bool, Failed> {
        let node = match &node.kind {
            Kind::Scalar { text, .. } if !is_template(text) => {
                let value = self.run(text, scope, &|range| node.locate(range), None, |template, names| {
                    template::node(&template.expression(names)?, &node.origin, 0)
                });
                value?
            }
            _ => self.expand(node, scope)?,
        };
        match &node.kind {
            Kind::List(items) => return Ok(!items.is_empty()),
            Kind::Map(entries) => return Ok(!entries.is_empty()),
            _ if node.is_null() => return Ok(false),
            Kind::Scalar { .. } => {}
        }
        fields::truth(&node).map_err(|_| {
            let message = format!("a condition must be true or false, not {}", node.describe());
            let help = "compare it with something, such as `name != ''`";
            self.state().errors.push(Diagnostic::error(&node.origin, message).help(help));
            Failed
        })
    }

    /// Whether a module's condition holds; one without has none to fail.
    pub fn active(self: &Arc<Self>, module: &str) -> Result<bool, Failed> {
        let Some(when) = self.conditions.get(module) else { return Ok(true) };
        let read = Read::Condition(module.to_owned());
        self.state().notes.read(read.clone());
        if let Some(known) = self.state().conditions.get(module) {
            return *known;
        }
        let result = self.within(read, &when.origin, || self.holds(when, &Scope::module(module)));
        self.state().conditions.insert(module.to_owned(), result);
        result
    }

    /// The value of an option.
    pub fn setting(self: &Arc<Self>, path: &str) -> Result<Arc<Setting>, Failed> {
        if let Some(known) = self.state().settings.get(path) {
            return known.clone();
        }
        let Some(declared) = self.catalogue.get(path) else { return Err(Failed) };
        let read = Read::Option(path.to_owned());
        let result = self.within(read, &declared.origin, || self.evaluate(path, declared)).map(Arc::new);
        self.state().settings.insert(path.to_owned(), result.clone());
        result
    }

    /// Evaluates something that must not depend on itself.
    fn within<T>(&self, what: Read, origin: &Origin, run: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
        {
            let name = what.describe();
            let mut state = self.state();
            if let Some(error) = refuse_circle(&state.trail, &name, origin) {
                state.errors.push(error);
                return Err(Failed);
            }
            state.trail.push((name, None));
            state.notes.open();
        }
        let result = run();
        let mut state = self.state();
        state.trail.pop();
        state.notes.finish(what);
        result
    }

    fn evaluate(self: &Arc<Self>, path: &str, declared: &Declared) -> Result<Setting, Failed> {
        let mut defs = Vec::new();
        for (def, module) in self.definitions.get(path).into_iter().flatten() {
            let counts = match module {
                Some(module) => self.active(module)?,
                None => true,
            };
            if counts {
                defs.push(def.clone());
            }
        }
        if let Some(node) = default(declared) {
            defs.push(Def::new(Rank::of(Level::Default), node, Scope::module(&declared.module)));
        }
        // Stable: within a rank, definitions keep the order of modules and places.
        defs.sort_by_key(|def| def.rank);
        let value = match (&declared.ty, defs.is_empty()) {
            (_, true) if declared.broken => return Err(Failed),
            (Type::Nullable(_), true) => Value::Null,
            (_, true) => return Err(self.missing(path, declared)),
            (ty, false) => Merger { around: self }.merge(ty, &defs, At { path, declared })?,
        };
        let definitions = trail(&declared.ty, &defs);
        Ok(Setting { seen: value.template(), value, definitions })
    }

    /// Whether what is written at a place, templates aside, is what an option comes to in that machine.
    pub fn comes_to(&self, option: &OptionPath, place: &Origin, system: &System) -> bool {
        let defs = self.definitions.get(option.as_str()).into_iter().flatten();
        let written = defs.map(|(def, _)| &def.node).find(|node| node.origin == *place);
        let declared = self.catalogue.get(option.as_str());
        let value = written.zip(declared).map(|(node, declared)| plain(&declared.ty, node));
        value.is_some() && value.as_ref() == system.options.get(option).map(|option| &option.value)
    }

    /// Whether something gives the option a value.
    pub fn has_value(self: &Arc<Self>, path: &str, declared: &Declared) -> bool {
        let mut defs = self.definitions.get(path).into_iter().flatten();
        matches!(declared.ty, Type::Nullable(_))
            || default(declared).is_some()
            || defs.any(|(_, module)| module.as_ref().is_none_or(|module| self.active(module) == Ok(true)))
    }

    fn missing(&self, path: &str, declared: &Declared) -> Failed {
        let what = declared.ty.describe();
        let mut error = Diagnostic::error(&declared.origin, format!("`{path}` has no value: it must be {what}"));
        let mut state = self.state();
        if let Some((name, Some(place))) = state.trail.iter().rev().nth(1) {
            error = error.label(place, format!("`{name}` asks for it"));
        }
        state.errors.push(error.remark(declared.description.clone()).help(format!("set `{path}` in the image")));
        Failed
    }
}

/// The default of an option; a submodule without one is made of the defaults of its fields.
fn default(declared: &Declared) -> Option<Node> {
    declared.default.clone().or_else(|| {
        let kind = Kind::Map(Vec::new());
        matches!(declared.ty, Type::Submodule(_)).then(|| Node { kind, origin: declared.origin.clone(), tag: None })
    })
}

/// Definitions from strong to weak, and whether each is in the value. `defs` are sorted from weak to strong.
fn trail(ty: &Type, defs: &[Def]) -> Vec<Definition> {
    let top = defs.iter().map(|def| def.rank).max();
    let used: Vec<bool> = match ty.is_collection() {
        true => {
            let kept: BTreeSet<*const Def> = active(defs).map(std::ptr::from_ref).collect();
            defs.iter().map(|def| kept.contains(&std::ptr::from_ref(def))).collect()
        }
        false => defs.iter().map(|def| Some(def.rank) == top).collect(),
    };
    let definitions = defs.iter().zip(used).rev();
    definitions.map(|(def, used)| Definition { level: def.rank.level, origin: def.node.origin.clone(), used }).collect()
}

fn refuse_circle(trail: &[(String, Option<Origin>)], name: &str, origin: &Origin) -> Option<Diagnostic> {
    let from = trail.iter().position(|(other, _)| other == name);
    if from.is_none() && trail.len() < MAX_CHAIN {
        return None;
    }
    let circle = trail.get(from.unwrap_or(0)..).unwrap_or(&[]);
    let place = trail.last().and_then(|(_, at)| at.as_ref()).unwrap_or(origin);
    if from.is_none() {
        return Some(Diagnostic::error(place, format!("more than {MAX_CHAIN} options refer to each other in a chain")));
    }
    let names: Vec<&str> = circle.iter().map(|(name, _)| name.as_str()).chain([name]).collect();
    let error = Diagnostic::error(place, format!("values depend on each other in a circle: {}", names.join(" -> ")));
    let others = circle.iter().rev().skip(1).rev();
    let labelled = others.filter_map(|(name, at)| Some((name, at.as_ref()?)));
    Some(labelled.fold(error, |error, (name, at)| error.label(at, format!("{name} refers to the next here"))))
}

impl Surroundings for Arc<Evaluator> {
    fn expand(&self, node: &Node, scope: &Scope) -> Result<Node, Failed> {
        Evaluator::expand(self, node, scope)
    }

    fn report(&self, diagnostic: Diagnostic) {
        self.state().errors.push(diagnostic);
    }
}
