//! Speaks to servers that are not trusted: over TCP and Unix sockets, in TLS (RFC 8446) and HTTP/1.1 (RFC 9112). Each
//! conversation has one deadline, and what a server says is cut at fixed lengths.

#[cfg(test)]
pub mod fixture;
mod reply;
mod tls;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

pub use reply::reply;
pub use tls::{HandshakeError, Offer, Session};

/// What went wrong on a connection, for people.
pub fn told(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the answer ends early".to_owned(),
        _ => error.to_string(),
    }
}

/// A connection with one deadline for all that happens on it.
#[derive(Debug)]
pub struct Talk {
    stream: Stream,
    deadline: Instant,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Talk {
    /// Connects to an address; all that happens on the connection may take as long as `time`.
    pub fn tcp(address: SocketAddr, time: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + time;
        let stream = TcpStream::connect_timeout(&address, time)?;
        // Requests are small and written at once.
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Tcp(stream), deadline })
    }

    /// Connects to a Unix socket without waiting: a service whose queue is full answers nobody.
    pub fn unix(path: &Path, time: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + time;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        Ok(Self { stream: Stream::Unix(stream), deadline })
    }

    /// The time that is left.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
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
