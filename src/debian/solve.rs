//! The closure of a set of packages: everything they need, nothing that conflicts, the newest versions.

use std::collections::{BTreeMap, BTreeSet};

use resolvo::{ConditionalRequirement, Problem, Requirement, SolvableId, Solver, UnsolvableOrCancelled};

use super::explain::explain;
use super::provider::{Failure, Provider, number};
use super::universe::Universe;

/// What shall be installed.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Package names.
    pub packages: &'a BTreeSet<&'a str>,
    /// Whether to follow Recommends where they can be satisfied.
    pub recommends: bool,
    /// Versions to keep where possible, by name.
    pub pins: &'a BTreeMap<&'a str, &'a str>,
}

/// Why there is no closure.
#[derive(Debug)]
pub enum Unsolved {
    /// Names that no archive knows, each with names that resemble it.
    Unknown(Vec<(String, Vec<String>)>),
    /// A name that several packages provide and none has.
    Virtual(String, Vec<String>),
    /// The wish contradicts itself; the chains that show it.
    Unsatisfiable(Vec<String>),
    /// A candidate cannot be read.
    Failed(Failure),
}

impl From<Failure> for Unsolved {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The numbers of the candidates to install, in the order of their names. The same input always gives the
/// same answer.
pub fn solve(universe: &Universe, wish: &Wish) -> Result<Vec<usize>, Unsolved> {
    let provider = Provider::new(universe, wish.pins);
    let mut base = wished(&provider, wish.packages)?;
    for name in universe.essential() {
        base.push(provider.require_name(name)?);
    }
    let mut solving = Solving { solver: Solver::new(provider), base, accepted: Vec::new() };
    let mut chosen = match solving.run(&[]) {
        Ok(chosen) => chosen,
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            return Err(Unsolved::Unsatisfiable(explain(&conflict, &solving.solver, wish.packages)));
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => return Err(solving.failure()),
    };
    if wish.recommends {
        chosen = solving.recommended(chosen)?;
    }
    let mut numbers: Vec<usize> = chosen.into_iter().map(number).collect();
    numbers.sort_by_key(|n| universe.candidate(*n).name);
    Ok(numbers)
}

/// The requirements of the packages that were asked for.
fn wished(provider: &Provider, packages: &BTreeSet<&str>) -> Result<Vec<Requirement>, Unsolved> {
    let universe = provider.universe();
    let mut requirements = Vec::new();
    let mut unknown = Vec::new();
    for package in packages {
        if let Some(name) = universe.name(package) {
            requirements.push(provider.require_name(name)?);
            continue;
        }
        let providers = universe.providers(package);
        let providers = providers.map_err(|(candidate, source)| Failure { candidate, source })?;
        let names: BTreeSet<&str> = providers.iter().map(|(n, _)| universe.candidate(*n).name).collect();
        match (names.len(), names.first().and_then(|name| universe.name(name))) {
            (1, Some(name)) => requirements.push(provider.require_name(name)?),
            (0, _) | (_, None) => unknown.push(((*package).to_owned(), similar(universe, package))),
            _ => {
                let names = names.into_iter().map(str::to_owned).collect();
                return Err(Unsolved::Virtual((*package).to_owned(), names));
            }
        }
    }
    if unknown.is_empty() { Ok(requirements) } else { Err(Unsolved::Unknown(unknown)) }
}

/// The three names most like one that does not exist.
fn similar(universe: &Universe, wanted: &str) -> Vec<String> {
    // A slip of the finger in every third letter is still a slip.
    let most = (wanted.len() / 3).clamp(1, 4);
    let mut near: Vec<(usize, &str)> = universe
        .names()
        .filter(|name| name.len().abs_diff(wanted.len()) <= most)
        .map(|name| (strsim::osa_distance(name, wanted), name))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

struct Solving<'a> {
    solver: Solver<Provider<'a>>,
    base: Vec<Requirement>,
    /// Recommendations that can be followed.
    accepted: Vec<Requirement>,
}

impl Solving<'_> {
    fn run(&mut self, more: &[Requirement]) -> Result<Vec<SolvableId>, UnsolvableOrCancelled> {
        let all = self.base.iter().chain(&self.accepted).chain(more);
        let problem = Problem::new().requirements(all.copied().map(ConditionalRequirement::from).collect());
        self.solver.solve(problem)
    }

    /// Like [`Self::run`]; none if there is no solution.
    fn attempt(&mut self, more: &[Requirement]) -> Result<Option<Vec<SolvableId>>, Unsolved> {
        match self.run(more) {
            Ok(chosen) => Ok(Some(chosen)),
            Err(UnsolvableOrCancelled::Unsolvable(_)) => Ok(None),
            Err(UnsolvableOrCancelled::Cancelled(_)) => Err(self.failure()),
        }
    }

    fn failure(&self) -> Unsolved {
        match self.solver.provider().take_failure() {
            Some(failure) => Unsolved::Failed(failure),
            None => Unsolved::Unsatisfiable(Vec::new()),
        }
    }

    /// Follows Recommends, and those of what they bring in, until nothing is added.
    fn recommended(&mut self, mut chosen: Vec<SolvableId>) -> Result<Vec<SolvableId>, Unsolved> {
        let mut seen = BTreeSet::new();
        loop {
            let mut fresh = Vec::new();
            for requirement in self.open_recommends(&chosen)? {
                if seen.insert(requirement) {
                    fresh.push(requirement);
                }
            }
            if fresh.is_empty() {
                return Ok(chosen);
            }
            if let Some(more) = self.accept(&fresh)? {
                chosen = more;
            }
        }
    }

    /// The recommendations of what is chosen that what is chosen does not satisfy, but something could.
    fn open_recommends(&self, chosen: &[SolvableId]) -> Result<Vec<Requirement>, Unsolved> {
        let provider = self.solver.provider();
        let numbers: BTreeSet<usize> = chosen.iter().map(|id| number(*id)).collect();
        let mut open = Vec::new();
        for candidate in &numbers {
            let stanza = provider.universe().stanza(*candidate);
            let stanza = stanza.map_err(|source| Failure { candidate: *candidate, source })?;
            for requirement in provider.require(*candidate, &stanza, "Recommends")? {
                let members = provider.members(requirement);
                if !members.is_empty() && !members.iter().any(|m| numbers.contains(m)) {
                    open.push(requirement);
                }
            }
        }
        Ok(open)
    }

    /// Accepts as many of `more` as can be satisfied together, halving what cannot; returns the solution if
    /// any was accepted.
    fn accept(&mut self, more: &[Requirement]) -> Result<Option<Vec<SolvableId>>, Unsolved> {
        if let Some(chosen) = self.attempt(more)? {
            self.accepted.extend(more);
            return Ok(Some(chosen));
        }
        if more.len() < 2 {
            return Ok(None);
        }
        let (first, second) = more.split_at(more.len() / 2);
        let before = self.accept(first)?;
        Ok(self.accept(second)?.or(before))
    }
}
