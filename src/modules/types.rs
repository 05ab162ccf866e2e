//! Types of options: what a declaration says, and which values it accepts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;

use super::fields::{self, find, nearest};
use super::scalars::{Refusal, SCALARS, Scalar};
use super::value::Value;
use super::yaml::{Key, Kind, Node};
use crate::origin::{Diagnostic, Origin};

/// Deepest nesting of types in types.
const MAX_DEPTH: usize = 8;

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
    max_length: Option<usize>,
    regex: Option<Regex>,
}

/// One option as a module declares it, or one field of a submodule.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub ty: Type,
    pub default: Option<Node>,
    pub example: Option<Node>,
    pub description: String,
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
        if let Some(length) = self.max_length {
            parts += &format!(", {length} characters at most");
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
        let too_long = self.max_length.is_some_and(|length| text.chars().count() > length);
        let strange = self.regex.as_ref().is_some_and(|regex| !regex.is_match(text));
        if too_small || too_large || too_long || strange { Err(None) } else { Ok(()) }
    }
}

/// A regular expression as the module wrote it.
fn shown(regex: &Regex) -> &str {
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

const COMMON: [&str; 5] = ["type", "default", "description", "example", "nullable"];

/// The keys that a type takes besides the [`COMMON`] ones; none if there is no such type.
fn own_keys(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "int" | "float" | "duration" | "size" | "percentage" | "port" => &["min", "max"],
        "string" => &["regex", "max-length"],
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
    /// One record with a `type`, for the option or field called `key`.
    pub fn declared(&mut self, key: &Key, node: &Node, depth: usize) -> Option<Declared> {
        let ty = self.ty(node, depth)?;
        let mut text = |key: &str| {
            node.get(key).and_then(|node| fields::text(node, &format!("`{key}`"), self.errors)).unwrap_or_default()
        };
        let description = text("description");
        let (default, example) = (node.get("default").cloned(), node.get("example").cloned());
        let (origin, module) = (key.origin.clone(), self.module.into());
        Some(Declared { ty, default, example, description, origin, module })
    }

    /// A type's name, or a record with `type` and what the type takes.
    fn ty(&mut self, node: &Node, depth: usize) -> Option<Type> {
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
        let ty = self.named(&name, &name_node.origin, &own, depth)?;
        let nullable =
            find(entries, "nullable").and_then(|node| fields::flag(node, "`nullable`", self.errors)).unwrap_or(false);
        Some(if nullable { Type::Nullable(Box::new(ty)) } else { ty })
    }

    fn named(&mut self, name: &str, place: &Origin, entries: &[(Key, Node)], depth: usize) -> Option<Type> {
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
                Type::Enum(fields::texts(of, "`values`", self.errors).into_iter().map(|(text, _)| text).collect())
            }
            "submodule" => Type::Submodule(self.submodule(of, depth)),
            "one-of" => {
                let types = fields::list(of, "`of`", self.errors);
                Type::OneOf(types.iter().filter_map(|node| self.ty(node, depth + 1)).collect())
            }
            "map" => Type::Map(Box::new(self.ty(of, depth + 1)?)),
            "nullable" => Type::Nullable(Box::new(self.ty(of, depth + 1)?)),
            _ => Type::List { of: Box::new(self.ty(of, depth + 1)?), unique: name == "set" },
        })
    }

    fn submodule(&mut self, node: &Node, depth: usize) -> BTreeMap<String, Declared> {
        let entries = fields::map(node, "`options`", self.errors);
        let fields = entries.iter().filter_map(|(key, node)| {
            if !is_word(&key.text) {
                self.errors.push(bad_name(key));
                return None;
            }
            Some((key.text.clone(), self.declared(key, node, depth + 1)?))
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
        let max_length = find(entries, "max-length").and_then(|node| fields::name(node, "`max-length`", self.errors));
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
        Some(Bounds { min, max, max_length, regex })
    }
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
