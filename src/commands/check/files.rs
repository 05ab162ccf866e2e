//! The files that a report is written to.

use std::path::{Path, PathBuf};

use crate::check::{self, Report, Stage, Wanted};
use crate::cli;
use crate::disk;
use crate::images::Manifest;

use super::super::{Failure, Result};

/// Refuses what could not be written, before anything is asked.
pub fn expect(reports: &cli::Reports, wanted: &Wanted) -> Result<()> {
    for path in all(reports) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !disk::exists(folder) {
            return Err(Failure::request(format!("there is no directory {}", folder.display()))
                .hint(format!("{} is to be written there", path.display())));
        }
    }
    let has_security = wanted.stages.is_empty() || wanted.stages.contains(&Stage::Security);
    if reports.sarif.is_some() && !has_security {
        return Err(Failure::request("--sarif tells of the stage security, which --stage leaves out"));
    }
    Ok(())
}

fn all(reports: &cli::Reports) -> impl Iterator<Item = &PathBuf> {
    [&reports.junit, &reports.markdown, &reports.sarif, &reports.bundle].into_iter().flatten()
}

/// Writes what was asked for, each file whole.
pub fn write(reports: &cli::Reports, report: &Report, manifest: &Manifest, strict: bool) -> Result<()> {
    if let Some(path) = &reports.junit {
        disk::write_to(path, check::junit(report, strict).as_bytes(), 0o644)?;
    }
    if let Some(path) = &reports.markdown {
        disk::write_to(path, check::markdown(report).as_bytes(), 0o644)?;
    }
    if let Some(path) = &reports.sarif {
        let mut log = serde_json::to_vec_pretty(&check::sarif(report, &manifest.options))?;
        log.push(b'\n');
        disk::write_to(path, &log, 0o644)?;
    }
    Ok(())
}
