//! Packages indices: found through a verified Release file, checked before they are unpacked.

use std::io::{self, Read};

use super::archive::{ArchiveRef, Source};
use super::error::Error;
use super::release::Release;
use crate::digest::Digest;

/// The largest index that is fetched, in bytes; Debian's largest has under 20 MB.
const PACKED_LIMIT: u64 = 256 << 20;
/// The largest index that is unpacked, in bytes; Debian's largest has under 100 MB.
const TEXT_LIMIT: u64 = 1 << 30;
/// Memory for unpacking, in bytes; the highest level of xz needs 65 MiB.
const XZ_MEMORY: u64 = 192 << 20;

/// Why an index is not used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The Release file lists none for a component.
    #[error("the suite has no component {0} for {arch}", arch = super::ARCHITECTURE)]
    NotListed(String),
    /// It has another size than the Release file says.
    #[error("it has {found} bytes, the Release file says {wanted}")]
    Size {
        /// Its size.
        found: u64,
        /// The size it should have.
        wanted: u64,
    },
    /// It has another digest than the Release file says.
    #[error("its SHA-256 is {found}, the Release file says {wanted}")]
    Digest {
        /// Its digest.
        found: Digest,
        /// The digest it should have.
        wanted: Digest,
    },
    /// It is larger than any real one.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// It cannot be unpacked.
    #[error("it cannot be unpacked")]
    Unpack(#[source] io::Error),
    /// It is not UTF-8.
    #[error("it is not text")]
    NotText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Xz,
    Gzip,
    None,
}

/// An index as the Release file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path below the suite's directory.
    path: String,
    packing: Packing,
    digest: Digest,
    size: u64,
    /// Size when unpacked, where the Release file tells.
    text_size: Option<u64>,
}

/// The indices of a component that concern this architecture, in their smallest form.
pub fn listed(release: &Release, component: &str) -> Result<Vec<Listed>, IndexError> {
    let own = find(release, component, super::ARCHITECTURE);
    let all = if release.separate_all { find(release, component, "all") } else { None };
    let found: Vec<_> = own.into_iter().chain(all).collect();
    if found.is_empty() { Err(IndexError::NotListed(component.to_owned())) } else { Ok(found) }
}

fn find(release: &Release, component: &str, architecture: &str) -> Option<Listed> {
    let plain = format!("{component}/binary-{architecture}/Packages");
    let text_size = release.file(&plain).map(|(_, size)| size);
    [(".xz", Packing::Xz), (".gz", Packing::Gzip), ("", Packing::None)].into_iter().find_map(|(suffix, packing)| {
        let path = format!("{plain}{suffix}");
        let (digest, size) = release.file(&path)?;
        Some(Listed { path, packing, digest, size, text_size })
    })
}

/// Fetches, checks and unpacks an index.
pub fn read(
    listed: &Listed,
    release: &Release,
    archive: &ArchiveRef,
    suite: &str,
    source: &dyn Source,
) -> Result<String, Error> {
    let fail = |source| Error::Index { archive: archive.name.clone(), path: listed.path.clone(), source };
    if listed.size > PACKED_LIMIT {
        return Err(fail(IndexError::TooLarge(PACKED_LIMIT)));
    }
    let path = match listed.path.rsplit_once('/') {
        Some((directory, _)) if release.by_hash => {
            format!("dists/{suite}/{directory}/by-hash/SHA256/{}", listed.digest)
        }
        _ => format!("dists/{suite}/{}", listed.path),
    };
    let accept = |bytes: &[u8]| check(bytes, listed).map_err(fail);
    let bytes = source.get(archive, &path, listed.size, &accept).map_err(Error::from)?;
    // The source was asked to check, but is not trusted with it.
    accept(&bytes)?;
    unpack(&bytes, listed).map_err(fail)
}

fn check(bytes: &[u8], listed: &Listed) -> Result<(), IndexError> {
    let size = bytes.len() as u64;
    if size != listed.size {
        return Err(IndexError::Size { found: size, wanted: listed.size });
    }
    let digest = Digest::of(bytes);
    if digest == listed.digest { Ok(()) } else { Err(IndexError::Digest { found: digest, wanted: listed.digest }) }
}

fn unpack(bytes: &[u8], listed: &Listed) -> Result<String, IndexError> {
    let limit = listed.text_size.unwrap_or(TEXT_LIMIT).min(TEXT_LIMIT);
    let mut text = Vec::with_capacity(listed.text_size.unwrap_or(0).min(limit) as usize);
    let unpacked = match listed.packing {
        Packing::None => read_bounded(bytes, limit, &mut text),
        Packing::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(bytes), limit, &mut text),
        Packing::Xz => liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
            .map_err(io::Error::from)
            .and_then(|stream| read_bounded(liblzma::read::XzDecoder::new_stream(bytes, stream), limit, &mut text)),
    };
    let size = unpacked.map_err(IndexError::Unpack)?;
    match listed.text_size {
        _ if size > TEXT_LIMIT => Err(IndexError::TooLarge(TEXT_LIMIT)),
        Some(wanted) if size != wanted => Err(IndexError::Size { found: size, wanted }),
        None if size > limit => Err(IndexError::TooLarge(limit)),
        _ => String::from_utf8(text).map_err(|_| IndexError::NotText),
    }
}

/// Reads up to one byte more than `limit`, so that too much can be told from enough.
fn read_bounded(reader: impl Read, limit: u64, text: &mut Vec<u8>) -> io::Result<u64> {
    reader.take(limit.saturating_add(1)).read_to_end(text).map(|n| n as u64)
}
