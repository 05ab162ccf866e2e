//! From a root file system to a bootable disk.

pub mod archive;
pub mod erofs;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod glob;
pub mod manifest;
pub mod plan;
pub mod union;

pub use error::Error;
pub use manifest::Manifest;
pub mod esp;
pub mod gpt;
pub mod uki;
pub mod verity;
