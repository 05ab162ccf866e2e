//! Templates in YAML values: minijinja, strict about undefined names, with an end to what it may compute.
//!
//! A scalar that is one `{{ expression }}` becomes the expression's value, whatever its kind; any other text with
//! braces becomes text. The outcome is never read as a template again.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::compare::{self, Rewritten};
use super::escape::{SINK, Sink};
use super::fields::nearest;
use super::scalars::Scalar;
use super::value::{Quantity, Unit};
use super::yaml::{Key, Kind, Node, Style, shorten};
use crate::origin::{Diagnostic, Origin, Source};

/// Instructions that one template may take.
const FUEL: u64 = 500_000;
/// Deepest nesting of blocks.
const RECURSION: usize = 50;
/// Longest text that a template or filter makes, in bytes.
const MAX_TEXT: usize = 4 << 20;
/// Statements that a template may use. Others name values and so can double a text without end.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];
/// Deepest nesting of lists and maps that an expression gives.
const MAX_DEPTH: usize = 32;

/// Whose names a template may use bare.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scope {
    module: Option<Arc<str>>,
    item: Option<(minijinja::Value, minijinja::Value)>,
}

impl Scope {
    /// The options of the module at that path.
    pub fn module(path: &str) -> Self {
        Self { module: Some(path.replace('/', ".").into()), item: None }
    }

    /// The same, with one entry of what `each` goes through as `key` and `value`.
    pub fn with_item(&self, key: minijinja::Value, value: minijinja::Value) -> Self {
        Self { item: Some((key, value)), ..self.clone() }
    }

    /// The dotted name of the module.
    pub fn prefix(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// The value of a name that `each` gives.
    pub fn item(&self, name: &str) -> Option<&minijinja::Value> {
        let (key, value) = self.item.as_ref()?;
        match name {
            "key" => Some(key),
            "value" => Some(value),
            _ => None,
        }
    }
}

/// Whether a text holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether a node or anything in it is a template. What a template has made is none, whatever it looks like.
pub(super) fn is_dynamic(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { text, style } => *style != Style::Rendered && is_template(text),
        Kind::List(items) => items.iter().any(is_dynamic),
        Kind::Map(entries) => entries.iter().any(|(key, node)| is_template(&key.text) || is_dynamic(node)),
    }
}

/// An engine with rave's rules.
pub(super) fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(RECURSION);
    engine.set_debug(true);
    engine.set_formatter(write);
    if let Ok(syntax) = minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    engine.add_function(compare::LIKE, like);
    engine.add_function("secret", |name: &str| crate::system::placeholder(name));
    // These let a text pass as one that is written already.
    for filter in ["safe", "escape", "e"] {
        engine.remove_filter(filter);
    }
    engine.add_filter("join", join);
    engine.add_filter("replace", replace);
    engine.add_filter("prefix", prefix);
    engine.add_filter("bytes", |value: minijinja::Value| amount(&value, Unit::Bytes, 1));
    engine.add_filter("kib", |value: minijinja::Value| amount(&value, Unit::Bytes, 1 << 10));
    engine.add_filter("mib", |value: minijinja::Value| amount(&value, Unit::Bytes, 1 << 20));
    engine.add_filter("milliseconds", |value: minijinja::Value| amount(&value, Unit::Time, 1));
    engine.add_filter("seconds", |value: minijinja::Value| amount(&value, Unit::Time, 1000));
    engine.add_filter("minutes", |value: minijinja::Value| amount(&value, Unit::Time, 60_000));
    engine.add_filter("hours", |value: minijinja::Value| amount(&value, Unit::Time, 3_600_000));
    engine.add_filter("days", |value: minijinja::Value| amount(&value, Unit::Time, 86_400_000));
    engine.add_filter("percent", |value: minijinja::Value| amount(&value, Unit::Percent, 1));
    engine
}

/// The file that a template is written into, if it is one.
fn sink(state: &State) -> Option<Arc<Sink>> {
    state.lookup(SINK)?.downcast_object::<Sink>()
}

/// A value that cannot be written where it stands.
fn unfit(value: &str, why: &str) -> Error {
    Error::new(ErrorKind::BadEscape, cannot(value, why))
}

