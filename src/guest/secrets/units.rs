//! Units of secrets that changed: which restart, which reload, and how they are after that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::generation::Change;
use crate::secrets::deploy::Need;
use crate::system::OnChange;
use crate::tool::Tool;

/// How long units may take to restart, and how much `systemctl` may say, in bytes.
const TIME: Duration = Duration::from_secs(90);
const OUTPUT: usize = 64 << 10;

/// What is done to a unit; the later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It reads its configuration anew.
    Reload,
    /// It starts anew.
    Restart,
}

/// What was done to a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The unit.
    pub unit: String,
    /// What was done to it; nothing if it was not running.
    pub act: Option<Act>,
    /// Its state after that, as systemd names it.
    pub state: String,
}

impl Done {
    /// Whether it did not come through what was done to it.
    pub fn is_bad(&self) -> bool {
        self.act.is_some() && !is_live(&self.state)
    }
}

/// What changes mean for units. Whoever opened a file keeps the old owner's rights to it, so a change of these takes
/// a restart even where new bytes take a reload.
pub fn plan<'a>(changes: impl IntoIterator<Item = (&'a Need, Change)>) -> BTreeMap<String, Act> {
    let mut acts = BTreeMap::new();
    for (need, change) in changes.into_iter().filter(|(_, change)| change.any()) {
        let act = match need.on_change {
            OnChange::None => continue,
            OnChange::Reload if !change.access => Act::Reload,
            OnChange::Reload | OnChange::Restart => Act::Restart,
        };
        for unit in &need.units {
            add(&mut acts, unit.clone(), act);
        }
    }
    acts
}

/// Plans something for a unit; the stronger act counts.
pub fn add(acts: &mut BTreeMap<String, Act>, unit: String, act: Act) {
    let planned = acts.entry(unit).or_insert(act);
    *planned = act.max(*planned);
}

/// Restarts and reloads those units that run. With `wait`, the states are those after that; a service that itself
/// starts before those units must not wait for them.
pub fn settle(acts: &BTreeMap<String, Act>, wait: bool) -> Result<Vec<Done>, Error> {
    let names: Vec<&str> = acts.keys().map(String::as_str).collect();
    let before = states(&names)?;
    let live: BTreeSet<&str> = before.iter().filter(|(_, state)| is_live(state)).map(|(name, _)| *name).collect();
    for (act, verb) in [(Act::Restart, "try-restart"), (Act::Reload, "try-reload-or-restart")] {
        let chosen: Vec<&str> = live.iter().copied().filter(|name| acts.get(*name) == Some(&act)).collect();
        if !chosen.is_empty() {
            let block = if wait { &[][..] } else { &["--no-block"] };
            // A unit that fails is told by its state.
            Tool::new("systemctl").arg(verb).args(block).arg("--").args(chosen).bounded(TIME, OUTPUT)?;
        }
    }
    let after = if live.is_empty() { before.clone() } else { states(&names)? };
    let done = after.into_iter().map(|(name, state)| Done {
        unit: name.to_owned(),
        act: acts.get(name).copied().filter(|_| live.contains(name)),
        state,
    });
    Ok(done.collect())
}

fn is_live(state: &str) -> bool {
    matches!(state, "active" | "activating" | "reloading" | "refreshing")
}

/// The state of each unit.
fn states<'a>(names: &[&'a str]) -> Result<Vec<(&'a str, String)>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Its exit status says only whether all are active.
    let ended = Tool::new("systemctl").args(["is-active", "--"]).args(names).bounded(TIME, OUTPUT)?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let states: Vec<String> = text.lines().map(str::to_owned).collect();
    if states.len() != names.len() {
        return Err(Error::Units(String::from_utf8_lossy(&ended.stderr).trim().to_owned()));
    }
    Ok(names.iter().copied().zip(states).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(on_change: OnChange, units: &[&str]) -> Need {
        let units = units.iter().map(|unit| (*unit).to_owned()).collect();
        let (kind, root) = (crate::system::SecretKind::Token, || "root".to_owned());
        Need { kind, owner: root(), group: root(), mode: "0400".to_owned(), units, on_change }
    }

    #[test]
    fn only_what_changed_acts_and_a_restart_is_stronger() {
        let (content, access) = (Change { content: true, access: false }, Change { content: false, access: true });
        let check = |changes: &[(OnChange, &[&str], Change)], expected: &[(&str, Act)]| {
            let needs: Vec<_> = changes.iter().map(|(on, units, change)| (need(*on, units), *change)).collect();
            let expected = expected.iter().map(|(unit, act)| ((*unit).to_owned(), *act)).collect();
            assert_eq!(plan(needs.iter().map(|(need, change)| (need, *change))), expected);
        };
        check(&[(OnChange::Restart, &["a"], Change::default())], &[]);
        check(&[(OnChange::None, &["a"], content), (OnChange::None, &["a"], access)], &[]);
        check(&[(OnChange::Reload, &["a", "b"], content)], &[("a", Act::Reload), ("b", Act::Reload)]);
        check(&[(OnChange::Reload, &["a"], access)], &[("a", Act::Restart)]);
        let both = [(OnChange::Restart, &["a"][..], content), (OnChange::Reload, &["a", "b"][..], content)];
        check(&both, &[("a", Act::Restart), ("b", Act::Reload)]);
        check(&[both[1], both[0]], &[("a", Act::Restart), ("b", Act::Reload)]);
    }
}
