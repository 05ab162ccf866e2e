//! `rave deploy`: brings an image to the machines of a target.

pub mod cloud;
pub mod kubevirt;
pub mod looks;
pub mod rollout;
pub mod way;

use std::path::PathBuf;

use serde_json::json;

use crate::cli;
use crate::deploy::host::{Goods, Outcome};
use crate::deploy::record::{FORMAT, Order};
use crate::deploy::target::{Engine, Kind, Machine};
use crate::deploy::units::{self, Form, Parts};
use crate::deploy::{Action, Facts, Release, Target, plan};
use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::export::{self, Format};
use crate::images::Manifest;
use crate::name::ImageName;
use crate::origin::Source;
use crate::secrets::identity::Identity;
use crate::store::Store;

use super::building::{Manner, Prepared};
use super::run::of_image;
use super::running::Bootable;
use super::scratch::Scratch;
use super::{Context, Failure, Result, Status, build, locking, project, store};

use way::Way;

/// The directory of targets in a project.
const TARGETS: &str = "targets";
/// Changes whenever the same programs are brought in another form.
const TOOLS_FORMAT: &str = "rave deployed tools 1";

/// What is to run on machines.
pub struct Wanted {
    /// The pieces.
    pub bootable: Bootable,
    /// The image as podman takes it, if it is to run in containers.
    pub archive: Option<Archive>,
    /// The image.
    pub manifest: Manifest,
    /// The digest that the programs are kept by.
    pub tools: Digest,
    /// Keeps the pieces from `rave store gc`.
    _store: Store,
}

/// The image as podman takes it.
pub struct Archive {
    /// Where it is.
    pub path: PathBuf,
    file: Digest,
    image: Digest,
    _directory: Scratch,
}

/// What has to be done for one machine.
struct Task<'a> {
    machine: &'a Machine,
    way: Way,
    release: Release,
    actions: Vec<Action>,
}

/// Deploys, or shows what that would do.
pub fn run(arguments: &cli::Deploy, context: &Context) -> Result<Status> {
    let target = read(context, &arguments.to)?;
    if let Some(cluster) = &target.cluster {
        return kubevirt::run(arguments, context, &target, cluster);
    }
    if let Some(declared) = &target.cloud {
        return cloud::run(arguments, context, &target, declared);
    }
    let machines = chosen(&target, &arguments.machine)?;
    let identity = identity(context, &target)?;
    let variant = &arguments.variant;
    let asked = locking::evaluate(context, &arguments.image, &variant.set, variant.mode)?;
    let prepared = build::prepare(context, asked, Manner::default())?;
    let wanted = wanted(context, prepared, target.kind)?;
    if wanted.manifest.expect.ssh.is_none() {
        return Err(rollout::no_ssh(&arguments.image));
    }
    let mut tasks = Vec::new();
    for machine in machines {
        let release = release(&wanted, machine, &target, identity.as_ref())?;
        let way = Way::to(context, machine.host.as_ref())?;
        if !arguments.plan && !arguments.dry_run {
            // Only the same rave is sure to understand what is asked.
            way.install()?;
        }
        let facts = way.facts()?.unwrap_or_default();
        let actions = plan(&target.name, &machine.name, &release, &facts).map_err(|clash| {
            Failure::request(format!("{}: {clash}", machine.host_name())).hint(clash.remedy(&machine.origin))
        })?;
        tasks.push(Task { machine, way, release, actions });
    }
    if arguments.plan {
        let planned: Vec<_> = tasks.iter().map(planned).collect();
        return Ok(rollout::show(context, &planned, arguments.exit_code));
    }
    if arguments.dry_run {
        show_commands(context, &tasks);
        return Ok(Status::Done);
    }
    let (told, is_well) = rollout::each(
        context,
        &tasks,
        |task| &task.machine.name,
        |task| {
            let (outcome, title) = (perform(context, &target, task, &wanted, identity.as_ref())?, task.release.title());
            say(context, &task.machine.name, &title, &outcome);
            let is_well = outcome.healthy;
            Ok((json!({"machine": task.machine.name, "release": title, "outcome": outcome}), is_well))
        },
    )?;
    Ok(rollout::end(context, &target.name, &told, is_well))
}

