//! Where images run: targets as a project declares them, and what has to happen so that a machine runs the version that
//! is wanted.
//!
//! ```text
//! targets/edge.yaml ─ Target ─┐
//! a built image ──── Release ─┼─ plan ─ Action, ... ─ the host's own rave: disk, units, six stages, and back on failure
//! the host ────────── Facts ──┘ (pure)
//! ```
//!
//! What a host runs is written down on that host ([`Record`]), so that everybody who may deploy sees the same. Machines in
//! clouds are in [`cloud`].

pub mod cloud;
pub mod disk;
pub mod host;
pub mod kubevirt;
pub mod plan;
pub mod record;
pub mod registry;
pub mod target;
pub mod units;

mod place;

pub use place::Place;
pub use plan::{Action, plan};
pub use record::{Facts, MachineFacts, Record, Release};
pub use target::{Kind, Target};

/// Where a host keeps what rave brought: programs, tools and images, each by its digest.
pub const STATE: &str = "/var/lib/rave";
/// Where a host keeps what is declared of its machines.
pub const CONFIG: &str = "/etc/rave/machines";
/// Where its units are (systemd.unit(5)).
pub const UNITS: &str = "/etc/systemd/system";
/// Where those are that podman's generator makes services of (podman-systemd.unit(5)).
pub const QUADLETS: &str = "/etc/containers/systemd";
/// What the names of units begin with.
pub const PREFIX: &str = "rave-";
