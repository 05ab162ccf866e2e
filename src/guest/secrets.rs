//! Secrets in the machine, for `rave guest secrets`: the image's ciphertext, opened with an identity that came from
//! outside, as files in memory that each belong to whom the image says. Everything is decrypted before anything is
//! written, and written before anything is seen.

mod fill;
mod generation;
mod need;
pub mod units;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::generation::{Change, File};
use self::need::Template;
use super::accounts::Accounts;
use crate::disk;
use crate::secrets::deploy::{self, Need};
use crate::secrets::identity::CREDENTIAL;
use crate::secrets::{Identities, Secret, file, sources};

/// Where credentials are found besides where systemd says: those of the unit, and those of the machine. Whoever is
/// started by the guest agent has none of its own.
const CREDENTIALS: [&str; 2] = ["/run/credentials/rave-secrets.service", "/run/credentials/@system"];

/// A list of paths is not longer, in bytes.
const LIST: u64 = 64 << 10;

/// `f_type` of tmpfs and of ramfs (statfs(2)).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why there are no new secrets; those that were there stay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No identity anywhere.
    #[error(
        "no identity came with this machine: its {secrets} secrets stay closed, and units that need them fail; start \
         it with `rave run --identity FILE`, or give it the systemd credential {CREDENTIAL} or a file that {LISTED} \
         names{}", details(.notes)
    )]
    NoIdentity {
        /// How many secrets there are.
        secrets: usize,
        /// What is wrong with those places that have something.
        notes: Vec<String>,
    },
    /// Identities, but of somebody else.
    #[error("no identity opens the secrets of this machine, and units that need them fail{}", details(.0))]
    Locked(Vec<String>),
    /// The file of secrets is damaged.
    #[error("the secrets of this machine cannot be opened")]
    Open(#[source] crate::secrets::Error),
    /// The file of secrets lacks some.
    #[error("the file of secrets lacks {}", .0.join(", "))]
    Missing(Vec<String>),
    /// A user or group that the machine does not have.
    #[error("{file} shall belong to {name}, which this machine does not have")]
    Nobody {
        /// The secret.
        file: String,
        /// The user or group.
        name: String,
    },
    /// Its permission bits are none.
    #[error("the image gives {0} no mode that a secret can have")]
    Mode(String),
    /// A file that says what to do is not as it should be.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The storage is on disk.
    #[error("{} is not in memory: no secret is written there", .0.display())]
    Storage(PathBuf),
    /// The process may not protect itself.
    #[error("cannot forbid core dumps")]
    Harden(#[source] io::Error),
    /// The ciphertext could not be read.
    #[error("cannot read the file of secrets")]
    Read(#[source] io::Error),
    /// systemd does not say how units are.
    #[error("systemctl does not tell the states of units: {0}")]
    Units(String),
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A program could not be run.
    #[error(transparent)]
    Tool(#[from] crate::tool::Error),
}

/// Where the image has needs, ciphertext and texts with placeholders.
const FOLDER: &str = "/usr/share/rave/secrets";

/// The file that names further identities, one path a line.
const LISTED: &str = "/etc/rave/identities";

/// What to do where a cloud has provisioned the machine: cloud-init has fetched, and it alone knows the answer.
const NOT_FETCHED: &str = "if user-data names an address for an identity, /run/cloud-init/cloud-init.log says what it \
    answered: 403 where it has ended, so start the machine with user-data that names a new one (`rave cloud-init render \
    --identity-url`)";

fn details(notes: &[String]) -> String {
    let line = |note: &String| note.split_whitespace().collect::<Vec<_>>().join(" ");
    notes.iter().map(|note| format!("; {}", line(note))).collect()
}

/// Where everything is; elsewhere than in / only in tests.
#[derive(Debug)]
struct Place {
    /// What the image says and holds.
    image: PathBuf,
    /// What was sent into the running machine, which counts instead of the image's.
    pushed: PathBuf,
    /// Users and groups.
    etc: PathBuf,
    /// Paths of further identities.
    listed: PathBuf,
    /// The directory of generations.
    storage: PathBuf,
    /// The link to the current one.
    link: PathBuf,
    /// What is there if cloud-init was started.
    provisioned: PathBuf,
    /// What has to be done to units since secrets changed, for as long as it is not done.
    pending: PathBuf,
}

impl Place {
    fn below(root: &Path) -> Self {
        Self {
            image: root.join(FOLDER.trim_start_matches('/')),
            pushed: root.join("run/rave/sealed.json"),
            etc: root.join("etc"),
            listed: root.join(LISTED.trim_start_matches('/')),
            storage: root.join("run/secrets.d"),
            link: root.join("run/secrets"),
            provisioned: root.join("run/cloud-init/enabled"),
            pending: root.join("run/rave/pending.json"),
        }
    }

    /// The storage as the link names it.
    fn target(&self) -> &Path {
        Path::new(self.storage.file_name().unwrap_or_default())
    }
}

/// One file that is another than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The secret, or `rendered/` and the name of a template.
    pub name: String,
    /// Whether its bytes changed.
    pub content: bool,
    /// Whether its owner, group or mode did.
    pub access: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the generation that counts now.
    pub generation: u64,
    /// How many files it has.
    pub files: usize,
    /// Those that changed.
    pub changed: Vec<Changed>,
    /// What was done to units.
    pub units: Vec<units::Done>,
}

/// Where the ciphertext is.
#[derive(Debug)]
pub enum From<R> {
    /// In the image, or where it was sent before.
    Machine,
    /// It is sent now. It is kept, in memory, if it opens.
    Sent(R),
}

/// Makes the machine's secrets, or makes them anew. `credentials` is the directory of credentials that systemd names.
pub fn run<R: Read>(from: From<R>, credentials: Option<&Path>) -> Result<Report, Error> {
    crate::secrets::harden().map_err(Error::Harden)?;
    let place = Place::below(Path::new("/"));
    let kind = disk::context("examine", &place.storage, rustix::fs::statfs(&place.storage).map_err(io::Error::from))?;
    if !u64::try_from(kind.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)) {
        return Err(Error::Storage(place.storage));
    }
    let _one = disk::Lock::exclusive(place.storage.join(".lock"))?;
    let directories = credentials.into_iter().chain(CREDENTIALS.iter().map(Path::new));
    let identities = identities(&place, directories)?;
    let (sealed, wait) = match from {
        From::Machine => (ours(&place)?, false),
        From::Sent(input) => (sent(input)?, true),
    };
    let Activated { mut report, acts } = activate(&place, &sealed, &identities)?;
    if wait {
        disk::create_dir_all("/run/rave")?;
        disk::write_atomic(&place.pushed, &sealed, 0o600)?;
    }
    report.units = units::settle(&acts, wait)?;
    disk::remove_file(&place.pending)?;
    Ok(report)
}

fn sent(input: impl Read) -> Result<Vec<u8>, Error> {
    let mut sealed = Vec::new();
    input.take(file::LIMIT as u64 + 1).read_to_end(&mut sealed).map_err(Error::Read)?;
    Ok(sealed)
}

fn ours(place: &Place) -> Result<Vec<u8>, Error> {
    let path = if disk::exists(&place.pushed) { place.pushed.clone() } else { place.image.join("sealed.json") };
    Ok(disk::read_start(path, file::LIMIT as u64 + 1)?)
}

/// All identities that the machine was given. One that cannot be used is a note: another may do.
fn identities<'a>(place: &Place, directories: impl Iterator<Item = &'a Path>) -> Result<Identities, Error> {
    let mut all = Identities::default();
    // The same credential may be seen in several places.
    let found = directories.map(|directory| directory.join(CREDENTIAL)).find(|path| disk::exists(path));
    if let Some(path) = found {
        sources::add_file(&mut all, &path, "");
    }
    if disk::exists(&place.listed) {
        let text = disk::read_start(&place.listed, LIST)?;
        let text = String::from_utf8_lossy(&text);
        for path in text.lines().map(str::trim).filter(|line| line.starts_with('/')) {
            sources::add_default(&mut all, Some(Path::new(path)));
        }
    }
    Ok(all)
}

