//! Probes: what a module asks its own service, and which answer is a good one.

use std::collections::BTreeMap;

use crate::modules::fields;
use crate::modules::yaml::Node;
use crate::origin::Diagnostic;
use crate::system::{ModuleProbe, Query};

use super::{By, Render};

/// The ways to ask, and what each takes besides.
const WAYS: [(&str, &[&str]); 6] = [
    ("command", &["contains"]),
    ("http", &["status", "headers", "contains"]),
    ("http_json", &["at", "equals"]),
    ("alert", &["messages"]),
    ("tcp", &["send", "contains"]),
    ("unix", &["send", "contains"]),
];

impl Render<'_> {
    /// Adds a probe; `node` is a record without templates.
    pub(super) fn probe(&mut self, node: &Node, by: &By) {
        let errors = &mut self.errors;
        let mut text = |key: &str| Some((fields::text(node.get(key)?, &format!("`{key}`"), errors)?, node.get(key)?));
        let (Some((stage, stage_node)), Some((id, id_node))) = (text("stage"), text("id")) else { return };
        let inapplicable = text_of(node, "inapplicable", errors).filter(|reason| !reason.is_empty());
        // What is not asked needs no answer.
        let least = u8::from(inapplicable.is_none());
        let Some(query) = self.query(node, &id, least) else { return };
        if !self.is_stage(&stage, &stage_node.origin) {
            return;
        }
        if let Some((_, first)) = self.probes.insert(id.clone(), ((), id_node.origin.clone())) {
            let error = Diagnostic::error(&id_node.origin, format!("two probes are called `{id}`")).remark("here");
            self.errors.push(error.label(&first, "and here"));
            return;
        }
        self.expect.probes.push(ModuleProbe { stage, id, query, inapplicable, option: by.option.clone() });
    }

    /// What is asked; of a test alert at least so many messages.
    fn query(&mut self, node: &Node, id: &str, least: u8) -> Option<Query> {
        let given: Vec<_> = WAYS.into_iter().filter(|(way, _)| node.get(way).is_some()).collect();
        let [(way, takes)] = given[..] else {
            let ways = WAYS.map(|(way, _)| way);
            let message = match given.is_empty() {
                true => format!("probe `{id}` asks nothing"),
                false => format!("probe `{id}` asks in two ways"),
            };
            let error = Diagnostic::error(&node.origin, message);
            self.errors.push(error.help(format!("give one of {}", ways.join(", "))));
            return None;
        };
        let foreign = WAYS.iter().flat_map(|(_, keys)| *keys).filter(|key| !takes.contains(key));
        if let Some((key, value)) = foreign.filter_map(|key| Some((key, node.get(key)?))).next() {
            self.refuse(&value.origin, format!("`{key}` says nothing of a probe by {way}"));
            return None;
        }
        let errors = &mut self.errors;
        let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), errors);
        let (contains, send) = (text("contains"), text("send"));
        let value = node.get(way)?;
        match way {
            "command" => {
                let command = fields::texts(value, "`command`", &mut self.errors);
                let command: Vec<String> = command.into_iter().map(|(text, _)| text).collect();
                if command.is_empty() {
                    self.refuse(&value.origin, format!("probe `{id}` runs nothing"));
                    return None;
                }
                Some(Query::Command { command, contains })
            }
            "http" => {
                let url = fields::name(value, "`http`", &mut self.errors)?;
                let (status, headers) = (self.status(node)?, self.headers(node));
                Some(Query::Http { url, status, headers, contains })
            }
            "http_json" => {
                let url = fields::name(value, "`http_json`", &mut self.errors)?;
                let (Some(at), Some(equals)) = (node.get("at"), text_of(node, "equals", &mut self.errors)) else {
                    self.refuse(&value.origin, "`http_json` needs `at` and `equals`");
                    return None;
                };
                Some(Query::HttpJson { url, at: fields::name(at, "`at`", &mut self.errors)?, equals })
            }
            "alert" => {
                let place = fields::name(value, "`alert`", &mut self.errors)?;
                if node.get("messages").is_none() {
                    self.refuse(&value.origin, "`alert` needs `messages`");
                }
                Some(Query::Alert { place, messages: self.number(node, "messages", least)? })
            }
            _ => Some(Query::Connect { place: fields::name(value, way, &mut self.errors)?, send, contains }),
        }
    }

    /// The status that a response must have (RFC 9110, 15).
    fn status(&mut self, node: &Node) -> Option<u16> {
        let Some(value) = node.get("status") else { return Some(200) };
        let text = fields::text(value, "`status`", &mut self.errors)?;
        let status = text.parse().ok().filter(|status| (100..=599).contains(status));
        if status.is_none() {
            self.refuse(&value.origin, format!("`status` must be 100 to 599, not {text}"));
        }
        status
    }

    /// Values by header, the names in lower case.
    pub(super) fn headers(&mut self, node: &Node) -> BTreeMap<String, String> {
        let Some(node) = node.get("headers") else { return BTreeMap::new() };
        let mut headers = BTreeMap::new();
        for (key, value) in fields::map(node, "`headers`", &mut self.errors) {
            if let Some(value) = fields::text(value, "a header", &mut self.errors) {
                headers.insert(key.text.to_ascii_lowercase(), value);
            }
        }
        headers
    }
}

fn text_of(node: &Node, key: &str, errors: &mut Vec<Diagnostic>) -> Option<String> {
    fields::text(node.get(key)?, &format!("`{key}`"), errors)
}
