//! `rave lock`: names to exact packages.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::cli;
use crate::debian::Update;
use crate::name::PackageName;

use super::locking::{self, Asked};
use super::{Context, Failure, Result, Status};

/// Locks an image and the tools beside it, or says whether their locks fit.
pub fn run(arguments: &cli::Lock, context: &Context) -> Result<Status> {
    let asked = locking::evaluate(context, &arguments.image, &[], None)?;
    let tools = locking::tools(context, &asked.named)?;
    if arguments.check {
        return check(context, &[&asked, &tools]);
    }
    let update = update(arguments.update.as_deref())?;
    let mut written = Vec::new();
    for asked in [&asked, &tools] {
        let lock = locking::lock(context, asked, &update)?;
        written.push(json!({"lock": asked.named.lock(), "packages": lock.packages.len(), "digest": lock.digest()}));
    }
    if context.ui.is_json() {
        context.ui.print_json(&json!({"event": "result", "locks": written}));
    }
    Ok(Status::Done)
}

fn check(context: &Context, all: &[&Asked]) -> Result<Status> {
    let mut locks = Vec::new();
    for asked in all {
        let unfit = locking::fitting(asked)?.err();
        if let Some(unfit) = &unfit {
            context.ui.error(format!("{}: {unfit}", asked.named.lock().display()));
            context.ui.hint(format!("run `rave lock {}`", asked.named.typed));
        }
        locks.push((asked.named.lock(), unfit.map(|unfit| unfit.to_string())));
    }
    if context.ui.is_json() {
        let told = |(lock, reason): &(PathBuf, Option<String>)| json!({"lock": lock, "fits": reason.is_none(), "reason": reason});
        context.ui.print_json(&json!({"locks": locks.iter().map(told).collect::<Vec<_>>()}));
    }
    let fits = locks.iter().all(|(_, reason)| reason.is_none());
    Ok(if fits { Status::Done } else { Status::Unwell })
}

fn update(packages: Option<&[String]>) -> Result<Update> {
    Ok(match packages {
        None => Update::None,
        Some([]) => Update::All,
        Some(names) => {
            let parse = |name: &String| name.parse::<PackageName>().map_err(|e| Failure::request(e.to_string()));
            Update::Some(names.iter().map(parse).collect::<Result<BTreeSet<_>>>()?)
        }
    })
}
