//! In which order packages are configured.

use std::collections::{BTreeMap, BTreeSet};

use crate::debian::deb::Deb;
use crate::debian::relation::{Relation, well_formed};

/// Packages whose scripts make what the scripts of all others take for granted, in this order.
const FIRST: [&str; 6] = ["base-passwd", "base-files", "libc6", "perl-base", "mawk", "debconf"];

/// The order, as indices.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// Every package, after what it depends on as far as there are no cycles.
    pub all: Vec<usize>,
    /// The essential packages and what they depend on.
    pub essential: BTreeSet<usize>,
}

/// Who provides a name.
pub struct Names<'a> {
    by_name: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Names<'a> {
    /// Packages by name, and by what they provide.
    pub fn new(debs: &[&'a Deb]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, deb) in debs.iter().enumerate() {
            by_name.entry(deb.name()).or_default().insert(0, index);
            for provided in well_formed(deb.control.get("Provides").unwrap_or_default()).iter().flatten() {
                by_name.entry(provided.name).or_default().push(index);
            }
        }
        Self { by_name }
    }

    /// The packages that a field of relations leads to: of each group of alternatives the first that is there.
    pub fn targets(&self, field: Option<&str>) -> Vec<usize> {
        let groups = well_formed(field.unwrap_or_default());
        let first = |group: &Vec<Relation<'_>>| {
            group.iter().find_map(|relation| self.by_name.get(relation.name)?.first().copied())
        };
        groups.iter().filter_map(first).collect()
    }
}

/// Computes the order: dependencies first; [`FIRST`] and essential packages before all others.
pub fn order(debs: &[&Deb]) -> Order {
    let names = Names::new(debs);
    let is_essential = |deb: &Deb| deb.control.get("Essential") == Some("yes");
    let first = FIRST.iter().filter_map(|name| debs.iter().position(|deb| deb.name() == *name));
    let essential = (0..debs.len()).filter(|&index| debs.get(index).is_some_and(|deb| is_essential(deb)));
    let mut walk = Walk { debs, names, seen: BTreeSet::new(), all: Vec::new() };
    first.chain(essential).for_each(|index| walk.visit(index));
    let essential = walk.all.iter().copied().collect();
    (0..debs.len()).for_each(|index| walk.visit(index));
    Order { all: walk.all, essential }
}

struct Walk<'a> {
    debs: &'a [&'a Deb],
    names: Names<'a>,
    seen: BTreeSet<usize>,
    all: Vec<usize>,
}

impl Walk<'_> {
    /// Depth first, without recursion, since the depth is the input's.
    fn visit(&mut self, index: usize) {
        let mut stack = vec![(index, false)];
        while let Some((index, children_done)) = stack.pop() {
            if children_done {
                self.all.push(index);
                continue;
            }
            let Some(deb) = self.debs.get(index).filter(|_| self.seen.insert(index)) else { continue };
            stack.push((index, true));
            // Pre-Depends are pushed last, and so come first.
            for field in ["Depends", "Pre-Depends"] {
                let targets = self.names.targets(deb.control.get(field));
                stack.extend(targets.into_iter().rev().map(|target| (target, false)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::samples::Package;

    fn names_in_order(packages: Vec<Package>) -> (Vec<String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let debs: Vec<Deb> = packages.into_iter().map(|p| Deb::open(p.write(dir.path())).unwrap()).collect();
        let debs: Vec<&Deb> = debs.iter().collect();
        let order = order(&debs);
        (order.all.iter().map(|&index| debs[index].name().to_owned()).collect(), order.essential.len())
    }

    #[test]
    fn dependencies_come_first_and_essential_packages_before_all() {
        let (names, essential) = names_in_order(vec![
            Package::new("aa", "Depends: zz, virtual (>= 1) | none"),
            Package::new("bash", "Essential: yes\nPre-Depends: libtinfo6"),
            Package::new("base-files", "Essential: yes\nPre-Depends: awk"),
            Package::new("libtinfo6", ""),
            Package::new("mawk", "Provides: awk"),
            Package::new("real", "Provides: virtual (= 2)"),
            Package::new("zz", "Depends: real"),
        ]);
        assert_eq!(names, ["mawk", "base-files", "libtinfo6", "bash", "real", "zz", "aa"]);
        assert_eq!(essential, 4);
    }

    #[test]
    fn cycles_and_missing_packages_end() {
        let (names, _) =
            names_in_order(vec![Package::new("aa", "Depends: bb, gone"), Package::new("bb", "Depends: aa, bb")]);
        assert_eq!(names, ["bb", "aa"]);
    }
}
