//! From a root file system to a bootable disk.

pub mod archive;
pub mod assemble;
pub mod baseline;
pub mod bootable;
pub mod compare;
pub mod contents;
pub mod cpio;
pub mod erofs;
pub mod error;
pub mod esp;
#[cfg(test)]
pub mod fixture;
pub mod gpt;
pub mod initrd;
pub mod kmod;
pub mod layout;
pub mod manifest;
pub mod owned;
pub mod plan;
pub mod reason;
pub mod uki;
pub mod union;
pub mod validate;
pub mod verity;

pub use error::Error;
pub use manifest::Manifest;
