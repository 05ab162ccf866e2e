//! Secrets that modules ask for, units that load them, and certificates whose keys are secrets.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::escape::Format;
use crate::modules::fields;
use crate::modules::scalars::{SECRET_NAME_RULE, Scalar, is_secret_name};
use crate::modules::yaml::{Key, Node, Style};
use crate::name::GuestPath;
use crate::origin::{Diagnostic, Origin};
use crate::system::{Certificate, ExpectedSecret, OnChange, Part, Secret, SecretKind, parts};
use crate::tree::Entry;

use super::people::Wanted;
use super::{By, Render};

/// Where the machine finds texts with placeholders.
pub(super) const TEMPLATES: &str = "/usr/share/rave/secrets/templates.json";

/// Folder of files with secrets below /run/secrets.
const RENDERED: &str = "rendered";

const KINDS: [(&str, SecretKind); 7] = [
    ("password", SecretKind::Password),
    ("token", SecretKind::Token),
    ("tls-key", SecretKind::TlsKey),
    ("tls-certificate", SecretKind::TlsCertificate),
    ("ssh-key", SecretKind::SshKey),
    ("text", SecretKind::Text),
    ("binary", SecretKind::Binary),
];

const CHANGES: [(&str, OnChange); 3] =
    [("restart", OnChange::Restart), ("reload", OnChange::Reload), ("none", OnChange::None)];

/// A file that is made of text and secrets when the machine boots.
pub(super) struct SecretFile {
    /// Text with placeholders.
    text: String,
    /// Whose it is.
    face: Face,
    /// The option that asked for it.
    option: crate::name::OptionPath,
}

/// Whose a file of secrets is, and who uses it.
#[derive(Clone)]
struct Face {
    owner: String,
    group: String,
    mode: u32,
    units: BTreeSet<String>,
    on_change: OnChange,
}

/// Something that names a secret which some module must declare.
pub(super) struct Needed {
    /// The secret.
    pub name: String,
    /// What names it.
    pub by: String,
    pub origin: Origin,
}

