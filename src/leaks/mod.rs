//! The search for secrets where none may be: values that are known, in the forms in which they travel, and what
//! gives itself away as a private key or a password's hash. The host searches a finished image with it, a machine
//! searches itself.
//!
//! Not recognised without knowing the value: keys without any form (WireGuard), and text that was compressed or
//! encrypted. An image is therefore searched before it is packed, and again as it is packed.

mod der;
mod encode;
mod known;
mod patterns;
mod search;

pub use encode::Encoding;
pub use known::private_key;
pub use patterns::{Patterns, What};
pub use search::{Bytes, Content, Finding, Found, search};

/// A value that has fewer characters would be met by chance, so that it cannot be looked for.
pub const SHORTEST: usize = 8;

/// Different characters that a value must have at least, for the same reason.
const DIFFERENT: usize = 4;

/// Why a value cannot be looked for: it is too short, or too simple. What cannot be looked for may not be a secret.
pub fn too_weak(value: &[u8]) -> Option<&'static str> {
    let value = value.trim_ascii_end();
    let (length, different) = match std::str::from_utf8(value) {
        Ok(text) => (text.chars().count(), text.chars().collect::<std::collections::BTreeSet<_>>().len()),
        Err(_) => (value.len(), value.iter().collect::<std::collections::BTreeSet<_>>().len()),
    };
    if length < SHORTEST {
        return Some(
            "it has fewer than 8 characters, which can be guessed, and cannot be told from chance in an image",
        );
    }
    (different < DIFFERENT).then_some("it is made of fewer than 4 different characters")
}

#[cfg(test)]
mod tests;
