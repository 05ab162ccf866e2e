//! Program name and arguments to a command to an exit status; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let helper = rave::sandbox::main_if_asked().or_else(rave::debian::rootfs::main_if_asked);
    helper.unwrap_or_else(rave::commands::main)
}
