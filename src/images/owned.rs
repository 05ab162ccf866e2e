//! Which package owns what, and which units an image's own packages start: from dpkg's database in the archive. Pure
//! but for reading the archive.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{OptionPath, PackageName};

use super::archive::{Archive, Kind, resolve, resolve_parent};
use super::error::Error;
use super::union::{Finals, Node};

/// Where links say which units start.
const ENABLED: &str = "/etc/systemd/system/";

/// What dpkg knows of each package (deb822(5)).
const STATUS: &str = "/var/lib/dpkg/status";

/// The paths of each package.
#[derive(Debug)]
pub struct Owned(BTreeMap<String, BTreeSet<String>>);

impl Owned {
    /// Reads dpkg's lists. They name paths as packages do, before /bin and its like became links, so each is resolved.
    pub fn read(archive: &Archive) -> Result<Self, Error> {
        let mut owned = BTreeMap::<String, BTreeSet<String>>::new();
        for list in archive.below("/var/lib/dpkg/info/").filter(|path| path.ends_with(".list")) {
            let name = list.rsplit('/').next().unwrap_or("").trim_end_matches(".list");
            let name = name.split(':').next().unwrap_or("").to_owned();
            let paths = owned.entry(name).or_default();
            for line in String::from_utf8_lossy(&archive.read(list)?).lines() {
                // The last part is not followed: a package owns its links, not what they point at.
                paths.extend(resolve_parent(line, |path| link(archive, path)));
            }
        }
        Ok(Self(owned))
    }

    /// The package of each path. Nobody's is what several packages have: a directory, or a file that one diverts.
    pub fn owners(&self) -> BTreeMap<&str, &str> {
        let mut owners = BTreeMap::new();
        let mut shared = BTreeSet::new();
        for (name, paths) in &self.0 {
            for path in paths {
                if owners.insert(path.as_str(), name.as_str()).is_some() {
                    shared.insert(path.as_str());
                }
            }
        }
        owners.retain(|path, _| !shared.contains(path));
        owners
    }

    /// Files that belong only to the packages `gone`.
    pub fn only(&self, gone: &BTreeSet<PackageName>, archive: &Archive) -> Result<BTreeSet<String>, Error> {
        if let Some(package) = gone.iter().find(|package| !self.0.contains_key(package.as_str())) {
            return Err(Error::Root { what: format!("the build-only package {package} is not installed") });
        }
        let of = |gone_ones: bool| {
            let chosen = move |name: &str| gone.iter().any(|package| package.as_str() == name) == gone_ones;
            self.0.iter().filter(move |(name, _)| chosen(name)).flat_map(|(_, paths)| paths)
        };
        let kept: BTreeSet<&String> = of(false).collect();
        let directory = |path: &str| archive.members.get(path).is_some_and(|member| member.kind == Kind::Directory);
        Ok(of(true).filter(|path| !kept.contains(path) && !directory(path)).cloned().collect())
    }

    /// The links by which `packages` start their own units, as their maintainer scripts made them, each with the unit's
    /// file and the option that asked for the package.
    pub fn starts<'a>(&self, packages: &'a Starts, archive: &Archive) -> BTreeMap<String, (String, &'a OptionPath)> {
        let of = |(name, option): (&PackageName, &'a OptionPath)| {
            self.0.get(name.as_str()).into_iter().flatten().map(move |path| (path, option))
        };
        let owners: BTreeMap<&String, &OptionPath> = packages.iter().flat_map(of).collect();
        let file = |path: &str| {
            link(archive, path)?;
            let target = resolve(path, |path| link(archive, path))?;
            let option = *owners.get(&target)?;
            Some((path.to_owned(), (target, option)))
        };
        archive.below(ENABLED).filter_map(file).collect()
    }
}

/// Packages that start their units, with the option that asked for each.
type Starts = BTreeMap<PackageName, OptionPath>;

/// Units that must be active because their packages start them: those among `packages`' own that the finished root
/// file system still starts.
pub fn started(
    packages: &Starts,
    archive: &Archive,
    owned: &Owned,
    finals: &Finals,
) -> Result<BTreeMap<String, OptionPath>, Error> {
    let mut units = BTreeMap::new();
    for (path, (unit, option)) in owned.starts(packages, archive) {
        let Some(name) = lasting(&path, &String::from_utf8_lossy(&archive.read(&unit)?)) else { continue };
        let masked = finals.get(&format!("{ENABLED}{name}")).map(|item| &item.node);
        if finals.contains_key(&path) && masked != Some(&Node::Symlink("/dev/null".into())) {
            units.insert(name, option.clone());
        }
    }
    Ok(units)
}

/// The versions of packages, from dpkg's status. An archive without one has no packages.
pub fn versions(archive: &Archive) -> Result<BTreeMap<String, String>, Error> {
    if !archive.has(STATUS) {
        return Ok(BTreeMap::new());
    }
    let text = String::from_utf8_lossy(&archive.read(STATUS)?).into_owned();
    let version = |paragraph: &str| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Some((field("Package")?.trim().to_owned(), field("Version")?.trim().to_owned()))
    };
    Ok(text.split("\n\n").filter_map(version).collect())
}

/// Where a symbolic link points.
fn link<'a>(archive: &'a Archive, path: &str) -> Option<&'a str> {
    match &archive.members.get(path)?.kind {
        Kind::Symlink(target) => Some(target),
        _ => None,
    }
}

/// The unit that a link starts, if it must be active from then on: not one that ends by itself or that may find nothing
/// to do.
fn lasting(path: &str, unit: &str) -> Option<String> {
    let (folder, name) = path.strip_prefix(ENABLED)?.split_once('/')?;
    if !folder.ends_with(".wants") && !folder.ends_with(".requires") {
        return None;
    }
    let has = |key: &str, value: &str| {
        let same = |line: &str| line.split_once('=').is_some_and(|(k, v)| k.trim() == key && v.trim() == value);
        unit.lines().any(same)
    };
    let ends = has("Type", "oneshot") && !["yes", "true", "on", "1"].iter().any(|yes| has("RemainAfterExit", yes));
    let conditional = unit.lines().any(|line| line.trim_start().starts_with("Condition"));
    let kind = name.rsplit('.').next().unwrap_or("");
    let known = ["service", "socket", "timer", "path"].contains(&kind);
    (known && !ends && !conditional).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_end_or_may_not_start_are_not_expected() {
        let wants = "/etc/systemd/system/multi-user.target.wants/a.service";
        for (path, unit, expected) in [
            (wants, "[Service]\nType=notify\n", Some("a.service")),
            (wants, "[Service]\nType=oneshot\n", None),
            (wants, "[Service]\nType = oneshot\nRemainAfterExit=yes\n", Some("a.service")),
            (wants, "[Unit]\nConditionPathExists=/x\n", None),
            ("/etc/systemd/system/alias.service", "", None),
            ("/etc/systemd/system/timers.target.wants/a.timer", "", Some("a.timer")),
            ("/etc/systemd/system/local-fs.target.wants/a.mount", "", None),
        ] {
            assert_eq!(lasting(path, unit).as_deref(), expected, "{path}");
        }
    }
}
