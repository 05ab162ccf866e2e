//! Reads a project's texts: rave's own images and modules, with the project's put over them by path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::modules::Project;
use crate::origin::Source;

use super::{Failure, Result};

include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// Where a project's texts are.
pub const FOLDERS: [&str; 2] = ["images", "modules"];
/// No text of a project is larger; one that is was not written by hand.
const LIMIT: u64 = 4 << 20;

/// An image that the command line named, and where its lock belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name among the project's images.
    pub name: String,
    /// The directory in which its lock, the tools' lock and `.deb` files of its own are.
    pub directory: PathBuf,
    /// What the user would type to name it again.
    pub typed: String,
}

impl Named {
    /// Where the image's lock is.
    pub fn lock(&self) -> PathBuf {
        self.directory.join(format!("{}.lock", self.name))
    }

    /// Where the image's secrets are, encrypted for its machines.
    pub fn sealed(&self) -> PathBuf {
        sealed(&self.directory, &self.name)
    }
}

/// Where the secrets of the image of this name are, in the directory of its lock.
pub fn sealed(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.secrets"))
}

/// Reads the project at `root` and finds `image` in it: a name, or a path to a YAML file.
pub fn read(root: &Path, image: &str) -> Result<(Project, Named)> {
    let mut project = all(root)?;
    let named = find(&mut project, root, image)?;
    Ok((project, named))
}

/// Reads the project at `root`.
pub fn all(root: &Path) -> Result<Project> {
    if !disk::exists(root) {
        return Err(Failure::request(format!("there is no project directory {}", root.display())));
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        walk(&root.join(folder), 0, &mut files)?;
    }
    let mut texts = Vec::new();
    for path in files {
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if ![".lock", ".secrets"].iter().any(|suffix| relative.ends_with(suffix)) {
            texts.push((relative, read_limited(&path)?));
        }
    }
    over_library(texts)
}