fn cannot(value: &str, why: &str) -> String {
    format!("{:?} cannot be written here: {why}", shorten(value))
}

/// Writes a value into text; lists, maps and null have no text of their own but where the file's format has one.
fn write(out: &mut minijinja::Output, state: &mut State, value: &minijinja::Value) -> Result<(), Error> {
    if let Some(sink) = sink(state) {
        if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::None)
            && sink.takes_lists()
        {
            let text = serde_json::to_string(value).map_err(|error| unfit("", &error.to_string()))?;
            return out.write_str(&text).map_err(Error::from);
        }
        let text = match value.kind() {
            ValueKind::Plain if sink.quotes_amounts() => Some(value.to_string()),
            _ => value.as_str().filter(|_| !value.is_safe()).map(str::to_owned),
        };
        if let Some(text) = text {
            let escaped = sink.value(&text).map_err(|why| unfit(&text, &why))?;
            return out.write_str(&escaped).map_err(Error::from);
        }
    }
    let refused = match value.kind() {
        ValueKind::Undefined => return minijinja::escape_formatter(out, state, value),
        ValueKind::Bool => return std::fmt::Write::write_str(out, truth(value)).map_err(Error::from),
        ValueKind::None => "null cannot be written as text; use default(...) or a condition",
        ValueKind::Seq | ValueKind::Iterable => "a list cannot be written as text; use join or a loop",
        ValueKind::Map => "a map cannot be written as text; name one of its values, or use a loop",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    Err(Error::new(ErrorKind::InvalidOperation, refused))
}

/// A boolean as YAML and configuration files write it.
fn truth(value: &minijinja::Value) -> &'static str {
    if value.is_true() { "true" } else { "false" }
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the text is longer than {MAX_TEXT} bytes"))
}

/// The text of an entry of a list.
fn entry(item: &minijinja::Value) -> Result<String, Error> {
    match item.kind() {
        ValueKind::Bool => Ok(truth(item).to_owned()),
        ValueKind::String | ValueKind::Number | ValueKind::Plain => Ok(item.to_string()),
        kind => Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} cannot be joined"))),
    }
}

/// The entries of a list as one text. Within a file each entry is written as its format asks.
fn join(state: &State, list: minijinja::Value, between: Option<String>) -> Result<minijinja::Value, Error> {
    let mut cursor = sink(state).map(|sink| sink.cursor());
    let between = between.as_deref().unwrap_or("");
    let mut text = String::new();
    for (index, item) in list.try_iter()?.enumerate() {
        if index > 0 {
            text += between;
            cursor.iter_mut().for_each(|cursor| cursor.feed(between));
        }
        let mut part = entry(&item)?;
        if let Some(cursor) = &mut cursor
            && item.kind() == ValueKind::String
            && !item.is_safe()
        {
            part = cursor.escape(&part).map_err(|why| unfit(&part, &why))?;
            cursor.skip(&part);
        }
        text += &part;
        if text.len() > MAX_TEXT {
            return Err(too_long());
        }
    }
    Ok(if cursor.is_some() { minijinja::Value::from_safe_string(text) } else { text.into() })
}

/// A list of texts, each entry with the same words before it.
fn prefix(list: minijinja::Value, before: String) -> Result<Vec<String>, Error> {
    list.try_iter()?.map(|item| Ok(format!("{before}{}", entry(&item)?))).collect()
}

fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    let longest = text.matches(&from).count().saturating_mul(to.len()).saturating_add(text.len());
    if longest > MAX_TEXT { Err(too_long()) } else { Ok(text.replace(&from, &to)) }
}

/// Takes text until it is too long, and tells the file's sink of it.
struct Limited<'a> {
    text: Vec<u8>,
    sink: Option<&'a Sink>,
}

