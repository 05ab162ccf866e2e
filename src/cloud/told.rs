//! What is wrong with a value, of all that a JSON schema says about it.

use boon::{ErrorKind, InstanceLocation, InstanceToken, Type, Types, ValidationError};

use super::yaml::escape;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What, in one sentence.
    pub message: String,
    /// The key that is not known, if it is that.
    pub unknown: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// How deep in the value it is, and one more where the value was at least of the right type.
    depth: usize,
}

/// What a failed validation comes to: of the ways in which a value could have been right, the one that fits best.
pub fn told(error: &ValidationError<'_, '_>) -> Vec<Told> {
    match &error.kind {
        ErrorKind::AnyOf | ErrorKind::OneOf(None) => nearest(error),
        ErrorKind::Group | ErrorKind::Schema { .. } | ErrorKind::AllOf | ErrorKind::Reference { .. } => {
            let mut all: Vec<Told> = Vec::new();
            for found in error.causes.iter().flat_map(told) {
                if !all.contains(&found) {
                    all.push(found);
                }
            }
            all
        }
        _ => leaf(error),
    }
}

fn nearest(error: &ValidationError<'_, '_>) -> Vec<Told> {
    let types: Vec<Type> = error.causes.iter().flat_map(wanted).collect();
    let ways: Vec<Vec<Told>> = error.causes.iter().map(told).filter(|way| !way.is_empty()).collect();
    let here = 2 * error.instance_location.tokens.len();
    let rank = |way: &Vec<Told>| way.iter().map(|told| told.depth).max().unwrap_or(0);
    let best = ways.iter().map(rank).max().unwrap_or(0);
    if best <= here && !types.is_empty() {
        let got = error.causes.iter().find_map(got);
        return vec![of_type(&error.instance_location, got, &types)];
    }
    ways.into_iter().filter(|way| rank(way) == best).min_by_key(Vec::len).unwrap_or_default()
}

/// The types that a way asks for, if it fails by its type.
fn wanted(error: &ValidationError<'_, '_>) -> Vec<Type> {
    match &error.kind {
        ErrorKind::Type { want, .. } => types(want),
        _ => error.causes.iter().flat_map(wanted).collect(),
    }
}

fn got(error: &ValidationError<'_, '_>) -> Option<Type> {
    match &error.kind {
        ErrorKind::Type { got, .. } => Some(*got),
        _ => error.causes.iter().find_map(got),
    }
}

fn types(types: &Types) -> Vec<Type> {
    types.iter().collect()
}

fn leaf(error: &ValidationError<'_, '_>) -> Vec<Told> {
    let at = &error.instance_location;
    let (pointer, subject) = (pointer(at), subject(at));
    let depth = 2 * at.tokens.len() + 1;
    let say = |message: String| Told { pointer: pointer.clone(), message, unknown: None, help: None, depth };
    match &error.kind {
        ErrorKind::Type { got, want } => vec![of_type(at, Some(*got), &types(want))],
        ErrorKind::AdditionalProperties { got } => {
            let unknown = |key: &std::borrow::Cow<'_, str>| Told {
                pointer: format!("{pointer}/{}", escape(key)),
                message: format!("unknown key `{key}`"),
                unknown: Some(key.clone().into_owned()),
                help: None,
                depth,
            };
            got.iter().map(unknown).collect()
        }
        ErrorKind::Required { want } => {
            want.iter().map(|key| say(format!("`{key}` is missing in {subject}"))).collect()
        }
        ErrorKind::Enum { want } => {
            let words: Vec<String> = want.iter().map(ToString::to_string).collect();
            vec![say(format!("{subject} must be one of {}", words.join(", ")))]
        }
        ErrorKind::Pattern { want, .. } => vec![say(format!("{subject} does not match {want}"))],
        ErrorKind::MinItems { want, .. } | ErrorKind::MinProperties { want, .. } => {
            vec![say(format!("{subject} needs {want} or more entries"))]
        }
        ErrorKind::OneOf(Some(_)) => vec![say(format!("{subject} says two things of which only one may be said"))],
        other => vec![say(format!("{subject} is not as it may be: {other}"))],
    }
}

fn of_type(at: &InstanceLocation<'_>, got: Option<Type>, want: &[Type]) -> Told {
    let mut names: Vec<&str> = want.iter().copied().map(name).collect();
    names.dedup();
    let written = got.map_or("something else", name);
    let quote = want.contains(&Type::String) && matches!(got, Some(Type::Boolean | Type::Number | Type::Integer));
    Told {
        pointer: pointer(at),
        message: format!("{} must be {}, not {written}", subject(at), names.join(" or ")),
        unknown: None,
        help: quote
            .then(|| "put it in quotes: without them YAML reads yes, no, on, off and digits as something else".into()),
        depth: 2 * at.tokens.len(),
    }
}

const fn name(ty: Type) -> &'static str {
    match ty {
        Type::Null => "nothing",
        Type::Boolean => "true or false",
        Type::Number => "a number",
        Type::Integer => "a whole number",
        Type::String => "a text",
        Type::Array => "a list",
        Type::Object => "a map",
    }
}

/// What to call a place in a sentence.
fn subject(at: &InstanceLocation<'_>) -> String {
    match at.tokens.as_slice() {
        [] => "user-data".to_owned(),
        [.., InstanceToken::Prop(key)] => format!("`{key}`"),
        [rest @ .., InstanceToken::Item(_)] => {
            let list = rest.iter().rev().find_map(|token| match token {
                InstanceToken::Prop(key) => Some(key),
                InstanceToken::Item(_) => None,
            });
            list.map_or_else(|| "an entry".into(), |key| format!("an entry of `{key}`"))
        }
    }
}

fn pointer(at: &InstanceLocation<'_>) -> String {
    let token = |token: &InstanceToken<'_>| match token {
        InstanceToken::Prop(key) => format!("/{}", escape(key)),
        InstanceToken::Item(number) => format!("/{number}"),
    };
    at.tokens.iter().map(token).collect()
}
