//! The first process of the initrd; see [`boot`].
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests prepare files as they need them"))]

mod ahead;
mod boot;
mod cmdline;
mod dm;
mod log;
mod root;
mod shell;
mod switch;
mod var;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Anywhere else it would mount over what is there, and restart the machine.
    if std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init") {
        boot::run();
    }
    // Whoever cannot be told gets the status.
    drop(writeln!(std::io::stderr(), "this is the first process of rave's initrd, and nothing else"));
    ExitCode::FAILURE
}
