//! From an evaluated image and its locks to a disk: fetch, configure, assemble. Shared by `build`, `run` and `up`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::debian::{self, Lock, rootfs, tools};
use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::event::Work;
use crate::images::assemble::{Assembled, Assembly, kind};
use crate::images::plan::{Inputs, Piece, Plan, plan};
use crate::name::PackageName;
use crate::quantity;
use crate::sandbox::{Ids, Sandbox};
use crate::store::{PutError, Store};
use crate::system::System;

use super::generations::Generations;
use super::locking::{self, Asked};
use super::project::Named;
use super::{Context, Failure, Result, secrets};

/// Changes whenever the same packages make another tree.
const TOOLS_FORMAT: &str = "rave tools 1";
/// Letters that a GPT label holds.
const LABEL: usize = 36;
/// The same for the configured root file system.
const ROOTFS_FORMAT: &str = "rave rootfs 2";

/// An image and all that decides over its bytes.
pub struct Prepared {
    /// What it shall be.
    pub asked: Asked,
    /// Its lock.
    pub lock: Lock,
    /// The lock of the tools.
    pub tools: Lock,
    /// What goes into the plan.
    pub inputs: Inputs,
    /// What has to be made.
    pub plan: Plan,
    /// The rave binary.
    pub rave: PathBuf,
}

/// A finished build.
pub struct Built {
    /// The image.
    pub pieces: Assembled,
    /// The record of the search for its secrets' values, if it asks for secrets.
    pub leaks: Option<PathBuf>,
}

/// How a build goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Whether QEMU's format is wanted too.
    pub qcow2: bool,
    /// Whether a shell opens where a maintainer script fails.
    pub shell: bool,
}

impl Prepared {
    /// Plans an image whose locks fit, with its secrets as ciphertext.
    pub fn new(context: &Context, mut asked: Asked, lock: Lock, tools: Lock, manner: Manner) -> Result<Self> {
        secrets::complete(context, &mut asked)?;
        let label = format!("{}_{}_verity", asked.system.name, asked.system.version);
        if label.len() > LABEL {
            let text = format!("the name and version of {} are too long for a partition label", asked.named.name);
            return Err(
                Failure::request(text).hint(format!("together they may have {} letters", LABEL - "__verity".len()))
            );
        }
        let rave = disk::canonical("/proc/self/exe")?;
        let (rave_digest, _) = disk::digest(&rave)?;
        let system = &asked.system;
        let epoch = u64::try_from(lock.source_date_epoch()).unwrap_or(0);
        let ships = |name: &PackageName| !system.build_only.contains(name);
        let packages: BTreeMap<_, _> =
            lock.packages.iter().filter(|p| ships(&p.name)).map(|p| (p.name.clone(), p.version.clone())).collect();
        let inputs = Inputs {
            tools: tools_digest(&tools),
            rootfs: rootfs_digest(system, &lock)?,
            rave: rave_digest,
            packages,
            epoch,
        };
        let plan = plan(system, &inputs, manner.qcow2)?;
        Ok(Self { asked, lock, tools, inputs, plan, rave })
    }

    /// The tools tree, unpacked now if the store does not have it.
    pub fn tools(&self, context: &Context, store: &Store) -> Result<PathBuf> {
        let base = Base::of(context, store, Piece::Tools, self.inputs.tools, (&self.asked, &self.tools))?;
        unpack_tools(context, store, &self.tools, base)
    }

