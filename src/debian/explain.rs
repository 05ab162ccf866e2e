//! Why packages cannot be installed together: the chains of relations that lead to each contradiction.

use std::collections::{BTreeMap, BTreeSet};

use resolvo::conflict::{Conflict, ConflictCause, ConflictEdge, ConflictNode};
use resolvo::{Interner as _, Requirement, Solver};

use super::provider::Provider;

/// The most contradictions that are told; one usually entails others.
const LIMIT: usize = 6;

/// One line for each contradiction, sorted.
pub fn explain(conflict: &Conflict, solver: &Solver<Provider>, asked: &BTreeSet<&str>) -> Vec<String> {
    let graph = Graph::new(conflict, solver, asked);
    let lines: BTreeSet<String> = graph.contradictions().into_iter().collect();
    lines.into_iter().take(LIMIT).collect()
}

/// What the solver found, with nodes by number: who needs what, and who excludes whom.
struct Graph<'s, 'a> {
    provider: &'s Provider<'a>,
    asked: &'s BTreeSet<&'s str>,
    root: usize,
    nodes: BTreeMap<usize, ConflictNode>,
    requires: BTreeMap<usize, BTreeSet<(Requirement, usize)>>,
    excludes: BTreeSet<(usize, ConflictCause, usize)>,
    /// The first step on a shortest way from each node back to the root.
    back: BTreeMap<usize, (usize, Requirement)>,
}

impl<'s, 'a> Graph<'s, 'a> {
    fn new(conflict: &Conflict, solver: &'s Solver<Provider<'a>>, asked: &'s BTreeSet<&'s str>) -> Self {
        let found = conflict.graph(solver);
        let nodes = found.graph.node_indices().map(|n| (n.index(), found.graph[n])).collect();
        let mut requires: BTreeMap<usize, BTreeSet<_>> = BTreeMap::new();
        let mut excludes = BTreeSet::new();
        for edge in found.graph.edge_indices() {
            let Some((from, to)) = found.graph.edge_endpoints(edge) else { continue };
            match found.graph[edge] {
                ConflictEdge::Requires(requirement) => {
                    requires.entry(from.index()).or_default().insert((requirement, to.index()));
                }
                // This one has no direction; the solver may tell it either way or both.
                ConflictEdge::Conflict(cause @ ConflictCause::ForbidMultipleInstances) => {
                    excludes.insert((from.index().min(to.index()), cause, from.index().max(to.index())));
                }
                ConflictEdge::Conflict(cause) => {
                    excludes.insert((from.index(), cause, to.index()));
                }
            }
        }
        let root = found.root_node.index();
        let provider = solver.provider();
        let mut graph = Self { provider, asked, root, nodes, requires, excludes, back: BTreeMap::new() };
        graph.walk();
        graph
    }

    /// Breadth first, in the order of names, so that the same conflict is always told in the same way.
    fn walk(&mut self) {
        let mut layer = vec![self.root];
        let mut seen = BTreeSet::from([self.root]);
        while !layer.is_empty() {
            let mut next = Vec::new();
            for from in layer {
                for (requirement, to) in self.requires.get(&from).into_iter().flatten() {
                    if seen.insert(*to) {
                        self.back.insert(*to, (from, *requirement));
                        next.push(*to);
                    }
                }
            }
            next.sort_by_key(|node| self.label(*node));
            layer = next;
        }
    }

    fn contradictions(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (from, targets) in &self.requires {
            for (requirement, to) in targets {
                if matches!(self.nodes.get(to), Some(ConflictNode::UnresolvedDependency)) {
                    lines.push(format!("{}, {}", self.chain(*from, Some(*requirement)), self.available(*requirement)));
                }
            }
        }
        for (from, cause, to) in &self.excludes {
            match cause {
                ConflictCause::Constrains(set) => {
                    lines.push(self.exclusion(*from, &self.provider.constraint(*set), *to))
                }
                ConflictCause::ForbidMultipleInstances => {
                    lines.push(format!("{}, but {}", self.chain(*from, None), self.chain(*to, None)))
                }
                _ => {}
            }
        }
        lines
    }

    /// `postfix is asked for, postfix 3 conflicts with mail-transport-agent, which exim4 4 is, but exim4 is asked for`.
    fn exclusion(&self, from: usize, constraint: &str, to: usize) -> String {
        let (excluding, excluded) = (self.label(from), self.label(to));
        let name = |text: &str| text.split(' ').next().unwrap_or("").to_owned();
        let target = constraint.trim_start_matches("conflicts with ").trim_start_matches("breaks ");
        let provided =
            if name(target) == name(&excluded) { String::new() } else { format!(", which {excluded} provides") };
        format!("{}, {excluding} {constraint}{provided}, but {}", self.chain(from, None), self.chain(to, None))
    }

    /// How the root comes to need a node, or a requirement of it: `a is asked for, a 1 needs b`.
    fn chain(&self, node: usize, last: Option<Requirement>) -> String {
        let mut steps: Vec<String> = last.map(|r| self.step(node, r)).into_iter().collect();
        let mut at = node;
        while let Some((from, requirement)) = self.back.get(&at) {
            steps.push(self.step(*from, *requirement));
            at = *from;
        }
        steps.reverse();
        steps.join(", ")
    }

    fn step(&self, from: usize, requirement: Requirement) -> String {
        let text = self.provider.text(requirement);
        match from == self.root {
            true if self.asked.contains(text.as_str()) || !self.is_essential(&text) => format!("{text} is asked for"),
            true => format!("{text} is essential"),
            false => format!("{} needs {text}", self.label(from)),
        }
    }

    fn is_essential(&self, name: &str) -> bool {
        let universe = self.provider.universe();
        universe.name(name).is_some_and(|name| universe.named(name).1.any(|n| universe.candidate(n).essential))
    }

    fn label(&self, node: usize) -> String {
        match self.nodes.get(&node) {
            Some(ConflictNode::Solvable(id)) => self.provider.display_solvable(*id).to_string(),
            _ => String::new(),
        }
    }

    /// What there is of the packages that a requirement without candidates names.
    fn available(&self, requirement: Requirement) -> String {
        let universe = self.provider.universe();
        let text = self.provider.text(requirement);
        let names =
            text.split('|').filter_map(|alternative| alternative.split([' ', '(', ':']).find(|w| !w.is_empty()));
        let versions: Vec<String> = names
            .filter_map(|name| universe.name(name))
            .flat_map(|name| universe.named(name).1)
            .map(|n| format!("{} {}", universe.candidate(n).name, universe.candidate(n).version))
            .collect();
        if versions.is_empty() {
            "which no archive has".to_owned()
        } else {
            format!("but there is only {}", versions.join(", "))
        }
    }
}
