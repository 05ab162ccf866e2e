//! `rave ps`: what runs where.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::cli;
use crate::deploy::plan::{drift, units_now};
use crate::deploy::record::{Health, MachineFacts, Refused, Release};
use crate::deploy::target::{LATEST, Machine};
use crate::deploy::{Facts, Place, Target};
use crate::digest::Digest;
use crate::images::Manifest;
use crate::name::ImageName;
use crate::store::Store;
use crate::system::Mode;
use crate::ui::Tone;

use super::deploy::cloud::{self, status::Line};
use super::deploy::way::Way;
use super::deploy::{identity, kubevirt, names, read};
use super::generations::Generations;
use super::{Context, Result, Status, project, store};

/// After how many of the times between two looks the last one says nothing any more, and the least: a look may itself take
/// some minutes.
const LATE: (u32, Duration) = (3, Duration::from_secs(900));

/// One machine that is declared, or that is where a target has its machines without being declared.
pub struct Row {
    /// The target.
    pub target: String,
    /// The machine.
    pub machine: ImageName,
    /// Where it is, for people.
    pub host: String,
    /// What is there, if that is known.
    pub found: std::result::Result<Option<Seen>, String>,
    /// How it differs from what is declared.
    pub drift: Vec<String>,
}

/// A machine that is there.
pub struct Seen {
    /// Its image.
    pub image: String,
    /// The image's version.
    pub version: String,
    /// The image's mode.
    pub mode: Option<Mode>,
    /// The image's root hash.
    pub root_hash: String,
    /// The version to go back to.
    pub previous: Option<String>,
    /// Whether its deployment has come to its end.
    pub confirmed: bool,
    /// The last version that was taken back.
    pub refused: Option<Refused>,
    /// What its service manager says of it.
    pub state: String,
    /// Its last look from outside.
    pub health: Option<Health>,
    /// Its state in a word or two.
    pub verdict: (String, Tone),
}

/// What machines of a target are given now.
pub struct Given {
    /// What tells whether it is something else than before.
    pub digest: Digest,
    /// Whether an identity is part of it.
    identity: bool,
}

/// Asks all hosts.
pub fn run(arguments: &cli::Ps, context: &Context) -> Result<Status> {
    let targets = match &arguments.target {
        Some(name) => vec![name.clone()],
        None => names(context)?,
    };
    let store = store::open(context)?;
    let mut known: BTreeMap<Option<Place>, std::result::Result<Option<Facts>, String>> = BTreeMap::new();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for name in targets {
        let target = read(context, &name)?;
        if let Some(cluster) = &target.cluster {
            rows.extend(kubevirt::rows(context, &store, &target, cluster)?);
        }
        if let Some(declared) = &target.cloud {
            lines.extend(cloud::status::lines(context, &store, &target, declared)?);
            continue;
        }
        let given = (!target.machines.is_empty()).then(|| given(context, &target)).flatten();
        for machine in &target.machines {
            let facts = known.entry(machine.host.clone()).or_insert_with(|| facts(context, machine));
            rows.push(row(context, &store, &target, given.as_ref(), machine, facts)?);
        }
        // Machines that the target no longer has, where it has others.
        for (host, facts) in &known {
            let Ok(Some(facts)) = facts else { continue };
            let is_declared =
                |machine: &ImageName| target.machines.iter().any(|m| m.name == *machine && m.host == *host);
            let left =
                facts.machines.iter().filter(|(machine, found)| found.record.target == name && !is_declared(machine));
            for (machine, found) in left {
                let host =
                    host.as_ref().map_or("this host".to_owned(), |place| format!("{}@{}", place.user, place.host));
                let mut drift = drift(&name, found, None);
                drift.insert(0, "no longer declared".to_owned());
                // How often it is looked at is declared nowhere any more.
                let found = Ok(Some(seen(found, LATEST)));
                rows.push(Row { target: name.clone(), machine: machine.clone(), host, found, drift });
            }
        }
    }
    show(context, &rows, &lines);
    let is_well = rows.iter().all(|row| row.drift.is_empty() && verdict(row).1 == Tone::Good);
    let is_well = is_well && lines.iter().all(|line| line.is_well);
    Ok(if arguments.exit_code && !is_well { Status::Unwell } else { Status::Done })
}

