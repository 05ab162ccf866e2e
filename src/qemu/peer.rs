//! A host of our own on the network of a machine's card, to see the machine as a stranger in its network would: a scan
//! over SLIRP's forwarded ports would only see what is forwarded.
//!
//! QEMU gets two filters at run time (qemu(1), `filter-mirror` and `filter-redirector`). One copies to us what the
//! guest sends, the other hands to the guest's card what we send; the user network itself notices neither, and goes on
//! serving everybody else. docs/decisions/0015-peer-beside-slirp.md says why it is not a hub.

pub(super) mod frame;
mod plug;
mod scan;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smoltcp::wire::EthernetAddress;

use crate::probe::{Answer, Family, Transport};
use crate::qemu::link::random_u32;

pub use plug::Plug;
pub(super) use plug::socket;

/// Our hardware address, of those that nobody assigns (IEEE 802, 8.4).
const MAC: EthernetAddress = EthernetAddress([0x02, 0x72, 0x61, 0x76, 0x65, 0x01]);
/// The hardware address that QEMU gives a first card.
pub const CARD: EthernetAddress = EthernetAddress([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

/// Our addresses in the networks of SLIRP, where it hands out none (qemu(1)).
const IPV4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// The address that SLIRP leases first.
pub const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const ADVERTISED: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x100);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100);

/// How long an answer may take that is certain to come. Under software emulation a busy machine needs some seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time that QEMU may take to read what we send.
const WRITE: Duration = Duration::from_secs(10);

/// A host on the network of a machine's card.
#[derive(Debug)]
pub struct Peer {
    wire: Mutex<Wire>,
}

/// The two directions between us and the card.
#[derive(Debug)]
struct Wire {
    out: UnixStream,
    frames: Receiver<Vec<u8>>,
    /// Whether frames came quicker than they were read, so that some are missing.
    lost: Arc<AtomicBool>,
}

impl Peer {
    /// Asks `ports` of the machine; `known` is a TCP port that the firewall lets any number
    /// of connections through to. `left` tells how much time there is.
    pub fn scan(
        &self,
        family: Family,
        transport: Transport,
        ports: &[u16],
        known: Option<u16>,
        left: &dyn Fn() -> Duration,
    ) -> Answer {
        let ways: Vec<(IpAddr, IpAddr)> = match family {
            Family::Ipv4 => vec![(IPV4.into(), LEASED.into())],
            Family::Ipv6 => [ADVERTISED, LINK_LOCAL].map(|me| (me.into(), frame::self_given(me, CARD).into())).into(),
        };
        let cookie = match random_u32() {
            Ok(cookie) => cookie,
            Err(error) => return Answer::unavailable(error),
        };
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let request = scan::Request { ways: &ways, transport, ports, known, cookie, patience: PATIENCE };
        match scan::scan(&mut *wire, MAC, request, left) {
            Ok(ports) => Answer::Ports(ports),
            Err(scan::ScanError::Line(error)) => Answer::unavailable(format!("the network card's wire broke: {error}")),
            Err(error) => Answer::unavailable(error),
        }
    }
}

impl scan::Line for Wire {
    /// Each frame behind its length, four bytes, the greatest first (QEMU's net/filter-mirror.c).
    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for frame in frames {
            let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(frame);
        }
        self.out.write_all(&bytes)
    }

    fn receive(&mut self, time: Duration) -> io::Result<Option<Vec<u8>>> {
        if self.lost.swap(false, Ordering::Relaxed) {
            return Err(io::Error::other("the guest sends more than can be read"));
        }
        match self.frames.recv_timeout(time) {
            Ok(frame) => Ok(Some(frame)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
