//! A root shell on the console, in images for debugging only: the initrd of any other has none.

use std::process::Command;

use rave_init::{SHELL, disk};

use crate::log::{Log, chain};

/// Opens the shell if the initrd has one, and returns when it is left. `why` is said on the console before.
pub fn open(why: &str, log: &mut Log) {
    if !disk::exists(SHELL) {
        return;
    }
    log.failure(&format!("{why}; `exit` goes on"));
    if let Err(error) = run() {
        log.failure(&format!("cannot open a shell: {}", chain(&error)));
    }
}

/// The shell needs a terminal of its own for job control, which /dev/console cannot be: `cttyhack` takes the one behind it.
#[expect(clippy::disallowed_methods, reason = "the only program that init starts in the initrd")]
fn run() -> Result<(), disk::Error> {
    let console = || disk::open_existing_rw("/dev/console");
    let mut command = Command::new(SHELL);
    command.args(["setsid", "cttyhack", "sh", "-l"]).env_clear();
    command.env("HOME", "/").env("TERM", "vt220").env("PATH", "/bin").env("PS1", "initrd# ");
    command.stdin(console()?).stdout(console()?).stderr(console()?);
    // Its commands get names of their own.
    disk::context("run", SHELL, Command::new(SHELL).args(["--install", "-s", "/bin"]).status())?;
    disk::context("run", SHELL, command.status())?;
    Ok(())
}
