//! `rave deploy` to a cluster with KubeVirt: by the user's own skopeo and kubectl.

mod api;
mod forward;
mod verbs;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli;
use crate::cloud::render::{self, Identity as Given, Wishes};
use crate::deploy::host::Outcome;
use crate::deploy::kubevirt::manifests::{secret_name, title, to_yaml};
use crate::deploy::kubevirt::{Cluster, Found, Parts, Rollout, found, rollout};
use crate::deploy::registry::{self, Push, Pushed};
use crate::deploy::{Action, Target};
use crate::digest::Digest;
use crate::disk;
use crate::event::Work;
use crate::export::{self, Format};
use crate::images::Manifest;
use crate::images::layout::Sectors;
use crate::interrupt;
use crate::name::ImageName;
use crate::secrets::identity::Identity;
use crate::store::Store;
use crate::system::Cloud;

use super::super::building::Manner;
use super::super::scratch::Scratch;
use super::super::{Context, Failure, Result, Status, build, cloud_init, locking, store};
use super::rollout as shared;

use api::Kubectl;
pub use verbs::{rows, verb};

/// The image as a registry takes it.
struct Wanted {
    manifest: Manifest,
    archive: PathBuf,
    /// Digest of its manifest in a registry.
    image: Digest,
    _directory: Scratch,
    /// Keeps what it was made of from `rave store gc`.
    _store: Store,
}

/// What has to be done for one machine.
struct Task {
    machine: ImageName,
    wanted: Value,
    found: Option<Found>,
    actions: Vec<Action>,
}

/// Deploys, or shows what that would do.
pub fn run(arguments: &cli::Deploy, context: &Context, target: &Target, cluster: &Cluster) -> Result<Status> {
    let machines = shared::chosen(&target.name, &cluster.machines, |name| name, &arguments.machine)?;
    let identity = super::identity(context, target)?;
    let wanted = wanted(arguments, context, target, cluster)?;
    let (given, image) = (super::given(target, identity.as_ref()), &wanted.image);
    let parts = Parts { target: &target.name, cluster, manifest: &wanted.manifest, image, given: &given };
    let push = Push {
        repository: &cluster.repository,
        // A tag for each build: none takes another's away from a registry that clears away what has no tag.
        tag: format!("{}-{}", export::tag(&wanted.manifest), wanted.image.short()),
        image: wanted.image,
        auth: cluster.registry_auth.as_ref().map(|path| context.project.join(path)),
    };
    if arguments.dry_run {
        show_commands(context, arguments, &parts, &push, &machines)?;
        return Ok(Status::Done);
    }
    let api = Kubectl::new(context, target, cluster, Some(&wanted.manifest))?;
    let mut there = api.machines()?;
    let others = there.values().any(|found| found.target.as_deref() == Some(target.name.as_str()));
    let mut tasks = Vec::new();
    for machine in machines {
        let (wanted, found) = (parts.machine(machine), there.remove(machine.as_str()));
        let actions = found::plan(&target.name, &wanted, found.as_ref()).map_err(|clash| {
            Failure::request(format!("targets/{}.yaml: namespace {}: {clash}", target.name, cluster.namespace))
                .hint("give the machine another name, or the target another namespace")
        })?;
        tasks.push(Task { machine: machine.clone(), wanted, found, actions });
    }
    if arguments.plan {
        let planned: Vec<_> = tasks.iter().map(|task| planned(cluster, task)).collect();
        return Ok(shared::show(context, &planned, arguments.exit_code));
    }
    // From here on Ctrl-C ends what is waited for, and says what there is.
    let _left = interrupt::leave_to_machine();
    send(context, &push, &wanted)?;
    let rollout = Rollout { api: &api };
    let secret = parts.secret(&user_data(target, &api.key()?, identity.as_ref())?);
    let common = parts.shared();
    let done = rollout.prepare(&common, &secret, others).map_err(failed).and_then(|()| {
        let (told, is_well) = shared::each(
            context,
            &tasks,
            |task| &task.machine,
            |task| {
                let (outcome, title) = (perform(context, &rollout, task)?, title(&task.wanted));
                super::say(context, &task.machine, &title, &outcome);
                if !outcome.healthy {
                    verbs::clear(&api, target)?;
                }
                let is_well = outcome.healthy;
                Ok((json!({"machine": task.machine, "release": title, "outcome": outcome}), is_well))
            },
        )?;
        // Those that were not asked for may run another version, which needs what there is.
        if is_well && tasks.len() == cluster.machines.len() {
            rollout.settle(&common, others).map_err(failed)?;
        }
        Ok((told, is_well))
    });
    // Without a machine there is nothing that `rave target remove` would take away, the identity with it.
    if done.is_err()
        && let Err(failure) = verbs::clear(&api, target)
    {
        context.ui.warn(format!("what machines have in common may be left: {}", failure.reason()));
    }
    let (told, is_well) = done?;
    verbs::tidy(&api, target)?;
    Ok(shared::end(context, &target.name, &told, is_well))
}

