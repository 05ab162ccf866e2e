//! Unified kernel images (UAPI.5): a PE file made of systemd's stub with kernel, initrd and command line as
//! further sections. The result depends on nothing but the inputs.

use std::ops::Range;

/// What goes into a unified kernel image.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The image's os-release file.
    pub osrel: &'a [u8],
    /// Kernel command line, without a final newline.
    pub cmdline: &'a str,
    /// Kernel release, as `uname -r` prints it.
    pub uname: &'a str,
    /// The initial RAM disk.
    pub initrd: &'a [u8],
    /// The kernel, itself a PE file.
    pub linux: &'a [u8],
}

/// Why no image was made, or none could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file does not follow the PE format, or asks for something that EFI does not use.
    #[error("the {file} is not a usable PE32+ file: {reason}")]
    NotPe {
        /// Which file: `stub`, `kernel`, `image`.
        file: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The stub's headers are followed by code, so that no more sections can be listed.
    #[error("the stub has room for {room} more sections, and {wanted} are needed")]
    NoRoom {
        /// Free places.
        room: usize,
        /// Needed places.
        wanted: usize,
    },
    /// The stub already holds what would be added.
    #[error("the stub already has a section {0}")]
    Duplicate(&'static str),
    /// The image would not fit into the 32-bit fields of the format.
    #[error("the image would be larger than 4 GiB")]
    TooLarge,
}

/// Revocation data for stubs that bring none (the header that every `.sbat` begins with).
const SBAT: &[u8] = b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";
const PAGE: u64 = 4096;
const SECTION_HEADER: usize = 40;
/// Initialised data, readable.
const DATA: u32 = 0x4000_0040;
/// Code, readable, executable.
const CODE: u32 = 0x6000_0020;

/// Puts the parts behind the stub. The kernel comes last, with the room it asks for, as stubs that start it
/// in place need it.
///
/// The stub's symbol table, signature and whatever else follows its sections are dropped: they would be
/// hashed by some verifiers and not by others.
pub fn build(stub: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    let pe = Pe::parse(stub, "stub")?;
    let kernel_size = Pe::parse(parts.linux, "kernel")?.u32(pe::SIZE_OF_IMAGE)?;
    let mut added = vec![
        (".osrel", parts.osrel, 0, DATA),
        (".cmdline", parts.cmdline.as_bytes(), 0, DATA),
        (".uname", parts.uname.as_bytes(), 0, DATA),
        (".initrd", parts.initrd, 0, DATA),
        (".linux", parts.linux, u64::from(kernel_size), CODE),
    ];
    if !pe.sections.iter().any(|section| section.name == ".sbat") {
        added.insert(0, (".sbat", SBAT, 0, DATA));
    }
    if let Some(twice) = added.iter().find(|(name, ..)| pe.sections.iter().any(|section| section.name == *name)) {
        return Err(Error::Duplicate(twice.0));
    }
    let room = pe.free_headers();
    if room < added.len() {
        return Err(Error::NoRoom { room, wanted: added.len() });
    }

    let file_alignment = u64::from(pe.u32(pe::FILE_ALIGNMENT)?);
    let memory_alignment = u64::from(pe.u32(pe::SECTION_ALIGNMENT)?).max(PAGE);
    let mut address = pe.sections.iter().map(Section::memory_end).max().unwrap_or(0);
    let mut image = stub.get(..pe.raw_end()).unwrap_or(stub).to_vec();
    let mut initialized = u64::from(pe.u32(pe::SIZE_OF_INITIALIZED_DATA)?);
    for (index, (name, bytes, room, flags)) in added.iter().enumerate() {
        address = address.next_multiple_of(memory_alignment);
        pad(&mut image, file_alignment)?;
        let size = (bytes.len() as u64).max(*room);
        let raw_size = (bytes.len() as u64).next_multiple_of(file_alignment);
        let header = section_header(name, [size, address, raw_size, image.len() as u64], *flags)?;
        let at = pe.table_end() + index * SECTION_HEADER;
        put(&mut image, at, &header)?;
        image.extend_from_slice(bytes);
        address += size;
        initialized += raw_size;
    }
    pad(&mut image, file_alignment)?;

    put(&mut image, pe.coff + coff::NUMBER_OF_SECTIONS, &((pe.sections.len() + added.len()) as u16).to_le_bytes())?;
    put(&mut image, pe.coff + coff::SYMBOL_TABLE, &[0; 8])?;
    let size_of_image = narrow(address.next_multiple_of(memory_alignment))?;
    put(&mut image, pe.optional + pe::SIZE_OF_IMAGE, &size_of_image.to_le_bytes())?;
    put(&mut image, pe.optional + pe::SIZE_OF_INITIALIZED_DATA, &narrow(initialized)?.to_le_bytes())?;
    if pe.u32(pe::NUMBER_OF_DIRECTORIES)? > pe::SECURITY_INDEX {
        put(&mut image, pe.optional + pe::SECURITY_DIRECTORY, &[0; 8])?;
    }
    put(&mut image, pe.optional + pe::CHECKSUM, &[0; 4])?;
    let sum = checksum(&image);
    put(&mut image, pe.optional + pe::CHECKSUM, &sum.to_le_bytes())?;
    Ok(image)
}

/// The sections of a PE file in the order of its section table: name and content.
pub fn sections(image: &[u8]) -> Result<Vec<(String, &[u8])>, Error> {
    let pe = Pe::parse(image, "image")?;
    Ok(pe.sections.into_iter().map(|section| (section.name, image.get(section.content).unwrap_or(&[]))).collect())
}

/// Offsets in the COFF header (PE format, "COFF File Header").
mod coff {
    pub const NUMBER_OF_SECTIONS: usize = 2;
    pub const SYMBOL_TABLE: usize = 8;
    pub const SIZE_OF_OPTIONAL_HEADER: usize = 16;
    pub const SIZE: usize = 20;
}

/// Offsets in the optional header (PE format, "Optional Header", PE32+).
mod pe {
    pub const MAGIC: u16 = 0x20b;
    pub const SIZE_OF_INITIALIZED_DATA: usize = 8;
    pub const SECTION_ALIGNMENT: usize = 32;
    pub const FILE_ALIGNMENT: usize = 36;
    pub const SIZE_OF_IMAGE: usize = 56;
    pub const SIZE_OF_HEADERS: usize = 60;
    pub const CHECKSUM: usize = 64;
    pub const NUMBER_OF_DIRECTORIES: usize = 108;
    pub const SECURITY_INDEX: u32 = 4;
    pub const SECURITY_DIRECTORY: usize = 144;
    pub const LEAST: usize = 112;
}

/// One entry of the section table, checked to lie within the file.
#[derive(Debug)]
struct Section {
    name: String,
    address: u32,
    memory: u32,
    raw: Range<usize>,
    /// The part of `raw` that is not padding.
    content: Range<usize>,
}

impl Section {
    fn memory_end(&self) -> u64 {
        u64::from(self.address) + u64::from(self.memory).max(self.raw.len() as u64)
    }
}

/// A PE32+ file whose headers were found sound.
struct Pe<'a> {
    bytes: &'a [u8],
    file: &'static str,
    coff: usize,
    optional: usize,
    table: usize,
    headers: usize,
    sections: Vec<Section>,
}