    /// The tools tree and the configured packages. Maintainer scripts keep one processor busy at most, so both are
    /// made at once, unless one processor must do or a shell wants the terminal for itself.
    fn bases(&self, context: &Context, store: &Store, manner: Manner) -> Result<(PathBuf, PathBuf)> {
        if store.lookup(kind(Piece::Rootfs), self.inputs.rootfs)?.is_none() {
            // Before anything is fetched: on a host that refuses it, nothing can be built.
            Sandbox::empty().ids(Ids::Range).probe().map_err(Failure::error)?;
        }
        // Fetched one after the other: both need some of the same packages.
        let tools = Base::of(context, store, Piece::Tools, self.inputs.tools, (&self.asked, &self.tools))?;
        let rootfs = Base::of(context, store, Piece::Rootfs, self.inputs.rootfs, (&self.asked, &self.lock))?;
        let tools = || unpack_tools(context, store, &self.tools, tools);
        let rootfs = || self.rootfs(context, store, manner, rootfs);
        if workers(&self.asked.system) < 2 || manner.shell {
            return Ok((tools()?, rootfs()?));
        }
        let (tools, rootfs) = std::thread::scope(|scope| {
            let tools = scope.spawn(tools);
            let rootfs = rootfs();
            (tools.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), rootfs)
        });
        Ok((tools?, rootfs?))
    }

    fn rootfs(&self, context: &Context, store: &Store, manner: Manner, base: Base) -> Result<PathBuf> {
        let debs = match base {
            Base::Made(path) => return Ok(path),
            Base::Packages(debs) => debs,
        };
        let system = &self.asked.system;
        let request = rootfs::Request {
            debs: &debs,
            users: &system.users,
            groups: &system.groups,
            prepare: &system.prepare,
            epoch: self.lock.source_date_epoch(),
            workers: workers(system),
            keep: manner.shell,
            executable: None,
        };
        let made = store.put(kind(Piece::Rootfs), self.inputs.rootfs, |to| {
            let parent = to.parent().unwrap_or(Path::new("."));
            let built = rootfs::build(&request, parent, to, context.ui.as_ref());
            if let Err(rootfs::Error::Script { root: Some(root), package, script, output }) = &built {
                // Here and not later: the store clears away what a failed step leaves.
                context.ui.error(format!("{script} of {package} failed:\n{output}"));
                if let Err(failure) = open_shell(context, root) {
                    failure.show(&context.ui);
                }
            }
            built.map(drop)
        });
        match made {
            Ok(path) => Ok(path),
            Err(PutError::Make(rootfs::Error::Script { root: Some(_), package, script, .. })) => {
                Err(Failure::error(format!("{script} of {package} failed")))
            }
            Err(PutError::Make(error @ rootfs::Error::Script { .. })) => {
                Err(Failure::error(error).hint("`rave build --shell` opens a shell where the script failed"))
            }
            Err(other) => Err(name_package(&self.lock, making(other))),
        }
    }

    /// Makes whatever is missing, and shows that no secret is in it.
    pub fn build(&self, context: &Context, store: &Store, manner: Manner) -> Result<Built> {
        let pieces = match self.done(store)? {
            Some(pieces) => pieces,
            None => self.assemble(context, store, manner)?,
        };
        let leaks = secrets::prove(context, store, self, &pieces)?;
        let all: Vec<Digest> = self.plan.steps.iter().map(|step| step.digest).collect();
        let manifest = self.plan.digest(Piece::Manifest);
        Generations::of(store, &self.asked.named, &self.asked.system.name).add(&all, manifest)?;
        Ok(Built { pieces, leaks })
    }

    fn assemble(&self, context: &Context, store: &Store, manner: Manner) -> Result<Assembled> {
        let workers = workers(&self.asked.system);
        let make = || -> Result<Assembled> {
            let (tools, rootfs) = self.bases(context, store, manner)?;
            let assembly = Assembly {
                system: &self.asked.system,
                inputs: &self.inputs,
                plan: &self.plan,
                store,
                tools: &tools,
                rootfs: &rootfs,
                rave: &self.rave,
                workers,
                report: context.ui.as_ref(),
            };
            Ok(assembly.run()?)
        };
        let _bound = Bound::new(memory(&self.asked.system))?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers as usize).build().map_err(Failure::error)?;
        pool.install(make)
    }

    /// The unified kernel image, once all is made.
    pub fn uki(&self, store: &Store) -> Result<PathBuf> {
        let found = self.plan.digest(Piece::Uki).map(|digest| store.lookup(kind(Piece::Uki), digest)).transpose()?;
        found.flatten().ok_or_else(|| Failure::error("the unified kernel image left the store"))
    }

    /// The finished pieces, if the store has all of them.
    fn done(&self, store: &Store) -> Result<Option<Assembled>> {
        let find = |piece: Piece| match self.plan.digest(piece) {
            Some(digest) => store.lookup(kind(piece), digest),
            None => Ok(None),
        };
        let (Some(disk), Some(manifest)) = (find(Piece::Disk)?, find(Piece::Manifest)?) else { return Ok(None) };
        let qcow2 = find(Piece::Qcow2)?;
        let complete = qcow2.is_some() || self.plan.digest(Piece::Qcow2).is_none();
        Ok(complete.then_some(Assembled { disk, manifest, qcow2 }))
    }
}

/// The tools of the project's images, for a disk that names none.
pub fn any_tools(context: &Context, store: &Store) -> Result<PathBuf> {
    let (name, directory) = (locking::TOOLS.to_owned(), context.project.join("images"));
    let named = Named { typed: name.clone(), name, directory };
    let asked = locking::tools(context, &named)?;
    let lock = locking::fitting(&asked)?.map_err(|unfit| {
        Failure::request(format!("{}: {unfit}", asked.named.lock().display())).hint("run `rave lock` for an image")
    })?;
    let base = Base::of(context, store, Piece::Tools, tools_digest(&lock), (&asked, &lock))?;
    unpack_tools(context, store, &lock, base)
}

/// What an image begins with: a tree of packages that the store has, or the packages to make it of.
enum Base {
    Made(PathBuf),
    Packages(Vec<PathBuf>),
}

impl Base {
    /// Looks a tree up; fetches its packages if the store does not have it.
    fn of(context: &Context, store: &Store, piece: Piece, digest: Digest, from: (&Asked, &Lock)) -> Result<Self> {
        let (asked, lock) = from;
        Ok(match store.lookup(kind(piece), digest)? {
            Some(path) => Self::Made(path),
            None => Self::Packages(fetch(context, store, asked, lock)?),
        })
    }
}

