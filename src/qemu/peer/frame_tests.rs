use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smoltcp::wire::Icmpv4Repr;

use super::*;

const HERE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const THERE: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

fn ipv4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 2, last).into()
}

fn ipv6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, last).into()
}

/// Two hosts of each family.
fn pairs() -> [(Host, Host); 2] {
    [(ipv4(100), ipv4(15)), (ipv6(0x100), ipv6(15))]
        .map(|(here, there)| (Host { mac: HERE, ip: here }, Host { mac: THERE, ip: there }))
}

/// A frame of every kind that is understood.
fn frames() -> Vec<Vec<u8>> {
    pairs()
        .into_iter()
        .flat_map(|(me, it)| {
            [
                who_has(me, it.ip),
                i_have(me, it),
                segment(me, it, (40_000, 22), 7, TcpControl::Syn),
                segment(me, it, (40_000, 22), 7, TcpControl::Rst),
                datagram(me, it, (40_000, 53), b"question"),
                unreachable_frame(it, me, &datagram(me, it, (40_000, 53), b"question")),
            ]
        })
        .collect()
}

/// The ICMP message by which `from` says that it has nobody for `frame` (RFC 792; RFC 4443, 3.1).
fn unreachable_frame(from: Host, to: Host, frame: &[u8]) -> Vec<u8> {
    let quoted = &frame[HEADER..];
    let sums = ChecksumCapabilities::default();
    match (from.ip, to.ip) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let packet = Ipv4Packet::new_checked(quoted).unwrap();
            let header = Ipv4Repr::parse(&packet, &sums).unwrap();
            let reason = smoltcp::wire::Icmpv4DstUnreachable::PortUnreachable;
            let message = Icmpv4Repr::DstUnreachable { reason, header, data: packet.payload() };
            ip(from, to, IpProtocol::Icmp, HOPS, message.buffer_len(), |bytes| {
                message.emit(&mut Icmpv4Packet::new_unchecked(bytes), &sums);
            })
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let packet = Ipv6Packet::new_checked(quoted).unwrap();
            let header = Ipv6Repr::parse(&packet).unwrap();
            let reason = smoltcp::wire::Icmpv6DstUnreachable::PortUnreachable;
            let message = Icmpv6Repr::DstUnreachable { reason, header, data: packet.payload() };
            ip(from, to, IpProtocol::Icmpv6, HOPS, message.buffer_len(), |bytes| {
                message.emit(&source, &target, &mut Icmpv6Packet::new_unchecked(bytes), &sums);
            })
        }
        _ => panic!("two families"),
    }
}

