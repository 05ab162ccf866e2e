//! Which sockets wait for peers, against which of them should.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::OptionPath;
use crate::probe::Socket;

/// How the sockets of a machine differ from what is expected. Empty: they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Sockets open to the outside that should not be, with their process.
    pub open: BTreeSet<String>,
    /// Sockets on loopback that should not be.
    pub local: BTreeSet<String>,
    /// TCP sockets that should wait and do not. Others come and go: a DHCP client has one only while it asks.
    pub missing: BTreeSet<String>,
}

/// Compares sockets with those expected, written as `tcp/22`.
pub fn compare(
    sockets: &[Socket],
    open: &BTreeMap<String, OptionPath>,
    local: &BTreeMap<String, OptionPath>,
) -> Difference {
    let mut difference = Difference::default();
    for socket in sockets {
        let name = name(socket);
        if !socket.address.to_canonical().is_loopback() {
            if !open.contains_key(&name) {
                difference.open.insert(describe(socket));
            }
        } else if !open.contains_key(&name) && !local.contains_key(&name) {
            difference.local.insert(describe(socket));
        }
    }
    let waits = |name: &String, outside: bool| {
        sockets.iter().any(|s| self::name(s) == *name && (!outside || !s.address.to_canonical().is_loopback()))
    };
    let missing = |expected: &BTreeMap<String, OptionPath>, outside| -> Vec<String> {
        expected.keys().filter(|name| name.starts_with("tcp/") && !waits(name, outside)).cloned().collect()
    };
    difference.missing.extend(missing(open, true));
    difference.missing.extend(missing(local, false));
    difference
}

fn name(socket: &Socket) -> String {
    format!("{}/{}", socket.protocol, socket.port)
}

fn describe(socket: &Socket) -> String {
    let process = socket.process.as_deref().unwrap_or("unknown process");
    format!("{} on {} ({process})", name(socket), socket.address)
}
