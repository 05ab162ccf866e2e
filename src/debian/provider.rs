//! Debian's relations in the solver's terms.
//!
//! The solver knows names, of each of which at most one candidate is chosen. A virtual package is no such
//! name, for several of its providers may be installed; so every relation is spelled out as sets of real
//! candidates, in order of preference: the real package, then its providers by priority and name, then the
//! next alternative.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use debversion::Version;
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId, VersionSetUnionId,
};

use super::deb822::{Malformed, Stanza};
use super::relation::{Relation, alternatives, entries};
use super::universe::Universe;

/// Candidates of one name; a relation is satisfied by one of them, a conflict forbids all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    name: usize,
    members: Vec<usize>,
    /// What the set stands for, in an explanation.
    text: String,
}

/// Reads relations as the solver asks for them.
pub struct Provider<'a> {
    universe: &'a Universe<'a>,
    /// Versions to prefer, by name.
    pins: &'a BTreeMap<&'a str, &'a str>,
    sets: RefCell<Vec<Set>>,
    set_numbers: RefCell<BTreeMap<Set, VersionSetId>>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
    requirements: RefCell<BTreeMap<String, Requirement>>,
    texts: RefCell<BTreeMap<Requirement, String>>,
    ordered: RefCell<BTreeMap<usize, Rc<[usize]>>>,
    failed: Cell<Option<Failure>>,
}

/// A candidate whose fields cannot be read.
#[derive(Debug)]
pub struct Failure {
    /// Its number.
    pub candidate: usize,
    /// What is wrong.
    pub source: Malformed,
}

type Fallible<T> = Result<T, Failure>;

/// The number behind a solver's id.
pub fn number(id: SolvableId) -> usize {
    id.into_raw() as usize
}

fn solvable(number: usize) -> SolvableId {
    // A text of at most 1 GiB holds fewer stanzas than 32 bits can count.
    SolvableId::from_raw(u32::try_from(number).unwrap_or(u32::MAX))
}

fn name_id(number: usize) -> NameId {
    NameId::from_raw(u32::try_from(number).unwrap_or(u32::MAX))
}

impl<'a> Provider<'a> {
    /// A view of `universe` that prefers the versions in `pins`.
    pub fn new(universe: &'a Universe<'a>, pins: &'a BTreeMap<&'a str, &'a str>) -> Self {
        Self {
            universe,
            pins,
            sets: RefCell::default(),
            set_numbers: RefCell::default(),
            unions: RefCell::default(),
            requirements: RefCell::default(),
            texts: RefCell::default(),
            ordered: RefCell::default(),
            failed: Cell::new(None),
        }
    }

    /// The universe behind it.
    pub fn universe(&self) -> &'a Universe<'a> {
        self.universe
    }

    /// The failure that made the solver stop.
    pub fn take_failure(&self) -> Option<Failure> {
        self.failed.take()
    }

    /// What a requirement stands for.
    pub fn text(&self, requirement: Requirement) -> String {
        self.texts.borrow().get(&requirement).cloned().unwrap_or_default()
    }

    /// What a constraint stands for.
    pub fn constraint(&self, set: VersionSetId) -> String {
        self.sets.borrow().get(set.0 as usize).map(|s| s.text.clone()).unwrap_or_default()
    }

    /// All candidates that satisfy a requirement, best first.
    pub fn members(&self, requirement: Requirement) -> Vec<usize> {
        let Requirement::Union(union) = requirement else { return Vec::new() };
        let sets = self.sets.borrow();
        self.version_sets_in_union(union)
            .filter_map(|s| sets.get(s.0 as usize))
            .flat_map(|s| s.members.clone())
            .collect()
    }

    /// A requirement for the package `name` itself, not for what provides it.
    pub fn require_name(&self, name: usize) -> Fallible<Requirement> {
        let text = self.universe.named(name).0;
        let members = self.candidates(name)?.to_vec();
        Ok(self.requirement(text, vec![Set { name, members, text: String::new() }]))
    }

    /// The requirements of a relation field of a candidate.
    pub fn require(&self, candidate: usize, stanza: &Stanza<'a>, field: &str) -> Fallible<Vec<Requirement>> {
        let fail = |source| Failure { candidate, source };
        entries(stanza.get(field).unwrap_or(""))
            .map(|entry| {
                if let Some(known) = self.requirements.borrow().get(entry) {
                    return Ok(*known);
                }
                let mut sets = Vec::new();
                for relation in alternatives(entry).map_err(fail)? {
                    self.satisfying(&relation, &mut sets)?;
                }
                let requirement = self.requirement(entry, sets);
                self.requirements.borrow_mut().insert(entry.to_owned(), requirement);
                Ok(requirement)
            })
            .collect()
    }

