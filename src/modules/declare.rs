//! Declarations of options: reads a module's `options`, and refuses defaults and examples of another type.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;

use super::fields::{self, find, nearest};
use super::merge::{At, Def, Merger, Rank, Surroundings};
use super::scalars::{SCALARS, Scalar};
use super::template::{Scope, is_dynamic};
use super::types::{Bounds, Declared, Type, order};
use super::yaml::{Key, Kind, Node};
use super::{Failed, Level};
use crate::origin::{Diagnostic, Origin};

/// Deepest nesting of types in types.
const MAX_DEPTH: usize = 8;

const COMMON: [&str; 5] = ["type", "default", "description", "example", "nullable"];

/// The keys that a type takes besides the [`COMMON`] ones; none if there is no such type.
fn own_keys(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "int" | "float" | "duration" | "size" | "percentage" | "port" => &["min", "max"],
        "string" | "config" => &["regex", "min-length", "max-length"],
        "enum" => &["values"],
        "list" | "set" | "map" | "nullable" | "one-of" => &["of"],
        "submodule" => &["options"],
        other => return Scalar::named(other).map(|_| [].as_slice()),
    })
}

/// Reads declarations of one module.
pub(super) struct Reader<'a> {
    pub module: &'a str,
    pub errors: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    /// One record with a `type`, for the option or field at `path`, whose name stands at `key`.
    pub fn declared(&mut self, path: &str, key: &Key, node: &Node, depth: usize) -> Option<Declared> {
        let ty = self.ty(path, node, depth)?;
        let mut text = |key: &str| {
            node.get(key).and_then(|node| fields::text(node, &format!("`{key}`"), self.errors)).unwrap_or_default()
        };
        let description = text("description");
        let (default, example) = (node.get("default").cloned(), node.get("example").cloned());
        let origin = key.origin.clone();
        let mut declared =
            Declared { ty, default, example, description, broken: false, origin, module: self.module.into() };
        self.check(path, &declared, declared.example.as_ref());
        if !self.check(path, &declared, declared.default.as_ref()) {
            declared.broken = true;
            declared.default = None;
        }
        Some(declared)
    }

    /// Whether a default or example is of the option's type, as far as can be said without running templates.
    fn check(&mut self, path: &str, declared: &Declared, node: Option<&Node>) -> bool {
        let Some(node) = node else { return true };
        let strict = Static(RefCell::new(Vec::new()));
        let defs = [Def::new(Rank::of(Level::Default), node.clone(), Scope::default())];
        // That a template gave no value is no error here, and reports none.
        let _ = Merger { around: &strict }.merge(&declared.ty, &defs, At { path, declared });
        let found = strict.0.into_inner();
        let good = found.is_empty();
        self.errors.extend(found);
        good
    }

    /// A type's name, or a record with `type` and what the type takes.
    fn ty(&mut self, path: &str, node: &Node, depth: usize) -> Option<Type> {
        if depth > MAX_DEPTH {
            self.errors.push(Diagnostic::error(&node.origin, format!("types are nested deeper than {MAX_DEPTH}")));
            return None;
        }
        let record = matches!(node.kind, Kind::Map(_));
        let name_node = if record { node.get("type") } else { Some(node) };
        let Some(name_node) = name_node else {
            self.errors.push(Diagnostic::error(&node.origin, "`type` is missing"));
            return None;
        };
        let name = fields::text(name_node, "a type", self.errors)?;
        let Some(own) = own_keys(&name) else {
            self.errors.push(unknown_type(&name_node.origin, &name));
            return None;
        };
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        let entries: &[_] =
            if record { fields::entries(node, &format!("type {name}"), &known, self.errors) } else { &[] };
        let own: Vec<(Key, Node)> =
            entries.iter().filter(|(key, _)| known.contains(&key.text.as_str())).cloned().collect();
        let ty = self.named(path, &name, &name_node.origin, &own, depth)?;
        let nullable =
            find(entries, "nullable").and_then(|node| fields::flag(node, "`nullable`", self.errors)).unwrap_or(false);
        Some(if nullable { Type::Nullable(Box::new(ty)) } else { ty })
    }

    fn named(&mut self, path: &str, name: &str, place: &Origin, entries: &[(Key, Node)], depth: usize) -> Option<Type> {
        if let Some(scalar) = Scalar::named(name) {
            let bounds = Box::new(self.bounds(scalar, entries)?);
            return Some(Type::Scalar { scalar, bounds });
        }
        let [wanted, ..] = own_keys(name)? else { return None };
        let Some(of) = find(entries, wanted) else {
            self.errors.push(Diagnostic::error(place, format!("type {name} needs `{wanted}`")));
            return None;
        };
        Some(match name {
            "enum" => {
                let values = fields::texts(of, "`values`", self.errors);
                self.refuse_empty(of, "values");
                Type::Enum(values.into_iter().map(|(text, _)| text).collect())
            }
            "submodule" => Type::Submodule(self.submodule(path, of, depth)),
            "one-of" => {
                let types = fields::list(of, "`of`", self.errors);
                self.refuse_empty(of, "of");
                Type::OneOf(types.iter().filter_map(|node| self.ty(path, node, depth + 1)).collect())
            }
            "map" => Type::Map(Box::new(self.ty(path, of, depth + 1)?)),
            "nullable" => Type::Nullable(Box::new(self.ty(path, of, depth + 1)?)),
            _ => Type::List { of: Box::new(self.ty(path, of, depth + 1)?), unique: name == "set" },
        })
    }

    /// Refuses an empty list, of which no value could be.
    fn refuse_empty(&mut self, node: &Node, key: &str) {
        if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
            self.errors
                .push(Diagnostic::error(&node.origin, format!("no value could be one of these: `{key}` is empty")));
        }
    }

    fn submodule(&mut self, path: &str, node: &Node, depth: usize) -> BTreeMap<String, Declared> {
        let entries = fields::map(node, "`options`", self.errors);
        let fields = entries.iter().filter_map(|(key, node)| {
            if !is_word(&key.text) {
                self.errors.push(bad_name(key));
                return None;
            }
            Some((key.text.clone(), self.declared(&format!("{path}.{}", key.text), key, node, depth + 1)?))
        });
        fields.collect()
    }

    fn bounds(&mut self, scalar: &'static Scalar, entries: &[(Key, Node)]) -> Option<Bounds> {
        let plain = Type::Scalar { scalar, bounds: Box::default() };
        let mut bound = |key: &str| {
            let node = find(entries, key)?;
            let value = plain.leaf(node);
            if value.is_err() {
                let message = format!("`{key}` must be {}, not {}", plain.describe(), node.describe());
                self.errors.push(Diagnostic::error(&node.origin, message));
            }
            value.ok()
        };
        let (min, max) = (bound("min"), bound("max"));
        let mut length =
            |key: &str| find(entries, key).and_then(|node| fields::name(node, &format!("`{key}`"), self.errors));
        let (min_length, max_length) = (length("min-length"), length("max-length"));
        let regex = find(entries, "regex").and_then(|node| {
            let text = fields::text(node, "`regex`", self.errors)?;
            match Regex::new(&format!(r"\A(?:{text})\z")) {
                Ok(regex) => Some(regex),
                Err(_) => {
                    self.errors.push(Diagnostic::error(&node.origin, "this is not a regular expression"));
                    None
                }
            }
        });
        let crossed = |least: Option<bool>, key: &str| {
            let node = find(entries, key).filter(|_| least == Some(true))?;
            let message = format!("no value could be so: `{key}` is below `{}`", key.replace("max", "min"));
            Some(Diagnostic::error(&node.origin, message))
        };
        let order = min.as_ref().zip(max.as_ref()).map(|(min, max)| order(min, max) == Some(Ordering::Greater));
        let lengths = min_length.zip(max_length).map(|(min, max): (usize, usize)| min > max);
        self.errors.extend([crossed(order, "max"), crossed(lengths, "max-length")].into_iter().flatten());
        Some(Bounds { min, max, min_length, max_length, regex })
    }
}

