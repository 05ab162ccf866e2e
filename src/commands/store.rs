//! `rave store`: what is kept, and getting rid of it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::cli;
use crate::debian::rootfs;
use crate::disk;
use crate::event::bytes;
use crate::store::{Keep, Store, Usage};
use crate::ui::Tone;

use super::{Context, Result, Status};

/// Runs one of the verbs.
pub fn run(verb: &cli::Store, context: &Context) -> Result<Status> {
    let store = open(context)?;
    match verb {
        cli::Store::Gc { days } => gc(&store, *days, context),
        cli::Store::Du => du(&store, context),
        cli::Store::Verify => verify(&store, context),
    }
}

/// Removes work that was left behind, in which files may belong to ids of a sandbox.
pub fn remove(path: &Path) -> disk::Result<()> {
    rootfs::remove(path).map_err(|error| match error {
        rootfs::Error::Disk(error) => error,
        error => disk::Error { verb: "remove", path: path.to_owned(), source: std::io::Error::other(error) },
    })
}

/// Opens the store of this run.
pub fn open(context: &Context) -> Result<Store> {
    let store = Store::open_with(&context.store, remove)?.noting(context.ui.clone());
    for error in store.unswept() {
        context.ui.warn(super::failure::chain(error));
    }
    Ok(store)
}

fn gc(store: &Store, days: u64, context: &Context) -> Result<Status> {
    let keep = match days {
        0 => Keep::Nothing,
        days => Keep::Recent(Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
    };
    let freed = store.gc(keep, SystemTime::now())?;
    for failure in &freed.failures {
        context.ui.warn(super::failure::chain(failure));
    }
    let total = freed.total();
    if context.ui.is_json() {
        context.ui.print_json(&json!({"objects": total.objects, "bytes": total.bytes}));
    } else {
        context.ui.print(format!("freed {} in {} objects", bytes(total.bytes), total.objects));
    }
    Ok(if freed.failures.is_empty() { Status::Done } else { Status::Unwell })
}

fn du(store: &Store, context: &Context) -> Result<Status> {
    let kinds = store.du()?;
    if context.ui.is_json() {
        let value: serde_json::Map<_, _> =
            kinds.iter().map(|(kind, u)| (kind.clone(), json!({"objects": u.objects, "bytes": u.bytes}))).collect();
        context.ui.print_json(&value);
        return Ok(Status::Done);
    }
    let cell = |text: String| (text, Tone::Plain);
    let row = |kind: &str, usage: &Usage| {
        vec![cell(kind.to_owned()), cell(usage.objects.to_string()), cell(bytes(usage.bytes))]
    };
    let rows: Vec<_> = kinds.iter().map(|(kind, usage)| row(kind, usage)).collect();
    context.ui.table(&["KIND", "OBJECTS", "SIZE"], &rows);
    Ok(Status::Done)
}

fn verify(store: &Store, context: &Context) -> Result<Status> {
    let verified = store.verify(context.ui.as_ref())?;
    for damage in &verified.damaged {
        let text =
            format!("{} {}: {}; moved to {}", damage.kind, damage.digest, damage.reason, damage.moved_to.display());
        context.ui.error(text);
    }
    if context.ui.is_json() {
        let damaged: Vec<_> =
            verified.damaged.iter().map(|d| json!({"kind": d.kind, "digest": d.digest, "reason": d.reason})).collect();
        context.ui.print_json(&json!({"good": verified.good.objects, "damaged": damaged}));
    } else {
        context.ui.print(format!("{} good, {} damaged", verified.good.objects, verified.damaged.len()));
    }
    Ok(if verified.damaged.is_empty() { Status::Done } else { Status::Unwell })
}
