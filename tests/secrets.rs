//! Files of secrets that others wrote, and those that rave writes, held against each other.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

#[path = "secrets/age.rs"]
mod age;
#[path = "secrets/files.rs"]
mod files;
#[path = "secrets/properties.rs"]
mod properties;
#[path = "secrets/vectors.rs"]
mod vectors;