/// Surroundings in which no template has a value.
struct Static(RefCell<Vec<Diagnostic>>);

impl Surroundings for Static {
    fn expand(&self, node: &Node, _: &Scope) -> Result<Node, Failed> {
        if is_dynamic(node) { Err(Failed) } else { Ok(node.clone()) }
    }

    fn report(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    /// A default may give a part and leave the rest to the image.
    fn report_missing(&self, _: Diagnostic) {}
}

fn unknown_type(place: &Origin, name: &str) -> Diagnostic {
    let known = names();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the types are {}", known.join(", ")),
    };
    Diagnostic::error(place, format!("unknown type `{name}`")).help(help)
}

/// The names of all types.
pub(super) fn names() -> Vec<&'static str> {
    let others = ["enum", "list", "set", "map", "submodule", "nullable", "one-of"];
    SCALARS.iter().map(|scalar| scalar.name).chain(others).collect()
}

/// Whether a text can be one part of an option's name.
pub(super) fn is_word(text: &str) -> bool {
    !text.contains('.') && text.parse::<crate::name::OptionPath>().is_ok()
}

/// The error for a name that cannot be a part of an option's name.
pub(super) fn bad_name(key: &Key) -> Diagnostic {
    Diagnostic::error(&key.origin, format!("`{}` cannot be the name of an option", super::yaml::shorten(&key.text)))
        .help("letters, digits, - and _, beginning with a letter")
}
