//! Program name and arguments to a command to an exit status; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    if rave::guest::is_init() {
        rave::guest::init::run();
    }
    if let Some(code) = rave::sandbox::main_if_asked() {
        return code;
    }
    rave::commands::main()
}
