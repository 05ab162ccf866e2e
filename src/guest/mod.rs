//! What runs inside a machine: init and the answers to probes.

mod cmdline;
mod dm;
mod gpt;
pub mod init;
mod log;
mod root;
mod switch;
mod verity;

/// Whether this process is the first one of a machine's initial RAM disk.
pub fn is_init() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}
pub mod answer;
