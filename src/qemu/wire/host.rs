//! The host that has a provider's addresses: TCP by smoltcp, a bounded number of connections, each of bounded length,
//! size and time. It has no clock and no sockets of this machine: packets and the time come from its caller.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::{Answering, Said};

/// Connections at a time to each endpoint; whoever comes then is refused.
pub const CONNECTIONS: usize = 8;
/// The longest request, in bytes.
pub const LONGEST: usize = 128 * 1024;
/// How long a connection may last.
pub const LIFETIME: Duration = Duration::from_secs(120);
/// The same of one that gets no answer, and of one whose client is silent before its request is whole.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes on their way in each direction.
const RECEIVE: usize = 8 * 1024;
const SEND: usize = 32 * 1024;
/// Packets that may wait for a look, and the largest.
const WAITING: usize = 1024;
const MTU: usize = 1500;

/// Whoever has the addresses.
pub struct Host {
    interface: Interface,
    sockets: SocketSet<'static>,
    line: Line,
    places: Vec<Place>,
    service: Answering,
}

/// One place for a connection.
struct Place {
    endpoint: SocketAddrV4,
    handle: SocketHandle,
    /// Since when somebody has it.
    since: Option<Duration>,
    received: Vec<u8>,
    answer: Option<Vec<u8>>,
    sent: usize,
}

/// Packets in both directions.
#[derive(Default)]
struct Line {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl Host {
    /// A host at these endpoints; `seed` is what its sequence numbers begin with.
    pub fn new(endpoints: &[SocketAddrV4], service: Answering, seed: u64) -> Self {
        let mut line = Line::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut line, instant(Duration::ZERO));
        let mut addresses: Vec<Ipv4Addr> = endpoints.iter().map(|endpoint| *endpoint.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        interface.update_ip_addrs(|known| {
            for address in &addresses {
                // There is room for two, as many as a provider may have.
                known.push(IpCidr::new((*address).into(), 32)).ok();
            }
        });
        if let Some(own) = addresses.first() {
            // The only route, so there is room.
            interface.routes_mut().add_default_ipv4_route(*own).ok();
        }
        let mut sockets = SocketSet::new(Vec::new());
        let mut places = Vec::new();
        for endpoint in endpoints {
            for _ in 0..CONNECTIONS {
                let buffer = |length| SocketBuffer::new(vec![0; length]);
                let mut socket = Socket::new(buffer(RECEIVE), buffer(SEND));
                socket.set_timeout(Some(QUIET.into()));
                socket.set_nagle_enabled(false);
                let handle = sockets.add(socket);
                places.push(Place {
                    endpoint: *endpoint,
                    handle,
                    since: None,
                    received: Vec::new(),
                    answer: None,
                    sent: 0,
                });
            }
        }
        let mut host = Self { interface, sockets, line, places, service };
        host.serve(Duration::ZERO);
        host
    }

    /// Takes an IP packet in; one that finds no room is lost.
    pub fn take(&mut self, packet: &[u8]) {
        if self.line.incoming.len() < WAITING {
            self.line.incoming.push_back(packet.to_vec());
        }
    }

    /// Does what is to be done now; returns the packets that are to be sent.
    pub fn turn(&mut self, now: Duration) -> Vec<Vec<u8>> {
        // What the first look brings in, the second sends the answer to.
        for _ in 0..2 {
            self.serve(now);
            self.interface.poll(instant(now), &mut self.line, &mut self.sockets);
        }
        self.line.incoming.clear();
        std::mem::take(&mut self.line.outgoing)
    }

    /// How long nothing will be to do if no packet comes.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.interface.poll_delay(instant(now), &self.sockets).map_or(Duration::MAX, Into::into)
    }

    fn serve(&mut self, now: Duration) {
        for place in &mut self.places {
            place.serve(self.sockets.get_mut(place.handle), &self.service, now);
        }
    }
}

impl Place {
    fn serve(&mut self, socket: &mut Socket<'_>, service: &Answering, now: Duration) {
        match socket.state() {
            // A client that has closed needs nobody to wait for its stray packets: it numbers its connections itself.
            State::Closed | State::TimeWait => return self.open(socket),
            State::Listen => return,
            _ => {}
        }
        let age = now.saturating_sub(*self.since.get_or_insert(now));
        if age > LIFETIME || (age > QUIET && self.answer.is_none()) {
            return socket.abort();
        }
        self.read(socket);
        if self.answer.is_none() && !self.received.is_empty() {
            match service.0.answer(self.endpoint, &self.received, now) {
                Said::Answer(bytes) => self.answer = Some(bytes),
                Said::More if self.received.len() >= LONGEST => return socket.abort(),
                Said::More | Said::Nothing => {}
            }
        }
        self.write(socket);
    }

    fn read(&mut self, socket: &mut Socket<'_>) {
        while socket.can_recv() {
            let room = LONGEST.saturating_sub(self.received.len());
            // What follows a whole request is of no interest.
            let taken = socket.recv(|bytes| {
                if self.answer.is_none() {
                    self.received.extend(bytes.iter().take(room));
                }
                (bytes.len(), ())
            });
            if taken.is_err() {
                break;
            }
        }
    }

    fn write(&mut self, socket: &mut Socket<'_>) {
        let Some(answer) = &self.answer else {
            // Somebody who has nothing more to say and has said nothing whole.
            if socket.state() == State::CloseWait {
                socket.close();
            }
            return;
        };
        while socket.can_send() {
            let Some(rest @ [_, ..]) = answer.get(self.sent..) else { break };
            match socket.send_slice(rest) {
                Ok(sent @ 1..) => self.sent += sent,
                _ => break,
            }
        }
        if self.sent >= answer.len() {
            socket.close();
        }
    }

    /// Has the place ready for the next client.
    fn open(&mut self, socket: &mut Socket<'_>) {
        socket.abort();
        (self.since, self.answer, self.sent) = (None, None, 0);
        self.received = Vec::new();
        // Fails for port 0 and an open socket only; a place that is closed refuses.
        socket.listen((*self.endpoint.ip(), self.endpoint.port())).ok();
    }
}

fn instant(time: Duration) -> Instant {
    Instant::from_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

impl Device for Line {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Received(packet), Sent(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        (self.outgoing.len() < WAITING).then_some(Sent(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// A packet that came.
struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

/// Where a packet goes to.
struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = vec![0; length];
        let result = fill(&mut packet);
        self.0.push(packet);
        result
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
