//! The lock file's form: YAML written for review, and read as a hostile text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use super::archive::{ArchiveRef, Base, is_safe_name, is_safe_path};
use super::lock::{Lock, LockedArchive, LockedPackage, Place};
use super::lock_yaml::{Node, Value, read};
use crate::name::PackageName;
use crate::origin::{Diagnostic, Origin, Source};

/// The form that this code writes; it reads no other.
const FORMAT: &str = "1";

const HEADER: &str = "# Made by `rave lock`. Review its changes; make them with `rave lock` only.\n";

/// The text of a lock file.
pub fn write(lock: &Lock) -> String {
    // Writing to a String cannot fail.
    let mut out = String::from(HEADER);
    let _ = write!(out, "format: {FORMAT}\nrecommends: {}\nrequested:{}", lock.recommends, list(&lock.requested));
    out.push_str(if lock.archives.is_empty() { "archives: []\n" } else { "archives:\n" });
    for archive in &lock.archives {
        out.push_str(&archive_text(archive));
    }
    out.push_str(if lock.packages.is_empty() { "packages: []\n" } else { "packages:\n" });
    for package in &lock.packages {
        let place = match &package.place {
            Place::Archive { archive, path } => format!("archive: {}, path: {}", quoted(archive), quoted(path)),
            Place::File(path) => format!("file: {}", quoted(path)),
        };
        let needed = lock.needed_by.get(&package.name).map(|by| format!(", needed-by: {}", quoted(by.as_str())));
        let _ = writeln!(
            out,
            "- {{name: {}, version: {}, architecture: {}, size: {}, sha256: {}, {place}{}}}",
            quoted(package.name.as_str()),
            serde_json::Value::from(package.version.as_str()),
            package.architecture,
            package.size,
            package.sha256,
            needed.unwrap_or_default(),
        );
    }
    out
}

fn archive_text(archive: &LockedArchive) -> String {
    let base = match &archive.archive.base {
        Base::Debian => "debian",
        Base::DebianSecurity => "debian-security",
        Base::Extra(url) => url,
    };
    let components: Vec<_> = archive.components.iter().map(|c| quoted(c)).collect();
    let key = archive.key.map(|key| format!("  key: {key}\n")).unwrap_or_default();
    format!(
        "- name: {}\n  base: {}\n  suite: {}\n  components: [{}]\n  date: {}\n  inrelease: {}\n{key}  signed-by:{}",
        quoted(&archive.archive.name),
        quoted(base),
        quoted(&archive.suite),
        components.join(", "),
        quoted(&archive.date.to_string()),
        archive.inrelease,
        list(&archive.signed_by),
    )
}

/// A block sequence of words, one a line.
fn list<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let lines: String = words.into_iter().map(|word| format!("  - {}\n", quoted(word.as_ref()))).collect();
    if lines.is_empty() { " []\n".to_owned() } else { format!("\n{lines}") }
}

/// A word as it is, or in JSON's quotes, which are YAML's too, where YAML could take it for anything else.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~/".contains(c);
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(plain);
    let is_special =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&&*word.to_ascii_lowercase());
    if is_word && !is_special { word.to_owned() } else { serde_json::Value::from(word).to_string() }
}

/// Reads a lock file; every fault is told with its line.
pub fn parse(source: &Arc<Source>) -> Result<Lock, Vec<Diagnostic>> {
    let document = read(source).map_err(|fault| vec![*fault])?;
    let mut reader = Reader { faults: Vec::new() };
    let lock = reader.lock(&document);
    match lock {
        Some(lock) if reader.faults.is_empty() => Ok(lock),
        _ => Err(reader.faults),
    }
}

/// Collects faults, so that all are told at once.
struct Reader {
    faults: Vec<Diagnostic>,
}

impl Reader {
    fn fault<T>(&mut self, origin: &Origin, message: impl Into<String>) -> Option<T> {
        let help = "restore the file from version control, or make it anew with `rave lock`";
        self.faults.push(Diagnostic::error(origin, message).help(help));
        None
    }

