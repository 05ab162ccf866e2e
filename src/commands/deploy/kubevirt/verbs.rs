//! What is done to machines of a cluster besides deploying, and what is told of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli;
use crate::deploy::Target;
use crate::deploy::kubevirt::manifests::{IMAGE, MODE, ROOT_HASH, TARGET, VERSION, image_of, secret_of};
use crate::deploy::kubevirt::rollout::{self, Api as _};
use crate::deploy::kubevirt::{Cluster, Found, Parts, Rollout, drift};
use crate::interrupt;
use crate::name::ImageName;
use crate::store::Store;
use crate::ui::Tone;

use super::super::super::ps::{self, Row, Seen};
use super::super::super::{Context, Failure, Result, Status};
use super::super::looks;
use super::super::rollout as shared;
use super::api::{self, Kubectl};
use super::failed;

/// What all machines of a target have in common.
const SHARED: &str = "service,networkpolicy,poddisruptionbudget,secret";
/// Of that, what whoever looks may read.
const VISIBLE: &str = "service,networkpolicy,poddisruptionbudget";

/// Where the machines are, for people.
pub fn place(cluster: &Cluster) -> String {
    format!("namespace {}", cluster.namespace)
}

/// What `rave ps` tells of a target.
pub fn rows(context: &Context, store: &Store, target: &Target, cluster: &Cluster) -> Result<Vec<Row>> {
    let row = |machine: &ImageName, found: std::result::Result<Option<Seen>, String>, drift: Vec<String>| Row {
        target: target.name.clone(),
        machine: machine.clone(),
        host: place(cluster),
        found,
        drift,
    };
    let asked = Kubectl::new(context, target, cluster, None).and_then(|api| Ok((api.machines()?, api)));
    let (there, api) = match asked {
        Ok(asked) => asked,
        Err(failure) => {
            let reason = failure.reason();
            return Ok(cluster.machines.iter().map(|machine| row(machine, Err(reason.clone()), Vec::new())).collect());
        }
    };
    let of_target = |found: &&Found| found.target.as_deref() == Some(target.name.as_str());
    let given = there.values().any(|found| of_target(&found)).then(|| ps::given(context, target)).flatten();
    let given = given.map(|given| given.digest);
    let (mut rows, mut common, mut known) = (Vec::new(), Vec::new(), 0);
    for machine in &cluster.machines {
        let Some(found) = there.get(machine.as_str()) else {
            rows.push(row(machine, Ok(None), vec!["not deployed".to_owned()]));
            continue;
        };
        let told = found.applied.as_ref().filter(|_| of_target(&found));
        let build = told.map(|told| api::built(context, store, told)).transpose()?.flatten();
        let declared = told.zip(build.as_ref()).zip(given.as_ref()).and_then(|((told, manifest), given)| {
            let parts = Parts { target: &target.name, cluster, manifest, image: &image_of(told)?, given };
            Some((parts.machine(machine), parts.shared()))
        });
        let mut drift = drift::of_machine(&target.name, found, declared.as_ref().map(|(machine, _)| machine));
        if let Some(newer) = told.map(|told| newer(context, store, told)).transpose()?.flatten() {
            drift.insert(0, newer);
        }
        known += usize::from(declared.is_some());
        common.extend(declared.map(|(_, shared)| shared));
        rows.push(row(machine, Ok(Some(seen(context, target, machine, found))), drift));
    }
    // While machines run versions that have something else in common, there is nothing that it should be.
    let all = cluster.machines.iter().filter_map(|machine| there.get(machine.as_str())).filter(of_target).count();
    if let Some(shared) = common.first().filter(|first| known == all && common.iter().all(|other| other == *first))
        && let Some(row) = rows.iter_mut().find(|row| matches!(row.found, Ok(Some(_))))
    {
        row.drift.extend(of_shared(context, &api, target, shared)?);
    }
    for (name, found) in there.iter().filter(|(_, found)| of_target(found)) {
        let Ok(machine) = name.parse::<ImageName>() else { continue };
        if !cluster.machines.contains(&machine) {
            let mut drift = drift::of_machine(&target.name, found, None);
            drift.insert(0, "no longer declared".to_owned());
            rows.push(row(&machine, Ok(Some(seen(context, target, &machine, found))), drift));
        }
    }
    Ok(rows)
}

/// That there is a newer build than the one that a machine is told to run.
fn newer(context: &Context, store: &Store, told: &Value) -> Result<Option<String>> {
    let Some(image) = api::image(told) else { return Ok(None) };
    let newest = ps::newest(context, store, &image)?.filter(|newest| !api::runs(told, newest));
    Ok(newest.map(|newest| ps::built(&newest)))
}

/// How what all machines have in common differs from what it should be. Who may not look at it is told so.
fn of_shared(context: &Context, api: &Kubectl<'_>, target: &Target, told: &[Value]) -> Result<Vec<String>> {
    let answer = match api.kubectl(&["get", VISIBLE, &all_of(target), "--output=json"], b"") {
        Ok(answer) => answer,
        Err(rollout::Error::Interrupted) => return Err(Failure::Interrupted),
        Err(error) => {
            context.ui.warn(format!("{}: what machines have in common is not known: {error}", target.name));
            return Ok(Vec::new());
        }
    };
    drift::of_shared(told, &answer).map_err(|error| Failure::error(format!("kubectl does not answer in JSON: {error}")))
}

