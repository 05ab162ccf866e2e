//! The serial console: its log, and a terminal attached to it.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::termios::{OptionalActions, Termios};

use crate::disk;
use crate::name::ImageName;
use crate::qemu::args::file;
use crate::qemu::error::{Error, Result};
use crate::qemu::link;

/// Ctrl-], which telnet and virsh use too.
const ESCAPE: u8 = 0x1d;
/// How much of a console an error shows.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 30;

/// Path of a machine's console log.
pub fn log(directory: &Path) -> PathBuf {
    directory.join(file::CONSOLE_LOG)
}

/// How long a machine's console log is, in bytes; none yet is 0.
pub fn length(directory: &Path) -> Result<u64> {
    match disk::metadata(log(directory)) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The last lines of a log, readable: without escape sequences, control characters and empty lines.
pub fn tail(log: &Path) -> Result<String> {
    let text = clean(&disk::tail(log, TAIL_BYTES)?);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

/// Text without terminal escape sequences (ECMA-48) and control characters.
fn clean(bytes: &[u8]) -> String {
    let mut text = String::new();
    let decoded = String::from_utf8_lossy(bytes);
    let mut rest = decoded.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' => text.push('\n'),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

/// Skips what follows an escape character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        // Parameters, up to the byte that names the function.
        Some('[') => drop(rest.find(|c| ('\u{40}'..='\u{7e}').contains(c))),
        // A text, up to the bell or the next escape sequence.
        Some(']') => drop(rest.find(|c| *c == '\u{7}' || *c == '\u{1b}')),
        _ => {}
    }
}

/// Gives a machine's whole log at `path` to `sink` and then what is added to it, until `running` says no.
pub fn follow(
    path: &Path,
    mut running: impl FnMut() -> Result<bool>,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut file = disk::open(path)?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // Asked first: what was written before the end is still read.
        let go_on = running()?;
        loop {
            let length = disk::context("read", path, file.read(&mut buffer))?;
            if length == 0 {
                break;
            }
            sink(&buffer[..length]).map_err(Error::Console)?;
        }
        if !go_on {
            return Ok(());
        }
        // A log that was emptied is a new one.
        let (at, length) = (file.stream_position(), file.metadata().map(|metadata| metadata.len()));
        if let (Ok(at), Ok(length)) = (at, length)
            && length < at
        {
            disk::context("read", path, file.seek(SeekFrom::Start(0)))?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Joins `input` and `output` to the serial console until the user types Ctrl-] (`true`) or the machine ends
/// (`false`). An input that is a terminal is in raw mode meanwhile; one that ends leaves the output joined.
/// What the guest writes goes to `output` as it is, escape sequences included: that is what a console is.
pub fn attach(directory: &Path, name: &ImageName, input: BorrowedFd<'_>, output: &mut impl Write) -> Result<bool> {
    let busy = || Error::Busy { name: name.clone(), what: "the console" };
    let _lock = disk::Lock::try_exclusive(directory.join("console.lock"))?.ok_or_else(busy)?;
    let (_open, path) = link::short_path(directory, file::CONSOLE)?;
    let socket = disk::context("connect to", directory.join(file::CONSOLE), UnixStream::connect(path))?;
    let _raw = Raw::enter(input).map_err(Error::Console)?;
    copy(&socket, input, output).map_err(Error::Console)
}

fn copy(socket: &UnixStream, input: BorrowedFd<'_>, output: &mut impl Write) -> io::Result<bool> {
    let (mut reader, mut writer) = (socket, socket);
    let mut buffer = [0; 4096];
    let mut listening = true;
    loop {
        let mut watched = vec![PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
        if listening {
            watched.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        match rustix::event::poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                return Ok(false);
            }
            output.write_all(&buffer[..length])?;
            output.flush()?;
        }
        if ready.get(1) == Some(&true) {
            let length = rustix::io::read(input, &mut buffer)?;
            let typed = &buffer[..length];
            let escape = typed.iter().position(|&byte| byte == ESCAPE);
            writer.write_all(&typed[..escape.unwrap_or(length)])?;
            if escape.is_some() {
                return Ok(true);
            }
            listening = length > 0;
        }
    }
}

/// A terminal in raw mode; as it was once dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    fn enter(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        if !rustix::termios::isatty(terminal) {
            return Ok(Self { terminal, before: None });
        }
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before: Some(before) })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone needs no restoring.
            rustix::termios::tcsetattr(self.terminal, OptionalActions::Flush, before).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_tail_is_readable_and_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(dir.path());
        assert_eq!(tail(&path).unwrap(), "");
        let text = b"\x1b[2J\x1b[01;01H=\r\n\x1b]0;title\x07Linux \x1b[32mversion\x1b[0m\r\n\n\n\x00\x08end\xff\x1b[";
        disk::write_atomic(&path, text, 0o600).unwrap();
        assert_eq!(tail(&path).unwrap(), "=\nLinux version\nend\u{fffd}");
        disk::write_atomic(&path, "line\n".repeat(10_000).as_bytes(), 0o600).unwrap();
        assert_eq!(tail(&path).unwrap().lines().count(), TAIL_LINES);
        disk::write_atomic(&path, &[b'x'; 100_000], 0o600).unwrap();
        assert_eq!(tail(&path).unwrap().len() as u64, TAIL_BYTES);
    }

    #[test]
    fn following_gives_what_was_there_what_comes_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        disk::write_atomic(log(dir.path()), b"one", 0o600).unwrap();
        let (mut turns, mut seen) = (0, Vec::new());
        let running = || {
            turns += 1;
            if turns == 2 {
                let mut file = disk::open_existing_rw(log(dir.path()))?;
                file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(b" two")).unwrap();
            }
            Ok(turns < 2)
        };
        follow(&log(dir.path()), running, |bytes| {
            seen.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, b"one two");
    }

    /// Attaches with `typed` as input to a console that says `said` and then reads; returns whether the escape
    /// was typed, what came out, and what the console read.
    fn attached(typed: &[u8], said: &[u8]) -> (bool, Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(file::CONSOLE)).unwrap();
        let said = said.to_vec();
        let expected = typed.iter().position(|&b| b == ESCAPE).unwrap_or(typed.len());
        let guest = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&said).unwrap();
            let mut read = vec![0; expected];
            stream.read_exact(&mut read).unwrap();
            read
        });
        let (input, mut typist) = UnixStream::pair().unwrap();
        typist.write_all(typed).unwrap();
        let mut output = Vec::new();
        let name = "web".parse().unwrap();
        let escaped = attach(dir.path(), &name, input.as_fd(), &mut output).unwrap();
        (escaped, output, guest.join().unwrap())
    }

    #[test]
    fn what_is_typed_reaches_the_guest_until_the_escape() {
        let (escaped, _, read) = attached(b"root\rls\x1dnot this", b"");
        assert_eq!((escaped, &read[..]), (true, &b"root\rls"[..]));
    }

    #[test]
    fn what_the_guest_says_comes_out_until_it_ends() {
        let (escaped, output, read) = attached(b"x", b"login: \xff");
        assert_eq!((escaped, &output[..], &read[..]), (false, &b"login: \xff"[..], &b"x"[..]));
    }

    #[test]
    fn only_one_attaches_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let _held = disk::Lock::exclusive(dir.path().join("console.lock")).unwrap();
        let (input, _typist) = UnixStream::pair().unwrap();
        let name = "web".parse().unwrap();
        let result = attach(dir.path(), &name, input.as_fd(), &mut Vec::new());
        assert!(matches!(result, Err(Error::Busy { .. })));
    }
}
