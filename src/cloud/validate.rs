//! User-data and network configuration held against cloud-init's own schema, and against what an image does with them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::sync::Arc;

use boon::{Compiler, Schemas};
use serde_json::Value;

use super::limits;
use super::target::Target;
use super::told::{Told, told};
use super::yaml::{self, Document};
use crate::origin::{Diagnostic, Origin, Severity, Source};
use crate::system::Cloud;

/// User-data that unpacks to more is none, in bytes.
const LARGEST: usize = 1 << 20;
/// Schemas nest no deeper.
const DEEPEST: usize = 64;

/// Why nothing could be validated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cloud-init's schema is none.
    #[error("cloud-init's {0} is no JSON schema: {1}")]
    Schema(&'static str, String),
}

/// cloud-init's schemas, as its package has them.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `schema-cloud-config-v1.json`.
    pub cloud_config: Value,
    /// `schema-network-config-v1.json`.
    pub network_1: Value,
    /// `schema-network-config-v2.json`.
    pub network_2: Value,
}

impl Rules {
    /// Their files' names, in the order of the fields.
    pub const FILES: [&str; 3] =
        ["schema-cloud-config-v1.json", "schema-network-config-v1.json", "schema-network-config-v2.json"];
}

/// Looks at user-data, `name` being what to call it. `cloud` is the one that it is for; all that the image takes part
/// in if there is none.
///
/// # Errors
/// A schema that is none.
pub fn user_data(
    name: &str,
    bytes: &[u8],
    rules: &Rules,
    target: &Target,
    cloud: Option<Cloud>,
) -> Result<Vec<Diagnostic>, Error> {
    let source = match text(name, bytes) {
        Ok(source) => source,
        Err(told) => return Ok(vec![told]),
    };
    let mut found = size(&source, bytes.len(), target, cloud);
    found.extend(secrets(&source, target, cloud));
    let first = source.text.lines().next().unwrap_or("").trim_end();
    let start = Origin::new(&source, 0..first.len());
    match first {
        "#cloud-config" => found.extend(cloud_config(&source, rules, target)?),
        "## template: jinja" => {
            let text = "what a template becomes is known in the machine only: this was not held against the schema";
            found.push(warning(&start, text, "write values out where you can"));
        }
        _ if first.starts_with("#!") || first.starts_with("#include") => {}
        "#cloud-boothook" | "#part-handler" | "#cloud-config-archive" | "#cloud-config-jsonp" => {
            let text = format!("{first} is taken as it is: it was not held against the schema");
            found.push(warning(&start, text, "#cloud-config can be"));
        }
        _ if is_mime(&source.text) => {
            found.push(warning(
                &start,
                "parts of MIME were not held against the schema",
                "validate each part by itself",
            ));
        }
        _ => {
            let told = Diagnostic::error(&start, "cloud-init takes no notice of user-data that begins so");
            found.push(
                told.help(
                    "the first line must be #cloud-config, or #! and a program, alone and without a space before",
                ),
            );
        }
    }
    Ok(found)
}