/// What machines are given, if the identity can be read: whoever only looks may not have it.
pub fn given(context: &Context, target: &Target) -> Option<Given> {
    match identity(context, target) {
        Ok(identity) => {
            Some(Given { digest: super::deploy::given(target, identity.as_ref()), identity: identity.is_some() })
        }
        Err(failure) => {
            context.ui.warn(format!("whether the target has changed is not known: {}", failure.reason()));
            None
        }
    }
}

fn facts(context: &Context, machine: &Machine) -> std::result::Result<Option<Facts>, String> {
    let asked = Way::to(context, machine.host.as_ref()).and_then(|way| way.facts());
    asked.map_err(|failure| failure.reason())
}

fn row(
    context: &Context,
    store: &Store,
    target: &Target,
    given: Option<&Given>,
    machine: &Machine,
    facts: &std::result::Result<Option<Facts>, String>,
) -> Result<Row> {
    let found = facts.as_ref().map(|facts| facts.as_ref().and_then(|facts| facts.machines.get(&machine.name)));
    let mut differs = Vec::new();
    match found {
        Ok(Some(found)) => {
            let current = &found.record.current;
            let newest = newest(context, store, &current.image)?;
            let same = newest.as_ref().filter(|newest| is_build_of(newest, current)).zip(given);
            let units =
                same.map(|(manifest, given)| units_now(machine, manifest, current, given.identity, &given.digest));
            differs = drift(&target.name, found, units.transpose()?.as_ref());
            if let Some(newer) = newest.filter(|newest| !is_build_of(newest, current)) {
                differs.insert(0, built(&newer));
            }
        }
        Ok(None) => differs.push("not deployed".to_owned()),
        Err(_) => {}
    }
    Ok(Row {
        target: target.name.clone(),
        machine: machine.name.clone(),
        host: machine.host_name(),
        found: found.map(|found| found.map(|found| seen(found, machine.health))).map_err(Clone::clone),
        drift: differs,
    })
}

/// Whether that build is the one that runs.
fn is_build_of(newest: &Manifest, current: &Release) -> bool {
    match current.container {
        Some(_) => newest.root_hash == current.root_hash,
        None => newest.disk.sha256 == current.disk,
    }
}

/// The newest build here of an image.
pub fn newest(context: &Context, store: &Store, image: &ImageName) -> Result<Option<Manifest>> {
    let Ok((_, named)) = project::read(&context.project, image.as_str()) else { return Ok(None) };
    Generations::of(store, &named, image).newest()
}

/// That there is a newer build.
pub fn built(newest: &Manifest) -> String {
    format!("{} {} (root hash {}) is built", newest.image, newest.version, newest.root_hash.short())
}

/// `every`: how often it is looked at.
fn seen(found: &MachineFacts, every: Duration) -> Seen {
    let current = &found.record.current;
    Seen {
        image: current.image.to_string(),
        version: current.version.to_string(),
        mode: Some(current.mode),
        root_hash: current.root_hash.to_string(),
        previous: found.record.previous.as_ref().map(|previous| previous.version.to_string()),
        confirmed: found.record.confirmed,
        refused: found.record.failure.clone(),
        state: found.state.clone(),
        health: found.health.clone(),
        verdict: judged(&found.state, found.health.as_ref(), every, Timestamp::now().as_second()),
    }
}

/// What its service and its last look say of a machine. What was seen long ago says nothing of what is.
fn judged(state: &str, health: Option<&Health>, every: Duration, now: i64) -> (String, Tone) {
    let late = every.saturating_mul(LATE.0).max(LATE.1);
    let age = |health: &Health| Duration::from_secs(u64::try_from(now.saturating_sub(health.time)).unwrap_or(0));
    match health {
        _ if state != "active" => (state.to_owned(), Tone::Bad),
        None => ("unknown".to_owned(), Tone::Warn),
        Some(health) if age(health) > late => ("unknown".to_owned(), Tone::Warn),
        Some(Health { healthy: true, .. }) => ("healthy".to_owned(), Tone::Good),
        Some(health) => (format!("unhealthy: {}", health.troubles.len()), Tone::Bad),
    }
}

/// The state of a machine in a word or two.
fn verdict(row: &Row) -> (String, Tone) {
    match &row.found {
        Err(_) => ("host does not answer".to_owned(), Tone::Bad),
        Ok(None) => ("absent".to_owned(), Tone::Dim),
        Ok(Some(seen)) => seen.verdict.clone(),
    }
}