fn show_commands(
    context: &Context,
    arguments: &cli::Deploy,
    parts: &Parts<'_>,
    push: &Push<'_>,
    machines: &[&ImageName],
) -> Result<()> {
    let objects: Vec<Value> =
        parts.shared().into_iter().chain(machines.iter().map(|machine| parts.machine(machine))).collect();
    let archive = Path::new("export").join(export::file_name(parts.manifest, Format::ContainerDisk, Sectors::Small));
    context.ui.print(format!(
        "# rave export {} --format containerdisk && {}\n# The Secret {} is made of the identity and the authorized \
         keys, and not shown.\n{}",
        arguments.image,
        push.shown(&archive),
        secret_name(parts.target, parts.given),
        to_yaml(&objects).map_err(Failure::error)?.trim_end(),
    ));
    Ok(())
}

fn perform(context: &Context, rollout: &Rollout<'_>, task: &Task) -> Result<Outcome> {
    if task.actions.is_empty() {
        return Ok(Outcome { healthy: true, reason: String::new(), instead: None });
    }
    let work = Work::start(context.ui.as_ref(), "deploy", task.machine.to_string(), None);
    let outcome = rollout.perform(&task.wanted, task.found.as_ref()).map_err(|error| match error {
        rollout::Error::Interrupted => {
            context.ui.warn(format!("{} is not checked; the same command goes on with it", task.machine));
            Failure::Interrupted
        }
        error => failed(error),
    })?;
    work.finish(if outcome.healthy { "well" } else { "not well" });
    Ok(outcome)
}

/// Builds what shall run and makes of it what a registry takes.
fn wanted(arguments: &cli::Deploy, context: &Context, target: &Target, cluster: &Cluster) -> Result<Wanted> {
    let variant = &arguments.variant;
    let asked = locking::evaluate(context, &arguments.image, &variant.set, variant.mode)?;
    // Users, keys and the identity come by user-data: KubeVirt has no other way.
    cloud_init::expect(context, &asked, Cloud::NoCloud, &[], None)?;
    let prepared = build::prepare(context, asked, Manner::default())?;
    let store = store::open(context)?;
    let built = prepared.build(context, &store, Manner::default())?;
    let manifest = build::read_manifest(&built.pieces.manifest)?;
    if manifest.expect.ssh.is_none() {
        return Err(shared::no_ssh(&arguments.image));
    }
    let kept: Vec<&str> =
        manifest.state.iter().filter(|(_, state)| state.backup).map(|(path, _)| path.as_str()).collect();
    if !cluster.ephemeral && !kept.is_empty() {
        let text = format!(
            "{} keeps what it writes in {}, and a machine of this kind loses that whenever it starts anew",
            arguments.image,
            kept.join(", ")
        );
        let hint = format!("write `ephemeral: true` in targets/{}.yaml if that is all right", target.name);
        return Err(Failure::request(text).hint(hint));
    }
    let directory = Scratch::new(disk::temp_dir()?);
    let archive = super::super::export::one(context, prepared, Format::ContainerDisk, directory.path())?;
    let image = export::manifest_digest(&archive).map_err(Failure::error)?;
    Ok(Wanted { manifest, archive, image, _directory: directory, _store: store })
}

fn send(context: &Context, push: &Push<'_>, wanted: &Wanted) -> Result<()> {
    let work = Work::start(context.ui.as_ref(), "push", push.repository.to_string(), None);
    let environment = &context.environment.identities.environment;
    let pushed = push.run(&wanted.archive, environment).map_err(|error| match error {
        registry::Error::Interrupted => Failure::Interrupted,
        registry::Error::Tool(error) => {
            Failure::error(error).hint("skopeo brings images to registries; install it here")
        }
        registry::Error::Refused { ref reason, .. } if is_about_login(reason) => {
            Failure::error(error).hint(match &push.auth {
                Some(path) => format!("the registry is asked with what {} has", path.display()),
                None => "`skopeo login` or `registry-auth` in the target says who pushes".to_owned(),
            })
        }
        error => Failure::error(error),
    })?;
    work.finish(match pushed {
        Pushed::WasThere => "was there",
        Pushed::Brought => "brought",
    });
    Ok(())
}

/// Whether a registry does not let somebody in, in the words of the distribution specification and of skopeo.
fn is_about_login(reason: &str) -> bool {
    ["unauthorized", "authentication required", "denied"].iter().any(|word| reason.contains(word))
}

/// What the machines are given at their start.
fn user_data(target: &Target, key: &str, identity: Option<&Identity>) -> Result<zeroize::Zeroizing<String>> {
    let keys: Vec<String> = std::iter::once(key.to_owned()).chain(target.authorized_keys.iter().cloned()).collect();
    let text = identity.map(|identity| std::str::from_utf8(identity.expose())).transpose();
    let text = text.map_err(|_| Failure::request(format!("targets/{}.yaml: identity: it is no text", target.name)))?;
    let identity = text.map_or(Given::None, Given::Plain);
    let wishes = Wishes { hostname: None, keys: &keys, users: &[], identity };
    Ok(zeroize::Zeroizing::new(render::render(&wishes, Some(Cloud::NoCloud)).map_err(Failure::error)?))
}

fn planned(cluster: &Cluster, task: &Task) -> shared::Planned {
    shared::Planned {
        machine: task.machine.to_string(),
        place: verbs::place(cluster),
        release: title(&task.wanted),
        actions: task.actions.iter().map(|action| json!(action)).collect(),
        words: task.actions.iter().map(super::words).collect(),
    }
}

fn failed(error: rollout::Error) -> Failure {
    match error {
        rollout::Error::Interrupted => Failure::Interrupted,
        error => Failure::error(error),
    }
}
