//! Virtual machines.

pub mod outside;
