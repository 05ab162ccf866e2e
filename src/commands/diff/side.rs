//! One side of a comparison: an image of the project or of one of its git revisions, or a build.

use std::path::{Path, PathBuf};

use crate::commands::generations::Generations;
use crate::commands::{Context, Failure, Result, locking, project, store};
use crate::debian::Lock;
use crate::disk;
use crate::images::Manifest;
use crate::modules;
use crate::name::ImageName;
use crate::origin::Source;
use crate::system::Mode;
use crate::tool::{self, Tool};

use super::facts::Facts;

/// The most files of a revision that are read; no project has so many.
const MAX_FILES: usize = 10_000;

/// What a side is, by what was typed.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Manifest(PathBuf),
    /// A build of the image, so many builds before the newest.
    Generation {
        image: &'a str,
        back: usize,
    },
    Image {
        revision: Option<&'a str>,
        image: &'a str,
        mode: Option<Mode>,
    },
}

/// Reads one side.
pub fn read(text: &str, context: &Context) -> Result<Facts> {
    match parse(text)? {
        Side::Manifest(path) => Ok(Facts::of_manifest(manifest(&path)?)),
        Side::Generation { image, back } => {
            generation(image, back, context).map_err(|failure| name_revision(failure, text, context))
        }
        Side::Image { revision: None, image, mode } => {
            let asked = locking::evaluate(context, image, &[], mode)
                .map_err(|failure| name_revision(failure, image, context))?;
            let lock = locking::read(&asked.named.lock())?;
            Ok(Facts::of_system(asked.system, lock.as_ref()))
        }
        Side::Image { revision: Some(revision), image, mode } => of_revision(revision, image, mode, context),
    }
}

/// The manifest at a path that the user named.
fn manifest(path: &Path) -> Result<Manifest> {
    let bytes = match disk::read(path) {
        Err(error) if error.is_not_found() => {
            return Err(Failure::request(format!("there is no manifest {}", path.display())));
        }
        other => other?,
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::request(format!("{} is not a manifest of this rave: {error}", path.display()))
            .hint("`rave build` writes result/manifest.json")
    })
}

/// A build that the store knows.
fn generation(image: &str, back: usize, context: &Context) -> Result<Facts> {
    let asked = locking::evaluate(context, image, &[], None)?;
    let unbuilt = || Failure::request(format!("{image} was not built yet")).hint(format!("run `rave build {image}`"));
    if !disk::exists(&context.store) {
        return Err(unbuilt());
    }
    let store = store::open(context)?;
    let generations = Generations::of(&store, &asked.named, &asked.system.name);
    match (generations.back(back)?, generations.count()?) {
        (Some(manifest), _) => Ok(Facts::of_manifest(manifest)),
        (None, 0) => Err(unbuilt()),
        (None, count) => Err(Failure::request(format!("there is no build {image}~{back}"))
            .hint(format!("the store knows {image}~0, the newest, to {image}~{}", count.saturating_sub(1)))),
    }
}

/// Who typed a revision without an image is told how to name both.
fn name_revision(failure: Failure, typed: &str, context: &Context) -> Failure {
    let Ok(project) = project::all(&context.project) else { return failure };
    let name = typed.split('~').next().unwrap_or(typed);
    if project.images.contains_key(name) || typed.starts_with('-') || (Git { context }).commit(typed).is_err() {
        return failure;
    }
    let image = project::own_images(&project).next().unwrap_or("minimal");
    failure.hint(format!("`{typed}` is a revision: name an image of it, such as `{typed}:{image}`"))
}

fn parse(text: &str) -> Result<Side<'_>> {
    let path = Path::new(text);
    let inside = path.join("manifest.json");
    if disk::exists(&inside) {
        return Ok(Side::Manifest(inside));
    }
    if path.extension().is_some_and(|extension| extension == "json") {
        return Ok(Side::Manifest(path.to_owned()));
    }
    let (revision, rest) = match text.split_once(':') {
        Some((revision, rest)) => (Some(revision), rest),
        None => (None, text),
    };
    let (image, mode) = match rest.rsplit_once('@') {
        Some((image, mode)) => {
            let mode = mode.parse().map_err(|e: String| Failure::request(format!("{text}: {e}")))?;
            (image, Some(mode))
        }
        None => (rest, None),
    };
    if image.is_empty() || revision.is_some_and(|revision| revision.is_empty() || revision.starts_with('-')) {
        return Err(Failure::request(format!("{text:?} names no image")).hint(
            "a side is [REVISION:]IMAGE[@MODE], IMAGE~N, or the path of a manifest.json or of a directory that holds one",
        ));
    }
    if let (None, None, Some((image, back))) = (revision, mode, image.rsplit_once('~'))
        && let Ok(back) = back.parse()
    {
        return Ok(Side::Generation { image, back });
    }
    Ok(Side::Image { revision, image, mode })
}

