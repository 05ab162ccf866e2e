//! What clouds tell their machines.

pub mod metadata;
pub mod status;
