//! JSON Schema (draft 2020-12) of image and module files, for editors: what the parser accepts, with every option of
//! the project. What only evaluation can tell, such as two modules writing one file, is left to `rave`.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::imports::Catalogue;
use super::reference::{catalogue, plain};
use super::shape::{self, Shape};
use super::types::{Bounds, Declared, Type, shown};
use super::{Project, declare, scalars};
use crate::origin::Diagnostic;

/// The dialect that the schemas are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What stands for a value until it is evaluated.
const TEMPLATE: &str = "#/$defs/template";
/// Values of options, nested and dotted.
const CONFIG: &str = "#/$defs/config";

/// The schema of image files.
///
/// # Errors
/// Whatever is wrong with any module file.
pub fn image_schema(project: &Project) -> Result<Json, Vec<Diagnostic>> {
    let catalogue = catalogue(project)?;
    let mut schema = file("An image of rave", &shape::IMAGE, &catalogue);
    let images: Vec<&String> = project.images.keys().collect();
    patch(&mut schema, "/properties/extends", json!({"enum": images}));
    patch(&mut schema, "/properties/imports", modules(project));
    patch(&mut schema, "/properties/mode", json!({"enum": ["safe", "full-pipe"]}));
    patch(&mut schema, "/properties/config", json!({"$ref": CONFIG}));
    describe(
        &mut schema,
        "properties",
        &[
            ("name", "Name of the image: lower case letters, digits and -."),
            ("version", "Version of the image, such as 1.2.0."),
            ("description", "What the image is for."),
            ("extends", "Another image, of which this one takes everything that it does not say itself."),
            ("imports", "Modules to take in. A module whose options are set comes on its own."),
            ("mode", "Resource mode: safe, or full-pipe."),
            ("archive", "Where packages come from: suite, mirrors, further archives with their keys."),
            ("config", "Values of options, nested or dotted."),
        ],
    );
    Ok(schema)
}

/// The schema of module files.
///
/// # Errors
/// Whatever is wrong with any module file.
pub fn module_schema(project: &Project) -> Result<Json, Vec<Diagnostic>> {
    let catalogue = catalogue(project)?;
    let mut schema = file("A module of rave", &shape::MODULE, &catalogue);
    patch(&mut schema, "/properties/imports", modules(project));
    patch(&mut schema, "/properties/set", json!({"$ref": CONFIG}));
    patch(&mut schema, "/properties/options", json!({"$ref": "#/$defs/options"}));
    let names = declare::names();
    let ty = json!({"anyOf": [{"enum": names}, {"$ref": "#/$defs/declaration"}]});
    patch(
        &mut schema,
        "/$defs/options",
        json!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]*$"},
            "additionalProperties": {
                "if": {"properties": {"type": {"type": "string"}}, "required": ["type"]},
                "then": {"$ref": "#/$defs/declaration"},
                "else": {"$ref": "#/$defs/options"},
            },
        }),
    );
    patch(
        &mut schema,
        "/$defs/declaration",
        json!({
            "type": "object",
            "required": ["type"],
            "additionalProperties": false,
            "properties": {
                "type": {"enum": names, "description": "Type of the value."},
                "default": {"description": "Value where nobody gives one."},
                "description": {"type": "string", "description": "What the option is for, in one sentence."},
                "example": {"description": "A value as an example."},
                "nullable": {"type": "boolean", "description": "Whether null is a value, too."},
                "min": {"type": ["number", "string"]},
                "max": {"type": ["number", "string"]},
                "min-length": {"type": "integer", "minimum": 0},
                "max-length": {"type": "integer", "minimum": 0},
                "regex": {"type": "string"},
                "values": {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
                "of": {"anyOf": [ty, {"type": "array", "items": ty}]},
                "options": {"type": "object", "additionalProperties": {"$ref": "#/$defs/declaration"}},
            },
        }),
    );
    Ok(schema)
}

