//! Makes bundles.

use std::collections::BTreeMap;
use std::io;

use crate::digest::Digest;

use super::{Error, INDEX, Index, LONGEST, MEMBERS, Member, SIGNATURE, SigningKey, UNPACKED, is_member};

/// Level of zstd: logs shrink to a tenth, and a machine's evidence takes less than a second.
const LEVEL: i32 = 9;

/// A bundle of these members by name, about what `index` says; its list of members is made here. Fails if the reader
/// would refuse it.
pub fn pack(index: Index, members: &BTreeMap<String, Vec<u8>>, key: &SigningKey) -> Result<Vec<u8>, Error> {
    let member = |(name, bytes): (&String, &Vec<u8>)| Member {
        name: name.clone(),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes),
    };
    if let Some(name) = members.keys().find(|name| !is_member(name)) {
        return Err(Error::NotABundle(format!("{name:?} cannot be the name of a member")));
    }
    if members.len() > MEMBERS {
        return Err(Error::TooLarge("the number of members", MEMBERS as u64));
    }
    let index = Index { members: members.iter().map(member).collect(), ..index };
    let mut text = serde_json::to_vec_pretty(&index).map_err(|error| Error::Pack(error.into()))?;
    text.push(b'\n');
    let signature = key.sign(&text)?;
    let head = [(INDEX, text.as_slice()), (SIGNATURE, signature.as_bytes())];
    let all = head.into_iter().chain(members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    let archive = archive(all).map_err(Error::Pack)?;
    if archive.len() as u64 > UNPACKED {
        return Err(Error::TooLarge("what it unpacks to", UNPACKED));
    }
    let packed = compress(&archive).map_err(Error::Pack)?;
    if packed.len() as u64 > LONGEST {
        return Err(Error::TooLarge("the file", LONGEST));
    }
    Ok(packed)
}

/// The one archive of these members in this order.
pub(super) fn archive<'a>(members: impl Iterator<Item = (&'a str, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name)?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append(&header, bytes)?;
    }
    builder.into_inner()
}

pub(super) fn compress(archive: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(archive.len() as u64))?;
    io::Write::write_all(&mut encoder, archive)?;
    encoder.finish()
}
