//! Ethernet frames of a scan: how questions are written, and what an answer says. Pure; whatever a guest sends may be
//! anything, and what is not well formed says nothing.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Message,
    Icmpv4Packet, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    NdiscNeighborFlags, NdiscRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// Beginning of an Ethernet frame, in bytes.
const HEADER: usize = 14;
/// Hop limit without which a neighbour's message is not from the same network (RFC 4861, 7.1).
const NEIGHBOURS: u8 = 255;
/// Hop limit of the rest.
const HOPS: u8 = 64;

/// A host on the network of a machine's card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its hardware address.
    pub mac: EthernetAddress,
    /// Its address.
    pub ip: IpAddr,
}

/// What a frame says that is meant for somebody who scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody has the hardware address that was asked for.
    Neighbour(Host),
    /// A host asks for the hardware address of `wanted`.
    Wanted {
        /// Who asks.
        by: Host,
        /// Whose hardware address.
        wanted: IpAddr,
    },
    /// A TCP segment.
    Tcp {
        /// Who sent it.
        from: IpAddr,
        /// The port that it came from.
        port: u16,
        /// Our port.
        to: u16,
        /// Whether it takes a connection, refuses one, or neither.
        reply: Option<Reply>,
        /// The next byte that it awaits.
        ack: u32,
    },
    /// A UDP datagram.
    Udp {
        /// Who sent it.
        from: IpAddr,
        /// The port that it came from.
        port: u16,
        /// Our port.
        to: u16,
    },
    /// A packet of ours did not get through (ICMP, destination unreachable).
    Unreachable {
        /// Who says so.
        from: IpAddr,
        /// The protocol of our packet.
        protocol: u8,
        /// The port that it was for.
        port: u16,
        /// Our port.
        to: u16,
    },
}

/// What a TCP segment answers to a SYN (RFC 9293, 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// SYN and ACK.
    Open,
    /// RST.
    Closed,
}

/// The address that a host gives itself in a /64 network (RFC 4291, appendix A).
pub fn self_given(prefix: Ipv6Addr, mac: EthernetAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let half = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(prefix.to_bits() & !u128::from(u64::MAX) | u128::from(half))
}

/// Asks who has an address: ARP (RFC 826), or a neighbour solicitation (RFC 4861, 4.3). Nothing for addresses of
/// different families.
pub fn who_has(me: Host, wanted: IpAddr) -> Vec<u8> {
    match (me.ip, wanted) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            arp(me, Host { mac: EthernetAddress([0; 6]), ip: wanted }, ArpOperation::Request)
        }
        (IpAddr::V6(_), IpAddr::V6(target_addr)) => {
            // The multicast group that everybody with such an address is in (RFC 4291, 2.7.1).
            let low = target_addr.to_bits() & 0x00ff_ffff;
            let group = Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low);
            let [.., a, b, c, d] = group.octets();
            let to = Host { mac: EthernetAddress([0x33, 0x33, a, b, c, d]), ip: group.into() };
            ndisc(me, to, &NdiscRepr::NeighborSolicit { target_addr, lladdr: Some(me.mac.into()) })
        }
        _ => Vec::new(),
    }
}

/// Tells `to` that `me` has the address of `me`.
pub fn i_have(me: Host, to: Host) -> Vec<u8> {
    match me.ip {
        IpAddr::V4(_) => arp(me, to, ArpOperation::Reply),
        IpAddr::V6(target_addr) => {
            let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
            ndisc(me, to, &NdiscRepr::NeighborAdvert { flags, target_addr, lladdr: Some(me.mac.into()) })
        }
    }
}

/// A SYN, or the RST that takes it back once it was answered. `seq` is its sequence number.
pub fn segment(me: Host, to: Host, ports: (u16, u16), seq: u32, control: TcpControl) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: ports.0,
        dst_port: ports.1,
        control,
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: None,
        window_len: 1024,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1220),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    ip(me, to, IpProtocol::Tcp, HOPS, segment.buffer_len(), |bytes| {
        let sums = ChecksumCapabilities::default();
        segment.emit(&mut TcpPacket::new_unchecked(bytes), &me.ip.into(), &to.ip.into(), &sums);
    })
}

