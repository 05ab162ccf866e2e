//! Finds the list or map that each comment belongs to, which decides with what key material it is encrypted. YAML
//! itself does not say; the ways of go-yaml are followed, as sops sees them.

use std::collections::BTreeSet;

use super::super::tree::Comment;
use super::read::{Container, Found, Node, Parsed, Root};

/// A slot of a container.
#[derive(Clone, Copy)]
struct At {
    container: usize,
    slot: usize,
}

/// Puts all comments into their containers.
pub(super) fn attach(parsed: &mut Parsed<'_>) {
    let comments = std::mem::take(&mut parsed.comments);
    if comments.is_empty() {
        return;
    }
    for index in 0..parsed.roots.len() {
        // A document that holds comments only is an empty map with comments.
        if parsed.roots[index].node.is_none() && owners(&parsed.roots, &comments).contains(&Some(index)) {
            parsed.roots[index].node = Some(parsed.containers.len());
            parsed.containers.push(Container {
                parent: None,
                column: 0,
                is_flow: false,
                is_map: true,
                end: usize::MAX,
                slots: Vec::new(),
                keys: BTreeSet::new(),
                comments: Vec::new(),
            });
        }
    }
    let order = in_order(parsed);
    for (comment, owner) in comments.iter().zip(owners(&parsed.roots, &comments)) {
        let Some(root) = owner.and_then(|index| parsed.roots.get(index)).and_then(|root| root.node) else { continue };
        let (container, slot, inline) = place(parsed, &order, root, comment);
        let comment = Comment { text: comment.text.as_str().into(), inline };
        if let Some(container) = parsed.containers.get_mut(container) {
            // In the order of the text, whatever was put there first.
            let at = container.comments.partition_point(|(before, _)| *before <= slot);
            container.comments.insert(at, (slot, comment));
        }
    }
}

/// All slots in the order of the text, the outer before the inner.
fn in_order(parsed: &Parsed<'_>) -> Vec<(usize, At)> {
    let mut order = Vec::new();
    for (container, content) in parsed.containers.iter().enumerate() {
        order.extend(content.slots.iter().enumerate().map(|(slot, s)| (s.start, At { container, slot })));
    }
    // Containers are numbered from the outside, so a stable sort keeps an item before the first key inside it.
    order.sort_by_key(|(start, at)| (*start, at.container));
    order
}

/// The document that each comment belongs to.
fn owners(roots: &[Root], comments: &[Found]) -> Vec<Option<usize>> {
    let owner = |comment: &Found| {
        let next = roots.partition_point(|root| root.begin <= comment.start);
        let Some(before) = next.checked_sub(1) else { return (!roots.is_empty()).then_some(0) };
        let is_past = roots.get(before).and_then(|root| root.closed).is_some_and(|end| end <= comment.start);
        Some(if is_past && next < roots.len() { next } else { before })
    };
    comments.iter().map(owner).collect()
}

/// The container, the slot that the comment comes before, and whether it stands on that slot's line.
fn place(parsed: &Parsed<'_>, order: &[(usize, At)], root: usize, comment: &Found) -> (usize, usize, bool) {
    let within = |at: &At| root_of(parsed, at.container) == root;
    let next = order.partition_point(|(start, _)| *start <= comment.start);
    let previous = next.checked_sub(1).and_then(|i| order.get(i)).map(|(_, at)| *at).filter(within);
    let next = order.get(next).map(|(_, at)| *at).filter(within);
    let line = parsed.text.get(..comment.start).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
    let before = parsed.text.get(line..comment.start).unwrap_or("");
    if !before.trim().is_empty() {
        return beside(parsed, root, previous, next, comment.start, line);
    }
    if let Some(flow) = previous.and_then(|at| open_flow(parsed, at, comment.start)) {
        return (flow.container, flow.slot, false);
    }
    let column = before.chars().count();
    let target = next.map_or(root, |at| at.container);
    let mut container = previous.map(|at| at.container);
    // A comment below the end of nested collections belongs to the deepest that it is not left of.
    while let Some(index) = container {
        if index == target || is_inside(parsed, target, index) {
            break;
        }
        let Some(found) = parsed.containers.get(index) else { break };
        let outer = parsed.containers.get(target).map_or(0, |target| target.column);
        if !found.is_flow && column >= found.column && found.column > outer {
            return (index, found.slots.len(), false);
        }
        container = found.parent;
    }
    match next {
        Some(at) => (at.container, at.slot, false),
        None => (root, parsed.containers.get(root).map_or(0, |root| root.slots.len()), false),
    }
}

/// A comment to the right of something.
fn beside(
    parsed: &Parsed<'_>,
    root: usize,
    previous: Option<At>,
    next: Option<At>,
    start: usize,
    line: usize,
) -> (usize, usize, bool) {
    let ahead = match next {
        Some(at) => (at.container, at.slot, false),
        None => (root, parsed.containers.get(root).map_or(0, |root| root.slots.len()), false),
    };
    let Some(mut at) = previous else { return ahead };
    let slot_of = |at: At| parsed.containers.get(at.container).and_then(|container| container.slots.get(at.slot));
    // Out of flow collections that end before the comment.
    let mut left = None;
    while let Some(container) = parsed.containers.get(at.container).filter(|c| c.is_flow && c.end <= start) {
        left = Some(at.container);
        let Some(parent) = container.parent else { return ahead };
        let is_it = |slot: &super::read::Slot| matches!(slot.node, Node::Container(index) if index == at.container);
        let Some(slot) = parsed.containers.get(parent).and_then(|parent| parent.slots.iter().position(is_it)) else {
            return ahead;
        };
        at = At { container: parent, slot };
    }
    let Some(slot) = slot_of(at) else { return ahead };
    let in_map = parsed.containers.get(at.container).is_some_and(|container| container.is_map);
    let empty_flow = match slot.node {
        Node::Container(index) => parsed.containers.get(index).filter(|c| c.is_flow && c.end <= start).map(|_| index),
        _ => None,
    };
    if let Some(flow) = left.or(empty_flow) {
        // Of a key's value, it belongs into the collection; of an item, beside it.
        return if in_map { (flow, 0, false) } else { (at.container, at.slot, true) };
    }
    let written = slot.value.start < start && !slot.value.is_empty();
    if written && (slot.value.end > line || slot.value.end > start) && !matches!(slot.node, Node::Container(_)) {
        return (at.container, at.slot, true);
    }
    // Behind a key whose value is on the next lines, or is nothing.
    if slot.start >= line && in_map { (at.container, at.slot, false) } else { ahead }
}

/// The flow collection that is open at a place, and its next slot.
fn open_flow(parsed: &Parsed<'_>, previous: At, start: usize) -> Option<At> {
    let mut at = Some(previous.container);
    while let Some(index) = at {
        let container = parsed.containers.get(index)?;
        if container.is_flow && container.end > start {
            let slot = container.slots.partition_point(|slot| slot.start < start);
            return Some(At { container: index, slot });
        }
        at = container.parent;
    }
    None
}

fn is_inside(parsed: &Parsed<'_>, inner: usize, outer: usize) -> bool {
    let mut at = Some(inner);
    while let Some(index) = at {
        if index == outer {
            return true;
        }
        at = parsed.containers.get(index).and_then(|container| container.parent);
    }
    false
}

fn root_of(parsed: &Parsed<'_>, container: usize) -> usize {
    let mut at = container;
    while let Some(parent) = parsed.containers.get(at).and_then(|container| container.parent) {
        at = parent;
    }
    at
}
