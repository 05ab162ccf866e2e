//! What an SSH server says before anybody logs in: its identification and the algorithms it offers (RFC 4253, 4.2,
//! 6 and 7.1).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::probe::SshOffer;

/// Longest line before and with the identification (RFC 4253, 4.2), and how many of them are read.
const LINE: usize = 255;
const LINES: usize = 32;

/// Longest packet that every implementation takes (RFC 4253, 6.1).
const PACKET: usize = 35_000;

/// Packets that may come before the offer.
const PACKETS: usize = 8;

/// Longest name of an algorithm (RFC 4251, 6).
const NAME: usize = 64;

/// Message numbers (RFC 4253, 12).
const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const DEBUG: u8 = 4;
const KEXINIT: u8 = 20;

/// Why there is no offer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("cannot talk to {address}: {source}")]
    Connection {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than an SSH server answered, or one that does not want to talk.
    #[error("no SSH server at {address}: it says {said:?}")]
    NotSsh {
        /// Host and port.
        address: String,
        /// The first line, if any.
        said: String,
    },
    /// The server breaks the protocol.
    #[error("the SSH server at {address} breaks the protocol: {what}")]
    Protocol {
        /// Host and port.
        address: String,
        /// In which way.
        what: &'static str,
    },
}

/// Connects, reads the offer, and leaves; the whole must be done by `deadline`.
pub fn ask(host: &str, port: u16, deadline: Instant) -> Result<SshOffer, Error> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let broken = |source| Error::Connection { address: address.clone(), source };
    let stream = connect(host, port, deadline).map_err(broken)?;
    let mut link = Link { stream, deadline };
    let identification = match identification(&mut link).map_err(broken)? {
        Ok(line) => line,
        Err(said) => return Err(Error::NotSsh { address, said }),
    };
    let greeting = concat!("SSH-2.0-rave_", env!("CARGO_PKG_VERSION"), "\r\n");
    link.write_all(greeting.as_bytes()).map_err(broken)?;
    for _ in 0..PACKETS {
        let payload = match packet(&mut link).map_err(broken)? {
            Ok(payload) => payload,
            Err(what) => return Err(Error::Protocol { address, what }),
        };
        match payload.first() {
            Some(&KEXINIT) => {
                let offer = parse(&payload).map(|offer| SshOffer { identification, ..offer });
                return offer.ok_or(Error::Protocol { address, what: "its list of algorithms is malformed" });
            }
            Some(&(IGNORE | DEBUG)) => {}
            Some(&DISCONNECT) => return Err(Error::Protocol { address, what: "it disconnects" }),
            _ => return Err(Error::Protocol { address, what: "it begins with an unknown message" }),
        }
    }
    Err(Error::Protocol { address, what: "it does not come to its list of algorithms" })
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time that is left, never nothing, for which sockets have another meaning.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A connection of which every read and write ends by the deadline.
struct Link {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            result => result,
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The identification, which other lines may precede; else the first line that came instead.
fn identification(link: &mut impl Read) -> io::Result<Result<String, String>> {
    let mut first = None;
    for _ in 0..LINES {
        let (line, complete) = line(link)?;
        let text = printable(&line);
        if complete && text.starts_with("SSH-") {
            return Ok(Ok(text));
        }
        first.get_or_insert(text);
        if !complete {
            break;
        }
    }
    Ok(Err(first.unwrap_or_default()))
}

/// One line without its end, and whether it had one before the connection or the patience ended. Read byte by
/// byte: what follows belongs to the binary protocol.
fn line(link: &mut impl Read) -> io::Result<(Vec<u8>, bool)> {
    let mut line = Vec::new();
    while line.len() <= LINE {
        let mut byte = [0];
        match link.read(&mut byte) {
            Ok(0) => return Ok((line, false)),
            Ok(_) if byte == *b"\n" => return Ok((line, true)),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever closes at once often resets the connection; what was said before still counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !line.is_empty() => {
                return Ok((line, false));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((line, false))
}

fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' }).collect()
}

/// The payload of one packet, unencrypted and without a code, as all are before the first key exchange.
fn packet(link: &mut impl Read) -> io::Result<Result<Vec<u8>, &'static str>> {
    let mut head = [0; 5];
    link.read_exact(&mut head)?;
    let [a, b, c, d, padding] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > PACKET {
        return Ok(Err("a packet is too long"));
    }
    // The length counts the byte of the padding's length, which was read already.
    let Some(payload) = length.checked_sub(1 + usize::from(padding)) else {
        return Ok(Err("a packet is shorter than its padding"));
    };
    let mut body = vec![0; length - 1];
    link.read_exact(&mut body)?;
    body.truncate(payload);
    Ok(Ok(body))
}

/// The lists of a KEXINIT message: a cookie of 16 bytes follows the message number, then ten lists.
fn parse(payload: &[u8]) -> Option<SshOffer> {
    let mut rest = payload.get(17..)?;
    let mut next = || {
        let (list, after) = name_list(rest)?;
        rest = after;
        Some(list)
    };
    // Fields are evaluated in the order in which they are written here.
    Some(SshOffer {
        identification: String::new(),
        kex: next()?,
        host_keys: next()?,
        ciphers_in: next()?,
        ciphers_out: next()?,
        macs_in: next()?,
        macs_out: next()?,
    })
}

/// A name-list (RFC 4251, 5 and 6), and what follows it.
fn name_list(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (list, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let is_name = |name: &[u8]| (1..=NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    let name = |name: &[u8]| is_name(name).then(|| name.iter().copied().map(char::from).collect());
    let names =
        if list.is_empty() { Vec::new() } else { list.split(|byte| *byte == b',').map(name).collect::<Option<_>>()? };
    Some((names, rest))
}

#[cfg(test)]
mod tests;
