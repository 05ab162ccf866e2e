//! What is looked for, made ready for looking.
//!
//! A filter sees every fourth group of four bytes: whatever its alignment, a text of seven bytes or more has one of
//! its own groups there. Each text enters four groups into a bitmap that fits into the first-level cache, so nearly
//! all of a file is passed over with one load and one test for four bytes; only what the bitmap knows is compared.

use zeroize::Zeroizing;

use super::encode::{Encoding, forms};
use super::known::{Anchor, HASHES, LOOKAHEAD, anchors, password_hash, postgres};
use super::too_weak;

/// Bits of the filter, as a power of two: 32 KiB.
const BITS: u32 = 18;
/// The same in words.
const WORDS: usize = 1 << (BITS - 6);
/// Bytes of a group.
const GROUP: usize = 4;
/// What is longer is looked for by its beginning, in bytes.
const LONGEST: usize = 4096;
/// Lines of a key that are shorter say too little, in bytes.
const LINE: usize = 32;

/// Secrets and marks of secrets. The texts are overwritten when dropped, and nothing shows them.
pub struct Patterns {
    texts: Zeroizing<Vec<u8>>,
    needles: Vec<Needle>,
    filter: Zeroizing<Vec<u64>>,
    /// Group, needle, and the group's place in its text; sorted.
    groups: Zeroizing<Vec<(u32, u32, u32)>>,
    secrets: Vec<String>,
    hashes: bool,
    longest: usize,
}

struct Needle {
    start: usize,
    length: usize,
    meaning: Meaning,
}

#[derive(Clone, Copy)]
enum Meaning {
    Secret(usize, Encoding),
    Anchor(Anchor),
}

/// What was found. Never the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A secret by name, and how it is written.
    Secret(String, Encoding),
    /// A private key, of what kind.
    Key(String),
    /// A password's hash, of what kind.
    Hash(&'static str),
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(name, encoding) => write!(f, "secret `{name}` in {encoding}"),
            Self::Key(kind) if kind.starts_with("age") => f.write_str("an age identity"),
            Self::Key(kind) => write!(f, "a private key ({kind})"),
            Self::Hash(kind) => write!(f, "a password hash ({kind})"),
        }
    }
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} patterns", self.needles.len())
    }
}

impl Patterns {
    /// Private keys and password hashes of all kinds.
    pub fn known() -> Self {
        let anchors = anchors().map(|(text, anchor)| (Meaning::Anchor(anchor), text));
        Self::of(anchors.collect(), Vec::new(), true)
    }

