//! Searching much at once: in parallel, and with no more memory than a part for each worker.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::disk::File;

use super::encode::Encoding;
use super::patterns::{Patterns, What};

/// How much of a file is searched in one go, in bytes.
const PART: u64 = 1 << 20;

/// Something to be searched.
#[derive(Debug, Clone)]
pub struct Content {
    /// What it is: a path in the image, or a word for a part of it.
    pub name: String,
    /// The option that put it there, where one did.
    pub option: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Where bytes are.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// A part of a file.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        size: u64,
    },
    /// Memory.
    Memory(Vec<u8>),
}

/// What was found in one place. Never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The [`Content::name`].
    pub place: String,
    /// The first byte.
    pub offset: u64,
    /// What is there, in words.
    pub what: String,
    /// The name of the secret, if it is one of those that were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How that secret is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The option that put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
}

/// The end of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes that were searched.
    pub bytes: u64,
    /// In the order of the contents; of each kind only the first in each content.
    pub findings: Vec<Finding>,
}

impl Bytes {
    /// Their number.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }
}

/// Searches everything with `workers` threads.
///
/// # Errors
/// What reading a file, or starting a thread, said.
pub fn search(patterns: &Patterns, contents: &[Content], workers: usize) -> io::Result<Found> {
    let bytes = contents.iter().map(|content| content.bytes.size()).sum();
    let parts = contents.iter().enumerate().flat_map(|(number, content)| {
        let size = content.bytes.size();
        (0..size).step_by(PART as usize).map(move |start| (number, start, PART.min(size - start)))
    });
    let parts: Vec<(usize, u64, u64)> = parts.collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers.max(1)).build().map_err(io::Error::other)?;
    let found: Vec<Vec<(usize, What, u64)>> = pool.install(|| {
        let each = parts.par_iter().map_init(Vec::new, |buffer, &(number, start, length)| {
            let content = contents.get(number).ok_or(io::ErrorKind::NotFound)?;
            part(patterns, &content.bytes, start, length, buffer)
                .map(|found| found.into_iter().map(|(what, at)| (number, what, at)).collect())
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", content.name)))
        });
        each.collect::<io::Result<_>>()
    })?;
    let mut first: BTreeMap<(usize, What), u64> = BTreeMap::new();
    for (number, what, at) in found.into_iter().flatten() {
        first.entry((number, what)).and_modify(|first| *first = at.min(*first)).or_insert(at);
    }
    let finding = |((number, what), offset): ((usize, What), u64)| {
        let content = contents.get(number)?;
        let (place, option) = (content.name.clone(), content.option.clone());
        let (secret, encoding) = match &what {
            What::Secret(name, encoding) => (Some(name.clone()), Some(*encoding)),
            _ => (None, None),
        };
        Some(Finding { place, offset, what: what.to_string(), secret, encoding, option })
    };
    Ok(Found { bytes, findings: first.into_iter().filter_map(finding).collect() })
}

/// What begins in one part, by kind, each with its first place.
fn part(
    patterns: &Patterns,
    bytes: &Bytes,
    start: u64,
    length: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<BTreeMap<What, u64>> {
    let own = length as usize;
    let wanted = (length + patterns.overlap() as u64).min(bytes.size() - start);
    let text = match bytes {
        Bytes::Memory(bytes) => {
            let start = start as usize;
            bytes.get(start..start + wanted as usize).unwrap_or_default()
        }
        Bytes::File { file, offset, .. } => {
            buffer.resize(wanted as usize, 0);
            file.read_exact_at(buffer, offset + start)?;
            buffer.as_slice()
        }
    };
    let mut found = BTreeMap::new();
    patterns.search(text, own, &mut |at, what| {
        let at = start + at as u64;
        found.entry(what).and_modify(|first| *first = at.min(*first)).or_insert(at);
    });
    Ok(found)
}
