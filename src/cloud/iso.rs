//! ISO 9660 images with POSIX names (ECMA-119; Rock Ridge Interchange Protocol 1.12, of which only names are used): the
//! media on which clouds hand over configuration. Equal files give equal bytes: dates are absent.

use std::collections::{BTreeMap, BTreeSet};

/// Size of a logical block, in bytes.
pub const BLOCK: usize = 2048;
/// Blocks before the descriptors, which are the system's (ECMA-119, 6.2.1).
const SYSTEM: usize = 16;
/// The primary descriptor, the terminator, and both path tables.
const PRIMARY: usize = SYSTEM;
const TERMINATOR: usize = SYSTEM + 1;
const LITTLE_TABLE: usize = SYSTEM + 2;
const BIG_TABLE: usize = SYSTEM + 3;
const FIRST: usize = SYSTEM + 4;
/// Directory record without a name, up to its length.
const RECORD: usize = 33;
/// Longest name of one part of a path: its record with both forms of it stays below 255 bytes.
const NAME: usize = 64;
/// Largest sum of all files, in bytes: what clouds hand over has kilobytes.
const LARGEST: usize = 64 << 20;
/// Deepest directory (ECMA-119, 6.8.2.1).
const DEEPEST: usize = 8;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A label that no volume takes.
    #[error("{0:?} is no label of a volume: use 1 to 32 of A-Z, a-z, 0-9, _ and -")]
    Label(String),
    /// A path that is none.
    #[error(
        "{0:?} is no path for a medium: use names of at most {NAME} of A-Z, a-z, 0-9, ., _ and - between slashes, {DEEPEST} deep"
    )]
    Path(String),
    /// A file stands where a directory must be, or twice.
    #[error("{0:?} is on the medium twice")]
    Twice(String),
    /// The files are too large.
    #[error("the files of the medium have more than {} MiB", LARGEST >> 20)]
    Large,
}

/// A directory in the making, or a file.
struct Node<'a> {
    /// Parts of the path; none for the root.
    path: Vec<&'a str>,
    content: Option<&'a [u8]>,
}

/// An image with the volume's `label` and `files`, each a path without a leading slash and its bytes. Directories are made
/// as needed.
///
/// # Errors
/// A label or path that cannot be, or too much.
pub fn image(label: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>, Error> {
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    if label.is_empty() || label.len() > 32 || !plain(label, "_-") {
        return Err(Error::Label(label.into()));
    }
    if files.iter().map(|(_, content)| content.len()).sum::<usize>() > LARGEST {
        return Err(Error::Large);
    }
    let mut nodes = BTreeMap::from([(Vec::new(), None)]);
    for (path, content) in files {
        let parts: Vec<&str> = path.split('/').collect();
        let good =
            |part: &&str| !part.is_empty() && part.len() <= NAME && plain(part, "._-") && !matches!(*part, "." | "..");
        if parts.len() >= DEEPEST || !parts.iter().all(good) {
            return Err(Error::Path((*path).into()));
        }
        for depth in 1..parts.len() {
            let above = parts.iter().take(depth).copied().collect();
            if nodes.entry(above).or_insert(None).is_some() {
                return Err(Error::Twice((*path).into()));
            }
        }
        if nodes.insert(parts, Some(*content)).is_some() {
            return Err(Error::Twice((*path).into()));
        }
    }
    let nodes: Vec<Node<'_>> = nodes.into_iter().map(|(path, content)| Node { path, content }).collect();
    Volume::lay(&nodes).write(label)
}

/// Nodes with their places.
struct Volume<'a> {
    nodes: &'a [Node<'a>],
    /// Directories in the order of path tables: by depth, then by the number of the one above, then by name. A
    /// directory's number is its place here and one (ECMA-119, 6.9.1).
    directories: Vec<usize>,
    /// Entries of each directory by its node, in the order of their names in the records.
    entries: BTreeMap<usize, Vec<usize>>,
    /// The names in the records, by node.
    names: Vec<String>,
    /// First block and length in bytes, by node.
    places: Vec<(usize, usize)>,
    /// Blocks in all.
    blocks: usize,
}

