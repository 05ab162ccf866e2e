//! Sites: what they must be like, seen from outside.

use std::collections::BTreeMap;

use crate::modules::fields;
use crate::modules::scalars::Scalar;
use crate::modules::value::{Quantity, Value};
use crate::modules::yaml::{Key, Node, Style};
use crate::probe::{Rate, Scheme, SigningScheme};
use crate::system::{Https, Webhook};

use super::secrets::{Needed, is_host};
use super::{By, Render};
use crate::origin::Diagnostic;

impl Render<'_> {
    /// Adds a site; `node` is a record without templates.
    pub(super) fn https(&mut self, key: &Key, node: &Node, by: &By) {
        let hosts = node.get("hosts").map(|node| fields::texts(node, "`hosts`", &mut self.errors)).unwrap_or_default();
        for (host, place) in hosts.iter().filter(|(host, _)| !is_host(host)) {
            self.refuse(place, format!("{host:?} is no host that a certificate could be for"));
        }
        let certificate =
            node.get("certificate").and_then(|node| fields::name(node, "`certificate`", &mut self.errors));
        let rate = self.number(node, "rate", 1).zip(self.number(node, "burst", 0));
        let csp = node.get("csp").and_then(|node| fields::text(node, "`csp`", &mut self.errors)).unwrap_or_default();
        let headers = self.headers(node);
        let http2 = node.get("http2").and_then(|node| fields::flag(node, "`http2`", &mut self.errors)).unwrap_or(false);
        let pages = self.pages(node);
        let webhooks = self.webhooks(node, &key.text);
        let (Some(port), Some(certificate)) = (self.number(node, "port", 1), certificate) else { return };
        let site = Https {
            port,
            hosts: hosts.into_iter().map(|(host, _)| host).collect(),
            certificate,
            headers,
            csp,
            http2,
            pages,
            rate: rate.map(|(requests, burst)| Rate { requests, burst }),
            webhooks,
            option: by.option.clone(),
        };
        if let Some((_, first)) = self.https.insert(key.text.clone(), (site, key.origin.clone())) {
            let error = Diagnostic::error(&key.origin, format!("two modules say what site `{}` is like", key.text));
            self.errors.push(error.remark("here").label(&first, "and here"));
        }
    }

    /// A whole number that is not below `min`; nothing where there is none.
    pub(super) fn number<T>(&mut self, node: &Node, key: &str, min: u8) -> Option<T>
    where
        T: std::str::FromStr + PartialOrd + From<u8>,
    {
        let value = node.get(key)?;
        let text = fields::text(value, &format!("`{key}`"), &mut self.errors)?;
        let number = text.parse().ok().filter(|number| *number >= T::from(min));
        if number.is_none() {
            self.refuse(&value.origin, format!("`{key}` must be a whole number from {min}, not {text}"));
        }
        number
    }

    fn pages(&mut self, node: &Node) -> BTreeMap<String, u16> {
        let Some(node) = node.get("pages") else { return BTreeMap::new() };
        let mut pages = BTreeMap::new();
        for (path, value) in fields::map(node, "`pages`", &mut self.errors) {
            let Some(text) = fields::text(value, "a status", &mut self.errors) else { continue };
            if !self.is_path(path) {
                continue;
            }
            match text.parse().ok().filter(|status| (200..=599).contains(status)) {
                Some(status) => drop(pages.insert(path.text.clone(), status)),
                None => self.refuse(&value.origin, format!("a status must be 200 to 599, not {text}")),
            }
        }
        pages
    }

    /// Whether a key is what stands in a request for a path (RFC 9110, 7.1).
    fn is_path(&mut self, key: &Key) -> bool {
        let good = key.text.starts_with('/') && key.text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !good {
            self.refuse(&key.origin, format!("{:?} is not the path of a URL", key.text));
        }
        good
    }

    fn webhooks(&mut self, node: &Node, site: &str) -> BTreeMap<String, Webhook> {
        let Some(node) = node.get("webhooks") else { return BTreeMap::new() };
        let mut webhooks = BTreeMap::new();
        for (path, value) in fields::map(node, "`webhooks`", &mut self.errors) {
            let errors = &mut self.errors;
            let mut text = |key: &str| fields::text(value.get(key)?, &format!("`{key}`"), errors);
            let (secret, body) = (text("secret"), text("body"));
            let schemes = value.get("schemes").map(|node| fields::texts(node, "`schemes`", errors)).unwrap_or_default();
            let (Some(secret), Some(body)) = (secret, body) else { continue };
            let size = Scalar::named("size").and_then(|size| size.read(&body, Style::Rendered).ok());
            let Some(Value::Quantity(Quantity { amount, .. })) = size else {
                self.refuse(&value.origin, format!("`body` must be a size, not {body}"));
                continue;
            };
            if !self.is_path(path) {
                continue;
            }
            self.needed.push(Needed {
                name: secret.clone(),
                by: format!("the webhook {} of site `{site}`", path.text),
                origin: value.origin.clone(),
            });
            // The one that signs the time is asked more of.
            let has = |name: &str| schemes.iter().any(|(scheme, _)| scheme == name);
            let scheme = match (has("standard"), has("github")) {
                (true, _) => Some(SigningScheme::Standard),
                (false, true) => Some(SigningScheme::Github),
                (false, false) => None,
            };
            let schemes = Scheme::ALL.into_iter().filter(|scheme| has(scheme.name())).collect();
            webhooks.insert(path.text.clone(), Webhook { secret, schemes, scheme, body: amount });
        }
        webhooks
    }
}
