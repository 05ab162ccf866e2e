//! Image files and the chain of those they extend.

use std::sync::Arc;

use super::fields::{self, nearest};
use super::yaml::{self, Node};
use super::{Project, shape};
use crate::name::{ImageName, Version};
use crate::origin::{Diagnostic, Origin, Source};
use crate::system::{Archive, ExtraArchive, Mode};

/// Longest chain of `extends`.
const MAX_CHAIN: usize = 32;

/// An image with all that it extends.
pub(super) struct Image {
    pub name: ImageName,
    pub version: Version,
    /// The mode that is asked for, if one is.
    pub mode: Option<Mode>,
    pub archive: Archive,
    /// Files, from the root of the chain to the image itself.
    pub files: Vec<Node>,
    /// Imported modules, each with the place of the import.
    pub imports: Vec<(String, Origin)>,
    /// The place of the name.
    pub origin: Origin,
}

/// Reads an image and what it extends; errors are added, and with a broken file there is no image.
pub(super) fn read(project: &Project, name: &str, errors: &mut Vec<Diagnostic>) -> Option<Image> {
    let files = chain(project, name, errors)?;
    let own = files.last()?;
    let image_name = fields::name(own.get("name")?, "`name`", errors);
    let version = fields::name(own.get("version")?, "`version`", errors);
    let mut mode = None;
    let mut imports = Vec::new();
    let mut archive = Archive {
        suite: "trixie".into(),
        components: vec!["main".into()],
        mirrors: Vec::new(),
        extra: Vec::new(),
        debs: Vec::new(),
    };
    for file in &files {
        mode = file.get("mode").and_then(|node| fields::name(node, "`mode`", errors)).or(mode);
        imports.extend(file.get("imports").map(|node| fields::texts(node, "`imports`", errors)).unwrap_or_default());
        if let Some(node) = file.get("archive") {
            read_archive(node, project, &mut archive, errors);
        }
    }
    let origin = own.get("name")?.origin.clone();
    Some(Image { name: image_name?, version: version?, mode, archive, imports, origin, files })
}

fn chain(project: &Project, name: &str, errors: &mut Vec<Diagnostic>) -> Option<Vec<Node>> {
    let mut files = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut next = Some((name.to_owned(), Origin::new(&Source::new("<command line>", name), 0..name.len())));
    while let Some((name, place)) = next {
        let again = names.contains(&name);
        names.push(name.clone());
        if again || names.len() > MAX_CHAIN {
            let error = Diagnostic::error(&place, format!("images extend each other: {}", names.join(" -> ")));
            errors.push(error);
            return None;
        }
        let Some(source) = project.images.get(&name) else {
            errors.push(missing(project, &name, &place));
            return None;
        };
        let node = parse(source, errors)?;
        next =
            node.get("extends").and_then(|node| Some((fields::text(node, "`extends`", errors)?, node.origin.clone())));
        files.push(node);
    }
    files.reverse();
    Some(files)
}

fn parse(source: &Arc<Source>, errors: &mut Vec<Diagnostic>) -> Option<Node> {
    match yaml::parse(source) {
        Ok(node) => {
            let before = errors.len();
            shape::check(&node, &shape::IMAGE, "an image", errors);
            // An image that lacks its name is still worth reading for other errors, were there any place for them.
            (errors.len() == before || node.get("name").is_some()).then_some(node)
        }
        Err(found) => {
            errors.extend(found);
            None
        }
    }
}

fn missing(project: &Project, name: &str, place: &Origin) -> Diagnostic {
    let error = Diagnostic::error(place, format!("there is no image `{}`", yaml::shorten(name)));
    match nearest(name, project.images.keys().map(String::as_str)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None if project.images.is_empty() => error.help("there are no image files at all"),
        None => error.help(format!("images: {}", project.images.keys().cloned().collect::<Vec<_>>().join(", "))),
    }
}

fn read_archive(node: &Node, project: &Project, archive: &mut Archive, errors: &mut Vec<Diagnostic>) {
    if let Some(suite) = node.get("suite").and_then(|node| fields::text(node, "`suite`", errors)) {
        archive.suite = suite;
    }
    let mut list = |key: &str| {
        let found = fields::texts(node.get(key)?, &format!("`{key}`"), errors);
        Some(found.into_iter().map(|(text, _)| text).collect::<Vec<_>>())
    };
    let (components, mirrors, debs) = (list("components"), list("mirrors"), list("debs"));
    archive.components = components.unwrap_or_else(|| std::mem::take(&mut archive.components));
    archive.mirrors = mirrors.unwrap_or_else(|| std::mem::take(&mut archive.mirrors));
    archive.debs.extend(debs.unwrap_or_default());
    for node in node.get("extra").map(|node| fields::list(node, "`extra`", errors)).unwrap_or_default() {
        if let Some(extra) = extra_archive(node, project, errors) {
            archive.extra.push(extra);
        }
    }
}

fn extra_archive(node: &Node, project: &Project, errors: &mut Vec<Diagnostic>) -> Option<ExtraArchive> {
    let mut text = |key: &str| fields::text(node.get(key)?, &format!("`{key}`"), errors);
    let (name, url, suite, key) = (text("name")?, text("url")?, text("suite")?, text("key")?);
    let components = fields::texts(node.get("components")?, "`components`", errors);
    let key = match key.contains("-----BEGIN PGP") {
        true => key,
        false => key_file(&key, node, project, errors)?,
    };
    let components = components.into_iter().map(|(text, _)| text).collect();
    Some(ExtraArchive { name, url, suite, components, key })
}

fn key_file(path: &str, node: &Node, project: &Project, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let bytes = project.files.get(&format!("images/{path}"));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.clone()).ok());
    if text.is_none() {
        let place = node.get("key").map_or(&node.origin, |node| &node.origin);
        let error = Diagnostic::error(place, format!("there is no key file images/{}", yaml::shorten(path)));
        errors.push(error.help("give an armored OpenPGP certificate, or the name of a file beside the image"));
    }
    text
}
