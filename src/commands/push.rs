//! `rave vm secrets NAME push`: new secrets for a machine that runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::event::Work;
use crate::guest::secrets::Report;
use crate::interrupt;
use crate::name::ImageName;
use crate::qemu::agent::Exit;
use crate::qemu::vm::Vm;
use crate::secrets::{File, Format, Recipient, Secret, deploy, file, harden, needed, sources};
use crate::ui::Tone;

use super::guest::past;
use super::running::{self, machines};
use super::secrets::{check, identities};
use super::{Context, Failure, Result, Status, locking};

/// What the image holds, and how long the agent may take to hand it out.
const SEALED: &str = "/usr/share/rave/secrets/sealed.json";
const READ: Duration = Duration::from_secs(60);

/// How long the machine may take, restarts of units included.
const ACTIVATE: Duration = Duration::from_secs(240);

/// Seals, sends and tells what came of it.
pub fn run(name: &ImageName, image: Option<&str>, identity: Option<&Path>, context: &Context) -> Result<Status> {
    harden().map_err(Failure::error)?;
    let _left = interrupt::leave_to_machine();
    let vm = machines(context).attach(name)?;
    let manifest = running::manifest_of(&vm)?;
    let wanted: Vec<&String> = manifest.expect.secrets.keys().filter(|name| !name.contains('/')).collect();
    if wanted.is_empty() {
        return Err(Failure::request(format!("the image of {name} has no secrets")));
    }
    let found = gather(image.unwrap_or(manifest.image.as_str()), identity, context)?;
    let missing: Vec<&str> =
        wanted.iter().filter(|name| !found.contains_key(**name)).map(|name| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Failure::request(format!("{name} needs {}, which no file has", missing.join(", "))));
    }
    let values: BTreeMap<String, Secret> = found.into_iter().filter(|(name, _)| wanted.contains(&name)).collect();
    let work = Work::start(context.ui.as_ref(), "push", name.to_string(), None);
    let sealed = deploy::seal(&values, &recipients(&vm)?, jiff::Timestamp::now()).map_err(Failure::error)?;
    let report = activate(&vm, &sealed)?;
    work.finish(format!("generation {}", report.generation));
    show(&report, context);
    Ok(if report.units.iter().any(|done| done.is_bad()) { Status::Unwell } else { Status::Done })
}

/// The project's secrets, which must be what the image asks for.
fn gather(image: &str, identity: Option<&Path>, context: &Context) -> Result<BTreeMap<String, Secret>> {
    let asked = locking::evaluate(context, image, &[], None)?;
    let mut identities = identities(context);
    if let Some(path) = identity {
        sources::add_file(&mut identities, path, "--identity: ");
    }
    let files = check::files(&context.project, asked.named.name.as_str());
    let found = check::gather(&files, &identities, context)?;
    let problems = needed::judge(&asked.system, &found, SystemTime::now());
    let (warnings, wrong): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.is_warning);
    warnings.iter().for_each(|problem| context.ui.warn(format!("{}: {}", problem.secret, problem.what)));
    if !wrong.is_empty() {
        let lines: Vec<String> = wrong.iter().map(|problem| format!("{}: {}", problem.secret, problem.what)).collect();
        let hint = format!("`rave secrets check {image}` shows all of them");
        return Err(Failure::request(lines.join("\n")).hint(hint));
    }
    Ok(found.into_iter().map(|(name, found)| (name, found.value)).collect())
}

/// Those who can open what the image holds: one of them is the machine.
fn recipients(vm: &Vm) -> Result<Vec<Recipient>> {
    let sealed = File::read(Format::Json, &vm.read_file(SEALED, file::LIMIT, READ)?).map_err(Failure::error)?;
    let keys = sealed.metadata.groups.iter().flat_map(|group| &group.age);
    keys.map(|key| Recipient::parse(&key.recipient)).collect::<std::result::Result<_, _>>().map_err(Failure::error)
}

/// Sends ciphertext, and nothing else, into the machine.
fn activate(vm: &Vm, sealed: &[u8]) -> Result<Report> {
    let output = vm.exec("/usr/bin/rave", &["--json", "guest", "secrets", "--stdin"], sealed, ACTIVATE)?;
    if output.exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ").to_owned();
        return Err(Failure::error(format!("{} keeps its old secrets: {said}", vm.state().name)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn show(report: &Report, context: &Context) {
    if context.ui.is_json() {
        return context.ui.print_json(report);
    }
    let what = |content: bool, access: bool| match (content, access) {
        (true, true) => "new",
        (true, false) => "changed",
        (false, _) => "other owner or mode",
    };
    let secret = |changed: &crate::guest::secrets::Changed| {
        (changed.name.clone(), what(changed.content, changed.access).to_owned(), Tone::Good)
    };
    let unit = |done: &crate::guest::secrets::units::Done| {
        let did = done.act.map_or("was not running", past);
        let tone = if done.is_bad() { Tone::Bad } else { Tone::Good };
        (done.unit.clone(), format!("{did}, {}", done.state), tone)
    };
    let rows: Vec<_> = report.changed.iter().map(secret).chain(report.units.iter().map(unit)).collect();
    if rows.is_empty() {
        return context.ui.say("nothing changed");
    }
    let row = |(name, what, tone)| vec![(name, Tone::Plain), (what, tone)];
    context.ui.table(&["NAME", "WHAT"], &rows.into_iter().map(row).collect::<Vec<_>>());
}
