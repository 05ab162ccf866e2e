//! A gzip file (RFC 1952) of one member whose parts were deflated each by itself.

use std::path::Path;

use flate2::Crc;

use super::Error;
use super::out::Out;
use super::packed::{self, Packed};

/// Magic, deflate, no flags, no time, no hint of the level, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block (RFC 1951, section 3.2.6).
const END: [u8; 2] = [3, 0];

/// Writes such a file.
pub struct Gzip {
    out: Out,
    crc: Crc,
}

impl Gzip {
    /// Begins the file `path`.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let mut out = Out::create(path)?;
        out.write(&HEADER)?;
        Ok(Self { out, crc: Crc::new() })
    }

    /// Adds a part that is packed.
    pub fn put(&mut self, part: &Packed) -> Result<(), Error> {
        self.crc.combine(&part.crc);
        Ok(self.out.write(part.deflated())?)
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let part = self.out.context(packed::pack(bytes))?;
        self.put(&part)
    }

    /// Ends the file.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.out.write(&END)?;
        self.out.write(&self.crc.sum().to_le_bytes())?;
        self.out.write(&self.crc.amount().to_le_bytes())?;
        Ok(self.out.flush()?)
    }
}
