//! Makes all formats that are asked for, several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::disk;
use crate::event::{Amount, Report, Work, bytes};
use crate::images::Manifest;
use crate::images::layout::{Sectors, identity};
use crate::images::manifest::Blob;
use crate::system::System;
use crate::uuid::Uuid;

use super::blocks::{BLOCK, Blocks, Target};
use super::gce::{self, Gce};
use super::packed::Packing;
use super::qcow2::Qcow2;
use super::vmdk::Vmdk;
use super::zst::Zst;
use super::{Error, Exported, Format, MIB, container, nocloud, ova, sectors, vhd};

/// What is exported, and how.
pub struct Job<'a> {
    /// The raw disk.
    pub disk: &'a Path,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The unified kernel image.
    pub uki: &'a Path,
    /// What [`Format::needs_files`] needs.
    pub root: Option<Root<'a>>,
    /// The seed of [`Format::NoCloud`].
    pub seed: Option<&'a [u8]>,
    /// The formats.
    pub formats: &'a BTreeSet<Format>,
    /// The sectors that disks shall have; large ones need a root.
    pub sectors: Sectors,
    /// An empty directory for what is made.
    pub into: &'a Path,
    /// Whom to tell.
    pub report: &'a dyn Report,
}

/// Where the files of an image come from.
#[derive(Clone, Copy)]
pub struct Root<'a> {
    /// The machine that it is.
    pub system: &'a System,
    /// The configured packages, as a tar archive.
    pub rootfs: &'a Path,
    /// The rave binary.
    pub rave: &'a Path,
    /// The root file system.
    pub image: &'a Path,
    /// Its hash tree.
    pub tree: &'a Path,
}

/// Part of a job: it makes files, or checks something.
type Part<'a> = Box<dyn FnOnce() -> Result<Vec<Exported>, Error> + Send + 'a>;

/// Makes the formats, in the threads of the current pool.
///
/// # Errors
/// [`Error::Damaged`] if the disk is not what its manifest says; it is read to the end in any case.
pub fn run(job: &Job<'_>) -> Result<Vec<Exported>, Error> {
    let large;
    let mut laid_out = Job { ..*job };
    if let (Sectors::Large, Some(root)) = (job.sectors, &job.root) {
        let work = Work::start(job.report, "export", "disk with sectors of 4096 bytes", None);
        large = sectors::large(job.into, root, job.uki, job.manifest)?;
        work.finish("");
        laid_out.disk = &large;
    }
    let (source, job) = (job, &laid_out);
    let mut parts: Vec<Part<'_>> = Vec::new();
    // What takes longest comes first.
    for format in [Format::Vhd, Format::Oci, Format::Raw, Format::Uki] {
        if job.formats.contains(&format) {
            parts.push(Box::new(move || job.alone(format)));
        }
    }
    parts.push(Box::new(|| job.blocks()));
    parts.push(Box::new(|| source.verify()));
    let made: Vec<Vec<Exported>> = parts.into_par_iter().map(|part| part()).collect::<Result<_, _>>()?;
    let mut made: Vec<Exported> = made.into_iter().flatten().collect();
    made.sort_by_key(|exported| exported.format);
    Ok(made)
}

/// The name of a format's file.
pub fn file_name(manifest: &Manifest, format: Format, sectors: Sectors) -> String {
    let large = if sectors == Sectors::Large && format.holds_disk() { ".4k" } else { "" };
    format!("{}{large}.{}", name(manifest), format.suffix())
}

fn name(manifest: &Manifest) -> String {
    format!("{}_{}", manifest.image, manifest.version)
}

