//! Locks: read, judged against what an image asks for, made and moved.

use std::path::{Path, PathBuf};

use crate::debian::{self, Change, Lock, Request, Source as _, Stale, Update};
use crate::disk;
use crate::event::{Report as _, Work};
use crate::modules;
use crate::origin::{Diagnostic, Source};
use crate::system::{Mode, System};

use super::project::{self, Named};
use super::{Context, Failure, Result};

/// rave's own image of programs.
pub const TOOLS: &str = "tools";

/// An evaluated image and where its lock is.
pub struct Asked {
    /// Its name and place.
    pub named: Named,
    /// What it shall be.
    pub system: System,
}

/// Evaluates an image, telling of warnings.
pub fn evaluate(context: &Context, image: &str, set: &[(String, String)], mode: Option<Mode>) -> Result<Asked> {
    let (project, named) = project::read(&context.project, image)?;
    let evaluation = modules::evaluate(&project, &named.name, set, mode)?;
    context.ui.diagnostics(&evaluation.warnings);
    Ok(Asked { named, system: evaluation.system })
}

/// The tools that make and run images, locked beside the image that uses them.
pub fn tools(context: &Context, beside: &Named) -> Result<Asked> {
    let (mut project, named) = project::read(&context.project, TOOLS)?;
    // Tools never boot, so they take no part in what every bootable image has.
    let alone = Source::new("<rave>/modules/default.yaml", "description: nothing\nimports: [system]\n");
    project.modules.insert("default".to_owned(), alone);
    let evaluation = modules::evaluate(&project, &named.name, &[], None)?;
    Ok(Asked { named: Named { name: TOOLS.to_owned(), directory: beside.directory.clone() }, system: evaluation.system })
}

/// The lock in a file; None if there is none.
pub fn read(path: &Path) -> Result<Option<Lock>> {
    let text = match disk::read_to_string(path) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let source = Source::new(path.display().to_string(), text);
    Ok(Some(Lock::parse(&source)?))
}

/// Why a lock does not fit what is asked for; None if it does.
pub fn stale(lock: &Lock, system: &System) -> Option<Stale> {
    debian::lock::is_stale(lock, &system.archive, &system.packages, system.recommends)
}
