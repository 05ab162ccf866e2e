//! All packages of all indices, found by name. Only what is needed to find a package is read at first; the
//! rest of a stanza when the solver reaches it.

use std::cell::OnceCell;
use std::ops::Range;

use debversion::Version;

use super::deb822::{Malformed, Stanza, fields, stanzas};
use super::relation::{entries, relation, version};

/// The text of one index.
#[derive(Debug)]
pub struct Index {
    /// Which archive it is of; smaller ones are preferred for the same version.
    pub archive: usize,
    /// The stanzas.
    pub text: String,
}

/// One version of one package.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Package name.
    pub name: &'a str,
    /// Version as written.
    pub version: &'a str,
    /// Number of its index, as given to [`Universe::new`].
    pub index: usize,
    /// The whole stanza.
    pub stanza: &'a str,
    /// Whether every system needs it.
    pub essential: bool,
    provides: &'a str,
    parsed: OnceCell<Version>,
}

impl Candidate<'_> {
    /// What it provides under `name`: for each entry the version, or none.
    fn provided<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Result<Option<Version>, Malformed>> + 's {
        entries(self.provides).map(relation).filter_map(move |entry| match entry {
            Ok(entry) => (entry.name == name).then_some(Ok(entry.bound.map(|(_, version)| version))),
            Err(e) => Some(Err(e)),
        })
    }
}

/// A candidate that provides a name, and the version of it that it provides.
pub type Provided = (usize, Option<Version>);

/// Packages by name and by what they provide.
#[derive(Debug)]
pub struct Universe<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Real names, sorted, with their candidates.
    names: Vec<(&'a str, Range<usize>)>,
    /// Provided names with a candidate each, sorted.
    provided: Vec<(&'a str, usize)>,
}

impl<'a> Universe<'a> {
    /// Reads what is needed to find packages. A package that also stands in an index of `exclusive` is taken
    /// from there only. The error names the index.
    pub fn new(indices: &'a [Index], exclusive: usize) -> Result<Self, (usize, Malformed)> {
        let mut candidates = Vec::new();
        for (number, index) in indices.iter().enumerate() {
            for stanza in stanzas(&index.text) {
                candidates.extend(candidate(stanza, number).map_err(|e| (number, e))?);
            }
        }
        let is_exclusive = |c: &Candidate| indices[c.index].archive == exclusive;
        candidates.sort_by(|a, b| (a.name, !is_exclusive(a)).cmp(&(b.name, !is_exclusive(b))));
        let mut kept: Vec<Candidate> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let shadows = |last: &Candidate| last.name == candidate.name && is_exclusive(last);
            if is_exclusive(&candidate) || !kept.last().is_some_and(shadows) {
                kept.push(candidate);
            }
        }
        let mut universe = Self { names: Vec::new(), provided: Vec::new(), candidates: kept };
        universe.index_names();
        Ok(universe)
    }

    fn index_names(&mut self) {
        for (at, candidate) in self.candidates.iter().enumerate() {
            match self.names.last_mut() {
                Some((name, range)) if *name == candidate.name => range.end = at + 1,
                _ => self.names.push((candidate.name, at..at + 1)),
            }
            for entry in entries(candidate.provides) {
                let end = entry.find([' ', '(', ':', '\t', '\n']).unwrap_or(entry.len());
                self.provided.push((&entry[..end], at));
            }
        }
        self.provided.sort_unstable();
        self.provided.dedup();
    }

    /// The candidate with a number.
    pub fn candidate(&self, number: usize) -> &Candidate<'a> {
        &self.candidates[number]
    }

    /// How many names there are.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// The number of a real name.
    pub fn name(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|(other, _)| (*other).cmp(name)).ok()
    }

    /// A name and the numbers of its candidates; nothing beyond the last name.
    pub fn named(&self, number: usize) -> (&'a str, Range<usize>) {
        self.names.get(number).cloned().unwrap_or(("", 0..0))
    }

    /// All real names.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.names.iter().map(|(name, _)| *name)
    }

    /// The names of which some candidate is essential.
    pub fn essential(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.names.len()).filter(|n| self.candidates[self.names[*n].1.clone()].iter().any(|c| c.essential))
    }

    /// The version of a candidate.
    pub fn version(&self, number: usize) -> Result<&Version, Malformed> {
        let candidate = &self.candidates[number];
        if let Some(version) = candidate.parsed.get() {
            return Ok(version);
        }
        let parsed = version(candidate.version)?;
        Ok(candidate.parsed.get_or_init(|| parsed))
    }

    /// The candidates that provide `name`, each with one of the versions it provides.
    pub fn providers(&self, name: &str) -> Result<Vec<Provided>, (usize, Malformed)> {
        let start = self.provided.partition_point(|(other, _)| *other < name);
        let mut found = Vec::new();
        for (_, number) in self.provided[start..].iter().take_while(|(other, _)| *other == name) {
            for version in self.candidates[*number].provided(name) {
                found.push((*number, version.map_err(|e| (*number, e))?));
            }
        }
        Ok(found)
    }

    /// All fields of a candidate.
    pub fn stanza(&self, number: usize) -> Result<Stanza<'a>, Malformed> {
        Stanza::parse(self.candidates[number].stanza)
    }
}

/// Reads the few fields by which packages are found; none for another architecture's package.
fn candidate(stanza: &str, index: usize) -> Result<Option<Candidate<'_>>, Malformed> {
    let (mut name, mut version, mut architecture, mut provides, mut essential) = (None, None, None, None, None);
    for field in fields(stanza) {
        let (key, value) = field?;
        let slot = match key.as_bytes().first().map(u8::to_ascii_lowercase) {
            Some(b'p') if key.eq_ignore_ascii_case("Package") => &mut name,
            Some(b'p') if key.eq_ignore_ascii_case("Provides") => &mut provides,
            Some(b'v') if key.eq_ignore_ascii_case("Version") => &mut version,
            Some(b'a') if key.eq_ignore_ascii_case("Architecture") => &mut architecture,
            Some(b'e') if key.eq_ignore_ascii_case("Essential") => &mut essential,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(Malformed::Duplicate(key.chars().take(60).collect()));
        }
    }
    let name = name.ok_or(Malformed::Missing("Package"))?;
    let version = version.ok_or(Malformed::Missing("Version"))?;
    let architecture = architecture.ok_or(Malformed::Missing("Architecture"))?;
    Ok((architecture == super::ARCHITECTURE || architecture == "all").then(|| Candidate {
        name,
        version,
        index,
        stanza,
        essential: essential == Some("yes"),
        provides: provides.unwrap_or(""),
        parsed: OnceCell::new(),
    }))
}
