//! `rave build`: the disk image and its manifest, as links in a directory.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{self, DiskFormat};
use crate::disk;
use crate::event::bytes;
use crate::images::assemble::kind;
use crate::images::plan::Step;
use crate::images::{Manifest, compare, reason};
use crate::store::Store;
use crate::ui::Tone;

use super::building::{Built, Manner, Prepared};
use super::generations::Generations;
use super::locking::{self, Asked};
use super::scratch::Scratch;
use super::{Context, Failure, Result, Status, store};

/// Builds an image, or shows what building it would do.
pub fn run(arguments: &cli::Build, context: &Context) -> Result<Status> {
    let manner = Manner { qcow2: arguments.format == DiskFormat::Qcow2, shell: arguments.shell };
    let asked = locking::evaluate(context, &arguments.image, &arguments.variant.set, arguments.variant.mode)?;
    let prepared = prepare(context, asked, manner)?;
    let store = store::open(context)?;
    if arguments.plan {
        return show_plan(context, &store, &prepared);
    }
    let built = prepared.build(context, &store, manner)?;
    if arguments.check {
        return check(context, &prepared, &built, manner);
    }
    let links = link(&arguments.output, &built, &prepared.uki(&store)?)?;
    tell(context, &built, &links)?;
    Ok(Status::Done)
}

/// Plans an image whose lock is there and fits.
pub fn prepare(context: &Context, asked: Asked, manner: Manner) -> Result<Prepared> {
    let tools = locking::tools(context, &asked.named)?;
    let fit = |asked: &Asked| {
        locking::fitting(asked)?.map_err(|unfit| {
            Failure::request(format!("{}: {unfit}", asked.named.lock().display()))
                .hint(format!("run `rave lock {}`", asked.named.typed))
        })
    };
    let (lock, tools) = (fit(&asked)?, fit(&tools)?);
    Prepared::new(context, asked, lock, tools, manner)
}

/// Each step, whether the store has it, and why it does not.
fn show_plan(context: &Context, store: &Store, prepared: &Prepared) -> Result<Status> {
    let newest = Generations::of(store, &prepared.asked.named, &prepared.asked.system.name).newest()?;
    let (mut steps, mut anew) = (Vec::new(), Vec::new());
    for step in &prepared.plan.steps {
        let is_cached = store.lookup(kind(step.piece), step.digest)?.is_some();
        let mut reasons = Vec::new();
        if let Some(manifest) = newest.as_ref().filter(|_| !is_cached) {
            reasons = reason::reasons(step.piece, &anew, manifest, &prepared.asked.system, &prepared.inputs);
        }
        if !is_cached {
            anew.push(step.piece);
        }
        steps.push((step, is_cached, reasons));
    }
    if context.ui.is_json() {
        let told = steps.iter().map(|(step, is_cached, reasons)| {
            json!({
                "piece": step.piece,
                "digest": step.digest,
                "needs": step.needs,
                "cached": is_cached,
                "reasons": reasons,
            })
        });
        let steps: Vec<_> = told.collect();
        context.ui.print_json(&json!({"image": prepared.asked.system.name, "steps": steps}));
        return Ok(Status::Done);
    }
    let row = |(step, is_cached, reasons): &(&Step, bool, Vec<String>)| {
        let state = if *is_cached { ("in the store", Tone::Good) } else { ("to be made", Tone::Warn) };
        vec![
            (step.piece.name().to_owned(), Tone::Plain),
            (step.digest.short(), Tone::Dim),
            (state.0.to_owned(), state.1),
            (reasons.join("; "), Tone::Plain),
        ]
    };
    // Without an earlier build, everything is new.
    let header: &[&str] =
        if newest.is_some() { &["STEP", "DIGEST", "STATE", "WHY"] } else { &["STEP", "DIGEST", "STATE"] };
    let rows = steps.iter().map(row).map(|cells| cells.into_iter().take(header.len()).collect());
    context.ui.table(header, &rows.collect::<Vec<_>>());
    Ok(Status::Done)
}

/// Builds once more in an empty store, and names the first file that differs.
fn check(context: &Context, prepared: &Prepared, built: &Built, manner: Manner) -> Result<Status> {
    let parent = Scratch::new(disk::temp_dir_in(context.store.parent().unwrap_or(&context.store))?);
    let second = Store::open_with(parent.path().join("store"), store::remove)?;
    let again = prepared.build(context, &second, manner)?;
    let (first, second) = (read_manifest(&built.pieces.manifest)?, read_manifest(&again.pieces.manifest)?);
    let difference = compare::first_difference(&first, &second);
    let disks = [&first.disk.sha256, &second.disk.sha256];
    if context.ui.is_json() {
        context.ui.print_json(&json!({"reproducible": difference.is_none(), "disks": disks, "difference": difference}));
    } else if let Some(difference) = &difference {
        context.ui.error(format!("two builds differ: {difference}"));
    } else {
        context.ui.print(format!("reproducible: both disks have SHA-256 {}", first.disk.sha256));
    }
    Ok(if difference.is_none() { Status::Done } else { Status::Unwell })
}

/// Reads a manifest back.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
    serde_json::from_slice(&disk::read(path)?).map_err(|e| Failure::error(format!("{}: {e}", path.display())))
}

/// Makes the directory of links; returns them. With the unified kernel image a raw disk can be booted directly.
fn link(output: &Path, built: &Built, uki: &Path) -> Result<Vec<PathBuf>> {
    disk::create_dir_all(output)?;
    let mut links = Vec::new();
    let disk = built.pieces.qcow2.as_ref().map_or(("disk.raw", &built.pieces.disk), |qcow2| ("disk.qcow2", qcow2));
    let mut wanted = vec![(disk.0, disk.1.as_path()), ("manifest.json", &built.pieces.manifest), ("uki.efi", uki)];
    wanted.extend(built.leaks.as_deref().map(|leaks| ("leaks.json", leaks)));
    for name in ["disk.raw", "disk.qcow2", "manifest.json", "uki.efi", "leaks.json"] {
        let path = output.join(name);
        if disk::metadata(&path).is_ok_and(|found| !found.file_type().is_symlink()) {
            return Err(Failure::request(format!("{} is in the way: it is not a link", path.display()))
                .hint("choose another directory with --output"));
        }
        match wanted.iter().find(|(wanted, _)| *wanted == name) {
            // Replaced whole: another build may link the same result at the same time.
            Some((_, target)) => {
                disk::replace_symlink(target, &path)?;
                links.push(path);
            }
            None => disk::remove_file(&path)?,
        }
    }
    Ok(links)
}

fn tell(context: &Context, built: &Built, links: &[PathBuf]) -> Result<()> {
    let manifest = read_manifest(&built.pieces.manifest)?;
    if context.ui.is_json() {
        context.ui.print_json(&json!({
            "event": "result",
            "image": manifest.image,
            "version": manifest.version,
            "mode": manifest.mode,
            "root_hash": manifest.root_hash,
            "disk": manifest.disk,
            "links": links,
        }));
        return Ok(());
    }
    for link in links {
        context.ui.print(link.display());
    }
    let root = manifest.partitions.get(1).map_or(0, |partition| partition.content.size);
    let text = format!(
        "{} {} ({}): root {}, initrd {}, {} packages, root hash {}",
        manifest.image,
        manifest.version,
        manifest.mode,
        bytes(root),
        bytes(manifest.initrd.size),
        manifest.packages.len(),
        manifest.root_hash.short()
    );
    context.ui.say(text);
    Ok(())
}