/// Looks at a network configuration, version 1 or 2.
///
/// # Errors
/// A schema that is none.
pub fn network_config(name: &str, bytes: &[u8], rules: &Rules) -> Result<Vec<Diagnostic>, Error> {
    let source = match text(name, bytes) {
        Ok(source) => source,
        Err(told) => return Ok(vec![told]),
    };
    let document = match yaml::read(&source) {
        Ok(document) => document,
        Err(told) => return Ok(vec![told]),
    };
    let inner = document.value.get("network").unwrap_or(&document.value);
    let prefix = if document.value.get("network").is_some() { "/network" } else { "" };
    let (schema, file) = match inner.get("version").and_then(Value::as_i64) {
        Some(1) => (&rules.network_1, Rules::FILES[1]),
        Some(2) => (&rules.network_2, Rules::FILES[2]),
        _ => {
            let told = Diagnostic::error(&document.place(&format!("{prefix}/version")), "`version` must be 1 or 2");
            return Ok(vec![told.help("`version: 2` is what netplan has")]);
        }
    };
    let mut found = document.warnings.clone();
    found.extend(hold(&document, schema, file)?);
    // cloud-init renders names and addresses for networkd, and nothing by which several would fit.
    let matched = |(name, interface): (&String, &Value)| {
        let pointer = format!("{prefix}/ethernets/{}/match", yaml::escape(name));
        let exact = |key: &str| interface.get("match").and_then(|by| by.get(key)).is_some();
        let only = interface.get("match").is_some() && !exact("macaddress");
        only.then(|| {
            warning(
                &document.place(&pointer),
                "networkd is told the name above, and not this `match`",
                "match by macaddress, or use the interface's name as the key",
            )
        })
    };
    found.extend(inner.get("ethernets").and_then(Value::as_object).into_iter().flatten().filter_map(matched));
    // netplan knows the word; cloud-init's renderer for networkd ends with an error at it.
    for kind in ["ethernets", "bonds", "bridges", "vlans"] {
        for (name, interface) in inner.get(kind).and_then(Value::as_object).into_iter().flatten() {
            let routes = interface.get("routes").and_then(Value::as_array).into_iter().flatten();
            for (index, _) in routes.enumerate().filter(|(_, route)| route.get("to") == Some(&"default".into())) {
                let place = document.place(&format!("{prefix}/{kind}/{}/routes/{index}/to", yaml::escape(name)));
                let told = Diagnostic::error(&place, "cloud-init fails at a route to `default` for networkd");
                found.push(told.help("`0.0.0.0/0`, or `::/0`"));
            }
        }
    }
    Ok(found)
}

/// What a file holds that may be packed by gzip, as cloud-init takes it; of what is far too large only the beginning.
///
/// # Errors
/// It is no whole gzip file.
pub fn unpacked(bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.into());
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).take(LARGEST as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked.into())
}

/// The text of such a file.
fn text(name: &str, bytes: &[u8]) -> Result<Arc<Source>, Diagnostic> {
    let bad = |text: String, help: &str| Diagnostic::error(&Origin::new(&Source::new(name, ""), 0..0), text).help(help);
    let bytes = unpacked(bytes);
    let bytes = bytes.map_err(|error| bad(format!("this is no whole gzip file: {error}"), "pack it anew"))?;
    if bytes.len() > LARGEST {
        return Err(bad(format!("this is larger than {} KiB", LARGEST >> 10), "fetch what is large from elsewhere"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => Err(bad(
            format!("byte {} is not UTF-8", error.valid_up_to()),
            "what is no text belongs into write_files, with `encoding: b64`",
        )),
    }
}

fn warning(place: &Origin, text: impl Into<String>, help: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, text).help(help) }
}

fn is_mime(text: &str) -> bool {
    let head = text.lines().take_while(|line| !line.is_empty());
    head.into_iter().any(|line| line.to_ascii_lowercase().starts_with("content-type: multipart/"))
}

/// The clouds in question.
fn clouds(target: &Target, cloud: Option<Cloud>) -> Vec<Cloud> {
    // What OpenStack takes is the same with either of its two.
    let here = |other: &Cloud| {
        *other != Cloud::ConfigDrive
            && limits::datasources(*other).iter().any(|name| target.datasources.contains(*name))
    };
    cloud.map_or_else(|| Cloud::ALL.into_iter().filter(here).collect(), |cloud| vec![cloud])
}

/// Too much for a cloud: an error if it is the one, and else a warning.
fn size(source: &Arc<Source>, length: usize, target: &Target, cloud: Option<Cloud>) -> Vec<Diagnostic> {
    let start = Origin::new(source, 0..0);
    let severity = if cloud.is_some() { Severity::Error } else { Severity::Warning };
    let over = |cloud: Cloud| {
        let limit = limits::largest(cloud).filter(|limit| length > *limit)?;
        let text = format!("{length} bytes are more than {cloud} takes, {limit}");
        let told = Diagnostic::error(&start, text)
            .help("pack it by gzip, or have it fetch the rest: #include, write_files.source");
        Some(Diagnostic { severity, ..told })
    };
    clouds(target, cloud).into_iter().filter_map(over).collect()
}

