//! What the initrd says: in the kernel's log (Linux, Documentation/ABI/testing/dev-kmsg), and failures on the
//! console too.

use std::error::Error;
use std::fs::File;
use std::io::Write as _;

use rave_init::disk;

/// The kernel takes lines of less than 1024 bytes, prefix included.
const LONGEST: usize = 900;
const INFORMATION: u8 = 6;
const WARNING: u8 = 4;
const CRITICAL: u8 = 2;

/// The kernel's log; a machine without one is told nothing.
#[derive(Debug, Default)]
pub struct Log(Option<File>);

impl Log {
    /// Opens /dev/kmsg.
    pub fn open() -> Result<Self, disk::Error> {
        Ok(Self(Some(disk::open_existing_rw("/dev/kmsg")?)))
    }

    /// Says what is going on.
    pub fn information(&mut self, text: &str) {
        self.line(INFORMATION, text);
    }

    /// Says what is not as it should be.
    pub fn warning(&mut self, text: &str) {
        self.line(WARNING, text);
    }

    /// Says why there is no boot.
    pub fn failure(&mut self, text: &str) {
        self.line(CRITICAL, text);
        if let Ok(mut console) = disk::open_existing_rw("/dev/console") {
            // If the console cannot be written to there is nobody left to tell.
            drop(console.write_all(format!("\r\nrave: {text}\r\n").as_bytes()));
        }
    }

    fn line(&mut self, level: u8, text: &str) {
        if let Some(file) = &mut self.0 {
            // One write is one record. What the kernel does not take cannot be reported anywhere else.
            drop(file.write_all(record(level, text).as_bytes()));
        }
    }
}

fn record(level: u8, text: &str) -> String {
    let mut record = format!("<{level}>rave: ");
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    for c in text.chars().map(printable) {
        if record.len() + c.len_utf8() >= LONGEST {
            break;
        }
        record.push(c);
    }
    record.push('\n');
    record
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_short_line() {
        assert_eq!(record(2, "no root"), "<2>rave: no root\n");
        assert_eq!(record(6, "a\nb\0\x1b[2J"), "<6>rave: a b  [2J\n");
        let long = record(6, &"é".repeat(5000));
        assert!(long.len() <= LONGEST + 1 && long.ends_with("é\n"), "{}", long.len());
    }

    #[test]
    fn causes_follow_the_error() {
        let error = disk::read_to_string("/nonexistent").unwrap_err();
        assert!(chain(&error).starts_with("cannot read /nonexistent: No such file"), "{}", chain(&error));
    }
}
