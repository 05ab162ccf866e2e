//! Secrets, encrypted at rest: SOPS files with age.

mod cipher;
mod convert;
mod dotenv;
mod error;
pub mod file;
mod flatten;
mod format;
pub mod identity;
mod ini;
mod json;
mod keyring;
mod metadata;
mod pq;
pub mod prompt;
mod recipient;
mod rule;
mod scalar;
mod secret;
mod shamir;
pub mod tree;
mod walk;
mod yaml;

pub use convert::recipient as ssh_to_age;
pub use error::{BadMac, Error, Refusal, Result};
pub use file::{File, Mac, Opened};
pub use format::Format;
pub use identity::Identities;
pub use metadata::{AgeKey, Group, Metadata};
pub use recipient::Recipient;
pub use rule::Written as Rule;
pub use secret::Secret;