    fn requirement(&self, text: &str, sets: Vec<Set>) -> Requirement {
        let nothing = || Set { name: self.universe.name_count(), members: Vec::new(), text: String::new() };
        let sets = if sets.is_empty() { vec![nothing()] } else { sets };
        let ids = sets.into_iter().map(|set| self.intern(set)).collect();
        let mut unions = self.unions.borrow_mut();
        let requirement = Requirement::Union(VersionSetUnionId(unions.len() as u32));
        unions.push(ids);
        let shown = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        self.texts.borrow_mut().insert(requirement, shown);
        requirement
    }

    fn intern(&self, set: Set) -> VersionSetId {
        if let Some(id) = self.set_numbers.borrow().get(&set) {
            return *id;
        }
        let mut sets = self.sets.borrow_mut();
        let id = VersionSetId(sets.len() as u32);
        sets.push(set.clone());
        self.set_numbers.borrow_mut().insert(set, id);
        id
    }

    /// The candidates of a name, best first: the pinned version, then newer before older, and of one version
    /// only that of the first archive.
    pub fn candidates(&self, name: usize) -> Fallible<Rc<[usize]>> {
        if let Some(known) = self.ordered.borrow().get(&name) {
            return Ok(Rc::clone(known));
        }
        let (text, range) = self.universe.named(name);
        let mut versions =
            range.map(|number| Ok((self.version(number)?, number))).collect::<Fallible<Vec<(&Version, usize)>>>()?;
        versions.sort_by(|(a, i), (b, j)| b.cmp(a).then(i.cmp(j)));
        versions.dedup_by(|later, earlier| later.0 == earlier.0);
        let pin = self.pins.get(text);
        let is_pinned = |number: usize| pin.is_some_and(|pin| *pin == self.universe.candidate(number).version);
        versions.sort_by_key(|(_, number)| !is_pinned(*number));
        let ordered: Rc<[usize]> = versions.into_iter().map(|(_, number)| number).collect();
        self.ordered.borrow_mut().insert(name, Rc::clone(&ordered));
        Ok(ordered)
    }