impl Render<'_> {
    /// Adds a secret; `node` is a record without templates.
    pub(super) fn secret(&mut self, key: &Key, node: &Node, by: &By) {
        if !is_secret_name(&key.text) {
            let error = Diagnostic::error(&key.origin, format!("{:?} cannot name a secret", key.text));
            self.errors.push(error.help(SECRET_NAME_RULE));
            return;
        }
        if key.text == RENDERED {
            return self
                .refuse(&key.origin, format!("no secret can be named {RENDERED}: that is where `secret-files` are"));
        }
        let kind = self.choice(node, "kind", &KINDS).unwrap_or(Some(SecretKind::Text));
        let text = |key: &str, errors: &mut Vec<Diagnostic>| fields::text(node.get(key)?, &format!("`{key}`"), errors);
        let description = text("description", &mut self.errors).unwrap_or_default();
        let face = self.face(node, &format!("secret `{}` belongs to", key.text));
        let (Some(kind), Some(face)) = (kind, face) else { return };
        let Face { owner, group, mode, units, on_change } = face;
        let option = by.option.clone();
        let secret = Secret { kind, owner, group, mode, units, on_change, description, option };
        match self.secrets.get_mut(&key.text) {
            None => drop(self.secrets.insert(key.text.clone(), (secret, key.origin.clone()))),
            // Two services may read one secret, if they agree on what it is and whose.
            Some((other, _)) if agree(other, &secret) => other.units.extend(secret.units),
            Some((_, first)) => {
                let error = Diagnostic::error(&key.origin, format!("secret `{}` is declared in two ways", key.text));
                self.errors.push(error.remark("here").label(first, "and here"));
            }
        }
    }

    /// Whose a file is that `role` says of its owner.
    fn face(&mut self, node: &Node, role: &str) -> Option<Face> {
        let on_change = self.choice(node, "on-change", &CHANGES).unwrap_or(Some(OnChange::Restart));
        let mode = node.get("mode").map_or(Some(0o400), |node| self.mode(node));
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), &mut self.errors);
        let (owner, group) = (text("owner"), text("group"));
        let units = node.get("units").map(|node| fields::texts(node, "`units`", &mut self.errors)).unwrap_or_default();
        let units = units.into_iter().map(|(name, _)| name).collect();
        let (mode, on_change) = (mode?, on_change?);
        for (key, name, user) in [("owner", &owner, true), ("group", &group, false)] {
            let place = node.get(key).unwrap_or(node);
            self.wanted.extend(name.iter().map(|name| Wanted::new(name, user, role.to_owned(), &place.origin)));
        }
        let root = || "root".to_owned();
        Some(Face { owner: owner.unwrap_or_else(root), group: group.unwrap_or_else(root), mode, units, on_change })
    }

    /// Adds a file that is made of text and secrets; `node` is a record without templates.
    pub(super) fn secret_file(&mut self, key: &Key, node: &Node, by: &By) {
        if !is_secret_name(&key.text) {
            let error = Diagnostic::error(&key.origin, format!("{:?} cannot name a file of secrets", key.text));
            return self.errors.push(error.help(SECRET_NAME_RULE));
        }
        let text = match (node.get("text"), node.get("template")) {
            (Some(text), None) => fields::text(text, "`text`", &mut self.errors),
            (None, Some(file)) => self.rendered(file, Format::of(&key.text), by),
            _ => {
                let error = Diagnostic::error(&key.origin, format!("nothing says what is in `{}`", key.text));
                return self.errors.push(error.help("give one of text, template"));
            }
        };
        let face = self.face(node, &format!("`{}` belongs to", key.text));
        let (Some(text), Some(face)) = (text, face) else { return };
        for part in parts(&text) {
            if let Part::Secret(name) = part {
                let needed =
                    Needed { name: name.to_owned(), by: format!("`{}`", key.text), origin: key.origin.clone() };
                self.needed.push(needed);
            }
        }
        let file = SecretFile { text, face, option: by.option.clone() };
        if let Some((_, first)) = self.secret_files.insert(key.text.clone(), (file, key.origin.clone())) {
            let error = Diagnostic::error(&key.origin, format!("`{}` is written twice", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    /// Units that wait for secrets because something other than their own credentials says so.
    pub(super) fn secret_units(&self) -> BTreeSet<&str> {
        let of_secrets = self.secrets.values().flat_map(|(secret, _)| &secret.units);
        let of_files = self.secret_files.values().flat_map(|(file, _)| &file.face.units);
        of_secrets.chain(of_files).map(String::as_str).collect()
    }

    /// Has the machine make files of text and secrets.
    pub(super) fn write_secret_files(&mut self) {
        let Some((first, origin)) = self.secret_files.values().next() else { return };
        let (origin, option) = (origin.clone(), first.option.clone());
        let entry = |(name, (file, _)): (&String, &(SecretFile, Origin))| {
            let Face { owner, group, mode, units, on_change } = &file.face;
            let mode = format!("{mode:04o}");
            let entry = serde_json::json!({
                "text": file.text, "kind": SecretKind::Text, "owner": owner, "group": group, "mode": mode, "units": units, "on_change": on_change,
            });
            (name.clone(), entry)
        };
        let all: BTreeMap<String, serde_json::Value> = self.secret_files.iter().map(entry).collect();
        let by = By { scope: crate::modules::template::Scope::default(), option, folder: String::new() };
        if let (Ok(path), Ok(text)) = (TEMPLATES.parse::<GuestPath>(), serde_json::to_string_pretty(&all)) {
            self.put(path, Entry::file(text + "\n", 0o644), &origin, &by);
            // Whoever asked for such a file has been noted as its maker.
            self.made.forget();
        }
    }

    /// What the machine's files of secrets are held against.
    pub(super) fn expected_secrets(&self) -> BTreeMap<String, ExpectedSecret> {
        let secrets = self.secrets.iter().map(|(name, (secret, _))| {
            let Secret { owner, group, mode, option, .. } = secret.clone();
            (name.clone(), ExpectedSecret { owner, group, mode, option })
        });
        let files = self.secret_files.iter().map(|(name, (file, _))| {
            let Face { owner, group, mode, .. } = file.face.clone();
            (format!("{RENDERED}/{name}"), ExpectedSecret { owner, group, mode, option: file.option.clone() })
        });
        secrets.chain(files).collect()
    }

    /// The value of a key that takes one of a few words. Outside: whether the key is there; inside: whether it is good.
    fn choice<T: Copy>(&mut self, node: &Node, key: &str, words: &[(&str, T)]) -> Option<Option<T>> {
        let value = node.get(key)?;
        let Some(text) = fields::text(value, &format!("`{key}`"), &mut self.errors) else { return Some(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let error = Diagnostic::error(&value.origin, format!("`{key}` must be one of {}", words.join(", ")));
            self.errors.push(match fields::nearest(&text, words) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        Some(found)
    }

    /// Adds a certificate; `node` is a record without templates.
    pub(super) fn certificate(&mut self, key: &Key, node: &Node, by: &By) {
        let hosts = node.get("hosts").map(|node| fields::texts(node, "`hosts`", &mut self.errors)).unwrap_or_default();
        let Some(secret) = node.get("key").and_then(|node| fields::text(node, "`key`", &mut self.errors)) else {
            return;
        };
        if hosts.is_empty() {
            return self.refuse(&key.origin, format!("certificate `{}` is for no host", key.text));
        }
        for (host, place) in hosts.iter().filter(|(host, _)| !is_host(host)) {
            self.refuse(place, format!("{host:?} is no host that a certificate could be for"));
        }
        let origin = node.get("key").map_or(&node.origin, |node| &node.origin).clone();
        self.needed.push(Needed { name: secret.clone(), by: format!("certificate `{}`", key.text), origin });
        let hosts = hosts.into_iter().map(|(host, _)| host).collect();
        let certificate = Certificate { hosts, key: secret, option: by.option.clone() };
        if let Some((_, first)) = self.certificates.insert(key.text.clone(), (certificate, key.origin.clone())) {
            let error = Diagnostic::error(&key.origin, format!("certificate `{}` is declared twice", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    /// Secrets that a unit loads as systemd credentials.
    pub(super) fn credentials(&mut self, unit: &str, node: &Node) -> Vec<String> {
        let Some(names) = node.get("credentials") else { return Vec::new() };
        let names = fields::texts(names, "`credentials`", &mut self.errors);
        for (name, origin) in &names {
            self.needed.push(Needed { name: name.clone(), by: unit.to_owned(), origin: origin.clone() });
        }
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// Refuses what names a secret that nobody declares, and tells each secret which units load it.
    pub(super) fn check_secrets(&mut self) {
        for Needed { name, by, origin } in std::mem::take(&mut self.needed) {
            if let Some((secret, _)) = self.secrets.get_mut(&name) {
                if by.ends_with(".service") {
                    secret.units.insert(by);
                }
                continue;
            }
            let error = Diagnostic::error(&origin, format!("{by} needs secret `{name}`, which no module declares"));
            self.errors.push(match fields::nearest(&name, self.secrets.keys().map(String::as_str)) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("declare it: secrets: {{ {name}: {{ kind: token }} }}")),
            });
        }
    }
}

/// Whether two declarations of a secret can be one.
fn agree(one: &Secret, other: &Secret) -> bool {
    let face =
        |secret: &Secret| (secret.kind, secret.owner.clone(), secret.group.clone(), secret.mode, secret.on_change);
    face(one) == face(other)
}

/// Whether a certificate can be for that host: a name, also one for all below it (RFC 6125), or an address.
pub(super) fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let scalar = Scalar::named("host-name");
    text.parse::<std::net::IpAddr>().is_ok() || scalar.is_some_and(|scalar| scalar.read(name, Style::Rendered).is_ok())
}
