//! A file system as a value: what modules put into an image, before any file exists.

mod glob;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{GuestPath, OptionPath};

pub use glob::Globs;

/// Files by their path. A directory that only holds others need not be listed: it is made as root, 0755.
pub type Tree = BTreeMap<GuestPath, Entry>;

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What is there.
    pub content: Content,
    /// Permission bits; ignored for links.
    pub mode: u32,
    /// Owning user, by name or number; names are looked up in the image's own /etc/passwd.
    pub owner: String,
    /// Owning group, by name or number.
    pub group: String,
    /// The option or module that asked for it, for `rave explain`; never hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<OptionPath>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A regular file.
    File(Vec<u8>),
    /// A directory; one that packages made keeps its content.
    Directory,
    /// A symbolic link and its target.
    Symlink(String),
    /// Nothing: what packages put there is taken away, with all that is below it.
    Absent,
}

impl Entry {
    /// A file of root's.
    pub fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::of(Content::File(bytes.into()), mode)
    }

    /// A directory of root's.
    pub fn directory(mode: u32) -> Self {
        Self::of(Content::Directory, mode)
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self::of(Content::Symlink(target.into()), 0o777)
    }

    /// A path that must not exist.
    pub fn absent() -> Self {
        Self::of(Content::Absent, 0)
    }

    fn of(content: Content, mode: u32) -> Self {
        Self { content, mode, owner: "root".into(), group: "root".into(), option: None }
    }
}