fn file(title: &str, shape: &Shape, catalogue: &Catalogue) -> Json {
    let mut schema = of_shape(shape, false);
    let mut defs = Map::new();
    defs.insert("template".into(), json!({"type": "string", "pattern": r"\{\{|\{%|\{#"}));
    groups(catalogue, &mut defs);
    let Json::Object(entries) = &mut schema else { return schema };
    let head = Map::from_iter([("$schema".to_owned(), json!(DIALECT)), ("title".to_owned(), json!(title))]);
    let body = std::mem::take(entries);
    *entries = head.into_iter().chain(body).chain([("$defs".to_owned(), Json::Object(defs))]).collect();
    schema
}

/// Puts a value at a place of the schema, whether or not something stands there.
fn patch(schema: &mut Json, place: &str, value: Json) {
    let (parent, key) = place.rsplit_once('/').unwrap_or(("", place));
    if let Some(Json::Object(entries)) = schema.pointer_mut(parent) {
        entries.insert(key.to_owned(), value);
    }
}

fn describe(schema: &mut Json, place: &str, texts: &[(&str, &str)]) {
    for (key, text) in texts {
        if let Some(Json::Object(entries)) = schema.get_mut(place).and_then(|map| map.get_mut(*key)) {
            entries.insert("description".to_owned(), json!(text));
        }
    }
}

fn modules(project: &Project) -> Json {
    let names: Vec<&String> = project.modules.keys().collect();
    json!({"type": "array", "items": {"enum": names}})
}

/// Every group of options by name, and the whole as `config`. A key may be a path of any length within its group.
fn groups(catalogue: &Catalogue, defs: &mut Map<String, Json>) {
    let mut names = BTreeSet::from([""]);
    for (path, _) in catalogue.iter() {
        names.extend(path.match_indices('.').map(|(at, _)| &path[..at]));
    }
    for group in &names {
        let within = |path: &str| match group.is_empty() {
            true => Some(path.to_owned()),
            false => path.strip_prefix(group).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned),
        };
        let mut properties = Map::new();
        let mut patterns = Map::new();
        for (path, declared) in catalogue.iter() {
            let Some(key) = within(path) else { continue };
            for below in below(&declared.ty) {
                let pattern = format!("^{}{}$", key.replace('.', "\\."), below.pattern);
                patterns.insert(pattern, json!({"$ref": format!("#/$defs/option.{path}{}", below.name)}));
            }
            properties.insert(key, json!({"$ref": format!("#/$defs/option.{path}")}));
        }
        for other in names.iter().filter(|other| *other != group) {
            if let Some(key) = within(other) {
                properties.insert(key, json!({"$ref": format!("#/$defs/group.{other}")}));
            }
        }
        let name = if group.is_empty() { "config".to_owned() } else { format!("group.{group}") };
        let mut schema = json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties});
        if !patterns.is_empty() {
            patch(&mut schema, "/patternProperties", Json::Object(patterns));
        }
        defs.insert(name, schema);
    }
    for (path, declared) in catalogue.iter() {
        defs.insert(format!("option.{path}"), option(declared));
        defs.extend(
            below(&declared.ty).into_iter().map(|below| (format!("option.{path}{}", below.name), below.schema)),
        );
    }
}

/// What a dotted key may mean below an option.
struct Below {
    /// A regular expression of the rest of the key.
    pattern: String,
    /// The rest of the key with `*` for any name.
    name: String,
    schema: Json,
}

impl Below {
    /// One level below, and all that is below that.
    fn level(pattern: &str, name: &str, schema: Json, ty: &Type) -> Vec<Self> {
        let inner = below(ty).into_iter().map(|below| Self {
            pattern: format!("{pattern}{}", below.pattern),
            name: format!("{name}{}", below.name),
            ..below
        });
        let mut all: Vec<Self> = inner.collect();
        all.push(Self { pattern: pattern.to_owned(), name: name.to_owned(), schema });
        all
    }
}

