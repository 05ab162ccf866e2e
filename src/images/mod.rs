//! From a root file system to a bootable disk.

pub mod uki;
pub mod verity;