/// A generation that counts, and what has to be done to units.
struct Activated {
    report: Report,
    acts: BTreeMap<String, units::Act>,
}

fn activate(place: &Place, sealed: &[u8], identities: &Identities) -> Result<Activated, Error> {
    let needs: BTreeMap<String, Need> = need::read(&place.image.join("needs.json"))?;
    let templates = place.image.join("templates.json");
    let templates: BTreeMap<String, Template> =
        if disk::exists(&templates) { need::read(&templates)? } else { BTreeMap::new() };
    if identities.is_empty() {
        let fetched = disk::exists(&place.provisioned).then(|| NOT_FETCHED.to_owned());
        let notes = identities.notes.iter().cloned().chain(fetched).collect();
        return Err(Error::NoIdentity { secrets: needs.len(), notes });
    }
    let values = deploy::open(sealed, identities).map_err(|error| match error {
        crate::secrets::Error::Locked(reasons) => Error::Locked(reasons),
        other => Error::Open(other),
    })?;
    let files = files(place, &needs, &templates, values)?;
    let before = generation::current(place)?;
    let mut changes = Vec::new();
    for (file, need) in &files {
        let change = match &before {
            Some(before) => file.change(before)?,
            None => Change { content: true, access: true },
        };
        changes.push((file, *need, change));
    }
    let changed = changes.iter().filter(|(_, _, change)| change.any()).map(|(file, _, change)| Changed {
        name: Path::new(file.folder).join(&file.name).to_string_lossy().into_owned(),
        content: change.content,
        access: change.access,
    });
    let changed: Vec<Changed> = changed.collect();
    // What appears for the first time has nobody who could know an older one.
    let planned = match before {
        Some(_) => units::plan(changes.iter().map(|(_, need, change)| (*need, *change))),
        None => BTreeMap::new(),
    };
    let acts = remember(place, planned)?;
    let same = match &before {
        Some(before) if changed.is_empty() && generation::count(before)? == files.len() => generation::number(before),
        _ => None,
    };
    let generation = match same {
        Some(number) => number,
        None => generation::write(place, files.iter().map(|(file, _)| file))?,
    };
    Ok(Activated { report: Report { generation, files: files.len(), changed, units: Vec::new() }, acts })
}

