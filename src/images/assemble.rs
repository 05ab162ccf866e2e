//! Makes the pieces of an image that the store does not have yet, obeying the plan.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::disk;
use crate::event::{Report, Work, bytes};
use crate::sandbox::Sandbox;
use crate::store::{Kind, Store};
use crate::system::System;

use super::archive::Archive;
use super::contents::{Pieces, Searched};
use super::error::Error;
use super::layout::{self, Sectors};
use super::manifest::{Blob, Manifest, Partition, RootRecord, VerityRecord};
use super::owned::{self, Owned};
use super::plan::{Inputs, Piece, Plan};
use super::union::Finals;
use super::{baseline, bootable, erofs, initrd, uki, union, validate, verity};

/// Where the tools tree has the shell of initrds for debugging.
const SHELL: &str = "usr/bin/busybox";
/// zstd's level for the initrd. Level 19 takes twelve times as long and saves 83 kB of 825.
const INITRD_LEVEL: i32 = 9;
const RECORD: &str = "record.json";
/// That a program could read its files.
const VALID: Kind = Kind::step("valid");
/// The file system among the files of [`Piece::Root`].
pub const ROOT: &str = "root.erofs";
/// The hash tree among those of [`Piece::Verity`].
pub const TREE: &str = "root.verity";
/// Where the stub is in the root file system; Debian's systemd-boot-efi brings it.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// What assembling works with.
pub struct Assembly<'a> {
    /// The machine to be.
    pub system: &'a System,
    /// What came in.
    pub inputs: &'a Inputs,
    /// What has to be made.
    pub plan: &'a Plan,
    /// Where pieces are kept.
    pub store: &'a Store,
    /// The tools tree.
    pub tools: &'a Path,
    /// The configured packages, as a tar archive.
    pub rootfs: &'a Path,
    /// The rave binary.
    pub rave: &'a Path,
    /// How many processors may be used.
    pub workers: u32,
    /// Whom to tell.
    pub report: &'a dyn Report,
}

/// A finished image.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The raw disk.
    pub disk: PathBuf,
    /// The manifest.
    pub manifest: PathBuf,
    /// The disk in QEMU's format, if that was planned.
    pub qcow2: Option<PathBuf>,
}

/// The store's kind of a piece.
pub const fn kind(piece: Piece) -> Kind {
    Kind::step(piece.name())
}