/// Keys in plain text: whoever can read metadata has them.
fn secrets(source: &Arc<Source>, target: &Target, cloud: Option<Cloud>) -> Option<Diagnostic> {
    let marks = ["AGE-SECRET-KEY-", "PRIVATE KEY-----"];
    let at = marks.iter().find_map(|mark| source.text.find(mark).map(|at| at..at + mark.len()))?;
    let service = clouds(target, cloud).into_iter().find(|cloud| limits::tells_anyone(*cloud))?;
    let text = format!("a private key in plain text: whatever runs in the machine can ask {service} for it");
    let help = "give a reference, by `rave cloud-init render --identity-url`, or seal it to the machine's TPM";
    Some(warning(&Origin::new(source, at), text, help))
}

fn cloud_config(source: &Arc<Source>, rules: &Rules, target: &Target) -> Result<Vec<Diagnostic>, Error> {
    let document = match yaml::read(source) {
        Ok(document) => document,
        Err(told) => return Ok(vec![told]),
    };
    let mut found = document.warnings.clone();
    if document.value.is_null() {
        return Ok(found);
    }
    let wrong = hold(&document, &rules.cloud_config, Rules::FILES[0])?;
    found.extend(wrong);
    found.extend(idle(&document, &rules.cloud_config, target));
    found.extend(people(&document, target));
    Ok(found)
}

/// What a schema says.
fn hold(document: &Document, schema: &Value, file: &'static str) -> Result<Vec<Diagnostic>, Error> {
    let url = format!("mem:{file}");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let bad = |error: String| Error::Schema(file, error);
    let mut asserted = schema.clone();
    forget_formats(&mut asserted, 0);
    compiler.add_resource(&url, asserted).map_err(|error| bad(error.to_string()))?;
    let index = compiler.compile(&url, &mut schemas).map_err(|error| bad(error.to_string()))?;
    let Err(error) = schemas.validate(&document.value, index) else { return Ok(Vec::new()) };
    let known = Known::of(schema);
    Ok(told(&error).into_iter().map(|told| diagnostic(document, &known, told)).collect())
}

/// cloud-init does not assert formats either: an address with a template in it is no URI yet.
fn forget_formats(schema: &mut Value, depth: usize) {
    match schema {
        _ if depth > DEEPEST => {}
        Value::Object(entries) => {
            if entries.get("format").is_some_and(Value::is_string) {
                entries.remove("format");
            }
            entries.values_mut().for_each(|value| forget_formats(value, depth + 1));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| forget_formats(value, depth + 1)),
        _ => {}
    }
}

fn diagnostic(document: &Document, known: &Known, told: Told) -> Diagnostic {
    let place = document.place(&told.pointer);
    let message = Diagnostic::error(&place, told.message);
    let near = told.unknown.as_deref().and_then(|key| known.nearest(key));
    match (near, told.help) {
        (Some(near), _) => message.help(format!("did you mean `{near}`?")),
        (None, Some(help)) => message.help(help),
        (None, None) if told.unknown.is_some() => message.help("cloud-init knows no such key there: remove it"),
        (None, None) => message,
    }
}

/// Keys that no module of the image reads.
fn idle(document: &Document, schema: &Value, target: &Target) -> Vec<Diagnostic> {
    let modules = Known::of(schema).modules;
    let unread = |key: &String| {
        let readers = modules.get(key).filter(|readers| readers.is_disjoint(&target.modules))?;
        let names: Vec<&str> = readers.iter().map(String::as_str).collect();
        let text = format!("`{key}` does nothing: {} does not run cloud-init's {}", target.image, names.join(" or "));
        let help = REMEDIES.iter().find(|(known, _)| known == key).map_or("remove it", |(_, help)| *help);
        Some(warning(&document.place(&format!("/{}", yaml::escape(key))), text, help))
    };
    let keys = document.value.as_object().into_iter().flat_map(|entries| entries.keys());
    keys.filter_map(unread).collect()
}