impl std::io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.text.len() + bytes.len() > MAX_TEXT {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        if let Some(sink) = self.sink {
            sink.wrote(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn quantity(value: &minijinja::Value) -> Option<Quantity> {
    value.downcast_object_ref::<Quantity>().copied()
}

/// A literal text as the kind of quantity that it is compared with.
fn like(beside: minijinja::Value, text: minijinja::Value) -> Result<minijinja::Value, Error> {
    let Some(Quantity { unit, .. }) = quantity(&beside) else { return Ok(text) };
    let name = match unit {
        Unit::Time => "duration",
        Unit::Bytes => "size",
        Unit::Percent => "percentage",
    };
    let literal = text.as_str().unwrap_or("");
    let value = Scalar::named(name).and_then(|scalar| scalar.read(literal, Style::Rendered).ok());
    let wrong =
        || Error::new(ErrorKind::InvalidOperation, format!("{literal:?} is compared with a {name} but is none"));
    value.map(|value| value.template()).ok_or_else(wrong)
}

/// A quantity as a number of `size` units, rounded down.
fn amount(value: &minijinja::Value, unit: Unit, size: u64) -> Result<u64, Error> {
    match quantity(value) {
        Some(quantity) if quantity.unit == unit => Ok(quantity.amount / size),
        _ => Err(Error::new(ErrorKind::InvalidOperation, format!("{value} has another unit"))),
    }
}

/// One template and the place it stands at.
pub(super) struct Template<'a> {
    pub engine: &'a Environment<'static>,
    pub text: &'a str,
    /// The place of a part of the text.
    pub locate: &'a dyn Fn(std::ops::Range<usize>) -> Origin,
    /// Every name that may be meant, for suggestions.
    pub names: &'a dyn Fn() -> Vec<String>,
}

impl Template<'_> {
    /// Evaluates a text that is one expression in braces, or none otherwise.
    pub fn value(&self, names: minijinja::Value) -> Option<Result<minijinja::Value, Diagnostic>> {
        let inner = self.text.strip_prefix("{{")?.strip_suffix("}}")?;
        let trimmed = inner.strip_prefix('-').unwrap_or(inner);
        let trimmed = trimmed.strip_suffix('-').unwrap_or(trimmed);
        let rewritten = compare::expression(trimmed);
        let expression = self.engine.compile_expression(&rewritten.text).ok()?;
        let offset = if inner.starts_with('-') { 3 } else { 2 };
        let value = expression.eval(names).map_err(|error| self.explain(&error, &rewritten, offset));
        let start = offset + trimmed.len() - trimmed.trim_start().len();
        Some(value.and_then(|value| match value.is_undefined() {
            true => Err(self.undefined(trimmed.trim(), &(start..start + trimmed.trim().len()))),
            false => Ok(value),
        }))
    }

    /// Evaluates an expression without braces.
    pub fn expression(&self, names: minijinja::Value) -> Result<minijinja::Value, Diagnostic> {
        let rewritten = compare::expression(self.text);
        let expression =
            self.engine.compile_expression(&rewritten.text).map_err(|error| self.explain(&error, &rewritten, 0))?;
        let value = expression.eval(names).map_err(|error| self.explain(&error, &rewritten, 0))?;
        match value.is_undefined() {
            true => Err(self.undefined(self.text.trim(), &(0..self.text.len()))),
            false => Ok(value),
        }
    }

    /// Renders the text, which becomes a file if there is a sink.
    pub fn render(&self, names: minijinja::Value, sink: Option<&Sink>) -> Result<String, Diagnostic> {
        let rewritten = compare::template(self.text);
        if let Some((word, at)) = rewritten.statements.iter().find(|(word, _)| !STATEMENTS.contains(&word.as_str())) {
            let error = Diagnostic::error(&(self.locate)(at.clone()), format!("templates have no statement `{word}`"));
            return Err(error.help("there are if, for and raw; give names to values by options"));
        }
        let mut out = Limited { text: Vec::new(), sink };
        let template = self.engine.template_from_str(&rewritten.text);
        let done = template.and_then(|template| template.render_captured_to(names, &mut out).map(drop));
        match (done, String::from_utf8(out.text)) {
            (Ok(()), Ok(text)) => Ok(text),
            (Err(error), _) => Err(self.explain(&error, &rewritten, 0)),
            (Ok(()), Err(_)) => {
                Err(Diagnostic::error(&(self.locate)(0..self.text.len()), "the template gives no text"))
            }
        }
    }