/// The keys that may stand below a value of a type, joined to the option's name by dots.
fn below(ty: &Type) -> Vec<Below> {
    match ty {
        Type::Map(of) => Below::level("\\.[^.]+", ".*", or_template(of_type(of)), of),
        Type::Submodule(fields) => {
            let field = |(name, field): (&String, &Declared)| {
                Below::level(&format!("\\.{name}"), &format!(".{name}"), option(field), &field.ty)
            };
            fields.iter().flat_map(field).collect()
        }
        Type::Nullable(of) => below(of),
        // Which of them is meant only the value tells.
        Type::OneOf(types) if types.iter().any(Type::is_collection) => {
            vec![Below { pattern: "\\..+".to_owned(), name: ".**".to_owned(), schema: json!(true) }]
        }
        Type::OneOf(_) | Type::Scalar { .. } | Type::Enum(_) | Type::List { .. } => Vec::new(),
    }
}

/// The value of an option, or a template.
fn option(declared: &Declared) -> Json {
    let mut schema = Map::new();
    let about = declared.description.trim();
    if !about.is_empty() {
        schema.insert("description".into(), json!(about));
    }
    if let Some(default) = &declared.default {
        schema.insert("default".into(), plain(&declared.ty, default));
    }
    if let Some(example) = &declared.example {
        schema.insert("examples".into(), json!([plain(&declared.ty, example)]));
    }
    schema.insert("anyOf".into(), json!([of_type(&declared.ty), {"$ref": TEMPLATE}]));
    Json::Object(schema)
}

fn or_template(schema: Json) -> Json {
    json!({"anyOf": [schema, {"$ref": TEMPLATE}]})
}

fn of_type(ty: &Type) -> Json {
    match ty {
        Type::Scalar { scalar, bounds } => scalar_schema(scalar, bounds),
        Type::Enum(values) => {
            // Editors read a value without quotes as what it looks like.
            let numbers = values.iter().filter_map(|value| value.parse::<i64>().ok().map(Json::from));
            json!({"enum": values.iter().map(|value| json!(value)).chain(numbers).collect::<Vec<_>>()})
        }
        Type::List { of, .. } => json!({"type": "array", "items": or_template(of_type(of))}),
        Type::Map(of) => json!({"type": "object", "additionalProperties": or_template(of_type(of))}),
        Type::Submodule(fields) => {
            let properties: Map<String, Json> =
                fields.iter().map(|(name, field)| (name.clone(), option(field))).collect();
            json!({"type": "object", "additionalProperties": false, "properties": properties})
        }
        Type::Nullable(of) => json!({"anyOf": [of_type(of), {"type": "null"}]}),
        Type::OneOf(types) => json!({"anyOf": types.iter().map(of_type).collect::<Vec<_>>()}),
    }
}

fn scalar_schema(scalar: &scalars::Scalar, bounds: &Bounds) -> Json {
    let number = |kind: &str| {
        let mut schema = Map::from_iter([("type".to_owned(), json!(kind))]);
        schema.extend(bounds.min.as_ref().map(|min| ("minimum".to_owned(), min.json())));
        schema.extend(bounds.max.as_ref().map(|max| ("maximum".to_owned(), max.json())));
        Json::Object(schema)
    };
    match scalar.name {
        "bool" => json!({"type": "boolean"}),
        "int" => number("integer"),
        "float" => number("number"),
        "port" => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
        // Only nothing needs no unit.
        "duration" => {
            json!({"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|s|m|min|h|d|w))+$|^0$"}, {"const": 0}]})
        }
        "size" => json!({"type": ["string", "integer"], "pattern": "^[0-9]+([KMGT](iB)?|B)?$"}),
        "percentage" => json!({"type": "string", "pattern": "^[0-9]+%$"}),
        name => text_schema(name, bounds),
    }
}

