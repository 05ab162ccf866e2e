//! The last looks at machines that no host looks at, of clouds and clusters, for `rave ps`. Each is what a deployment or
//! `rave target check` found from here.

use std::io::ErrorKind;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deploy::record::Health;
use crate::disk;
use crate::name::ImageName;

use super::super::{Context, Result, failure};

/// Of how many machines of one name looks are kept: the one that serves, the one that takes its place, and some more.
const KEPT: usize = 4;

/// A look, and at what.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What another machine that takes the place of this one has not.
    of: String,
    health: Health,
}

/// Keeps what a look at a machine has found; `of` tells it from the one that takes its place.
pub fn keep(context: &Context, target: &str, machine: &ImageName, of: &str, troubles: Vec<String>) {
    let health = Health { healthy: troubles.is_empty(), time: Timestamp::now().as_second(), troubles };
    let mut looks = all(context, target, machine);
    looks.retain(|look| look.of != of);
    looks.push(Look { of: of.to_owned(), health });
    let newest = looks.split_off(looks.len().saturating_sub(KEPT));
    // The look itself is none the worse.
    if let Err(error) = write(context, target, machine, &newest) {
        context.ui.warn(format!("`rave ps` will not know of this look: {}", error.reason()));
    }
}

fn write(context: &Context, target: &str, machine: &ImageName, looks: &[Look]) -> Result<()> {
    let path = path(context, target, machine);
    if let Some(parent) = path.parent() {
        disk::create_private_dir(parent)?;
    }
    Ok(disk::write_atomic(&path, &serde_json::to_vec(looks)?, 0o600)?)
}

/// What the last look has found, if it was at that machine.
pub fn last(context: &Context, target: &str, machine: &ImageName, of: &str) -> Option<Health> {
    all(context, target, machine).into_iter().find(|look| look.of == of).map(|look| look.health)
}

/// Forgets all looks at machines of that name.
pub fn forget(context: &Context, target: &str, machine: &ImageName) {
    let path = path(context, target, machine);
    if let Err(error) = disk::remove_file(&path)
        && error.source.kind() != ErrorKind::NotFound
    {
        context.ui.warn(failure::chain(&error));
    }
}

/// What is kept. It is worth no more than another look, so what cannot be read is told, and is none.
fn all(context: &Context, target: &str, machine: &ImageName) -> Vec<Look> {
    let path = path(context, target, machine);
    let read = disk::read(&path).map_err(|error| (error.source.kind(), failure::chain(&error)));
    let looks = read.and_then(|text| {
        let wrong = |error| (ErrorKind::InvalidData, format!("{}: {error}", path.display()));
        serde_json::from_slice(&text).map_err(wrong)
    });
    match looks {
        Ok(looks) => looks,
        Err((ErrorKind::NotFound, _)) => Vec::new(),
        Err((_, error)) => {
            context.ui.warn(format!("the last look at {machine} is not known: {error}"));
            Vec::new()
        }
    }
}

fn path(context: &Context, target: &str, machine: &ImageName) -> PathBuf {
    context.state.join("targets").join(target).join(format!("{machine}.looks.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_one_at_that_machine() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::below(home.path());
        let [web, other] = ["web-1", "web-2"].map(|name| name.parse::<ImageName>().unwrap());
        let last = |machine: &ImageName, of: &str| last(&context, "edge", machine, of);
        assert_eq!(last(&web, "i-1"), None);
        keep(&context, "edge", &web, "i-1", vec!["services.system: degraded".to_owned()]);
        let health = last(&web, "i-1").unwrap();
        assert_eq!((health.healthy, health.troubles), (false, vec!["services.system: degraded".to_owned()]));
        assert_eq!((last(&web, "i-2"), last(&other, "i-1")), (None, None));

        // One that shall take its place and does not says nothing of it.
        keep(&context, "edge", &web, "i-2", Vec::new());
        let healthy = |of: &str| last(&web, of).map(|health| health.healthy);
        assert_eq!((healthy("i-1"), healthy("i-2")), (Some(false), Some(true)));
        keep(&context, "edge", &web, "i-1", Vec::new());
        assert_eq!(healthy("i-1"), Some(true));
        for number in 3..=5 {
            keep(&context, "edge", &web, &format!("i-{number}"), Vec::new());
        }
        assert_eq!((healthy("i-1"), healthy("i-2"), healthy("i-5")), (Some(true), None, Some(true)));
        forget(&context, "edge", &web);
        assert_eq!(healthy("i-5"), None);
        assert_eq!(context.ui.said(), b"");
    }

    #[test]
    fn what_cannot_be_read_is_told_and_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::below(home.path());
        let web = "web-1".parse().unwrap();
        keep(&context, "edge", &web, "i-1", Vec::new());
        disk::write_atomic(path(&context, "edge", &web), b"{}", 0o600).unwrap();
        assert_eq!(last(&context, "edge", &web, "i-1"), None);
        assert!(String::from_utf8(context.ui.said()).unwrap().contains("the last look at web-1 is not known"));
        keep(&context, "edge", &web, "i-1", Vec::new());
        assert_eq!(last(&context, "edge", &web, "i-1").map(|health| health.healthy), Some(true));
    }
}