/// A UDP datagram.
pub fn datagram(me: Host, to: Host, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let datagram = UdpRepr { src_port: ports.0, dst_port: ports.1 };
    ip(me, to, IpProtocol::Udp, HOPS, datagram.header_len() + payload.len(), |bytes| {
        let mut packet = UdpPacket::new_unchecked(bytes);
        let fill = |bytes: &mut [u8]| bytes.copy_from_slice(payload);
        let sums = ChecksumCapabilities::default();
        datagram.emit(&mut packet, &me.ip.into(), &to.ip.into(), payload.len(), fill, &sums);
    })
}

fn arp(me: Host, to: Host, operation: ArpOperation) -> Vec<u8> {
    let (IpAddr::V4(source_protocol_addr), IpAddr::V4(target_protocol_addr)) = (me.ip, to.ip) else {
        return Vec::new();
    };
    let message = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: me.mac,
        source_protocol_addr,
        target_hardware_addr: to.mac,
        target_protocol_addr,
    };
    let mac = if operation == ArpOperation::Request { EthernetAddress::BROADCAST } else { to.mac };
    ethernet(me.mac, mac, EthernetProtocol::Arp, message.buffer_len(), |bytes| {
        message.emit(&mut ArpPacket::new_unchecked(bytes));
    })
}

fn ndisc(me: Host, to: Host, message: &NdiscRepr<'_>) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (me.ip, to.ip) else { return Vec::new() };
    let message = Icmpv6Repr::Ndisc(*message);
    ip(me, to, IpProtocol::Icmpv6, NEIGHBOURS, message.buffer_len(), |bytes| {
        let sums = ChecksumCapabilities::default();
        message.emit(&source, &target, &mut Icmpv6Packet::new_unchecked(bytes), &sums);
    })
}

fn ip(
    me: Host,
    to: Host,
    next_header: IpProtocol,
    hop_limit: u8,
    payload_len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    match (me.ip, to.ip) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let header = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            let length = header.buffer_len() + payload_len;
            ethernet(me.mac, to.mac, EthernetProtocol::Ipv4, length, |bytes| {
                let mut packet = Ipv4Packet::new_unchecked(bytes);
                header.emit(&mut packet, &ChecksumCapabilities::default());
                fill(packet.payload_mut());
            })
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let header = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            let length = header.buffer_len() + payload_len;
            ethernet(me.mac, to.mac, EthernetProtocol::Ipv6, length, |bytes| {
                let mut packet = Ipv6Packet::new_unchecked(bytes);
                header.emit(&mut packet);
                fill(packet.payload_mut());
            })
        }
        _ => Vec::new(),
    }
}

fn ethernet(
    src_addr: EthernetAddress,
    dst_addr: EthernetAddress,
    ethertype: EthernetProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut frame = EthernetFrame::new_unchecked(vec![0; HEADER + length]);
    EthernetRepr { src_addr, dst_addr, ethertype }.emit(&mut frame);
    fill(frame.payload_mut());
    frame.into_inner()
}

/// What a frame says; nothing if it is not well formed, or of no interest.
pub fn hear(frame: &[u8]) -> Option<Heard> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let mac = frame.src_addr();
    match frame.ethertype() {
        EthernetProtocol::Arp => hear_arp(frame.payload()),
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let header = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
            if packet.more_frags() || packet.frag_offset() != 0 {
                return None;
            }
            let (from, to) = (header.src_addr.into(), header.dst_addr.into());
            match header.next_header {
                IpProtocol::Icmp => hear_icmp4(from, packet.payload()),
                protocol => hear_ports(from, to, protocol, packet.payload()),
            }
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let header = Ipv6Repr::parse(&packet).ok()?;
            match header.next_header {
                IpProtocol::Icmpv6 => hear_icmp6(mac, header, packet.payload()),
                protocol => hear_ports(header.src_addr.into(), header.dst_addr.into(), protocol, packet.payload()),
            }
        }
        EthernetProtocol::Unknown(_) => None,
    }
}