/// Reads a target of the project.
pub fn read(context: &Context, name: &str) -> Result<Target> {
    let path = context.project.join(TARGETS).join(format!("{name}.yaml"));
    let is_name = name.parse::<crate::name::ImageName>().is_ok();
    if !is_name || !disk::exists(&path) {
        let names: Vec<String> = names(context)?;
        let hint = match names.is_empty() {
            true => "targets are files such as targets/edge.yaml".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        };
        let text = format!("there is no target `{name}` in {}", context.project.join(TARGETS).display());
        return Err(Failure::request(text).hint(hint));
    }
    let shown = format!("{TARGETS}/{name}.yaml");
    let text = String::from_utf8(project::read_limited(&path)?);
    let text = text.map_err(|_| Failure::request(format!("{shown} is not UTF-8 text")))?;
    Ok(Target::parse(name, &Source::new(shown, text))?)
}

/// The names of all targets of the project.
pub fn names(context: &Context) -> Result<Vec<String>> {
    let paths = match disk::list(context.project.join(TARGETS)) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        paths => paths?,
    };
    let name = |path: &std::path::PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".yaml")?.to_owned());
    Ok(paths.iter().filter_map(name).filter(|name| name.parse::<crate::name::ImageName>().is_ok()).collect())
}

/// The machines of a target on hosts that were asked for; all, if none was named.
pub fn chosen<'a>(target: &'a Target, names: &[String]) -> Result<Vec<&'a Machine>> {
    rollout::chosen(&target.name, &target.machines, |machine| &machine.name, names)
}

/// The identity that a target names.
pub fn identity(context: &Context, target: &Target) -> Result<Option<Identity>> {
    let Some(path) = &target.identity else { return Ok(None) };
    let identity = Identity::read(&context.project.join(path)).map_err(|error| {
        Failure::request(format!("targets/{}.yaml: identity: {}", target.name, super::failure::chain(&error)))
            .hint("`rave secrets keygen --output FILE` makes one")
    })?;
    Ok(Some(identity))
}

/// Builds what shall run, as far as it is not built.
fn wanted(context: &Context, prepared: Prepared, kind: Kind) -> Result<Wanted> {
    let store = store::open(context)?;
    let bootable = of_image(context, &store, &prepared)?;
    let manifest = build::read_manifest(&bootable.manifest)?;
    let tools = tools_digest(&prepared);
    let archive = (kind == Kind::Podman).then(|| archive(context, prepared)).transpose()?;
    Ok(Wanted { bootable, archive, manifest, tools, _store: store })
}

fn archive(context: &Context, prepared: Prepared) -> Result<Archive> {
    let directory = Scratch::new(disk::temp_dir()?);
    let path = super::export::one(context, prepared, Format::Oci, directory.path())?;
    let image = export::manifest_digest(&path).map_err(Failure::error)?;
    let (file, _) = disk::digest(&path)?;
    Ok(Archive { path, file, image, _directory: directory })
}

/// The digest of the programs that machines run with.
pub fn tools_digest(prepared: &Prepared) -> Digest {
    let mut digest = Canonical::new(TOOLS_FORMAT);
    digest.field(prepared.inputs.tools.as_bytes()).field(prepared.inputs.rave.as_bytes()).finish()
}

/// What tells whether machines are given other keys or another identity, and nothing of the identity.
pub fn given(target: &Target, identity: Option<&Identity>) -> Digest {
    let mut digest = Canonical::new("rave deployed keys 1");
    for key in &target.authorized_keys {
        digest.field(key);
    }
    digest.field(identity.map(Identity::expose).unwrap_or_default()).finish()
}