fn seen(context: &Context, target: &Target, machine: &ImageName, found: &Found) -> Seen {
    let text = |machine: Option<&Value>, key: &str| {
        machine.and_then(|machine| machine["metadata"]["annotations"][key].as_str()).unwrap_or("unknown").to_owned()
    };
    let current = found.applied.as_ref();
    let is_running = found.state == "Running";
    let looked_at = current.filter(|_| is_running).map(|current| api::looked_at(target, current));
    let health = looked_at.and_then(|of| looks::last(context, &target.name, machine, &of));
    let unwell = health.as_ref().filter(|look| !look.healthy);
    let verdict = match (found.state.as_str(), unwell) {
        ("Running", Some(look)) => (format!("unhealthy: {}", look.troubles.len()), Tone::Bad),
        ("Running", None) if !found.ready => ("not ready".to_owned(), Tone::Bad),
        ("Running", None) if found.confirmed || health.is_some() => ("healthy".to_owned(), Tone::Good),
        ("Running", None) => ("unknown".to_owned(), Tone::Warn),
        (state, _) => (state.to_lowercase(), Tone::Bad),
    };
    Seen {
        image: text(current, IMAGE),
        version: text(current, VERSION),
        mode: serde_json::from_value(text(current, MODE).into()).ok(),
        root_hash: text(current, ROOT_HASH),
        previous: found.previous.as_ref().map(|previous| text(Some(previous), VERSION)),
        confirmed: found.confirmed,
        refused: None,
        state: found.state.clone(),
        health,
        verdict,
    }
}

/// Does one of the verbs of `rave target`.
pub fn verb(verb: &cli::Target, context: &Context, target: &Target, cluster: &Cluster) -> Result<Status> {
    let api = Kubectl::new(context, target, cluster, None)?;
    let (rollout, there) = (Rollout { api: &api }, api.machines()?);
    let machines = shared::chosen(&target.name, &cluster.machines, |name| name, &verb.machines().machine)?;
    for machine in &machines {
        own(target, cluster, machine, there.get(machine.as_str()))?;
    }
    let mut status = Status::Done;
    for machine in &machines {
        let name = machine.as_str();
        match verb {
            cli::Target::Start(_) => rollout.switch(name, true).map_err(failed)?,
            cli::Target::Stop(_) => rollout.switch(name, false).map_err(failed)?,
            cli::Target::Restart(_) => rollout.restart(name).map_err(failed)?,
            cli::Target::Check(_) => {
                let applied = there.get(name).and_then(|found| found.applied.as_ref());
                let untold = || Failure::request(format!("{name} is not as `rave deploy` left it"));
                let applied = applied.ok_or_else(untold)?;
                let _left = interrupt::leave_to_machine();
                let troubles = api.look(applied).map_err(failed)?;
                if troubles.is_empty() {
                    context.ui.say(format!("{name} is well"));
                } else {
                    context.ui.error(format!("{name} is not well\n{}", troubles.join("\n")));
                    status = Status::Unwell;
                }
            }
            cli::Target::Logs { lines, .. } => {
                let pod = format!("pod/{}", api.pod(name).map_err(failed)?);
                // The container in which KubeVirt has the serial console (its `logSerialConsole`).
                let words = ["logs", &pod, "--container=guest-console-log", &format!("--tail={lines}")];
                context.ui.print_bytes(&api.kubectl(&words, b"").map_err(failed)?);
            }
            cli::Target::Remove { .. } => {
                rollout.remove(name).map_err(failed)?;
                looks::forget(context, &target.name, machine);
                context.ui.say(format!("{name} is gone from {}", place(cluster)));
            }
        }
    }
    if matches!(verb, cli::Target::Remove { .. }) {
        clear(&api, target)?;
    }
    Ok(status)
}

/// What has kubectl take all objects of a target.
fn all_of(target: &Target) -> String {
    format!("--selector={TARGET}={}", target.name)
}

/// Takes away what the machines of a target have in common, if none of them is left.
pub fn clear(api: &Kubectl<'_>, target: &Target) -> Result<()> {
    if api.machines()?.values().any(|found| found.target.as_deref() == Some(target.name.as_str())) {
        return Ok(());
    }
    api.kubectl(&["delete", SHARED, &all_of(target), "--ignore-not-found"], b"").map(drop).map_err(failed)
}

/// Takes away user-data of a target that no machine has, nor would have if it went back.
pub fn tidy(api: &Kubectl<'_>, target: &Target) -> Result<()> {
    let machines = api.machines()?;
    let told = machines.values().flat_map(|found| [&found.applied, &found.previous]).flatten();
    let used: BTreeSet<&str> = told.filter_map(secret_of).collect();
    let answer = api.kubectl(&["get", "secrets", &all_of(target), "--output=name"], b"").map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let left: Vec<&str> =
        answer.lines().filter(|line| line.strip_prefix("secret/").is_some_and(|name| !used.contains(name))).collect();
    if left.is_empty() {
        return Ok(());
    }
    let words = [&["delete", "--ignore-not-found"], left.as_slice()].concat();
    api.kubectl(&words, b"").map(drop).map_err(failed)
}

/// Refuses to touch what is not there, or another's.
fn own(target: &Target, cluster: &Cluster, machine: &ImageName, found: Option<&Found>) -> Result<()> {
    let absent = || {
        Failure::request(format!("{machine} is not deployed in {}", place(cluster)))
            .hint(format!("`rave deploy IMAGE --to {}` deploys it", target.name))
    };
    match &found.ok_or_else(absent)?.target {
        Some(name) if *name == target.name => Ok(()),
        Some(name) => {
            Err(Failure::request(format!("machine {machine} in {} belongs to target `{name}`", place(cluster))))
        }
        None => Err(Failure::request(format!("no rave made the machine {machine} in {}", place(cluster)))),
    }
}