/// What to do in an image instead.
const REMEDIES: [(&str, &str); 14] = [
    ("packages", "packages are part of the image: system.packages"),
    ("package_update", "packages are part of the image: lock and build it anew"),
    ("package_upgrade", "packages are part of the image: lock and build it anew"),
    ("apt", "packages are part of the image: its key `archive` says where they come from"),
    ("password", "nobody logs in by password: give ssh_authorized_keys"),
    ("chpasswd", "nobody logs in by password: give ssh_authorized_keys"),
    ("ssh_pwauth", "nobody logs in by password"),
    ("growpart", "systemd-repart grows /var by itself"),
    ("resize_rootfs", "systemd-repart grows /var by itself"),
    ("ntp", "the image keeps the time: base.time"),
    ("locale", "the image has its locale: system.locale"),
    ("mounts", "mount in bootcmd, or declare it in a module of the image"),
    ("disk_setup", "lay the disk out in bootcmd, or declare it in a module of the image"),
    ("ssh_import_id", "give ssh_authorized_keys"),
];

/// Users that could not log in, and host keys that no server would show.
fn people(document: &Document, target: &Target) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let users = document.value.get("users").and_then(Value::as_array).into_iter().flatten();
    for (number, user) in users.enumerate() {
        let name = user.get("name").and_then(Value::as_str).unwrap_or_default();
        let keys = ["ssh_authorized_keys", "ssh-authorized-keys"].iter().find(|key| user.get(key).is_some());
        if let Some(keys) = keys.filter(|_| !target.logins.contains(name)) {
            let place = document.place(&format!("/users/{number}/{keys}"));
            let text = format!("{name} cannot log in over SSH to {}", target.image);
            found.push(warning(&place, text, format!("set base.ssh.users: [{name}] in the image")));
        }
        for key in ["passwd", "hashed_passwd", "plain_text_passwd"].iter().filter(|key| user.get(key).is_some()) {
            let place = document.place(&format!("/users/{number}/{key}"));
            found.push(warning(&place, "nobody logs in by password", "give ssh_authorized_keys"));
        }
    }
    if document.value.get("ssh_keys").is_some() {
        let text = "the SSH server has its own host key, made at the first boot, and shows no other";
        found.push(warning(&document.place("/ssh_keys"), text, "remove it"));
    }
    found
}

/// What a schema names.
struct Known {
    /// All names of properties.
    names: BTreeSet<String>,
    /// Of each top-level key the modules that read it.
    modules: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    fn of(schema: &Value) -> Self {
        let mut known = Self { names: BTreeSet::new(), modules: BTreeMap::new() };
        known.collect(schema, 0);
        for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            let Some(module) = name.strip_prefix("cc_") else { continue };
            for key in definition.get("properties").and_then(Value::as_object).into_iter().flat_map(|map| map.keys()) {
                known.modules.entry(key.clone()).or_default().insert(module.to_owned());
            }
        }
        known
    }

    fn collect(&mut self, value: &Value, depth: usize) {
        match value {
            _ if depth > DEEPEST => {}
            Value::Object(entries) => {
                if let Some(Value::Object(properties)) = entries.get("properties") {
                    self.names.extend(properties.keys().cloned());
                }
                entries.values().for_each(|value| self.collect(value, depth + 1));
            }
            Value::Array(items) => items.iter().for_each(|value| self.collect(value, depth + 1)),
            _ => {}
        }
    }

    /// The name nearest to a word, if it is near enough to be a slip.
    fn nearest(&self, word: &str) -> Option<&str> {
        let measured = self.names.iter().map(|name| (strsim::damerau_levenshtein(word, name), name));
        let (distance, name) = measured.min()?;
        (distance <= 1 + word.chars().count() / 4).then_some(name.as_str())
    }
}

#[cfg(test)]
mod tests;