    fn version(&self, candidate: usize) -> Fallible<&'a Version> {
        self.universe.version(candidate).map_err(|source| Failure { candidate, source })
    }

    /// Adds the sets that satisfy a relation: the package itself, then its providers.
    fn satisfying(&self, relation: &Relation, sets: &mut Vec<Set>) -> Fallible<()> {
        if relation.foreign {
            return Ok(());
        }
        let mut providers = self.providing(relation)?;
        if let Some(name) = self.universe.name(relation.name) {
            let also = providers.remove(&name).unwrap_or_default();
            let members = self.matching(name, relation, &also)?;
            if !members.is_empty() {
                sets.push(Set { name, members, text: String::new() });
            }
        }
        let mut ranked = Vec::new();
        for (name, numbers) in providers {
            let members: Vec<_> = self.candidates(name)?.iter().copied().filter(|n| numbers.contains(n)).collect();
            if let Some(best) = members.first() {
                ranked.push((self.priority(*best)?, name, members));
            }
        }
        // Names are numbered in their order.
        ranked.sort();
        sets.extend(ranked.into_iter().map(|(_, name, members)| Set { name, members, text: String::new() }));
        Ok(())
    }

    /// The candidates of `name` within the relation's bound, and those in `also`.
    fn matching(&self, name: usize, relation: &Relation, also: &[usize]) -> Fallible<Vec<usize>> {
        let mut members = Vec::new();
        for number in self.candidates(name)?.iter() {
            if also.contains(number) || relation.admits(Some(self.version(*number)?)) {
                members.push(*number);
            }
        }
        Ok(members)
    }

    /// The candidates that provide what a relation names, by their names.
    fn providing(&self, relation: &Relation) -> Fallible<BTreeMap<usize, Vec<usize>>> {
        let mut by_name: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let providers = self.universe.providers(relation.name);
        for (number, version) in providers.map_err(|(candidate, source)| Failure { candidate, source })? {
            if relation.admits(version.as_ref()) {
                let name = self.universe.name(self.universe.candidate(number).name);
                by_name.entry(name.unwrap_or(usize::MAX)).or_default().push(number);
            }
        }
        Ok(by_name)
    }

    /// Rank of a package's priority (Debian Policy 2.5): smaller ones are preferred.
    fn priority(&self, candidate: usize) -> Fallible<usize> {
        let stanza = self.universe.stanza(candidate).map_err(|source| Failure { candidate, source })?;
        let ranks = ["required", "important", "standard", "optional"];
        let priority = stanza.get("Priority").unwrap_or("");
        Ok(ranks.iter().position(|rank| *rank == priority).unwrap_or(ranks.len()))
    }

    /// Adds what a candidate does not stand beside. A package never conflicts with itself (Policy 7.4).
    fn excluding(&self, candidate: usize, verb: &str, entry: &str, sets: &mut Vec<VersionSetId>) -> Fallible<()> {
        let own = self.universe.name(self.universe.candidate(candidate).name);
        let relations = alternatives(entry).map_err(|source| Failure { candidate, source })?;
        for relation in relations.iter().filter(|relation| !relation.foreign) {
            let mut excluded = self.providing(relation)?;
            if let Some(name) = self.universe.name(relation.name) {
                let also = excluded.remove(&name).unwrap_or_default();
                excluded.insert(name, self.matching(name, relation, &also)?);
            }
            for (name, numbers) in excluded.into_iter().filter(|(name, _)| Some(*name) != own) {
                let all = self.candidates(name)?;
                let members: Vec<_> = all.iter().copied().filter(|n| !numbers.contains(n)).collect();
                if members.len() < all.len() {
                    sets.push(self.intern(Set { name, members, text: format!("{verb} {relation}") }));
                }
            }
        }
        Ok(())
    }

    fn dependencies(&self, candidate: usize) -> Fallible<KnownDependencies> {
        let stanza = self.universe.stanza(candidate).map_err(|source| Failure { candidate, source })?;
        let mut requirements = self.require(candidate, &stanza, "Pre-Depends")?;
        requirements.extend(self.require(candidate, &stanza, "Depends")?);
        let mut constrains = Vec::new();
        for (field, verb) in [("Conflicts", "conflicts with"), ("Breaks", "breaks")] {
            for entry in entries(stanza.get(field).unwrap_or("")) {
                self.excluding(candidate, verb, entry, &mut constrains)?;
            }
        }
        let requirements = requirements.into_iter().map(ConditionalRequirement::from).collect();
        Ok(KnownDependencies { requirements, constrains })
    }

    /// Remembers a failure; the solver stops at its next step.
    fn fail(&self, failure: Failure) {
        self.failed.set(Some(failure));
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let candidate = self.universe.candidate(number(solvable));
        format!("{} {}", candidate.name, candidate.version)
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.universe.named(name.into_raw() as usize).0
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        self.constraint(set)
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        ""
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        let name = self.sets.borrow().get(set.0 as usize).map(|s| s.name);
        name_id(name.unwrap_or_else(|| self.universe.name_count()))
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        let name = self.universe.name(self.universe.candidate(number(solvable)).name);
        name_id(name.unwrap_or_else(|| self.universe.name_count()))
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow().get(union.0 as usize).cloned().unwrap_or_default().into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no requirement is made with a condition")
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(&self, candidates: &[SolvableId], set: VersionSetId, inverse: bool) -> Vec<SolvableId> {
        let sets = self.sets.borrow();
        let members = sets.get(set.0 as usize).map_or(&[][..], |s| &s.members);
        candidates.iter().copied().filter(|c| members.contains(&number(*c)) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        match self.candidates(name.into_raw() as usize) {
            Ok(numbers) => Some(Candidates {
                candidates: numbers.iter().copied().map(solvable).collect(),
                ..Candidates::default()
            }),
            Err(failure) => {
                self.fail(failure);
                None
            }
        }
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let Some(first) = solvables.first() else { return };
        let name = self.solvable_name(*first);
        match self.candidates(name.into_raw() as usize) {
            Ok(order) => solvables.sort_by_key(|s| order.iter().position(|n| *n == number(*s))),
            Err(failure) => self.fail(failure),
        }
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        Dependencies::Known(self.dependencies(number(solvable)).unwrap_or_else(|failure| {
            self.fail(failure);
            KnownDependencies::default()
        }))
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        let failure = self.failed.take()?;
        self.fail(failure);
        Some(Box::new(()))
    }
}