    fn lock(&mut self, document: &Node) -> Option<Lock> {
        let fields = self.fields(document, &["format", "recommends", "requested", "archives", "packages"], &[])?;
        let format = self.text(fields["format"])?;
        if format != FORMAT {
            let message = format!("this rave reads lock files of format {FORMAT}, not {format:?}");
            return self.fault(&fields["format"].origin, message);
        }
        let recommends = match self.text(fields["recommends"]) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => self.fault(&fields["recommends"].origin, "this must be true or false"),
            None => None,
        };
        let requested = self.each(fields["requested"], |reader, node| reader.parsed::<PackageName>(node));
        let archives = self.each(fields["archives"], Self::archive)?;
        let names: BTreeSet<&str> = archives.iter().map(|a| a.archive.name.as_str()).collect();
        if names.len() < archives.len() {
            return self.fault(&fields["archives"].origin, "two archives have the same name");
        }
        let packages = self.each(fields["packages"], |reader, node| reader.package(node, &names))?;
        let (packages, needed): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        let needed_by =
            packages.iter().zip(needed).filter_map(|(package, by)| Some((package.name.clone(), by?))).collect();
        Some(Lock {
            archives,
            requested: requested?.into_iter().collect(),
            recommends: recommends?,
            packages: self.sorted(fields["packages"], packages)?,
            needed_by,
        })
    }

    /// Packages must stand in the order of their names, each once: anything else was not written by rave.
    fn sorted(&mut self, node: &Node, packages: Vec<LockedPackage>) -> Option<Vec<LockedPackage>> {
        let Value::List(nodes) = &node.value else { return None };
        for (pair, node) in packages.windows(2).zip(nodes.iter().skip(1)) {
            if pair[0].name >= pair[1].name {
                return self.fault(&node.origin, format!("{} stands twice or out of order", pair[1].name));
            }
        }
        Some(packages)
    }

    fn archive(&mut self, node: &Node) -> Option<LockedArchive> {
        let required = ["name", "base", "suite", "components", "date", "inrelease", "signed-by"];
        let fields = self.fields(node, &required, &["key"])?;
        let name = self.safe(fields["name"], is_safe_name);
        let base = match self.text(fields["base"])? {
            "debian" => Base::Debian,
            "debian-security" => Base::DebianSecurity,
            url if url.starts_with("https://") || url.starts_with("http://") => Base::Extra(url.to_owned()),
            _ => return self.fault(&fields["base"].origin, "this must be debian, debian-security or an HTTP address"),
        };
        let key = fields.get("key").map(|node| self.parsed(node));
        Some(LockedArchive {
            archive: ArchiveRef { name: name?, base },
            suite: self.safe(fields["suite"], is_safe_name)?,
            components: self.each(fields["components"], |reader, node| reader.safe(node, is_safe_name))?,
            date: self.parsed(fields["date"])?,
            inrelease: self.parsed(fields["inrelease"])?,
            signed_by: self.each(fields["signed-by"], |reader, node| reader.safe(node, is_fingerprint))?,
            key: match key {
                Some(key) => Some(key?),
                None => None,
            },
        })
    }

    /// A package, and one that needs it.
    fn package(&mut self, node: &Node, archives: &BTreeSet<&str>) -> Option<(LockedPackage, Option<PackageName>)> {
        let required = ["name", "version", "architecture", "size", "sha256"];
        let fields = self.fields(node, &required, &["archive", "path", "file", "needed-by"])?;
        let name = self.parsed(fields["name"]);
        let version = self.safe(fields["version"], |text| super::relation::version(text).is_ok());
        let architecture = self.safe(fields["architecture"], |text| text == "all" || text == super::ARCHITECTURE);
        let size = self.parsed(fields["size"]);
        let sha256 = self.parsed(fields["sha256"]);
        let needed = match fields.get("needed-by") {
            Some(node) => Some(self.parsed(node)?),
            None => None,
        };
        let place = match (fields.get("archive"), fields.get("path"), fields.get("file")) {
            (Some(archive), Some(path), None) => {
                let archive = self.safe(archive, |text| archives.contains(text));
                let path = self.safe(path, is_safe_path);
                Place::Archive { archive: archive?, path: path? }
            }
            (None, None, Some(file)) => Place::File(self.safe(file, is_safe_file)?),
            _ => return self.fault(&node.origin, "a package has either an archive and a path, or a file"),
        };
        let package = LockedPackage {
            name: name?,
            version: version?,
            architecture: architecture?,
            size: size?,
            sha256: sha256?,
            place,
        };
        Some((package, needed))
    }

    /// The fields of a mapping; all of `required` are there and none besides `optional`.
    fn fields<'n>(
        &mut self,
        node: &'n Node,
        required: &[&str],
        optional: &[&str],
    ) -> Option<BTreeMap<&'n str, &'n Node>> {
        let Value::Map(entries) = &node.value else { return self.fault(&node.origin, "this must be a mapping") };
        let faults = self.faults.len();
        let mut fields = BTreeMap::new();
        for (key, origin, value) in entries {
            if !required.contains(&key.as_str()) && !optional.contains(&key.as_str()) {
                self.fault::<()>(origin, format!("unknown key {key:?}"));
            }
            fields.insert(key.as_str(), value);
        }
        for key in required.iter().filter(|key| !fields.contains_key(**key)) {
            self.fault::<()>(&node.origin, format!("{key} is missing"));
        }
        (self.faults.len() == faults).then_some(fields)
    }

    fn each<T>(&mut self, node: &Node, mut read: impl FnMut(&mut Self, &Node) -> Option<T>) -> Option<Vec<T>> {
        let Value::List(nodes) = &node.value else { return self.fault(&node.origin, "this must be a list") };
        let found: Vec<Option<T>> = nodes.iter().map(|node| read(self, node)).collect();
        found.into_iter().collect()
    }

    fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            _ => self.fault(&node.origin, "this must be a single value"),
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, node: &Node) -> Option<T> {
        let text = self.text(node)?;
        text.parse().map_or_else(|error: T::Err| self.fault(&node.origin, error.to_string()), Some)
    }

    fn safe(&mut self, node: &Node, is_safe: impl Fn(&str) -> bool) -> Option<String> {
        let text = self.text(node)?;
        if is_safe(text) {
            Some(text.to_owned())
        } else {
            self.fault(&node.origin, format!("{text:?} cannot stand here"))
        }
    }
}

fn is_fingerprint(text: &str) -> bool {
    (32..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

/// Whether the path of a local file stays in the image's directory.
pub fn is_safe_file(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts_are_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    path.len() <= 4096 && parts_are_plain && !path.contains(char::is_control)
}

#[cfg(test)]
#[path = "lock_file_tests.rs"]
mod tests;
