//! Part of stage 6: what a stranger in the machine's network finds open.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::table::{Check, Finding, Subject, list, with_options};
use super::{Target, Verdict};
use crate::probe::{Answer, Family, Ports, Probe, Socket, Transport};

/// The subjects.
const SUBJECTS: [(&str, Transport, Family); 4] = [
    ("tcp4", Transport::Tcp, Family::Ipv4),
    ("tcp6", Transport::Tcp, Family::Ipv6),
    ("udp4", Transport::Udp, Family::Ipv4),
    ("udp6", Transport::Udp, Family::Ipv6),
];

/// UDP ports that services have (IANA, Service Name and Transport Protocol Port Number Registry), besides a few that
/// their programs use without asking it.
const UDP: [u16; 102] = [
    7, 9, 13, 17, 19, 37, 49, 53, 67, 68, 69, 80, 88, 111, 123, 135, 137, 138, 139, 161, 162, 177, 213, 319, 320, 389,
    427, 443, 445, 464, 500, 514, 517, 518, 520, 521, 546, 547, 554, 623, 631, 636, 646, 853, 989, 990, 996, 1194,
    1434, 1645, 1646, 1701, 1718, 1719, 1812, 1813, 1900, 2049, 2123, 2152, 2302, 2427, 3130, 3268, 3283, 3389, 3456,
    3478, 3702, 3784, 4045, 4433, 4500, 4739, 4789, 5004, 5005, 5060, 5061, 5093, 5246, 5349, 5351, 5353, 5355, 5632,
    5683, 5684, 6081, 6343, 7946, 8125, 8472, 9200, 10161, 11211, 17185, 27015, 30718, 41641, 47808, 51820,
];

/// The check.
pub const CHECK: Check = Check {
    id: "security.scan",
    about: "a stranger finds open what should be, and silence elsewhere",
    unreachable: Verdict::Skipped,
    ask,
    judge,
};

fn ask(target: &Target) -> Vec<Subject> {
    // The firewall lets no number of connections through to SSH.
    let known = target.expect.https.values().map(|site| site.port).find(|port| ports(target, "tcp").contains(port));
    let subjects = SUBJECTS.iter().map(|&(name, transport, family)| {
        let probe = match transport {
            Transport::Tcp => Probe::TcpPorts { family, known },
            Transport::Udp => {
                let ports = UDP.into_iter().chain(ports(target, "udp")).collect();
                Probe::UdpPorts { family, ports, known }
            }
        };
        Subject { name: name.to_owned(), option: None, probes: vec![probe, Probe::Sockets] }
    });
    subjects.collect()
}

/// The ports of a protocol that may be open.
fn ports(target: &Target, protocol: &str) -> BTreeSet<u16> {
    let port = |name: &String| name.strip_prefix(protocol)?.strip_prefix('/')?.parse().ok();
    target.expect.open.keys().filter_map(port).collect()
}

fn judge(target: &Target, subject: &str, answers: &[&Answer]) -> Finding {
    let transport = SUBJECTS.iter().find(|(name, ..)| *name == subject).map(|(_, transport, _)| *transport);
    let ([Answer::Ports(found), Answer::Sockets { sockets }], Some(transport)) = (answers, transport) else {
        return Finding::misfit();
    };
    let (protocol, all) = match transport {
        Transport::Tcp => ("tcp", usize::from(u16::MAX)),
        Transport::Udp => ("udp", UDP.len()),
    };
    let may = ports(target, protocol);
    let expected = match transport {
        Transport::Tcp => format!("open: {}; all others silent", named(target, protocol)),
        // A service may have no answer for a stranger.
        Transport::Udp => format!("open: none but {}; all others silent", named(target, protocol)),
    };
    let evidence = format!("{} {protocol} ports asked at {}", found.asked, found.address);
    if (found.asked as usize) < all {
        return Finding::new(Verdict::Skipped, expected, "not every port was asked").because(evidence);
    }
    let missing = match transport {
        Transport::Tcp => may.intersection(&waiting(found, sockets)).copied().collect::<BTreeSet<u16>>(),
        Transport::Udp => BTreeSet::new(),
    };
    let missing: BTreeSet<u16> = missing.difference(&found.open).copied().collect();
    let open = found.open.difference(&may).copied().collect();
    let closed = found.closed.difference(&may).copied().collect();
    let wrong = [("open", &open), ("refusing", &closed), ("missing", &missing)];
    let wrong: Vec<String> =
        wrong.iter().filter(|(_, set)| !set.is_empty()).map(|(what, set)| format!("{what}: {}", names(set))).collect();
    let observed = if wrong.is_empty() { format!("open: {}", names(&found.open)) } else { wrong.join("; ") };
    let option = missing.first().and_then(|port| target.expect.open.get(&format!("{protocol}/{port}")));
    Finding::hold(wrong.is_empty(), expected, observed).because(evidence).asked_by(option)
}

/// The TCP ports at which a service waits under the address that was scanned. Where nobody waits is for another check
/// to tell. A socket at `::` may serve IPv4 or not.
fn waiting(found: &Ports, sockets: &[Socket]) -> BTreeSet<u16> {
    let there = |address: IpAddr| {
        let any = address.is_unspecified() && address.is_ipv4() == found.address.is_ipv4();
        any || address.to_canonical() == found.address
    };
    sockets
        .iter()
        .filter(|socket| socket.protocol == "tcp" && there(socket.address))
        .map(|socket| socket.port)
        .collect()
}

/// What may be open of a protocol, each with the option that asks for it.
fn named(target: &Target, protocol: &str) -> String {
    let of = |name: &str| name.strip_prefix(protocol).is_some_and(|rest| rest.starts_with('/'));
    let open = target.expect.open.iter().filter(|(name, _)| of(name));
    with_options(open.map(|(name, option)| (name.as_str(), Some(option))))
}

fn names(ports: &BTreeSet<u16>) -> String {
    list(ports.iter().map(u16::to_string))
}
