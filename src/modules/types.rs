//! Types of options: what a declaration says, and which values it accepts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;

use super::fields::nearest;
use super::scalars::{Refusal, Scalar};
use super::value::Value;
use super::yaml::{Kind, Node};
use crate::origin::Origin;

/// What an option's value may be.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Scalar { scalar: &'static Scalar, bounds: Box<Bounds> },
    Enum(Vec<String>),
    List { of: Box<Type>, unique: bool },
    Map(Box<Type>),
    Submodule(BTreeMap<String, Declared>),
    Nullable(Box<Type>),
    OneOf(Vec<Type>),
}

/// Limits of a scalar type.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    pub min: Option<Value>,
    pub max: Option<Value>,
    /// In characters.
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub regex: Option<Regex>,
}

/// One option as a module declares it, or one field of a submodule.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub ty: Type,
    pub default: Option<Node>,
    pub example: Option<Node>,
    pub description: String,
    /// Whether its default was refused, which has been told.
    pub broken: bool,
    /// The place of its name.
    pub origin: Origin,
    /// The module that declares it.
    pub module: String,
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Type {
    /// What a value must be, with its article.
    pub fn describe(&self) -> String {
        match self {
            Self::Scalar { scalar, bounds } => format!("{}{}", scalar.what, bounds.describe()),
            Self::Enum(values) => format!("one of {}", values.join(", ")),
            Self::List { of, .. } => format!("a list, each entry {}", of.describe()),
            Self::Map(of) => format!("a map, each value {}", of.describe()),
            Self::Submodule(fields) => {
                format!("a map of {}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::Nullable(of) => format!("{}, or null", of.describe()),
            Self::OneOf(types) => types.iter().map(Self::describe).collect::<Vec<_>>().join(", or "),
        }
    }

    /// The secrets that a value of the type names.
    pub fn secrets<'v>(&self, value: &'v Value) -> Vec<&'v str> {
        match (self, value) {
            (Self::Scalar { scalar, .. }, value) if scalar.name == "secret" => value.as_text().into_iter().collect(),
            (Self::List { of, .. }, Value::List(items)) => items.iter().flat_map(|item| of.secrets(item)).collect(),
            (Self::Map(of), Value::Map(map)) => map.values().flat_map(|value| of.secrets(value)).collect(),
            (Self::Submodule(fields), Value::Map(map)) => {
                let fields = fields.iter().filter_map(|(name, field)| Some((&field.ty, map.get(name)?)));
                fields.flat_map(|(ty, value)| ty.secrets(value)).collect()
            }
            (Self::Nullable(of), value) => of.secrets(value),
            _ => Vec::new(),
        }
    }

    /// The type in the words of a declaration: `list of port`.
    pub fn short(&self) -> String {
        let list = |items: &[String]| match items {
            [most @ .., second, last] => [most, &[format!("{second} or {last}")]].concat().join(", "),
            other => other.concat(),
        };
        match self {
            Self::Scalar { scalar, bounds } => format!("{}{}", scalar.name, bounds.describe()),
            Self::Enum(values) => list(values),
            Self::List { of, unique } => format!("{} of {}", if *unique { "set" } else { "list" }, of.short()),
            Self::Map(of) => format!("map of {}", of.short()),
            Self::Submodule(_) => "submodule".to_owned(),
            Self::Nullable(of) => format!("{} or null", of.short()),
            Self::OneOf(types) => list(&types.iter().map(Self::short).collect::<Vec<_>>()),
        }
    }

    /// Whether definitions are put together instead of the strongest winning.
    pub fn is_collection(&self) -> bool {
        match self {
            Self::List { .. } | Self::Map(_) | Self::Submodule(_) => true,
            Self::Nullable(of) => of.is_collection(),
            Self::Scalar { .. } | Self::Enum(_) | Self::OneOf(_) => false,
        }
    }

    /// The value of a scalar node without templates.
    pub fn leaf(&self, node: &Node) -> Result<Value, Refusal> {
        let Kind::Scalar { text, style } = &node.kind else { return Err(None) };
        if node.is_null() {
            return Err(None);
        }
        match self {
            Self::Scalar { scalar, bounds } => {
                let value = scalar.read(text, *style)?;
                bounds.check(&value)?;
                Ok(value)
            }
            Self::Enum(values) if values.contains(text) => Ok(Value::Text(text.clone())),
            Self::Enum(values) => {
                Err(nearest(text, values.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")))
            }
            _ => Err(None),
        }
    }
}

impl Bounds {
    fn describe(&self) -> String {
        let text = |value: &Value| value.json().to_string().replace('"', "");
        let mut parts = match (&self.min, &self.max) {
            (Some(min), Some(max)) => format!(", {} to {}", text(min), text(max)),
            (Some(min), None) => format!(", {} or more", text(min)),
            (None, Some(max)) => format!(", {} or less", text(max)),
            (None, None) => String::new(),
        };
        match (self.min_length, self.max_length) {
            (Some(min), Some(max)) => parts += &format!(", {min} to {max} characters"),
            (Some(min), None) => parts += &format!(", {min} characters at least"),
            (None, Some(max)) => parts += &format!(", {max} characters at most"),
            (None, None) => {}
        }
        if let Some(regex) = &self.regex {
            parts += &format!(" that matches {}", shown(regex));
        }
        parts
    }

    fn check(&self, value: &Value) -> Result<(), Refusal> {
        let too_small = self.min.as_ref().is_some_and(|min| order(value, min) == Some(Ordering::Less));
        let too_large = self.max.as_ref().is_some_and(|max| order(value, max) == Some(Ordering::Greater));
        let text = value.as_text().unwrap_or("");
        let length = text.chars().count();
        let wrong_length =
            self.min_length.is_some_and(|min| length < min) || self.max_length.is_some_and(|max| length > max);
        let strange = self.regex.as_ref().is_some_and(|regex| !regex.is_match(text));
        if too_small || too_large || wrong_length || strange { Err(None) } else { Ok(()) }
    }
}

/// A regular expression as the module wrote it.
pub(super) fn shown(regex: &Regex) -> &str {
    regex.as_str().strip_prefix(r"\A(?:").and_then(|text| text.strip_suffix(r")\z")).unwrap_or(regex.as_str())
}

/// The order of two values of one type, where it has one.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Quantity(a), Value::Quantity(b)) if a.unit == b.unit => Some(a.amount.cmp(&b.amount)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
