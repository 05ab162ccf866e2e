//! Hostile bytes for every parser: damaged copies of real inputs, from a generator without chance, so that what fails
//! fails again.
//!
//! `cargo test --test fuzz` tries a bounded number of rounds. To search longer, and to look closer:
//!
//! - `RAVE_FUZZ_SECONDS=600` searches that long with each parser instead;
//! - `RAVE_FUZZ_PARSER=sops-yaml` takes only the parsers whose name begins so;
//! - `RAVE_FUZZ_ROUND=N` begins at round N, which is the way to see one failure again.
//!
//! A failure names parser and round and leaves the input in `tmp/fuzz` of the target directory. The input of the round at
//! work is always there, as `PARSER.last`, for the case that the stack overflows and takes the test along. Once mended, the input
//! belongs into `tests/fuzz/found/PARSER/`, as a seed for all times.
//!
//! Parsers that only the crate itself can reach are tried beside their code, with proptest.
#![allow(clippy::disallowed_methods, reason = "tests look from outside")]

#[path = "fuzz/damage.rs"]
mod damage;
#[path = "fuzz/machines.rs"]
mod machines;
#[path = "fuzz/packages.rs"]
mod packages;
#[path = "fuzz/projects.rs"]
mod projects;
#[path = "fuzz/search.rs"]
mod search;
#[path = "fuzz/secrets.rs"]
mod secrets;

#[test]
fn no_parser_of_secrets_fails() {
    search::all(secrets::parsers());
}

#[test]
fn no_parser_of_packages_and_images_fails() {
    search::all(packages::parsers());
}

#[test]
fn no_parser_of_projects_fails() {
    search::all(projects::parsers());
}

#[test]
fn no_parser_of_machines_fails() {
    search::all(machines::parsers());
}
