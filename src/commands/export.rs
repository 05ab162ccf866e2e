//! `rave export`: a built image in the forms that other systems take.

mod publish;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::{self, ExportFormat, SectorSize};
use crate::disk;
use crate::event::bytes;
use crate::export::{self, Exported, Format, Job, Record, Root};
use crate::images::Manifest;
use crate::images::assemble::{ROOT, TREE, kind};
use crate::images::layout::Sectors;
use crate::images::plan::Piece;
use crate::store::Store;

use super::building::{Manner, Prepared};
use super::scratch::Scratch;
use super::{Context, Failure, Result, Status, build, cloud_init, locking, running, store};

/// The name of a directory for files that are not finished begins so.
const UNFINISHED: &str = ".rave-export-";

/// What is exported, and where its pieces are.
struct Found {
    disk: PathBuf,
    manifest: Manifest,
    uki: PathBuf,
    /// Whence its files come, if it is an image and not only a disk.
    image: Option<Image>,
    /// Keeps the pieces from `rave store gc`.
    _store: Option<Store>,
}

/// An image, and where its pieces are of which its disk was made.
struct Image {
    prepared: Prepared,
    rootfs: PathBuf,
    root: PathBuf,
    tree: PathBuf,
}

/// Exports what is built.
pub fn run(arguments: &cli::Export, context: &Context) -> Result<Status> {
    let formats: BTreeSet<Format> = arguments.format.iter().map(|format| format_of(*format)).collect();
    let found = find(arguments, context)?;
    let sectors = match arguments.sector_size {
        SectorSize::Small => Sectors::Small,
        SectorSize::Large => Sectors::Large,
    };
    can_be(arguments, &formats, sectors, &found)?;
    let seed = match &found.image {
        Some(image) if formats.contains(&Format::NoCloud) => {
            Some(cloud_init::seed(&arguments.seed, context, &image.prepared.asked)?)
        }
        _ => None,
    };
    let place = |format: &Format| arguments.output.join(export::file_name(&found.manifest, *format, sectors));
    let wanted: Vec<PathBuf> = formats.iter().map(place).collect();
    wanted.iter().try_for_each(|path| expect_free(path))?;
    disk::create_dir_all(&arguments.output)?;
    let _one = tidy(&arguments.output)?;
    let staging = Scratch::new(disk::temp_dir_named(&arguments.output, UNFINISHED)?);
    let job = Job { seed: seed.as_deref(), sectors, ..found.job(context, &formats, staging.path()) };
    let made = work(&job).map_err(|error| failed(error, &arguments.output))?;
    let records = publish::publish(&made, &found.manifest, &arguments.output)?;
    drop(staging);
    tell(context, &found.manifest, &arguments.output, &records);
    Ok(Status::Done)
}

/// Makes one format of an image that is built, in the empty directory `into`.
pub fn one(context: &Context, prepared: Prepared, format: Format, into: &Path) -> Result<PathBuf> {
    let name = prepared.asked.named.typed.clone();
    let unbuilt = || Failure::request(format!("{name} is not built as its files say now"));
    let (found, formats) = (of_image(context, prepared, &unbuilt)?, BTreeSet::from([format]));
    let made = work(&found.job(context, &formats, into)).map_err(|error| failed(error, into))?;
    let made = made.into_iter().find(|exported| exported.format == format);
    Ok(made.ok_or_else(unbuilt)?.path)
}

fn work(job: &Job<'_>) -> std::result::Result<Vec<Exported>, export::Error> {
    let pool = rayon::ThreadPoolBuilder::new().build();
    // Without threads of its own the work is done in those that there are.
    pool.map_or_else(|_| export::run(job), |pool| pool.install(|| export::run(job)))
}

impl Found {
    /// What makes these formats of it, in the empty directory `into`.
    fn job<'a>(&'a self, context: &'a Context, formats: &'a BTreeSet<Format>, into: &'a Path) -> Job<'a> {
        Job {
            disk: &self.disk,
            manifest: &self.manifest,
            uki: &self.uki,
            root: self.image.as_ref().map(|image| Root {
                system: &image.prepared.asked.system,
                rootfs: &image.rootfs,
                rave: &image.prepared.rave,
                image: &image.root,
                tree: &image.tree,
            }),
            seed: None,
            formats,
            sectors: Sectors::Small,
            into,
            report: context.ui.as_ref(),
        }
    }
}

fn format_of(format: ExportFormat) -> Format {
    match format {
        ExportFormat::Raw => Format::Raw,
        ExportFormat::RawZst => Format::RawZst,
        ExportFormat::Qcow2 => Format::Qcow2,
        ExportFormat::Vhd => Format::Vhd,
        ExportFormat::Vmdk => Format::Vmdk,
        ExportFormat::Ova => Format::Ova,
        ExportFormat::Gce => Format::Gce,
        ExportFormat::Oci => Format::Oci,
        ExportFormat::ContainerDisk => Format::ContainerDisk,
        ExportFormat::NoCloud => Format::NoCloud,
        ExportFormat::Uki => Format::Uki,
    }
}

