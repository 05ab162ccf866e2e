//! The part of the work that happens inside the sandbox, as root of its own ids: rave itself, started again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::job::{ARCHIVE, Job, Line, Phase, ROOT, Summary, WORK};
use super::order::{Names, Order, order};
use super::{accounts, chroot, clean, database, pack, stand_ins};
use crate::debian::deb::Deb;
use crate::debian::tools::{largest_first, replaces};
use crate::debian::unpack::{self, Manner, Source, Unpacked, Unpacker};
use crate::origin::chain;
use crate::{disk, tool};

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Tool(#[from] tool::Error),
    #[error("{0}")]
    Accounts(String),
    #[error("the package {0} is missing, and no system can be made without it")]
    Missing(&'static str),
    #[error("the job is not readable")]
    Job(#[source] serde_json::Error),
    #[error("{package} fails in its {script}")]
    Script { package: String, script: String, output: String },
}

/// Does what standard input asks for; tells the course of it on standard output.
pub fn run() -> ExitCode {
    let result = work();
    let line = match result {
        Ok(summary) => Line::Finished(summary),
        Err(Error::Script { package, script, output }) => Line::Script { package, script, output },
        Err(error) if is_full(&error) => Line::Full(chain(&error)),
        Err(error) => Line::Failed(chain(&error)),
    };
    let code = if matches!(line, Line::Finished(_)) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    say(&line);
    code
}

/// Removes a directory of the work directory, whoever owns what is in it.
pub fn remove(name: &Path) -> ExitCode {
    match disk::remove_dir_all(Path::new(WORK).join(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Rave shows what its helper wrote here; if it is gone, nobody asks.
            let _ = writeln!(io::stderr(), "{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the cause is a full disk, or a user's full share of it.
fn is_full(error: &dyn std::error::Error) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind())) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Says a line to rave. When rave is gone the sandbox ends, so that nobody needs to know.
fn say(line: &Line) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let _ = io::stdout().lock().write_all(&text);
    }
}

fn work() -> Result<Summary, Error> {
    let job: Job = serde_json::from_reader(io::stdin().lock()).map_err(Error::Job)?;
    let root = Path::new(WORK).join(ROOT);
    let made = make(&job, &root);
    if job.keep && matches!(made, Err(Error::Script { .. })) {
        return made;
    }
    disk::remove_dir_all(&root)?;
    made
}

fn make(job: &Job, root: &Path) -> Result<Summary, Error> {
    disk::create_dir_all(root)?;
    let open = |path: &String| -> Result<Source, Error> {
        let deb = Deb::open(path).map_err(unpack::Error::from)?;
        Ok(Source { conffiles: database::conffiles(&deb), deb })
    };
    let sources = job.debs.par_iter().map(open).collect::<Result<Vec<_>, Error>>()?;
    let replaces = |a: usize, b: usize| match (sources.get(a), sources.get(b)) {
        (Some(a), Some(b)) => replaces(&a.deb, &b.deb),
        _ => false,
    };
    let mut build = Build {
        job,
        root,
        sources: &sources,
        unpacker: Unpacker::new(root, Manner::Faithful, &sources, &replaces)?,
        unpacked: BTreeMap::new(),
        done: AtomicU64::new(0),
    };
    say(&Line::Phase(Phase::Unpack, sources.len() as u64));
    let order = build.unpack_all()?;
    say(&Line::Phase(Phase::Configure, sources.len() as u64));
    build.configure(&order)?;
    say(&Line::Phase(Phase::Pack, 0));
    stand_ins::take(root)?;
    job.prepare.iter().try_for_each(|(name, command)| build.prepare(name, command))?;
    clean::clean(root, job.epoch)?;
    let (entries, size) = pack::pack(root, &Path::new(WORK).join(ARCHIVE), job.epoch)?;
    let privileged = build.unpacked.values().flat_map(|unpacked| &unpacked.privileged);
    let mut privileged: Vec<String> = privileged.map(|path| path.display().to_string()).collect();
    privileged.sort();
    Ok(Summary { packages: sources.len() as u64, entries, size, privileged })
}

struct Build<'a> {
    job: &'a Job,
    root: &'a Path,
    sources: &'a [Source],
    unpacker: Unpacker<'a>,
    /// What is unpacked so far, by index.
    unpacked: BTreeMap<usize, Unpacked>,
    done: AtomicU64,
}

impl Build<'_> {
    /// Unpacks all packages. Those with a preinst come after it, and it needs what is essential.
    fn unpack_all(&mut self) -> Result<Order, Error> {
        let debs: Vec<&Deb> = self.sources.iter().map(|source| &source.deb).collect();
        let order = order(&debs);
        let base = debs.iter().position(|deb| deb.name() == "base-files").ok_or(Error::Missing("base-files"))?;
        disk::set_mode(self.root, 0o755)?;
        // It has the links of a merged system, which all others need.
        self.unpack(&BTreeSet::from([base]))?;
        self.unpacker.prepare(BTreeMap::new())?;
        let scripted = |index: &usize| debs.get(*index).is_some_and(|deb| deb.files.contains_key("preinst"));
        let (late, soon): (BTreeSet<usize>, BTreeSet<usize>) =
            (0..debs.len()).filter(|&index| index != base).partition(|i| scripted(i) && !order.essential.contains(i));
        self.unpack(&soon)?;
        chroot::mount_points(self.root)?;
        database::create(self.root)?;
        self.seed_accounts()?;
        self.enter_all()?;
        stand_ins::put(self.root)?;
        let root = self.root;
        stand_ins::with_awk(root, || {
            order
                .all
                .iter()
                .filter(|i| order.essential.contains(*i) && scripted(i))
                .try_for_each(|&i| self.preinst(i))?;
            self.unpack_scripted(late, &Names::new(&debs), &order)
        })?;
        self.enter_all()?;
        stand_ins::put(self.root)?;
        database::write_triggers(self.root, debs.iter().copied())?;
        Ok(order)
    }

    /// Unpacks packages with a preinst: as many at once as do not need each other.
    fn unpack_scripted(&mut self, mut late: BTreeSet<usize>, names: &Names<'_>, order: &Order) -> Result<(), Error> {
        while !late.is_empty() {
            let ready = |index: &usize| {
                let field = self.sources.get(*index).and_then(|source| source.deb.control.get("Pre-Depends"));
                !names.targets(field).iter().any(|target| target != index && late.contains(target))
            };
            let mut batch: Vec<usize> = order.all.iter().copied().filter(|i| late.contains(i) && ready(i)).collect();
            if batch.is_empty() {
                // A cycle is broken somewhere, and always in the same place.
                batch.extend(order.all.iter().find(|index| late.contains(index)));
            }
            batch.iter().try_for_each(|&index| self.preinst(index))?;
            self.unpacker.prepare(database::diversions(self.root)?)?;
            let batch: BTreeSet<usize> = batch.into_iter().collect();
            self.unpack(&batch)?;
            late.retain(|index| !batch.contains(index));
            self.enter_all()?;
        }
        Ok(())
    }

    /// Unpacks some packages in parallel.
    fn unpack(&mut self, some: &BTreeSet<usize>) -> Result<(), Error> {
        let order: Vec<usize> = largest_first(self.sources).into_iter().filter(|index| some.contains(index)).collect();
        let one = |index: usize| -> Result<(usize, Unpacked), unpack::Error> {
            let unpacked = self.unpacker.unpack(index)?;
            say(&Line::Done(self.done.fetch_add(1, Ordering::Relaxed) + 1));
            Ok((index, unpacked))
        };
        // One at a time from the front, so that the largest are not all given to one thread.
        let done = order.into_par_iter().with_max_len(1).map(one).collect::<Result<Vec<_>, _>>()?;
        self.unpacked.extend(done);
        Ok(self.unpacker.finish()?)
    }

    /// Enters what is unpacked into the database.
    fn enter_all(&self) -> Result<(), Error> {
        let present =
            || self.unpacked.iter().filter_map(|(i, unpacked)| Some((*i, &self.sources.get(*i)?.deb, unpacked)));
        for (index, deb, unpacked) in present() {
            database::enter(self.root, deb, unpacked, &self.unpacker.lost(index))?;
        }
        Ok(database::write_status(self.root, present().map(|(_, deb, unpacked)| (deb, unpacked)))?)
    }

    fn seed_accounts(&self) -> Result<(), Error> {
        let read = |name: &str| match disk::read_plain(self.root.join("usr/share/base-passwd").join(name)) {
            Err(error) if error.is_not_found() => Err(Error::Missing("base-passwd")),
            other => Ok(other?),
        };
        let (passwd, group) = (read("passwd.master")?, read("group.master")?);
        let accounts = accounts::seed(&passwd, &group, &self.job.users, &self.job.groups, self.job.epoch);
        let accounts = accounts.map_err(Error::Accounts)?;
        let etc = self.root.join("etc");
        disk::create_dir_all(&etc)?;
        disk::write(etc.join("passwd"), accounts.passwd.as_bytes(), 0o644)?;
        disk::write(etc.join("group"), accounts.group.as_bytes(), 0o644)?;
        let dir = disk::dir::Dir::open(&etc)?;
        for (name, text) in [("shadow", accounts.shadow), ("gshadow", accounts.gshadow)] {
            disk::write(etc.join(name), text.as_bytes(), 0o640)?;
            // The group shadow has the id 42 in every Debian.
            dir.set_owner(name.as_ref(), 0, 42)?;
        }
        Ok(())
    }

    /// Runs a package's preinst as dpkg does.
    fn preinst(&self, index: usize) -> Result<(), Error> {
        let Some(deb) = self.sources.get(index).map(|source| &source.deb) else { return Ok(()) };
        let place = self.root.join(database::PLACE).join("tmp.ci");
        disk::create_dir_all(&place)?;
        for (name, bytes) in &deb.files {
            disk::write(place.join(name), bytes, 0o755)?;
        }
        let control: String = deb.control.fields().map(|(name, value)| format!("{name}: {value}\n")).collect();
        disk::write(place.join("control"), control.as_bytes(), 0o644)?;
        let tool = chroot::tool(&chroot::sandbox(self.root), "/var/lib/dpkg/tmp.ci/preinst", self.job.epoch)
            .arg("install")
            .env("DPKG_MAINTSCRIPT_PACKAGE", deb.name())
            .env("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .env("DPKG_MAINTSCRIPT_ARCH", deb.architecture())
            .env("DPKG_MAINTSCRIPT_NAME", "preinst")
            .env("DPKG_MAINTSCRIPT_DEBUG", "0")
            .env("DPKG_ADMINDIR", "/var/lib/dpkg")
            .env("DPKG_ROOT", "");
        let (status, output) = chroot::run(&tool, |_| ())?;
        if !status.success() {
            return Err(Error::Script { package: deb.name().to_owned(), script: "preinst".into(), output });
        }
        Ok(disk::remove_dir_all(&place)?)
    }

    /// Runs what a module wants to be done once, now that all packages work.
    fn prepare(&self, name: &str, command: &[String]) -> Result<(), Error> {
        let Some((program, arguments)) = command.split_first() else { return Ok(()) };
        let tool = chroot::tool(&chroot::sandbox(self.root), program, self.job.epoch).args(arguments);
        let (status, output) = chroot::run(&tool, |_| ())?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Script { package: name.to_owned(), script: "preparation".into(), output })
    }

    /// Lets dpkg configure everything, and makes sure that it did.
    fn configure(&self, order: &Order) -> Result<(), Error> {
        let names = order.all.iter().filter_map(|&index| Some(database::qualified(&self.sources.get(index)?.deb)));
        let tool = chroot::tool(&chroot::sandbox(self.root), "/usr/bin/dpkg", self.job.epoch)
            .args(["--force-confold", "--force-confdef", "--force-unsafe-io", "--abort-after=1", "--configure", "--"])
            .args(names);
        let mut failed = None;
        let mut done = 0;
        let (status, output) = chroot::run(&tool, |line| match chroot::said(line) {
            chroot::Said::SettingUp(_) => {
                done += 1;
                say(&Line::Done(done));
            }
            chroot::Said::Failed(package) if failed.is_none() => failed = Some(package.to_owned()),
            _ => {}
        })?;
        let script = |package: &str| Error::Script {
            output: chroot::about(&output, package).to_owned(),
            package: package.to_owned(),
            script: "configuration".into(),
        };
        if !status.success() {
            return Err(script(failed.as_deref().unwrap_or("dpkg")));
        }
        let status = disk::read_plain(self.root.join(database::PLACE).join("status"))?;
        match database::unfinished(&status).into_iter().next() {
            None => Ok(()),
            Some((package, state)) => Err(Error::Script {
                output: format!("dpkg leaves it as: {state}\n{}", chroot::about(&output, &package)),
                package,
                script: "configuration".into(),
            }),
        }
    }
}

/// What the worker was started for, from its arguments after the first.
pub fn main(arguments: &[std::ffi::OsString]) -> ExitCode {
    match arguments {
        [verb, name] if verb == "remove" => remove(&PathBuf::from(name)),
        _ => run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let of = |kind: io::ErrorKind| {
            let error = disk::context::<()>("write", "/x", Err(kind.into())).unwrap_err();
            is_full(&Error::from(unpack::Error::from(error)))
        };
        assert!(of(io::ErrorKind::StorageFull) && of(io::ErrorKind::QuotaExceeded));
        assert!(!of(io::ErrorKind::PermissionDenied) && !is_full(&Error::Missing("base-files")));
    }
}
