//! From package names to a configured root file system.

pub mod deb;
pub mod relation;
pub mod rootfs;
pub mod tools;
pub mod unpack;

/// Packages for tests; shared with the tests of the whole program.
#[cfg(test)]
#[path = "../../tests/support/deb.rs"]
mod samples;
