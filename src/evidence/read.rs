//! Reads bundles, whoever made them.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::digest::Digest;

use super::pack::archive;
use super::{Error, FORMAT, INDEX, Index, LONGEST, MEMBERS, SIGNATURE, UNPACKED, VerifyingKey, is_member};

/// The largest window that is decoded, as a power of two: the encoder's level needs less.
const WINDOW: u32 = 26;

/// A bundle that was read and whose signature and digests fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What it is about.
    pub index: Index,
    /// All other members, by name.
    pub members: BTreeMap<String, Vec<u8>>,
}

/// Reads a bundle that must be signed by `key`. Bytes that nothing signs are refused wherever they stand in the archive.
pub fn read(bytes: &[u8], key: &VerifyingKey) -> Result<Bundle, Error> {
    if bytes.len() as u64 > LONGEST {
        return Err(Error::TooLarge("the file", LONGEST));
    }
    let unpacked = unpack(bytes)?;
    let mut members = members(&unpacked)?.into_iter();
    let mut next = |wanted: &str| match members.next() {
        Some((name, bytes)) if name == wanted => Ok(bytes),
        _ => Err(Error::NotABundle(format!("{wanted} is not where it should be"))),
    };
    let (text, signature) = (next(INDEX)?, next(SIGNATURE)?);
    // Before the signature is known to fit, nothing else of it is looked at.
    key.verify(text, signature)?;
    let index: Index = serde_json::from_slice(text)
        .map_err(|error| Error::NotABundle(format!("{INDEX} has another form: {error}")))?;
    if index.format != FORMAT {
        return Err(Error::NotABundle(format!("its form is {:?}, not {FORMAT:?}", index.format)));
    }
    let mut found = BTreeMap::new();
    for member in &index.members {
        let changed = |what| Error::Changed { name: member.name.clone(), what };
        let (name, bytes) = members.next().ok_or_else(|| changed("it is not there"))?;
        if name != member.name || !is_member(name) {
            return Err(changed("something else stands in its place"));
        }
        if bytes.len() as u64 != member.size || Digest::of(bytes) != member.sha256 {
            return Err(changed("it has not the digest that was signed"));
        }
        found.insert(name.to_owned(), bytes.to_vec());
    }
    if let Some((name, _)) = members.next() {
        return Err(Error::Changed { name: name.to_owned(), what: "the index does not name it" });
    }
    let head = [(INDEX, text), (SIGNATURE, signature)];
    let all = head.into_iter().chain(
        index.members.iter().filter_map(|member| Some((member.name.as_str(), found.get(&member.name)?.as_slice()))),
    );
    // There is one archive of these members: modes, times and what fills the gaps are not for others to use.
    if archive(all).map_err(Error::Pack)? != unpacked {
        return Err(Error::NotABundle("the archive has bytes that nothing signs".to_owned()));
    }
    Ok(Bundle { index, members: found })
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let broken = |error: std::io::Error| Error::NotABundle(format!("zstd: {error}"));
    let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(broken)?.single_frame();
    decoder.window_log_max(WINDOW).map_err(broken)?;
    let mut unpacked = Vec::new();
    (&mut decoder).take(UNPACKED + 1).read_to_end(&mut unpacked).map_err(broken)?;
    if unpacked.len() as u64 > UNPACKED {
        return Err(Error::TooLarge("what it unpacks to", UNPACKED));
    }
    if !decoder.finish().is_empty() {
        return Err(Error::NotABundle("something follows its end".to_owned()));
    }
    Ok(unpacked)
}

/// Names and bytes of all members, which must be plain files.
fn members(archive: &[u8]) -> Result<Vec<(&str, &[u8])>, Error> {
    let broken = |what: &str| Error::NotABundle(format!("tar: {what}"));
    let mut members = Vec::new();
    let mut rest = archive;
    loop {
        let (head, after) = rest.split_at_checked(512).ok_or_else(|| broken("it ends early"))?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(members);
        }
        if members.len() > MEMBERS + 2 {
            return Err(Error::TooLarge("the number of members", MEMBERS as u64));
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(head);
        if header.entry_type() != tar::EntryType::Regular {
            return Err(broken("a member is no plain file"));
        }
        let name = head.iter().take(100).position(|byte| *byte == 0).and_then(|end| head.get(..end));
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(|| broken("a name is no text"))?;
        let size = header.entry_size().map_err(|error| broken(&error.to_string()))?;
        let size = usize::try_from(size).map_err(|_| broken("a member is too long"))?;
        let (bytes, after) = after.split_at_checked(size).ok_or_else(|| broken("it ends early"))?;
        let padding = size.next_multiple_of(512) - size;
        members.push((name, bytes));
        rest = after.get(padding..).ok_or_else(|| broken("it ends early"))?;
    }
}