    fn explain(&self, error: &Error, rewritten: &Rewritten, offset: usize) -> Diagnostic {
        let range = error.range().map(|range| rewritten.original(range));
        let range = range.unwrap_or(0..self.text.len().saturating_sub(offset));
        let range = range.start + offset..range.end + offset;
        let detail = error.detail().unwrap_or("");
        if error.kind() == ErrorKind::UndefinedError {
            let name = detail.split('`').nth(1).unwrap_or("").to_owned();
            return self.undefined(&name, &range);
        }
        let message = match (error.kind(), detail) {
            (ErrorKind::WriteFailure, _) => format!("the template gives more than {MAX_TEXT} bytes"),
            (ErrorKind::BadEscape, detail) if !detail.is_empty() => detail.to_owned(),
            (ErrorKind::OutOfFuel, _) => "the template computes too long".to_owned(),
            (kind, "") => format!("the template fails: {kind}"),
            (_, detail) => format!("the template fails: {}", detail.replace(compare::LIKE, "a comparison")),
        };
        Diagnostic::error(&(self.locate)(range), message)
    }

    fn undefined(&self, name: &str, range: &std::ops::Range<usize>) -> Diagnostic {
        let place = (self.locate)(range.clone());
        let error = Diagnostic::error(&place, format!("there is no `{name}`"));
        let known = (self.names)();
        let hyphens = known.iter().find(|known| known.starts_with(&format!("{name}-")));
        match (nearest(name, known.iter().map(String::as_str)), hyphens) {
            (_, Some(known)) => error.help(format!("write `-` in names as `_`: `{}`", known.replace('-', "_"))),
            (Some(near), None) => error.help(format!("did you mean `{}`?", near.replace('-', "_"))),
            (None, None) => error,
        }
    }
}

/// A value that an expression gave, as a node at the place of the expression.
pub(super) fn node(value: &minijinja::Value, origin: &Origin, depth: usize) -> Result<Node, Diagnostic> {
    if depth > MAX_DEPTH {
        return Err(Diagnostic::error(origin, format!("the value is nested deeper than {MAX_DEPTH} levels")));
    }
    let refused = |error: Error| Diagnostic::error(origin, format!("the template fails: {error}"));
    let kind = match value.kind() {
        ValueKind::None | ValueKind::Undefined => return Ok(Node::scalar("null", Style::Plain, origin)),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(refused)?;
            Kind::List(items.map(|item| node(&item, origin, depth + 1)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for key in value.try_iter().map_err(refused)? {
                let inner = value.get_item(&key).map_err(refused)?;
                let key = Key { text: key.to_string(), origin: origin.clone() };
                entries.push((key, node(&inner, origin, depth + 1)?));
            }
            Kind::Map(entries)
        }
        ValueKind::Bool => Kind::Scalar { text: truth(value).to_owned(), style: Style::Rendered },
        _ => Kind::Scalar { text: value.to_string(), style: Style::Rendered },
    };
    Ok(Node { kind, origin: origin.clone(), tag: None })
}

/// A value of a directive or a list of such, each written as the cursor's place asks.
pub(super) fn written(value: &minijinja::Value, origin: &Origin, sink: &Sink) -> Result<Node, Diagnostic> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| Diagnostic::error(origin, error.to_string()))?;
            let kind = Kind::List(items.map(|item| written(&item, origin, sink)).collect::<Result<_, _>>()?);
            Ok(Node { kind, origin: origin.clone(), tag: None })
        }
        ValueKind::String if !value.is_safe() => {
            let text = value.as_str().unwrap_or("");
            match sink.escape(text) {
                Ok(text) => Ok(Node::scalar(text, Style::Rendered, origin)),
                Err(why) => Err(Diagnostic::error(origin, cannot(text, &why))),
            }
        }
        _ => node(value, origin, 0),
    }
}

/// The place of a part of a template file.
pub(super) fn locate_in(source: &Arc<Source>) -> impl Fn(std::ops::Range<usize>) -> Origin + '_ {
    |range| Origin::new(source, range)
}
