//! `rave run`: boots an image or a disk.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu::machine::Debug;
use crate::qemu::vm::Vm;
use crate::store::Store;

use super::building::{Manner, Prepared};
use super::running::{self, Bootable, Wish};
use super::{Context, Failure, Result, Status, build, cloud_init, locking, rehearse, store};

/// The option that makes an image for debugging, and its value then.
const DEBUG: [&str; 2] = ["debug.enable", "true"];

/// Boots, and stays until the machine or the user ends it, unless detached.
pub fn run(arguments: &cli::Run, context: &Context) -> Result<Status> {
    let name = arguments.name.as_deref().map(str::parse::<ImageName>).transpose();
    let name = name.map_err(|e| Failure::request(e.to_string()))?;
    running::expect(&arguments.host)?;
    let play = rehearse::prepare(&arguments.rehearse)?;
    let (store, bootable) = bootable(arguments, context)?;
    if let Some(play) = &play {
        play.expect(&build::read_manifest(&bootable.manifest)?)?;
    }
    let wish = Wish {
        name,
        host: &arguments.host,
        direct: arguments.direct,
        persist: arguments.persist,
        detach: arguments.detach,
        debug: arguments.debug.then_some(Debug { stops: arguments.stop }),
        rtc: arguments.rtc,
        play: play.as_ref(),
    };
    let _left = interrupt::leave_to_machine();
    let mut vm = running::start(context, &bootable, &wish)?;
    // What a machine writes is worth nothing without the image below it.
    if arguments.detach || arguments.persist {
        keep(&store, &vm, &bootable)?;
    }
    if let Some(play) = &play {
        return play.run(context, &mut vm, &arguments.host);
    }
    if arguments.stop {
        let name = &vm.state().name;
        context.ui.say(format!("{name} stops in its initrd; `rave vm console {name}` has the shell there"));
    } else {
        running::wait(context, &mut vm, &arguments.host)?;
        tell(context, &vm);
    }
    if arguments.detach {
        return Ok(Status::Done);
    }
    context.ui.say("Ctrl-C stops it");
    match vm.wait_end() {
        Ok(reason) => {
            context.ui.say(format!("the machine ended: {}", reason.as_deref().unwrap_or("no reason given")));
            Ok(Status::Done)
        }
        Err(error) => {
            running::stop(context, &mut vm)?;
            Err(error.into())
        }
    }
}

/// The name under which the store keeps what a detached machine runs from.
pub fn pin(name: &ImageName) -> String {
    format!("vm-{name}")
}

/// Keeps what a machine runs from as long as there is the machine, however long rave has ended.
pub fn keep(store: &Store, vm: &Vm, bootable: &Bootable) -> Result<()> {
    let Bootable { disk, manifest, uki, tools } = bootable;
    Ok(store.pin_paths(&pin(&vm.state().name), &[disk, manifest, uki, tools])?)
}

fn bootable(arguments: &cli::Run, context: &Context) -> Result<(Store, Bootable)> {
    let path = Path::new(&arguments.target);
    if path.extension().is_some_and(|extension| extension == "raw") {
        let (manifest, uki) = running::beside(path)?;
        // A disk says nothing of tools, so they are those of the project.
        let store = store::open(context)?;
        let tools = super::building::any_tools(context, &store)?;
        let disk = crate::disk::canonical(path)?;
        return Ok((store, Bootable { disk, manifest, uki, tools }));
    }
    let set = if arguments.debug { vec![DEBUG.map(str::to_owned).into()] } else { Vec::new() };
    let asked = locking::evaluate(context, &arguments.target, &set, arguments.mode)?;
    if let Some(cloud) = arguments.rehearse.cloud {
        let told = &arguments.rehearse;
        let data: Vec<&Path> =
            [&told.user_data, &told.vendor_data].into_iter().flatten().map(PathBuf::as_path).collect();
        cloud_init::expect(context, &asked, cloud, &data, told.network_config.as_deref())?;
    }
    let prepared = build::prepare(context, asked, Manner::default())?;
    let store = store::open(context)?;
    let bootable = of_image(context, &store, &prepared)?;
    Ok((store, bootable))
}

/// Builds an image as far as it is not, for booting.
pub fn of_image(context: &Context, store: &Store, prepared: &Prepared) -> Result<Bootable> {
    let built = prepared.build(context, store, Manner::default())?;
    let tools = prepared.tools(context, store)?;
    Ok(Bootable { disk: built.pieces.disk, manifest: built.pieces.manifest, uki: prepared.uki(store)?, tools })
}

fn tell(context: &Context, vm: &Vm) {
    let state = vm.state();
    if context.ui.is_json() {
        context.ui.print_json(&json!({
            "event": "result",
            "name": state.name,
            "accelerator": state.accelerator.to_string(),
            "ssh": state.host_port(22),
            "https": state.host_port(3002),
        }));
    } else {
        context.ui.print(format!("{} is up: {}", state.name, running::addresses(vm)));
    }
}
