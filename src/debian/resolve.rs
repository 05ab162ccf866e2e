//! From names to a lock: reads the archives, verifies them, solves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::archive::{Base, Source, is_safe_name, is_safe_path};
use super::deb822::{Malformed, Stanza};
use super::error::{Error, FetchError};
use super::local::{self, LocalDeb, LocalError};
use super::lock::{Lock, LockedArchive, LockedPackage, Place, Wanted, wanted};
use super::lock_file::is_safe_file;
use super::needed::needed_by;
use super::openpgp::Keyring;
use super::release::Release;
use super::solve::{Unsolved, Wish, solve};
use super::universe::{Index, Universe};
use super::{index, keyrings, release::ReleaseError};
use crate::digest::Digest;
use crate::event::{Report, Work};
use crate::name::PackageName;
use crate::system;

/// The largest InRelease file, in bytes; Debian's largest has under 1 MB.
const INRELEASE_LIMIT: u64 = 16 << 20;

/// What shall be locked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Suite, components, extra archives, `.deb` files.
    pub archive: &'a system::Archive,
    /// Packages by name.
    pub packages: &'a BTreeSet<PackageName>,
    /// Whether to follow Recommends where they can be satisfied.
    pub recommends: bool,
    /// The lock to start from.
    pub previous: Option<&'a Lock>,
    /// What may move away from `previous`.
    pub update: &'a Update,
    /// The present, for expiry.
    pub now: Timestamp,
}

/// Which packages may move to newer versions than the previous lock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// None that is still available.
    None,
    /// All.
    All,
    /// These.
    Some(BTreeSet<PackageName>),
}

/// Resolves a request to exact packages. `project` is the directory that `.deb` paths are relative to; every
/// `.deb` that the image names is locked.
///
/// Every InRelease must carry a valid signature by a trusted key and every index be covered by it; both are
/// checked before they are read further.
pub fn resolve(request: &Request, project: &Path, source: &dyn Source, report: &dyn Report) -> Result<Lock, Error> {
    resolve_trusting(&Trust { main: keyrings::MAIN, security: keyrings::SECURITY }, request, project, source, report)
}

/// The armored certificates that may sign Debian's own archives.
#[derive(Debug, Clone, Copy)]
struct Trust<'a> {
    main: &'a str,
    security: &'a str,
}