/// The pieces of an image, which must have been built, or of a disk.
fn find(arguments: &cli::Export, context: &Context) -> Result<Found> {
    let path = Path::new(&arguments.image);
    if path.extension().is_some_and(|extension| extension == "raw") {
        let (manifest, uki) = running::beside(path)?;
        let manifest = build::read_manifest(&manifest)?;
        return Ok(Found { disk: path.to_owned(), manifest, uki, image: None, _store: None });
    }
    let variant = &arguments.variant;
    let asked = locking::evaluate(context, &arguments.image, &variant.set, variant.mode)?;
    let prepared = build::prepare(context, asked, Manner::default())?;
    of_image(context, prepared, &|| not_built(arguments))
}

/// The pieces of an image; what to say if it is not built.
fn of_image(context: &Context, prepared: Prepared, unbuilt: &dyn Fn() -> Failure) -> Result<Found> {
    let store = store::open(context)?;
    let piece = |piece: Piece| -> Result<PathBuf> {
        let digest = prepared.plan.digest(piece);
        let found = digest.map(|digest| store.lookup(kind(piece), digest)).transpose()?.flatten();
        found.ok_or_else(unbuilt)
    };
    let (disk, manifest, uki) = (piece(Piece::Disk)?, piece(Piece::Manifest)?, piece(Piece::Uki)?);
    let (rootfs, root, tree) =
        (piece(Piece::Rootfs)?, piece(Piece::Root)?.join(ROOT), piece(Piece::Verity)?.join(TREE));
    let manifest = build::read_manifest(&manifest)?;
    Ok(Found { disk, manifest, uki, image: Some(Image { prepared, rootfs, root, tree }), _store: Some(store) })
}

/// Refuses what a format, or a disk alone, does not give.
fn can_be(arguments: &cli::Export, formats: &BTreeSet<Format>, sectors: Sectors, found: &Found) -> Result<()> {
    let is_large = sectors == Sectors::Large;
    if let Some(format) = formats.iter().find(|f| is_large && f.holds_disk() && !f.takes_large_sectors()) {
        let takes: Vec<&str> = Format::ALL.iter().filter(|f| f.takes_large_sectors()).map(|f| f.name()).collect();
        return Err(Failure::request(format!("{} has sectors of 512 bytes only", format.name()))
            .hint(format!("--sector-size 4096 is for {}", takes.join(", "))));
    }
    let seeded = formats.contains(&Format::NoCloud);
    if arguments.seed.user_data.is_some() != seeded {
        let text = if seeded { "nocloud is a disk and what provisions it" } else { "only nocloud has user-data" };
        let hint = if seeded { "give --user-data" } else { "add nocloud to --format" };
        return Err(Failure::request(text).hint(hint));
    }
    let needs = |format: &&Format| format.needs_files() || (is_large && format.holds_disk());
    if let Some(format) = formats.iter().find(needs).filter(|_| found.image.is_none()) {
        let text =
            format!("{} is only a disk, and {} is made of the pieces of an image", arguments.image, format.name());
        return Err(Failure::request(text).hint("name the image that it was built from"));
    }
    Ok(())
}

fn not_built(arguments: &cli::Export) -> Failure {
    let mut words = vec!["rave build".to_owned(), crate::tool::quote(&arguments.image)];
    words.extend(arguments.variant.mode.map(|mode| format!("--mode {mode}")));
    let set = arguments.variant.set.iter();
    words.extend(set.map(|(option, value)| format!("--set {}", crate::tool::quote(&format!("{option}={value}")))));
    Failure::request(format!("{} is not built as its files say now", arguments.image))
        .hint(format!("run `{}`", words.join(" ")))
}

/// Refuses to replace what no `rave export` wrote.
fn expect_free(path: &Path) -> Result<()> {
    let record = Record::path(path);
    match [path, &record].into_iter().find(|path| disk::exists(path)) {
        Some(there) if !Record::is_beside(path) => {
            Err(Failure::request(format!("{} is in the way: rave export did not write it", there.display()))
                .hint("move it away, or choose another directory with --output"))
        }
        _ => Ok(()),
    }
}

/// Takes away what an export that was killed has left in a directory. While the lock is held, no other one writes there.
fn tidy(output: &Path) -> Result<disk::Lock> {
    let lock = disk::Lock::try_existing(output)?.ok_or_else(|| {
        Failure::request(format!("another rave export is writing to {}", output.display()))
            .hint("wait for it, or choose another directory with --output")
    })?;
    for path in disk::list(output)? {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED)) {
            disk::remove_dir_all(path)?;
        }
    }
    Ok(lock)
}

fn failed(error: export::Error, output: &Path) -> Failure {
    let is_full = error.is_full();
    let is_damaged = matches!(error, export::Error::Damaged { .. });
    let failure = Failure::error(error);
    if is_full {
        failure.hint(format!("make room where {} is, or choose another directory with --output", output.display()))
    } else if is_damaged {
        failure.hint("`rave store verify` removes what is damaged from the store, and the next build makes it anew")
    } else {
        failure
    }
}

fn tell(context: &Context, manifest: &Manifest, output: &Path, records: &[Record]) {
    if context.ui.is_json() {
        let files: Vec<_> =
            records.iter().map(|record| json!({"path": output.join(&record.file), "record": record})).collect();
        context.ui.print_json(&json!({
            "event": "result",
            "image": manifest.image,
            "version": manifest.version,
            "mode": manifest.mode,
            "root_hash": manifest.root_hash,
            "files": files,
        }));
        return;
    }
    for record in records {
        context.ui.print(output.join(&record.file).display());
        context.ui.say(format!("{:>12}  sha256 {}", bytes(record.size), record.sha256));
    }
}
