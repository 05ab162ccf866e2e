//! Puts the definitions of one option together.
//!
//! A scalar takes its strongest definition; two of one strength must agree. Lists append and maps merge, from
//! weak to strong and within a level by module name and place: module, image, mode, command line. Defaults count
//! only when nothing else is said, `!force` replaces everything weaker. Fields of submodules are options of their own.
//! `!before` and `!after` put the entries of a list before or after those of the other definitions of its level.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::template::Scope;
use super::types::{Declared, Type, order};
use super::value::Value;
use super::yaml::{Key, Kind, Node, Style, Tag};
use super::{Failed, Level, fields};
use crate::origin::{Diagnostic, Origin};

/// How strong a definition is: its level, and within images how far it is from the root of `extends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub level: Level,
    pub depth: usize,
}

impl Rank {
    pub fn of(level: Level) -> Self {
        Self { level, depth: 0 }
    }

    /// The rank of a value inside this one's, which a tag may change.
    pub fn tagged(self, tag: Option<Tag>) -> Self {
        match tag {
            Some(Tag::Force) => Self { level: Level::Force, ..self },
            Some(Tag::Default) => Self { level: Level::WeakDefault, ..self },
            Some(Tag::Before | Tag::After) | None => self,
        }
    }
}

/// Where the entries of a list stand among those of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Before,
    Between,
    After,
}

/// One definition: a node that may hold templates, and the names these may use.
#[derive(Debug, Clone)]
pub(super) struct Def {
    pub rank: Rank,
    pub turn: Turn,
    pub node: Node,
    pub scope: Scope,
}

impl Def {
    pub fn new(rank: Rank, node: Node, scope: Scope) -> Self {
        let turn = match node.tag {
            Some(Tag::Before) => Turn::Before,
            Some(Tag::After) => Turn::After,
            Some(Tag::Default | Tag::Force) | None => Turn::Between,
        };
        Self { rank: rank.tagged(node.tag), turn, node, scope }
    }

    /// A value inside this one, which has its turn unless it says otherwise.
    fn inner(&self, node: &Node) -> Self {
        let inner = Self::new(self.rank, node.clone(), self.scope.clone());
        let turn = if inner.turn == Turn::Between { self.turn } else { inner.turn };
        Self { turn, ..inner }
    }
}

/// What merging needs from its surroundings.
pub(super) trait Surroundings {
    /// The node with its templates evaluated, on all levels.
    fn expand(&self, node: &Node, scope: &Scope) -> Result<Node, Failed>;
    fn report(&self, diagnostic: Diagnostic);

    /// Tells of a field of a submodule that nothing gives a value.
    fn report_missing(&self, diagnostic: Diagnostic) {
        self.report(diagnostic);
    }
}

/// The definitions that make the value of a list or map.
pub(super) fn active(defs: &[Def]) -> impl Iterator<Item = &Def> {
    let top = defs.iter().map(|def| def.rank.level).max();
    defs.iter().filter(move |def| match top {
        Some(Level::Force) => def.rank.level == Level::Force,
        Some(top) if top >= Level::Module => def.rank.level >= Level::Module,
        other => Some(def.rank.level) == other,
    })
}

/// Merges definitions of the option or value `path`, declared by `declared`, whose type at this depth is `ty`.
pub(super) struct Merger<'a> {
    pub around: &'a dyn Surroundings,
}

/// What is being merged, for messages.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub path: &'a str,
    pub declared: &'a Declared,
}

