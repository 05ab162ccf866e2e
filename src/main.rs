//! Program name and arguments to a command to an exit status; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    rave::sandbox::main_if_asked();
    rave::commands::main()
}
