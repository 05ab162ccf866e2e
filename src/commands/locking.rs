//! Locks: read, judged against what an image asks for, made and moved.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;

use crate::debian::fetch::{Fetcher, Settings};
use crate::debian::lock::changes;
use crate::debian::mirrors::{Choice, Host, Mirrors};
use crate::debian::{self, Change, Lock, Request, Stale, Update};
use crate::disk;
use crate::modules::{self, Provenance};
use crate::name::PackageName;
use crate::origin::{Diagnostic, Source};
use crate::system::{Mode, System};
use crate::ui::Tone;

use super::project::{self, Named};
use super::{Context, Failure, Result};

/// rave's own image of programs.
pub const TOOLS: &str = "tools";

/// An evaluated image and where its lock is.
pub struct Asked {
    /// Its name and place.
    pub named: Named,
    /// What it shall be.
    pub system: System,
    /// Who asked for what.
    pub provenance: Provenance,
}

impl Asked {
    /// Packages to lock: those that ship and those that only configure others.
    fn packages(&self) -> BTreeSet<PackageName> {
        self.system.packages.union(&self.system.build_only).cloned().collect()
    }
}

/// Evaluates an image, telling of warnings.
pub fn evaluate(context: &Context, image: &str, set: &[(String, String)], mode: Option<Mode>) -> Result<Asked> {
    let (project, named) = project::read(&context.project, image)?;
    let evaluation = modules::evaluate(&project, &named.name, set, mode)?;
    context.ui.diagnostics(&evaluation.warnings);
    Ok(Asked { named, system: evaluation.system, provenance: evaluation.provenance })
}

/// The tools that make and run images, locked beside the image that uses them.
pub fn tools(context: &Context, beside: &Named) -> Result<Asked> {
    let (mut project, named) = project::read(&context.project, TOOLS)?;
    project.never_boots();
    let evaluation = modules::evaluate(&project, &named.name, &[], None)?;
    Ok(Asked {
        named: Named { name: TOOLS.to_owned(), directory: beside.directory.clone(), typed: beside.typed.clone() },
        system: evaluation.system,
        provenance: evaluation.provenance,
    })
}

/// The lock in a file; None if there is none.
pub fn read(path: &Path) -> Result<Option<Lock>> {
    let text = match disk::read_to_string(path) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let source = Source::new(path.display().to_string(), text);
    Ok(Some(Lock::parse(&source)?))
}

/// The lock of `asked`, if there is one that fits.
pub fn fitting(asked: &Asked) -> Result<std::result::Result<Lock, Unfit>> {
    let path = asked.named.lock();
    let Some(lock) = read(&path)? else { return Ok(Err(Unfit::Missing)) };
    let system = &asked.system;
    Ok(match lock.stale(&system.archive, &asked.packages(), system.recommends) {
        None => Ok(lock),
        Some(stale) => Err(Unfit::Stale(stale)),
    })
}

/// Why there is no lock to build from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// There is none.
    Missing,
    /// It was made for something else.
    Stale(Stale),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |names: &[PackageName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Missing => f.write_str("there is no lock"),
            Self::Stale(Stale::NotLocked(new)) => write!(f, "not locked yet: {}", names(new)),
            Self::Stale(Stale::NotRequested(old)) => write!(f, "locked, but no longer asked for: {}", names(old)),
            Self::Stale(Stale::Recommends) => f.write_str("system.recommends has changed"),
            Self::Stale(Stale::Archives) => f.write_str("the archives have changed"),
            Self::Stale(Stale::Debs) => f.write_str("the .deb files of the image have changed"),
        }
    }
}

/// Mirrors for an image, in the order that `rave lock --help` gives.
pub fn fetcher(context: &Context, system: &System, lock: Option<&Lock>) -> Result<Fetcher> {
    let host = Host::read(Path::new("/etc/apt"))?;
    let date = lock.and_then(|lock| lock.archives.iter().map(|archive| archive.date).max());
    let choice = Choice {
        environment: context.environment.mirror.as_deref(),
        image: &system.archive.mirrors,
        host: Some(&host),
        date,
    };
    let mirrors = Mirrors::new(&choice).map_err(|e| Failure::request(e.to_string()))?;
    Fetcher::new(mirrors, Settings::default()).map_err(Failure::from)
}

