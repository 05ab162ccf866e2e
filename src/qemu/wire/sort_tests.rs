use std::sync::Arc;

use proptest::prelude::*;
use smoltcp::wire::{DhcpMessageType, TcpControl};

use super::super::{Said, Service};
use super::*;
use crate::qemu::provider::Provider;
use crate::system::Cloud;

const GUEST: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const GATEWAY: EthernetAddress = EthernetAddress([0x52, 0x55, 10, 0, 2, 2]);

struct Nobody;

impl Service for Nobody {
    fn answer(&self, _: std::net::SocketAddrV4, _: &[u8], _: Duration) -> Said {
        Said::Nothing
    }
}

fn sorter(cloud: Cloud) -> Sorter {
    let network = Provider::of(cloud).unwrap().network.unwrap();
    Sorter::new(&network, Answering(Arc::new(Nobody)), 7)
}

fn me() -> frame::Host {
    frame::Host { mac: GUEST, ip: Ipv4Addr::new(10, 0, 2, 15).into() }
}

fn at(address: [u8; 4]) -> frame::Host {
    frame::Host { mac: GATEWAY, ip: Ipv4Addr::from(address).into() }
}

/// Whether SLIRP gets a frame, and what is answered.
fn sorted(cloud: Cloud, bytes: &[u8]) -> (bool, Vec<Vec<u8>>) {
    let mut sorter = sorter(cloud);
    let passed = sorter.take(bytes, Duration::ZERO).is_some();
    (passed, sorter.turn(Duration::ZERO))
}

#[test]
fn a_connection_to_a_service_is_answered_and_every_other_is_slirps() {
    let syn = |to| frame::segment(me(), at(to), (4242, 80), 1, TcpControl::Syn);
    for (cloud, address, ours) in [
        (Cloud::Ec2, [169, 254, 169, 254], true),
        (Cloud::Azure, [168, 63, 129, 16], true),
        (Cloud::Ec2, [168, 63, 129, 16], false),
        (Cloud::Ec2, [10, 0, 2, 2], false),
    ] {
        let (passed, said) = sorted(cloud, &syn(address));
        assert_eq!(passed, !ours, "{cloud} {address:?}");
        assert_eq!(said.len(), usize::from(ours), "{cloud} {address:?}");
        if let Some(said) = said.first() {
            let heard = frame::hear(said);
            assert!(matches!(heard, Some(Heard::Tcp { reply: Some(frame::Reply::Open), to: 4242, .. })), "{heard:?}");
            assert!(said.starts_with(GUEST.as_bytes()));
        }
    }
}

#[test]
fn nothing_for_an_address_of_a_provider_is_ever_slirps() {
    for address in [[169, 254, 169, 254], [169, 254, 0, 1], [169, 254, 170, 2]] {
        let udp = frame::datagram(me(), at(address), (1, 53), b"x");
        assert!(!sorted(Cloud::Azure, &udp).0, "{address:?}");
        // Of a packet in pieces each has the address.
        let mut piece = udp.clone();
        piece[20] = 0x20;
        assert!(!sorted(Cloud::Azure, &piece).0, "{address:?}");
        let asked = frame::who_has(me(), Ipv4Addr::from(address).into());
        let (passed, said) = sorted(Cloud::Azure, &asked);
        assert_eq!((passed, said.len()), (false, usize::from(address == [169, 254, 169, 254])), "{address:?}");
    }
    assert!(sorted(Cloud::Azure, &frame::who_has(me(), Ipv4Addr::new(10, 0, 2, 2).into())).0);
}

#[test]
fn dhcp_and_names_are_answered_here() {
    let all = frame::Host { mac: EthernetAddress::BROADCAST, ip: Ipv4Addr::BROADCAST.into() };
    let nobody = frame::Host { mac: GUEST, ip: Ipv4Addr::UNSPECIFIED.into() };
    let discover = dhcp::tests::message(DhcpMessageType::Discover, None);
    let (passed, said) = sorted(Cloud::Gce, &frame::datagram(nobody, all, (68, 67), &discover));
    assert_eq!((passed, said.len()), (false, 1));
    let query =
        b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08metadata\x06google\x08internal\x00\x00\x01\x00\x01";
    let (passed, said) = sorted(Cloud::Gce, &frame::datagram(me(), at([169, 254, 169, 254]), (5353, 53), query));
    assert_eq!((passed, said.len()), (false, 1));
    assert!(said[0].ends_with(&[169, 254, 169, 254]));
}

#[test]
fn what_makes_no_sense_is_nobodys() {
    assert!(!sorted(Cloud::Ec2, &[0; 10]).0);
    let mut short = frame::datagram(me(), at([10, 0, 2, 3]), (1, 1), b"x");
    short.truncate(20);
    assert!(!sorted(Cloud::Ec2, &short).0);
}

proptest! {
    #[test]
    fn any_frame_does_no_harm_and_none_for_a_provider_is_passed_on(
        mut bytes in prop::collection::vec(any::<u8>(), 14..200),
        kind in prop::sample::select(vec![[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd], [0x81, 0x00]]),
        ours: bool,
    ) {
        bytes[12..14].copy_from_slice(&kind);
        if ours && bytes.len() >= 34 {
            bytes[14] = 0x45;
            bytes[30..34].copy_from_slice(&[169, 254, 169, 254]);
        }
        let (passed, _) = sorted(Cloud::Ec2, &bytes);
        prop_assert!(!(passed && kind == [0x08, 0x00] && bytes.len() >= 34 && bytes[30..32] == [169, 254]));
    }
}
