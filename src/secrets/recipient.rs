//! Who can open a file: age recipients of all kinds that SOPS knows.

use std::io::Write as _;
use std::iter;
use std::sync::Arc;

use age::armor::{ArmoredWriter, Format};
use age::plugin::RecipientPluginV1;

use super::error::{Error, Result};
use super::prompt::{Asking, Prompt};
use super::{Secret, pq};

/// A recipient as it is written, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient(String);

/// What gives a private key away, in capitals.
const PRIVATE: [&str; 3] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"];

const NO_SSH_KEY: &str = "it is not a key of ssh-ed25519 or ssh-rsa";

enum Key {
    Native(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
    PostQuantum(Box<pq::Recipient>),
    Plugin(age::plugin::Recipient),
}

impl Recipient {
    /// `age1...`, `age1pq1...`, `age1NAME1...` of a plugin, `ssh-ed25519 ...` or `ssh-rsa ...`.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        key(text).map(|_| Self(text.to_owned()))
    }

    /// Several, separated by commas.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Self::parse).collect()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Encrypts for this recipient; returns an armored age file.
    pub(super) fn wrap(&self, share: &Secret, prompt: &Arc<dyn Prompt>) -> Result<String> {
        let wrong = |reason: String| Error::Recipient { recipient: shown(&self.0), reason };
        let plugin;
        let key = key(&self.0)?;
        let recipient: &dyn age::Recipient = match &key {
            Key::Native(key) => key,
            Key::Ssh(key) => key,
            Key::PostQuantum(key) => &**key,
            Key::Plugin(key) => {
                let asking = Asking(Arc::clone(prompt));
                let found = RecipientPluginV1::new(key.plugin(), std::slice::from_ref(key), &[], asking);
                plugin = found.map_err(|error| wrong(error.to_string()))?;
                &plugin
            }
        };
        let encryptor = age::Encryptor::with_recipients(iter::once(recipient));
        let encryptor = encryptor.map_err(|error| wrong(error.to_string()))?;
        let write = || -> std::io::Result<Vec<u8>> {
            let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
            let mut writer = encryptor.wrap_output(armor)?;
            writer.write_all(share.expose())?;
            writer.finish()?.finish()
        };
        let bytes = write().map_err(|error| wrong(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
    }
}

/// A recipient as messages may show it. People and other programs put the private half where the public one belongs.
pub(super) fn shown(text: &str) -> String {
    if is_private(text) { "a private key".to_owned() } else { text.to_owned() }
}

fn is_private(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    PRIVATE.iter().any(|mark| text.contains(mark))
}

fn key(text: &str) -> Result<Key> {
    let wrong = |reason: &str| Error::Recipient { recipient: shown(text), reason: reason.to_owned() };
    if is_private(text) {
        return Err(wrong("its public half is, which begins with age1 or ssh-; whoever has seen this one has it now"));
    }
    if text.starts_with("age1pq1") {
        return pq::Recipient::parse(text).map(|key| Key::PostQuantum(Box::new(key))).map_err(wrong);
    }
    if let Some(rest) = text.strip_prefix("age1") {
        return if rest.contains('1') {
            text.parse().map(Key::Plugin).map_err(wrong)
        } else {
            text.parse().map(Key::Native).map_err(wrong)
        };
    }
    if text.starts_with("ssh-") {
        // The crate `age` panics at numbers that are written as zeros only.
        ssh_key::PublicKey::from_openssh(text).map_err(|_| wrong(NO_SSH_KEY))?;
        return text.parse().map(Key::Ssh).map_err(|error: age::ssh::ParseRecipientKeyError| {
            use age::ssh::ParseRecipientKeyError as Wrong;
            wrong(match error {
                Wrong::RsaModulusTooLarge => "its RSA modulus is too large",
                Wrong::RsaModulusTooSmall => "its RSA modulus is shorter than 2048 bits",
                _ => NO_SSH_KEY,
            })
        });
    }
    Err(wrong("it begins with neither age1 nor ssh-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_recipient_is_refused() {
        let good = "age1vjusj87wdhggna066mr346zfd6hz87tjz8t4p9ufx60dgsszcd3sk2wg5a";
        assert_eq!(Recipient::parse_list(&format!(" {good},{good}, ")).unwrap().len(), 2);
        for wrong in
            ["", "age1", "age1x", "ssh-ed25519", "ssh-dss AAAA", "AGE-SECRET-KEY-1", &good[..40], "age1yubikey1q"]
        {
            assert!(matches!(Recipient::parse(wrong), Err(Error::Recipient { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_private_key_is_named_and_not_shown() {
        const BODY: &str = "1GQ97MFAGE9RV";
        for mark in [
            "AGE-SECRET-KEY-",
            "age-secret-key-",
            "AGE-SECRET-KEY-PQ-",
            "AGE-PLUGIN-YUBIKEY-",
            "age1,x AGE-SECRET-KEY-",
        ] {
            let error = Recipient::parse(&format!("{mark}{BODY}")).unwrap_err().to_string();
            assert!(error.starts_with("a private key cannot be a recipient") && !error.contains(BODY), "{error}");
        }
        let pem = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----");
        assert!(!Recipient::parse(&pem).unwrap_err().to_string().contains(BODY));
    }

    #[test]
    fn an_ssh_key_of_nothing_is_refused() {
        use base64::Engine as _;
        let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        for numbers in [[&b"\0"[..], b"\x01"], [b"\x03", b"\0\0\0"], [b"", b""]] {
            let blob = [field(b"ssh-rsa"), field(numbers[0]), field(numbers[1])].concat();
            let text = format!("ssh-rsa {}", base64::prelude::BASE64_STANDARD.encode(blob));
            assert!(matches!(Recipient::parse(&text), Err(Error::Recipient { .. })), "{text}");
        }
    }
}