/// Resolves an image anew, writes its lock, and says what changed.
pub fn lock(context: &Context, asked: &Asked, update: &Update) -> Result<Lock> {
    let path = asked.named.lock();
    let previous = read(&path)?;
    let system = &asked.system;
    let request = Request {
        archive: &system.archive,
        packages: &asked.packages(),
        recommends: system.recommends,
        previous: previous.as_ref(),
        update,
        now: Timestamp::now(),
    };
    let fetcher = fetcher(context, system, None)?;
    let lock = debian::resolve(&request, &asked.named.directory, &fetcher, context.ui.as_ref())
        .map_err(|error| placed(error, &asked.provenance))?;
    let text = lock.to_yaml();
    if disk::read(&path).ok().as_deref() != Some(text.as_bytes()) {
        disk::create_dir_all(&asked.named.directory)?;
        disk::write_atomic(&path, text.as_bytes(), 0o644)?;
    }
    tell(context, asked, previous.as_ref(), &lock);
    Ok(lock)
}

/// A package that cannot be had is wrong where it was written, which the archives do not know.
fn placed(error: debian::Error, provenance: &Provenance) -> Failure {
    let at = |name: &str, message: String, help: Option<String>| {
        let mut asked = provenance.of(name).filter(|made| made.section.ends_with("packages"));
        let mut told = Diagnostic::error(&asked.next()?.origin, message);
        told.help = help;
        Some(asked.fold(told, |told, made| told.label(&made.origin, "and here")))
    };
    let told: Option<Vec<Diagnostic>> = match &error {
        debian::Error::UnknownPackages(names) => {
            let unknown = |(name, similar): &(String, Vec<String>)| {
                let names: Vec<String> = similar.iter().map(|name| format!("`{name}`")).collect();
                let help = (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")));
                at(name, format!("no archive has the package `{name}`"), help)
            };
            names.iter().map(unknown).collect()
        }
        debian::Error::Virtual { name, providers } => {
            let message = format!("`{name}` is not a package but provided by others");
            at(name, message, Some(format!("name one of them: {}", providers.join(", ")))).map(|told| vec![told])
        }
        _ => None,
    };
    told.map_or_else(|| error.into(), Failure::Input)
}

fn tell(context: &Context, asked: &Asked, previous: Option<&Lock>, lock: &Lock) {
    let name = &asked.named.name;
    let Some(previous) = previous else {
        context.ui.say(format!("{name}: locked {} packages", lock.packages.len()));
        return;
    };
    let changes = changes(previous, lock);
    if changes.is_empty() {
        context.ui.say(format!("{name}: {} packages, unchanged", lock.packages.len()));
    }
    for change in changes {
        context.ui.say(format!("{name}: {}", describe(&change)));
    }
}

/// A change as one line.
pub fn describe(change: &Change) -> String {
    match change {
        Change::Added { name, version } => format!("{} {name} {version}", Tone::Good.paint("+")),
        Change::Removed { name, version } => format!("{} {name} {version}", Tone::Bad.paint("-")),
        Change::Upgraded { name, from, to } => format!("{} {name} {from} -> {to}", Tone::Good.paint("^")),
        Change::Downgraded { name, from, to } => format!("{} {name} {from} -> {to}", Tone::Warn.paint("v")),
        Change::Rebuilt { name, version } => {
            format!("{} {name} {version} has other bytes than before", Tone::Warn.paint("!"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_no_archive_has_is_shown_where_it_was_written() {
        let image = "name: web\nversion: 1.0.0\nimports: [a]\nconfig:\n  system.packages: [jq, ngnix]\n";
        let project = project::over_library(
            [("images/web.yaml", image), ("modules/a.yaml", "description: A.\npackages: [ngnix, mail-agent]\n")]
                .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())),
        )
        .unwrap();
        let provenance = modules::evaluate(&project, "web", &[], None).unwrap().provenance;
        let told = |error| match placed(error, &provenance) {
            Failure::Input(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let unknown =
            |name: &str, similar: &[&str]| (name.to_owned(), similar.iter().map(|s| (*s).to_owned()).collect());
        let error = debian::Error::UnknownPackages(vec![unknown("ngnix", &["nginx"]), unknown("jq", &[])]);
        let places = [
            "modules/a.yaml:2:12: no archive has the package `ngnix` (did you mean `nginx`?)",
            "images/web.yaml:5:21: no archive has the package `jq`",
        ];
        assert_eq!(told(error), places);
        let providers = vec!["exim4".to_owned(), "postfix".to_owned()];
        assert_eq!(
            told(debian::Error::Virtual { name: "mail-agent".to_owned(), providers }),
            [
                "modules/a.yaml:2:19: `mail-agent` is not a package but provided by others (name one of them: exim4, postfix)"
            ]
        );
        // Nobody here wrote it, so only the archives' words are left.
        let error = debian::Error::UnknownPackages(vec![unknown("elsewhere", &[])]);
        assert!(matches!(placed(error, &provenance), Failure::Request { .. }));
    }
}
