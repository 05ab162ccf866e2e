//! From package names to a configured root file system.

pub mod deb;
