//! The layers of OCI images: the root file system, for containers that run it, and a disk, for KubeVirt.

use std::io::{self, Read as _, Write};
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::disk;
use crate::images::archive::Archive;
use crate::images::manifest::Blob;
use crate::images::owned::Owned;
use crate::images::{Manifest, erofs, union};

use super::Error;
use super::oci::{self, LAYER, LAYER_ZSTD, Layer};
use super::out::Out;
use super::work::Root;

/// zstd's level, its default.
const LEVEL: i32 = 3;
/// How much is packed into one frame, in bytes, and how many frames at once.
const PIECE: usize = 1 << 20;
const PIECES: usize = 8;
/// What is run in a container. systemd gives services their credentials by mounts that propagate, and in a container it
/// leaves that to whoever made it; podman does not see to it. Without CAP_SYS_ADMIN there are no such mounts, and mount
/// says so.
const START: &str = "mount --make-rshared /; exec /usr/lib/systemd/systemd";
/// Where KubeVirt looks for a disk, and the user that it gives it to (its documentation of containerDisk).
const DISK: &str = "disk";
const QEMU: u64 = 107;

/// Writes the root file system as an image whose containers are booted by systemd; `layer` is a file of its own for as
/// long as that takes.
pub fn root(to: &Path, layer: &Path, root: &Root<'_>, manifest: &Manifest) -> Result<(), Error> {
    let archive = Archive::open(root.rootfs)?;
    let owned = Owned::read(&archive)?;
    let finals = union::unite(&archive, &owned, root.system)?;
    let mut packed = Layered::create(layer)?;
    erofs::write_tar(&finals, &archive, root.rave, manifest.epoch, &mut packed)?;
    let archive = packed.finish()?;
    let (sha256, size) = disk::digest(layer)?;
    let ports: serde_json::Map<_, _> =
        manifest.expect.open.keys().filter_map(|open| Some((port_of(open)?, json!({})))).collect();
    let config = json!({
        "Entrypoint": ["/bin/sh", "-c", START],
        // How systemd knows that it is not in a machine of its own (systemd's CONTAINER_INTERFACE).
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"],
        "ExposedPorts": ports,
        "Labels": oci::annotations(manifest, &oci::created(manifest.epoch)),
        // At which systemd shuts down (systemd(1)).
        "StopSignal": "SIGRTMIN+3",
        "Volumes": {"/var": {}},
        "WorkingDir": "/",
    });
    let open = || Ok(Box::new(disk::open(layer)?) as Box<dyn io::Read>);
    oci::write(to, manifest, &Layer { media: LAYER_ZSTD, blob: Blob { sha256, size }, archive, open: &open }, config)?;
    Ok(disk::remove_file(layer)?)
}

/// `tcp/3002` as the specification writes it. Other sockets are of clients that ask for an address.
fn port_of(open: &str) -> Option<String> {
    open.strip_prefix("tcp/").map(|port| format!("{port}/tcp"))
}

/// Writes an image that holds the disk `qcow2` where KubeVirt looks for it.
pub fn of_disk(to: &Path, manifest: &Manifest, qcow2: &Path, blob: Blob) -> Result<(), Error> {
    let name = qcow2.file_name().unwrap_or_default().to_string_lossy();
    let member = |kind, size, mode, path: &str| -> io::Result<tar::Header> {
        let mut header = oci::header(kind, size, mode, manifest.epoch);
        header.set_uid(QEMU);
        header.set_gid(QEMU);
        header.set_path(path)?;
        header.set_cksum();
        Ok(header)
    };
    let head = || -> io::Result<Vec<u8>> {
        let directory = member(tar::EntryType::Directory, 0, 0o555, &format!("{DISK}/"))?;
        let file = member(tar::EntryType::Regular, blob.size, 0o440, &format!("{DISK}/{name}"))?;
        Ok([*directory.as_bytes(), *file.as_bytes()].concat())
    };
    // The disk is packed already, so the layer is a plain archive: a head, the disk, and zeros.
    let head = disk::context("write", to, head())?;
    let end = (blob.size.next_multiple_of(512) - blob.size) + 1024;
    let open = || {
        let layer = io::Cursor::new(head.clone()).chain(disk::open(qcow2)?).chain(io::repeat(0).take(end));
        Ok(Box::new(layer) as Box<dyn io::Read>)
    };
    let (sha256, size) = disk::context("read", qcow2, Digest::of_reader(&mut open()?))?;
    let layer = Layer { media: LAYER, blob: Blob { sha256, size }, archive: sha256, open: &open };
    let labels = oci::annotations(manifest, &oci::created(manifest.epoch));
    oci::write(to, manifest, &layer, json!({"Labels": labels}))
}

/// Packs what is written in pieces, several at once, and hashes it as it was.
struct Layered {
    out: Out,
    hash: Sha256,
    pieces: Vec<Vec<u8>>,
}

impl Layered {
    fn create(path: &Path) -> Result<Self, Error> {
        Ok(Self { out: Out::create(path)?, hash: Sha256::new(), pieces: Vec::new() })
    }

    fn pack(&mut self) -> io::Result<()> {
        let pieces = std::mem::take(&mut self.pieces);
        let hash = &mut self.hash;
        let ((), packed) = rayon::join(
            || pieces.iter().for_each(|piece| hash.update(piece)),
            || {
                let pack = |piece: &Vec<u8>| {
                    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
                    compressor.include_checksum(true)?;
                    compressor.compress(piece)
                };
                pieces.par_iter().map(pack).collect::<io::Result<Vec<_>>>()
            },
        );
        packed?.iter().try_for_each(|frame| Write::write_all(&mut self.out, frame))
    }

    /// Ends the file; returns the digest of what was written.
    fn finish(mut self) -> Result<Digest, Error> {
        let packed = self.pack();
        self.out.context(packed)?;
        self.out.flush()?;
        Ok(Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl Write for Layered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            if self.pieces.len() == PIECES {
                self.pack()?;
            }
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let Some(last) = self.pieces.last_mut() else { return Ok(0) };
        let taken = bytes.get(..bytes.len().min(PIECE - last.len())).unwrap_or_default();
        last.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