impl Assembly<'_> {
    /// Makes what is missing.
    pub fn run(&self) -> Result<Assembled, Error> {
        let root = self.piece(Piece::Root, |to| self.make_root(to))?;
        let tree = self.piece(Piece::Verity, |to| self.make_verity(&root, to))?;
        let record: VerityRecord = read_record(&tree)?;
        let initrd = self.piece(Piece::Initrd, |to| self.make_initrd(to))?;
        let uki = self.piece(Piece::Uki, |to| self.make_uki(&initrd, &record, to))?;
        let esp = self.piece(Piece::Esp, |to| self.make_esp(&uki, to))?;
        let disk = self.piece(Piece::Disk, |to| self.make_disk(&root, &record, &tree, &esp, to))?;
        let manifest =
            self.piece(Piece::Manifest, |to| self.make_manifest([&root, &initrd, &uki, &disk], &record, to))?;
        let qcow2 = match self.plan.digest(Piece::Qcow2) {
            Some(_) => Some(self.piece(Piece::Qcow2, |to| self.make_qcow2(&disk, to))?),
            None => None,
        };
        Ok(Assembled { disk, manifest, qcow2 })
    }

    /// A piece from the store, made if it is not there.
    fn piece(&self, piece: Piece, make: impl FnOnce(&Path) -> Result<String, Error>) -> Result<PathBuf, Error> {
        let digest = self.digest(piece)?;
        if let Some(path) = self.store.lookup(kind(piece), digest)? {
            return Ok(path);
        }
        let work = Work::start(self.report, "build", piece.name(), None);
        let mut outcome = String::from("made by another process");
        let path = self.store.put(kind(piece), digest, |to| {
            outcome = make(to)?;
            Ok::<(), Error>(())
        })?;
        work.finish(outcome);
        Ok(path)
    }

    fn digest(&self, piece: Piece) -> Result<Digest, Error> {
        self.plan.digest(piece).ok_or(Error::Root { what: format!("{} is not planned", piece.name()) })
    }

    fn archive(&self) -> Result<Archive, Error> {
        Ok(Archive::open(self.rootfs)?)
    }

    fn make_root(&self, to: &Path) -> Result<String, Error> {
        let archive = self.archive()?;
        let owned = Owned::read(&archive)?;
        let finals = union::unite(&archive, &owned, self.system)?;
        disk::create_dir_all(to)?;
        self.validate(&finals, &archive, to)?;
        let units = owned::started(&self.system.starts, &archive, &owned, &finals)?;
        let tar = to.join("root.tar");
        let files = erofs::write_tar(&finals, &archive, self.rave, self.inputs.epoch, disk::create(&tar)?)?;
        let uuid = crate::uuid::Uuid::from_digest(&layout::identity("erofs", &self.digest(Piece::Root)?));
        let tool = Sandbox::new(self.tools).bind(to, "/out", true).tool("/usr/bin/mkfs.erofs");
        let compression = &self.system.disk.compression;
        let image = format!("/out/{ROOT}");
        erofs::mkfs(tool, compression, self.inputs.epoch, &uuid.to_string(), self.workers, &image, "/out/root.tar")
            .output()?;
        disk::remove_file(&tar)?;
        let image = blob(&to.join(ROOT))?;
        write_record(to, &RootRecord { image, files, units })?;
        Ok(bytes(image.size))
    }

    /// Has programs read their files; an answer that is known is not asked for again. `to` is a directory to work in.
    fn validate(&self, finals: &Finals, archive: &Archive, to: &Path) -> Result<(), Error> {
        let mut asked = Vec::new();
        for (name, validation) in &self.system.validate {
            let digest = validate::digest(validation, self.inputs.rootfs, finals)?;
            if self.store.lookup(VALID, digest)?.is_none() {
                asked.push((name, validation, digest));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let work = Work::start(self.report, "build", "validate", None);
        let tree = to.join("tree");
        disk::create_dir_all(&tree)?;
        validate::lay_out(finals, archive, &tree)?;
        let mut refusals = Vec::new();
        for (name, validation, digest) in &asked {
            match validate::ask((name, validation), finals, archive, &tree, &to.join("program"))? {
                Some(refusal) => refusals.push(refusal),
                None => drop(self.store.put(VALID, *digest, |to| Ok::<(), Error>(disk::write(to, b"", 0o444)?))?),
            }
        }
        if !refusals.is_empty() {
            return Err(Error::Refused(refusals));
        }
        disk::remove_dir_all(&tree)?;
        disk::remove_file(to.join("program"))?;
        let names: Vec<&str> = asked.iter().map(|(name, ..)| name.as_str()).collect();
        work.finish(names.join(", "));
        Ok(())
    }

    fn make_verity(&self, root: &Path, to: &Path) -> Result<String, Error> {
        disk::create_dir_all(to)?;
        let tree = to.join(TREE);
        let own = self.digest(Piece::Verity)?;
        let salt = layout::identity("verity salt", &own);
        let uuid = crate::uuid::Uuid::from_digest(&layout::identity("verity", &own));
        let root_hash = verity::format(&root.join(ROOT), &tree, salt.as_bytes(), uuid)
            .map_err(|e| Error::format("hash tree", e))?;
        write_record(to, &VerityRecord { root_hash, tree: blob(&tree)? })?;
        Ok(format!("root hash {}", root_hash.short()))
    }

    fn make_initrd(&self, to: &Path) -> Result<String, Error> {
        let archive = self.archive()?;
        let kernel = kernel(&archive)?;
        let shell = self.system.debug.then(|| disk::read(self.tools.join(SHELL))).transpose()?;
        let request = initrd::Request {
            init: initrd::INIT,
            kernel: &kernel,
            modules: &self.system.initrd_modules,
            shell: shell.as_deref(),
            level: INITRD_LEVEL,
        };
        let initrd = initrd::build(&request, &|path| match archive.read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        })
        .map_err(|e| Error::format("initial RAM disk", e))?;
        disk::write_atomic(to, &initrd, 0o644)?;
        Ok(bytes(initrd.len() as u64))
    }

    fn make_uki(&self, initrd: &Path, record: &VerityRecord, to: &Path) -> Result<String, Error> {
        let archive = self.archive()?;
        let kernel = kernel(&archive)?;
        let parts = uki::Parts {
            osrel: &union::os_release(&archive, self.system)?,
            cmdline: &cmdline(self.system, record),
            uname: &kernel,
            initrd: &disk::read(initrd)?,
            linux: &archive.read(&format!("/boot/vmlinuz-{kernel}"))?,
        };
        let image = uki::build(&archive.read(STUB)?, &parts).map_err(|e| Error::format("unified kernel image", e))?;
        disk::write_atomic(to, &image, 0o644)?;
        Ok(bytes(image.len() as u64))
    }

    fn make_esp(&self, uki: &Path, to: &Path) -> Result<String, Error> {
        let (archive, own) = (self.archive()?, self.digest(Piece::Esp)?);
        let length = bootable::write_esp(to, (&archive, self.system), uki, &own, Sectors::Small)?;
        Ok(bytes(length))
    }

    fn partitions(&self, root: &Path, record: &VerityRecord) -> Result<Vec<Partition>, Error> {
        let RootRecord { image, .. } = read_record(root)?;
        layout::partitions(self.system, self.blob_of(Piece::Esp)?, image, record.tree, &record.root_hash)
    }

    fn make_disk(
        &self,
        root: &Path,
        record: &VerityRecord,
        tree: &Path,
        esp: &Path,
        to: &Path,
    ) -> Result<String, Error> {
        let contents = [esp.to_owned(), root.join(ROOT), tree.join(TREE)];
        let made = self.partitions(root, record)?;
        bootable::write_disk(to, &made, contents, &self.digest(Piece::Disk)?, Sectors::Small)?;
        Ok(bytes(disk::metadata(to)?.len()))
    }

    /// The manifest, if there are no secrets in all that it describes.
    fn make_manifest(&self, pieces: [&Path; 4], record: &VerityRecord, to: &Path) -> Result<String, Error> {
        let [root, initrd, uki, raw] = pieces;
        let image = disk::read(uki)?;
        let sections = uki::sections(&image).map_err(|e| Error::format("manifest", e))?;
        let uname = sections.iter().find(|(name, _)| name == ".uname").map(|(_, bytes)| String::from_utf8_lossy(bytes));
        let system = self.system;
        let RootRecord { mut files, units, .. } = read_record(root)?;
        // The record is of the first build with these bytes; another option may ask for the same file by now.
        for (path, entry) in &system.tree {
            if let Some(file) = files.get_mut(path.as_str()) {
                file.option = entry.option.as_ref().map(ToString::to_string);
            }
        }
        let mut manifest = Manifest {
            format: 1,
            image: system.name.clone(),
            version: system.version.clone(),
            mode: system.mode,
            rave: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.inputs.epoch,
            root_hash: record.root_hash,
            kernel: uname.unwrap_or_default().trim_end_matches('\0').to_owned(),
            cmdline: cmdline(system, record),
            disk: self.blob_of(Piece::Disk)?,
            uki: self.blob_of(Piece::Uki)?,
            initrd: self.blob_of(Piece::Initrd)?,
            partitions: self.partitions(root, record)?,
            packages: self.inputs.packages.clone(),
            options: system.options.clone(),
            machine: system.machine.clone(),
            disk_size: system.disk.size,
            state: system.state.clone(),
            expect: baseline::expect(system, units),
            leaks: Searched::default(),
            files,
        };
        let written = |manifest: &Manifest| manifest.to_json().map_err(|e| Error::format("manifest", e));
        let pieces = Pieces { system, rootfs: self.rootfs, rave: self.rave, initrd, uki, disk: raw };
        manifest.leaks = pieces.search(&written(&manifest)?, self.workers)?;
        let bytes = written(&manifest)?;
        disk::write_atomic(to, &bytes, 0o644)?;
        Ok(format!("{} files", manifest.files.len()))
    }

    fn make_qcow2(&self, raw: &Path, to: &Path) -> Result<String, Error> {
        let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(Error::Root { what: "the store gave no path".into() });
        };
        let tool = Sandbox::new(self.tools).bind(raw, "/disk.raw", false).bind(folder, "/out", true);
        let arguments = ["convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", "/disk.raw"];
        tool.tool("/usr/bin/qemu-img").args(arguments).arg(Path::new("/out").join(name)).output()?;
        Ok(bytes(disk::metadata(to)?.len()))
    }

    /// Digest and length of a piece that is a single file, the digest as the store noted it.
    fn blob_of(&self, piece: Piece) -> Result<Blob, Error> {
        let digest = self.digest(piece)?;
        match (self.store.lookup(kind(piece), digest)?, self.store.record(kind(piece), digest)?) {
            (Some(path), Some(record)) => Ok(Blob { sha256: record.content, size: disk::metadata(path)?.len() }),
            _ => Err(Error::Root { what: format!("{} left the store", piece.name()) }),
        }
    }
}

