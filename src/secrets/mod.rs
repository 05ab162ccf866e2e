//! Secrets, encrypted at rest.

pub mod identity;