/// Adds what an earlier run could not finish, and keeps all of it until it is done: after the switch nothing would
/// differ any more, and units would go on with old secrets.
fn remember(place: &Place, mut acts: BTreeMap<String, units::Act>) -> Result<BTreeMap<String, units::Act>, Error> {
    if disk::exists(&place.pending) {
        let earlier: BTreeMap<String, units::Act> = need::read(&place.pending)?;
        earlier.into_iter().for_each(|(unit, act)| units::add(&mut acts, unit, act));
    }
    if !acts.is_empty() {
        let reason = |error: serde_json::Error| Error::Image { path: place.pending.clone(), reason: error.to_string() };
        let text = serde_json::to_vec(&acts).map_err(reason)?;
        disk::create_dir_all(place.pending.parent().unwrap_or(&place.storage))?;
        disk::write_atomic(&place.pending, &text, 0o600)?;
    }
    Ok(acts)
}

/// The files of a generation, each with what the image says of it.
fn files<'a>(
    place: &Place,
    needs: &'a BTreeMap<String, Need>,
    templates: &'a BTreeMap<String, Template>,
    mut values: BTreeMap<String, Secret>,
) -> Result<Vec<(File, &'a Need)>, Error> {
    let missing: Vec<String> = needs.keys().filter(|name| !values.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    let accounts = Accounts::read(&place.etc)?;
    let mut files = Vec::new();
    for (name, template) in templates {
        let bytes = fill::fill(&template.text, &values).map_err(|unknown| Error::Missing(vec![unknown]))?;
        files.push((file(&accounts, "rendered", name, bytes, &template.need)?, &template.need));
    }
    for (name, need) in needs {
        let bytes = values.remove(name).unwrap_or_default();
        files.push((file(&accounts, "", name, bytes, need)?, need));
    }
    Ok(files)
}

fn file(accounts: &Accounts, folder: &'static str, name: &str, bytes: Secret, need: &Need) -> Result<File, Error> {
    let nobody = |owner: &str| Error::Nobody { file: name.to_owned(), name: owner.to_owned() };
    let uid = accounts.user(&need.owner).ok_or_else(|| nobody(&need.owner))?;
    let gid = accounts.group(&need.group).ok_or_else(|| nobody(&need.group))?;
    let mode = need::mode(need).ok_or_else(|| Error::Mode(name.to_owned()))?;
    Ok(File { folder, name: name.to_owned(), bytes, uid, gid, mode })
}

#[cfg(test)]
mod tests;