impl<'a> Volume<'a> {
    fn lay(nodes: &'a [Node<'a>]) -> Self {
        let number: BTreeMap<&[&str], usize> =
            nodes.iter().enumerate().map(|(at, node)| (node.path.as_slice(), at)).collect();
        let mut entries: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if node.content.is_none() {
                entries.entry(at).or_default();
            }
            if let Some((_, above)) = node.path.split_last()
                && let Some(above) = number.get(above)
            {
                entries.entry(*above).or_default().push(at);
            }
        }
        let mut names = vec![String::new(); nodes.len()];
        for list in entries.values_mut() {
            let mut taken = BTreeSet::new();
            for at in list.iter() {
                if let (Some(node), Some(name)) = (nodes.get(*at), names.get_mut(*at)) {
                    *name = short(node, &mut taken);
                }
            }
            list.sort_by(|one, other| names.get(*one).cmp(&names.get(*other)));
        }
        let mut directories = vec![0];
        let mut next = 0;
        while let Some(at) = directories.get(next) {
            let below = entries.get(at).into_iter().flatten();
            let below: Vec<usize> =
                below.copied().filter(|at| nodes.get(*at).is_some_and(|node| node.content.is_none())).collect();
            directories.extend(below);
            next += 1;
        }
        let mut volume = Self { nodes, directories, entries, names, places: vec![(0, 0); nodes.len()], blocks: FIRST };
        for at in volume.directories.clone() {
            let length = volume.records(at).len();
            volume.place(at, length);
        }
        for (at, node) in nodes.iter().enumerate() {
            if let Some(content) = node.content {
                volume.place(at, content.len());
            }
        }
        volume
    }

    fn place(&mut self, at: usize, length: usize) {
        if let Some(place) = self.places.get_mut(at) {
            *place = (self.blocks, length);
            self.blocks += length.div_ceil(BLOCK);
        }
    }

    fn at(&self, node: usize) -> (usize, usize) {
        self.places.get(node).copied().unwrap_or_default()
    }

    /// The node of the directory above; the root's is its own.
    fn above(&self, node: usize) -> usize {
        let holds = |(directory, list): (&usize, &Vec<usize>)| list.contains(&node).then_some(*directory);
        self.entries.iter().find_map(holds).unwrap_or(0)
    }

    /// The extent of a directory: whole blocks, and no record across two.
    fn records(&self, directory: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        // The first record of the root says that names follow (SUSP 1.12, 5.3).
        let sign: &[u8] = if directory == 0 { &[b'S', b'P', 7, 1, 0xbe, 0xef, 0] } else { &[] };
        let mut list =
            vec![record(&[0], self.at(directory), true, sign), record(&[1], self.at(self.above(directory)), true, &[])];
        for at in self.entries.get(&directory).into_iter().flatten() {
            let (Some(node), Some(short)) = (self.nodes.get(*at), self.names.get(*at)) else { continue };
            let name = node.path.last().copied().unwrap_or_default();
            let mut names = vec![b'N', b'M', (5 + name.len()) as u8, 1, 0];
            names.extend(name.as_bytes());
            list.push(record(short.as_bytes(), self.at(*at), node.content.is_none(), &names));
        }
        for record in list {
            if bytes.len() % BLOCK + record.len() > BLOCK {
                pad(&mut bytes);
            }
            bytes.extend(record);
        }
        pad(&mut bytes);
        bytes
    }

    /// One path table (ECMA-119, 9.4).
    fn table(&self, big: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in &self.directories {
            let name = if *at == 0 { "\0" } else { self.names.get(*at).map_or("", String::as_str) };
            let above = self.above(*at);
            let above = self.directories.iter().position(|other| *other == above).unwrap_or(0) + 1;
            let block = self.at(*at).0 as u32;
            bytes.extend([name.len() as u8, 0]);
            match big {
                true => bytes.extend(block.to_be_bytes().into_iter().chain((above as u16).to_be_bytes())),
                false => bytes.extend(block.to_le_bytes().into_iter().chain((above as u16).to_le_bytes())),
            }
            bytes.extend(name.as_bytes());
            if name.len() % 2 == 1 {
                bytes.push(0);
            }
        }
        bytes
    }

    fn write(&self, label: &str) -> Result<Vec<u8>, Error> {
        let tables = [(LITTLE_TABLE, self.table(false)), (BIG_TABLE, self.table(true))];
        let length = tables[0].1.len();
        if length > BLOCK {
            return Err(Error::Large);
        }
        let mut image = vec![0; self.blocks * BLOCK];
        put(
            &mut image,
            PRIMARY,
            &primary(label, self.blocks as u32, length as u32, &record(&[0], self.at(0), true, &[])),
        );
        put(&mut image, TERMINATOR, b"\xffCD001\x01");
        tables.iter().for_each(|(block, bytes)| put(&mut image, *block, bytes));
        for at in &self.directories {
            put(&mut image, self.at(*at).0, &self.records(*at));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(content) = node.content {
                put(&mut image, self.at(at).0, content);
            }
        }
        Ok(image)
    }
}

