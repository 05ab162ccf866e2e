//! Talks to services inside the machine: connects, and fetches over HTTP/1.1 (RFC 9112). As much of the protocol as
//! a server needs that was asked to close the connection; what a service says is cut, and late answers are none.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::Machine;
use crate::probe::{Answer, HttpReply, HttpUrl, Place, Service};

/// How long one conversation may take, from the first packet to the last.
const TIME: Duration = Duration::from_secs(10);

/// How much is kept of a header section, a body, and what a service says on its own, in bytes.
const HEAD: u64 = 16 << 10;
const BODY: u64 = 64 << 10;
const SAID: u64 = 4 << 10;

/// Answers [`Probe::Http`](crate::probe::Probe::Http).
pub fn http(machine: &Machine, url: &HttpUrl) -> Answer {
    let fetch = || -> Result<HttpReply, String> {
        let mut talk = Talk::start(machine, &url.place)?;
        let host = match &url.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rave\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            url.target
        );
        talk.write_all(request.as_bytes()).map_err(told)?;
        reply(BufReader::new(talk))
    };
    fetch().map_or_else(|reason| Answer::Silence { reason }, Answer::Http)
}

/// Answers [`Probe::Connect`](crate::probe::Probe::Connect): without `listen`, that the service accepts is enough.
pub fn connect(machine: &Machine, place: &Place, send: Option<&str>, listen: bool) -> Answer {
    let talk = || -> Result<String, String> {
        let mut talk = Talk::start(machine, place)?;
        talk.write_all(send.unwrap_or("").as_bytes()).map_err(told)?;
        let mut said = [0; SAID as usize];
        let length = if listen { talk.read(&mut said).map_err(told)? } else { 0 };
        Ok(String::from_utf8_lossy(said.get(..length).unwrap_or_default()).into_owned())
    };
    talk().map_or_else(|reason| Answer::Silence { reason }, |said| Answer::Connected { said })
}

/// Whether a service answers as one that is ready; if not, what happened instead.
pub fn answers(machine: &Machine, service: &Service) -> Result<(), String> {
    let answer = match service {
        Service::Http(url) => http(machine, url),
        Service::Socket(place) => connect(machine, place, None, false),
    };
    match answer {
        Answer::Http(HttpReply { status: 200..=299, .. }) | Answer::Connected { .. } => Ok(()),
        Answer::Http(HttpReply { status, .. }) => Err(format!("status {status}")),
        Answer::Silence { reason } => Err(reason),
        _ => Err("an answer to another question".to_owned()),
    }
}

fn told(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the answer ends early".to_owned(),
        _ => error.to_string(),
    }
}

/// A connection with one deadline for all that happens on it.
struct Talk {
    stream: Stream,
    deadline: Instant,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Talk {
    fn start(machine: &Machine, place: &Place) -> Result<Self, String> {
        let time = machine.within(TIME);
        let deadline = Instant::now() + time;
        let stream = match place {
            Place::Tcp(address) => TcpStream::connect_timeout(address, time).map(Stream::Tcp),
            Place::Unix(path) => connect_unix(&machine.inside(path)).map(Stream::Unix),
        };
        stream.map(|stream| Self { stream, deadline }).map_err(told)
    }

    /// The time that is left.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// Connects without waiting: a service whose queue is full answers nobody.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

impl Read for Talk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(buffer)),
            Stream::Unix(stream) => stream.set_read_timeout(left).and_then(|()| stream.read(buffer)),
        }
    }
}

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
            Stream::Unix(stream) => stream.set_write_timeout(left).and_then(|()| stream.write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a response.
fn reply(mut reader: impl BufRead) -> Result<HttpReply, String> {
    let mut budget = HEAD;
    let status = status(&line(&mut reader, &mut budget)?)?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let line = line(&mut reader, &mut budget)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is not a header"))?;
        let joined = headers.entry(name.to_ascii_lowercase()).or_default();
        let comma = if joined.is_empty() { "" } else { ", " };
        *joined = format!("{joined}{comma}{}", value.trim());
    }
    let (bytes, truncated) = body(&mut reader, status, &headers)?;
    Ok(HttpReply { status, headers, body: String::from_utf8_lossy(&bytes).into_owned(), truncated })
}

/// A line without its end, of at most as many bytes as are left.
fn line(reader: &mut impl BufRead, budget: &mut u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(*budget).read_until(b'\n', &mut bytes).map_err(told)?;
    *budget -= read as u64;
    match bytes.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()),
        None if *budget == 0 => Err("the header section is too long".to_owned()),
        None => Err(told(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn status(line: &str) -> Result<u16, String> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).filter(|code| code.len() == 3);
    let code = code.and_then(|code| code.parse().ok()).filter(|code| (100..=599).contains(code));
    code.ok_or_else(|| format!("{line:?} is not a status line of HTTP/1.1"))
}

/// The beginning of the body, and whether it goes on.
fn body(reader: &mut impl BufRead, status: u16, headers: &BTreeMap<String, String>) -> Result<(Vec<u8>, bool), String> {
    if status < 200 || status == 204 || status == 304 {
        return Ok((Vec::new(), false));
    }
    if let Some(coding) = headers.get("transfer-encoding") {
        return match coding.eq_ignore_ascii_case("chunked") {
            true => chunks(reader),
            false => Err(format!("the transfer coding {coding:?} was not asked for")),
        };
    }
    let mut bytes = Vec::new();
    match headers.get("content-length").map(|text| text.parse::<u64>()) {
        Some(Err(_)) => Err("the length of the body is not a number".to_owned()),
        Some(Ok(length)) => {
            let read = reader.by_ref().take(length.min(BODY)).read_to_end(&mut bytes).map_err(told)? as u64;
            match read == length.min(BODY) {
                true => Ok((bytes, length > BODY)),
                false => Err(told(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        None => {
            reader.by_ref().take(BODY + 1).read_to_end(&mut bytes).map_err(told)?;
            let truncated = bytes.len() as u64 > BODY;
            bytes.truncate(BODY as usize);
            Ok((bytes, truncated))
        }
    }
}

/// A body in chunks, each after its length (RFC 9112, 7.1).
fn chunks(reader: &mut impl BufRead) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::new();
    loop {
        // A length has few digits, but extensions may follow it.
        let head = line(reader, &mut 1024)?;
        let digits = head.split(';').next().unwrap_or("").trim();
        let length = u64::from_str_radix(digits, 16).map_err(|_| format!("{head:?} is not the length of a chunk"))?;
        if length == 0 {
            return Ok((bytes, false));
        }
        let keep = length.min(BODY - bytes.len() as u64);
        let read = reader.by_ref().take(keep).read_to_end(&mut bytes).map_err(told)? as u64;
        if read < keep {
            return Err(told(io::ErrorKind::UnexpectedEof.into()));
        }
        if keep < length {
            return Ok((bytes, true));
        }
        if !line(reader, &mut 64)?.is_empty() {
            return Err("a chunk is longer than it says".to_owned());
        }
    }
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
