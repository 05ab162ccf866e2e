//! From a root file system to a bootable disk.

pub mod archive;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod glob;
pub mod union;

pub use error::Error;
