//! `rave verify`: reads an evidence bundle back.

use std::path::Path;

use serde_json::json;

use crate::check::Report;
use crate::cli;
use crate::disk;
use crate::evidence::{self, LONGEST, VerifyingKey};

use super::secrets::signing;
use super::{Context, Failure, Result, Status, check};

/// A public key file is shorter, in bytes.
const KEY: u64 = 16 << 10;

/// Verifies a bundle and shows what it says. Its verdict on the machine does not change the exit status: a report of an
/// unwell machine is as good a piece of evidence as any.
pub fn run(arguments: &cli::Verify, context: &Context) -> Result<Status> {
    let (key, place) = match &arguments.key {
        Some(path) => (key(path)?, path.clone()),
        None => own(context)?,
    };
    let path = &arguments.file;
    // One byte more than may be: the reader says that it is too large.
    let bytes = disk::read_start(path, LONGEST + 1).map_err(|error| missing(path, error))?;
    let refused = |error: evidence::Error| {
        let failure = Failure::request(format!("{}: {error}", path.display()));
        match error {
            evidence::Error::Foreign { .. } => failure.hint(format!(
                "it was held against {}; --key names another public key, if that one is trusted",
                place.display()
            )),
            _ => failure,
        }
    };
    let bundle = evidence::read(&bytes, &key).map_err(refused)?;
    let report = bundle.members.get("report.json").map(|bytes| serde_json::from_slice::<Report>(bytes));
    let report = match report {
        Some(Ok(report)) => report,
        Some(Err(error)) => {
            return Err(Failure::request(format!("{}: its report has another form: {error}", path.display())));
        }
        None => return Err(Failure::request(format!("{}: it has no report", path.display()))),
    };
    if context.ui.is_json() {
        let value = json!({"signed_by": key.fingerprint(), "bundle": bundle.index, "report": report});
        context.ui.print_json(&value);
        return Ok(Status::Done);
    }
    let index = &bundle.index;
    context.ui.print(format!("good signature by {}, the key in {}", key.fingerprint(), place.display()));
    context.ui.print(format!(
        "{} checked at {} by rave {}: {} {} ({}), root hash {}",
        index.machine, index.created, index.rave, index.image, index.version, index.mode, index.root_hash
    ));
    let names: Vec<&str> = index.members.iter().map(|member| member.name.as_str()).collect();
    context.ui.print(format!("has {}", names.join(", ")));
    for evidence::LeftOut { name, reason } in &index.left_out {
        context.ui.print(format!("has no {name}: {}", reason.replace(char::is_control, " ")));
    }
    context.ui.print(format!("the machine was {}\n", if report.healthy { "healthy" } else { "not healthy" }));
    check::show(context, &report);
    Ok(Status::Done)
}

fn own(context: &Context) -> Result<(VerifyingKey, std::path::PathBuf)> {
    let path = signing::public(context);
    if !disk::exists(&path) {
        return Err(Failure::request(format!("there is no key to verify with: {} is not there", path.display()))
            .hint("--key names the public key of whoever signed"));
    }
    Ok((key(&path)?, path))
}

fn key(path: &Path) -> Result<VerifyingKey> {
    let bytes = disk::read_start(path, KEY).map_err(|error| missing(path, error))?;
    let unfit = |error| Failure::request(format!("{}: {error}", path.display()));
    VerifyingKey::parse(&String::from_utf8_lossy(&bytes)).map_err(unfit)
}

fn missing(path: &Path, error: disk::Error) -> Failure {
    if error.is_not_found() { Failure::request(format!("there is no file {}", path.display())) } else { error.into() }
}