/// The library, with files by their paths in a project put over it.
pub fn over_library(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Project> {
    let mut project = Project::default();
    for (path, bytes) in LIBRARY {
        add(&mut project, path, &format!("<rave>/{path}"), bytes)?;
    }
    for (path, bytes) in files {
        add(&mut project, &path, &path, &bytes)?;
    }
    Ok(project)
}

/// The paths of the library's modules.
pub fn library() -> BTreeSet<String> {
    of_library("modules/")
}

/// The names of the library's images.
pub fn library_images() -> BTreeSet<String> {
    of_library("images/")
}

/// The names of the images that are the project's own, not the library's.
pub fn own_images(project: &Project) -> impl Iterator<Item = &str> {
    let library = library_images();
    project.images.keys().map(String::as_str).filter(move |name| !library.contains(*name))
}

/// The image that is meant where none is named: the only one that the project has of its own, or `minimal`.
pub fn meant(project: &Project) -> &str {
    let mut own = own_images(project);
    own.next().filter(|_| own.next().is_none()).unwrap_or("minimal")
}

fn of_library(folder: &str) -> BTreeSet<String> {
    let names = LIBRARY.iter().filter_map(|(path, _)| path.strip_prefix(folder)?.strip_suffix(".yaml"));
    names.map(str::to_owned).collect()
}

fn find(project: &mut Project, root: &Path, image: &str) -> Result<Named> {
    let path = Path::new(image);
    let is_path = image.contains('/') || path.extension().is_some_and(|extension| extension == "yaml");
    if !is_path {
        if project.images.contains_key(image) {
            let typed = image.to_owned();
            return Ok(Named { name: image.to_owned(), directory: root.join("images"), typed });
        }
        let names: Vec<&str> = project.images.keys().map(String::as_str).collect();
        let limit = (image.chars().count() / 3).clamp(1, 3);
        let measured = names.iter().map(|name| (strsim::damerau_levenshtein(name, image), name));
        let close = measured.min().filter(|(distance, _)| *distance <= limit);
        let file = root.join("images").join(format!("{image}.yaml"));
        let hint = match close {
            // Something of that name is there, and yet was passed over.
            _ if disk::exists(file.with_extension("yml")) => format!("images/{image}.yml must end with .yaml"),
            _ if disk::exists(&file) => format!("images/{image}.yaml is no regular file; links are not followed"),
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        return Err(
            Failure::request(format!("there is no image `{image}` in {}", root.join("images").display())).hint(hint)
        );
    }
    let (Some(stem), Some(directory)) = (path.file_stem(), path.parent()) else {
        return Err(Failure::request(format!("{image} does not name a file")));
    };
    let name = stem.to_string_lossy().into_owned();
    if !disk::exists(path) {
        return Err(Failure::request(format!("there is no image {image}"))
            .hint("without a slash and `.yaml`, an image is a name in images/"));
    }
    let text = String::from_utf8(read_limited(path)?).map_err(|_| not_text(image))?;
    project.images.insert(name.clone(), Source::new(image, text));
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    Ok(Named { name, directory: directory.to_owned(), typed: image.to_owned() })
}

fn add(project: &mut Project, path: &str, shown: &str, bytes: &[u8]) -> Result<()> {
    let text = || String::from_utf8(bytes.to_vec()).map_err(|_| not_text(shown));
    if let Some(name) = path.strip_prefix("images/").and_then(|rest| rest.strip_suffix(".yaml")) {
        project.images.insert(name.to_owned(), Source::new(shown, text()?));
    } else if let Some(name) = path.strip_prefix("modules/").and_then(|rest| rest.strip_suffix(".yaml")) {
        project.modules.insert(name.to_owned(), Source::new(shown, text()?));
    } else {
        project.files.insert(path.to_owned(), bytes.to_vec());
    }
    Ok(())
}

fn not_text(name: &str) -> Failure {
    Failure::request(format!("{name} is not UTF-8 text"))
}

/// The bytes of a file that is not too large for a project.
pub fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let bytes = disk::read_start(path, LIMIT + 1)?;
    refuse_large(&path.display().to_string(), bytes.len())?;
    Ok(bytes)
}

/// Refuses a file that is too large for a project.
pub fn refuse_large(name: &str, bytes: usize) -> Result<()> {
    if bytes as u64 > LIMIT {
        return Err(Failure::request(format!("{name} is too large: a project's files have at most {LIMIT} bytes")));
    }
    Ok(())
}

/// All regular files below a folder that may be missing. Links are not followed, so no project can reach
/// outside itself or go round in circles.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match disk::list(folder) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    for path in entries {
        let kind = disk::metadata(&path)?.file_type();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if kind.is_dir() && depth < 16 && !hidden {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file() && !hidden {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, bytes: &[u8]) {
        let path = root.join(name);
        disk::create_dir_all(path.parent().unwrap()).unwrap();
        disk::write_atomic(path, bytes, 0o644).unwrap();
    }

    #[test]
    fn a_project_adds_to_the_library_and_overrides_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "images/web.yaml", b"name: web\n");
        write(dir.path(), "images/web.lock", b"not read here");
        write(dir.path(), "modules/services/web.yaml", b"description: x\n");
        write(dir.path(), "modules/services/web.conf", b"\xff");
        disk::symlink("/etc", dir.path().join("modules/escape")).unwrap();
        let (project, named) = read(dir.path(), "web").unwrap();
        assert_eq!(named.lock(), dir.path().join("images/web.lock"));
        assert_eq!(project.images["web"].name, "images/web.yaml");
        assert!(project.modules.contains_key("services/web"));
        assert_eq!(project.files["modules/services/web.conf"], b"\xff");
        assert!(!project.files.keys().any(|path| path.contains("escape") || path.contains("lock")));
    }

    #[test]
    fn the_only_image_of_a_project_is_meant_where_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(meant(&all(dir.path()).unwrap()), "minimal");
        write(dir.path(), "images/production.yaml", b"name: production\n");
        assert_eq!(meant(&all(dir.path()).unwrap()), "minimal", "rave has one of that name");
        write(dir.path(), "images/web.yaml", b"name: web\n");
        assert_eq!(meant(&all(dir.path()).unwrap()), "web");
        write(dir.path(), "images/zoo.yaml", b"name: zoo\n");
        assert_eq!(meant(&all(dir.path()).unwrap()), "minimal");
    }

    #[test]
    fn an_image_outside_the_project_keeps_its_lock_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "other/edge.yaml", b"name: edge\n");
        let path = dir.path().join("other/edge.yaml");
        let (project, named) = read(&dir.path().join("other"), path.to_str().unwrap()).unwrap();
        assert_eq!(named.lock(), dir.path().join("other/edge.lock"));
        assert_eq!(project.images["edge"].text, "name: edge\n");
    }

    /// A change of rave or of the library that changes a byte of the smallest machine shows here, for review.
    #[test]
    fn the_minimal_machine_changes_only_on_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let (project, named) = read(dir.path(), "minimal").unwrap();
        let evaluation = crate::modules::evaluate(&project, &named.name, &[], None).unwrap();
        let line = |(path, entry): (&crate::name::GuestPath, &crate::tree::Entry)| {
            let content = match &entry.content {
                crate::tree::Content::File(bytes) => crate::digest::Digest::of(bytes).to_string(),
                other => format!("{other:?}"),
            };
            format!("{path} {:04o} {}:{} {content}\n", entry.mode, entry.owner, entry.group)
        };
        let tree: String = evaluation.system.tree.iter().map(line).collect();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("minimal", tree);
        });
    }

    #[test]
    fn a_machine_that_refuses_programs_in_tmp_is_held_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let image = b"name: web\nversion: 1.0.0\nextends: minimal\nconfig: { base.state.tmp-noexec: false }\n";
        write(dir.path(), "images/web.yaml", image);
        let tmp: crate::name::GuestPath = "/tmp".parse().unwrap();
        let expected = |image: &str| {
            let (project, named) = read(dir.path(), image).unwrap();
            let evaluation = crate::modules::evaluate(&project, &named.name, &[], None).unwrap();
            let (options, _) = evaluation.system.expect.mounts[&tmp].clone();
            options.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(expected("minimal"), ["nodev", "noexec", "nosuid"]);
        assert_eq!(expected("web"), ["nodev", "nosuid"]);
    }

    #[test]
    fn wrong_names_and_files_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "images/web.yaml", b"name: web\n");
        let message = |result: Result<(Project, Named)>| match result {
            Err(Failure::Request { message, hint }) => format!("{message} {}", hint.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        assert!(message(read(dir.path(), "wbe")).contains("did you mean `web`?"));
        write(dir.path(), "images/short.yml", b"name: short\n");
        assert!(message(read(dir.path(), "short")).contains("images/short.yml must end with .yaml"));
        disk::symlink("web.yaml", dir.path().join("images/link.yaml")).unwrap();
        assert!(
            message(read(dir.path(), "link")).contains("images/link.yaml is no regular file; links are not followed")
        );
        write(dir.path(), "images/bad.yaml", b"\xff\xfe");
        assert!(message(read(dir.path(), "web")).contains("images/bad.yaml is not UTF-8"));
        write(dir.path(), "images/bad.yaml", &vec![b' '; LIMIT as usize + 1]);
        assert!(message(read(dir.path(), "web")).contains("at most"));
    }
}