    /// The values of secrets in all their forms. Values that are [`too_weak`] are left out; who makes secrets
    /// refuses those. A private key in armor is looked for line by line, so that no indentation hides it.
    pub fn secrets<'v>(values: impl IntoIterator<Item = (&'v str, &'v [u8])>) -> Self {
        let (mut secrets, mut texts) = (Vec::new(), Vec::new());
        for (name, value) in values {
            let value = value.trim_ascii_end();
            if too_weak(value).is_some() {
                continue;
            }
            for part in parts(value) {
                let forms = forms(part).into_iter();
                texts.extend(forms.map(|(encoding, text)| (Meaning::Secret(secrets.len(), encoding), text)));
            }
            secrets.push(name.to_owned());
        }
        let texts = texts.iter().map(|(meaning, text)| (*meaning, text.as_slice())).collect();
        Self::of(texts, secrets, false)
    }

    fn of(texts: Vec<(Meaning, &[u8])>, secrets: Vec<String>, hashes: bool) -> Self {
        let short = |text: &[u8]| text.len().min(LONGEST);
        let bytes = texts.iter().map(|(_, text)| short(text)).sum();
        let mut patterns = Self {
            texts: Zeroizing::new(Vec::with_capacity(bytes)),
            needles: Vec::with_capacity(texts.len()),
            filter: Zeroizing::new(vec![0; WORDS]),
            groups: Zeroizing::new(Vec::with_capacity(texts.len() * GROUP)),
            secrets,
            hashes,
            longest: if hashes { LOOKAHEAD } else { 0 },
        };
        for (meaning, text) in texts {
            let text = text.get(..LONGEST).unwrap_or(text);
            let number = u32::try_from(patterns.needles.len()).unwrap_or(u32::MAX);
            for residue in 0..GROUP {
                let Some((at, group)) = rarest(text, residue) else { continue };
                let (word, bit) = place(group);
                if let Some(word) = patterns.filter.get_mut(word) {
                    *word |= bit;
                }
                patterns.groups.push((group, number, at));
            }
            patterns.needles.push(Needle { start: patterns.texts.len(), length: text.len(), meaning });
            patterns.texts.extend_from_slice(text);
            patterns.longest = patterns.longest.max(text.len());
        }
        patterns.groups.sort_unstable();
        patterns
    }

    /// How many texts are looked for; all kinds of password hashes count as one.
    pub fn len(&self) -> usize {
        self.needles.len() + usize::from(self.hashes)
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes behind a part of a file must be at hand when that part is searched.
    pub(super) fn overlap(&self) -> usize {
        self.longest
    }

    /// Searches the first `own` bytes; what begins there may reach into the rest. `found` is told each place, and
    /// what is there.
    pub fn search(&self, bytes: &[u8], own: usize, found: &mut dyn FnMut(usize, What)) {
        let end = (own + self.longest).min(bytes.len());
        self.filtered(bytes.get(..end).unwrap_or(bytes), own, found);
        if self.hashes {
            let begins = bytes.get(..own).unwrap_or(bytes);
            let [a, b, c] = HASHES;
            for at in memchr::memchr3_iter(a, b, c, begins) {
                if let Some(kind) = bytes.get(at..).and_then(password_hash) {
                    found(at, What::Hash(kind));
                }
            }
            // What it begins with may be the last bytes of this part.
            let begins = bytes.get(..own + 2).unwrap_or(bytes);
            for at in memchr::memmem::find_iter(begins, b"md5") {
                let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
                if bytes.get(at..).is_some_and(|here| postgres(here, before)) {
                    found(at, What::Hash("PostgreSQL's MD5"));
                }
            }
        }
    }

    fn filtered(&self, bytes: &[u8], own: usize, found: &mut dyn FnMut(usize, What)) {
        let Some(filter) = self.filter.first_chunk::<WORDS>() else { return };
        let mut compare = |number: usize, group: u32| self.compare(bytes, own, number * GROUP, group, found);
        // Eight groups a turn, and one branch.
        let (turns, rest) = bytes.as_chunks::<32>();
        for (turn, block) in turns.iter().enumerate() {
            let (groups, _) = block.as_chunks::<GROUP>();
            let known = |group: &[u8; GROUP]| {
                let (word, bit) = place(u32::from_le_bytes(*group));
                filter.get(word).map_or(0, |word| word & bit)
            };
            if groups.iter().fold(0, |any, group| any | known(group)) == 0 {
                continue;
            }
            for (number, group) in groups.iter().enumerate().filter(|(_, group)| known(group) != 0) {
                compare(turn * 8 + number, u32::from_le_bytes(*group));
            }
        }
        for (number, group) in rest.as_chunks::<GROUP>().0.iter().enumerate() {
            compare(turns.len() * 8 + number, u32::from_le_bytes(*group));
        }
    }

    /// Compares all texts that have `group` with the bytes around `at`.
    #[cold]
    fn compare(&self, bytes: &[u8], own: usize, at: usize, group: u32, found: &mut dyn FnMut(usize, What)) {
        let first = self.groups.partition_point(|(known, ..)| *known < group);
        let same = self.groups.iter().skip(first).take_while(|(known, ..)| *known == group);
        for &(_, number, place) in same {
            let Some(needle) = self.needles.get(number as usize) else { continue };
            let text = self.texts.get(needle.start..needle.start + needle.length).unwrap_or_default();
            let Some(start) = at.checked_sub(place as usize).filter(|start| *start < own) else { continue };
            let Some(here) = bytes.get(start..).filter(|here| here.starts_with(text)) else { continue };
            let what = match needle.meaning {
                Meaning::Secret(secret, encoding) => {
                    self.secrets.get(secret).map(|name| What::Secret(name.clone(), encoding))
                }
                Meaning::Anchor(anchor) => anchor.confirm(here).map(What::Key),
            };
            if let Some(what) = what {
                found(start, what);
            }
        }
    }
}

/// Where the filter keeps a group (Fibonacci hashing).
fn place(group: u32) -> (usize, u64) {
    let hash = group.wrapping_mul(0x9E37_79B1) >> (32 - BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// Of the groups of a text that begin at a given place modulo four, the one that is least likely in other texts.
fn rarest(text: &[u8], residue: usize) -> Option<(u32, u32)> {
    let groups = text.windows(GROUP).enumerate().skip(residue).step_by(GROUP).take(16);
    let best = groups.max_by_key(|(_, group)| {
        let different = group.iter().collect::<std::collections::BTreeSet<_>>().len();
        let common = group.iter().filter(|byte| matches!(byte, 0 | 0xff | b' ')).count();
        different * 2 - common.min(different)
    });
    let (at, group) = best?;
    Some((u32::try_from(at).ok()?, u32::from_le_bytes(group.try_into().ok()?)))
}

/// The parts that a value is looked for by: itself, or the lines of a key that have the key in them.
fn parts(value: &[u8]) -> Vec<&[u8]> {
    let is_armor = |line: &&[u8]| line.starts_with(b"-----");
    let mut lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    if !lines.next().is_some_and(|line| is_armor(&line)) || !value.windows(11).any(|text| text == b"PRIVATE KEY") {
        return vec![value];
    }
    // All keys of OpenSSH have the first line in common: it names ciphers, and the type.
    let common = usize::from(value.starts_with(b"-----BEGIN OPENSSH"));
    let body = lines.filter(|line| !is_armor(line) && line.len() >= LINE && !line.contains(&b':'));
    let parts: Vec<&[u8]> = body.skip(common).collect();
    if parts.is_empty() { vec![value] } else { parts }
}
