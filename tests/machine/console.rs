//! The serial console, as somebody at a terminal has it.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::lab::{Lab, wait_for};

/// `rave vm console` in a terminal of its own.
pub struct Console {
    terminal: Child,
    keyboard: ChildStdin,
    shown: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Console {
    /// Returns once it is joined to the machine.
    pub fn attach(lab: &Lab, machine: &str) -> Self {
        let rave = format!("{} vm console {machine}", rave::tool::quote(env!("CARGO_BIN_EXE_rave")));
        let mut terminal = lab.tool("script").args(["-qec", &rave, "/dev/null"]).command();
        let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keyboard, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let reader = std::thread::spawn({
            let shown = Arc::clone(&shown);
            move || {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = screen.read(&mut buffer) {
                    shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
            }
        });
        let console = Self { terminal, keyboard, shown, reader };
        console.shows("Ctrl-] leaves");
        console
    }

    /// Waits until this is on the screen.
    pub fn shows(&self, wanted: &str) {
        wait_for(wanted, || self.shown.lock().unwrap().contains(wanted).then_some(()));
    }

    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Leaves by Ctrl-].
    pub fn leave(mut self) {
        self.types("\x1d");
        self.shows("left the console");
        assert!(self.terminal.wait().unwrap().success());
        self.reader.join().unwrap();
    }
}