impl Merger<'_> {
    /// `defs` must be sorted from weak to strong and must not be empty.
    pub fn merge(&self, ty: &Type, defs: &[Def], at: At<'_>) -> Result<Value, Failed> {
        match ty {
            Type::Scalar { .. } | Type::Enum(_) => self.strongest(defs, at, |node| self.leaf(ty, node, at)),
            Type::OneOf(types) => self.strongest(defs, at, |node| self.one_of(types, ty, node, at)),
            Type::Nullable(of) => self.nullable(of, defs, at),
            Type::List { of, unique } => self.list(of, *unique, defs, at),
            Type::Map(of) => self.map(of, defs, at),
            Type::Submodule(fields) => self.submodule(fields, defs, at),
        }
    }

    fn strongest(
        &self,
        defs: &[Def],
        at: At<'_>,
        read: impl Fn(&Node) -> Result<Value, Failed>,
    ) -> Result<Value, Failed> {
        let top = defs.iter().map(|def| def.rank).max().ok_or(Failed)?;
        let mut winners: Vec<(Value, &Origin)> = Vec::new();
        let mut failed = false;
        for def in defs {
            if let Some(Tag::Before | Tag::After) = def.node.tag {
                failed = true;
                self.no_list(at, &def.node.origin);
            }
            if def.rank != top && super::template::is_dynamic(&def.node) {
                continue;
            }
            match self.around.expand(&def.node, &def.scope).and_then(|node| read(&node)) {
                Err(Failed) => failed = true,
                Ok(value) if def.rank == top => winners.push((value, &def.node.origin)),
                Ok(_) => {}
            }
        }
        if winners.iter().any(|(value, _)| winners.first().is_some_and(|(first, _)| value != first)) {
            failed = true;
            self.conflict(at, &winners, top.level);
        }
        match winners.into_iter().next() {
            Some((value, _)) if !failed => Ok(value),
            _ => Err(Failed),
        }
    }

    /// Tells of definitions that disagree, with every one of them.
    fn conflict(&self, at: At<'_>, values: &[(Value, &Origin)], level: Level) {
        let Some(((_, last), others)) = values.split_last() else { return };
        let count = if others.len() == 1 { "two values, both".into() } else { format!("{} values, all", values.len()) };
        let message = format!("`{}` is given {count} {}", at.path, level.describe());
        let help = match level {
            Level::Force => "leave one of them",
            _ => "leave one of them, or mark the one that counts !force",
        };
        let error = Diagnostic::error(last, message).remark("here");
        let error = others.iter().fold(error, |error, (_, place)| error.label(place, "and here"));
        self.around.report(describe(error, at).help(help));
    }

    fn no_list(&self, at: At<'_>, place: &Origin) {
        let error = Diagnostic::error(place, format!("`{}` is no list: !before and !after order lists", at.path));
        self.around.report(describe(error, at).help("!default and !force say which value counts"));
    }

    fn leaf(&self, ty: &Type, node: &Node, at: At<'_>) -> Result<Value, Failed> {
        ty.leaf(node).map_err(|help| self.wrong(ty, node, at, help))
    }

    fn wrong(&self, ty: &Type, node: &Node, at: At<'_>, help: Option<String>) -> Failed {
        if holds_private_key(node) {
            // Told at the declaration, for the line of the value would show the key.
            let message = format!("`{}` is given a private key at {}", at.path, node.origin);
            let error = describe(Diagnostic::error(&at.declared.origin, message), at);
            self.around.report(error.help("keep it in secrets/, and write its public part here"));
            return Failed;
        }
        let message = format!("`{}` must be {}, not {}", at.path, ty.describe(), node.describe());
        let error = describe(Diagnostic::error(&node.origin, message), at);
        self.around.report(match help {
            Some(help) => error.help(help),
            None => error,
        });
        Failed
    }

    fn one_of(&self, types: &[Type], all: &Type, node: &Node, at: At<'_>) -> Result<Value, Failed> {
        let quiet = Quiet(self.around);
        let merger = Merger { around: &quiet };
        let def = [Def::new(Rank::of(Level::Image), node.clone(), Scope::default())];
        let found = types.iter().find_map(|ty| merger.merge(ty, &def, at).ok());
        found.ok_or_else(|| self.wrong(all, node, at, None))
    }

    fn nullable(&self, of: &Type, defs: &[Def], at: At<'_>) -> Result<Value, Failed> {
        let mut some = Vec::new();
        let mut strongest_null = None;
        for def in defs {
            let is_whole_template = matches!(def.node.kind, Kind::Scalar { .. });
            let node = if is_whole_template { self.around.expand(&def.node, &def.scope)? } else { def.node.clone() };
            match node.is_null() {
                true => strongest_null = strongest_null.max(Some(def.rank)),
                false => some.push(Def { node, ..def.clone() }),
            }
        }
        match some.iter().map(|def| def.rank).max() {
            Some(top) if Some(top) >= strongest_null => self.merge(of, &some, at),
            _ => Ok(Value::Null),
        }
    }

    fn list(&self, of: &Type, unique: bool, defs: &[Def], at: At<'_>) -> Result<Value, Failed> {
        let mut values = Vec::new();
        let mut failed = false;
        let mut defs: Vec<&Def> = active(defs).collect();
        // Stable: those of one turn stay in their order.
        defs.sort_by_key(|def| (def.rank.level, def.turn));
        for def in defs {
            let Ok(node) = self.expand_top(def) else {
                failed = true;
                continue;
            };
            let Kind::List(items) = &node.kind else {
                let whole = Type::List { of: Box::new(of.clone()), unique };
                self.wrong(&whole, &node, at, Some("write [ ] around it".into()));
                failed = true;
                continue;
            };
            for item in items {
                if item.tag.is_some() {
                    failed = true;
                    let error = Diagnostic::error(&item.origin, "a tag says nothing of one entry of a list");
                    self.around.report(error.help("write it before the list, where it counts for all entries"));
                }
                match self.merge(of, &[def.inner(item)], at) {
                    Ok(value) => values.push(value),
                    Err(Failed) => failed = true,
                }
            }
        }
        if unique {
            values.sort_by(total_order);
            values.dedup();
        }
        if failed { Err(Failed) } else { Ok(Value::List(values)) }
    }

    /// Evaluates a node that is one template; lists and maps are left for their entries to be evaluated.
    fn expand_top(&self, def: &Def) -> Result<Node, Failed> {
        match def.node.kind {
            Kind::Scalar { .. } => self.around.expand(&def.node, &def.scope),
            _ => Ok(def.node.clone()),
        }
    }

    fn map(&self, of: &Type, defs: &[Def], at: At<'_>) -> Result<Value, Failed> {
        let mut inner: BTreeMap<String, Vec<Def>> = BTreeMap::new();
        let mut failed = false;
        let kept: Vec<Def> = active(defs).cloned().collect();
        self.collect(&kept, &Type::Map(Box::new(of.clone())), at, &mut failed, |key, def| {
            inner.entry(key.to_owned()).or_default().push(def);
            Ok(())
        });
        let mut map = BTreeMap::new();
        for (key, mut defs) in inner {
            defs.sort_by_key(|def| def.rank);
            let path = format!("{}.{key}", at.path);
            match self.merge(of, &defs, At { path: &path, ..at }) {
                Ok(value) => drop(map.insert(key, value)),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(Value::Map(map)) }
    }

    /// Hands every entry of maps to `take`, which may refuse a key.
    fn collect(
        &self,
        defs: &[Def],
        ty: &Type,
        at: At<'_>,
        failed: &mut bool,
        mut take: impl FnMut(&str, Def) -> Result<(), Diagnostic>,
    ) {
        for def in defs {
            let Ok(node) = self.expand_top(def) else {
                *failed = true;
                continue;
            };
            let Kind::Map(entries) = &node.kind else {
                self.wrong(ty, &node, at, None);
                *failed = true;
                continue;
            };
            for (key, node) in entries {
                let Ok(text) = self.key(key, &def.scope) else {
                    *failed = true;
                    continue;
                };
                if let Err(error) = take(&text, def.inner(node)) {
                    *failed = true;
                    let labels = vec![(key.origin.clone(), String::new())];
                    self.around.report(Diagnostic { labels, ..error });
                }
            }
        }
    }

    /// The name of an entry with its templates evaluated.
    fn key(&self, key: &Key, scope: &Scope) -> Result<String, Failed> {
        if !super::template::is_template(&key.text) {
            return Ok(key.text.clone());
        }
        let name = self.around.expand(&Node::scalar(key.text.clone(), Style::Quoted, &key.origin), scope)?;
        match name.kind {
            Kind::Scalar { text, .. } => Ok(text),
            Kind::List(_) | Kind::Map(_) => {
                let message = format!("the name of an entry must be a text, not {}", name.describe());
                self.around.report(Diagnostic::error(&key.origin, message));
                Err(Failed)
            }
        }
    }

    fn submodule(&self, fields: &BTreeMap<String, Declared>, defs: &[Def], at: At<'_>) -> Result<Value, Failed> {
        let mut inner: BTreeMap<String, Vec<Def>> = BTreeMap::new();
        let mut failed = false;
        self.collect(defs, &Type::Submodule(fields.clone()), at, &mut failed, |key, def| {
            if !fields.contains_key(key) {
                return Err(unknown_field(key, fields, at, &def));
            }
            inner.entry(key.to_owned()).or_default().push(def);
            Ok(())
        });
        let mut map = BTreeMap::new();
        for (name, field) in fields {
            let path = format!("{}.{name}", at.path);
            let mut given = inner.remove(name).unwrap_or_default();
            // What a default of the whole says of a field replaces the field's own.
            let said = given.iter().any(|def| def.rank.level == Level::Default);
            if let Some(default) = field.default.as_ref().filter(|_| !said) {
                let scope = Scope::module(&field.module);
                given.push(Def::new(Rank::of(Level::Default), default.clone(), scope));
            }
            given.sort_by_key(|def| def.rank);
            let value = match (&field.ty, given.is_empty()) {
                (_, true) if field.broken => Err(Failed),
                (Type::Nullable(_), true) => Ok(Value::Null),
                // It may be what was refused under another name.
                (_, true) if failed => Err(Failed),
                (_, true) => Err(self.missing(&path, field, defs)),
                (ty, false) => self.merge(ty, &given, At { path: &path, declared: field }),
            };
            match value {
                Ok(value) => drop(map.insert(name.clone(), value)),
                Err(Failed) => failed = true,
            }
        }
        if failed { Err(Failed) } else { Ok(Value::Map(map)) }
    }

    fn missing(&self, path: &str, field: &Declared, defs: &[Def]) -> Failed {
        if let Some(def) = defs.last() {
            let error = Diagnostic::error(&def.node.origin, format!("`{path}` is missing"));
            self.around.report_missing(describe(error, At { path, declared: field }));
        }
        Failed
    }
}