impl Job<'_> {
    fn path(&self, format: Format) -> PathBuf {
        self.into.join(file_name(self.manifest, format, self.sectors))
    }

    fn wants(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    fn start(&self, format: Format, total: Option<u64>) -> Work<'_> {
        Work::start(self.report, "export", format.name(), total.map(Amount::Bytes))
    }

    /// Size of the disk where a machine may start from it as it is: what the image asks for, so that the first boot finds
    /// room for its state.
    fn machine_disk(&self, built: u64) -> u64 {
        built.max(self.manifest.disk_size).next_multiple_of(MIB)
    }

    /// Holds what is exported against its manifest: what rotted is not to be spread.
    fn verify(&self) -> Result<Vec<Exported>, Error> {
        let contents = self.manifest.partitions.iter().skip(1).map(|partition| partition.content.sha256);
        let pieces: Vec<(&Path, Digest)> = match (self.sectors, &self.root) {
            (Sectors::Large, Some(root)) => [root.image, root.tree].into_iter().zip(contents).collect(),
            _ => vec![(self.disk, self.manifest.disk.sha256)],
        };
        for (path, expected) in pieces {
            let (found, _) = disk::digest(path)?;
            if found != expected {
                return Err(Error::Damaged { path: path.to_owned(), expected, found });
            }
        }
        Ok(Vec::new())
    }

    /// A format that is not made of blocks.
    fn alone(&self, format: Format) -> Result<Vec<Exported>, Error> {
        let work = self.start(format, None);
        let to = self.path(format);
        let built = disk::context("examine", self.disk, disk::open(self.disk)?.metadata())?.len();
        let epoch = self.manifest.epoch;
        let disk_size = match format {
            Format::Raw => {
                disk::copy_at(self.disk, &disk::create(&to)?, 0)?;
                Some(built)
            }
            Format::Vhd => {
                let size = self.machine_disk(built);
                let uuid = Uuid::from_digest(&identity("vhd", &self.manifest.disk.sha256));
                vhd::write(self.disk, &to, size, epoch, uuid)?;
                Some(size)
            }
            Format::Oci => {
                if let Some(root) = &self.root {
                    container::root(&to, &self.into.join("layer"), root, self.manifest)?;
                }
                None
            }
            _ => {
                disk::copy(self.uki, &to)?;
                disk::set_mode(&to, 0o644)?;
                None
            }
        };
        Ok(vec![self.finished(work, format, to, disk_size)?])
    }

    /// All formats that are made of blocks, in one pass over the disk.
    fn blocks(&self) -> Result<Vec<Exported>, Error> {
        let qcow2 = [Format::Qcow2, Format::ContainerDisk, Format::NoCloud].iter().any(|format| self.wants(*format));
        let vmdk = self.wants(Format::Vmdk) || self.wants(Format::Ova);
        let (zst, gce) = (self.wants(Format::RawZst), self.wants(Format::Gce));
        if !(qcow2 || vmdk || zst || gce) {
            return Ok(Vec::new());
        }
        let blocks = Blocks::open(self.disk)?;
        let size = self.machine_disk(blocks.size);
        let gce_size = size.next_multiple_of(gce::UNIT);
        let total = blocks.count() * BLOCK;
        let named = self.formats.iter().filter(|format| format.is_of_blocks());
        let works: BTreeMap<Format, Work<'_>> =
            named.map(|format| (*format, self.start(*format, Some(total)))).collect();
        let (epoch, disk) = (self.manifest.epoch, &self.manifest.disk.sha256);
        let mut targets: Vec<Box<dyn Target>> = Vec::new();
        if qcow2 {
            targets.push(Box::new(Qcow2::create(&self.path(Format::Qcow2), size)?));
        }
        if vmdk {
            targets.push(Box::new(Vmdk::create(&self.path(Format::Vmdk), size, disk)?));
        }
        if gce {
            targets.push(Box::new(Gce::create(&self.path(Format::Gce), &blocks, gce_size, epoch)?));
        }
        if zst {
            targets.push(Box::new(Zst::create(&self.path(Format::RawZst), blocks.size)?));
        }
        let packing = Packing { zstd: qcow2 || zst, deflate: vmdk || gce };
        blocks.pass(packing, &mut targets, &|done| works.values().for_each(|work| work.progress(done * BLOCK)))?;
        drop(targets);
        let made = works.into_par_iter().map(|(format, work)| {
            let to = self.path(format);
            let disk_size = match format {
                Format::RawZst => blocks.size,
                Format::Gce => gce_size,
                _ => size,
            };
            match format {
                Format::Ova => {
                    let vmdk = self.path(Format::Vmdk);
                    ova::write(&to, &name(self.manifest), self.manifest, &vmdk, blob(&vmdk)?, size)?;
                }
                Format::ContainerDisk => {
                    let qcow2 = self.path(Format::Qcow2);
                    container::of_disk(&to, self.manifest, &qcow2, blob(&qcow2)?)?;
                }
                Format::NoCloud => {
                    let qcow2 = self.path(Format::Qcow2);
                    nocloud::write(
                        &to,
                        &qcow2,
                        blob(&qcow2)?.size,
                        self.seed.unwrap_or_default(),
                        self.manifest.epoch,
                    )?;
                }
                _ => {}
            }
            self.finished(work, format, to, Some(disk_size))
        });
        made.collect()
    }

    fn finished(
        &self,
        work: Work<'_>,
        format: Format,
        path: PathBuf,
        disk_size: Option<u64>,
    ) -> Result<Exported, Error> {
        let blob = blob(&path)?;
        work.finish(bytes(blob.size));
        Ok(Exported { format, path, blob, disk_size, sector_size: self.sectors.bytes() })
    }
}

fn blob(path: &Path) -> Result<Blob, Error> {
    let (sha256, size) = disk::digest(path)?;
    Ok(Blob { sha256, size })
}
