//! Machines of KubeVirt in a cluster of Kubernetes: the image in a registry, by digest, and what the cluster is told.
//!
//! ```text
//! targets/edge.yaml ─ Cluster ─┐                    ┌ VirtualMachine, for each machine
//! a built image ── Version ────┼─ manifests (pure) ─┤
//! the containerDisk's digest ──┘                    └ Service, NetworkPolicy, PodDisruptionBudget, for all of them
//! ```
//!
//! What the cluster has of a machine is written down on its VirtualMachine, so that everybody who may deploy sees the same.

mod cluster;
pub mod drift;
pub mod found;
pub mod manifests;
pub mod rollout;

pub use cluster::Cluster;
pub use found::Found;
pub use manifests::Parts;
pub use rollout::{Api, Rollout};
