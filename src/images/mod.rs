//! From a root file system to a bootable disk.

pub mod cpio;
pub mod esp;
pub mod gpt;
pub mod initrd;
pub mod kmod;
pub mod uki;
pub mod verity;
