//! What a stranger finds, and the ways in which that is not as it should be.

use super::pairs::Pair;
use super::world::{World, healthy, target};
use super::{check, verdicts};
use crate::check::Verdict::{self, Skipped, Unhealthy};
use crate::check::Wanted;
use crate::probe::{Answer, Family, Ports, Probe};

/// Gives `change` what was found with the probe that `asked` names.
fn found(world: &mut World, asked: impl Fn(&Probe) -> bool, change: impl Fn(&mut Ports)) {
    let found = world.iter_mut().find_map(|(probe, answer)| match answer {
        Answer::Ports(ports) if asked(probe) => Some(ports),
        _ => None,
    });
    change(found.unwrap());
}

fn tcp(family: Family) -> impl Fn(&Probe) -> bool {
    move |probe| matches!(probe, Probe::TcpPorts { family: asked, .. } if *asked == family)
}

fn udp(family: Family) -> impl Fn(&Probe) -> bool {
    move |probe| matches!(probe, Probe::UdpPorts { family: asked, .. } if *asked == family)
}

pub const PAIRS: &[Pair] = &[
    ("security.scan.tcp4", Unhealthy, |world| {
        found(world, tcp(Family::Ipv4), |p| {
            p.open.insert(23);
        })
    }),
    ("security.scan.tcp4", Unhealthy, |world| found(world, tcp(Family::Ipv4), |p| p.open.clear())),
    ("security.scan.tcp4", Unhealthy, |world| {
        found(world, tcp(Family::Ipv4), |p| {
            p.closed.insert(113);
        })
    }),
    ("security.scan.tcp4", Skipped, |world| found(world, tcp(Family::Ipv4), |p| p.asked -= 1)),
    ("security.scan.tcp6", Unhealthy, |world| {
        found(world, tcp(Family::Ipv6), |p| {
            p.open.insert(23);
        })
    }),
    ("security.scan.tcp6", Unhealthy, |world| found(world, tcp(Family::Ipv6), |p| p.open.clear())),
    ("security.scan.udp4", Unhealthy, |world| {
        found(world, udp(Family::Ipv4), |p| {
            p.open.insert(161);
        })
    }),
    ("security.scan.udp4", Skipped, |world| found(world, udp(Family::Ipv4), |p| p.asked = 0)),
    ("security.scan.udp6", Unhealthy, |world| {
        found(world, udp(Family::Ipv6), |p| {
            p.closed.insert(161);
        })
    }),
];

#[test]
fn what_is_not_asked_of_a_machine_says_nothing_of_its_health() {
    let target = target();
    let mut world = healthy(&target);
    for (probe, answer) in &mut world {
        if matches!(probe, Probe::TcpPorts { .. } | Probe::UdpPorts { .. }) {
            *answer = Answer::Inapplicable { reason: "it is elsewhere".to_owned() };
        }
    }
    let report = check(&target, &Wanted::default(), &world);
    let scans: Vec<_> =
        report.stages.iter().flat_map(|s| &s.checks).filter(|c| c.id.starts_with("security.scan.")).collect();
    assert_eq!(scans.len(), 4);
    assert!(scans.iter().all(|c| c.verdict == Verdict::NotApplicable && c.observed == "it is elsewhere"), "{scans:?}");
    assert!(report.healthy);
}

/// Not every service waits under both protocols, and which of them waits at all is what `security.sockets` tells.
#[test]
fn a_scan_misses_only_ports_at_which_somebody_waits() {
    let target = target();
    let mut world = healthy(&target);
    for answer in world.values_mut() {
        match answer {
            Answer::Ports(ports) => ports.open.clear(),
            Answer::Sockets { sockets } => sockets.retain(|socket| socket.address.is_ipv4()),
            _ => {}
        }
    }
    let verdicts = verdicts(&check(&target, &Wanted::default(), &world));
    let of = |name: &str| verdicts.get(name).copied();
    assert_eq!(of("security.scan.tcp4"), Some(Verdict::Unhealthy));
    assert_eq!(of("security.scan.tcp6"), Some(Verdict::Healthy));
}
