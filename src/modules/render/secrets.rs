//! Secrets that modules ask for, units that load them, and certificates whose keys are secrets.

use std::collections::BTreeSet;

use crate::modules::fields;
use crate::modules::scalars::{SECRET_NAME_RULE, is_secret_name};
use crate::modules::yaml::{Key, Node};
use crate::origin::{Diagnostic, Origin};
use crate::system::{Certificate, OnChange, Secret, SecretKind};

use super::people::Wanted;
use super::{By, Render};

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
        let kind = self.choice(node, "kind", &KINDS).unwrap_or(Some(SecretKind::Text));
        let on_change = self.choice(node, "on-change", &CHANGES).unwrap_or(Some(OnChange::Restart));
        let mode = node.get("mode").map_or(Some(0o400), |node| self.mode(node));
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), &mut self.errors);
        let (owner, group) = (text("owner"), text("group"));
        let description = text("description").unwrap_or_default();
        let units = node.get("units").map(|node| fields::texts(node, "`units`", &mut self.errors)).unwrap_or_default();
        let (Some(kind), Some(on_change), Some(mode)) = (kind, on_change, mode) else { return };
        for (name, user) in [(&owner, true), (&group, false)] {
            let role = format!("secret `{}` belongs to", key.text);
            let place = node.get(if user { "owner" } else { "group" }).unwrap_or(node);
            self.wanted.extend(name.iter().map(|name| Wanted::new(name, user, role.clone(), &place.origin)));
        }
        let units: BTreeSet<String> = units.into_iter().map(|(name, _)| name).collect();
        let (owner, group) = (owner.unwrap_or_else(|| "root".into()), group.unwrap_or_else(|| "root".into()));
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
