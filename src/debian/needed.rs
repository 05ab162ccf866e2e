//! Who needs whom in a closure: for each package that nobody asked for, one that brought it in.

use std::collections::{BTreeMap, BTreeSet};

use super::provider::{Failure, Provider};
use super::universe::Universe;

/// For each of `chosen` that is neither in `asked` nor essential, one that needs it: the first on a shortest way from
/// those, in the order of names. The same input always gives the same answer.
pub fn needed_by(
    universe: &Universe,
    chosen: &[usize],
    asked: &BTreeSet<&str>,
    recommends: bool,
) -> Result<BTreeMap<usize, usize>, Failure> {
    let nothing = BTreeMap::new();
    let provider = Provider::new(universe, &nothing);
    let is_root = |number: &usize| {
        let candidate = universe.candidate(*number);
        candidate.essential || asked.contains(candidate.name)
    };
    let all: BTreeSet<usize> = chosen.iter().copied().collect();
    let mut seen: BTreeSet<usize> = chosen.iter().copied().filter(is_root).collect();
    let mut parents = BTreeMap::new();
    let mut layer: Vec<usize> = chosen.iter().copied().filter(is_root).collect();
    let fields: &[&str] =
        if recommends { &["Pre-Depends", "Depends", "Recommends"] } else { &["Pre-Depends", "Depends"] };
    while !layer.is_empty() {
        layer.sort_by_key(|number| universe.candidate(*number).name);
        let mut next = Vec::new();
        for from in layer {
            let stanza = universe.stanza(from).map_err(|source| Failure { candidate: from, source })?;
            for field in fields {
                for requirement in provider.require(from, &stanza, field)? {
                    for to in provider.members(requirement).into_iter().filter(|to| all.contains(to)) {
                        if seen.insert(to) {
                            parents.insert(to, from);
                            next.push(to);
                        }
                    }
                }
            }
        }
        layer = next;
    }
    Ok(parents)
}
