//! From package names to a configured root file system.

pub mod deb;
pub mod relation;
pub mod rootfs;
pub mod tools;
pub mod unpack;
