//! Holding what is stored against what was put.

use std::path::PathBuf;

use super::object::Name;
use super::record::{Record, Seal};
use super::{Error, Store, Usage};
use crate::digest::Digest;
use crate::disk::{self, Lock};
use crate::event::{Amount, Report, Work};

/// An object that is not what was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub digest: Digest,
    /// What is wrong, as the end of a sentence about the object: `its content changed`.
    pub reason: String,
    /// Where it is now; it is made anew when next wanted.
    pub moved_to: PathBuf,
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// What is as it was put.
    pub good: Usage,
    /// What is not.
    pub damaged: Vec<Damage>,
}

impl Store {
    /// Reads every object again; those that changed since they were put are taken out of service.
    pub fn verify(&self, report: &dyn Report) -> Result<Verified, Error> {
        let names = self.layout.objects()?;
        let work = Work::start(report, "verify", "store", Some(Amount::Items(names.len() as u64)));
        let mut verified = Verified::default();
        for (done, name) in (1u64..).zip(names) {
            match self.judge(&name) {
                Ok(None) => {}
                Ok(Some(record)) => verified.good.add(record.bytes),
                Err(reason) => verified.damaged.extend(self.condemn(name, reason)?),
            }
            work.progress(done);
        }
        work.finish(format!("{} good, {} damaged", verified.good.objects, verified.damaged.len()));
        Ok(verified)
    }

    /// The record of an object that agrees with it, nothing for one that gc took meanwhile, or what is wrong.
    fn judge(&self, name: &Name) -> Result<Option<Record>, String> {
        let home = self.layout.home(name);
        let chain = |error: disk::Error| format!("{error}: {}", error.source);
        let compare = || {
            let bytes = disk::read(home.record()).map_err(chain)?;
            let recorded: Record =
                serde_json::from_slice(&bytes).map_err(|error| format!("its record cannot be read: {error}"))?;
            let found = Record::of(&home.content(), Seal::No).map_err(chain)?;
            match found {
                Some(found) if found.content == recorded.content => Ok(Some(recorded)),
                _ => Err("its content changed".to_owned()),
            }
        };
        compare().or_else(|reason| if disk::exists(home.path()) { Err(reason) } else { Ok(None) })
    }

    /// Moves an object away, unless gc was faster.
    fn condemn(&self, name: Name, reason: String) -> Result<Option<Damage>, Error> {
        let turn = Lock::exclusive(self.layout.turn(&name))?;
        let place = self.layout.damaged(&name);
        disk::remove_dir_all(place.path())?;
        let moved = disk::rename(self.layout.home(&name).path(), place.path());
        turn.remove()?;
        match moved {
            Ok(()) => {}
            Err(_) if !disk::exists(self.layout.home(&name).path()) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(Damage { kind: name.kind, digest: name.digest, reason, moved_to: place.content() }))
    }
}
