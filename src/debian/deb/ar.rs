//! The outer archive (ar(5), in the plain form that deb(5) prescribes).

use std::io::{Read, Seek, SeekFrom};

use super::{Problem, Result};

/// A member: where its bytes are.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub offset: u64,
    pub size: u64,
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// A package has three members; a few more may begin with `_`.
const MOST: usize = 16;

/// Lists the members and checks the format's version.
pub fn members(file: &mut (impl Read + Seek)) -> Result<Vec<Member>> {
    let damaged = |source| Problem::Damaged { part: "ar archive", source };
    let end = file.seek(SeekFrom::End(0)).map_err(damaged)?;
    file.rewind().map_err(damaged)?;
    let mut magic = [0; MAGIC.len()];
    if file.read_exact(&mut magic).is_err() || &magic != MAGIC {
        return Err(Problem::Ar("it does not begin with !<arch>"));
    }
    let mut members: Vec<Member> = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < end {
        if end - at < HEADER {
            return Err(Problem::Ar("a header is cut off"));
        }
        let mut header = [0; HEADER as usize];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut header)).map_err(damaged)?;
        let member = parse(&header, at + HEADER)?;
        if member.size > end - member.offset {
            return Err(Problem::Ar("a member is cut off"));
        }
        if members.len() == MOST {
            return Err(Problem::Ar("it has too many members"));
        }
        // Bodies are padded to an even length.
        at = member.offset + member.size + member.size % 2;
        members.push(member);
    }
    check(file, &members)?;
    Ok(members)
}

fn parse(header: &[u8; HEADER as usize], offset: u64) -> Result<Member> {
    let text = std::str::from_utf8(header).map_err(|_| Problem::Ar("a header is not ASCII"))?;
    if !text.is_ascii() || !text.ends_with("`\n") {
        return Err(Problem::Ar("a header does not end as it must"));
    }
    let name = text[..16].trim_end_matches(' ');
    let size = text[48..58].trim_end_matches(' ');
    if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Ar("a size is not a number"));
    }
    let size = size.parse().map_err(|_| Problem::Ar("a size is not a number"))?;
    Ok(Member { name: name.strip_suffix('/').unwrap_or(name).to_owned(), offset, size })
}

/// `debian-binary` must be first and say 2; unknown members may follow if their names begin with `_`.
fn check(file: &mut (impl Read + Seek), members: &[Member]) -> Result<()> {
    let (first, rest) = members.split_first().ok_or(Problem::Missing("debian-binary"))?;
    if first.name != "debian-binary" {
        return Err(Problem::Missing("debian-binary in front"));
    }
    let mut version = String::new();
    let read = file
        .seek(SeekFrom::Start(first.offset))
        .and_then(|_| file.take(first.size.min(64)).read_to_string(&mut version));
    read.map_err(|source| Problem::Damaged { part: "debian-binary", source })?;
    if !version.starts_with("2.") || !version.ends_with('\n') {
        return Err(Problem::Unsupported(format!("format {:?}", version.trim_end())));
    }
    let known = |name: &str| ["control.tar", "data.tar", "_"].iter().any(|start| name.starts_with(start));
    match rest.iter().find(|member| !known(&member.name)) {
        None => Ok(()),
        Some(member) if member.name == "debian-binary" => Err(Problem::Duplicate(member.name.clone())),
        Some(member) => Err(Problem::Unsupported(format!("member {:?}", member.name))),
    }
}