impl<'a> Pe<'a> {
    fn parse(bytes: &'a [u8], file: &'static str) -> Result<Self, Error> {
        let bad = |reason| Error::NotPe { file, reason };
        let short = || bad("it ends within its headers");
        if bytes.get(..2) != Some(b"MZ") {
            return Err(bad("it does not begin with MZ"));
        }
        let signature = get_u32(bytes, 0x3c).ok_or_else(short)? as usize;
        let coff = signature.checked_add(4).ok_or_else(short)?;
        if bytes.get(signature..coff) != Some(b"PE\0\0") {
            return Err(bad("it has no PE signature"));
        }
        let count = get_u16(bytes, coff + coff::NUMBER_OF_SECTIONS).ok_or_else(short)?;
        let optional = coff + coff::SIZE;
        let optional_size = usize::from(get_u16(bytes, coff + coff::SIZE_OF_OPTIONAL_HEADER).ok_or_else(short)?);
        if get_u16(bytes, optional) != Some(pe::MAGIC) || optional_size < pe::LEAST {
            return Err(bad("it is not a 64-bit image"));
        }
        let table = optional + optional_size;
        let headers = get_u32(bytes, optional + pe::SIZE_OF_HEADERS).ok_or_else(short)? as usize;
        let end = table + usize::from(count) * SECTION_HEADER;
        if end > headers || headers > bytes.len() {
            return Err(bad("its headers do not fit where they should be"));
        }
        let mut pe = Self { bytes, file, coff, optional, table, headers, sections: Vec::new() };
        let directories = u64::from(pe.u32(pe::NUMBER_OF_DIRECTORIES)?);
        if pe::LEAST as u64 + directories * 8 > optional_size as u64 {
            return Err(bad("its data directories do not fit its headers"));
        }
        for offset in [pe::FILE_ALIGNMENT, pe::SECTION_ALIGNMENT] {
            let alignment = pe.u32(offset)?;
            if !alignment.is_power_of_two() || !(512..=1 << 24).contains(&alignment) {
                return Err(bad("its alignment is not a power of two from 512 to 16 MiB"));
            }
        }
        for header in bytes[table..end].chunks_exact(SECTION_HEADER) {
            pe.sections.push(section(header, bytes.len()).map_err(bad)?);
        }
        Ok(pe)
    }

