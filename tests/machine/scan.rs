//! What a stranger in a machine's network finds that should not be there.

use serde_json::Value;

use crate::lab::{Fault, Lab, checks, with_verdict};

/// Ports that the firewall lets through, with somebody behind one of them.
pub const FAULTS: [Fault; 3] = [
    Fault {
        breaks: "nft add rule inet rave input meta nfproto ipv4 tcp dport 4444 accept comment stranger",
        mends: MENDS,
        seen_by: &["security.scan.tcp4"],
    },
    Fault {
        breaks: "systemd-run --quiet --unit=stranger --socket-property=ListenStream=[::]:4445 \
                 --socket-property=BindIPv6Only=ipv6-only /usr/bin/sleep 1; \
                 nft add rule inet rave input meta nfproto ipv6 tcp dport 4445 accept comment stranger",
        mends: "systemctl stop stranger.socket",
        seen_by: &["security.scan.tcp6"],
    },
    Fault {
        breaks: "nft add rule inet rave input meta nfproto ipv4 udp dport 161 accept comment stranger",
        mends: "true",
        seen_by: &["security.scan.udp4"],
    },
];

/// Takes away all such rules.
const MENDS: &str = "nft -a list chain inet rave input | sed -n 's/.*comment \"stranger\" # handle //p' | \
                     while read handle; do nft delete rule inet rave input handle $handle; done";

/// Opens ports of a machine that is well, and closes them again.
pub fn finds(lab: &Lab, machine: &str) {
    println!("a port that the firewall lets through is found from beside the machine, over IPv4 and IPv6");
    let scan = [machine, "--only", "security.scan"];
    let report = lab.broken(&scan, &FAULTS);
    let observed = |id: &str| {
        let check = checks(&report).into_iter().find(|check| check["id"] == id);
        check.unwrap_or(&Value::Null)["observed"].clone()
    };
    assert_eq!(observed("security.scan.tcp4"), "refusing: 4444");
    assert_eq!(observed("security.scan.tcp6"), "open: 4445");
    assert_eq!(observed("security.scan.udp4"), "refusing: 161");
    assert_eq!(observed("security.scan.udp6"), "open: none");
    lab.root(machine, &FAULTS.map(|fault| fault.mends).join("; "));
    let (status, report) = lab.check(&scan);
    assert_eq!((status, with_verdict(&report, "healthy").len()), (Some(0), 4), "{report}");
}
