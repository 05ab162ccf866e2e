//! Secrets, encrypted at rest: SOPS files with age.
//!
//! [`File::read`] reads an encrypted file, [`File::open`] decrypts it with [`Identities`], [`Opened::seal`] encrypts it
//! again; [`Opened::create`] makes a new one. [`deploy`] carries a machine's secrets from the build into the machine.
//! Nothing here needs the programs `sops` or `age`.
//!
//! ```text
//! bytes ── format (yaml, json, dotenv, ini, binary) ── tree + metadata ── walk (rule, cipher, MAC) ── plain tree
//!                                                          │
//!               identities ── keyring (age, key groups, shamir) ── data key
//! ```
//!
//! Plain values are [`Secret`]s: not shown by `Debug`, overwritten when dropped. Errors name places, never values.

mod cipher;
pub mod config;
mod convert;
pub mod deploy;
mod dotenv;
mod error;
pub mod file;
mod flatten;
mod format;
pub mod generate;
mod harden;
pub mod identity;
mod ini;
mod json;
mod keyring;
mod layout;
mod metadata;
pub mod needed;
pub mod path;
mod pq;
pub mod prompt;
mod recipient;
mod rule;
mod scalar;
mod secret;
mod shamir;
pub mod sources;
pub mod tree;
mod walk;
pub mod words;
mod yaml;

pub use convert::recipient as ssh_to_age;
pub use error::{BadMac, Error, Refusal, Result};
pub use file::{File, Mac, Opened};
pub use format::Format;
pub use harden::harden;
pub use identity::Identities;
pub use json::read_value as read_json;
pub use layout::Layout;
pub use metadata::{AgeKey, Group, Metadata};
pub use recipient::Recipient;
pub use rule::Written as Rule;
pub use secret::Secret;
