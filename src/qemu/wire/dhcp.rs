//! DHCP (RFC 2131) as a provider gives it, in place of SLIRP, which tells a machine that it restricts of no router and so
//! of no way to a metadata service.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr};

use crate::qemu::peer::LEASED;

/// Ports of servers and of clients.
pub const SERVER: u16 = 67;
pub const CLIENT: u16 = 68;
/// The router of SLIRP's network (qemu(1)).
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Who has it by DHCP, and for how long, in seconds.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const LEASE: u32 = 86_400;

/// The answer to a message of a client and where to it goes, `dns` being its name server; nothing to what needs none.
pub fn answer(message: &[u8], dns: Ipv4Addr, options: &BTreeMap<u8, Vec<u8>>) -> Option<(Ipv4Addr, Vec<u8>)> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let asked = DhcpRepr::parse(&packet).ok()?;
    let wrong = |address: Option<Ipv4Addr>| address.is_some_and(|address| address != LEASED);
    let message_type = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if asked.server_identifier.is_some_and(|server| server != ROUTER) => return None,
        DhcpMessageType::Request if wrong(asked.requested_ip) => DhcpMessageType::Nak,
        DhcpMessageType::Request | DhcpMessageType::Inform => DhcpMessageType::Ack,
        _ => return None,
    };
    let refused = message_type == DhcpMessageType::Nak;
    let more: Vec<DhcpOption<'_>> =
        options.iter().filter(|_| !refused).map(|(kind, data)| DhcpOption { kind: *kind, data }).collect();
    let dns_servers = if refused { None } else { Some([dns].into_iter().collect()) };
    let given = |value: Ipv4Addr| if refused { None } else { Some(value) };
    let reply = DhcpRepr {
        message_type,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: if refused { Ipv4Addr::UNSPECIFIED } else { LEASED },
        server_ip: ROUTER,
        router: given(ROUTER),
        subnet_mask: given(MASK),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: asked.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(ROUTER),
        parameter_request_list: None,
        dns_servers,
        max_size: None,
        lease_duration: (!refused).then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &more,
    };
    let mut bytes = vec![0; reply.buffer_len()];
    reply.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).ok()?;
    // A client with the address already, or that can hear without one (RFC 2131, 4.1).
    let to = if asked.broadcast || refused { Ipv4Addr::BROADCAST } else { LEASED };
    Some((to, bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use smoltcp::wire::EthernetAddress;

    use super::*;

    const DNS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

    pub(crate) fn message(message_type: DhcpMessageType, requested_ip: Option<Ipv4Addr>) -> Vec<u8> {
        let asked = DhcpRepr {
            message_type,
            transaction_id: 7,
            secs: 0,
            client_hardware_address: EthernetAddress([0x52, 0x54, 0, 1, 2, 3]),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: true,
            requested_ip,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: Some(&[1, 3, 6]),
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let mut bytes = vec![0; asked.buffer_len()];
        asked.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).unwrap();
        bytes
    }

    #[test]
    fn a_client_gets_slirps_address_a_router_and_what_the_provider_adds() {
        let options = BTreeMap::from([(245, vec![168, 63, 129, 16])]);
        for (asked, expected) in
            [(DhcpMessageType::Discover, DhcpMessageType::Offer), (DhcpMessageType::Request, DhcpMessageType::Ack)]
        {
            let (to, bytes) = answer(&message(asked, Some(LEASED)), DNS, &options).unwrap();
            assert_eq!(to, Ipv4Addr::BROADCAST);
            let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
            let said = DhcpRepr::parse(&packet).unwrap();
            assert_eq!((said.message_type, said.transaction_id, said.your_ip), (expected, 7, LEASED));
            assert_eq!((said.router, said.server_identifier), (Some(ROUTER), Some(ROUTER)));
            assert_eq!(said.dns_servers.unwrap().as_slice(), [DNS]);
            assert!(packet.options().any(|option| option.kind == 245 && option.data == [168, 63, 129, 16]));
        }
    }

    #[test]
    fn another_address_is_refused_and_a_release_needs_no_answer() {
        let other = message(DhcpMessageType::Request, Some(Ipv4Addr::new(192, 168, 0, 9)));
        let (_, bytes) = answer(&other, DNS, &BTreeMap::new()).unwrap();
        let said = DhcpPacket::new_checked(&bytes[..]).unwrap();
        assert_eq!(DhcpRepr::parse(&said).unwrap().message_type, DhcpMessageType::Nak);
        assert_eq!(answer(&message(DhcpMessageType::Release, None), DNS, &BTreeMap::new()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..300, value: u8) {
            answer(&bytes, DNS, &BTreeMap::new());
            let mut damaged = message(DhcpMessageType::Discover, None);
            if let Some(byte) = damaged.get_mut(at) {
                *byte = value;
            }
            damaged.extend(bytes);
            answer(&damaged, DNS, &BTreeMap::new());
        }
    }
}
