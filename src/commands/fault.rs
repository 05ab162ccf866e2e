//! `rave vm fault`: has something go wrong in a machine, for a while.

use std::time::Duration;

use crate::cli::fault::{Fault as Wanted, Kind, Partition};
use crate::images::gpt;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu::fault::{self, Fault};

use super::running::{self, machines};
use super::{Context, Failure, Result, Status};

/// How often is looked whether a signal came.
const LOOK: Duration = Duration::from_secs(3600);

/// Brings it about, and ends it if it lasts.
pub fn run(wanted: &Wanted, name: &ImageName, context: &Context) -> Result<Status> {
    let fault = match &wanted.kind {
        Kind::PowerCut => return once(wanted).and_then(|()| cut(name, context)),
        Kind::RebootLoop { times, within } => {
            return once(wanted).and_then(|()| reboot(name, *times, *within, context));
        }
        Kind::FlippedByte { partition, at } => return once(wanted).and_then(|()| flip(name, *partition, *at, context)),
        Kind::NetworkLoss => Fault::NetworkLoss,
        Kind::SlowDisk { rate } => Fault::SlowDisk(*rate),
        Kind::ReadErrors => Fault::ReadErrors,
        Kind::FullDisk { leave } => Fault::FullDisk(*leave),
        Kind::ClockJump { seconds } => Fault::ClockJump(*seconds),
        Kind::MemoryPressure { leave } => Fault::MemoryPressure(*leave),
        Kind::StuckUnit { unit } => Fault::StuckUnit(unit.clone()),
    };
    let _left = interrupt::leave_to_machine();
    // Let go of at once: there may be several faults at a time.
    machines(context).attach_for_fault(name)?.break_by(&fault)?;
    let interrupted = match wanted.lasting {
        Some(seconds) => {
            context.ui.say(format!("{name}: broken for {seconds} s; Ctrl-C mends it sooner"));
            interrupt::pause(Duration::from_secs(u64::from(seconds)))
        }
        None => {
            context.ui.say(format!("{name}: broken until Ctrl-C"));
            while !interrupt::pause(LOOK) {}
            false
        }
    };
    machines(context).attach_for_fault(name)?.mend(&fault)?;
    context.ui.say(format!("{name}: mended"));
    if interrupted { Err(Failure::Interrupted) } else { Ok(Status::Done) }
}

/// What does not last has no end to be told.
fn once(wanted: &Wanted) -> Result<()> {
    match wanted.lasting {
        None => Ok(()),
        Some(_) => Err(Failure::request("--for is for faults that last; this one happens once")),
    }
}

fn cut(name: &ImageName, context: &Context) -> Result<Status> {
    machines(context).attach_for_fault(name)?.cut()?;
    context.ui.say(format!("{name}: its power was cut"));
    Ok(Status::Done)
}

/// Resets the machine so often, and tells when, so that what comes of it can be understood.
fn reboot(name: &ImageName, times: u32, within: u32, context: &Context) -> Result<Status> {
    let _left = interrupt::leave_to_machine();
    // One that is not there is told at once.
    machines(context).attach_for_fault(name)?;
    for turn in 1..=times {
        let moment = fault::moment(Duration::from_secs(u64::from(within)))?;
        if interrupt::pause(moment) {
            return Err(Failure::Interrupted);
        }
        machines(context).attach_for_fault(name)?.reset()?;
        context.ui.say(format!("{name}: reset {turn} of {times}, after {:.1} s", moment.as_secs_f32()));
    }
    Ok(Status::Done)
}

fn flip(name: &ImageName, partition: Partition, at: Option<u64>, context: &Context) -> Result<Status> {
    let vm = machines(context).attach_for_fault(name)?;
    let manifest = running::manifest_of(&vm)?;
    let kind = match partition {
        Partition::Esp => gpt::ESP,
        Partition::Root => gpt::ROOT_X86_64,
        Partition::Verity => gpt::ROOT_X86_64_VERITY,
    };
    let size = manifest.partitions.iter().find(|known| known.kind == kind.to_string()).map(|known| known.content.size);
    let size = size.ok_or_else(|| Failure::error(format!("{name} has no such partition")))?;
    let at = at.unwrap_or(match partition {
        Partition::Esp => manifest.inside_uki(),
        // In the superblock of EROFS, behind its magic number: only dm-verity can notice.
        Partition::Root => 1024 + 64,
        // In the topmost hashes, which are the first block behind the superblock.
        Partition::Verity => 4096,
    });
    if at >= size {
        return Err(Failure::request(format!("the image has {size} bytes there, and none at {at}")));
    }
    let disk = &vm.state().base.path;
    let begin = gpt::find(disk, kind).map_err(Failure::error)?;
    vm.flip(begin.ok_or_else(|| Failure::error(format!("{} has no such partition", disk.display())))? + at)?;
    context.ui.say(format!("{name}: the byte at {at} is another one"));
    Ok(Status::Done)
}
