//! The proof that a built image has no secret in it: all of it is searched for all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::event::{Work, bytes};
use crate::images::assemble::{Assembled, kind};
use crate::images::contents::{self, Pieces};
use crate::images::plan::Piece;
use crate::leaks::{self, Bytes, Content, Finding, Patterns};
use crate::secrets::deploy;
use crate::store::{Kind, PutError, Store};
use crate::tree;

use super::super::building::{Prepared, workers};
use super::super::{Context, Failure, Result};
use super::others::{self, Others};
use super::seal;

/// What was searched, as the store keeps it.
const LEAKS: Kind = Kind::step("leaks");
const FORMAT: &str = "rave leaks 2";

/// Searches a built image, and what rave has said meanwhile, for the values of the image's secrets and for all others of
/// the project that an identity opens. Returns the record of that, as JSON; nothing if there are no secrets.
///
/// The same image is searched for the same ciphertexts' values once. Without an identity that opens those of the image,
/// the record says that they were not looked for, and the user is warned.
pub fn prove(context: &Context, store: &Store, prepared: &Prepared, built: &Assembled) -> Result<Option<PathBuf>> {
    let asked = &prepared.asked;
    let _hidden = super::Hidden::new()?;
    let asks = !asked.system.secrets.is_empty();
    let own = if asks { seal::values(context, asked) } else { Some(BTreeMap::new()) };
    let is_open = own.is_some();
    let own = own.unwrap_or_default();
    let Others { values: others, files } = others::others(context, &own)?;
    if !asks && others.is_empty() {
        return Ok(None);
    }
    let sealed = sealed(prepared);
    let digest = |piece| prepared.plan.digest(piece);
    let mut key = Canonical::new(FORMAT);
    key.json(&(digest(Piece::Manifest), digest(Piece::Qcow2), sealed, is_open, files))?;
    let key = key.finish();
    let state = if is_open { "none found" } else { "not searched for: no identity opened them" };
    if !is_open {
        context.ui.warn("no identity opens the image's secrets: it is not searched for their values");
    }
    let values = || own.iter().chain(&others);
    let mut record = json!({"image": asked.system.name, "version": asked.system.version, "sealed": sealed,
        "values": state});
    if values().next().is_none() {
        return put(store, key, &record).map(Some);
    }
    let patterns = Patterns::secrets(values().map(|(name, value)| (name.as_str(), value.expose())));
    let said = Content { name: "rave's own output".to_owned(), option: None, bytes: Bytes::Memory(context.ui.said()) };
    refuse(prepared, leaks::search(&patterns, &[said], 1).map_err(Failure::error)?.findings)?;
    if let Some(path) = store.lookup(LEAKS, key)? {
        return Ok(Some(path));
    }
    let work = Work::start(context.ui.as_ref(), "search", "secrets", None);
    let all = contents(store, prepared, built)?;
    let found = leaks::search(&patterns, &all, workers(&asked.system) as usize).map_err(Failure::error)?;
    refuse(prepared, found.findings)?;
    let told = [
        ("secrets", json!(own.keys().collect::<Vec<_>>())),
        ("others", json!(others.len())),
        ("patterns", json!(patterns.len())),
        ("bytes", json!(found.bytes)),
        ("contents", json!(all.len())),
        ("output", json!(true)),
    ];
    told.into_iter().for_each(|(name, value)| record[name] = value);
    let path = put(store, key, &record)?;
    work.finish(format!("none in {}", bytes(found.bytes)));
    Ok(Some(path))
}

/// Everything that the store has of this image.
fn contents(store: &Store, prepared: &Prepared, built: &Assembled) -> Result<Vec<Content>> {
    let find = |piece: Piece| {
        let found = prepared.plan.digest(piece).map(|digest| store.lookup(kind(piece), digest)).transpose()?;
        found.flatten().ok_or_else(|| {
            Failure::error(format!("{} left the store, so that the image cannot be searched", piece.name()))
                .hint("`rave store gc` and a new build make it again")
        })
    };
    let (rootfs, initrd, uki) = (find(Piece::Rootfs)?, find(Piece::Initrd)?, find(Piece::Uki)?);
    let pieces = Pieces {
        system: &prepared.asked.system,
        rootfs: &rootfs,
        rave: &prepared.rave,
        initrd: &initrd,
        uki: &uki,
        disk: &built.disk,
    };
    let mut all = pieces.unpacked()?;
    all.extend(pieces.packed()?);
    let files = [("initrd", Some(&initrd)), ("manifest", Some(&built.manifest)), ("qcow2", built.qcow2.as_ref())];
    let records = [(Piece::Root, "root"), (Piece::Verity, "verity")].map(|(piece, name)| (name, find(piece)));
    let mut add = |name: &str, path: &std::path::Path| -> Result<()> {
        let file = disk::open(path)?;
        let size = disk::context("examine", path, file.metadata())?.len();
        let bytes = Bytes::File { file: file.into(), offset: 0, size };
        all.push(Content { name: name.to_owned(), option: None, bytes });
        Ok(())
    };
    for (name, path) in files {
        path.map_or(Ok(()), |path| add(name, path))?;
    }
    for (name, folder) in records {
        for path in disk::list(folder?)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            add(&format!("store output {name}, {file}"), &path)?;
        }
    }
    Ok(all)
}

fn refuse(prepared: &Prepared, findings: Vec<Finding>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let system = &prepared.asked.system;
    let lines: Vec<String> = findings.iter().map(|finding| contents::describe(finding, system)).collect();
    Err(Failure::leaks(&lines))
}

/// The digest of the ciphertext in the image.
fn sealed(prepared: &Prepared) -> Option<Digest> {
    let path = deploy::SEALED.parse().ok()?;
    match &prepared.asked.system.tree.get(&path)?.content {
        tree::Content::File(bytes) => Some(Digest::of(bytes)),
        _ => None,
    }
}

fn put(store: &Store, key: Digest, record: &serde_json::Value) -> Result<PathBuf> {
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    store.put(LEAKS, key, |to| disk::write_atomic(to, &text, 0o644)).map_err(|error| match error {
        PutError::Store(error) => error.into(),
        PutError::Make(error) => Failure::error(error),
    })
}