/// What a guest answers to a frame, as a test's guest: `open` ports take connections, `refused` ones do not, others are
/// silent. Understands what it is asked by the functions under test.
pub fn reply(it: Host, frame: &[u8], open: &[u16], refused: &[u16]) -> Option<Vec<u8>> {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    let mac = ethernet.src_addr();
    match hear(frame)? {
        Heard::Wanted { by, wanted } => (wanted == it.ip).then(|| i_have(it, by)),
        Heard::Tcp { from, port, to, reply: None, .. } => {
            let packet = match from {
                IpAddr::V4(_) => Ipv4Packet::new_checked(ethernet.payload()).unwrap().payload().to_vec(),
                IpAddr::V6(_) => Ipv6Packet::new_checked(ethernet.payload()).unwrap().payload().to_vec(),
            };
            let seq = TcpPacket::new_checked(&packet[..]).unwrap().seq_number();
            let control = match (open.contains(&to), refused.contains(&to)) {
                (true, _) => TcpControl::Syn,
                (_, true) => TcpControl::Rst,
                _ => return None,
            };
            Some(answer(it, Host { mac, ip: from }, (to, port), control, (seq + 1).0))
        }
        Heard::Udp { from, port, to } => {
            let him = Host { mac, ip: from };
            match (open.contains(&to), refused.contains(&to)) {
                (true, _) => Some(datagram(it, him, (to, port), b"answer")),
                (_, true) => Some(unreachable_frame(it, him, frame)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A SYN or RST with an acknowledgement.
fn answer(me: Host, to: Host, ports: (u16, u16), control: TcpControl, ack: i32) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: ports.0,
        dst_port: ports.1,
        control,
        seq_number: TcpSeqNumber(99),
        ack_number: Some(TcpSeqNumber(ack)),
        window_len: 1024,
        window_scale: None,
        max_seg_size: None,
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

#[test]
fn frames_say_what_was_put_into_them() {
    for (me, it) in pairs() {
        assert_eq!(hear(&who_has(me, it.ip)), Some(Heard::Wanted { by: me, wanted: it.ip }));
        assert_eq!(hear(&i_have(it, me)), Some(Heard::Neighbour(it)));
        let heard = |reply, ack| Some(Heard::Tcp { from: it.ip, port: 22, to: 40_000, reply, ack });
        let tcp = |control| hear(&answer(it, me, (22, 40_000), control, -8));
        assert_eq!(tcp(TcpControl::Syn), heard(Some(Reply::Open), u32::MAX - 7));
        assert_eq!(tcp(TcpControl::Rst), heard(Some(Reply::Closed), u32::MAX - 7));
        assert_eq!(tcp(TcpControl::None), heard(None, u32::MAX - 7));
        // A SYN alone takes nothing.
        assert_eq!(hear(&segment(it, me, (22, 40_000), 7, TcpControl::Syn)), heard(None, 0));
        let udp = datagram(it, me, (53, 40_000), b"answer");
        assert_eq!(hear(&udp), Some(Heard::Udp { from: it.ip, port: 53, to: 40_000 }));
        for (protocol, frame) in
            [(17, datagram(me, it, (40_000, 53), b"question")), (6, segment(me, it, (40_000, 53), 7, TcpControl::Syn))]
        {
            let told = Heard::Unreachable { from: it.ip, protocol, port: 53, to: 40_000 };
            assert_eq!(hear(&unreachable_frame(it, me, &frame)), Some(told));
        }
    }
}

/// The bytes of a SYN as RFC 791, 9293 and IEEE 802.3 have them, so that both directions cannot err alike.
#[test]
fn a_syn_is_what_the_standards_say() {
    let (me, it) = pairs()[0];
    let text: String =
        segment(me, it, (40_000, 22), 0x0102_0304, TcpControl::Syn).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        text,
        "525400123456 020000000001 0800 \
         4500 002c 0000 4000 4006 225a 0a000264 0a00020f \
         9c40 0016 01020304 00000000 6002 0400 dc47 0000 020404c4"
            .replace(' ', "")
    );
}

#[test]
fn a_host_gives_itself_the_address_of_its_card() {
    let address = self_given("fe80::100".parse().unwrap(), THERE);
    assert_eq!(address, "fe80::5054:ff:fe12:3456".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn a_neighbour_from_afar_is_none() {
    for (me, it) in pairs() {
        let mut frame = i_have(it, me);
        // The hop limit of IPv6; ARP has none, and its first byte after the header is the type of hardware.
        frame[HEADER + 7] = 64;
        assert_eq!(hear(&frame), None);
    }
}

#[test]
fn damage_is_noticed() {
    for frame in frames() {
        // What follows the Ethernet header of these is covered by a checksum, except in ARP, UDP's ports over IPv4
        // and the IPv6 header's first words.
        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        if ethernet.ethertype() == EthernetProtocol::Arp {
            continue;
        }
        let last = frame.len() - 1;
        let mut damaged = frame.clone();
        damaged[last] ^= 1;
        assert_eq!(hear(&damaged), None, "{frame:02x?}");
    }
}

proptest! {
    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        hear(&bytes);
    }

    #[test]
    fn frames_may_be_cut_and_changed(
        which in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let frames = frames();
        let mut frame = which.get(&frames).clone();
        let at = at.index(frame.len());
        frame[at] = byte;
        frame.truncate(length.index(frame.len() + 1));
        hear(&frame);
    }
}
