//! Metadata as a tree of files, of which a directory lists its entries.

use std::collections::{BTreeMap, BTreeSet};

/// Values by path, parts separated by slashes.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Adds a value.
    pub fn set(&mut self, path: &str, value: impl Into<String>) {
        self.0.insert(path.to_owned(), value.into());
    }

    /// The value at a path; of a directory its entries, one a line, directories with a slash at the end.
    pub fn get(&self, parts: &[&str]) -> Option<String> {
        let path = parts.join("/");
        if let Some(value) = self.0.get(&path) {
            return Some(value.clone());
        }
        let prefix = if path.is_empty() { path } else { format!("{path}/") };
        let below = self.0.keys().filter_map(|key| key.strip_prefix(prefix.as_str()));
        let entry = |rest: &str| match rest.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => rest.to_owned(),
        };
        let entries: BTreeSet<String> = below.map(entry).collect();
        (!entries.is_empty()).then(|| entries.into_iter().collect::<Vec<_>>().join("\n"))
    }
}