    /// A field of the optional header.
    fn u32(&self, offset: usize) -> Result<u32, Error> {
        get_u32(self.bytes, self.optional + offset)
            .ok_or(Error::NotPe { file: self.file, reason: "it ends within its headers" })
    }

    fn table_end(&self) -> usize {
        self.table + self.sections.len() * SECTION_HEADER
    }

    /// Where the content of the last section ends in the file.
    fn raw_end(&self) -> usize {
        self.sections.iter().map(|section| section.raw.end).max().unwrap_or(0).max(self.headers)
    }

    /// How many sections can still be listed before the headers end or the first content begins.
    fn free_headers(&self) -> usize {
        let contents = self.sections.iter().filter(|section| !section.raw.is_empty()).map(|section| section.raw.start);
        let addresses = self.sections.iter().map(|section| section.address as usize);
        let limit = contents.chain(addresses).fold(self.headers, usize::min);
        let listed = usize::from(u16::MAX) - self.sections.len();
        (limit.saturating_sub(self.table_end()) / SECTION_HEADER).min(listed)
    }
}

fn section(header: &[u8], file_size: usize) -> Result<Section, &'static str> {
    let field = |at| get_u32(header, at).ok_or("its section table is cut off");
    let (memory, address, raw_size, raw_start) = (field(8)?, field(12)?, field(16)?, field(20)? as usize);
    let name = header.get(..8).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = str::from_utf8(name).map_err(|_| "a section's name is not text")?;
    if name.starts_with('/') {
        // Such a name points into the symbol table, which is dropped.
        return Err("a section's name is longer than 8 bytes");
    }
    if u64::from(address) + u64::from(memory) > u64::from(u32::MAX) {
        return Err("a section lies beyond 4 GiB");
    }
    let raw = if raw_size == 0 { 0..0 } else { raw_start..raw_start.saturating_add(raw_size as usize) };
    if raw.end > file_size {
        return Err("a section's content lies outside the file");
    }
    let content = raw.start..raw.end.min(raw.start.saturating_add(memory as usize));
    Ok(Section { name: name.to_owned(), address, memory, raw, content })
}

/// `places` are size in memory, address, size in the file, place in the file.
fn section_header(name: &str, places: [u64; 4], flags: u32) -> Result<Vec<u8>, Error> {
    let mut header = name.as_bytes().to_vec();
    header.resize(8, 0);
    for place in places {
        header.extend(narrow(place)?.to_le_bytes());
    }
    header.extend([0; 12]); // relocations and line numbers, which images have not
    header.extend(flags.to_le_bytes());
    Ok(header)
}

fn narrow(number: u64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::TooLarge)
}

fn pad(image: &mut Vec<u8>, alignment: u64) -> Result<(), Error> {
    let length = narrow((image.len() as u64).next_multiple_of(alignment))?;
    image.resize(length as usize, 0);
    Ok(())
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), Error> {
    let place = image.get_mut(at..at + bytes.len());
    let place = place.ok_or(Error::NotPe { file: "stub", reason: "it ends within its headers" })?;
    place.copy_from_slice(bytes);
    Ok(())
}

/// The checksum of PE images, as `CheckSumMappedFile` of Windows computes it; its own field must be zero.
fn checksum(image: &[u8]) -> u32 {
    let sum = image
        .chunks(2)
        .fold(0_u64, |sum, pair| sum + u64::from(u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    (folded as u32).wrapping_add(image.len() as u32)
}

fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    field.try_into().ok().map(u16::from_le_bytes)
}

fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    field.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
#[path = "uki_tests.rs"]
mod tests;
