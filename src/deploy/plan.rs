//! From what is declared and what runs to what has to be done. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::{Facts, MachineFacts, Release};
use super::target::{Engine, Machine};
use super::units::{self, Form, Parts};
use crate::digest::Digest;
use crate::images::Manifest;
use crate::name::ImageName;
use crate::origin::Origin;
use crate::qemu;

/// One thing that has to be done for a machine, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// The host gets the programs.
    SendTools,
    /// The host gets the image.
    SendImage,
    /// The machine is made, started and checked.
    Create {
        /// What it shall run.
        to: String,
    },
    /// The machine stops, starts with another version and is checked.
    Upgrade {
        /// What it runs.
        from: String,
        /// What it shall run.
        to: String,
    },
    /// The machine stops, starts with other settings and is checked.
    Restart {
        /// Units that differ.
        units: Vec<String>,
    },
    /// The machine runs what it shall run, but nobody knows yet whether it is well.
    Check,
}

/// The controllers by which podman limits a container, all of which it is given limits of.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Why a machine cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// The host has one of that name already.
    #[error("there is a machine {machine} already, of target `{target}`")]
    Name {
        /// The machine.
        machine: ImageName,
        /// Whose it is.
        target: String,
    },
    /// The machine that is there is of another image.
    #[error("machine {machine} runs the image {image}, whose state another image would not know")]
    Image {
        /// The machine.
        machine: ImageName,
        /// The image.
        image: ImageName,
    },
    /// The host's kernel would not limit it.
    #[error("its control groups lack {}, by which a container is limited", missing.join(", "))]
    Controllers {
        /// What /sys/fs/cgroup/cgroup.controllers does not list.
        missing: Vec<&'static str>,
    },
}

impl Clash {
    /// What to do about it; `origin` is where the machine is declared.
    pub fn remedy(&self, origin: &Origin) -> String {
        match self {
            Self::Name { .. } | Self::Image { .. } => format!("{origin}: give the machine another name there"),
            Self::Controllers { .. } => "containers need cgroup v2 with all its controllers: boot the host with \
                 systemd.unified_cgroup_hierarchy=1, and cgroup_enable=memory where the kernel leaves that out; to a host that is \
                 itself a container or a unit they must be delegated (Delegate=yes)"
                .to_owned(),
        }
    }
}

/// What has to be done so that `machine` of `target` runs `wanted`; nothing if it does and is well.
///
/// # Errors
/// The name is taken by another target or image, or the host cannot limit a container.
pub fn plan(target: &str, machine: &ImageName, wanted: &Release, facts: &Facts) -> Result<Vec<Action>, Clash> {
    let known = facts.machines.get(machine);
    if let Some(MachineFacts { record, .. }) = known {
        if record.target != target {
            return Err(Clash::Name { machine: machine.clone(), target: record.target.clone() });
        }
        if record.current.image != wanted.image {
            return Err(Clash::Image { machine: machine.clone(), image: record.current.image.clone() });
        }
    }
    let lacks = |controller: &&str| facts.controllers.as_ref().is_some_and(|there| !there.contains(*controller));
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(lacks).collect();
    if wanted.container.is_some() && !missing.is_empty() {
        return Err(Clash::Controllers { missing });
    }
    let mut actions = Vec::new();
    if !facts.tools.contains(&wanted.tools) {
        actions.push(Action::SendTools);
    }
    if !facts.images.contains(&wanted.disk) {
        actions.push(Action::SendImage);
    }
    let Some(MachineFacts { record, state, changed, .. }) = known else {
        actions.push(Action::Create { to: wanted.title() });
        return Ok(actions);
    };
    let current = &record.current;
    if current.disk != wanted.disk {
        actions.push(Action::Upgrade { from: current.title(), to: wanted.title() });
    } else if current.units != wanted.units || !changed.is_empty() || state != "active" {
        let differs = |(name, text): &(&String, &String)| current.units.get(*name) != Some(*text);
        let mut units: Vec<String> = wanted.units.iter().filter(differs).map(|(name, _)| name.clone()).collect();
        units.extend(changed.iter().filter(|name| !units.contains(name)).cloned().collect::<Vec<_>>());
        actions.push(Action::Restart { units });
    } else if !record.confirmed {
        actions.push(Action::Check);
    }
    Ok(actions)
}

/// The units that the target gives a machine now, for the build that it runs, which is that of `manifest`; `given` is as
/// [`Parts::given`]. None at all if it would run in another form.
///
/// # Errors
/// The image asks for a machine that cannot be.
pub fn units_now(
    declared: &Machine,
    manifest: &Manifest,
    current: &Release,
    identity: bool,
    given: &Digest,
) -> qemu::Result<BTreeMap<String, String>> {
    let image = current.container.as_deref().map(|name| name.rsplit(':').next().unwrap_or(name).parse::<Digest>());
    let form = match (declared.engine, image) {
        (Engine::Qemu(accelerator), None) => Form::Machine { accelerator, disk: current.disk },
        (Engine::Podman, Some(Ok(image))) => Form::Container { archive: current.disk, image },
        _ => return Ok(BTreeMap::new()),
    };
    units::render(&Parts { declared, manifest, tools: &current.tools, form, identity, given })
}

/// How what runs differs from what is declared, in words; nothing if it does not. `units`: see [`units_now`], if the build
/// that runs is known here.
pub fn drift(target: &str, known: &MachineFacts, units: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let record = &known.record;
    let mut drift = Vec::new();
    if record.target != target {
        drift.push(format!("belongs to target `{}`", record.target));
    } else if units.is_some_and(|units| *units != record.current.units) {
        drift.push("the target or rave has changed".to_owned());
    }
    drift.extend(known.changed.iter().map(|unit| format!("{unit} was changed on the host")));
    if !record.confirmed {
        drift.push("its deployment has not come to its end".to_owned());
    }
    drift
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
