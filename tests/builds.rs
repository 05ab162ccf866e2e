//! Whole pieces of work with real tools: builds, what exports and registries make of them, browsers, a cloud of one process.
//! One program, so that two of them run at once: each alone leaves a processor idle.

#[path = "builds/browser.rs"]
mod browser;
#[path = "builds/build.rs"]
mod build;
#[path = "builds/clouds.rs"]
mod clouds;
#[path = "builds/secrets_build.rs"]
mod secrets_build;
