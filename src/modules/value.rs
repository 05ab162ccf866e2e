//! Typed values in canonical form, and how templates see them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::yaml::{Key, Kind, Node, Style};
use crate::origin::Origin;

/// The value of an option.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A piece of configuration, which goes into files as it is.
    Config(String),
    Quantity(Quantity),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

/// An amount of something; written in the largest unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    pub unit: Unit,
    /// Milliseconds, bytes or per cent.
    pub amount: u64,
}

/// What a [`Quantity`] is an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Time,
    Bytes,
    Percent,
}

impl Unit {
    /// Units by name, smallest first; the last spelling of an amount is canonical.
    pub fn names(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Time => &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
            Self::Bytes => &[("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)],
            Self::Percent => &[("%", 1)],
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.amount == 0 {
            return f.write_str(match self.unit {
                Unit::Time => "0s",
                Unit::Bytes => "0",
                Unit::Percent => "0%",
            });
        }
        let unit = self.unit.names().iter().rev().find(|(_, size)| self.amount.is_multiple_of(*size));
        let (name, size) = unit.copied().unwrap_or(("", 1));
        write!(f, "{}{name}", self.amount / size)
    }
}

impl Value {
    /// The canonical value for the manifest and for people.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) | Self::Config(text) => text.as_str().into(),
            Self::Quantity(quantity) => quantity.to_string().into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(map) => map.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
        }
    }

    /// The value as templates see it.
    pub fn template(&self) -> minijinja::Value {
        match self {
            Self::Null => minijinja::Value::from(()),
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Config(text) => minijinja::Value::from_safe_string(text.clone()),
            Self::Quantity(quantity) => minijinja::Value::from_object(*quantity),
            Self::List(items) => items.iter().map(Self::template).collect(),
            Self::Map(map) => minijinja::Value::from_object(Record(
                map.iter().map(|(key, value)| (key.clone(), value.template())).collect(),
            )),
        }
    }

    /// The text of a value that is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Config(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a node that stands at `origin`, as if it had been written there.
    pub fn node(&self, origin: &Origin) -> Node {
        let scalar = |text: String| Node::scalar(text, Style::Rendered, origin);
        match self {
            Self::Null => Node::scalar("null", Style::Plain, origin),
            Self::Bool(flag) => scalar(flag.to_string()),
            Self::Int(number) => scalar(number.to_string()),
            Self::Float(number) => scalar(number.to_string()),
            Self::Text(text) | Self::Config(text) => scalar(text.clone()),
            Self::Quantity(quantity) => scalar(quantity.to_string()),
            Self::List(items) => {
                let items = items.iter().map(|item| item.node(origin)).collect();
                Node { kind: Kind::List(items), origin: origin.clone(), tag: None }
            }
            Self::Map(map) => {
                let key = |text: &String| Key { text: text.clone(), origin: origin.clone() };
                let entries = map.iter().map(|(text, value)| (key(text), value.node(origin))).collect();
                Node { kind: Kind::Map(entries), origin: origin.clone(), tag: None }
            }
        }
    }
}

/// Quantities compare as numbers and print in canonical form.
impl Object for Quantity {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some((self.unit as u8, self.amount).cmp(&(other.unit as u8, other.amount)))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.amount != 0
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A map whose keys with `-` are also found with `_`, since `-` subtracts in a template.
#[derive(Debug)]
struct Record(BTreeMap<String, minijinja::Value>);

impl Object for Record {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<minijinja::Value> {
        self.0.get(key).or_else(|| self.0.get(&key.replace('_', "-"))).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| minijinja::Value::from(key.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_in_the_largest_whole_unit() {
        for (unit, amount, wanted) in [
            (Unit::Time, 7 * 86_400_000, "7d"),
            (Unit::Time, 5_400_000, "90m"),
            (Unit::Time, 1500, "1500ms"),
            (Unit::Time, 0, "0s"),
            (Unit::Bytes, 1 << 30, "1G"),
            (Unit::Bytes, 1000, "1000"),
            (Unit::Bytes, 1536 << 20, "1536M"),
            (Unit::Percent, 25, "25%"),
        ] {
            assert_eq!(Quantity { unit, amount }.to_string(), wanted);
        }
    }
}
