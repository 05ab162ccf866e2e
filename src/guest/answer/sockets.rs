//! Sockets that wait for peers, from /proc/net (Documentation/networking/proc_net_tcp.rst).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::{Trouble, kernel};
use crate::disk;
use crate::probe::Socket;

/// The tables, the protocol of each, and the state in which a socket waits: TCP listens; the others are bound
/// without a peer.
const TABLES: [(&str, &str, u8); 6] = [
    ("tcp", "tcp", 0x0a),
    ("tcp6", "tcp", 0x0a),
    ("udp", "udp", 0x07),
    ("udp6", "udp", 0x07),
    ("raw", "raw", 0x07),
    ("raw6", "raw", 0x07),
];

/// Waiting sockets that are told, at most, and open files that are looked at to find their processes.
const SOCKETS: usize = 4096;
const FILES: usize = 200_000;

/// All sockets that wait in the network namespace of process 1.
pub fn read(proc: &Path) -> Result<Vec<Socket>, Trouble> {
    let mut waiting = Vec::new();
    for (table, protocol, state) in TABLES {
        let text = match kernel::text(proc.join("1/net").join(table)) {
            // A kernel without IPv6 has no tables for it.
            Err(error) if error.is_not_found() && table.ends_with('6') => continue,
            result => result?,
        };
        for line in text.lines().skip(1) {
            let row = row(line).ok_or_else(|| format!("/proc/net/{table} has an unknown form"))?;
            if row.state == state {
                waiting.push((protocol, row));
            }
        }
    }
    if waiting.len() > SOCKETS {
        return Err(format!("more than {SOCKETS} sockets wait").into());
    }
    let owners = owners(proc);
    let socket = |(protocol, row): (&str, Row)| Socket {
        protocol: protocol.to_owned(),
        address: row.address,
        port: row.port,
        process: owners.get(&row.inode).cloned(),
    };
    Ok(waiting.into_iter().map(socket).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    address: IpAddr,
    port: u16,
    state: u8,
    inode: u64,
}

fn row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Row {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The address in words of 32 bits, each in the processor's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |digits: &[u8]| Some(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?.to_ne_bytes());
    let words: Vec<[u8; 4]> = text.as_bytes().chunks(8).map(word).collect::<Option<_>>()?;
    match (text.len(), words.as_slice()) {
        (8, [word]) => Some(Ipv4Addr::from(*word).into()),
        (32, words) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()),
        _ => None,
    }
}

/// Name of a process by the inode of a socket it holds. A process that ends meanwhile, or does not let itself be
/// looked at, is left out: its sockets are told without it.
fn owners(proc: &Path) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    let mut files = 0;
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|n| n.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    for process in disk::list(proc).unwrap_or_default().into_iter().filter(is_process) {
        let open = disk::list(process.join("fd")).unwrap_or_default();
        let inodes: Vec<u64> = open.iter().filter_map(|file| socket_inode(file)).collect();
        files += open.len();
        if files > FILES {
            break;
        }
        if inodes.is_empty() {
            continue;
        }
        let name = kernel::text(process.join("comm")).unwrap_or_default();
        owners.extend(inodes.into_iter().map(|inode| (inode, name.trim().to_owned())));
    }
    owners
}

fn socket_inode(file: &Path) -> Option<u64> {
    let target = disk::read_link(file).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_in_either_family() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let row4 = row(v4).unwrap();
        assert_eq!((row4.address, row4.port, row4.state, row4.inode), (Ipv4Addr::LOCALHOST.into(), 8080, 10, 4711));
        let v6 = "0: 00000000000000000000000001000000:0016 0:0 0A 0:0 0:0 0 0 0 1 1";
        assert_eq!(row(v6).unwrap().address, IpAddr::from(Ipv6Addr::LOCALHOST));
        let digits = "0".repeat(40);
        for bad in [
            "",
            "x",
            "0: 0100007F 0:0 0A 0 0 0 0 0 1",
            "0: 0100:0016 0:0 0A 0 0 0 0 0 1",
            "0: é:0016 0:0 0A 0 0 0 0 0 1",
        ] {
            assert_eq!(row(bad), None, "{bad}");
        }
        assert_eq!(row(&format!("0: {digits}:0016 0:0 0A 0 0 0 0 0 1")), None);
    }

    #[test]
    fn a_real_listener_is_found_with_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // The tests run in the namespace of the process that is looked at, not in that of process 1.
        let proc = tempfile::tempdir().unwrap();
        disk::symlink("/proc/self", proc.path().join("1")).unwrap();
        let sockets = read(proc.path()).unwrap();
        for (protocol, address) in [("tcp", listener.local_addr().unwrap()), ("udp", peer.local_addr().unwrap())] {
            let found = sockets.iter().find(|s| s.protocol == protocol && s.port == address.port()).unwrap();
            assert_eq!(found.address, address.ip());
            assert!(found.process.is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_row_makes_it_panic(text in "([0-9A-F]{0,33}|:| |\\PC){0,24}") {
            let _ = (row(&text), parse_address(&text));
        }
    }
}
