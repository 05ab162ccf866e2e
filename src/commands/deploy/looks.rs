//! The last looks at machines that no host looks at, of clouds and clusters, for `rave ps`. Each is what a deployment or
//! `rave target check` found from here.

use std::io::ErrorKind;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deploy::record::Health;
use crate::disk;

use super::super::{Context, failure};

/// A look, and at what.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What another machine that takes the place of this one has not.
    of: String,
    health: Health,
}

/// Keeps what a look at a machine has found; `of` tells it from the one that takes its place.
pub fn keep(context: &Context, target: &str, machine: &str, of: &str, troubles: Vec<String>) {
    let health = Health { healthy: troubles.is_empty(), time: Timestamp::now().as_second(), troubles };
    let path = path(context, target, machine);
    let text = serde_json::to_vec(&Look { of: of.to_owned(), health }).unwrap_or_default();
    let parent = path.parent().map_or(Ok(()), disk::create_private_dir);
    // The look itself is none the worse.
    if let Err(error) = parent.and_then(|()| disk::write_atomic(&path, &text, 0o600)) {
        context.ui.warn(format!("`rave ps` will not know of this look: {}", failure::chain(&error)));
    }
}

/// What the last look has found, if it was at that machine.
pub fn last(context: &Context, target: &str, machine: &str, of: &str) -> Option<Health> {
    let path = path(context, target, machine);
    let text = match disk::read(&path) {
        Ok(text) => text,
        Err(error) if error.source.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            context.ui.warn(format!("the last look at {machine} is not known: {}", failure::chain(&error)));
            return None;
        }
    };
    match serde_json::from_slice::<Look>(&text) {
        Ok(look) => Some(look.health).filter(|_| look.of == of),
        Err(error) => {
            context.ui.warn(format!("the last look at {machine} is not known: {}: {error}", path.display()));
            None
        }
    }
}

/// Names of targets and machines that a cloud or cluster tells may be anything.
fn path(context: &Context, target: &str, machine: &str) -> PathBuf {
    let safe = |name: &str| name.replace(['/', '.'], "_");
    context.state.join("targets").join(safe(target)).join(format!("{}.look.json", safe(machine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_one_at_that_machine() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::below(home.path());
        assert_eq!(last(&context, "edge", "web-1", "i-1"), None);
        keep(&context, "edge", "web-1", "i-1", Vec::new());
        assert_eq!(last(&context, "edge", "web-1", "i-1").map(|health| health.healthy), Some(true));
        assert_eq!(last(&context, "edge", "web-1", "i-2"), None);
        assert_eq!(last(&context, "edge", "web-2", "i-1"), None);
        keep(&context, "edge", "web-1", "i-1", vec!["services.system: degraded".to_owned()]);
        let health = last(&context, "edge", "web-1", "i-1").unwrap();
        assert_eq!((health.healthy, health.troubles), (false, vec!["services.system: degraded".to_owned()]));
        let path = path(&context, "edge", "web-1");
        disk::write_atomic(&path, b"{}", 0o600).unwrap();
        assert_eq!(last(&context, "edge", "web-1", "i-1"), None);
    }

    #[test]
    fn what_a_cloud_calls_a_machine_is_no_path() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::below(home.path());
        let inside = context.state.join("targets");
        for name in ["../../x", "/etc/x", "..", "a/b"] {
            let path = path(&context, name, name);
            assert!(path.strip_prefix(&inside).unwrap().components().count() == 2, "{path:?}");
        }
    }
}