/// A text; one without quotes that looks like a number is one to an editor.
fn text_schema(name: &str, bounds: &Bounds) -> Json {
    let mut schema = Map::from_iter([("type".to_owned(), json!(["string", "number"]))]);
    let regex = bounds.regex.as_ref().map(|regex| format!("^(?:{})$", shown(regex)));
    let pattern = regex.or_else(|| pattern(name).map(str::to_owned));
    schema.extend(pattern.map(|pattern| ("pattern".to_owned(), json!(pattern))));
    schema.extend(bounds.min_length.map(|length| ("minLength".to_owned(), json!(length))));
    schema.extend(bounds.max_length.map(|length| ("maxLength".to_owned(), json!(length))));
    Json::Object(schema)
}

/// What a text of a type looks like, as far as a short expression tells: wider than the type, never narrower.
fn pattern(name: &str) -> Option<&'static str> {
    Some(match name {
        "guest-path" => "^/",
        "cidr" => "^[0-9A-Fa-f:.]+/[0-9]+$",
        "host-name" => r"^[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?$",
        "url" => "^[A-Za-z][A-Za-z0-9+.-]*://",
        "ssh-public-key" => r"^\s*(ssh-|ecdsa-|sk-)",
        "package-name" => "^[a-z0-9][a-z0-9+.-]+$",
        "unit-name" => r"^[^/]+\.[a-z]+$",
        "user-name" => "^[a-z_][a-z0-9_-]{0,30}$",
        "email" => "^[^@<>]+@[^@]+$",
        "age-recipient" => "^(age1|ssh-)",
        "secret" => "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        _ => return None,
    })
}

fn of_shape(shape: &Shape, template: bool) -> Json {
    let or_template = |schema: Json| if template { or_template(schema) } else { schema };
    match shape {
        Shape::Text => json!({"type": ["string", "number", "boolean"]}),
        Shape::Flag => or_template(json!({"type": "boolean"})),
        Shape::Condition => json!({"type": ["string", "boolean"]}),
        Shape::List(item) => or_template(json!({"type": "array", "items": of_shape(item, true)})),
        Shape::Map(value) => or_template(json!({"type": "object", "additionalProperties": of_shape(value, true)})),
        Shape::Directive => json!({"type": ["string", "number", "boolean", "null", "array"]}),
        Shape::Any => json!(true),
        Shape::Either(plain, record) => {
            json!({"anyOf": [of_shape(plain, template), of_shape(record, template)]})
        }
        Shape::Record(keys) => {
            let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            let properties: Map<String, Json> =
                keys.iter().map(|key| (key.name.to_owned(), of_shape(&key.shape, true))).collect();
            or_template(json!({
                "type": "object",
                "required": required,
                "additionalProperties": false,
                "properties": properties,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scalars::{SCALARS, Scalar};
    use super::*;
    use crate::modules::yaml::Style;

    /// An editor must not underline what rave accepts.
    #[test]
    fn no_pattern_refuses_what_its_type_accepts() {
        for (name, text) in [
            ("guest-path", "/"),
            ("cidr", "FD00::/8"),
            ("cidr", "10.0.0.0/8"),
            ("host-name", "Web.example-1.org"),
            ("url", "HTTPS://x"),
            ("ssh-public-key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"),
            ("package-name", "g++-14"),
            ("unit-name", "dev-disk-by\\x2dlabel-var.mount"),
            ("user-name", "_apt"),
            ("email", "a+b@Example.org"),
            ("age-recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
            ("secret", "web.tls-key"),
        ] {
            let read = Scalar::named(name).unwrap().read(text, Style::Rendered);
            assert!(read.is_ok(), "{name} {text}: {read:?}");
            assert!(regex::Regex::new(pattern(name).unwrap()).unwrap().is_match(text), "{name} {text}");
        }
        let patterns = SCALARS.iter().filter_map(|scalar| pattern(scalar.name));
        assert!(patterns.clone().count() > 10 && patterns.map(regex::Regex::new).all(|regex| regex.is_ok()));
    }
}
