//! A scan: every port is asked, and nothing that was dropped on the way passes for a port that is silent.
//!
//! Questions go out in windows. Each ends with a question that is certain to be answered: a SYN to a port that the
//! firewall lets through, or failing one a question for the hardware address. The card, the wire and the guest's network stack keep
//! the order of frames, so by the time of that answer the guest has seen the whole window, and what it had to say to it
//! has arrived. Where the answer does not come, the window is asked again, at last with the other question.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::wire::{EthernetAddress, TcpControl};

use super::frame::{self, Heard, Host, Reply};
use crate::probe::{Ports, Transport};

/// Questions in a window. QEMU holds 10,000 frames for a card that is busy, and drops what comes then; Linux has room for
/// some 300 refusals under way over IPv4 (net.core.wmem_default), and does not send what finds none.
const WINDOW: usize = 128;
/// How often a window is asked before the scan is given up.
const ATTEMPTS: u32 = 3;
/// Pause between looks at whether the user has interrupted.
const LOOK: Duration = Duration::from_millis(200);
/// Our port from which ports are asked, and the first of those from which known ports are.
const ASKING: u16 = 40_000;
const CERTAIN: u16 = 50_000;

/// The wire between us and a machine's card.
pub trait Line {
    /// Sends frames, in order.
    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()>;
    /// The next frame that is meant for us, if one comes in time. An error if one was lost.
    fn receive(&mut self, time: Duration) -> io::Result<Option<Vec<u8>>>;
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Our address and the machine's, in order of preference: the first that answers is scanned.
    pub ways: &'a [(IpAddr, IpAddr)],
    /// The protocol.
    pub transport: Transport,
    /// The ports.
    pub ports: &'a [u16],
    /// A TCP port that the firewall lets any number of connections through to.
    pub known: Option<u16>,
    /// Sequence number of our SYNs, which nobody can guess.
    pub cookie: u32,
    /// How long the end of a window may take, or a neighbour.
    pub patience: Duration,
}

/// Why a scan has no result.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The wire broke.
    #[error("the network card's wire broke")]
    Line(#[from] io::Error),
    /// No address of the machine is there.
    #[error("nobody has the address {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "))]
    Nobody(Vec<IpAddr>),
    /// The machine falls silent.
    #[error("the machine did not answer what it must, after {0} ports")]
    Silent(usize),
    /// Time is up.
    #[error("the deadline has passed")]
    Deadline,
}

struct Scan<'a> {
    line: &'a mut dyn Line,
    left: &'a dyn Fn() -> Duration,
    request: Request<'a>,
    me: Host,
    it: Host,
    found: Ports,
    /// The port that ends windows, while it answers.
    known: Option<u16>,
    /// Windows that were asked.
    windows: u16,
}

/// Scans as `me`. `left` tells how much time there is.
pub fn scan(
    line: &mut dyn Line,
    me: EthernetAddress,
    request: Request<'_>,
    left: &dyn Fn() -> Duration,
) -> Result<Ports, ScanError> {
    let (me, it) = find(line, me, request, left)?;
    let found = Ports { address: it.ip, asked: 0, open: BTreeSet::new(), closed: BTreeSet::new() };
    let mut scan = Scan { line, left, request, me, it, found, known: request.known, windows: 0 };
    for window in request.ports.chunks(WINDOW) {
        scan.window(window)?;
        scan.found.asked = scan.found.asked.saturating_add(u32::try_from(window.len()).unwrap_or(u32::MAX));
    }
    Ok(scan.found)
}

/// Finds who has one of the machine's addresses.
fn find(
    line: &mut dyn Line,
    mac: EthernetAddress,
    request: Request<'_>,
    left: &dyn Fn() -> Duration,
) -> Result<(Host, Host), ScanError> {
    for attempt in 0..ATTEMPTS {
        for &(ip, wanted) in request.ways {
            let me = Host { mac, ip };
            line.send(&[frame::who_has(me, wanted)])?;
            let until = Instant::now() + request.patience / ATTEMPTS;
            while let Some(heard) = hear(line, &[me], until, left)? {
                if let Heard::Neighbour(it) = heard
                    && it.ip == wanted
                {
                    // Answers to earlier questions must not pass for the end of a window.
                    let quiet = Instant::now() + LOOK * 5 * attempt;
                    while hear(line, &[me], quiet, left)?.is_some() {}
                    return Ok((me, it));
                }
            }
        }
    }
    Err(ScanError::Nobody(request.ways.iter().map(|way| way.1).collect()))
}

