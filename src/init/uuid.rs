//! UUIDs (RFC 9562) that follow from digests, so that nothing in an image is random.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// A UUID; its bytes are in the order of its text form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID of 16 bytes in the order of the text form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The UUID whose text form reads as `number` in hexadecimal.
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// A UUID of version 8 (RFC 9562, 5.8) from the first half of a digest.
    pub fn from_digest(digest: &Digest) -> Self {
        let (mut bytes, _) = halves(digest);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The partition UUIDs of a root file system and of its hash tree: the first and the last 128 bits of
    /// the dm-verity root hash (Discoverable Partitions Specification).
    pub fn of_root_hash(root_hash: &Digest) -> (Self, Self) {
        let (data, tree) = halves(root_hash);
        (Self(data), Self(tree))
    }

    /// The bytes in the order of the text form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// To or from the byte order of a GPT (UEFI, appendix A): the first three fields are little-endian.
    #[must_use]
    pub const fn swap_gpt(bytes: [u8; 16]) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
    }
}

fn halves(digest: &Digest) -> ([u8; 16], [u8; 16]) {
    let (mut first, mut last) = ([0; 16], [0; 16]);
    first.copy_from_slice(&digest.as_bytes()[..16]);
    last.copy_from_slice(&digest.as_bytes()[16..]);
    (first, last)
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a UUID has 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12")]
pub struct NotAUuid;

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let groups: Vec<&str> = text.split('-').collect();
        let hexadecimal = text.bytes().all(|c| c == b'-' || c.is_ascii_hexdigit());
        if !hexadecimal || !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return Err(NotAUuid);
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self::from_u128).map_err(|_| NotAUuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_rejects_everything_else() {
        let text = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(uuid, Uuid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709));
        for bad in ["", "4f68bce3", &text[1..], &text.replace('-', "0"), &text.replace('4', "+"), &"é".repeat(18)] {
            assert_eq!(bad.parse::<Uuid>(), Err(NotAUuid), "{bad}");
        }
    }

    #[test]
    fn derived_uuids_follow_their_standards() {
        let hash: Digest = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef".parse().unwrap();
        let (data, tree) = Uuid::of_root_hash(&hash);
        assert_eq!(data.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(tree.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(Uuid::from_digest(&hash).to_string(), "00112233-4455-8677-8899-aabbccddeeff");
        let gpt = Uuid::swap_gpt(*data.as_bytes());
        assert_eq!(&gpt[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(Uuid::swap_gpt(gpt), *data.as_bytes());
    }
}
