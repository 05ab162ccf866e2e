//! What runs inside a machine: init and the answers to probes.

pub mod answer;
