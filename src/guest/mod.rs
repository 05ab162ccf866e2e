//! What runs inside a machine: init, its secrets, the answers to probes, and rave's own services.

mod accounts;
pub mod answer;
mod cmdline;
pub mod dashboards;
mod dm;
mod gpt;
pub mod init;
mod log;
mod root;
pub mod secrets;
pub mod serve;
pub mod status;
mod switch;
mod verity;
mod web;

/// Whether this process is the first one of a machine's initial RAM disk.
pub fn is_init() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}
