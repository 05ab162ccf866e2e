//! Bytes that must not be seen.

use std::fmt;
use std::io::{self, Read};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes that are overwritten when dropped and that `Debug` does not show. There is no `Display`: whoever wants the
/// bytes has to say so with [`Secret::expose`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over, without a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Reads at most `limit` bytes. No copy of them is left behind in memory.
    pub fn read(reader: impl Read, limit: u64) -> io::Result<Self> {
        let mut reader = reader.take(limit);
        let mut builder = Builder::default();
        let mut part = Zeroizing::new([0; 4096]);
        loop {
            match reader.read(&mut *part) {
                Ok(0) => return Ok(builder.finish()),
                Ok(length) => builder.push(part.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `bytes` random ones, from the kernel.
    pub fn random(bytes: usize) -> Result<Self, getrandom::Error> {
        let mut secret = Self(vec![0; bytes]);
        getrandom::fill(&mut secret.0)?;
        Ok(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

/// Text under construction that holds secrets. It grows by copying, and each copy is overwritten.
#[derive(Default)]
pub(super) struct Builder(Zeroizing<Vec<u8>>);

impl Builder {
    pub fn push(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            // `Vec` would leave the old buffer's content behind.
            let mut larger = Zeroizing::new(Vec::with_capacity((needed * 2).max(256)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    pub fn spaces(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(b" "));
    }

    pub fn finish(mut self) -> Secret {
        Secret(std::mem::take(&mut *self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn a_builder_keeps_what_it_was_given() {
        let mut builder = Builder::default();
        let wanted: Vec<u8> = (0..2000u32).map(|n| (n % 251) as u8).collect();
        wanted.chunks(7).for_each(|part| builder.push(part));
        assert_eq!(builder.finish().expose(), wanted);
    }

    #[test]
    fn reading_ends_at_the_limit() {
        let bytes: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(Secret::read(&bytes[..], 1 << 20).unwrap().expose(), bytes);
        assert_eq!(Secret::read(&bytes[..], 5000).unwrap().expose(), &bytes[..5000]);
    }
}
