//! From a root file system to a bootable disk.

pub mod esp;
pub mod gpt;
pub mod uki;
pub mod verity;