/// The version of a machine that is wanted.
fn release(wanted: &Wanted, machine: &Machine, target: &Target, identity: Option<&Identity>) -> Result<Release> {
    let Wanted { manifest, tools, archive, .. } = wanted;
    let sites: std::collections::BTreeSet<u16> = manifest.expect.https.values().map(|site| site.port).collect();
    if let Some(port) = sites.iter().find(|port| sites.len() > 1 && machine.port(**port) != **port) {
        return Err(Failure::request(format!(
            "{}: of an image with several sites, each is at its own port",
            machine.origin
        ))
        .hint(format!("remove the port {port} from `ports`")));
    }
    let form = match (machine.engine, archive) {
        (Engine::Qemu(accelerator), _) => Form::Machine { accelerator, disk: manifest.disk.sha256 },
        (Engine::Podman, Some(archive)) => Form::Container { archive: archive.file, image: archive.image },
        (Engine::Podman, None) => return Err(Failure::error("the image was not exported")),
    };
    let given = given(target, identity);
    let parts = Parts { declared: machine, manifest, tools, form, identity: identity.is_some(), given: &given };
    let units = units::render(&parts)?;
    Ok(Release {
        image: manifest.image.clone(),
        version: manifest.version.clone(),
        mode: manifest.mode,
        root_hash: manifest.root_hash,
        disk: *form.kept(),
        container: form.container(&manifest.image),
        tools: *tools,
        units,
    })
}

/// Does what one machine needs.
fn perform(
    context: &Context,
    target: &Target,
    task: &Task<'_>,
    wanted: &Wanted,
    identity: Option<&Identity>,
) -> Result<Outcome> {
    let Task { machine, way, release, actions } = task;
    if actions.is_empty() {
        return Ok(Outcome { healthy: true, reason: String::new(), instead: None });
    }
    // What an earlier machine of this deployment has brought to the host is there.
    let facts: Facts = way.facts()?.unwrap_or_default();
    if !facts.tools.contains(&release.tools) {
        way.send(context, Goods::Tools, &release.tools, wanted)?;
    }
    if !facts.images.contains(&release.disk) {
        way.send(context, Goods::Image, &release.disk, wanted)?;
    }
    let order = Order {
        format: FORMAT,
        target: target.name.clone(),
        machine: machine.name.clone(),
        release: release.clone(),
        user: wanted.manifest.expect.ssh.as_ref().map(|ssh| ssh.user.clone()),
        authorized_keys: target.authorized_keys.clone(),
    };
    way.apply(context, &order, identity.map(Identity::expose))
}

fn planned(task: &Task<'_>) -> rollout::Planned {
    rollout::Planned {
        machine: task.machine.name.to_string(),
        place: task.machine.host_name(),
        release: task.release.title(),
        actions: task.actions.iter().map(|action| json!(action)).collect(),
        words: task.actions.iter().map(words).collect(),
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::SendTools => "send the programs that run it".to_owned(),
        Action::SendImage => "send the image".to_owned(),
        Action::Create { to } => format!("make the machine, start {to}, check it"),
        Action::Upgrade { from, to } => format!("shut {from} down, start {to}, check it"),
        Action::Restart { units } if units.is_empty() => "start it, check it".to_owned(),
        Action::Restart { units } => format!("write {} anew, restart it, check it", units.join(", ")),
        Action::Check => "end the deployment that was cut short: start it, check it".to_owned(),
    }
}

fn show_commands(context: &Context, tasks: &[Task<'_>]) {
    for task in tasks {
        let mut lines = vec![format!("# {} on {}", task.machine.name, task.machine.host_name())];
        for action in &task.actions {
            lines.push(match action {
                Action::SendTools => task.way.shown(&["host", "receive", "tools", &task.release.tools.to_string()]),
                Action::SendImage => task.way.shown(&["host", "receive", "image", &task.release.disk.to_string()]),
                _ => task.way.shown(&["host", "apply"]),
            });
        }
        if !task.actions.is_empty() {
            let units =
                task.release.units.iter().map(|(name, text)| format!("\n# {}\n{text}", units::place(name).display()));
            lines.extend(units);
        }
        context.ui.print(lines.join("\n"));
    }
}

/// Says what became of a machine that was to run the version `title`.
fn say(context: &Context, machine: &ImageName, title: &str, outcome: &Outcome) {
    if outcome.healthy {
        return context.ui.say(format!("{machine}: {title} runs and is well"));
    }
    context.ui.error(format!("{machine}: {title} is not well\n{}", outcome.reason.trim_end()));
    match &outcome.instead {
        Some((title, true)) => context.ui.say(format!("{machine}: {title} runs again and is well")),
        Some((title, false)) => context.ui.error(format!("{machine}: {title} runs again, and is not well either")),
        None => context.ui.say(format!("{machine}: there was no version before it, and it does not run")),
    }
}