impl<'a> Trust<'a> {
    fn in_archive(&self, wanted: &Wanted<'a>) -> &'a str {
        match (wanted.trusted, &wanted.archive.base) {
            (Some(own), _) => own,
            (None, Base::DebianSecurity) => self.security,
            (None, _) => self.main,
        }
    }
}

fn resolve_trusting(
    trust: &Trust,
    request: &Request,
    project: &Path,
    source: &dyn Source,
    report: &dyn Report,
) -> Result<Lock, Error> {
    let wanted = wanted(request.archive);
    refuse_bad_names(&wanted)?;
    let debs = read_debs(&request.archive.debs, project)?;
    let mut read: Vec<Result<_, Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .iter()
            .enumerate()
            .map(|(number, wanted)| {
                scope.spawn(move || read_archive(number, wanted, trust.in_archive(wanted), request, source, report))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    // An answer that was refused tells more than one that did not come.
    let is_refused = |read: &Result<_, Error>| matches!(read, Err(Error::Fetch(FetchError::Refused { .. })));
    if let Some(at) = read.iter().position(is_refused) {
        drop(read.swap_remove(at)?);
    }
    let mut archives = Vec::new();
    let mut indices = Vec::new();
    for read in read {
        let (archive, its_indices) = read?;
        archives.push(archive);
        indices.extend(its_indices);
    }
    let first_deb = indices.len();
    indices.extend(debs.iter().map(|(_, deb)| Index { archive: wanted.len(), text: deb.control.clone() }));
    let work = Work::start(report, "solve", format!("{} packages", request.packages.len() + debs.len()), None);
    let world = World { archives: &archives, indices: &indices, debs: &debs, first_deb };
    let (packages, needed_by) = world.packages(request)?;
    work.finish(format!("{} packages", packages.len()));
    let (requested, recommends) = (request.packages.clone(), request.recommends);
    Ok(Lock { archives, requested, recommends, packages, needed_by })
}

/// Names become parts of paths; whatever the caller checked, they are checked here.
fn refuse_bad_names(wanted: &[Wanted]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for wanted in wanted {
        let names = [&wanted.archive.name, &wanted.suite].into_iter().chain(wanted.components);
        if let Some(bad) = names.into_iter().find(|name| !is_safe_name(name)) {
            return Err(Error::BadName(bad.clone()));
        }
        if !seen.insert(&wanted.archive.name) {
            return Err(Error::SameName(wanted.archive.name.clone()));
        }
    }
    Ok(())
}

fn read_debs(paths: &[String], project: &Path) -> Result<Vec<(String, LocalDeb)>, Error> {
    let read = |path: &String| {
        if !is_safe_file(path) {
            return Err(LocalError::Path);
        }
        local::read(&project.join(path))
    };
    let read =
        |path| read(path).map(|deb| (path.clone(), deb)).map_err(|source| Error::Deb { path: path.clone(), source });
    paths.iter().map(read).collect()
}

/// Reads one suite: its InRelease file, then the index of each component.
fn read_archive(
    number: usize,
    wanted: &Wanted,
    trusted: &str,
    request: &Request,
    source: &dyn Source,
    report: &dyn Report,
) -> Result<(LockedArchive, Vec<Index>), Error> {
    let name = &wanted.archive.name;
    let work = Work::start(report, "read", name.as_str(), None);
    let keyring = Keyring::parse(trusted).map_err(|source| Error::Keyring { archive: name.clone(), source })?;
    let previous = request.previous.and_then(|lock| locked_date(lock, wanted));
    let verify = |bytes: &[u8]| -> Result<(Release, Vec<String>), Error> {
        let verified = keyring.verify(bytes, request.now);
        let verified = verified.map_err(|source| Error::Signature { archive: name.clone(), source })?;
        let fail = |source: ReleaseError| Error::Release { archive: name.clone(), source };
        let release = Release::parse(&verified.text).map_err(|e| fail(e.into()))?;
        release.check(&wanted.suite, request.now, previous).map_err(fail)?;
        Ok((release, verified.signed_by))
    };
    let path = format!("dists/{}/InRelease", wanted.suite);
    let bytes = source.get(&wanted.archive, &path, INRELEASE_LIMIT, &|bytes| verify(bytes).map(|_| ()))?;
    // The source was asked to check, but is not trusted with it.
    let (release, signed_by) = verify(&bytes)?;
    let mut indices = Vec::new();
    for component in wanted.components {
        let listed = index::listed(&release, component);
        for listed in listed.map_err(|source| Error::Component { archive: name.clone(), source })? {
            let text = index::read(&listed, &release, &wanted.archive, &wanted.suite, source)?;
            indices.push(Index { archive: number, text });
        }
    }
    work.finish(format!("of {}", release.date));
    let archive = LockedArchive {
        archive: wanted.archive.clone(),
        suite: wanted.suite.clone(),
        components: wanted.components.to_vec(),
        date: release.date,
        inrelease: Digest::of(&bytes),
        signed_by,
        key: wanted.trusted.map(|key| Digest::of(key.as_bytes())),
    };
    Ok((archive, indices))
}

/// The date of the same suite in an earlier lock: none older is accepted.
fn locked_date(lock: &Lock, wanted: &Wanted) -> Option<Timestamp> {
    let locked = lock.archive(&wanted.archive.name)?;
    (locked.archive == wanted.archive && locked.suite == wanted.suite).then_some(locked.date)
}

/// All that was read.
struct World<'a> {
    archives: &'a [LockedArchive],
    indices: &'a [Index],
    debs: &'a [(String, LocalDeb)],
    /// Number of the first deb's index; one for each follows.
    first_deb: usize,
}

impl World<'_> {
    /// The closure, and for what nobody asked for one that needs it.
    fn packages(&self, request: &Request) -> Result<(Vec<LockedPackage>, BTreeMap<PackageName, PackageName>), Error> {
        let universe = Universe::new(self.indices, self.archives.len());
        let universe = universe.map_err(|(index, source)| self.malformed(index, "a package", source))?;
        let mut names: BTreeSet<&str> = request.packages.iter().map(PackageName::as_str).collect();
        names.extend(self.deb_names()?);
        let pins = pins(request);
        let wish = Wish { packages: &names, recommends: request.recommends, pins: &pins };
        let numbers = solve(&universe, &wish).map_err(|unsolved| self.unsolved(&universe, unsolved))?;
        let parents = needed_by(&universe, &numbers, &names, request.recommends)
            .map_err(|failure| self.failed(&universe, failure.candidate, failure.source))?;
        let lock =
            |number: usize| self.package(&universe, number).map_err(|source| self.failed(&universe, number, source));
        let packages = numbers.iter().copied().map(lock).collect::<Result<Vec<_>, _>>()?;
        let by_number: BTreeMap<usize, &PackageName> =
            numbers.iter().copied().zip(packages.iter().map(|package| &package.name)).collect();
        let named =
            |(to, from): (usize, usize)| Some(((*by_number.get(&to)?).clone(), (*by_number.get(&from)?).clone()));
        let needed_by = parents.into_iter().filter_map(named).collect();
        Ok((packages, needed_by))
    }

    /// The packages in the `.deb` files; each must be for this architecture, and no two the same.
    fn deb_names(&self) -> Result<BTreeSet<&str>, Error> {
        let mut names = BTreeSet::new();
        for (number, ((path, _), index)) in self.debs.iter().zip(&self.indices[self.first_deb..]).enumerate() {
            let malformed = |source| self.malformed(self.first_deb + number, "the package", source);
            let stanza = Stanza::parse(&index.text).map_err(malformed)?;
            let name = stanza.require("Package").map_err(malformed)?;
            let architecture = stanza.require("Architecture").map_err(malformed)?;
            let fail = |source| Error::Deb { path: path.clone(), source };
            if architecture != "all" && architecture != super::ARCHITECTURE {
                return Err(fail(LocalError::Architecture));
            }
            if !names.insert(name) {
                return Err(fail(LocalError::Twice(name.to_owned())));
            }
        }
        Ok(names)
    }

    fn package(&self, universe: &Universe, number: usize) -> Result<LockedPackage, Malformed> {
        let candidate = universe.candidate(number);
        let stanza = universe.stanza(number)?;
        let bad_name = |_| Malformed::value("Package", candidate.name, "a package name");
        let deb = candidate.index.checked_sub(self.first_deb).and_then(|deb| self.debs.get(deb));
        let (size, sha256, place) = match deb {
            Some((path, deb)) => (deb.size, deb.sha256, Place::File(path.clone())),
            None => {
                let size = stanza.require("Size")?;
                let digest = stanza.require("SHA256")?;
                let path = stanza.require("Filename")?;
                if !is_safe_path(path) {
                    return Err(Malformed::value("Filename", path, "a path below the archive's base"));
                }
                let archive = self.archives[self.indices[candidate.index].archive].archive.name.clone();
                (
                    size.parse().map_err(|_| Malformed::value("Size", size, "a number of bytes"))?,
                    digest.parse().map_err(|_| Malformed::value("SHA256", digest, "a SHA-256 digest"))?,
                    Place::Archive { archive, path: path.to_owned() },
                )
            }
        };
        Ok(LockedPackage {
            name: candidate.name.parse().map_err(bad_name)?,
            version: candidate.version.to_owned(),
            architecture: stanza.require("Architecture")?.to_owned(),
            size,
            sha256,
            place,
        })
    }

    fn unsolved(&self, universe: &Universe, unsolved: Unsolved) -> Error {
        match unsolved {
            Unsolved::Unknown(names) => Error::UnknownPackages(names),
            Unsolved::Virtual(name, providers) => Error::Virtual { name, providers },
            Unsolved::Unsatisfiable(lines) => Error::Unsatisfiable(lines),
            Unsolved::Failed(failure) => self.failed(universe, failure.candidate, failure.source),
        }
    }

    fn failed(&self, universe: &Universe, number: usize, source: Malformed) -> Error {
        let candidate = universe.candidate(number);
        self.malformed(candidate.index, &format!("{} {}", candidate.name, candidate.version), source)
    }

    fn malformed(&self, index: usize, package: &str, source: Malformed) -> Error {
        let deb = index.checked_sub(self.first_deb).and_then(|deb| self.debs.get(deb));
        let archive = match deb {
            Some((path, _)) => path.clone(),
            None => self.archives[self.indices[index].archive].archive.name.clone(),
        };
        Error::Package { archive, package: package.to_owned(), source }
    }
}

/// The versions of the previous lock that shall stay.
fn pins<'a>(request: &Request<'a>) -> BTreeMap<&'a str, &'a str> {
    let may_move = |name: &PackageName| match request.update {
        Update::None => false,
        Update::All => true,
        Update::Some(names) => names.contains(name),
    };
    let locked = request.previous.into_iter().flat_map(|lock| &lock.packages);
    locked.filter(|p| !may_move(&p.name)).map(|p| (p.name.as_str(), p.version.as_str())).collect()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