fn show(context: &Context, rows: &[Row], lines: &[Line]) {
    if context.ui.is_json() {
        let told = rows.iter().map(|row| {
            json!({
                "target": row.target,
                "machine": row.machine,
                "host": row.host,
                "reachable": row.found.is_ok(),
                "error": row.found.as_ref().err(),
                "deployed": row.found.as_ref().ok().and_then(Option::as_ref).map(|seen| {
                    json!({
                        "image": seen.image,
                        "version": seen.version,
                        "mode": seen.mode,
                        "root_hash": seen.root_hash,
                        "previous": seen.previous,
                        "confirmed": seen.confirmed,
                        "refused": seen.refused,
                        "state": seen.state,
                        "health": seen.health,
                        "verdict": seen.verdict.0,
                    })
                }),
                "drift": row.drift,
            })
        });
        let told = told.chain(lines.iter().map(|line| line.json.clone()));
        return context.ui.print_json(&told.collect::<Vec<_>>());
    }
    let cells = |row: &Row| {
        let current = row.found.as_ref().ok().and_then(Option::as_ref);
        let text = |text: Option<String>| (text.unwrap_or_else(|| "-".to_owned()), Tone::Plain);
        let drift = if row.drift.is_empty() { "none".to_owned() } else { row.drift.join("; ") };
        vec![
            (row.target.clone(), Tone::Plain),
            (row.machine.to_string(), Tone::Plain),
            (row.host.clone(), Tone::Dim),
            text(current.map(|current| format!("{} {}", current.image, current.version))),
            text(current.and_then(|current| current.mode).map(|mode| mode.to_string())),
            (format!("{}{}", verdict(row).0, age(row)), verdict(row).1),
            (drift, if row.drift.is_empty() { Tone::Dim } else { Tone::Warn }),
        ]
    };
    let header = ["TARGET", "MACHINE", "HOST", "IMAGE", "MODE", "HEALTH", "DRIFT"];
    let lines_of_clouds = lines.iter().map(|line| line.cells.clone());
    context.ui.table(&header, &rows.iter().map(cells).chain(lines_of_clouds).collect::<Vec<_>>());
    lines.iter().filter_map(|line| line.trouble.as_ref()).for_each(|trouble| context.ui.warn(trouble));
    for row in rows {
        if let Err(error) = &row.found {
            context.ui.warn(format!("{}: {error}", row.machine));
        }
    }
}

/// How long ago it was looked at.
fn age(row: &Row) -> String {
    let Ok(Some(Seen { health: Some(health), .. })) = &row.found else { return String::new() };
    ago(health)
}

/// How long ago a look was.
pub fn ago(health: &Health) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(health.time).max(0);
    match seconds {
        ..120 => format!(", {seconds} s ago"),
        120..7200 => format!(", {} min ago", seconds / 60),
        7200..172_800 => format!(", {} h ago", seconds / 3600),
        _ => format!(", {} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_says_nothing_when_it_is_long_ago() {
        let report = |troubles: &[&str]| Health {
            healthy: troubles.is_empty(),
            time: 100_000,
            troubles: troubles.iter().map(|&trouble| trouble.to_owned()).collect(),
        };
        let verdict = |health: &Health, minutes: u64, age: i64| {
            judged("active", Some(health), Duration::from_secs(minutes * 60), health.time + age).0
        };
        let (well, unwell) = (report(&[]), report(&["a", "b"]));
        assert_eq!([verdict(&well, 10, 1800), verdict(&well, 10, 1801)], ["healthy", "unknown"]);
        assert_eq!([verdict(&unwell, 10, 1800), verdict(&unwell, 10, 1801)], ["unhealthy: 2", "unknown"]);
        // Every minute: the look after a deployment may be older than three of them.
        assert_eq!([verdict(&well, 1, 900), verdict(&well, 1, 901)], ["healthy", "unknown"]);
        // A host whose clock is ahead.
        assert_eq!(verdict(&well, 10, -50), "healthy");
        assert_eq!(judged("failed", Some(&well), Duration::ZERO, well.time).0, "failed");
        assert_eq!(judged("active", None, Duration::ZERO, 0), ("unknown".to_owned(), Tone::Warn));
    }
}
