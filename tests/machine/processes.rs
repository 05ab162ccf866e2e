//! Processes of the host, from /proc.

use std::collections::BTreeMap;

use rave::disk;

/// A process that no other can be taken for: id and start time.
pub type Process = (u32, u64);

fn parents() -> BTreeMap<Process, u32> {
    let entries = disk::list("/proc").unwrap();
    let ids = entries.iter().filter_map(|path| path.file_name()?.to_str()?.parse::<u32>().ok());
    let parse = |id: u32| {
        let stat = disk::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let gone = matches!(*fields.first()?, "Z" | "X");
        (!gone).then_some(((id, fields.get(19)?.parse().ok()?), fields.get(1)?.parse().ok()?))
    };
    ids.filter_map(parse).collect()
}

/// A process and all that come from it.
pub fn family(id: u32) -> Vec<Process> {
    let parents = parents();
    let mut family: Vec<Process> = parents.keys().copied().filter(|process| process.0 == id).collect();
    let mut at = 0;
    while let Some(&(parent, _)) = family.get(at) {
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(process, _)| *process));
        at += 1;
    }
    family
}

/// Those of `processes` that still run.
pub fn alive(processes: &[Process]) -> Vec<Process> {
    let running = parents();
    processes.iter().copied().filter(|process| running.contains_key(process)).collect()
}

/// Whether QEMU is among the processes.
pub fn has_qemu(processes: &[Process]) -> bool {
    processes.iter().any(|(id, _)| command_line(*id).windows(4).any(|window| window == b"-smp"))
}

/// Arguments of a process, with zero bytes between them; empty if it is gone.
pub fn command_line(id: u32) -> Vec<u8> {
    disk::read(format!("/proc/{id}/cmdline")).unwrap_or_default()
}

/// Ids of all processes.
pub fn all() -> Vec<u32> {
    parents().into_keys().map(|(id, _)| id).collect()
}

/// Addresses that listen on a TCP port, as the kernel writes them: `0100007F` is 127.0.0.1.
pub fn listeners(port: u64) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| disk::read_to_string(path).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    let suffix = format!(":{port:04X}");
    let address = |row: &str| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let listens = fields.get(3) == Some(&"0A");
        fields.get(1)?.strip_suffix(&suffix).filter(|_| listens).map(str::to_owned)
    };
    rows.filter_map(address).collect()
}
