//! What runs inside a machine: init and the answers to probes.

mod cmdline;
mod dm;
mod gpt;
pub mod init;
mod log;
mod root;
mod switch;
mod verity;
