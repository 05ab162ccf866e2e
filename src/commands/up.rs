//! `rave up`: lock, build, boot and check in one go.

use crate::cli;
use crate::debian::{Lock, Update};
use crate::interrupt;
use crate::store::Store;

use super::building::{Manner, Prepared};
use super::locking::{self, Asked};
use super::running::{self, Bootable, Wish};
use super::{Context, Failure, Result, Status, check, project, run as run_command, store};

/// Does all of it.
pub fn run(arguments: &cli::Up, context: &Context) -> Result<Status> {
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => project::meant(&project::all(&context.project)?).to_owned(),
    };
    let asked = locking::evaluate(context, &image, &[], arguments.mode)?;
    super::secrets::init::first(&asked, context)?;
    let host = with_identity(&arguments.host, &asked, context);
    running::expect(&host)?;
    let store = store::open(context)?;
    let (locked, tools) = (lock(context, &asked)?, lock(context, &locking::tools(context, &asked.named)?)?);
    let prepared = Prepared::new(context, asked, locked, tools, Manner::default())?;
    let bootable = match run_command::of_image(context, &store, &prepared) {
        Err(Failure::Gone(error)) => {
            context.ui.warn(format!("{error}; locking anew"));
            again(context, &store, prepared.asked)?
        }
        bootable => bootable?,
    };
    let wish = Wish {
        name: None,
        host: &host,
        direct: false,
        persist: false,
        detach: arguments.keep,
        debug: None,
        rtc: None,
        play: None,
    };
    let _left = interrupt::leave_to_machine();
    let mut vm = running::start(context, &bootable, &wish)?;
    if arguments.keep {
        run_command::keep(&store, &vm, &bootable)?;
    }
    running::wait(context, &mut vm, &host)?;
    let checked = check::of_vm(context, &vm);
    if !arguments.keep || checked.is_err() {
        running::stop(context, &mut vm)?;
    }
    let report = checked?;
    check::show(context, &report);
    if arguments.keep {
        let name = &vm.state().name;
        context.ui.say(format!("{name} goes on: {}; `rave vm ssh {name}` enters it", running::addresses(&vm)));
    }
    check::end(&report, false)
}

/// Hands one's own identity to a machine that needs secrets, if no other was given: it is one's own machine.
fn with_identity(host: &cli::Host, asked: &Asked, context: &Context) -> cli::Host {
    let mut host = host.clone();
    if !asked.system.secrets.is_empty() && host.identity.is_none() {
        let sources = &context.environment.identities;
        let files = [sources.key_file.clone(), sources.default_file()];
        host.identity = files.into_iter().flatten().find(|file| crate::disk::exists(file));
    }
    host
}

/// The image's lock, made if there is none that fits.
fn lock(context: &Context, asked: &Asked) -> Result<Lock> {
    match locking::fitting(asked)? {
        Ok(lock) => Ok(lock),
        Err(unfit) => {
            context.ui.say(format!("{}: {unfit}; locking", asked.named.lock().display()));
            locking::lock(context, asked, &Update::None)
        }
    }
}

/// Locks everything anew and builds from that.
fn again(context: &Context, store: &Store, asked: Asked) -> Result<Bootable> {
    let tools = locking::lock(context, &locking::tools(context, &asked.named)?, &Update::None)?;
    let lock = locking::lock(context, &asked, &Update::None)?;
    let prepared = Prepared::new(context, asked, lock, tools, Manner::default())?;
    run_command::of_image(context, store, &prepared)
}
