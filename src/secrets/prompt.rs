//! What keys may ask of a person: passphrases, and touching a token.

use std::sync::Arc;

use age::secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// Whom keys may ask. Without anybody, whatever needs an answer is skipped, and said so.
pub trait Prompt: Send + Sync {
    /// Shows a line, such as "touch your token".
    fn message(&self, text: &str);
    /// Warns of something about the file itself.
    fn warn(&self, text: &str) {
        self.message(text);
    }
    /// Asks for a passphrase; nothing if there is nobody to ask.
    fn passphrase(&self, what: &str) -> Option<Zeroizing<String>>;
}

/// Nobody is there.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _: &str) {}

    fn passphrase(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }
}

/// A [`Prompt`] as the crate `age` wants it. Plugins get no answers but passphrases: anything else would be a
/// terminal program in the middle of another one.
#[derive(Clone)]
pub(super) struct Asking(pub Arc<dyn Prompt>);

impl age::Callbacks for Asking {
    fn display_message(&self, message: &str) {
        self.0.message(message);
    }

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.passphrase(description).map(|text| SecretString::from(text.to_string()))
    }
}

/// A passphrase that was asked for once, by a test or a script.
impl Prompt for SecretString {
    fn message(&self, _: &str) {}

    fn passphrase(&self, _: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new(self.expose_secret().to_owned()))
    }
}
