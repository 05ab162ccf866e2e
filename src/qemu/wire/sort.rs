//! What becomes of each frame that a guest sends: ours to answer, SLIRP's, or nobody's.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, UdpPacket};

use super::host::Host;
use super::{Answering, dhcp, dns};
use crate::qemu::peer::frame::{self, Heard};
use crate::qemu::provider::Network;

/// Our hardware address, of those that nobody assigns (IEEE 802, 8.4).
const MAC: EthernetAddress = EthernetAddress([0x02, 0x72, 0x61, 0x76, 0x65, 0x02]);
/// Beginning of an Ethernet frame, in bytes, and the least that is sent.
const HEADER: usize = 14;
/// Answers by UDP and ARP that may wait.
const WAITING: usize = 256;

/// Sorts a machine's frames, and answers those that are for us.
pub struct Sorter {
    network: Network,
    host: Host,
    answers: Vec<Vec<u8>>,
    /// The hardware address of the guest, as it last wrote to us.
    guest: EthernetAddress,
}

impl Sorter {
    /// Somebody for a provider's network.
    pub fn new(network: &Network, service: Answering, seed: u64) -> Self {
        let host = Host::new(&network.endpoints, service, seed);
        Self { network: network.clone(), host, answers: Vec::new(), guest: EthernetAddress::BROADCAST }
    }

    /// Takes a frame in; returns it if it is SLIRP's.
    pub fn take<'a>(&mut self, bytes: &'a [u8], now: Duration) -> Option<&'a [u8]> {
        let frame = EthernetFrame::new_checked(bytes).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => self.neighbour(bytes),
            EthernetProtocol::Ipv4 => self.packet(bytes, frame, now),
            _ => Some(bytes),
        }
    }

    /// Answers that are to be sent now.
    pub fn turn(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let guest = self.guest;
        let packets = self.host.turn(now).into_iter();
        let frames = packets.map(|packet| [guest.as_bytes(), MAC.as_bytes(), &[0x08, 0x00], &packet].concat());
        std::mem::take(&mut self.answers).into_iter().chain(frames).collect()
    }

    /// How long nothing will be to do if no frame comes.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.host.wait(now)
    }

    /// Whether an address is a provider's: all that are link-local are, whether somebody has them or not.
    fn is_ours(&self, address: Ipv4Addr) -> bool {
        address.is_link_local() || self.network.endpoints.iter().any(|endpoint| *endpoint.ip() == address)
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.network.endpoints.iter().any(|endpoint| *endpoint.ip() == address)
    }

    /// A machine may look for us as for a neighbour, or send to the router.
    fn neighbour<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match frame::hear(bytes) {
            Some(Heard::Wanted { by, wanted: IpAddr::V4(wanted) }) if self.is_ours(wanted) => {
                if self.has(wanted) {
                    self.say(frame::i_have(frame::Host { mac: MAC, ip: wanted.into() }, by));
                }
                None
            }
            _ => Some(bytes),
        }
    }

    fn packet<'a>(&mut self, bytes: &'a [u8], frame: EthernetFrame<&'a [u8]>, now: Duration) -> Option<&'a [u8]> {
        // What is not well formed is nobody's.
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        let whole = !packet.more_frags() && packet.frag_offset() == 0;
        if whole && packet.next_header() == IpProtocol::Udp {
            let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
            let sender = frame::Host { mac: frame.src_addr(), ip: from.into() };
            match datagram.dst_port() {
                dhcp::SERVER => {
                    let (to, answer) = dhcp::answer(datagram.payload(), self.network.dns, &self.network.dhcp)?;
                    let me = frame::Host { mac: MAC, ip: dhcp::ROUTER.into() };
                    let to = frame::Host { mac: sender.mac, ip: to.into() };
                    self.say(frame::datagram(me, to, (dhcp::SERVER, dhcp::CLIENT), &answer));
                    return None;
                }
                dns::PORT if to == self.network.dns => {
                    let answer = dns::answer(datagram.payload(), &self.network.names)?;
                    let me = frame::Host { mac: MAC, ip: to.into() };
                    self.say(frame::datagram(me, sender, (dns::PORT, datagram.src_port()), &answer));
                    return None;
                }
                _ => {}
            }
        }
        if !self.is_ours(to) {
            return Some(bytes);
        }
        if self.has(to) && frame.src_addr().is_unicast() {
            self.guest = frame.src_addr();
            self.host.take(bytes.get(HEADER..)?);
            // Many at once are looked at in between, so that few have to wait.
            if self.answers.len() < WAITING {
                let frames = self.turn(now);
                self.answers = frames;
            }
        }
        None
    }

    fn say(&mut self, frame: Vec<u8>) {
        if self.answers.len() < WAITING {
            self.answers.push(frame);
        }
    }
}

#[cfg(test)]
#[path = "sort_tests.rs"]
mod tests;
