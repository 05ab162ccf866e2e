//! The six stages: what to ask a machine, and what to think of its answers. Pure: whoever calls [`run()`] brings
//! the answers, from inside the machine and from outside.

mod apart;
mod ask;
mod bans;
mod https;
mod judge;
mod limits;
mod module;
mod report;
mod resources;
mod run;
mod sandbox;
mod sarif;
mod scan;
mod security;
mod services;
mod sockets;
mod ssh;
mod stage;
pub mod suite;
mod table;
mod target;

#[cfg(test)]
mod tests;

pub use apart::APART;
pub use ask::{Question, applies, ask, checks};
pub use https::certificate_dates;
pub use judge::judge;
pub use report::{Row, StageRow, junit, left_out, markdown, stage_row, stage_rows, trouble_rows};
pub use run::{Wanted, run};
pub use sarif::sarif;
pub use services::{Progress, progress};
pub use stage::{CheckReport, NotAStage, Report, Stage, StageReport, Verdict};
pub use table::{Check, Finding, Subject};
pub use target::{Outside, Target};

/// JSON Schema (draft 2020-12) of a [`Report`] in JSON.
pub const SCHEMA: &str = include_str!("../../docs/check.schema.json");
