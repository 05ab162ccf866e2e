//! `rave vm secrets NAME push`: new secrets for a machine that runs.

use std::time::Duration;

use crate::event::Work;
use crate::guest::secrets::units::Done;
use crate::guest::secrets::{Changed, Report};
use crate::interrupt;
use crate::name::{GuestPath, ImageName};
use crate::qemu::agent::Exit;
use crate::qemu::vm::Vm;
use crate::secrets::deploy;
use crate::tree::Content;
use crate::ui::Tone;

use super::guest::past;
use super::running::{self, machines};
use super::{Context, Failure, Result, Status, locking, secrets};

/// How long the machine may take, restarts of units included.
const PATIENCE: Duration = Duration::from_secs(240);

/// Seals, sends and tells what came of it.
pub fn run(name: &ImageName, image: Option<&str>, context: &Context) -> Result<Status> {
    let vm = machines(context).attach(name)?;
    let manifest = running::manifest_of(&vm)?;
    if manifest.expect.secrets.is_empty() {
        return Err(Failure::request(format!("the image of {name} asks for no secrets")));
    }
    let sealed = seal(image.unwrap_or(manifest.image.as_str()), context)?;
    let _left = interrupt::leave_to_machine();
    let work = Work::start(context.ui.as_ref(), "push", name.to_string(), None);
    let report = activate(&vm, &sealed)?;
    work.finish(format!("generation {}", report.generation));
    show(&report, context);
    Ok(if report.units.iter().any(Done::is_bad) { Status::Unwell } else { Status::Done })
}

/// What a build of the image would put into it now.
fn seal(image: &str, context: &Context) -> Result<Vec<u8>> {
    let mut asked = locking::evaluate(context, image, &[], None)?;
    secrets::complete(context, &mut asked)?;
    let path: GuestPath = deploy::SEALED.parse().map_err(Failure::error)?;
    match asked.system.tree.get(&path).map(|entry| &entry.content) {
        Some(Content::File(bytes)) => Ok(bytes.clone()),
        _ => Err(Failure::request(format!("{image} asks for no secrets any more"))),
    }
}

/// Sends ciphertext, and nothing else, into the machine.
fn activate(vm: &Vm, sealed: &[u8]) -> Result<Report> {
    let output = vm.exec("/usr/bin/rave", &["--json", "guest", "secrets", "--stdin"], sealed, PATIENCE)?;
    if output.exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ").to_owned();
        return Err(Failure::error(format!("{} keeps the secrets that it had: {said}", vm.state().name)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn show(report: &Report, context: &Context) {
    if context.ui.is_json() {
        return context.ui.print_json(report);
    }
    let secret = |changed: &Changed| {
        let what = match (changed.content, changed.access) {
            (true, true) => "new",
            (true, false) => "changed",
            (false, _) => "other owner or mode",
        };
        (changed.name.clone(), what.to_owned(), Tone::Good)
    };
    let unit = |done: &Done| {
        let tone = if done.is_bad() { Tone::Bad } else { Tone::Good };
        (done.unit.clone(), format!("{}, {}", done.act.map_or("left alone", past), done.state), tone)
    };
    let rows: Vec<_> = report.changed.iter().map(secret).chain(report.units.iter().map(unit)).collect();
    if rows.is_empty() {
        return context.ui.say("nothing changed");
    }
    let row = |(name, what, tone)| vec![(name, Tone::Plain), (what, tone)];
    context.ui.table(&["NAME", "WHAT"], &rows.into_iter().map(row).collect::<Vec<_>>());
}
