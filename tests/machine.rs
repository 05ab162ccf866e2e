//! Real machines, made, booted, checked, broken and removed by the rave binary as a user runs it. They need a Debian
//! mirror or a warm store, and minutes: each boot is used for as many questions as it can answer.
#![allow(clippy::print_stdout, reason = "a scenario of minutes tells where it is")]

#[path = "support/apart.rs"]
mod apart;
#[path = "machine/bans.rs"]
mod bans;
#[path = "machine/boot.rs"]
mod boot;
#[path = "machine/bucket.rs"]
mod bucket;
#[path = "machine/clouds.rs"]
mod clouds;
#[path = "machine/configurations.rs"]
mod configurations;
#[path = "machine/console.rs"]
mod console;
#[path = "support/controllers.rs"]
mod controllers;
#[path = "support/copy.rs"]
mod copy;
#[path = "machine/cuts.rs"]
mod cuts;
#[path = "machine/database.rs"]
mod database;
#[path = "machine/debug.rs"]
mod debug;
#[path = "machine/door.rs"]
mod door;
#[path = "machine/events.rs"]
mod events;
#[path = "machine/faults.rs"]
mod faults;
#[path = "support/guide.rs"]
mod guide;
#[path = "machine/guides.rs"]
mod guides;
#[path = "machine/host.rs"]
mod host;
#[path = "machine/https.rs"]
mod https;
#[path = "machine/junit.rs"]
mod junit;
#[path = "machine/lab.rs"]
mod lab;
#[path = "machine/library.rs"]
mod library;
#[path = "support/memory.rs"]
mod memory;
#[path = "machine/metrics.rs"]
mod metrics;
#[path = "machine/package.rs"]
mod package;
#[path = "machine/persist.rs"]
mod persist;
#[path = "machine/processes.rs"]
mod processes;
#[path = "machine/production.rs"]
mod production;
#[path = "machine/proofs.rs"]
mod proofs;
#[path = "machine/receiver.rs"]
mod receiver;
#[path = "machine/scan.rs"]
mod scan;
#[path = "machine/scene.rs"]
mod scene;
#[path = "machine/secrets.rs"]
mod secrets;
#[path = "machine/shelf.rs"]
mod shelf;
#[path = "machine/site.rs"]
mod site;
#[path = "machine/strain.rs"]
mod strain;
#[path = "machine/up.rs"]
mod up;
#[path = "machine/versions.rs"]
mod versions;
#[path = "machine/watch.rs"]
mod watch;
#[path = "machine/webhooks.rs"]
mod webhooks;
