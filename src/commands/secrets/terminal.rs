//! Asks the person at the terminal, if there is one.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::sync::Arc;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::interrupt;
use crate::secrets::prompt::Prompt;
use crate::ui::Ui;

/// Whom to ask through.
pub struct Terminal(pub Arc<Ui>);

impl Prompt for Terminal {
    fn message(&self, text: &str) {
        self.0.say(text);
    }

    fn warn(&self, text: &str) {
        self.0.warn(text);
    }

    /// Asks on the terminal itself, without showing what is typed. A script has none and gets no question.
    fn passphrase(&self, what: &str) -> Option<Zeroizing<String>> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let terminal = crate::disk::open_existing_rw("/dev/tty").ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let undo = terminal.try_clone().ok()?;
        let again = before.clone();
        let _interrupted = interrupt::on_interrupt(move || restore(&undo, &again));
        tcsetattr(&terminal, OptionalActions::Flush, &silent).ok()?;
        self.0.say(what);
        let mut line = Zeroizing::new(String::with_capacity(256));
        let read = BufReader::new(&terminal).read_line(&mut line);
        restore(&terminal, &before);
        read.ok().filter(|&bytes| bytes > 0)?;
        Some(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn restore(terminal: &crate::disk::File, modes: &Termios) {
    // Nothing more can be done for a terminal that is gone.
    let _ = tcsetattr(terminal, OptionalActions::Flush, modes);
}
