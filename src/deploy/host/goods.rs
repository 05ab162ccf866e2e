//! What is brought to a host: programs and images, each kept by its digest, and removed when no machine needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use super::{Error, Host, Result, listed, read_json};
use crate::deploy::STATE;
use crate::deploy::record::Release;
use crate::deploy::units::{self, container::ARCHIVE};
use crate::digest::Digest;
use crate::disk;
use crate::images::Manifest;

/// How long what was brought may wait for the deployment that needs it.
const UNDER_WAY: Duration = Duration::from_secs(3600);
/// How much of a disk is looked at as a whole: zeros become a hole. In bytes.
const BLOCK: u64 = 64 << 10;
/// Where units mount what they need.
const MOUNTS: [&str; 9] =
    ["image", "run", "tmp", "proc", "sys", "dev", "var/tmp", "var/lib/rave-vm", "var/lib/rave-check"];

/// What is brought to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    /// A tree of programs.
    Tools,
    /// A disk, or an archive for podman, with its manifest.
    Image,
}

impl Goods {
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Image => "images",
        }
    }
}

impl Host<'_> {
    /// Takes in a stream, a tar archive in zstd, as the goods of this digest; `rave` is the program that machines are run
    /// with. Goods that are there are left as they are, and what is not whole does not appear.
    ///
    /// # Errors
    /// The stream is cut off or is no archive, an image is not the one that its digest names, or nothing can be written.
    pub fn receive(&self, goods: Goods, digest: &Digest, stream: impl Read, rave: &Path) -> Result<()> {
        let parent = self.at(STATE).join(goods.directory());
        disk::create_dir_all(&parent)?;
        let place = parent.join(digest.to_string());
        if disk::exists(&place) {
            return Ok(());
        }
        let folder = disk::temp_dir_in(&parent)?;
        let unfinished = folder.path();
        let mut archive = tar::Archive::new(disk::context("unpack into", unfinished, zstd::Decoder::new(stream))?);
        match goods {
            Goods::Tools => {
                archive.set_preserve_permissions(true);
                disk::context("unpack into", unfinished, archive.unpack(unfinished))?;
                let program = unfinished.join(units::RAVE.trim_start_matches('/'));
                disk::copy(rave, &program)?;
                disk::set_mode(program, 0o755)?;
                MOUNTS.iter().try_for_each(|name| disk::create_dir_all(unfinished.join(name)))?;
            }
            Goods::Image => {
                disk::context("unpack into", unfinished, unpack_image(&mut archive, unfinished))?;
                let manifest: Manifest = read_json(&unfinished.join("manifest.json"))?;
                let archive = unfinished.join(ARCHIVE);
                let is_container = disk::exists(&archive);
                let (found, _) = disk::digest(if is_container { archive } else { unfinished.join(units::DISK) })?;
                if found != *digest || !(is_container || manifest.disk.sha256 == *digest) {
                    return Err(Error::Damaged { what: "image", expected: *digest });
                }
            }
        }
        disk::sync_file_system(unfinished)?;
        disk::set_mode(unfinished, 0o755)?;
        disk::rename(unfinished, &place)?;
        Ok(disk::sync(&parent)?)
    }

    /// Removes images and programs that no machine needs: those of versions that were `released`, and what broke off.
    pub(super) fn collect(&self, released: &[Release]) -> Result<()> {
        let names: BTreeMap<Digest, &String> =
            released.iter().filter_map(|release| Some((release.disk, release.container.as_ref()?))).collect();
        let released: BTreeSet<String> = released
            .iter()
            .flat_map(|release| [release.disk, release.tools])
            .map(|digest| digest.to_string())
            .collect();
        let mut needed = BTreeSet::new();
        for name in self.names()? {
            if let Some(record) = self.record(&name)? {
                for release in record.releases() {
                    needed.extend([release.disk, release.tools].map(|digest| digest.to_string()));
                }
            }
        }
        for goods in [Goods::Tools, Goods::Image] {
            for path in listed(&self.at(STATE).join(goods.directory()))? {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if !needed.contains(&name) && (released.contains(&name) || is_old(&path)?) {
                    disk::remove_dir_all(path)?;
                    if let Some(image) = name.parse().ok().and_then(|digest: Digest| names.get(&digest)) {
                        self.podman(&["image", "rm", "--ignore", image])?;
                    }
                }
            }
        }
        // The link is the newest rave, and a deployment that is under way has its own.
        let bin = self.at(STATE).join("bin");
        let newest = disk::read_link(bin.join("rave")).ok();
        for path in listed(&bin)? {
            let is_newest = path.file_name().map(Path::new) == newest.as_deref() || path.ends_with("rave");
            if !is_newest && is_old(&path)? {
                disk::remove_file(path)?;
            }
        }
        Ok(())
    }

    pub(super) fn goods(&self, goods: Goods) -> Result<BTreeSet<Digest>> {
        let paths = listed(&self.at(STATE).join(goods.directory()))?;
        Ok(paths.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
    }
}

/// Whether no deployment that is under way has brought this.
fn is_old(path: &Path) -> Result<bool> {
    let age = disk::metadata(path)?.modified().ok().and_then(|time| time.elapsed().ok());
    Ok(age.is_some_and(|age| age > UNDER_WAY))
}

/// Takes an image and its manifest out of an archive.
fn unpack_image(archive: &mut tar::Archive<impl Read>, to: &Path) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if ![units::DISK, ARCHIVE, "manifest.json"].contains(&name.as_str()) {
            continue;
        }
        let path = to.join(name);
        let file = disk::create_new(&path).map_err(io::Error::other)?;
        file.set_len(entry.size())?;
        let mut at = 0;
        loop {
            let mut piece = Vec::new();
            (&mut entry).take(BLOCK).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(&piece, at)?;
            }
            at += piece.len() as u64;
        }
        disk::set_mode(&path, 0o444).map_err(io::Error::other)?;
    }
    Ok(())
}
