//! Host ports for a machine: the wanted ones if they are free, otherwise the next.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use crate::qemu::error::{Error, Result};
use crate::qemu::machine::Forward;

/// Chooses a port that `free` accepts for each forward, no port twice; the order is kept. A wanted port 0
/// counts as 1024.
pub fn choose(wanted: &[Forward], free: impl Fn(u16) -> bool) -> Result<Vec<Forward>> {
    let mut taken = BTreeSet::new();
    let mut chosen = Vec::new();
    for forward in wanted {
        let first = if forward.host == 0 { 1024 } else { forward.host };
        let host = (first..=u16::MAX).find(|port| !taken.contains(port) && free(*port)).ok_or(Error::NoPort(first))?;
        taken.insert(host);
        chosen.push(Forward { host, guest: forward.guest });
    }
    Ok(chosen)
}

/// What to tell the user about ports that moved.
pub fn moved(wanted: &[Forward], chosen: &[Forward]) -> Vec<String> {
    let pairs = wanted.iter().zip(chosen).filter(|(wanted, chosen)| wanted.host != chosen.host);
    pairs.map(|(from, to)| format!("port {} is busy: guest port {} is on {}", from.host, to.guest, to.host)).collect()
}

/// Whether nobody listens on a port of the loopback interface, and the caller may.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(host: u16, guest: u16) -> Forward {
        Forward { host, guest }
    }

    #[test]
    fn busy_ports_move_on_and_say_so() {
        let wanted = [forward(2222, 22), forward(2223, 3002)];
        let chosen = choose(&wanted, |port| port != 2222).unwrap();
        assert_eq!(chosen, [forward(2223, 22), forward(2224, 3002)]);
        assert_eq!(
            moved(&wanted, &chosen),
            ["port 2222 is busy: guest port 22 is on 2223", "port 2223 is busy: guest port 3002 is on 2224"]
        );
        assert!(moved(&wanted, &wanted).is_empty());
    }

    #[test]
    fn the_last_port_is_tried_and_then_it_is_over() {
        assert_eq!(choose(&[forward(65534, 22)], |port| port == 65535).unwrap(), [forward(65535, 22)]);
        assert!(matches!(choose(&[forward(65534, 22)], |_| false), Err(Error::NoPort(65534))));
    }

    #[test]
    fn a_port_with_a_listener_is_busy() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
