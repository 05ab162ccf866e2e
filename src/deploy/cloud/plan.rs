//! From what is wanted of a machine and what is there to what has to be done. Pure.

use std::collections::BTreeSet;

use super::answer::Instance;
use super::{Wanted, tag};

/// What has to be done for a machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// An instance is made and checked; then what ran before goes.
    Launch {
        /// What runs now.
        from: Option<String>,
        /// What shall run.
        to: String,
    },
    /// The instance is there and does not run: it is started and checked.
    Start,
    /// The instance runs, but nobody knows yet whether it is well.
    Check,
    /// It is well, and others of its name are left.
    Retire,
}

/// What became of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It runs and is well; disks of instances that it took the place of.
    Well(BTreeSet<String>),
    /// It was not well.
    Unwell {
        /// Why.
        reason: String,
        /// Whether it was well once, and so is still there.
        stays: bool,
        /// What else there is of it.
        instead: Option<String>,
    },
}

/// Of the instances of a machine that which shall run, the well one if there are several, and all others.
pub fn own<'a>(wanted: &Wanted<'_>, all: &'a [Instance]) -> (Option<&'a Instance>, Vec<&'a Instance>) {
    let is_ours = |instance: &&Instance| {
        instance.tag(tag::TARGET) == wanted.target && instance.tag(tag::MACHINE) == wanted.machine.name.as_str()
    };
    let is_current = |instance: &&&Instance| {
        instance.tag(tag::DISK) == wanted.release.tag()
            && instance.tag(tag::SIZE) == wanted.release.gib().to_string()
            && instance.tag(tag::CONFIG) == wanted.config
    };
    let ours: Vec<&Instance> = all.iter().filter(is_ours).collect();
    let current = ours.iter().filter(is_current).max_by_key(|instance| (instance.is_well(), instance.runs)).copied();
    let others = ours.into_iter().filter(|instance| current.is_none_or(|current| current.id != instance.id)).collect();
    (current, others)
}

/// What has to be done so that a machine is as it should be; nothing if it is. Pure.
pub fn plan(wanted: &Wanted<'_>, all: &[Instance]) -> Option<Action> {
    let (current, others) = own(wanted, all);
    match current {
        None => {
            let from = others.first().map(|other| other.title());
            Some(Action::Launch { from, to: wanted.release.title() })
        }
        Some(current) if !current.runs => Some(Action::Start),
        Some(current) if !current.is_well() => Some(Action::Check),
        Some(_) if !others.is_empty() => Some(Action::Retire),
        Some(_) => None,
    }
}