/// Whether a text is, or holds, what nobody else may see.
fn holds_private_key(node: &Node) -> bool {
    let Kind::Scalar { text, .. } = &node.kind else { return false };
    let text = text.to_ascii_uppercase();
    text.contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY-----")
}

fn unknown_field(key: &str, fields: &BTreeMap<String, Declared>, at: At<'_>, def: &Def) -> Diagnostic {
    let error = Diagnostic::error(&def.node.origin, format!("`{}` has no `{}`", at.path, super::yaml::shorten(key)));
    error.help(match fields::nearest(key, fields.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
    })
}

/// Adds where the option is declared, and what it is for.
fn describe(error: Diagnostic, at: At<'_>) -> Diagnostic {
    let what = &at.declared.description;
    let remark = if what.is_empty() { "declared here".to_owned() } else { format!("declared here: {what}") };
    error.label(&at.declared.origin, remark)
}

fn total_order(a: &Value, b: &Value) -> Ordering {
    order(a, b).unwrap_or_else(|| a.json().to_string().cmp(&b.json().to_string()))
}

/// Surroundings in which errors are not told, for trying one type after the other.
struct Quiet<'a>(&'a dyn Surroundings);

impl Surroundings for Quiet<'_> {
    fn expand(&self, node: &Node, scope: &Scope) -> Result<Node, Failed> {
        self.0.expand(node, scope)
    }

    fn report(&self, _: Diagnostic) {}
}
