//! The control stanza of a `.deb` file (deb(5)): enough to lock it; unpacking it is another matter.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use crate::digest::Digest;
use crate::disk;

/// The largest control archive, packed or unpacked, in bytes; real ones have under 1 MB.
const CONTROL_LIMIT: u64 = 16 << 20;
/// The largest control file, in bytes.
const STANZA_LIMIT: u64 = 1 << 20;

/// A `.deb` file as a lock needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDeb {
    /// The control file.
    pub control: String,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the whole file.
    pub sha256: Digest,
}

/// Why a file is not used as a package.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] disk::Error),
    /// It cannot be read or unpacked.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is not a `.deb`.
    #[error("it is not a Debian package: {0}")]
    NotADeb(&'static str),
    /// Its path leads out of the image's directory.
    #[error("its path must be relative and stay in the image's directory")]
    Path,
    /// It is for other machines.
    #[error("it is not for {arch}", arch = super::ARCHITECTURE)]
    Architecture,
    /// Another file holds the same package.
    #[error("it holds {0}, as another file does")]
    Twice(String),
}

/// Reads the control stanza of the file at `path`.
pub fn read(path: &Path) -> Result<LocalDeb, DebError> {
    let mut file = disk::open(path)?;
    let (name, packed) = control_member(&mut file)?;
    let control = control_file(&name, &packed)?;
    file.seek(SeekFrom::Start(0))?;
    let (sha256, size) = Digest::of_reader(&mut file)?;
    Ok(LocalDeb { control, size, sha256 })
}

/// The name and bytes of the second member, `control.tar` in some packing.
fn control_member(file: &mut impl Read) -> Result<(String, Vec<u8>), DebError> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(DebError::NotADeb("it does not begin as one"));
    }
    let (name, version) = member(file)?;
    if name != "debian-binary" || !version.starts_with(b"2.") {
        return Err(DebError::NotADeb("its format version is not 2"));
    }
    let (name, packed) = member(file)?;
    match name.strip_prefix("control.tar") {
        Some(packing) => Ok((packing.to_owned(), packed)),
        None => Err(DebError::NotADeb("its second member is not control.tar")),
    }
}

/// The name and content of the next member.
fn member(file: &mut impl Read) -> Result<(String, Vec<u8>), DebError> {
    let mut header = [0; 60];
    file.read_exact(&mut header)?;
    let text = std::str::from_utf8(&header).ok().filter(|text| text.is_ascii() && text.ends_with("`\n"));
    let text = text.ok_or(DebError::NotADeb("a member header is malformed"))?;
    let name = text[..16].trim_end().trim_end_matches('/').to_owned();
    let size: u64 = text[48..58].trim_end().parse().map_err(|_| DebError::NotADeb("a member has no size"))?;
    if size > CONTROL_LIMIT {
        return Err(DebError::NotADeb("its control archive is too large"));
    }
    let mut content = Vec::new();
    let found = file.take(size).read_to_end(&mut content)? as u64;
    if found < size {
        return Err(DebError::NotADeb("it is cut off"));
    }
    // Members begin at even offsets.
    file.take(size % 2).read_to_end(&mut Vec::new())?;
    Ok((name, content))
}

fn control_file(packing: &str, packed: &[u8]) -> Result<String, DebError> {
    let unpacked: Box<dyn Read + '_> = match packing {
        "" => Box::new(packed),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(packed)),
        ".zst" => Box::new(zstd::stream::read::Decoder::new(packed)?),
        _ => return Err(DebError::NotADeb("its control archive is packed in an unknown way")),
    };
    let mut archive = tar::Archive::new(unpacked.take(CONTROL_LIMIT));
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path_bytes();
        if name.strip_prefix(b"./").unwrap_or(&name) == b"control" {
            if entry.size() > STANZA_LIMIT {
                return Err(DebError::NotADeb("its control file is too large"));
            }
            let mut text = String::new();
            entry.take(STANZA_LIMIT).read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(DebError::NotADeb("it has no control file"))
}
