//! Recipients of age files: native, post-quantum, of plugins, and SSH keys.

use super::scalars::Refusal;
use super::value::Value;

/// Characters of Bech32 (BIP 173), by value.
const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The recipient that a text is.
pub(super) fn read(text: &str) -> Result<Value, Refusal> {
    if text.starts_with("ssh-") {
        let key = ssh_key::PublicKey::from_openssh(text.trim()).map_err(|error| Some(error.to_string()))?;
        return match key.algorithm() {
            ssh_key::Algorithm::Ed25519 | ssh_key::Algorithm::Rsa { .. } => {
                key.to_openssh().map(Value::Text).map_err(|error| Some(error.to_string()))
            }
            other => Err(Some(format!("age knows ssh-ed25519 and ssh-rsa keys, not {other}"))),
        };
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) && text.to_ascii_lowercase().starts_with("age1") {
        return Err(Some(format!("write it in lower case: {}", text.to_ascii_lowercase())));
    }
    if !text.starts_with("age1") {
        return Err(None);
    }
    let (kind, data) = text.rsplit_once('1').ok_or(None)?;
    if !is_bech32(kind, data) {
        return Err(Some("its checksum is wrong: a character is missing or mistaken".into()));
    }
    let plugin = kind.strip_prefix("age1").unwrap_or("");
    let named = plugin.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-._".contains(&b));
    // 32 bytes are 52 characters, and the checksum 6.
    match (kind == "age" && data.len() == 58) || (!plugin.is_empty() && named) {
        true => Ok(Value::Text(text.to_owned())),
        false => Err(None),
    }
}

/// Whether the checksum of a Bech32 text holds. age sets no limit to its length.
fn is_bech32(prefix: &str, data: &str) -> bool {
    let value = |b: u8| CHARSET.iter().position(|c| *c == b).map(|at| at as u32);
    let values: Option<Vec<u32>> = data.bytes().map(value).collect();
    values.is_some_and(|values| values.len() >= 6 && residue(prefix, &values) == 1)
}

/// The remainder of Bech32's checksum over a prefix and the values of what follows it.
fn residue(prefix: &str, values: &[u32]) -> u32 {
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|b| u32::from(b >> 5));
    let low = prefix.bytes().map(|b| u32::from(b & 31));
    high.chain([0]).chain(low).chain(values.iter().copied()).fold(1, |sum, value| {
        let next = ((sum & 0x01ff_ffff) << 5) ^ value;
        let mixed = GENERATORS.iter().enumerate().filter(|(bit, _)| (sum >> 25) >> bit & 1 == 1);
        mixed.fold(next, |sum, (_, generator)| sum ^ generator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn recipients_are_told_from_what_only_looks_like_one() {
        let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a";
        for good in [NATIVE, ssh] {
            assert_eq!(read(good), Ok(Value::Text(good.into())));
        }
        for (text, help) in [
            (NATIVE.replace("aqm", "aqn"), Some("checksum")),
            (NATIVE[..40].to_owned(), Some("checksum")),
            (NATIVE.to_uppercase(), Some("lower case")),
            ("age1".into(), Some("checksum")),
            ("someone@example.org".into(), None),
            ("ssh-dss AAAA".into(), Some("")),
        ] {
            let refusal = read(&text).expect_err(&text);
            assert_eq!(refusal.is_some(), help.is_some(), "{text}: {refusal:?}");
            assert!(refusal.unwrap_or_default().contains(help.unwrap_or("")), "{text}");
        }
    }

    /// Plugins name themselves between `age1` and the last 1; the post-quantum kind is made like one.
    #[test]
    fn a_plugins_name_is_part_of_what_the_checksum_covers() {
        let recipient = |prefix: &str| {
            let data: Vec<u32> = (0..8).collect();
            let sum = residue(prefix, &[&data[..], &[0; 6]].concat()) ^ 1;
            let checksum = (0..6).map(|at| sum >> (5 * (5 - at)) & 31);
            let text = data.iter().copied().chain(checksum).map(|value| char::from(CHARSET[value as usize]));
            format!("{prefix}1{}", text.collect::<String>())
        };
        for prefix in ["age1yubikey", "age1pq", "age1se"] {
            let text = recipient(prefix);
            assert!(read(&text).is_ok(), "{text}");
            assert!(read(&text.replace(prefix, "age1other")).is_err());
        }
        assert!(read(&recipient("age")).is_err(), "too short for a key");
    }
}