/// An image as it was in a revision; its files are read from git's objects.
fn of_revision(revision: &str, image: &str, mode: Option<Mode>, context: &Context) -> Result<Facts> {
    let name = image.strip_prefix("images/").unwrap_or(image);
    let name = name.strip_suffix(".yaml").unwrap_or(name);
    let name: ImageName = name.parse().map_err(|e| Failure::request(format!("{revision}:{image}: {e}")))?;
    let git = Git { context };
    let files = git.files(&git.commit(revision)?)?;
    let lock = files.iter().find(|(path, _)| *path == format!("images/{name}.lock"));
    let lock = lock.map(|(path, bytes)| {
        let text =
            String::from_utf8(bytes.clone()).map_err(|_| Failure::request(format!("{path} is not UTF-8 text")))?;
        Ok::<_, Failure>(Lock::parse(&Source::new(format!("{revision}:{path}"), text))?)
    });
    let lock = lock.transpose()?;
    let texts = files.into_iter().filter(|(path, _)| !path.ends_with(".lock"));
    let project = project::over_library(texts)?;
    if !project.images.contains_key(name.as_str()) {
        return Err(Failure::request(format!("there is no image `{name}` in {revision}")));
    }
    let evaluation = modules::evaluate(&project, name.as_str(), &[], mode)?;
    Ok(Facts::of_system(evaluation.system, lock.as_ref()))
}

/// git, asked about the project.
struct Git<'a> {
    context: &'a Context,
}

impl Git<'_> {
    fn tool(&self) -> Tool {
        let git = Tool::new("git").arg("-C").arg(&self.context.project);
        match &self.context.environment.home {
            // Which directories git trusts is written there.
            Some(home) => git.env("HOME", home),
            None => git,
        }
    }

    /// The commit that a revision names.
    fn commit(&self, revision: &str) -> Result<String> {
        let git = self.tool().args(["rev-parse", "--verify", "--end-of-options"]).arg(format!("{revision}^{{commit}}"));
        match git.output() {
            Ok(output) => Ok(String::from_utf8_lossy(&output).trim().to_owned()),
            Err(tool::Error::Failed { stderr, .. }) => {
                Err(Failure::request(format!("git knows no revision {revision:?} of the project: {stderr}")))
            }
            Err(error) => Err(Failure::error(error).hint("revisions are read by git")),
        }
    }

    /// The files below images/ and modules/, by their paths in the project.
    fn files(&self, commit: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let list = self.tool().args(["ls-tree", "-r", "-z", commit, "--"]).args(project::FOLDERS).output()?;
        let mut wanted = Vec::new();
        for entry in list.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let entry = String::from_utf8_lossy(entry);
            let Some((about, path)) = entry.split_once('\t') else { continue };
            let hidden = path.split('/').any(|part| part.starts_with('.'));
            // Regular files only: as on disk, links lead nowhere.
            if let [mode, "blob", object] = about.split(' ').collect::<Vec<_>>()[..]
                && mode.starts_with("100")
                && !hidden
            {
                wanted.push((path.to_owned(), object.to_owned()));
            }
        }
        if wanted.len() > MAX_FILES {
            return Err(Failure::request(format!("{commit} has more than {MAX_FILES} files in images/ and modules/")));
        }
        let asked: String = wanted.iter().map(|(_, object)| format!("{object}\n")).collect();
        let output = self.tool().args(["cat-file", "--batch"]).output_with_input(asked.as_bytes())?;
        let mut rest = output.as_slice();
        let mut files = Vec::new();
        for (path, _) in wanted {
            let (bytes, after) = object(rest).ok_or_else(|| Failure::error(format!("git does not give {path}")))?;
            project::refuse_large(&path, bytes.len())?;
            files.push((path, bytes.to_vec()));
            rest = after;
        }
        Ok(files)
    }
}

/// The first object of what `git cat-file --batch` prints, and what follows.
fn object(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(output.get(..end)?).ok()?;
    let size: usize = head.rsplit_once(' ')?.1.parse().ok()?;
    let body = output.get(end + 1..)?;
    Some((body.get(..size)?, body.get(size + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_read_as_it_is_typed() {
        let image = |revision, image, mode| Side::Image { revision, image, mode };
        for (text, wanted) in [
            ("web", image(None, "web", None)),
            ("web@full-pipe", image(None, "web", Some(Mode::FullPipe))),
            ("HEAD~1:web", image(Some("HEAD~1"), "web", None)),
            ("v1@{1}:web@safe", image(Some("v1@{1}"), "web", Some(Mode::Safe))),
            ("web~2", Side::Generation { image: "web", back: 2 }),
            ("HEAD~1:web@safe", image(Some("HEAD~1"), "web", Some(Mode::Safe))),
            ("old/manifest.json", Side::Manifest("old/manifest.json".into())),
        ] {
            assert_eq!(parse(text).unwrap(), wanted, "{text}");
        }
        for text in ["", ":web", "HEAD:", "--upload-pack=x:web", "web@fast", "@safe"] {
            assert!(matches!(parse(text), Err(Failure::Request { .. })), "{text}");
        }
    }

    #[test]
    fn objects_are_cut_by_their_sizes() {
        let (first, rest) = object(b"abc blob 3\na\nb\ndef blob 0\n\n").unwrap();
        assert_eq!(first, b"a\nb");
        assert_eq!(object(rest).unwrap(), (&b""[..], &b""[..]));
        for cut in ["", "abc blob 9\nx\n", "abc missing\n", "abc blob -1\n\n"] {
            assert!(object(cut.as_bytes()).is_none(), "{cut}");
        }
    }
}
