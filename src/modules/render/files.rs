//! Files, directories and links.

use crate::modules::escape::{FORMATS, Format};
use crate::modules::fields;
use crate::modules::shape::Shape;
use crate::modules::template::{Scope, is_dynamic, locate_in};
use crate::modules::value::Value;
use crate::modules::yaml::{Key, Kind, Node, Style, shorten};
use crate::name::GuestPath;
use crate::origin::{Diagnostic, Origin, Source};
use crate::system::parts;
use crate::tree::{Content, Entry};

use super::{By, Render, formed};

/// What a file may be made of; exactly one is given.
const KINDS: [&str; 6] = ["text", "template", "source", "link", "directory", "absent"];

/// Where files may be: all else is state, or a link of the base system.
const ROOTS: [&str; 4] = ["/etc", "/usr", "/var", "/opt"];

/// Links of a merged /usr.
const MERGED: [&str; 4] = ["/bin", "/sbin", "/lib", "/lib64"];

/// Places that are made anew at every boot, so that a file there would never be seen.
const UNSEEN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// A record of `environment.files` as the node that a module would have written: fields that say nothing left out.
pub(super) fn record(value: &Value, origin: &Origin) -> Node {
    let mut node = value.node(origin);
    if let Kind::Map(entries) = &mut node.kind {
        let says_nothing = |node: &Node| match &node.kind {
            Kind::Scalar { text, .. } => node.is_null() || text.is_empty() || text == "false",
            _ => false,
        };
        let of_another_kind =
            entries.iter().any(|(key, node)| KINDS[1..].contains(&key.text.as_str()) && !says_nothing(node));
        entries.retain(|(key, node)| match key.text.as_str() {
            "text" if of_another_kind => !says_nothing(node),
            "text" => !node.is_null(),
            _ => !says_nothing(node),
        });
    }
    node
}

