//! What the image says of the machine's secrets. It is read from the verified root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::disk;
use crate::system::OnChange;

/// Neither file is larger, in bytes.
const LIMIT: u64 = 16 << 20;

/// Whose a file is, and what happens when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Need {
    /// Owning user, by name or number.
    pub owner: String,
    /// Owning group, by name or number.
    pub group: String,
    /// Permission bits, octal.
    #[serde(deserialize_with = "octal")]
    pub mode: u32,
    /// Units that use it.
    pub units: BTreeSet<String>,
    /// What happens to them when it changes.
    pub on_change: OnChange,
}

/// A file that is made of text and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Template {
    /// Text with placeholders.
    pub text: String,
    /// Whose the file is.
    #[serde(flatten)]
    pub need: Need,
}

fn octal<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no mode of a secret")))
}

/// Entries by name. Each name is that of a file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<BTreeMap<String, T>, Error> {
    let wrong = |reason: String| Error::Image { path: path.to_owned(), reason };
    let bytes = disk::read_start(path, LIMIT)?;
    let entries: BTreeMap<String, T> = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match entries.keys().find(|name| name.is_empty() || name.starts_with('.') || name.contains(['/', '\0'])) {
        Some(name) => Err(wrong(format!("{name:?} cannot name a file"))),
        None => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_and_modes_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("needs.json");
        let entry = |mode: &str| {
            format!(
                r#"{{"kind":"token","owner":"web","group":"0","mode":"{mode}","units":["a"],"on_change":"reload"}}"#
            )
        };
        let check = |text: String| {
            disk::write(&path, text.as_bytes(), 0o644).unwrap();
            read::<Need>(&path)
        };
        let good = check(format!(r#"{{"db":{}}}"#, entry("0440"))).unwrap();
        assert_eq!((good["db"].mode, good["db"].on_change), (0o440, OnChange::Reload));
        for (name, mode) in [("../x", "0400"), ("", "0400"), (".x", "0400"), ("x", "4755"), ("x", "9"), ("x", "")] {
            let error = check(format!(r#"{{"{name}":{}}}"#, entry(mode))).unwrap_err();
            assert!(matches!(error, Error::Image { .. }), "{name} {mode}");
        }
    }
}