/// What is heard next, until then; questions for our own hardware address are answered on the way.
fn hear(
    line: &mut dyn Line,
    mine: &[Host],
    until: Instant,
    left: &dyn Fn() -> Duration,
) -> Result<Option<Heard>, ScanError> {
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        if left().is_zero() {
            return Err(ScanError::Deadline);
        }
        match line.receive(rest.min(LOOK))?.as_deref().map(frame::hear) {
            Some(Some(Heard::Wanted { by, wanted })) => {
                if let Some(me) = mine.iter().find(|me| me.ip == wanted) {
                    line.send(&[frame::i_have(*me, by)])?;
                }
            }
            Some(Some(heard)) => return Ok(Some(heard)),
            Some(None) => {}
            None if rest.is_zero() => return Ok(None),
            None => {}
        }
    }
}

impl Scan<'_> {
    fn window(&mut self, ports: &[u16]) -> Result<(), ScanError> {
        // A question for the hardware address is asked once only: an answer does not tell which one it is to.
        let ends: &[Option<u16>] = match self.known {
            Some(port) => &[Some(port), Some(port), None],
            None => &[None],
        };
        for &end in ends {
            self.windows = self.windows.wrapping_add(1);
            let certain = CERTAIN + self.windows % 10_000;
            let mut frames: Vec<Vec<u8>> = ports.iter().map(|port| self.question(*port)).collect();
            frames.push(match end {
                Some(port) => self.syn(certain, port),
                None => frame::who_has(self.me, self.it.ip),
            });
            self.line.send(&frames)?;
            let times = if ends.len() == 1 { ATTEMPTS } else { 1 };
            let until = Instant::now() + self.request.patience * times;
            while let Some(heard) = hear(self.line, &[self.me], until, self.left)? {
                if self.take(heard, ports, end.map(|port| (certain, port)))? {
                    self.known = end;
                    return Ok(());
                }
            }
        }
        Err(ScanError::Silent(self.found.asked as usize))
    }

    fn question(&self, port: u16) -> Vec<u8> {
        match self.request.transport {
            Transport::Tcp => self.syn(ASKING, port),
            Transport::Udp => frame::datagram(self.me, self.it, (ASKING, port), payload(port)),
        }
    }

    fn syn(&self, from: u16, port: u16) -> Vec<u8> {
        frame::segment(self.me, self.it, (from, port), self.request.cookie, TcpControl::Syn)
    }

    /// Notes an answer; says whether it is the one that ends the window: from that port, or to the question for the
    /// hardware address.
    fn take(&mut self, heard: Heard, asked: &[u16], end: Option<(u16, u16)>) -> Result<bool, ScanError> {
        let next = self.request.cookie.wrapping_add(1);
        let tcp = self.request.transport == Transport::Tcp;
        match heard {
            Heard::Neighbour(it) => return Ok(end.is_none() && it.ip == self.it.ip),
            Heard::Tcp { from, port, to, reply: Some(reply), ack } if from == self.it.ip && ack == next => {
                if reply == Reply::Open {
                    self.line.send(&[frame::segment(self.me, self.it, (to, port), next, TcpControl::Rst)])?;
                }
                if end == Some((to, port)) {
                    // That nobody is there is an answer as well.
                    return Ok(true);
                }
                if tcp && to == ASKING && asked.contains(&port) {
                    self.note(port, reply);
                }
            }
            Heard::Udp { from, port, to } if from == self.it.ip && to == ASKING && !tcp && asked.contains(&port) => {
                self.note(port, Reply::Open);
            }
            Heard::Unreachable { from, protocol, port, to } => {
                let ours = if tcp { 6 } else { 17 };
                if from == self.it.ip && protocol == ours && to == ASKING && asked.contains(&port) {
                    self.note(port, Reply::Closed);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn note(&mut self, port: u16, reply: Reply) {
        let set = if reply == Reply::Open { &mut self.found.open } else { &mut self.found.closed };
        set.insert(port);
    }
}

/// What a service of UDP is asked, where an empty datagram would have no answer: the name servers of the root (RFC 1035,
/// 4.1), what time it is (RFC 5905, 7.3).
fn payload(port: u16) -> &'static [u8] {
    const DNS: &[u8] = &[0x72, 0x61, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    const NTP: &[u8] = &{
        let mut packet = [0; 48];
        packet[0] = 0x23;
        packet
    };
    match port {
        53 | 5353 | 5355 => DNS,
        123 => NTP,
        _ => &[],
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