fn put(image: &mut [u8], block: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(block * BLOCK..block * BLOCK + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// A name of level 1 that no other entry has: readers that know no Rock Ridge see it (ECMA-119, 7.5 and 10.1).
fn short(node: &Node<'_>, taken: &mut BTreeSet<String>) -> String {
    let name = node.path.last().copied().unwrap_or_default().to_ascii_uppercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let d = |text: &str, most: usize| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(most).collect()
    };
    let form = |stem: &str| match node.content {
        Some(_) => format!("{stem}.{};1", d(extension, 3)),
        None => stem.to_owned(),
    };
    let plain = form(&d(stem, 8));
    let numbered = (0u32..).map(|number| form(&format!("{}{number:04}", d(stem, 4))));
    let free = std::iter::once(plain).chain(numbered).find(|name| taken.insert(name.clone()));
    free.unwrap_or_default()
}

/// Both byte orders after each other (ECMA-119, 7.2.3 and 7.3.3).
fn both32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// A directory record (ECMA-119, 9.1) with what stands in its system use part.
fn record(name: &[u8], (block, length): (usize, usize), directory: bool, more: &[u8]) -> Vec<u8> {
    let named = RECORD + name.len() + (name.len() + 1) % 2;
    let whole = (named + more.len()).next_multiple_of(2);
    let mut bytes = vec![whole as u8, 0];
    bytes.extend(both32(block as u32));
    bytes.extend(both32(length as u32));
    bytes.extend([0; 7]);
    bytes.extend([if directory { 2 } else { 0 }, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(name.len() as u8);
    bytes.extend(name);
    bytes.resize(named, 0);
    bytes.extend(more);
    bytes.resize(whole, 0);
    bytes
}

/// The primary volume descriptor (ECMA-119, 8.4).
fn primary(label: &str, blocks: u32, table: u32, root: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x01CD001\x01\0".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str, length: usize| {
        let end = bytes.len() + length;
        bytes.extend(text.as_bytes());
        bytes.resize(end, b' ');
    };
    text(&mut bytes, "", 32);
    text(&mut bytes, label, 32);
    bytes.extend([0; 8]);
    bytes.extend(both32(blocks));
    bytes.extend([0; 32]);
    bytes.extend([both16(1), both16(1), both16(BLOCK as u16)].concat());
    bytes.extend(both32(table));
    bytes.extend((LITTLE_TABLE as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((BIG_TABLE as u32).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(root);
    text(&mut bytes, "", 4 * 128 + 3 * 37);
    // No date: the digits are zeros and the offset is zero (8.4.26.1).
    for _ in 0..4 {
        bytes.extend(*b"0000000000000000\0");
    }
    bytes.extend([1, 0]);
    bytes
}

#[cfg(test)]
mod tests;
