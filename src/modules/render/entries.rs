//! The entries of a module's sections: repeated, switched on, with their templates expanded, and noted with what they
//! read.

use std::collections::BTreeSet;

use super::{By, Render};
use crate::modules::provenance::Read;
use crate::modules::shape::{self, Shape};
use crate::modules::template::{Scope, is_dynamic};
use crate::modules::yaml::{Key, Kind, Node};
use crate::modules::{Failed, fields};
use crate::origin::Origin;

impl Render<'_> {
    /// A section without templates, checked once more if it held some.
    pub(super) fn expanded(&mut self, node: &Node, shape: &Shape, what: &str, scope: &Scope) -> Option<Node> {
        let expanded = self.around.expand(node, scope).ok()?;
        if is_dynamic(node) {
            let before = self.errors.len();
            shape::check(&expanded, shape, what, &mut self.errors);
            if self.errors.len() > before {
                return None;
            }
        }
        Some(expanded)
    }

    /// The words of a list. One that is an expression may give a list, whose words take its place.
    pub(super) fn words(&mut self, what: &str, node: &Node, by: &By) -> Vec<(String, Origin)> {
        let whole = match node.kind {
            Kind::Scalar { .. } => self.around.expand(node, &by.scope),
            _ => Ok(node.clone()),
        };
        let Ok(whole) = whole else { return Vec::new() };
        let mut items = Vec::new();
        for item in fields::list(&whole, what, &mut self.errors) {
            let Some(item) = self.plain(item.clone(), by) else { continue };
            match self.around.expand(&item, &by.scope) {
                Ok(Node { kind: Kind::List(inner), .. }) => items.extend(inner),
                Ok(item) => items.push(item),
                Err(Failed) => {}
            }
        }
        fields::texts(&Node { kind: Kind::List(items), ..whole }, what, &mut self.errors)
    }

    /// The value of `{ value: ..., when: ... }` if its condition holds; other nodes as they are.
    pub(super) fn plain(&self, node: Node, by: &By) -> Option<Node> {
        match node.get("value") {
            Some(value) if self.switched_on(&node, by) => Some(value.clone()),
            Some(_) => None,
            None => Some(node),
        }
    }

    /// A section that is one record with a condition of its own.
    pub(super) fn whole(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(shape) = shape::section(name) else { return };
        self.make(by, &BTreeSet::new(), |this| {
            if this.switched_on(node, by)
                && let Some(expanded) = this.expanded(node, shape, &format!("`{name}`"), &by.scope)
            {
                this.made.add(name, name, &node.origin);
                take(this, expanded);
            }
        });
    }

    /// The entries of a section that is a map, those whose conditions hold.
    pub(super) fn each(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Key, Node, &By)) {
        let Some(Shape::Map(shape)) = shape::section(name) else { return };
        if name == "units" && matches!(node.kind, Kind::Scalar { .. }) {
            return self.refuse(&node.origin, "`units` cannot be one template: its directives are read one by one");
        }
        let Some((node, read)) = self.top(node, by) else { return };
        for (key, node) in fields::map(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            self.make(by, &read, |this| {
                for by in this.repeated(&node, by) {
                    if !this.switched_on(&node, &by) {
                        continue;
                    }
                    let Ok(key) = this.around.expand_key(&key, &by.scope) else { continue };
                    let node = once(&node);
                    let node = match name {
                        "units" => this.unit_written(&key, &node, shape, &by.scope),
                        "files" => this.written(&key, &node, shape, &by.scope),
                        _ => this.expanded(&node, shape, &format!("`{}`", key.text), &by.scope),
                    };
                    if let Some(node) = node {
                        this.made.add(name, key.text.as_str(), &key.origin);
                        take(this, key, node, &by);
                    }
                }
            });
        }
    }

    /// The entries of a section that is a list of records, those whose conditions hold.
    pub(super) fn each_item(&mut self, name: &str, node: &Node, by: &By, mut take: impl FnMut(&mut Self, Node)) {
        let Some(Shape::List(shape)) = shape::section(name) else { return };
        let Some((node, read)) = self.top(node, by) else { return };
        for node in fields::list(&node, &format!("`{name}`"), &mut self.errors).to_vec() {
            self.make(by, &read, |this| {
                for by in this.repeated(&node, by) {
                    if this.switched_on(&node, &by)
                        && let Some(node) = this.item(name, once(&node), shape, &by.scope)
                    {
                        // Claims are made where they do not hold.
                        if !matches!(name, "assertions" | "warnings") {
                            this.made.add(name, item_name(&node), &node.origin);
                        }
                        take(this, node);
                    }
                }
            });
        }
    }

    /// An entry of a list of records without templates. The condition of a claim stays as it is written: expanded, a
    /// value in it would be read as an expression.
    fn item(&mut self, name: &str, mut node: Node, shape: &Shape, scope: &Scope) -> Option<Node> {
        let condition = match &mut node.kind {
            Kind::Map(entries) => entries.iter().position(|(key, _)| key.text == "that").map(|at| entries.remove(at)),
            _ => None,
        };
        let shape = if condition.is_some() { &shape::CLAIM_EXPANDED } else { shape };
        let mut node = self.expanded(&node, shape, &format!("an entry of `{name}`"), scope)?;
        if let (Kind::Map(entries), Some(condition)) = (&mut node.kind, condition) {
            entries.push(condition);
        }
        Some(node)
    }

    /// Who contributes an entry: the module, once, or with each entry of what `each` names.
    pub(super) fn repeated(&self, node: &Node, by: &By) -> Vec<By> {
        let Some(each) = node.get("each") else { return vec![by.clone()] };
        let entries = self.around.entries(each, &by.scope).unwrap_or_default();
        let with = |(key, value)| By { scope: by.scope.with_item(key, value), ..by.clone() };
        entries.into_iter().map(with).collect()
    }

    /// A section that is one template becomes its value, with what that reads; entries of others are left as they are.
    pub(super) fn top(&self, node: &Node, by: &By) -> Option<(Node, BTreeSet<Read>)> {
        match node.kind {
            Kind::Scalar { .. } => {
                self.around.state().notes.open();
                let expanded = self.around.expand(node, &by.scope);
                let read = self.around.state().notes.close();
                Some((expanded.ok()?, read))
            }
            _ => Some((node.clone(), BTreeSet::new())),
        }
    }

    /// Makes something, and notes who did and what was read for it, `read` included.
    pub(super) fn make(&mut self, by: &By, read: &BTreeSet<Read>, make: impl FnOnce(&mut Self)) {
        self.around.state().notes.open();
        make(self);
        let mut all = self.around.state().notes.close();
        all.extend(read.iter().cloned());
        self.made.finish(by.scope.prefix().map(|prefix| prefix.replace('.', "/")).as_deref(), &all);
    }

    pub(super) fn switched_on(&self, node: &Node, by: &By) -> bool {
        node.get("when").is_none_or(|when| self.around.holds(when, &by.scope) == Ok(true))
    }
}

/// The entries of a list each on its own, so that it is known what each of them reads.
pub(super) fn parts(node: &Node) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => {
            items.iter().map(|item| Node { kind: Kind::List(vec![item.clone()]), ..node.clone() }).collect()
        }
        _ => vec![node.clone()],
    }
}

/// What an entry of a list of records is known by.
fn item_name(node: &Node) -> &str {
    let named = ["id", "name", "path", "pattern", "message"].into_iter().find_map(|key| node.get(key));
    match named.map(|node| &node.kind) {
        Some(Kind::Scalar { text, .. }) => text.trim(),
        _ => "",
    }
}

/// An entry without its condition and its `each`, which have been followed.
fn once(node: &Node) -> Node {
    let mut node = node.clone();
    if let Kind::Map(entries) = &mut node.kind {
        entries.retain(|(key, _)| !["each", "when"].contains(&key.text.as_str()));
    }
    node
}
