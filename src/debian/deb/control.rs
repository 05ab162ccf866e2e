//! The control part of a package: its files, among them the stanza that describes it (deb-control(5)).

use std::collections::BTreeMap;
use std::io::Read;

use super::limit::Limited;
use super::{MEMBERS, Problem, Result};

/// Reads all control files into memory.
pub fn read<R: Read>(reader: &mut Limited<R>) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(&mut *reader);
    let walked = (|| {
        for entry in archive.entries()?.take(MEMBERS) {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            let mut bytes = Vec::new();
            if kind.is_file() {
                entry.read_to_end(&mut bytes)?;
            } else if !kind.is_dir() {
                return Ok(Err(Problem::Name { name, reason: "is neither a file nor a directory" }));
            }
            if kind.is_file()
                && let Err(problem) = keep(&mut files, name, bytes)
            {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(()))
    })();
    match walked {
        Ok(result) => result.map(|()| files),
        Err(error) => Err(reader.problem(error)),
    }
}

fn keep(files: &mut BTreeMap<String, Vec<u8>>, name: String, bytes: Vec<u8>) -> Result<()> {
    let plain = name.strip_prefix("./").unwrap_or(&name);
    let good = plain.starts_with(|c: char| c.is_ascii_alphanumeric())
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !good {
        return Err(Problem::Name { name, reason: "cannot be a control file" });
    }
    match files.insert(plain.to_owned(), bytes) {
        None => Ok(()),
        Some(_) => Err(Problem::Duplicate(format!("the control file {plain}"))),
    }
}
