//! What the image says of the machine's secrets. It is read from the verified root file system.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::disk;
use crate::secrets::deploy::Need;

/// Neither file is larger, in bytes.
const LIMIT: u64 = 16 << 20;

/// A file that is made of text and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Template {
    /// Text with placeholders.
    pub text: String,
    /// Whose the file is, and what happens when it changes.
    #[serde(flatten)]
    pub need: Need,
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

/// The permission bits of a secret; nothing if the text has others, or none.
pub fn mode(need: &Need) -> Option<u32> {
    u32::from_str_radix(&need.mode, 8).ok().filter(|mode| *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_and_modes_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("needs.json");
        let check = |name: &str, expected: &str| {
            let entry = format!(
                r#"{{"{name}":{{"kind":"token","owner":"web","group":"0","mode":"{expected}","units":[],"on_change":"none"}}}}"#
            );
            disk::write(&path, entry.as_bytes(), 0o644).unwrap();
            read::<Need>(&path).map(|needs| mode(&needs[name]))
        };
        assert_eq!(check("db", "0440").unwrap(), Some(0o440));
        for bad in ["4755", "9", "", "-1"] {
            assert_eq!(check("db", bad).unwrap(), None);
        }
        for name in ["../x", "", ".x", "a/b"] {
            assert!(matches!(check(name, "0400"), Err(Error::Image { .. })), "{name}");
        }
    }
}
