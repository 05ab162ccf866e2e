//! Whole pieces of work with real tools: builds, what exports and registries make of them, browsers, a cloud of one process.
//! One program, so that two of them run at once: each alone leaves a processor idle.

#[path = "whole/browser.rs"]
mod browser;
#[path = "whole/build.rs"]
mod build;
#[path = "whole/clouds.rs"]
mod clouds;
#[path = "whole/secrets_build.rs"]
mod secrets_build;
