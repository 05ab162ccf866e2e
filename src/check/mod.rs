//! The six stages: what to ask a machine, and what to think of its answers.

mod stage;
mod target;

pub use stage::{CheckReport, NotAStage, Report, Stage, StageReport, Verdict};
pub use target::Target;