/// The tools tree of a lock.
fn unpack_tools(context: &Context, store: &Store, lock: &Lock, base: Base) -> Result<PathBuf> {
    let debs = match base {
        Base::Made(path) => return Ok(path),
        Base::Packages(debs) => debs,
    };
    let made = store.put(kind(Piece::Tools), tools_digest(lock), |to| {
        let work = Work::start(context.ui.as_ref(), "unpack", "tools", None);
        disk::create_dir_all(to)?;
        tools::unpack_tools(&debs, to)?;
        work.finish(format!("{} packages", debs.len()));
        Ok(())
    });
    made.map_err(|error| name_package(lock, making::<debian::unpack::Error>(error)))
}

/// The packages of a lock, from the store or the mirrors, in the lock's order.
fn fetch(context: &Context, store: &Store, asked: &Asked, lock: &Lock) -> Result<Vec<PathBuf>> {
    let fetcher = locking::fetcher(context, &asked.system, Some(lock))?;
    let paths = fetcher.fetch_packages(lock, &asked.named.directory, store, context.ui.as_ref())?;
    let find = |package: &debian::LockedPackage| {
        let missing = || Failure::error(format!("{} was not fetched", package.name));
        paths.get(&package.sha256).cloned().ok_or_else(missing)
    };
    lock.packages.iter().map(find).collect()
}

fn open_shell(context: &Context, root: &Path) -> Result<()> {
    if std::io::stdin().is_terminal() {
        context.ui.say("a shell in the root file system as the script left it; it is removed when the shell ends");
        let term = context.environment.term.clone().unwrap_or_else(|| "dumb".into());
        let mut shell = rootfs::shell(root).env("TERM", term).command();
        let status = shell.stdin(std::process::Stdio::inherit()).status();
        disk::context("open a shell in", root, status)?;
    } else {
        context.ui.hint("--shell opens a shell on a terminal only");
    }
    rootfs::remove(root).map_err(Failure::error)
}

fn making<E: std::error::Error + Send + Sync + 'static>(error: PutError<E>) -> Failure {
    match error {
        PutError::Store(error) => error.into(),
        PutError::Make(error) => Failure::error(error),
    }
}

/// A package in the store is named by its digest; the user knows it by its name.
fn name_package(lock: &Lock, failure: Failure) -> Failure {
    let Failure::Error { error, hint: None } = &failure else { return failure };
    let text = super::failure::chain(error.as_ref());
    match lock.packages.iter().find(|package| text.contains(&package.sha256.to_string())) {
        Some(package) => failure.hint(format!("this is {} {}", package.name, package.version)),
        None => failure,
    }
}

/// Processors that a build may use: as `build.jobs` says, or all.
pub fn workers(system: &System) -> u32 {
    let jobs = setting(system, "build.jobs").and_then(Value::as_u64).and_then(|jobs| u32::try_from(jobs).ok());
    let all = || std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    jobs.unwrap_or_else(all)
}

/// Bytes of data that each program of a build may have: as `build.memory` says.
fn memory(system: &System) -> Option<u64> {
    setting(system, "build.memory").and_then(Value::as_str).and_then(quantity::bytes)
}

/// What the image, or its mode, says of a build.
fn setting<'a>(system: &'a System, name: &str) -> Option<&'a Value> {
    system.options.iter().find(|(option, _)| option.as_str() == name).map(|(_, setting)| &setting.value)
}

/// A limit of memory that this process has, and that those which it starts inherit, until it is dropped: the soft one of
/// setrlimit(2), so that whatever else rave does in the end, such as to run a machine, has what it had.
struct Bound(Rlimit);

impl Bound {
    fn new(most: Option<u64>) -> Result<Self> {
        let before = getrlimit(Resource::Data);
        if let Some(most) = most
            && before.current.is_none_or(|current| current > most)
        {
            let bound = Rlimit { current: Some(most), ..before };
            setrlimit(Resource::Data, bound).map_err(|error| Failure::error(std::io::Error::from(error)))?;
        }
        Ok(Self(before))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // What was in force before is never refused.
        let _ = setrlimit(Resource::Data, self.0);
    }
}

fn tools_digest(lock: &Lock) -> Digest {
    let mut hash = Canonical::new(TOOLS_FORMAT);
    lock.packages.iter().for_each(|package| {
        hash.field(package.sha256.as_bytes());
    });
    hash.finish()
}

fn rootfs_digest(system: &System, lock: &Lock) -> Result<Digest> {
    let mut hash = Canonical::new(ROOTFS_FORMAT);
    hash.field(lock.digest().as_bytes()).json(&(&system.users, &system.groups, &system.prepare))?;
    Ok(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;

    #[test]
    fn a_program_of_a_build_gets_no_more_memory_than_it_may_have() {
        // A gigabyte and a half in one line, which tail keeps.
        let greedy = || Tool::new("sh").args(["-ec", "head -c 1500000000 /dev/zero | tail -n 1 >/dev/null"]).output();
        let before = getrlimit(Resource::Data);
        {
            let _bound = Bound::new(Some(1 << 30)).unwrap();
            assert!(greedy().is_err());
        }
        assert_eq!(getrlimit(Resource::Data), before);
        let _unbounded = Bound::new(None).unwrap();
        assert_eq!(getrlimit(Resource::Data), before);
    }
}
