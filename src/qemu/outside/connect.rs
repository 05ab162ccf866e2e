//! A scan by connections, as anybody can make them from here: of a machine that rave does not run, and so has no place
//! beside.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::probe::{Answer, Ports};

/// Connections under way at once, at most, and the descriptors that are left to others.
const WIDTH: u64 = 2000;
const SPARE: u64 = 256;
/// How long a port may take to answer. What was lost on the way is sent again after a second (RFC 6298, 2.1).
const PATIENCE: Duration = Duration::from_millis(1500);

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The machine's address, and a port of it that answers: of one that does not, silence says nothing.
    pub certain: SocketAddr,
    /// The ports.
    pub ports: &'a [u16],
    /// How long the port may take that answers: a firewall may let few connections through to it.
    pub patience: Duration,
}

/// Why a scan has no result.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no port can be asked from here")]
    Here(#[from] io::Error),
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    #[error("this host has no way to {0}")]
    NoWay(SocketAddr),
    #[error("{0} does not answer any more, after {1} ports")]
    Lost(SocketAddr, u32),
}

/// What a port says to who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Open,
    Closed,
    Nothing,
    /// Nothing, for this host does not know where to send the question.
    NoWay,
}

/// Scans, until nothing is left of the time.
pub fn scan(request: Request<'_>, left: &dyn Fn() -> Duration) -> Answer {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::from);
    match runtime.and_then(|runtime| runtime.block_on(all(request, left))) {
        Ok(ports) => Answer::Ports(ports),
        Err(error @ Error::NoWay(_)) => Answer::Inapplicable { reason: error.to_string() },
        Err(error @ Error::Silent(_)) => Answer::Unreachable { reason: error.to_string() },
        Err(Error::Here(error)) => Answer::unavailable(format!("no port can be asked from here: {error}")),
        Err(error) => Answer::unavailable(error),
    }
}

async fn all(request: Request<'_>, left: &dyn Fn() -> Duration) -> Result<Ports, Error> {
    let Request { certain, ports, patience } = request;
    let first = ask(certain, patience.min(left())).await?;
    match first {
        Said::Open => {}
        Said::Closed | Said::Nothing => return Err(Error::Silent(certain)),
        Said::NoWay => return Err(Error::NoWay(certain)),
    }
    let mut found = Ports { address: certain.ip(), asked: 0, open: BTreeSet::new(), closed: BTreeSet::new() };
    let width = width();
    let mut asked = JoinSet::new();
    // It was asked, and asking it often is what a firewall may take amiss.
    let mut rest = ports.iter().copied().filter(|port| *port != certain.port());
    if ports.contains(&certain.port()) {
        note(&mut found, certain.port(), first);
    }
    while !left().is_zero() {
        while asked.len() < width
            && let Some(port) = rest.next()
        {
            let mut place = certain;
            place.set_port(port);
            asked.spawn(async move { (port, ask(place, PATIENCE).await) });
        }
        let Some(answered) = asked.join_next().await else { break };
        let (port, said) = answered.map_err(io::Error::other)?;
        note(&mut found, port, said?);
    }
    // Whoever is kept out meanwhile finds all others silent, too.
    if !left().is_zero() && ask(certain, patience.min(left())).await? != Said::Open {
        return Err(Error::Lost(certain, found.asked));
    }
    Ok(found)
}

fn note(found: &mut Ports, port: u16, said: Said) {
    found.asked = found.asked.saturating_add(1);
    match said {
        Said::Open => drop(found.open.insert(port)),
        Said::Closed => drop(found.closed.insert(port)),
        Said::Nothing | Said::NoWay => {}
    }
}

/// Refusals are also told by ICMP (ip(7), tcp(7)). Any other error is one of this host.
async fn ask(place: SocketAddr, time: Duration) -> io::Result<Said> {
    let Ok(connected) = tokio::time::timeout(time, TcpStream::connect(place)).await else { return Ok(Said::Nothing) };
    match connected {
        Ok(stream) => said(&stream, place),
        Err(error) => Errno::from_io_error(&error).and_then(meaning).ok_or(error),
    }
}

/// What a connection says. One that has met itself says that nobody else was there: on this host's own addresses the
/// kernel may take the port that is asked as the one to ask from, and two that open at once are connected (RFC 9293, 3.5).
fn said(stream: &TcpStream, place: SocketAddr) -> io::Result<Said> {
    Ok(if stream.local_addr()? == place { Said::Closed } else { Said::Open })
}

fn meaning(error: Errno) -> Option<Said> {
    match error {
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::HOSTUNREACH | Errno::ACCESS => Some(Said::Closed),
        Errno::TIMEDOUT => Some(Said::Nothing),
        Errno::NETUNREACH => Some(Said::NoWay),
        _ => None,
    }
}

/// How many connections may be under way. The limit of descriptors is raised as far as that takes, and as it may be.
fn width() -> usize {
    let wanted = WIDTH + SPARE;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let current = limit.current.unwrap_or(wanted);
    let is_raised = current < most && setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).is_ok();
    let current = if is_raised { most } else { current };
    usize::try_from(current.saturating_sub(SPARE).clamp(1, WIDTH)).unwrap_or(1)
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