impl<'a> Render<'a> {
    /// Adds the file that `node`, a record without templates, describes.
    pub(super) fn file(&mut self, key: &Key, node: &Node, by: &By) {
        let Some(path) = self.path(key) else { return };
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some()).collect();
        let [kind] = given[..] else {
            let message = match given.is_empty() {
                true => format!("nothing says what {path} is"),
                false => format!("{path} cannot be {} at once", given.join(" and ")),
            };
            self.errors.push(Diagnostic::error(&key.origin, message).help(format!("give one of {}", KINDS.join(", "))));
            return;
        };
        let Some(value) = node.get(kind) else { return };
        if let Some(format) = node.get("format").filter(|_| !["text", "template"].contains(&kind)) {
            return self.refuse(&format.origin, format!("`format` says nothing of a {kind}: it holds no values"));
        }
        if ["text", "template", "source"].contains(&kind) && !self.is_allowed(&path, &key.origin) {
            return;
        }
        let Some(format) = self.format(path.as_str(), node) else { return };
        let Some(mut entry) = self.content(kind, value, format, by) else { return };
        if let Content::File(bytes) = &entry.content
            && let Some(fault) = formed::fault(bytes, format)
        {
            let error = Diagnostic::error(&value.origin, format!("{path} is not what its format says: {fault}"));
            self.errors.push(error.help("the place is that in the finished file; `format: text` takes it as it is"));
        }
        if let Some(mode) = node.get("mode") {
            let Some(mode) = self.mode(mode) else { return };
            entry.mode = mode;
        }
        let mut name = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), &mut self.errors);
        entry.owner = name("owner").unwrap_or(entry.owner);
        entry.group = name("group").unwrap_or(entry.group);
        self.put(path, entry, &key.origin, by);
    }

    fn path(&mut self, key: &Key) -> Option<GuestPath> {
        match key.text.parse::<GuestPath>() {
            Err(error) => {
                self.refuse(&key.origin, error.to_string());
                None
            }
            Ok(path) => match UNSEEN.into_iter().find(|top| is_within(&path, top)) {
                Some(top) => {
                    let message = format!("{path} would never be seen: {top} is made anew at every boot");
                    self.errors.push(Diagnostic::error(&key.origin, message).help("use tmpfiles.d for such files"));
                    None
                }
                None => Some(path),
            },
        }
    }

    /// Refuses files outside of the folders that hold files.
    fn is_allowed(&mut self, path: &GuestPath, origin: &Origin) -> bool {
        if ROOTS.into_iter().any(|root| is_within(path, root)) {
            return true;
        }
        if ROOTS.contains(&path.as_str()) {
            self.refuse(origin, format!("{path} is a directory: a file cannot take its place"));
            return false;
        }
        let error = Diagnostic::error(origin, format!("{path} is outside of {}", ROOTS.join(", ")));
        self.errors.push(match MERGED.into_iter().find(|top| is_within(path, top)) {
            Some(top) => error.help(format!("{top} is a link: write /usr{path}")),
            None => error.help("what a machine keeps is below /var, what an image brings below /etc and /usr"),
        });
        false
    }

    /// The format that the file names, or that its path tells.
    fn format(&mut self, path: &str, node: &Node) -> Option<Format> {
        let Some(asked) = node.get("format") else { return Some(Format::of(path)) };
        let name = fields::text(asked, "`format`", &mut self.errors)?;
        let found = FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        if found.is_none() {
            let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
            let error = Diagnostic::error(&asked.origin, format!("there is no format `{}`", shorten(&name)));
            self.errors.push(match fields::nearest(&name, names.iter().copied()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("the formats are {}", names.join(", "))),
            });
        }
        found
    }

    /// A file's record without templates; its text is rendered by the rules of its format.
    pub(super) fn written(&mut self, key: &Key, node: &Node, shape: &Shape, scope: &Scope) -> Option<Node> {
        let what = format!("`{}`", key.text);
        let template = node.get("text").filter(|text| is_dynamic(text)).cloned();
        let mut rest = node.clone();
        if let (Some(_), Kind::Map(entries)) = (&template, &mut rest.kind) {
            entries.retain(|(key, _)| key.text != "text");
        }
        let mut node = self.expanded(&rest, shape, &what, scope)?;
        if let (Some(template), Kind::Map(entries)) = (template, &mut node.kind) {
            let Kind::Scalar { text, .. } = &template.kind else { return None };
            let format = self.format(&key.text, &rest)?;
            let text = self.around.render(text, scope, &|range| template.locate(range), Some(format)).ok()?;
            let origin = &template.origin;
            let key = Key { text: "text".to_owned(), origin: origin.clone() };
            entries.push((key, Node::scalar(text, Style::Rendered, origin)));
        }
        Some(node)
    }

    fn content(&mut self, kind: &str, value: &Node, format: Format, by: &By) -> Option<Entry> {
        match kind {
            "text" => Some(Entry::file(fields::text(value, "`text`", &mut self.errors)?, 0o644)),
            "template" => self.template(value, format, by),
            "source" => Some(Entry::file(self.beside(value, by)?.1.to_vec(), 0o644)),
            "link" => {
                let target = fields::text(value, "`link`", &mut self.errors)?;
                if target.is_empty() || target.len() > 4095 || target.contains('\0') {
                    self.refuse(&value.origin, "this cannot be the target of a link");
                    return None;
                }
                Some(Entry::symlink(target))
            }
            _ => {
                if !fields::flag(value, &format!("`{kind}`"), &mut self.errors)? {
                    self.refuse(&value.origin, format!("`{kind}: false` says nothing"));
                    return None;
                }
                Some(if kind == "directory" { Entry::directory(0o755) } else { Entry::absent() })
            }
        }
    }

    fn template(&mut self, value: &Node, format: Format, by: &By) -> Option<Entry> {
        Some(Entry::file(self.rendered(value, format, by)?, 0o644))
    }

    /// The text of a template file, its values written by the rules of `format`.
    pub(super) fn rendered(&mut self, value: &Node, format: Format, by: &By) -> Option<String> {
        let (name, bytes) = self.beside(value, by)?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            let error = Diagnostic::error(&value.origin, format!("{name} is not text"));
            self.errors.push(error.help("use `source` for files that are copied as they are"));
            return None;
        };
        let source = Source::new(name, text);
        self.around.render(text, &by.scope, &locate_in(&source), Some(format)).ok()
    }

    /// A file beside the module or image, by its name.
    fn beside(&mut self, value: &Node, by: &By) -> Option<(String, &'a [u8])> {
        let name = fields::text(value, "a file's name", &mut self.errors)?;
        let path = format!("{}/{name}", by.folder);
        let project = self.project;
        let bytes = project.files.get(&path).filter(|_| !name.split('/').any(|part| part == ".." || part.is_empty()));
        if bytes.is_none() {
            let error = Diagnostic::error(&value.origin, format!("there is no file {}", shorten(&path)));
            let near = fields::nearest(&path, project.files.keys().map(String::as_str));
            self.errors.push(match near {
                Some(near) => error.help(format!("did you mean {near}?")),
                None => error.help("the name is relative to the folder of the YAML file"),
            });
        }
        Some((path, bytes?.as_slice()))
    }

    pub(super) fn mode(&mut self, node: &Node) -> Option<u32> {
        let text = fields::text(node, "`mode`", &mut self.errors)?;
        let good = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if good => Some(mode),
            _ => {
                let error = Diagnostic::error(&node.origin, format!("{text:?} is not a file mode"));
                self.errors.push(error.help("write three or four octal digits in quotes: \"0644\""));
                None
            }
        }
    }

    /// Adds an entry to the tree; two of one path must be the same link or directory.
    pub(super) fn put(&mut self, path: GuestPath, mut entry: Entry, origin: &Origin, by: &By) {
        entry.option = Some(by.option.clone());
        self.made.add("files", path.as_str(), origin);
        if let Content::File(bytes) = &entry.content
            && path.as_str() != super::secrets::TEMPLATES
            && std::str::from_utf8(bytes).is_ok_and(|text| parts(text).len() > 1)
        {
            let error = Diagnostic::error(origin, format!("{path} names a secret, whose value never is in an image"));
            self.errors.push(error.help("`secret-files` makes files with secrets when the machine boots"));
        }
        match self.files.get(&path) {
            None => drop(self.files.insert(path, (entry, origin.clone()))),
            Some((other, first)) => {
                let shared = matches!(entry.content, Content::Directory | Content::Symlink(_));
                let same = Entry { option: None, ..other.clone() } == Entry { option: None, ..entry };
                if !(shared && same) {
                    let error = Diagnostic::error(origin, format!("{path} is written twice")).remark("here");
                    self.errors.push(error.label(first, "and here").help("remove one, or give one a `when`"));
                }
            }
        }
    }

    /// Refuses programs that keep set-id bits without being named in `set-id`.
    pub(super) fn check_set_id(&mut self) {
        let mut errors = Vec::new();
        for (path, (entry, origin)) in &self.files {
            if matches!(entry.content, Content::File(_)) && entry.mode & 0o6000 != 0 && !self.set_id.contains(path) {
                let message = format!("{path} is a program with the rights of its owner or group");
                errors
                    .push(Diagnostic::error(origin, message).help("if it has to be, name it in `set-id` of a module"));
            }
        }
        self.errors.append(&mut errors);
    }

    /// Refuses entries below files and links.
    pub(super) fn check_files(&mut self) {
        let mut errors = Vec::new();
        for (path, (_, origin)) in &self.files {
            let mut above = path.parent();
            while let Some(parent) = above {
                above = parent.parent();
                let what = match self.files.get(&parent) {
                    Some((Entry { content: Content::File(_), .. }, place)) => Some(("a file", place)),
                    Some((Entry { content: Content::Symlink(_), .. }, place)) => Some(("a link", place)),
                    _ => None,
                };
                if let Some((what, place)) = what {
                    let error = Diagnostic::error(origin, format!("{path} cannot exist: {parent} is {what}"));
                    errors.push(error.label(place, format!("{what} here")));
                }
            }
        }
        self.errors.append(&mut errors);
    }
}

/// Whether a path is below a folder.
fn is_within(path: &GuestPath, folder: &str) -> bool {
    path.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