fn hear_arp(bytes: &[u8]) -> Option<Heard> {
    let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, .. } =
        ArpRepr::parse(&ArpPacket::new_checked(bytes).ok()?).ok()?
    else {
        return None;
    };
    let by = Host { mac: source_hardware_addr, ip: source_protocol_addr.into() };
    match operation {
        ArpOperation::Reply => Some(Heard::Neighbour(by)),
        ArpOperation::Request => Some(Heard::Wanted { by, wanted: target_protocol_addr.into() }),
        ArpOperation::Unknown(_) => None,
    }
}

fn hear_ports(from: IpAddr, to: IpAddr, protocol: IpProtocol, bytes: &[u8]) -> Option<Heard> {
    let sums = ChecksumCapabilities::default();
    match protocol {
        IpProtocol::Tcp => {
            let packet = TcpPacket::new_checked(bytes).ok()?;
            let segment = TcpRepr::parse(&packet, &from.into(), &to.into(), &sums).ok()?;
            let reply = match segment.control {
                TcpControl::Syn if segment.ack_number.is_some() => Some(Reply::Open),
                TcpControl::Rst => Some(Reply::Closed),
                _ => None,
            };
            let ack = segment.ack_number.map_or(0, |number| number.0.cast_unsigned());
            Some(Heard::Tcp { from, port: segment.src_port, to: segment.dst_port, reply, ack })
        }
        IpProtocol::Udp => {
            let packet = UdpPacket::new_checked(bytes).ok()?;
            let datagram = UdpRepr::parse(&packet, &from.into(), &to.into(), &sums).ok()?;
            Some(Heard::Udp { from, port: datagram.src_port, to: datagram.dst_port })
        }
        _ => None,
    }
}

fn hear_icmp4(from: IpAddr, bytes: &[u8]) -> Option<Heard> {
    let packet = Icmpv4Packet::new_checked(bytes).ok()?;
    if packet.msg_type() != Icmpv4Message::DstUnreachable || !packet.verify_checksum() {
        return None;
    }
    // The quoted packet may be cut off (RFC 792), so its header is all that is read.
    let quoted = packet.data();
    let header = usize::from(quoted.first()? & 0x0f) * 4;
    unreachable(from, *quoted.get(9)?, quoted.get(header.max(20)..)?)
}

fn hear_icmp6(mac: EthernetAddress, header: Ipv6Repr, bytes: &[u8]) -> Option<Heard> {
    let packet = Icmpv6Packet::new_checked(bytes).ok()?;
    if packet.msg_type() == Icmpv6Message::DstUnreachable {
        if !packet.verify_checksum(&header.src_addr, &header.dst_addr) {
            return None;
        }
        let quoted = packet.payload();
        return unreachable(header.src_addr.into(), *quoted.get(6)?, quoted.get(40..)?);
    }
    let sums = ChecksumCapabilities::default();
    let message = Icmpv6Repr::parse(&header.src_addr, &header.dst_addr, &packet, &sums).ok()?;
    if header.hop_limit != NEIGHBOURS {
        return None;
    }
    match message {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, .. }) => {
            Some(Heard::Neighbour(Host { mac, ip: target_addr.into() }))
        }
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. }) => {
            Some(Heard::Wanted { by: Host { mac, ip: header.src_addr.into() }, wanted: target_addr.into() })
        }
        _ => None,
    }
}

/// Both of TCP and UDP begin with the two ports.
fn unreachable(from: IpAddr, protocol: u8, ports: &[u8]) -> Option<Heard> {
    let [a, b, c, d] = *ports.first_chunk()?;
    Some(Heard::Unreachable { from, protocol, port: u16::from_be_bytes([c, d]), to: u16::from_be_bytes([a, b]) })
}

#[cfg(test)]
#[path = "frame_tests.rs"]
pub(super) mod tests;
