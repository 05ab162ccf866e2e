//! The control part of a package: its files, and the paragraph that describes it (deb-control(5)).

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

/// Fields in their order, with values as they were written, continuation lines included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Reads one paragraph; the error is one sentence.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        if text.contains('\0') {
            return Err("it contains NUL".into());
        }
        let mut paragraph = Self::default();
        for (number, line) in text.trim_end_matches('\n').split('\n').enumerate() {
            let place = |what: &str| format!("line {}: {what}", number + 1);
            if line.starts_with([' ', '\t']) {
                let (_, value) = paragraph.fields.last_mut().ok_or_else(|| place("it continues nothing"))?;
                value.push('\n');
                value.push_str(line);
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| place("there is no colon"))?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) || name.starts_with(['#', '-']) {
                return Err(place("this is not the name of a field"));
            }
            if paragraph.get(name).is_some() {
                return Err(place(&format!("{name} is there twice")));
            }
            paragraph.fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(paragraph)
    }

    /// The value of a field, whose name has any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
