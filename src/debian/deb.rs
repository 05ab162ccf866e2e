//! Reads one binary package (deb(5)): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
//!
//! A package is hostile until shown otherwise, also when its digest is right: whatever could write outside of the
//! directory it is unpacked to, or fill the disk, is refused here with its reason.

mod ar;
mod control;
mod data;
mod limit;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::deb822::{Malformed, Paragraph};
use crate::disk;
pub use data::{Entry, Kind};
use limit::Limited;

/// The largest content of one package, in bytes.
const DATA_LIMIT: u64 = 16 << 30;
/// The largest sum of control files, in bytes.
const CONTROL_LIMIT: u64 = 64 << 20;
/// The most members that one archive may have.
const MEMBERS: usize = 1_000_000;

/// A package that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a good package", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a package.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// An archive or its compression is damaged.
    #[error("its {part} cannot be read")]
    Damaged {
        /// Which part.
        part: &'static str,
        /// What the reader said.
        source: io::Error,
    },
    /// The outer archive breaks the format.
    #[error("its ar archive is malformed: {0}")]
    Ar(&'static str),
    /// A part is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A part is there twice.
    #[error("it has {0} twice")]
    Duplicate(String),
    /// A version or compression that is not known.
    #[error("its {0} is not supported")]
    Unsupported(String),
    /// More content than sense.
    #[error("its {part} unpacks to more than {limit} bytes, from {size}: a decompression bomb")]
    Bomb {
        /// Which part.
        part: &'static str,
        /// How many bytes would have been let through.
        limit: u64,
        /// Compressed size in bytes.
        size: u64,
    },
    /// The control file breaks deb-control(5).
    #[error("its control file is malformed: {0}")]
    Control(Malformed),
    /// A name that no member may have.
    #[error("its member {name:?} {reason}")]
    Name {
        /// The name as it stands in the archive.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

type Result<T> = std::result::Result<T, Problem>;

/// Adds which file it was.
fn named<T>(path: &Path, result: Result<T>) -> std::result::Result<T, Error> {
    result.map_err(|problem| Error { path: path.to_owned(), problem })
}

/// A package whose control part has been read.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    /// The control file.
    pub control: Paragraph,
    /// The other control files by name: `postinst`, `conffiles`, `triggers` ...
    pub files: BTreeMap<String, Vec<u8>>,
    data: ar::Member,
}

impl Deb {
    /// Opens a package and reads its control part.
    pub fn open(path: impl AsRef<Path>) -> std::result::Result<Self, Error> {
        let path = path.as_ref();
        named(path, Self::read(path))
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = disk::open(path)?;
        let members = ar::members(&mut file)?;
        let control = member(&members, "control.tar")?;
        let data = member(&members, "data.tar")?.clone();
        let mut files = control::read(&mut contents(file, control, "control.tar", CONTROL_LIMIT)?)?;
        let control = files.remove("control").ok_or(Problem::Missing("control file"))?;
        let control = Paragraph::parse(control).map_err(Problem::Control)?;
        for field in ["Package", "Version", "Architecture"] {
            let value = control.get(field).ok_or(Problem::Control(Malformed::Missing(field)))?;
            if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '/') {
                return Err(Problem::Control(Malformed::value(field, value, "one word without slash")));
            }
        }
        Ok(Self { path: path.to_owned(), control, files, data })
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        self.control.get("Package").unwrap_or_default()
    }

    /// The package's version.
    pub fn version(&self) -> &str {
        self.control.get("Version").unwrap_or_default()
    }

    /// The package's architecture.
    pub fn architecture(&self) -> &str {
        self.control.get("Architecture").unwrap_or_default()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes its content has, compressed.
    pub fn compressed_size(&self) -> u64 {
        self.data.size
    }

    /// Gives each member of the content to `visit`, in the archive's order, with a reader of its bytes. All that is
    /// read of the archive is checked; a mistake after some members were visited is still an error.
    pub fn unpack<E: From<Error>>(
        &self,
        mut visit: impl FnMut(&Entry, &mut dyn Read) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let open = || contents(disk::open(&self.path)?, &self.data, "data.tar", DATA_LIMIT);
        let mut contents = named(&self.path, open())?;
        data::walk(&mut contents, |entry, reader| visit(entry, reader))
            .map_err(|error| error.or(|problem| Error { path: self.path.clone(), problem }.into()))
    }
}

/// The one member whose name begins so.
fn member<'a>(members: &'a [ar::Member], name: &'static str) -> Result<&'a ar::Member> {
    let mut found = members.iter().filter(|member| member.name.starts_with(name));
    let first = found.next().ok_or(Problem::Missing(name))?;
    if found.next().is_some() { Err(Problem::Duplicate(name.to_owned())) } else { Ok(first) }
}

/// The uncompressed bytes of a member, bounded.
fn contents(mut file: File, member: &ar::Member, part: &'static str, limit: u64) -> Result<Limited<Box<dyn Read>>> {
    let damaged = |source| Problem::Damaged { part, source };
    file.seek(SeekFrom::Start(member.offset)).map_err(damaged)?;
    let packed = io::BufReader::with_capacity(64 << 10, file.take(member.size));
    let reader: Box<dyn Read> = match member.name.strip_prefix(part) {
        Some("") => Box::new(packed),
        Some(".gz") => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Some(".xz") => {
            use liblzma::stream::{CONCATENATED, Stream};
            let stream = Stream::new_stream_decoder(256 << 20, CONCATENATED);
            let stream = stream.map_err(|error| damaged(io::Error::other(error)))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        Some(".zst") => Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?),
        _ => return Err(Problem::Unsupported(member.name.clone())),
    };
    Ok(Limited::new(reader, part, member.size, limit))
}

#[cfg(test)]
mod tests;