/// The command line: the image's own, and the root hash by which the initrd finds the root file system.
fn cmdline(system: &System, record: &VerityRecord) -> String {
    let own = system.cmdline.iter().map(String::as_str);
    own.chain([format!("roothash={}", record.root_hash).as_str()]).collect::<Vec<_>>().join(" ")
}

/// The release of the one kernel in the root file system.
fn kernel(archive: &Archive) -> Result<String, Error> {
    let prefix = "/boot/vmlinuz-";
    let found: Vec<&str> = archive.below(prefix).map(|path| &path[prefix.len()..]).collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(Error::Root { what: "it has no kernel; add a linux-image package".into() }),
        _ => Err(Error::Root { what: format!("it has several kernels: {}", found.join(", ")) }),
    }
}

fn blob(path: &Path) -> Result<Blob, Error> {
    let (sha256, size) = disk::digest(path)?;
    Ok(Blob { sha256, size })
}

fn read_record<T: DeserializeOwned>(folder: &Path) -> Result<T, Error> {
    serde_json::from_slice(&disk::read(folder.join(RECORD))?).map_err(|e| Error::format("record of a step", e))
}

fn write_record(folder: &Path, record: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(record).map_err(|e| Error::format("record of a step", e))?;
    Ok(disk::write_atomic(folder.join(RECORD), &bytes, 0o644)?)
}
