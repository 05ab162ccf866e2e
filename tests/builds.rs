//! Whole pieces of work with real tools: builds, what exports and registries make of them, browsers, a cloud of one process.
//! One program, so that two of them run at once: each alone leaves a processor idle.

// Tests begin in the order of their names: the longest would leave a processor idle at the end.
#[path = "builds/aws.rs"]
mod aws;
#[path = "builds/browser.rs"]
mod browser;
#[path = "builds/build.rs"]
mod build;
#[path = "builds/secrets_build.rs"]
mod secrets_build;
