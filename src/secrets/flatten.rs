//! Nested metadata as flat keys, for formats without nesting: `age__list_0__map_enc`.

use super::tree::{Entry, Item, Value};

const MAP: &str = "__map_";
const LIST: &str = "__list_";

/// Longer lists were not written by anybody.
const LONGEST: usize = 10_000;

/// Flattens maps and lists; comments are dropped.
pub(super) fn flatten(entries: &[Entry]) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (key, value) in entries.iter().filter_map(Entry::pair) {
        descend(key.to_owned(), value, &mut flat);
    }
    flat.sort_by(|(a, _), (b, _)| a.cmp(b));
    flat
}

fn descend(name: String, value: &Value, flat: &mut Vec<(String, Value)>) {
    match value {
        Value::Map(entries) => {
            for (key, value) in entries.iter().filter_map(Entry::pair) {
                descend(format!("{name}{MAP}{key}"), value, flat);
            }
        }
        Value::List(items) => {
            for (at, value) in items.iter().filter_map(Item::value).enumerate() {
                descend(format!("{name}{LIST}{at}"), value, flat);
            }
        }
        leaf => flat.push((name, leaf.clone())),
    }
}

enum Step {
    Key(String),
    Index(usize),
}

/// Rebuilds maps and lists; says what does not fit together.
pub(super) fn unflatten(flat: Vec<(String, Value)>) -> Result<Vec<Entry>, String> {
    let mut root = Node::default();
    for (name, value) in flat {
        let mut node = &mut root;
        for step in steps(&name).ok_or_else(|| format!("{name} has a wrong index"))? {
            node = match step {
                Step::Key(key) => node.child(key),
                Step::Index(at) => node.item(at).ok_or_else(|| format!("{name}: items of the list are missing"))?,
            };
        }
        if node.value.replace(value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    match root.convert("sops")? {
        Value::Map(entries) => Ok(entries),
        _ => Err("it is not a map".to_owned()),
    }
}

fn steps(name: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = name;
    let mut in_list = false;
    loop {
        let ends = [rest.find(MAP).map(|at| (at, MAP)), rest.find(LIST).map(|at| (at, LIST))];
        let end = ends.into_iter().flatten().min_by_key(|(at, _)| *at);
        let part = end.map_or(rest, |(at, _)| rest.get(..at).unwrap_or(rest));
        steps.push(if in_list {
            Step::Index(part.parse().ok().filter(|&at| at < LONGEST)?)
        } else {
            Step::Key(part.to_owned())
        });
        let Some((at, mark)) = end else { return Some(steps) };
        rest = rest.get(at + mark.len()..)?;
        in_list = mark == LIST;
    }
}

#[derive(Default)]
struct Node {
    value: Option<Value>,
    children: Vec<(String, Node)>,
    items: Vec<(usize, Node)>,
}

impl Node {
    fn child(&mut self, key: String) -> &mut Node {
        let at = self.children.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
            self.children.push((key, Node::default()));
            self.children.len() - 1
        });
        &mut self.children[at].1
    }

    fn item(&mut self, index: usize) -> Option<&mut Node> {
        let at = self.items.iter().position(|(at, _)| *at == index).unwrap_or_else(|| {
            self.items.push((index, Node::default()));
            self.items.len() - 1
        });
        self.items.get_mut(at).map(|(_, node)| node)
    }

    fn convert(mut self, name: &str) -> Result<Value, String> {
        let kinds = [self.value.is_some(), !self.children.is_empty(), !self.items.is_empty()];
        if kinds.iter().filter(|&&is| is).count() > 1 {
            return Err(format!("{name} is a value, a list and a map at once"));
        }
        if let Some(value) = self.value {
            return Ok(value);
        }
        if self.items.is_empty() {
            let entries = self.children.into_iter().map(|(key, node)| {
                let value = node.convert(&key)?;
                Ok(Entry::Pair(key, value))
            });
            return entries.collect::<Result<_, String>>().map(Value::Map);
        }
        self.items.sort_by_key(|(at, _)| *at);
        let items = self.items.into_iter().enumerate().map(|(wanted, (at, node))| {
            if wanted != at {
                return Err(format!("{name}: item {wanted} of the list is missing"));
            }
            node.convert(name).map(Item::Value)
        });
        items.collect::<Result<_, String>>().map(Value::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, Value) {
        (key.to_owned(), Value::str(value))
    }

    #[test]
    fn what_is_flattened_can_be_rebuilt_in_any_order() {
        let flat = vec![pair("age__list_0__map_enc", "E"), pair("age__list_1__map_enc", "F"), pair("mac", "M")];
        let tree = unflatten(flat.iter().rev().cloned().collect()).unwrap();
        assert_eq!(flatten(&tree), flat);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for wrong in [
            vec![pair("a__list_1", "x")],
            vec![pair("a__list_99999999999", "x")],
            vec![pair("a__list_x", "x")],
            vec![pair("a", "x"), pair("a", "y")],
            vec![pair("a", "x"), pair("a__map_b", "y")],
        ] {
            assert!(unflatten(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
