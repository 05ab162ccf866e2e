//! An OCI image (image-spec 1.1) as one tar archive of its layout directory: what `podman load`, `skopeo copy
//! oci-archive:` and registries' clients read.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::disk;
use crate::images::Manifest;
use crate::images::manifest::Blob;

use super::Error;
use super::out::Out;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The longest index that is read, in bytes.
const INDEX: u64 = 64 << 10;
/// A layer that is a plain tar archive.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer that is packed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The one layer of an image.
pub struct Layer<'a> {
    /// What it is: [`LAYER`] or [`LAYER_ZSTD`].
    pub media: &'static str,
    /// Its bytes as they are stored.
    pub blob: Blob,
    /// SHA-256 of the tar archive in it.
    pub archive: Digest,
    /// Gives its bytes.
    pub open: &'a dyn Fn() -> disk::Result<Box<dyn io::Read>>,
}

/// Writes an image of one layer to the file `to`; `config` says what is run in it.
pub fn write(to: &Path, manifest: &Manifest, layer: &Layer<'_>, config: Value) -> Result<(), Error> {
    let created = created(manifest.epoch);
    let annotations = annotations(manifest, &created);
    let config = json!({
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer.archive)]},
        "history": [{"created": created, "created_by": "rave export"}],
    });
    let config = serde_json::to_vec(&config)?;
    let descriptor =
        |media: &str, blob: Blob| json!({"mediaType": media, "digest": sha256(&blob.sha256), "size": blob.size});
    let inner = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, blob(&config)),
        "layers": [descriptor(layer.media, layer.blob)],
        "annotations": annotations,
    }))?;
    let mut described = descriptor(MANIFEST, blob(&inner));
    described["platform"] = json!({"architecture": "amd64", "os": "linux"});
    described["annotations"] = json!({"org.opencontainers.image.ref.name": reference(manifest)});
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    }))?;
    let mut archive = Archive::create(to, manifest.epoch)?;
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.file("index.json", &index)?;
    archive.directory("blobs")?;
    archive.directory("blobs/sha256")?;
    for bytes in [&config, &inner] {
        archive.file(&format!("blobs/sha256/{}", Digest::of(bytes)), bytes)?;
    }
    archive.append(&format!("blobs/sha256/{}", layer.blob.sha256), layer.blob.size, (layer.open)()?)?;
    archive.finish()
}

/// The digest of the manifest of the image in an archive that an export made: what registries know it by.
///
/// # Errors
/// The file cannot be read, or is another one.
pub fn manifest_digest(archive: &Path) -> Result<Digest, Error> {
    let no_archive = || io::Error::other("it is no OCI archive of an image");
    let other = || Error::from(disk::Error { verb: "read", path: archive.to_owned(), source: no_archive() });
    let mut members = tar::Archive::new(disk::open(archive)?);
    for member in disk::context("read", archive, members.entries())? {
        let member = disk::context("read", archive, member)?;
        if member.path().is_ok_and(|path| path.as_ref() == Path::new("index.json")) {
            let index: Value = serde_json::from_reader(member.take(INDEX))?;
            let digest = index["manifests"][0]["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
            return digest.and_then(|digest| digest.parse().ok()).ok_or_else(other);
        }
    }
    Err(other())
}

/// What an image is known by, without a registry.
fn reference(manifest: &Manifest) -> String {
    format!("{}:{}", manifest.image, tag(manifest))
}

/// The version as a tag, in which the distribution specification allows neither `~` nor `^`.
pub fn tag(manifest: &Manifest) -> String {
    manifest.version.to_string().replace(['~', '^'], "_")
}

/// What is known of the image, under the names that the specification gives, and its root hash.
pub fn annotations(manifest: &Manifest, created: &str) -> BTreeMap<&'static str, String> {
    let Manifest { image, version, mode, root_hash, machine, .. } = manifest;
    [
        ("org.opencontainers.image.created", created.to_owned()),
        ("org.opencontainers.image.title", image.to_string()),
        ("org.opencontainers.image.version", version.to_string()),
        ("rave.mode", mode.to_string()),
        ("rave.root-hash", root_hash.to_string()),
        ("rave.memory", format!("{}M", machine.memory)),
        ("rave.vcpus", machine.vcpus.to_string()),
    ]
    .into()
}

/// A time as RFC 3339 has it.
pub fn created(epoch: u64) -> String {
    let time = i64::try_from(epoch).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn sha256(digest: &Digest) -> String {
    format!("sha256:{digest}")
}

fn blob(bytes: &[u8]) -> Blob {
    Blob { sha256: Digest::of(bytes), size: bytes.len() as u64 }
}

/// A tar archive whose members all have one time and belong to root.
struct Archive {
    builder: tar::Builder<Out>,
    path: PathBuf,
    epoch: u64,
}

impl Archive {
    fn create(path: &Path, epoch: u64) -> Result<Self, Error> {
        Ok(Self { builder: tar::Builder::new(Out::create(path)?), path: path.to_owned(), epoch })
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        let mut header = header(tar::EntryType::Directory, 0, 0o755, self.epoch);
        Ok(disk::context("write", &self.path, self.builder.append_data(&mut header, name, io::empty()))?)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.append(name, bytes.len() as u64, bytes)
    }

    fn append(&mut self, name: &str, size: u64, content: impl io::Read) -> Result<(), Error> {
        let mut header = header(tar::EntryType::Regular, size, 0o644, self.epoch);
        Ok(disk::context("write", &self.path, self.builder.append_data(&mut header, name, content))?)
    }

    fn finish(self) -> Result<(), Error> {
        let mut out = disk::context("write", &self.path, self.builder.into_inner())?;
        Ok(out.flush()?)
    }
}

/// The header of a member that belongs to root.
pub fn header(kind: tar::EntryType, size: u64, mode: u32, epoch: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch);
    header
}
